"""E57: several scans with poses, points without a valid place, and a file that comes out as it was."""

import sys

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan, contained, read_scan, write_scan
from s3dis_seg.files import InputError

pye57 = pytest.importorskip("pye57")

TURN = np.array([np.cos(0.3), 0, 0, np.sin(0.3)])  # by 0.6 about z, as w x y z
N = 120


def two_scans(path):
    """Two scans with poses, every tenth point invalid. -> per scan the fields, as pye57 takes them"""
    rng = np.random.default_rng(0)
    scans = []
    with pye57.E57(str(path), mode="w") as file:
        for number in range(2):
            fields = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), rng.random((3, N)) * 3))
            fields |= dict(zip(("colorRed", "colorGreen", "colorBlue"), rng.integers(0, 256, (3, N)).astype(np.uint8)))
            fields |= {"intensity": rng.random(N), "cartesianInvalidState": (np.arange(N) % 10 == 0).astype(np.int8)}
            file.write_scan_raw(fields, rotation=TURN, translation=np.array([number, 2.0, 0.5]))
            scans.append(fields)
    return scans


def segmented(scan):
    scan.predictions = (np.arange(len(scan)) % 13).astype(np.uint8)
    scan.confidence = np.linspace(0, 1, len(scan)).astype(np.float32)
    return scan


def test_scans_are_put_together_where_their_poses_say(tmp_path):
    two_scans(tmp_path / "a.e57")
    scan = read_scan(tmp_path / "a.e57")
    with pye57.E57(str(tmp_path / "a.e57")) as file:
        given = [file.read_scan(number, colors=True, intensity=True) for number in range(2)]
    for axis, name in enumerate(("cartesianX", "cartesianY", "cartesianZ")):
        np.testing.assert_allclose(scan.xyz[:, axis], np.concatenate([part[name] for part in given]), atol=1e-12)
    np.testing.assert_array_equal(scan.rgb[:, 1], np.concatenate([part["colorGreen"] for part in given]))
    np.testing.assert_array_equal(scan.columns["scan"], np.repeat([0, 1], 108))
    assert "24 points that are marked as invalid are left out" in scan.warnings[0]


def test_coordinates_on_a_sphere_become_plain_ones(tmp_path):
    from pye57 import libe57

    image = libe57.ImageFile(str(tmp_path / "a.e57"), "w")
    image.extensionsAdd("", libe57.E57_V1_0_URI)
    scans, node, prototype = libe57.VectorNode(image, True), libe57.StructureNode(image), libe57.StructureNode(image)
    image.root().set("data3D", scans)
    scans.append(node)
    buffers = libe57.VectorSourceDestBuffer()
    values = {"sphericalRange": [1.0, 2.0, 3.0], "sphericalAzimuth": [0, np.pi / 2, 0], "sphericalElevation": [0, 0, 1]}
    arrays = {name: np.array(numbers, float) for name, numbers in values.items()}
    for name, array in arrays.items():
        prototype.set(name, libe57.FloatNode(image))
        buffers.append(libe57.SourceDestBuffer(image, name, array, 3, True, True))
    points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
    node.set("points", points)
    writer = points.writer(buffers)
    writer.write(3)
    writer.close()
    image.close()
    expected = [[1, 0, 0], [0, 2, 0], [3 * np.cos(1), 0, 3 * np.sin(1)]]
    np.testing.assert_allclose(read_scan(tmp_path / "a.e57").xyz, expected, atol=1e-12)


def test_a_file_comes_out_as_it_was_with_our_fields_added(tmp_path):
    two_scans(tmp_path / "a.e57")
    scan = segmented(read_scan(tmp_path / "a.e57"))
    assert write_scan(tmp_path / "b.e57", scan, keep_rgb=True) == {}
    with pye57.E57(str(tmp_path / "a.e57")) as old, pye57.E57(str(tmp_path / "b.e57")) as new:
        assert new.scan_count == 2
        for number in range(2):
            before, after = old.get_header(number), new.get_header(number)
            np.testing.assert_array_equal(before.rotation, after.rotation)
            np.testing.assert_array_equal(before.translation, after.translation)
            fields = old.read_scan_raw(number)
            again = new.read_scan_raw(number, ignore_unsupported_fields=True)
            for name, values in fields.items():  # the invalid points as well
                np.testing.assert_array_equal(again[name], values)
    again = read_scan(tmp_path / "b.e57")
    np.testing.assert_array_equal(again.predictions, scan.predictions)
    np.testing.assert_array_equal(again.confidence, scan.confidence)


