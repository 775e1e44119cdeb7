"""Columns, widening, draws, the two sources of points, and the published blocks."""

import pickle

import numpy as np
import pytest

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.blocks.columns import (
    Cloud,
    KeptPlaces,
    RoomWindows,
    column_corners,
    column_points,
    draws,
    height_tiles,
    published_blocks,
)
from s3dis_seg.data.rooms.prepared import RoomFile, write_room
from s3dis_seg.data.rooms.room import room_of


def cloud_of(xyz, grid=0):
    xyz = np.asarray(xyz, np.float32)
    return Cloud.of(xyz, np.zeros((len(xyz), 3), np.uint8), grid)


def random_xyz(rng, size, count):
    xyz = (rng.random((count, 3)) * size).astype(np.float32)
    return xyz - xyz.min(axis=0)


def a_room(rng, size=(4.3, 3.1, 2.6), count=6000, name="Area_1_office_1"):
    xyz = random_xyz(rng, size, count)
    return room_of(name, xyz, rng.integers(0, 256, (count, 3)), rng.integers(0, 13, count))


def members(cloud, corners, block_size):
    """How many columns each thinned point is a member of."""
    count = np.zeros(len(cloud.xyz), int)
    for corner in corners:
        column = column_points(cloud, corner, block_size, 1)
        count[column.ids[: column.num_inside]] += 1
    return count


def test_columns_of_a_room_of_two_and_a_half_metres():
    cloud = cloud_of([(0, 0, 0), (2.5, 0.7, 0), (1.2, 0.3, 0)])
    corners = column_corners(cloud.cells, cloud.hi, block_size=1.0, stride=1.0)
    # The last one is moved back to end with the room; across the room one column is enough.
    assert corners.tolist() == [[0, 0], [1, 0], [1.5, 0]]


def test_only_columns_that_touch_an_occupied_cell_are_there():
    cloud = cloud_of([(0, 0, 0), (9.9, 9.9, 0)])
    corners = column_corners(cloud.cells, cloud.hi, block_size=1.0, stride=1.0)
    np.testing.assert_allclose(corners, [[0, 0], [8.9, 8.9]], atol=1e-6)


def test_a_stray_point_ten_kilometres_away_costs_a_few_columns():
    rng = np.random.default_rng(0)
    cloud = cloud_of(np.concatenate([random_xyz(rng, (3, 3, 3), 3000), [(10_000, 10_000, 0)]]))
    corners = column_corners(cloud.cells, cloud.hi, block_size=1.0, stride=0.5)
    assert len(corners) < 100
    assert (members(cloud, corners, 1.0) >= 1).all()


@pytest.mark.parametrize(
    "block_size, stride", [(1.0, 0.5), (1.0, 1.0), (0.7, 0.7), (0.3, 0.1), (1.3, 1 / 3), (2.0, 1.9)]
)
def test_every_point_lies_in_a_column(block_size, stride):
    rng = np.random.default_rng(1)
    for size in [(0.2, 0.2), (1, 1), (4.0000005, 1.0000005), (3.5, 2.0), (4.0000005, 3.3), (2.8, 7.1), (1.0000001, 5)]:
        xyz = random_xyz(rng, (*size, 2), 400)
        # Points on the borders of cells and of columns, and one in the far corner.
        borders = np.arange(0, 8, 0.5)
        steps = np.arange(0, 8) * stride
        lines = (borders, steps, steps + block_size, np.nextafter(np.float32(borders), np.float32(9)))
        on_borders = np.array([(a, b, 0) for line in lines for a in line for b in line])
        on_borders = on_borders[(on_borders[:, :2] <= size).all(axis=1)]
        cloud = cloud_of(np.concatenate([xyz, on_borders, [(0, 0, 0), (*size, 1)]]))
        corners = column_corners(cloud.cells, cloud.hi, block_size, stride)
        assert (members(cloud, corners, block_size) >= 1).all()
        assert (corners >= 0).all()
        assert len(np.unique(corners, axis=0)) == len(corners)
        assert corners.tolist() == sorted(corners.tolist())


def test_a_point_where_rounding_puts_the_column_just_past_it_is_not_lost():
    assert 49 * 0.07 + 0.07 <= 3.5 < 50 * 0.07
    cloud = cloud_of([(0, 0, 0), (3.5, 0, 0), (4, 0, 0)])
    corners = column_corners(cloud.cells, cloud.hi, 0.07, 0.07)
    assert members(cloud, corners, 0.07).tolist() == [1, 1, 1]


