"""Points in order of 0.5 m cells, so that a part of a room reads only its cells; thinning and heights by cell.

Letters: P points, M points left after thinning, K occupied cells.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.files import InputError

CELL = 0.5  # metres
HEIGHT_BIN = 0.01  # metres: resolution of a height profile
_FINEST_GRID = 0.002  # metres: 250 voxels along a cell, the most that eight bits of a voxel key hold
_FARTHEST = 1e8  # metres: numbers of cells and columns below it fit 32 bits
_HIGHEST_BIN = 2**31 - 128  # the largest int32 that float32 holds; about 21,000 km
_DENSE_BINS = 1 << 20  # so many height bins, 10 km, are counted in an array as long as their range, 8 MB
_AT_ONCE = 1_000_000  # points looked at in one go: bounds the temporary memory


@dataclass(frozen=True)
class CellTable:
    """Which points lie in which cell, for points sorted by cell. Only occupied cells have an entry.

    indices: (K, 2) int64, cell number along x and y from the origin, ascending (x first).
    starts: (K + 1,) int64, the points of cell i are starts[i]:starts[i + 1].
    """

    indices: np.ndarray
    starts: np.ndarray

    def runs(self, low, high):
        """Cells that touch the rectangle from `low` to `high` (x, y in metres). -> list of (first, last) cell slices.

        Cells of one slice are neighbours in the file, so that `starts[first]:starts[last]` is one read.
        """
        (x0, y0), (x1, y1) = np.floor(np.asarray(low) / CELL), np.floor(np.asarray(high) / CELL)
        columns = self.indices[:, 0]
        rows = np.arange(*np.searchsorted(columns, (x0, x1 + 1)))
        if len(rows) == 0:
            return []
        rows = rows[(self.indices[rows, 1] >= y0) & (self.indices[rows, 1] <= y1)]
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        return [(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, breaks) if len(run)]


def sort_by_cell(xyz):
    """Stable order of points by cell. (P, 3) metres from the origin, none negative -> order (P,) int64, CellTable.

    InputError for a point that is farther from the origin than 100,000 km.
    """
    if len(xyz) == 0:
        return np.zeros(0, np.int64), CellTable(np.zeros((0, 2), np.int64), np.zeros(1, np.int64))
    hi = xyz.max(axis=0)
    keys = cell_keys(xyz, hi)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    firsts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return order, CellTable(cells_of_keys(keys[firsts], hi), np.r_[firsts, len(keys)])


def cell_keys(xyz, hi):
    """The number of the cell of each point, x before y, in points that reach up to `hi`. (P, 3), (3,) -> (P,)

    In the smallest type that holds them, a million points at a time: numpy sorts 16 bits, enough for 128 m x 128 m,
    four times as fast. InputError where `hi` is farther than 100,000 km.
    """
    farthest = np.max(hi)
    if not farthest <= _FARTHEST:
        raise InputError(
            f"the points reach {farthest:.3g} m from their minimum corner; expected at most {_FARTHEST:.0e} m: remove "
            "the points that lie far away"
        )
    columns, rows = _cells_along(hi)
    keys = np.empty(len(xyz), np.min_scalar_type(columns * rows))
    for start in range(0, len(xyz), _AT_ONCE):
        part = np.floor(xyz[start : start + _AT_ONCE, :2] / CELL).astype(np.int64)
        keys[start : start + _AT_ONCE] = part[:, 0] * rows + part[:, 1]
    return keys


def cells_of_keys(keys, hi):
    """The cells that `cell_keys` numbered so. (K,) -> (K, 2) int64"""
    return np.stack(np.divmod(keys.astype(np.int64), _cells_along(hi)[1]), axis=1)


def _cells_along(hi):
    return [int(number) + 1 for number in np.floor(np.asarray(hi[:2]) / CELL)]


def stable_order(keys, bits):
    """np.argsort(keys, kind="stable") of whole numbers below 2**bits. (P,) -> (P,) int64

    Where a key and a place fit into one number, these numbers are sorted: that takes a fifth of the time.
    """
    places = max(len(keys) - 1, 0).bit_length()
    if bits + places > 63:
        return np.argsort(keys, kind="stable")
    both = (keys.astype(np.int64) << places) | np.arange(len(keys))
    both.sort()
    return both & ((1 << places) - 1)


def thin(xyz, cells, grid):
    """Keep the first point of every voxel of side `grid` metres; voxels start anew in every cell.

    Because no voxel crosses a border between cells, thinning a few cells gives the same points as thinning the room.
    xyz: (P, 3) sorted by cell, as `cells` says. -> kept (M,) int64 ascending by cell, owner (P,) int32: the
    place in `kept` of the point that stands for each point.
    """
    if grid < _FINEST_GRID:
        raise ValueError(f"a grid of {grid} m is finer than {_FINEST_GRID} m; take 0 to keep every point")
    rank = np.repeat(np.arange(len(cells.indices)), np.diff(cells.starts))
    keys = rank << 16
    for axis in (0, 1):
        inside = xyz[:, axis] - (cells.indices[rank, axis] * CELL)
        keys |= np.clip(inside / grid, 0, 255).astype(np.int64) << (8 * (1 - axis))
    heights = np.clip(xyz[:, 2] / grid, 0, 2**20 - 1).astype(np.int64)
    bits = int(heights.max(initial=0)).bit_length()
    keys = (keys << bits) | heights
    order = stable_order(keys, 16 + bits + len(cells.indices).bit_length())
    keys = keys[order]
    first = np.r_[True, keys[1:] != keys[:-1]] if len(keys) else np.zeros(0, bool)
    owner = np.empty(len(keys), np.int32)
    owner[order] = np.cumsum(first, dtype=np.int32) - 1
    return order[first], owner


def cells_after_thinning(cells, kept):
    """The table of the points that `thin` kept: the same cells with fewer points. -> CellTable."""
    return CellTable(cells.indices, np.searchsorted(kept_ranks(cells, kept), np.arange(len(cells.indices) + 1)))


def kept_ranks(cells, kept):
    """Which cell each kept point lies in. -> (M,) int64, ascending."""
    return np.searchsorted(cells.starts, kept, side="right") - 1


@dataclass(frozen=True)
class HeightProfile:
    """How many points of each cell lie at which height, in bins of 1 cm; sparse.

    starts: (K + 1,) int64 into `bins` (int32, ascending within a cell) and `counts` (int32).
    """

    starts: np.ndarray
    bins: np.ndarray
    counts: np.ndarray

    def range(self, runs, low=-np.inf, high=np.inf, trim=0.001):
        """Floor and ceiling over slices of cells, as `CellTable.runs` gives them. -> (floor, ceiling) in metres.

        The `trim` and 1 - `trim` percentiles of the points between the heights `low` and `high`, to 1 cm outwards.
        (0, 0) where there is no point.
        """
        slices = [slice(self.starts[first], self.starts[last]) for first, last in runs]
        bins = np.concatenate([self.bins[part] for part in slices] or [np.zeros(0, np.int32)])
        counts = np.concatenate([self.counts[part] for part in slices] or [np.zeros(0, np.int32)])
        heights = bins * HEIGHT_BIN
        inside = (heights + HEIGHT_BIN > low) & (heights <= high)
        if not inside.any():
            return 0.0, 0.0
        bins, counts = bins[inside], counts[inside]
        values, below = _cumulative(bins.astype(np.int64), counts)
        floor = values[np.searchsorted(below, trim * below[-1], side="right")]
        ceiling = values[np.searchsorted(below, (1 - trim) * below[-1], side="left")] + 1
        return float(floor * HEIGHT_BIN), float(ceiling * HEIGHT_BIN)


def _cumulative(bins, counts):
    """How many points lie in a bin or beneath it. bins, counts: (n,) -> bins (m,) int64 ascending, points (m,)

    Bins in a wide range, as an outlier makes it, are sorted; others are counted in an array as long as their range,
    which is faster.
    """
    lowest, highest = bins.min(), bins.max()
    if highest - lowest < _DENSE_BINS:
        values, places = np.arange(lowest, highest + 1), bins - lowest
    else:
        values, places = np.unique(bins, return_inverse=True)
    return values, np.cumsum(np.bincount(places, weights=counts))


def height_profile(z, cells):
    """Heights by cell. z: (P,) metres from the lowest point, sorted by cell. -> HeightProfile.

    Points above 21,000 km are counted in the highest bin.
    """
    rank = np.repeat(np.arange(len(cells.indices)), np.diff(cells.starts))
    bins = np.minimum(np.floor(z / HEIGHT_BIN), _HIGHEST_BIN).astype(np.int64)
    height = int(bins.max(initial=0)) + 1
    keys = rank * height + bins
    if len(cells.indices) * height < _DENSE_BINS:
        counts = np.bincount(keys)
        keys = np.flatnonzero(counts)
        counts = counts[keys]
    else:
        keys, counts = np.unique(keys, return_counts=True)
    ranks, bins = np.divmod(keys, height)
    starts = np.searchsorted(ranks, np.arange(len(cells.indices) + 1))
    return HeightProfile(starts, bins.astype(np.int32), counts.astype(np.int32))
