import tracemalloc

import numpy as np
import pytest

from s3dis_seg.data.rooms.cells import CELL, cells_after_thinning, height_profile, kept_ranks, sort_by_cell, thin
from s3dis_seg.files import InputError


def sorted_cloud(seed=0, count=3000, size=(3.2, 2.1, 2.5)):
    xyz = (np.random.default_rng(seed).random((count, 3)) * size).astype(np.float32)
    order, cells = sort_by_cell(xyz)
    return xyz[order], cells


def test_four_points_on_a_line_fall_into_three_cells():
    xyz = np.array([[1.2, 0, 0], [0.1, 0, 0], [0.4, 0, 0], [0.5, 0, 0]], np.float32)
    order, cells = sort_by_cell(xyz)
    assert order.tolist() == [1, 2, 3, 0]
    assert cells.indices.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert cells.starts.tolist() == [0, 2, 3, 4]


def test_points_of_a_cell_lie_in_its_slice_in_their_old_order():
    xyz = (np.random.default_rng(0).random((500, 3)) * 2).astype(np.float32)
    order, cells = sort_by_cell(xyz)
    for cell, start, stop in zip(cells.indices, cells.starts, cells.starts[1:]):
        members = order[start:stop]
        assert (np.floor(xyz[members, :2] / CELL) == cell).all()
        assert (np.diff(members) > 0).all()
    assert cells.starts[-1] == 500


@pytest.mark.parametrize("low, high", [((0.6, 0.3), (1.7, 1.2)), ((-5, -5), (99, 99)), ((1.0, 1.0), (1.0, 1.0))])
def test_runs_cover_every_point_of_the_window(low, high):
    xyz, cells = sorted_cloud()
    inside = np.flatnonzero(((xyz[:, :2] >= low) & (xyz[:, :2] <= high)).all(axis=1))
    slices = [np.arange(cells.starts[a], cells.starts[b]) for a, b in cells.runs(low, high)]
    touched = np.concatenate([*slices, np.zeros(0, int)])
    assert np.isin(inside, touched).all()
    assert (np.diff(touched) > 0).all()
    nearest = np.clip((low, high), 0, None)
    assert (xyz[touched, :2] >= np.floor(nearest[0] / CELL) * CELL).all()
    assert (xyz[touched, :2] <= (np.floor(nearest[1] / CELL) + 1) * CELL).all()


def test_a_window_beside_the_room_touches_nothing():
    _, cells = sorted_cloud()
    assert cells.runs((50, 50), (51, 51)) == []


def test_runs_join_cells_that_are_neighbours_in_the_file():
    _, cells = sorted_cloud()
    assert cells.runs((0, 0), (9, 9)) == [(0, len(cells.indices))]


def test_thinning_keeps_one_point_of_each_voxel_and_every_point_has_an_owner_near_by():
    xyz, cells = sorted_cloud()
    kept, owner = thin(xyz, cells, 0.1)
    assert len(kept) < len(xyz)
    assert (owner[kept] == np.arange(len(kept))).all()
    assert (np.abs(xyz - xyz[kept[owner]]) <= 0.1 + 1e-6).all()
    voxels = np.floor(xyz[kept] / np.float64(0.1) + 1e-9)
    assert len(np.unique(np.c_[voxels, kept_ranks(cells, kept)], axis=0)) == len(kept)


def test_voxels_stay_small_in_a_long_hall():
    xyz, cells = sorted_cloud(size=(60, 0.4, 0.4))
    kept, owner = thin(xyz, cells, 0.02)
    assert (np.abs(xyz - xyz[kept[owner]]) <= 0.02 + 1e-5).all()


def test_thinning_some_cells_gives_the_same_points_as_thinning_the_room():
    xyz, cells = sorted_cloud()
    kept, _ = thin(xyz, cells, 0.07)
    (first, last), *_ = cells.runs((0.6, 0.6), (1.4, 1.4))
    start, stop = cells.starts[first], cells.starts[last]
    part, part_cells = sort_by_cell(xyz[start:stop])
    part_kept, _ = thin(xyz[start:stop][part], part_cells, 0.07)
    assert (part == np.arange(stop - start)).all()
    assert (part_kept + start == kept[(kept >= start) & (kept < stop)]).all()