def test_a_stride_that_leaves_gaps_is_refused():
    cloud = cloud_of([(0, 0, 0)])
    with pytest.raises(ValueError, match="leaves gaps"):
        column_corners(cloud.cells, cloud.hi, block_size=1.0, stride=1.5)


def test_a_full_column_holds_its_members_borders_included():
    cloud = cloud_of([(0, 0, 0), (1, 1, 0), (2, 2, 0), (2.1, 2, 0), (1.5, 1.5, 0)])
    column = column_points(cloud, (1, 1), 1.0, num_points=3)
    assert column.num_inside == 3
    assert sorted(map(tuple, column.xyz.tolist())) == [(1, 1, 0), (1.5, 1.5, 0), (2, 2, 0)]


def test_a_sparse_column_is_widened_by_the_points_nearest_to_its_centre():
    rng = np.random.default_rng(2)
    cloud = cloud_of(random_xyz(rng, (6, 6, 2), 2000))
    corner = np.array([2.3, 4.1])
    column = column_points(cloud, corner, 1.0, num_points=700)
    distance = np.abs(cloud.xyz[:, :2] - (corner + 0.5)).max(axis=1)
    assert len(set(column.ids)) == 700
    assert set(column.ids) == set(np.argsort(distance)[:700])
    assert column.num_inside == (distance <= 0.5).sum()
    assert (distance[column.ids[: column.num_inside]] <= 0.5).all()
    assert (distance[column.ids[column.num_inside :]] > 0.5).all()


def test_widening_reaches_across_an_empty_hall():
    rng = np.random.default_rng(3)
    near, far = random_xyz(rng, (1, 1, 1), 50), random_xyz(rng, (1, 1, 1), 500) + np.float32([300, 0, 0])
    cloud = cloud_of(np.concatenate([near, far]))
    column = column_points(cloud, (0, 0), 1.0, num_points=100)
    assert column.num_inside == 50
    assert (np.sort(cloud.xyz[column.ids, 0])[50:] >= 300).all()


def test_a_small_cloud_repeats_its_points_evenly():
    cloud = cloud_of(random_xyz(np.random.default_rng(4), (3, 1, 1), 300))
    column = column_points(cloud, (0, 0), 1.0, num_points=1000)
    repeats = np.bincount(column.ids, minlength=300)
    assert len(column.ids) == 1000
    assert set(repeats) == {3, 4}
    places, votes = draws(column.num_inside, 1000, np.random.default_rng(0))
    assert votes.sum() == column.num_inside < 300
    assert len(set(column.ids[places[votes]])) == column.num_inside


def test_one_point_is_a_block():
    cloud = cloud_of([(0, 0, 0)], grid=0.02)
    (corner,) = column_corners(cloud.cells, cloud.hi, 1.0, 0.5)
    column = column_points(cloud, corner, 1.0, num_points=8)
    places, votes = draws(column.num_inside, 8, np.random.default_rng(0))
    assert places.shape == (1, 8)
    assert votes.sum() == 1


def test_a_column_without_members_stays_empty():
    cloud = cloud_of([(0, 0, 0), (5, 5, 0)])
    column = column_points(cloud, (2, 2), 1.0, num_points=4)
    assert (column.num_inside, len(column.xyz)) == (0, 0)
    assert draws(0, 4, np.random.default_rng(0))[0].shape == (0, 4)


def test_a_height_range_keeps_its_points_where_there_are_enough():
    rng = np.random.default_rng(5)
    cloud = cloud_of(random_xyz(rng, (6, 6, 9), 4000))
    column = column_points(cloud, (2, 2), 1.0, num_points=300, z_range=(3, 6))
    assert 0 < column.num_inside < 300
    assert ((column.xyz[:, 2] >= 3) & (column.xyz[:, 2] <= 6)).all()
    assert len(set(column.ids)) == 300


