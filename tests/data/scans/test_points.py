"""Points handed over as arrays are checked as those of a file are."""

import numpy as np
import pytest

from s3dis_seg.data.scans import checked_points
from s3dis_seg.files import InputError

XYZ = np.random.default_rng(0).random((100, 3)).astype(np.float32) * 3
RGB = np.random.default_rng(1).integers(1, 256, (100, 3)).astype(np.uint8)


def test_good_arrays_come_back_as_they_are():
    xyz, rgb, notes = checked_points(XYZ, RGB)
    assert xyz is XYZ and rgb is RGB and notes == []


def test_no_colors_are_told():
    for rgb in (None, np.zeros((100, 3), np.float32)):
        _, found, (note,) = checked_points(XYZ, rgb)
        assert found is None and "colours" in note


@pytest.mark.parametrize("rgb", [RGB / 255, RGB.astype(float), RGB.astype(np.uint16) * 257, RGB.astype(int)])
def test_colors_of_other_types_become_bytes(rgb):
    np.testing.assert_array_equal(checked_points(XYZ, rgb)[1], RGB)


@pytest.mark.parametrize(("factor", "name"), [(1000, "millimetres"), (100, "centimetres")])
def test_other_units_are_told(factor, name):
    (note,) = checked_points(XYZ * factor, RGB)[2]
    assert name in note and "must be metres" in note


def test_coordinates_that_are_no_numbers_are_left_to_the_caller():
    xyz = XYZ.copy()
    xyz[0] = np.nan
    assert checked_points(xyz, RGB)[2] == []
    assert checked_points(np.full((3, 3), np.nan), RGB[:3])[2] == []


@pytest.mark.parametrize(("xyz", "rgb", "message"), [
    (XYZ[:, :2], None, r"xyz has shape \(100, 2\)"),
    (XYZ[0], None, "xyz has shape"),
    (XYZ.astype(str), None, "xyz has shape .* of <U"),
    (XYZ > 1, None, "of bool"),
    (XYZ[:0], None, "no points"),
    (XYZ, RGB[:50], r"rgb has shape \(50, 3\)"),
    (XYZ, RGB.astype(str), "rgb has shape .* of <U"),
    (XYZ, RGB > 1, "rgb has shape .* of bool"),
])  # fmt: skip
def test_other_shapes_and_types_are_refused(xyz, rgb, message):
    with pytest.raises(InputError, match=message):
        checked_points(xyz, rgb)