def test_the_table_after_thinning_finds_the_kept_points():
    xyz, cells = sorted_cloud()
    kept, _ = thin(xyz, cells, 0.2)
    thinned = cells_after_thinning(cells, kept)
    assert thinned.starts[-1] == len(kept)
    for cell, start, stop in zip(thinned.indices, thinned.starts, thinned.starts[1:]):
        assert (np.floor(xyz[kept[start:stop], :2] / CELL) == cell).all()


def test_a_grid_too_fine_for_the_keys_is_refused():
    with pytest.raises(ValueError, match="finer"):
        thin(*sorted_cloud(count=10), 0.001)


def test_a_coarse_grid_keeps_one_point_of_every_cell():
    xyz, cells = sorted_cloud()
    kept, _ = thin(xyz, cells, 10.0)
    assert len(kept) == len(cells.indices)


def test_nothing_at_all_is_sorted_thinned_and_profiled():
    order, cells = sort_by_cell(np.zeros((0, 3), np.float32))
    kept, owner = thin(np.zeros((0, 3), np.float32), cells, 0.02)
    profile = height_profile(np.zeros(0, np.float32), cells)
    assert len(order) == len(kept) == len(owner) == 0
    assert profile.range(cells.runs((0, 0), (1, 1))) == (0.0, 0.0)


def test_floor_and_ceiling_are_the_percentiles_of_the_window_to_a_centimetre():
    xyz, cells = sorted_cloud(count=20000)
    profile = height_profile(xyz[:, 2], cells)
    runs = cells.runs((0.6, 0.6), (1.4, 1.4))
    z = np.concatenate([xyz[cells.starts[a] : cells.starts[b], 2] for a, b in runs])
    floor, ceiling = profile.range(runs)
    assert 0 <= np.quantile(z, 0.001) - floor <= 0.011
    assert 0 <= ceiling - np.quantile(z, 0.999) <= 0.011


def test_a_few_stray_points_do_not_move_the_ceiling():
    z = np.r_[np.linspace(0, 2.5, 5000), 9.0]
    xyz = np.stack([0 * z, 0 * z, z], axis=1).astype(np.float32)
    _, cells = sort_by_cell(xyz)
    assert height_profile(xyz[:, 2], cells).range([(0, 1)])[1] <= 2.51


def test_heights_can_be_limited_to_a_storey():
    z = np.linspace(0, 6, 5000)
    _, cells = sort_by_cell(np.zeros((5000, 3), np.float32))
    floor, ceiling = height_profile(z, cells).range([(0, 1)], low=3.0, high=5.0)
    assert floor == pytest.approx(3.0, abs=0.021)
    assert ceiling == pytest.approx(5.0, abs=0.021)


@pytest.mark.parametrize("height", [1e5, 1e7, 1e8])
def test_an_outlier_in_height_costs_no_memory(height):
    z = np.r_[np.linspace(0, 2.5, 5000), height].astype(np.float32)
    xyz = np.stack([0 * z, 0 * z, z], axis=1)
    _, cells = sort_by_cell(xyz)
    profile = height_profile(xyz[:, 2], cells)
    tracemalloc.start()
    floor, ceiling = profile.range([(0, 1)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (floor, ceiling) == (pytest.approx(0.0, abs=0.011), pytest.approx(2.5, abs=0.011))
    assert profile.bins.min() == 0
    assert peak < 10e6


def test_sparse_and_dense_counting_of_heights_agree(monkeypatch):
    xyz, cells = sorted_cloud(count=20000)
    profile = height_profile(xyz[:, 2], cells)
    ranges = [profile.range([(0, 5)], trim=trim) for trim in (0.0, 0.001, 0.3)]
    monkeypatch.setattr("s3dis_seg.data.rooms.cells._DENSE_BINS", 0)
    assert [profile.range([(0, 5)], trim=trim) for trim in (0.0, 0.001, 0.3)] == ranges


@pytest.mark.parametrize("far", [1e9, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_too_far_away_for_a_number_of_their_cell_are_refused(far, axis):
    xyz = np.zeros((3, 3), np.float32)
    xyz[1, axis] = far
    with pytest.raises(InputError, match="remove the points that lie far away"):
        sort_by_cell(xyz)


def test_points_10_000_km_apart_are_sorted():
    order, cells = sort_by_cell(np.float32([[1e7, 1e7, 0], [0, 0, 0], [0.6, 0, 0]]))
    assert order.tolist() == [1, 2, 0]
    assert cells.indices.tolist() == [[0, 0], [1, 0], [2 * 10**7, 2 * 10**7]]
