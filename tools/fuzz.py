"""Damaged files against every reader: `python tools/fuzz.py --seed 0 --count 500 --only ply pcd --keep failures`.

A valid small file of every format is damaged in a way that the seed decides, and read in a worker process. A reader
must either read it or raise InputError with one sentence. The table counts what happened instead:

traceback   any other exception, a sentence of several lines included
dead        the process ended
too slow    no answer in 10 s
too much    more memory than 200 MB and three times the file
suspicious  read, but with another number of points than the valid file: for a person to look at
"""

import argparse
import collections
import io
import json
import random
import re
import resource
import select
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

SECONDS = 10
MEMORY = 200 << 20
ADDRESSES = 16 << 30  # bytes of address space: what asks for more gets a MemoryError and does not stop the machine
OUTCOMES = ("sentence", "read", "traceback", "dead", "too slow", "too much")
FAILURES = OUTCOMES[2:]
POINTS = 50
_ODD_NUMBERS = (
    b"-1", b"0", b"1", b"3", b"49", b"51", b"4294967295", b"4294967296", b"9223372036854775808", b"1e99", b"1.5",
    b"nan", b"inf", b"", b"x", "²".encode(), "٣".encode(), b"9" * 4400, b"-9223372036854775808", b"100000000",
)  # fmt: skip
_ODD_BYTES = [
    struct.pack(kind, value)
    for kind, values in (
        ("<I", (0, 1, 2**31 - 1, 2**31, 2**32 - 1)),
        ("<Q", (0, 2**63, 2**64 - 1)),
        ("<H", (0, 1, 65535)),
        ("<d", (float("nan"), float("inf"), -1e300, 0.0)),
        ("<f", (float("nan"), 1e30)),
        (">I", (1, 2**31)),
    )
    for value in values
]
_TYPE_WORDS = tuple(
    word.encode()
    for word in [
        "float",
        "double",
        "uchar",
        "char",
        "int",
        "uint",
        "short",
        "list",
        "F",
        "U",
        "I",
        "ascii",
        "binary",
        "binary_compressed",
        "binary_little_endian",
        "binary_big_endian",
        "x",
        "y",
        "rgb",
    ]
)


# --- valid files ------------------------------------------------------------------------------------------------------


def valid_files(folder):
    """One small valid file of every kind. -> dict of kind: (path, number of points or None)"""
    import numpy as np

    rng = np.random.default_rng(0)
    xyz, rgb = rng.random((POINTS, 3)) * 3, rng.integers(1, 256, (POINTS, 3)).astype(np.uint8)
    labels = rng.integers(0, 13, POINTS).astype(np.uint8)
    files = {}
    for make in (_ply_files, _las_files, _array_files, _text_files, _pcd_files, _our_files):
        files |= make(folder, xyz, rgb, labels)
    return files


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
    np.savez(folder / "renamed.npz", xyz=xyz)
    (folder / "renamed.npz").rename(folder / "npz-renamed.npy")
    return {"npy": (folder / "npy.npy", POINTS), "npy-names": (folder / "npy-names.npy", POINTS),
            "npz-renamed": (folder / "npz-renamed.npy", None)}  # fmt: skip


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
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import Repair, room_of
    from s3dis_seg.evaluation.predictions import save_predictions
    from s3dis_seg.models.card import Card
    from s3dis_seg.models.checkpoint import save_checkpoint
    from s3dis_seg.models.official import layer_names

    repairs = (Repair("Area_1/office_1/Annotations/chair_1.txt", 7, "a control character"),)
    write_room(room_of("Area_1_office_1", xyz, rgb, labels, repairs=repairs), folder)
    model = s3dis_seg.create_model("resgcn7", channels=8)
    save_checkpoint(folder / "checkpoint.pt", model, Card(None, model.config), {"epoch": 1})
    theirs = {ours: name for ours, name in layer_names({f"backbone.{place}.": 0 for place in range(6)}).items()}
    state = {}
    for key, value in model.state_dict().items():
        layer, leaf = key.rsplit(".", 1)
        state[f"{theirs[layer]}.{leaf}"] = value[:, :, None, None] if value.dim() == 2 else value
    torch.save({"epoch": 1, "state_dict": state}, folder / "official.pth")
    save_predictions(folder / "predictions.npz", "key", labels, labels)
    (folder / "split.split").write_text("[train]\nArea_1_office_*\n[val]\n[test]\nArea_5_*  # the usual one\n")
    return {"room": (folder / "Area_1_office_1.h5", POINTS), "room-values": (folder / "Area_1_office_1.h5", POINTS),
            "checkpoint": (folder / "checkpoint.pt", None), "checkpoint-values": (folder / "checkpoint.pt", None),
            "official": (folder / "official.pth", None), "official-values": (folder / "official.pth", None),
            "predictions": (folder / "predictions.npz", None), "split": (folder / "split.split", None)}  # fmt: skip


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(content, rng, kind=""):
    """One to three kinds of damage. bytes, random.Random -> bytes, what was done

    A kind that ends in -values gets sound files with odd values in them. Every other archive is damaged inside, since
    its checksums would tell of any other damage.
    """
    if kind in _VALUE_DAMAGES:
        return _VALUE_DAMAGES[kind](content, rng)
    if content[:2] == b"PK" and rng.random() < 0.5:
        return _damaged_inside(content, rng)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        damage = rng.choice(_DAMAGES)
        content = damage(content, rng)
        done.append(damage.__name__.strip("_"))
    return content, " + ".join(done)


