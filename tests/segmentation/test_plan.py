"""Scans are placed so that a few far points do not spoil the others."""

import json

import numpy as np
import pytest

from s3dis_seg.data.blocks import cloud as cloud_stage
from s3dis_seg.segmentation.plan import Placement, placement_of


def definition(xyz):
    steps = np.rint(np.asarray(xyz, np.float64) * 1e4)  # tenths of a millimetre
    return ((steps - steps.min(axis=0)) / 1e4).astype(np.float32)


def usable_points(xyz):
    placement = placement_of(xyz)
    usable, relative = placement.place(xyz)
    assert placement.num_usable == len(relative)
    if len(relative):
        np.testing.assert_array_equal(placement.hi, relative.max(axis=0))
    again = Placement.of(json.loads(json.dumps(placement.fields())))
    np.testing.assert_array_equal(again.place(xyz)[1], relative)
    return relative, usable, placement.num_far


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_a_scan_without_far_points_is_moved_to_its_corner(kind, monkeypatch):
    monkeypatch.setattr(cloud_stage, "_AT_ONCE", 70)
    xyz = (np.random.default_rng(0).random((500, 3)) * (30, 20, 5) + (450_000, 520_000, -3)).astype(kind)
    relative, usable, num_far = usable_points(xyz)
    np.testing.assert_array_equal(relative, definition(xyz))
    assert usable is None and num_far == 0


@pytest.mark.parametrize("place", [-1e6, 1e5, 1e30, -1e300, 1.7e308])
@pytest.mark.parametrize("axis", [0, 2])
def test_far_points_leave_the_others_as_they_are(place, axis):
    xyz = np.random.default_rng(0).random((5000, 3)) * (6, 4, 3)
    spoilt = xyz.copy()
    spoilt[[7, 4000], axis] = place
    relative, usable, num_far = usable_points(spoilt)
    np.testing.assert_array_equal(np.flatnonzero(~usable), [7, 4000])
    np.testing.assert_array_equal(relative, definition(xyz[usable]))
    assert num_far == 2


def test_both_far_ends_at_once_do_not_overflow():
    xyz = np.random.default_rng(0).random((5000, 3))
    xyz[:200], xyz[200:400] = 1.7e308, -1.7e308
    relative, usable, num_far = usable_points(xyz)
    assert num_far == 400 and usable.sum() == 4600 and relative.max() <= 1


def test_a_yard_beside_a_room_is_kept():
    xyz = np.random.default_rng(0).random((5000, 3)) * 3
    xyz[0] += 90
    assert usable_points(xyz)[1] is None


@pytest.mark.parametrize("count", [1, 5, 200])
def test_nothing_finite_leaves_no_point(count):
    relative, usable, num_far = usable_points(np.full((count, 3), np.nan))
    assert relative.shape == (0, 3) and not usable.any() and num_far == 0


def test_float32_and_text_of_four_decimals_are_placed_alike():
    xyz = (np.random.default_rng(0).random((5000, 3)) * (30, 20, 5) + (40, -50, -3)).astype(np.float32)
    text = np.array([[float(f"{value:.4f}") for value in row] for row in xyz])
    assert (text != xyz).any()
    np.testing.assert_array_equal(usable_points(xyz)[0], usable_points(text)[0])