def test_class_colors_go_to_the_usual_names_and_those_of_the_scan_are_kept(tmp_path):
    two_scans(tmp_path / "a.e57")
    scan = segmented(read_scan(tmp_path / "a.e57"))
    write_scan(tmp_path / "b.e57", scan)
    again = read_scan(tmp_path / "b.e57")
    np.testing.assert_array_equal(again.rgb, scan.rgb)  # from scan_red, scan_green, scan_blue
    write_scan(tmp_path / "b.ply", scan)
    np.testing.assert_array_equal(again.columns["red"], read_scan(tmp_path / "b.ply").columns["red"])
    write_scan(tmp_path / "c.e57", segmented(again))  # a second time
    np.testing.assert_array_equal(read_scan(tmp_path / "c.e57").rgb, scan.rgb)


def test_columns_of_every_type_are_written_into_a_new_file(tmp_path):
    kinds = ["?", "u1", "i1", "u2", ">i2", "u4", "i8", "f2", ">f4", "f8"]
    columns = {f"as_{place}": np.array([0, 1, 1], kind) for place, kind in enumerate(kinds)}
    write_scan(tmp_path / "a.e57", Scan(np.eye(3), columns=columns | {"nx": np.array([0.0, -0.5, 1.0])}))
    again = read_scan(tmp_path / "a.e57").columns
    for name in columns:
        np.testing.assert_array_equal(again[name], [0, 1, 1])
    np.testing.assert_array_equal(again["nx"], [0, -0.5, 1])


def test_a_file_that_is_cut_or_changed_is_one_sentence(tmp_path):
    two_scans(tmp_path / "a.e57")
    content = (tmp_path / "a.e57").read_bytes()
    changed = bytearray(content)
    changed[1500] ^= 255
    for bad in (content[:2000], bytes(changed), b"hello"):
        (tmp_path / "b.e57").write_bytes(bad)
        with pytest.raises(InputError, match="damaged or cannot be read") as error:
            read_scan(tmp_path / "b.e57")
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_native_code_that_crashes_does_not_end_the_program(tmp_path, monkeypatch):
    monkeypatch.setattr(contained, "_CALL", "import os; os.abort()")
    two_scans(tmp_path / "a.e57")
    with pytest.raises(InputError, match="its reader ended with code -6"):
        read_scan(tmp_path / "a.e57")


def test_without_pye57_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    two_scans(tmp_path / "a.e57")
    monkeypatch.setitem(sys.modules, "pye57", None)
    with pytest.raises(InputError, match="pip install pye57"):
        read_scan(tmp_path / "a.e57")


def test_a_file_that_was_changed_before_writing_is_one_sentence_and_harms_nobody(tmp_path):
    two_scans(tmp_path / "a.e57")
    scan = segmented(read_scan(tmp_path / "a.e57"))
    content = (tmp_path / "a.e57").read_bytes()
    for damaged in (content[:3000], b"\xff" * len(content), content[: len(content) // 2] * 2):
        (tmp_path / "a.e57").write_bytes(damaged)
        with pytest.raises(InputError, match=r"cannot write .*b.e57: the scan .*a.e57, which must be read again"):
            write_scan(tmp_path / "b.e57", scan)
        assert [path.name for path in tmp_path.iterdir()] == ["a.e57"]


def test_the_file_that_was_read_is_never_opened_again_by_this_process(tmp_path, monkeypatch):
    from pye57 import libe57

    two_scans(tmp_path / "a.e57")
    scan = segmented(read_scan(tmp_path / "a.e57"))
    monkeypatch.setattr(libe57, "ImageFile", None)
    write_scan(tmp_path / "b.e57", scan)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_scan(tmp_path / "b.e57").predictions, scan.predictions)
