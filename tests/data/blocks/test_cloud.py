"""The two sources of points: a cloud in memory and a room on disk."""

import pickle

import numpy as np
import pytest

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.blocks.cloud import Cloud, KeptPlaces, RoomPoints
from s3dis_seg.data.blocks.columns import column_corners, column_points
from s3dis_seg.data.rooms.prepared import RoomFile, write_room
from s3dis_seg.data.rooms.room import room_of
from tests.data.blocks.clouds import cloud_of, random_xyz


def a_room(rng, size=(4.3, 3.1, 2.6), count=6000, name="Area_1_office_1"):
    xyz = random_xyz(rng, size, count)
    return room_of(name, xyz, rng.integers(0, 256, (count, 3)), rng.integers(0, 13, count))


def test_thinning_keeps_one_point_a_voxel_and_every_point_has_an_owner():
    rng = np.random.default_rng(9)
    xyz = random_xyz(rng, (1.3, 1.2, 0.4), 5000)
    labels = rng.integers(0, 13, 5000).astype(np.uint8)
    cloud = Cloud.of(xyz, np.zeros((5000, 3), np.uint8), grid=0.1, labels=labels)
    assert len(cloud.xyz) < 1000
    assert (np.abs(cloud.xyz[cloud.owner] - xyz) <= 0.1 + 1e-6).all()
    assert set(cloud.owner) == set(range(len(cloud.xyz)))
    same = (cloud.xyz[cloud.owner] == xyz).all(axis=1)
    assert (cloud.labels[cloud.owner[same]] == labels[same]).all()
    assert cloud.profile.counts.sum() == 5000
    assert cloud.cells.starts[-1] == len(cloud.xyz)


def test_without_a_grid_every_point_stays():
    xyz = random_xyz(np.random.default_rng(9), (1.3, 1.2, 0.4), 500)
    cloud = cloud_of(xyz)
    assert (cloud.xyz[cloud.owner] == xyz).all()
    assert (cloud.labels == UNLABELLED).all()


def test_a_cloud_is_the_same_however_many_points_are_thinned_at_once(monkeypatch):
    xyz = random_xyz(np.random.default_rng(10), (5, 4, 1), 3000)
    whole = cloud_of(xyz, grid=0.1)
    monkeypatch.setattr("s3dis_seg.data.blocks.cloud._CHUNK", 70)
    parts = cloud_of(xyz, grid=0.1)
    assert (whole.xyz == parts.xyz).all()
    assert (whole.owner == parts.owner).all()
    for name in ("starts", "bins", "counts"):
        assert (getattr(whole.profile, name) == getattr(parts.profile, name)).all()


def test_nothing_at_all_is_no_cloud():
    with pytest.raises(ValueError, match="at least one point"):
        cloud_of(np.zeros((0, 3)))


@pytest.mark.parametrize("grid", [0, 0.05])
def test_points_from_disk_are_those_of_the_whole_room(tmp_path, grid):
    rng = np.random.default_rng(11)
    room = a_room(rng)
    cloud = Cloud.of(room.xyz, room.rgb, grid, room.labels)
    source = RoomPoints(RoomFile(write_room(room, tmp_path)), grid)
    assert (source.hi == cloud.hi).all()
    for _ in range(30):
        low = rng.random(2) * (4, 3) - 0.5
        high = low + rng.random(2) * 2
        (_, *ours), (ids, *theirs) = source.points_between(low, high), cloud.points_between(low, high)
        assert (np.diff(ids) > 0).all()
        for mine, other in zip(ours, theirs):
            assert mine.dtype == other.dtype
            assert (mine == other).all()


def test_there_are_no_points_beside_the_room(tmp_path):
    room = a_room(np.random.default_rng(12))
    source = RoomPoints(RoomFile(write_room(room, tmp_path)), 0.05)
    ids, xyz, rgb, labels = source.points_between((50, 50), (51, 51))
    assert (ids.shape, xyz.shape, rgb.shape, labels.shape) == ((0,), (0, 3), (0, 3), (0,))
    assert (xyz.dtype, rgb.dtype, labels.dtype) == (np.float32, np.uint8, np.uint8)


def test_ids_of_a_file_are_places_in_the_file(tmp_path):
    file = RoomFile(write_room(a_room(np.random.default_rng(13)), tmp_path))
    ids, xyz, _, labels = RoomPoints(file, 0.05).points_between((1, 1), (2, 2))
    assert (file.room().xyz[ids] == xyz).all()
    assert (file.room().labels[ids] == labels).all()


def test_what_is_kept_of_thinning_is_bounded_and_changes_no_result(tmp_path):
    path = write_room(a_room(np.random.default_rng(14)), tmp_path)
    corners = column_corners(RoomFile(path).cells, RoomFile(path).hi, 1.0, 0.5)
    kept = KeptPlaces(most_bytes=2000)
    small, large = RoomPoints(RoomFile(path), 0.05, kept), RoomPoints(RoomFile(path), 0.05)
    for _ in range(2):
        for corner in corners:
            mine, other = (column_points(source, corner, 1.0, 300) for source in (small, large))
            assert (mine.xyz == other.xyz).all()
    assert sum(places.nbytes for places in kept._places.values()) == kept._bytes <= 2000
    assert len(pickle.dumps(large)) < 1000