def _place(content, rng):
    """A place in the file; every other time one in its first 500 bytes, where headers are."""
    return rng.randrange(max(1, min(len(content), 500) if rng.random() < 0.5 else len(content)))


def _flip(content, rng):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        if changed:
            changed[_place(content, rng)] = rng.randrange(256)
    return bytes(changed)


def _cut(content, rng):
    return content[: _place(content, rng)]


def _drop(content, rng):
    start = _place(content, rng)
    return content[:start] + content[start + rng.choice((1, 4, 30)) :]


def _double(content, rng):
    start = _place(content, rng)
    part = content[start : start + rng.choice((1, 4, 60))]
    return content[: start + len(part)] + part + content[start + len(part) :]


def _extreme(content, rng):
    start, odd = _place(content, rng), rng.choice(_ODD_BYTES)
    return content[:start] + odd + content[start + len(odd) :]


def _replace(content, rng, pattern, choices):
    found = list(re.finditer(pattern, content[: rng.choice((600, 100_000))]))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(choices) + content[match.end() :]


def _odd_number(content, rng):
    return _replace(content, rng, rb"(?<![\w.])-?\d[\d.]*", _ODD_NUMBERS)


def _other_word(content, rng):
    return _replace(content, rng, rb"(?<!\w)[A-Za-z_]{1,20}(?!\w)", _TYPE_WORDS)


def _lines(content, rng):
    """A line fewer, twice, elsewhere, or of other words."""
    lines = content.split(b"\n")
    place = rng.randrange(min(len(lines), 20))
    line = lines.pop(place)
    what = rng.randrange(4)
    if what == 1:
        lines[place:place] = [line, line]
    elif what == 2:
        lines.insert(rng.randrange(min(len(lines), 20) + 1), line)
    elif what == 3:
        lines.insert(
            place, rng.choice((b"", b"#", b"property list uchar int q", b"COUNT 2", b"\xff\xfe words", b"1 2"))
        )
    return b"\n".join(lines)


def _line_ends(content, rng):
    return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"\0\n")))


def _encoding(content, rng):
    text = content.decode("latin-1")
    return rng.choice((b"\xef\xbb\xbf" + content, text.encode("utf-16"), text.encode("utf-8")))


def _long_line(content, rng):
    if rng.random() < 0.8:
        return _flip(content, rng)
    start = content.find(b"\n") + 1
    return content[:start] + rng.choice((b"x", b"comment ", b"# ", b"1 ")) * 2_000_000 + b"\n" + content[start:]


def _tail(content, rng):
    return content + rng.choice((b"\0", b"1 2 3\n", bytes(1000), content))


