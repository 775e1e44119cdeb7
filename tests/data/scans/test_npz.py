"""Archives of numpy arrays as scans."""

import io
import zipfile

import numpy as np
import pytest

from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import labels_of, read_scan, write_scan
from s3dis_seg.data.scans.labels import values_of
from s3dis_seg.files import InputError

XYZ = np.random.default_rng(0).random((4, 3))
RGB = np.full((4, 3), 200, np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("xyz", "rgb"), ("points", "Colors"), ("coord", "color")])
def test_arrays_are_taken_by_their_names(tmp_path, save, names):
    save(tmp_path / "a.npz", **{names[0]: XYZ, names[1]: RGB, "my_label": np.array([2, 3, 2, -1], np.int16)})
    scan = read_scan(tmp_path / "a.npz")
    np.testing.assert_array_equal(scan.xyz, XYZ)
    np.testing.assert_array_equal(scan.rgb, RGB)
    assert scan.columns["my_label"].tolist() == [2, 3, 2, -1]


def test_columns_of_their_own_are_taken_as_well(tmp_path):
    np.savez(tmp_path / "a.npz", x=XYZ[:, 0], y=XYZ[:, 1], z=XYZ[:, 2])
    np.testing.assert_array_equal(read_scan(tmp_path / "a.npz").xyz, XYZ)


def test_labels_may_be_words(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=XYZ, species=np.array(["oak", "elm", "oak", "grass"]))
    scan = read_scan(tmp_path / "a.npz", classes=classes_of_text("tree = oak, elm\nignore = grass", "x"))
    assert values_of(scan, "species") == {"elm": 1, "grass": 1, "oak": 2}
    assert labels_of(scan, "species").tolist() == [0, 0, 0, 255]
    scan.predictions = np.zeros(4, np.uint8)
    write_scan(tmp_path / "a.ply", scan)  # which holds no words
    assert "species" not in read_scan(tmp_path / "a.ply").columns
    with pytest.raises(InputError, match=r"'species' of .* holds elm; labels are 0 \(ceiling\)"):
        labels_of(read_scan(tmp_path / "a.npz"), "species")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"xyz": XYZ, "more": np.zeros((4, 7))},
            r"holds 'more', float64 of shape \(4, 7\); expected xyz",
        ),
        ({"xyz": XYZ, "names": np.array(["a", "b"])}, "holds 'names'"),
        ({"xyz": XYZ, "c": np.zeros(4, complex)}, "holds 'c', complex128"),
        ({"label": np.zeros(4)}, "has no x, y, z among its properties label"),
        ({}, "has no x, y, z"),
        ({"xyz": np.array([[{}, 1, 2]], object)}, "damaged or no .npz archive"),
    ],
)
def test_other_arrays_are_told(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=words):
        read_scan(tmp_path / "a.npz")


def test_a_shape_that_the_file_cannot_hold_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("xyz.npy", buffer.getvalue())
    with pytest.raises(InputError, match="cannot have its shape"):
        read_scan(tmp_path / "a.npz")


def test_damaged_files_give_a_scan_or_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "whole.npz", xyz=XYZ, rgb=RGB, my_label=np.array(["a", "b", "c", "d"]))
    whole = (tmp_path / "whole.npz").read_bytes()
    for number in range(300):
        bad = bytearray(whole[: rng.integers(1, len(whole))] if number % 3 == 0 else whole)
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.integers(0, 256)
        (tmp_path / "a.npz").write_bytes(bad)
        try:
            read_scan(tmp_path / "a.npz", units="m")
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 600
