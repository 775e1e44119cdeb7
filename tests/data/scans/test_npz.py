"""Archives of numpy: the names people give to arrays, and the same arrays again in the output."""

import zipfile

import numpy as np
import pytest

from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import Scan, labels_of, read_scan, write_scan
from s3dis_seg.data.scans.labels import values_of
from s3dis_seg.files import InputError

RNG = np.random.default_rng(0)
XYZ, RGB = RNG.random((200, 3)) * 3, RNG.integers(1, 256, (200, 3)).astype(np.uint8)
LABELS = (np.arange(200) % 13).astype(np.int64)


def segmented(scan):
    scan.predictions, scan.confidence = LABELS.astype(np.uint8), np.full(200, 0.5, np.float32)
    return scan


@pytest.mark.parametrize("arrays", [
    {"xyz": XYZ, "rgb": RGB, "label": LABELS},
    {"points": XYZ, "colors": RGB / 255, "labels": LABELS[:, None]},
    {"Coord": np.asfortranarray(XYZ), "color": RGB, "label": LABELS},
    {"x": XYZ[:, 0], "y": XYZ[:, 1], "z": XYZ[:, 2], "rgb": RGB, "label": LABELS},
    {"arr_0": np.c_[XYZ, RGB, LABELS]},
    {"anything": np.c_[XYZ, RGB, LABELS], "names": np.array(["a", "b"])},
])  # fmt: skip
def test_arrays_by_the_names_that_people_give_them(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    scan = read_scan(tmp_path / "a.npz")
    np.testing.assert_array_equal(scan.xyz, XYZ)
    np.testing.assert_array_equal(scan.rgb, RGB)
    np.testing.assert_array_equal(scan.labels, LABELS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_a_file_come_out_unchanged(tmp_path, save):
    given = {"xyz": XYZ, "rgb": RGB, "normals": XYZ[::-1].copy(), "label": LABELS, "pose": np.eye(4),
             "names": np.array(["one", "two"]), "feature": RNG.random((200, 5)).astype(np.float32)}  # fmt: skip
    save(tmp_path / "a.npz", **given)
    for _ in range(2):  # the second time from what was segmented before
        assert not {"xyz", "rgb"} & set(write_scan(tmp_path / "b.npz", segmented(read_scan(tmp_path / "a.npz"))))
        with np.load(tmp_path / "b.npz") as archive:
            for name, values in given.items():
                np.testing.assert_array_equal(archive[name], values)
                assert archive[name].dtype == values.dtype
            np.testing.assert_array_equal(archive["prediction"], LABELS)
            assert {"confidence", "red", "green", "blue"} <= set(archive)
        again = read_scan(tmp_path / "b.npz")
        np.testing.assert_array_equal(again.rgb, RGB)
        np.testing.assert_array_equal(again.predictions, LABELS)
        (tmp_path / "b.npz").rename(tmp_path / "a.npz")
    method = zipfile.ZipFile(tmp_path / "a.npz").infolist()[0].compress_type
    assert (method == zipfile.ZIP_DEFLATED) == (save is np.savez_compressed)


def test_a_scan_made_in_python_is_one_array_a_column(tmp_path):
    write_scan(tmp_path / "a.npz", Scan(XYZ, RGB))
    with np.load(tmp_path / "a.npz") as archive:
        assert set(archive) == {"x", "y", "z", "red", "green", "blue"}


def test_python_objects_are_left_out_and_told(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=XYZ, who=np.array([{"me": 1}], dtype=object))
    assert "'who' holds Python objects" in read_scan(tmp_path / "a.npz").warnings[0]


def with_claim(path, shape):
    """An archive whose array claims a shape that its bytes do not hold."""
    header = str({"descr": "<f8", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xyz.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(240))


def test_what_is_no_archive_of_points_is_one_sentence(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, xyz=XYZ)
    cut = path.read_bytes()[:-30]
    for make, message in (
        (lambda: path.write_bytes(cut), "no .npz archive"),
        (lambda: path.write_bytes(b"hello"), "no .npz archive"),
        (lambda: np.savez(path, a=XYZ, b=XYZ), r"no array that is known to hold coordinates.*a \(200, 3\)"),
        (lambda: np.savez(path, a=np.arange(3)), "no array that is known"),
        (lambda: np.savez(path), "holds no arrays"),
        (lambda: with_claim(path, (2**40, 3)), "in 240 bytes"),
        (lambda: with_claim(path, (9, 3)), "in 240 bytes"),
    ):
        make()
        with pytest.raises(InputError, match=message) as error:
            read_scan(path)
        assert "\n" not in str(error.value)


def test_labels_may_be_words(tmp_path):
    xyz = np.random.default_rng(0).random((4, 3))
    np.savez(tmp_path / "a.npz", xyz=xyz, species=np.array(["oak", "elm", "oak", "grass"]))
    scan = read_scan(tmp_path / "a.npz", classes=classes_of_text("tree = oak, elm\nignore = grass", "x"))
    assert values_of(scan, "species") == {"elm": 1, "grass": 1, "oak": 2}
    assert labels_of(scan, "species").tolist() == [0, 0, 0, 255]
    scan.predictions = np.zeros(4, np.uint8)
    write_scan(tmp_path / "a.ply", scan)  # which holds no words
    assert "species" not in read_scan(tmp_path / "a.ply").columns
    write_scan(tmp_path / "b.npz", scan)
    assert np.load(tmp_path / "b.npz")["species"].tolist() == ["oak", "elm", "oak", "grass"]
    with pytest.raises(InputError, match=r"'species' of .* holds elm; labels are 0 \(ceiling\)"):
        labels_of(read_scan(tmp_path / "a.npz"), "species")
