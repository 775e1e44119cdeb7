"""The valid small files that fuzz.py damages: one of every kind that a user can hand to a command."""

import struct

POINTS = 50
BLOCKS = 6  # in PointNet's block file
ROOM = "Area_1_office_1"


def valid_files(folder):
    """One small valid file of every kind. -> dict of kind: (path, number of points or None)"""
    xyz, rgb, labels = labelled_points()
    files = {}
    for make in (_ply_files, _las_files, _array_files, _text_files, _pcd_files, _scanner_files, _mesh_files,
                 _our_files, _pointnet_files, _source_files, _run_files):  # fmt: skip
        files |= make(folder, xyz, rgb, labels)
    return files


def labelled_points():
    """The points of all files. -> (P, 3) float64, (P, 3) uint8, (P,) uint8"""
    import numpy as np

    rng = np.random.default_rng(0)
    xyz, rgb = rng.random((POINTS, 3)) * 3, rng.integers(1, 256, (POINTS, 3)).astype(np.uint8)
    return xyz, rgb, rng.integers(0, 13, POINTS).astype(np.uint8)


def _ply_files(folder, xyz, rgb, labels):
    import numpy as np
    from plyfile import PlyData, PlyElement

    vertices = np.zeros(POINTS, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    for place, (axis, color) in enumerate(zip("xyz", ("red", "green", "blue"))):
        vertices[axis], vertices[color] = xyz[:, place], rgb[:, place]
    faces = np.empty(4, [("vertex_indices", "O"), ("material", "i4")])
    faces["vertex_indices"] = [np.arange(3), np.arange(4), np.arange(3), np.arange(5)]
    elements = [PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")]
    files = {}
    for kind, text, order in (("ply-ascii", True, "="), ("ply-little", False, "<"), ("ply-big", False, ">")):
        files[kind] = folder / f"{kind}.ply", POINTS
        PlyData(elements, text, order, ["made for tests"]).write(str(files[kind][0]))
    files["ply-faces-first"] = folder / "ply-faces-first.ply", POINTS
    PlyData(elements[::-1], False, "<").write(str(files["ply-faces-first"][0]))
    return files


def _las_files(folder, xyz, rgb, labels):
    import laspy
    import numpy as np

    files = {}
    for kind, version, form in (("las", "1.2", 3), ("las14", "1.4", 7), ("laz", "1.2", 3), ("laz14", "1.4", 7)):
        header = laspy.LasHeader(version=version, point_format=form)
        header.scales = np.full(3, 0.001)
        header.add_extra_dim(laspy.ExtraBytesParams("extra", np.float32))
        las = laspy.LasData(header)
        las.xyz, las.classification = xyz, labels
        las.red, las.green, las.blue = (rgb.astype(np.uint16) * 257).T
        files[kind] = folder / f"{kind}.{kind[:3]}", POINTS
        las.write(str(files[kind][0]))
    return files


def _array_files(folder, xyz, rgb, labels):
    import numpy as np

    np.save(folder / "npy.npy", np.concatenate([xyz, rgb], axis=1))
    record = np.zeros(POINTS, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("label", "u1")])
    np.save(folder / "npy-names.npy", record)
    np.savez(folder / "npz.npz", xyz=xyz, rgb=rgb, label=labels)
    np.savez(folder / "renamed.npz", xyz=xyz)
    (folder / "renamed.npz").rename(folder / "npz-renamed.npy")
    return {"npy": (folder / "npy.npy", POINTS), "npy-names": (folder / "npy-names.npy", POINTS),
            "npz": (folder / "npz.npz", POINTS), "npz-renamed": (folder / "npz-renamed.npy", None)}  # fmt: skip


def _text_files(folder, xyz, rgb, labels):
    files = {}
    kinds = (
        ("txt", " ", ""), ("xyz", "\t", "# x y z r g b\n"), ("csv", ",", "x,y,z,red,green,blue\n"),
        ("asc", ";", "//X;Y;Z;R;G;B\n"), ("pts", " ", f"{POINTS}\n"),
    )  # fmt: skip
    for kind, mark, header in kinds:
        lines = (mark.join(map(str, (*map(float, point), *map(int, color)))) for point, color in zip(xyz, rgb))
        files[kind] = folder / f"{kind}.{kind}", POINTS
        files[kind][0].write_text(header + "\n".join(lines) + "\n")
    return files


def _scanner_files(folder, xyz, rgb, labels):
    """E57, where pye57 is there, and PTX: two scans of half the points each."""
    half = POINTS // 2
    parts = slice(None, half), slice(half, None)
    head = f"1\n{half}\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    rows = [f"{x} {y} {z} 0.5 {r} {g} {b}\n" for (x, y, z), (r, g, b) in zip(xyz.tolist(), rgb.tolist())]
    (folder / "ptx.ptx").write_text("".join(head + "".join(rows[part]) for part in parts))
    files = {"ptx": (folder / "ptx.ptx", POINTS)}
    try:
        import pye57
    except ImportError:
        return files
    with pye57.E57(str(folder / "e57.e57"), mode="w") as file:
        for part in parts:
            fields = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), xyz[part].T.copy()))
            fields |= dict(zip(("colorRed", "colorGreen", "colorBlue"), rgb[part].T.copy()))
            file.write_scan_raw(fields)
    return files | {"e57": (folder / "e57.e57", POINTS)}