def test_a_height_range_with_too_few_points_borrows_the_nearest_of_other_heights():
    rng = np.random.default_rng(6)
    low = random_xyz(rng, (14, 14, 1), 4000)
    lamp = random_xyz(rng, (0.1, 0.1, 0.1), 20) + np.float32([7, 7, 7])
    cloud = cloud_of(np.concatenate([low, lamp]))
    column = column_points(cloud, (6.5, 6.5), 1.0, num_points=100, z_range=(6, 8))
    assert column.num_inside == 20
    assert len(set(column.ids)) == 100
    center = np.array([7, 7])
    distance = np.maximum(np.abs(cloud.xyz[:, :2] - center).max(axis=1), 6 - cloud.xyz[:, 2])
    others = np.argsort(np.where(cloud.xyz[:, 2] > 6, np.inf, distance))[:80]
    assert set(column.ids[20:]) == set(others)


@pytest.mark.parametrize("num_inside", [1, 9, 10, 11, 20, 25, 99])
def test_each_member_votes_once(num_inside):
    places, votes = draws(num_inside, 10, np.random.default_rng(7))
    assert places.shape == (-(-num_inside // 10), 10)
    assert sorted(places[votes]) == list(range(num_inside))
    if num_inside >= 10:
        assert all(len(set(draw)) == 10 for draw in places.tolist())
        assert votes[:-1].all()
        # The last draw is filled from the others.
        assert not set(places[-1][~votes[-1]]) & set(places[-1][votes[-1]])


def test_draws_depend_on_the_seed_alone():
    first, again, other = (draws(35, 10, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_low_room_is_not_tiled_in_height():
    cloud = cloud_of(random_xyz(np.random.default_rng(8), (2, 2, 2.9), 3000))
    assert height_tiles(cloud, None) == [None]
    assert height_tiles(cloud, 3.0) == [None]


@pytest.mark.parametrize("height, tiles", [(3.2, 1), (4.4, 1), (4.6, 2)])
def test_only_rooms_more_than_half_as_tall_again_are_tiled(height, tiles):
    cloud = cloud_of(random_xyz(np.random.default_rng(8), (2, 2, height), 3000))
    assert len(height_tiles(cloud, 3.0)) == tiles


def test_tiles_of_a_tall_hall_end_with_its_top_and_hold_every_point():
    cloud = cloud_of(random_xyz(np.random.default_rng(8), (2, 2, 7.5), 30_000))
    tiles = height_tiles(cloud, 3.0)
    assert len(tiles) == 3
    assert tiles[1] == (pytest.approx(3, abs=0.02), pytest.approx(6, abs=0.02))
    assert tiles[2][0] == pytest.approx(4.5, abs=0.02)
    z = cloud.xyz[:, 2]
    assert np.any([(z >= low) & (z <= high) for low, high in tiles], axis=0).all()


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
    monkeypatch.setattr("s3dis_seg.data.blocks.columns._CHUNK", 70)
    parts = cloud_of(xyz, grid=0.1)
    assert (whole.xyz == parts.xyz).all()
    assert (whole.owner == parts.owner).all()
    for name in ("starts", "bins", "counts"):
        assert (getattr(whole.profile, name) == getattr(parts.profile, name)).all()


def test_nothing_at_all_is_no_cloud():
    with pytest.raises(ValueError, match="at least one point"):
        cloud_of(np.zeros((0, 3)))


@pytest.mark.parametrize("grid", [0, 0.05])
def test_windows_from_disk_are_those_of_the_whole_room(tmp_path, grid):
    rng = np.random.default_rng(11)
    room = a_room(rng)
    cloud = Cloud.of(room.xyz, room.rgb, grid, room.labels)
    source = RoomWindows(RoomFile(write_room(room, tmp_path)), grid)
    assert (source.hi == cloud.hi).all()
    for _ in range(30):
        low = rng.random(2) * (4, 3) - 0.5
        high = low + rng.random(2) * 2
        (_, *ours), (ids, *theirs) = source.window(low, high), cloud.window(low, high)
        assert (np.diff(ids) > 0).all()
        for mine, other in zip(ours, theirs):
            assert mine.dtype == other.dtype
            assert (mine == other).all()


def test_a_window_beside_the_room_is_empty(tmp_path):
    room = a_room(np.random.default_rng(12))
    source = RoomWindows(RoomFile(write_room(room, tmp_path)), 0.05)
    ids, xyz, rgb, labels = source.window((50, 50), (51, 51))
    assert (ids.shape, xyz.shape, rgb.shape, labels.shape) == ((0,), (0, 3), (0, 3), (0,))
    assert (xyz.dtype, rgb.dtype, labels.dtype) == (np.float32, np.uint8, np.uint8)


def test_ids_of_a_file_are_places_in_the_file(tmp_path):
    file = RoomFile(write_room(a_room(np.random.default_rng(13)), tmp_path))
    ids, xyz, _, labels = RoomWindows(file, 0.05).window((1, 1), (2, 2))
    assert (file.room().xyz[ids] == xyz).all()
    assert (file.room().labels[ids] == labels).all()


def test_what_is_kept_of_thinning_is_bounded_and_changes_no_result(tmp_path):
    path = write_room(a_room(np.random.default_rng(14)), tmp_path)
    corners = column_corners(RoomFile(path).cells, RoomFile(path).hi, 1.0, 0.5)
    kept = KeptPlaces(most_bytes=2000)
    small, large = RoomWindows(RoomFile(path), 0.05, kept), RoomWindows(RoomFile(path), 0.05)
    for _ in range(2):
        for corner in corners:
            mine, other = (column_points(source, corner, 1.0, 300) for source in (small, large))
            assert (mine.xyz == other.xyz).all()
    assert sum(places.nbytes for places in kept._places.values()) == kept._bytes <= 2000
    assert len(pickle.dumps(large)) < 1000


def test_real_rooms_lose_no_point_in_thinned_columns(shared, tmp_path):
    rows = np.load(shared / "data/s3dis/rooms/Area_6_copyRoom_1.npy")
    cloud = Cloud.of(rows[:, :3].copy(), rows[:, 3:6].astype(np.uint8), 0.02)
    corners = column_corners(cloud.cells, cloud.hi, 1.0, 0.5)
    assert (members(cloud, corners, 1.0) >= 1).all()


def textbook_room2blocks(data_label, num_point, stride, rng):
    """PointNet's indoor3d_util.py, room2blocks_plus_normalized, in the order of its steps."""
    data, label = data_label[:, :6].copy(), data_label[:, -1]
    data[:, 3:6] /= 255.0
    limit = data.max(axis=0)[:3]
    features, labels = [], []
    for i in range(int(np.ceil((limit[0] - 1.0) / stride)) + 1):
        for j in range(int(np.ceil((limit[1] - 1.0) / stride)) + 1):
            x, y = data[:, 0], data[:, 1]
            inside = (x <= i * stride + 1) & (x >= i * stride) & (y <= j * stride + 1) & (y >= j * stride)
            if inside.sum() < 100:
                continue
            count = inside.sum()
            if count > num_point:
                sample = rng.choice(count, num_point)
            elif count < num_point:
                sample = np.concatenate([np.arange(count), rng.choice(count, num_point - count)])
            else:
                sample = np.arange(count)
            block = data[inside][sample]
            room_place = block[:, :3] / limit
            block[:, 0] -= block[:, 0].min() + 0.5
            block[:, 1] -= block[:, 1].min() + 0.5
            features.append(np.concatenate([block, room_place], axis=1))
            labels.append(label[inside][sample])
    return np.array(features), np.array(labels)


@pytest.mark.parametrize("stride", [1.0, 0.5])
def test_published_blocks_are_those_of_pointnet(stride):
    rng = np.random.default_rng(15)
    xyz = random_xyz(rng, (3.7, 2.2, 2.5), 3000)
    # A sparse corner, so that columns are dropped; a full one, so that points are drawn with replacement.
    xyz = xyz[(xyz[:, 0] < 2.5) | (rng.random(3000) < 0.1)]
    rgb = rng.integers(0, 256, xyz.shape).astype(np.uint8)
    labels = rng.integers(0, 13, len(xyz)).astype(np.uint8)
    ours = list(published_blocks(xyz, rgb, labels, stride, 350, np.random.default_rng(0)))
    rows = np.concatenate([xyz, rgb, labels[:, None]], axis=1).astype(np.float64)
    features, wanted = textbook_room2blocks(rows, 350, stride, np.random.default_rng(0))
    assert 0 < len(ours) == len(features)
    np.testing.assert_allclose([block for block, _ in ours], features, atol=1e-6)
    np.testing.assert_array_equal([label for _, label in ours], wanted)
    assert ours[0][0].dtype == np.float32