def _damaged_inside(content, rng):
    """Damage in one file of an archive, which is packed again with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    # The small files, such as the pickle, are where the structure is.
    name = rng.choice(sorted(files) if rng.random() < 0.3 else sorted(files, key=lambda name: len(files[name]))[:4])
    name = next((pickle for pickle in files if pickle.endswith("data.pkl")), name) if rng.random() < 0.5 else name
    files[name], how = damaged(files[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(
        packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as out:
        for name_there, data in files.items():
            out.writestr(zipfile.ZipInfo(name_there), data)
    return packed.getvalue(), f"{how} in {name}"


def _odd_value(rng):
    import numpy as np

    return rng.choice((
        None, True, -1, 0, 1, 255, 2**31, 2**62, 10**400, -1.5, 1e-300, 1e300, float("nan"), float("inf"), "", "x",
        "²", "\ud800", "a" * 70_000, "../x", "x\0y", [], [1], [[]] * 3, {}, {"x": 1}, (), b"\xff", complex(1, 2),
        np.zeros(0), np.zeros((2, 3)), np.float32(np.nan), np.arange(13), np.zeros((50, 3), ">f4"), np.int64(3),
    ))  # fmt: skip


def _room_values(content, rng):
    """A prepared room in which one to three datasets or attributes are missing, of another kind, or odd."""
    import h5py
    import numpy as np

    buffer, done = io.BytesIO(content), []
    with h5py.File(buffer, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            holder = file.attrs if rng.random() < 0.4 else file
            names = [*file.attrs] if holder is file.attrs else [
                "xyz", "rgb", "labels", "instances", "cells", "cells/indices", "cells/starts", "profile",
                "profile/starts", "profile/bins", "profile/counts", "repairs",
            ]  # fmt: skip
            name = rng.choice(names)
            if name not in holder:
                continue
            small = holder is file.attrs or (isinstance(holder[name], h5py.Dataset) and holder[name].nbytes < 1 << 20)
            old = holder[name][()] if small and holder is file else holder[name] if small else None
            del holder[name]
            what = rng.choice(("gone", "odd", "odd", "type", "shape", "numbers", "numbers", "huge", "text"))
            done.append(f"{name} {what}")
            numbers = isinstance(old, np.ndarray) and old.dtype.kind in "iuf" and old.size
            try:
                if what == "odd":
                    holder[name] = _odd_value(rng)
                elif what == "text":
                    holder[name] = rng.choice(
                        ("[]", "{}", "[" * 100_000, '["a"]', '[{"x": 1}]', "[1, null]", "NaN", "1e999")
                    )
                elif what == "huge" and holder is file:
                    shape = rng.choice(((2**40,), (2**40, 3), (2**33, 2)))
                    file.create_dataset(name, shape, getattr(old, "dtype", "f4"), chunks=rng.choice((None, True)))
                elif what == "type" and numbers:
                    holder[name] = old.astype(
                        rng.choice(("f8", "f4", "i8", "i4", "u1", "i1", ">f4", ">i8", "f2", "S5"))
                    )
                elif what == "shape" and numbers:
                    holder[name] = rng.choice(
                        (old[:-1], old[:0], np.concatenate([old, old]), old[None], old.ravel(), old[..., None])
                    )
                elif what == "numbers" and numbers:
                    changed = old.copy()
                    odd = (-1, 0, 1, 49, 50, 51, 255, 2**31 - 1, -(2**31), 2**62, np.nan, np.inf, 1e30)
                    with np.errstate(all="ignore"):
                        for _ in range(rng.choice((1, 1, 3))):
                            place = rng.choice((0, -1, rng.randrange(changed.size)))
                            changed.ravel()[place] = np.array(rng.choice(odd)).astype(changed.dtype)
                    holder[name] = changed
            except (TypeError, ValueError, OSError, OverflowError, UnicodeError):
                done[-1] += " (gone)"  # what HDF5 cannot hold
    return buffer.getvalue(), " + ".join(done)


def _checkpoint_values(content, rng):
    """A checkpoint in which one to three values are missing, doubled, or odd."""
    import torch

    tree, done = torch.load(io.BytesIO(content), weights_only=True), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder, where = tree, []
        while True:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            where.append(str(key))
            if not isinstance(holder[key], (dict, list)) or not holder[key] or rng.random() < 0.1:
                break
            holder = holder[key]
        what = rng.choice(("gone", "odd", "odd", "odd", "tensor", "tensor", "name"))
        done.append(f"{'/'.join(where)} {what}")
        value = holder.pop(key)
        if what == "odd":
            value = _odd_value(rng)
        elif what == "tensor":
            value = _odd_tensor(value, rng)
        if what == "name" and isinstance(holder, dict):
            holder[rng.choice(("x", "", 3, None, "module.x", "x" * 70_000, "backbone.99.body.gconv.nn.0.weight"))] = (
                value
            )
        elif what != "gone" and isinstance(holder, dict):
            holder[key] = value
        elif what != "gone":
            holder.insert(key, value)
        if not tree:
            break
    buffer = io.BytesIO()
    try:
        torch.save(tree, buffer)
    except (RuntimeError, UnicodeError, ValueError):
        return content, "nothing: what was chosen cannot be saved"
    return buffer.getvalue(), " + ".join(done)


def _odd_tensor(value, rng):
    import torch

    value = value.clone() if isinstance(value, torch.Tensor) else torch.zeros(3)
    what = rng.randrange(12)
    if what == 0:
        return value.half()
    if what == 1:
        return value.to(rng.choice((torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16)))
    if what == 2:
        return value[None]
    if what == 3:
        return value.float().to_sparse()
    if what == 4:
        return torch.zeros(1).expand(2**40)
    if what == 5:
        return torch.empty(value.shape, device="meta")
    if what == 6:
        return torch.zeros(1).expand(value.shape)
    if what == 7:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch will drop them one day
            return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)
    if what == 8:
        return value.reshape(-1)[:0]
    if what == 9:
        return torch.nn.Parameter(value.float())
    flat = value.view(-1)
    if len(flat):
        flat[rng.randrange(len(flat))] = (
            rng.choice((-1, 0, 1))
            if not value.is_floating_point()
            else rng.choice((float("nan"), float("inf"), -1.0, 1e30))
        )
    return value


_VALUE_DAMAGES = {
    "room-values": _room_values, "checkpoint-values": _checkpoint_values, "official-values": _checkpoint_values
}  # fmt: skip
_DAMAGES = (_flip, _flip, _cut, _cut, _drop, _double, _extreme, _extreme, _odd_number, _odd_number, _other_word,
            _lines, _lines, _line_ends, _encoding, _long_line, _tail)  # fmt: skip


# --- the worker -------------------------------------------------------------------------------------------------------


def read(path):
    """Read a file as the program does. -> number of points, None where it has none"""
    if path.suffix == ".pt":
        from s3dis_seg.models.checkpoint import load_checkpoint

        return load_checkpoint(path) and None
    if path.suffix == ".pth":
        from s3dis_seg.models.checkpoint import load_checkpoint

        return load_checkpoint(path, "resgcn7", channels=8) and None
    if path.suffix == ".npz":
        from s3dis_seg.evaluation.predictions import load_predictions

        return load_predictions(path, "key") and None
    if path.suffix == ".split":
        from types import SimpleNamespace

        from s3dis_seg.data.splits import split_rooms

        names = ("Area_1_office_1", "Area_1_office_2", "Area_5_office_1")
        return split_rooms([SimpleNamespace(name=name) for name in names], split_file=path) and None
    if path.suffix == ".h5":
        _read_room(path)
    from s3dis_seg.data.scans import read_scan

    scan = read_scan(path, units="m")
    for values in scan.columns.values():
        values[:].sum()  # columns may be views of the file, which are read only now
    return len(scan)


def _read_room(path):
    """Read everything that training and evaluation ask of a prepared room."""
    from s3dis_seg.data.blocks.cloud import RoomPoints
    from s3dis_seg.data.blocks.columns import column_corners, column_points
    from s3dis_seg.data.rooms.prepared import RoomFile

    room = RoomFile(path)
    print(room.name, room.area, room.source, room.class_counts.sum(), room.repairs, room.offset, room.hi)
    room.room()
    room.profile.range([(0, len(room.cells.indices))])
    for grid in (0, 0.03):
        points = RoomPoints(room, grid)
        points.points_between((0.0, 0.0), (1.0, 1.0))
        column_points(points, column_corners(room.cells, room.hi, 1.0, 1.0)[0], 1.0, 20)


def _peak():
    """Bytes of memory that this process held at most since the last reset."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def _now():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work():
    """Read the files named on standard input, one a line, and answer each with a line of JSON."""
    from s3dis_seg.files import InputError

    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        Path("/proc/self/clear_refs").write_text("5")
        before, answer = _now(), {}
        try:
            answer = {"outcome": "read", "points": read(path)}
        except InputError as error:
            whole = "\n" not in str(error) and len(str(error)) < 1000
            answer = {"outcome": "sentence" if whole else "traceback", "why": f"InputError: {str(error)[:300]}"}
        except BaseException as error:  # native code raises panics that are no Exception
            frame = error.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
            answer = {"outcome": "traceback", "why": f"{type(error).__name__} in {where}: {str(error)[:150]}"}
        used = _peak() - before
        if used > MEMORY + 3 * path.stat().st_size:
            answer = {"outcome": "too much", "why": f"{used >> 20} MB"}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """A process that reads files one after another and is started again when it dies or does not answer."""

    def __init__(self, warm):
        self.warm, self.process = warm, None

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker"], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        for path in self.warm:  # what a reader imports and compiles is not counted as time and memory of a file
            self.ask(path, 120)

    def ask(self, path, seconds=SECONDS):
        if self.process is None:
            self.start()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            self.stop()
            return {"outcome": "too slow", "why": f"no answer in {seconds} s"}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.stop()
        return {"outcome": "dead", "why": f"exit code {code}"}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


