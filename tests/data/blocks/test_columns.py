"""Columns, widening, draws and layers of height."""

import numpy as np
import pytest

from s3dis_seg.data.blocks.cloud import Cloud
from s3dis_seg.data.blocks.columns import column_corners, column_points, draws, height_tiles
from tests.data.blocks.clouds import cloud_of, random_xyz


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


def test_real_rooms_lose_no_point_in_thinned_columns(shared, tmp_path):
    rows = np.load(shared / "data/s3dis/rooms/Area_6_copyRoom_1.npy")
    cloud = Cloud.of(rows[:, :3].copy(), rows[:, 3:6].astype(np.uint8), 0.02)
    corners = column_corners(cloud.cells, cloud.hi, 1.0, 0.5)
    assert (members(cloud, corners, 1.0) >= 1).all()
