"""What is said about scans that are unlike the rooms of the training, and that nothing is said about rooms."""

import numpy as np
import pytest

from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.scans import read_scan
from s3dis_seg.segmentation.layouts import layouts_of
from s3dis_seg.segmentation.notes import notes_on
from s3dis_seg.segmentation.plan import cloud_of, placement_of, sample_of

SETTINGS = BlockSettings(num_points=256, grid=0.02)


def notes(xyz):
    placement = placement_of(xyz)
    cloud = cloud_of(xyz, None, placement, SETTINGS.grid)
    layouts = layouts_of(cloud, SETTINGS, 1.0, 0)
    return " ".join(notes_on(len(xyz), sample_of(xyz, placement), placement, cloud, layouts, SETTINGS))


def room(size=(6.0, 4.0, 2.8), count=60_000):
    """Points on the six sides of a box, evenly by side."""
    rng = np.random.default_rng(0)
    xyz, side = rng.random((count, 3)), np.arange(count) % 6
    xyz[np.arange(count), side // 2] = side % 2
    return xyz * size


def turned(xyz, degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return xyz @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


@pytest.mark.parametrize("degrees", [0, 30])
def test_of_a_room_nothing_is_said(degrees):
    assert notes(turned(room(), degrees)) == ""


@pytest.mark.parametrize(("size", "expected"), [
    ((6.0, 4.0, 0.1), "only 0.1 m high"),
    ((6.0, 4.0, 1.0), "only 1.0 m high"),
    ((6.0, 0.2, 2.8), "only 0.2 m wide"),
])  # fmt: skip
@pytest.mark.parametrize("degrees", [0, 30])
def test_pieces_of_a_room_are_told(size, expected, degrees):
    said = notes(turned(room(size), degrees))
    assert "unlike the rooms of the training" in said and expected in said


def test_a_room_without_a_floor_is_told():
    xyz = room((12.0, 9.0, 2.8))
    assert "has a floor" in notes(xyz[xyz[:, 2] > 0.5])


def flat(count, size, corner):
    """Points on a rectangle, or in a box, with the noise of a scanner."""
    rng = np.random.default_rng(count)
    return rng.random((count, 3)) * size + corner + rng.normal(0, 0.01, (count, 3))


def yard(slope=0.0):
    """Level or rising ground of 20 m x 20 m with the front of a house, a car, and a tree."""
    ground = flat(180_000, (20, 20, 0), 0)
    tree = np.random.default_rng(1).normal(0, 0.9, (6000, 3)) + np.array([6, 6, 4])
    parts = [ground, flat(60_000, (20, 0, 7), (0, 20, 0)), flat(6000, (4, 1.8, 1.5), (10, 8, 0)), tree]
    xyz = np.concatenate(parts)
    return xyz + [0, 0, 1] * (slope * xyz[:, :1])


@pytest.mark.parametrize(("xyz", "expected"), [
    (yard(), "has a ceiling, as outdoors or where it was cut off"),
    (yard(0.1), "has a floor"),
    (room()[room()[:, 2] < 2.7], "has a ceiling, as outdoors or where it was cut off"),
    (flat(60_000, (5, 0.1, 2.8), 0), "only 0.1 m wide"),
    (np.concatenate([flat(60_000, (5, 0.1, 2.8), 0), flat(50_000, (0.1, 4, 2.8), 0)]), "walls alone, with points on 3"),
    (np.concatenate([flat(50_000, (5, 0.1, 2.8), 0), flat(22_000, (5, 1.2, 0), 0)]), "has a ceiling"),
], ids=["yard", "slope", "no ceiling", "one wall", "two walls", "a wall with some floor"])  # fmt: skip
@pytest.mark.parametrize("degrees", [0, 30])
def test_outdoors_open_rooms_and_walls_are_told(xyz, expected, degrees):
    said = notes(turned(xyz, degrees))
    assert "unlike the rooms of the training" in said and expected in said
    assert said.endswith("labels may be wrong and confident")


@pytest.mark.parametrize("size", [(6.0, 4.0, 2.8), (60.0, 40.0, 3.0)])
def test_too_few_points_for_their_room_are_told_as_sparse_and_not_as_open(size):
    said = notes(room(size, 1200))
    assert "sparse" in said or "fewer than" in said
    assert "ceiling" not in said and "walls" not in said


def test_far_points_are_told_apart_from_those_without_a_place():
    xyz = room()
    xyz[0], xyz[1:3] = np.nan, 1e6
    said = notes(xyz)
    assert "1 of 60,000 points have NaN" in said and "2 of 60,000 points lie far from all others" in said


def test_sparse_points_are_told_and_a_few_of_them_hide_no_other_warning():
    strays = np.random.default_rng(1).random((40, 3)) * (60, 60, 0.9) + [8, 8, 0]
    said = notes(np.concatenate([room((6.0, 4.0, 0.9)), strays]))
    assert "40 of 60,040 points have fewer than 256 in 3 m x 3 m about them" in said and "only 0.9 m high" in said
    assert "2,000 of 2,000 points have fewer" in notes(np.random.default_rng(1).random((2000, 3)) * (900, 900, 2.5))


def test_of_real_rooms_nothing_is_said_and_of_a_piece_of_a_wall_it_is(shared):
    scans = shared / "data" / "scans"
    paths = [*sorted((shared / "data" / "s3dis" / "rooms").glob("*.npy")), scans / "Area_4_hallway_5_crop.ply"]
    assert len(paths) == 29
    for path in paths:
        xyz = np.load(path)[:, :3] if path.suffix == ".npy" else read_scan(path).xyz
        assert "unlike" not in notes(xyz), path.stem
    assert "only 1.0 m high" in notes(read_scan(scans / "indoor_fragment_115.ply").xyz)