def _mesh_files(folder, xyz, rgb, labels):
    """A strip of triangles over all points; .stl repeats the corners of each."""
    import numpy as np
    import trimesh

    faces = np.arange(POINTS - 2)[:, None] + np.arange(3)
    mesh = trimesh.Trimesh(xyz, faces, vertex_colors=rgb, process=False)
    for kind in ("obj", "glb", "stl", "off"):
        mesh.export(folder / f"{kind}.{kind}")
    return {kind: (folder / f"{kind}.{kind}", POINTS) for kind in ("obj", "glb", "stl", "off")}


def _pcd_files(folder, xyz, rgb, labels):
    import numpy as np

    colors = (rgb.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)).astype(np.uint32)
    table = np.zeros(POINTS, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
    for place, axis in enumerate("xyz"):
        table[axis] = xyz[:, place]
    table["rgb"] = colors
    columns = b"".join(table[name].tobytes() for name in table.dtype.names)
    packed = lzf_literals(columns)
    bodies = {
        "ascii": "\n".join(" ".join(map(str, row)) for row in table.tolist()).encode() + b"\n",
        "binary": table.tobytes(),
        "binary_compressed": struct.pack("<II", len(packed), len(columns)) + packed,
    }
    files = {}
    for form, body in bodies.items():
        header = (
            "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\n"
            f"COUNT 1 1 1 1\nWIDTH {POINTS}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {POINTS}\nDATA {form}\n"
        )
        kind = f"pcd-{form.removeprefix('binary_')}"
        files[kind] = folder / f"{kind}.pcd", POINTS
        files[kind][0].write_bytes(header.encode() + body)
    return files


def lzf_literals(content):
    """Bytes in the LZF format, without any reference back but for runs of zeros: enough for a small valid file."""
    out, place, pending = bytearray(), 0, bytearray()

    def flush():
        for start in range(0, len(pending), 32):
            part = pending[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        pending.clear()

    while place < len(content):
        run = 0
        while place and run < 8 and place + run < len(content) and content[place + run] == content[place - 1]:
            run += 1
        if run >= 3:
            flush()
            out.extend(((run - 2) << 5, 0))
            place += run
        else:
            pending.append(content[place])
            place += 1
    flush()
    return bytes(out)


def _our_files(folder, xyz, rgb, labels):
    import torch

    import s3dis_seg
    from s3dis_seg.data.blocks.settings import BlockSettings
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import Repair, room_of
    from s3dis_seg.evaluation.predictions import save_predictions
    from s3dis_seg.models.card import Card
    from s3dis_seg.models.checkpoint import save_checkpoint
    from s3dis_seg.models.official import layer_names

    repairs = (Repair("Area_1/office_1/Annotations/chair_1.txt", 7, "a control character"),)
    write_room(room_of(ROOM, xyz, rgb, labels, repairs=repairs), folder)
    model = s3dis_seg.create_model("resgcn7", channels=8)
    provenance = {"train_rooms": [ROOM], "val_rooms": [], "test_rooms": [], "test_area": 5, "origin": {}, "licence": ""}
    card = Card("resgcn7", model.config, blocks=BlockSettings(num_points=128), provenance=provenance)
    save_checkpoint(folder / "checkpoint.pt", model, card, {"epoch": 1})
    theirs = {ours: name for ours, name in layer_names({f"backbone.{place}.": 0 for place in range(6)}).items()}
    state = {}
    for key, value in model.state_dict().items():
        layer, leaf = key.rsplit(".", 1)
        state[f"{theirs[layer]}.{leaf}"] = value[:, :, None, None] if value.dim() == 2 else value
    torch.save({"epoch": 1, "state_dict": state}, folder / "official.pth")
    save_predictions(folder / "predictions.npz", "key", labels, labels)
    (folder / "split.split").write_text("[train]\nArea_1_office_*\n[val]\n[test]\nArea_5_*  # the usual one\n")
    return {"room": (folder / f"{ROOM}.h5", POINTS), "room-values": (folder / f"{ROOM}.h5", POINTS),
            "checkpoint": (folder / "checkpoint.pt", None), "checkpoint-values": (folder / "checkpoint.pt", None),
            "official": (folder / "official.pth", None), "official-values": (folder / "official.pth", None),
            "predictions": (folder / "predictions.npz", None), "predictions-values": (folder / "predictions.npz", None),
            "split": (folder / "split.split", None)}  # fmt: skip


def _pointnet_files(folder, xyz, rgb, labels):
    """The three files of indoor3d_sem_seg_hdf5_data; the number of points is that of all blocks."""
    import h5py
    import numpy as np

    folder, rng = folder / "pointnet", np.random.default_rng(1)
    folder.mkdir()
    with h5py.File(folder / "blocks_0.h5", "w") as file:
        data = rng.random((BLOCKS, POINTS, 9), np.float32)
        file.create_dataset("data", data=data, chunks=(4, POINTS, 9), compression="gzip")
        blocks = rng.integers(0, 13, (BLOCKS, POINTS)).astype(np.uint8)
        file.create_dataset("label", data=blocks, chunks=(4, POINTS), compression="gzip")
    (folder / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/blocks_0.h5\n")
    (folder / "room_filelist.txt").write_text(f"{ROOM}\n" * 4 + "Area_2_office_1\n" * (BLOCKS - 4))
    names = {"list": "all_files.txt", "rooms": "room_filelist.txt", "blocks": "blocks_0.h5", "values": "blocks_0.h5"}
    return {f"pointnet-{kind}": (folder / name, BLOCKS * POINTS) for kind, name in names.items()}


def _source_files(folder, xyz, rgb, labels):
    """What `prepare` reads: a room of Pointcept, one of seven columns, and one of the raw release."""
    import numpy as np

    room = folder / "pointcept" / "Area_1" / "office_1"
    room.mkdir(parents=True)
    parts = {"coord": xyz.astype(np.float32), "color": rgb, "segment": labels.astype(np.int16), "instance": labels // 2}
    for part, values in parts.items():
        np.save(room / f"{part}.npy", values)
    files = {f"pointcept-{part}": (room / f"{part}.npy", POINTS) for part in parts}

    (folder / "collected").mkdir()
    files["collected"] = folder / "collected" / f"{ROOM}.npy", POINTS
    np.save(files["collected"][0], np.column_stack([xyz, rgb, labels]))

    room = folder / "release" / "Area_1" / "office_1"
    (room / "Annotations").mkdir(parents=True)
    lines = [" ".join((*(f"{value:.3f}" for value in point), *map(str, color))) for point, color in zip(xyz, rgb)]
    for name, some in (("chair_1", lines[:30]), ("floor_1", lines[30:])):
        (room / "Annotations" / f"{name}.txt").write_text("\n".join(some) + "\n")
    (room / "office_1.txt").write_text("\n".join(lines) + "\n")
    files["release"] = room / "Annotations" / "chair_1.txt", POINTS
    return files


def _run_files(folder, xyz, rgb, labels):
    """last.pt of a run that was stopped in its second epoch, with a scaler, and the room it trains on."""
    import numpy as np

    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import room_of
    from s3dis_seg.training import TrainConfig, train

    xyz, labels = np.concatenate([xyz * (0.5, 0.3, 0.9)] * 4), np.concatenate([labels] * 4)
    write_room(room_of(ROOM, xyz, np.concatenate([rgb] * 4), labels), folder / "rooms")
    network = {"blocks": 2, "channels": 4, "k": 2}
    config = TrainConfig(str(folder / "rooms"), (ROOM,), (ROOM,), model="resgcn7", overrides=network, amp="fp16",
                         num_points=32, epochs=2, batch_size=2, schedule="cosine")  # fmt: skip
    steps = iter([False] * 8)
    train(config, folder / "run", stopping=lambda: next(steps, True), device="cpu")
    return {"run": (folder / "run" / "last.pt", None), "run-values": (folder / "run" / "last.pt", None)}