# --- the run ----------------------------------------------------------------------------------------------------------


def fuzz(kinds, count, seed, keep=None):
    """Read `count` damaged files of every kind. Yields kind, Counter of outcomes, causes with their cases."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {kind: file for kind, file in valid_files(folder).items() if not kinds or _chosen(kind, kinds)}
        for kind, (valid, points) in files.items():
            worker = Worker([valid])
            table, causes = collections.Counter(), collections.defaultdict(list)
            try:
                for number in range(count):
                    content, how = damaged(valid.read_bytes(), random.Random(f"{seed} {kind} {number}"), kind)
                    path = folder / f"case{valid.suffix}"
                    path.unlink(missing_ok=True)
                    path.write_bytes(content)
                    answer = worker.ask(path)
                    outcome = answer["outcome"]
                    table[outcome] += 1
                    if outcome == "read" and answer["points"] != points:
                        table["suspicious"] += 1
                        outcome, answer["why"] = "suspicious", f"{answer['points']} points, not {points}"
                    if outcome in (*FAILURES, "suspicious"):
                        causes[f"{outcome}: {answer['why']}"].append((number, how))
                        if keep is not None:
                            keep.mkdir(parents=True, exist_ok=True)
                            (keep / f"{outcome.replace(' ', '-')}-{kind}-{seed}-{number}{valid.suffix}").write_bytes(
                                content
                            )
            finally:
                worker.stop()
            yield kind, table, causes


def _chosen(kind, kinds):
    return any(kind == wanted or kind.startswith(f"{wanted}-") for wanted in kinds)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="the same seed damages the same files in the same way")
    parser.add_argument("--count", type=int, default=200, help="damaged files of every kind")
    parser.add_argument("--only", nargs="+", metavar="FORMAT", help="kinds to try, such as ply, las, pcd-ascii")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder that gets the files that failed")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work()
        return 0
    heads = ("tried", *OUTCOMES, "suspicious")
    print("| format | " + " | ".join(heads) + " |\n|---" + "|---" * len(heads) + "|")
    total = collections.Counter()
    told = []
    for kind, table, causes in fuzz(options.only, options.count, options.seed, options.keep):
        total += table
        _print_row(kind, table)
        told += [(len(cases), kind, cause, *cases[0]) for cause, cases in causes.items()]
    _print_row("all", total)
    for cases, kind, cause, number, how in sorted(told, reverse=True):
        print(f"{cases:5} x {kind}: {cause} (such as number {number}: {how})")
    return int(any(total[failure] for failure in FAILURES))


def _print_row(kind, table):
    tried = sum(table[outcome] for outcome in OUTCOMES)
    print(
        f"| {kind} | {tried} | " + " | ".join(str(table[name]) for name in (*OUTCOMES, "suspicious")) + " |", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
