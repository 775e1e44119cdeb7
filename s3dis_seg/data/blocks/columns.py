"""A room or a scan -> overlapping blocks of N points, and which point of which block votes.

A *column* is a square window of the floor plan, 1 m wide, over the whole height. A *block* is N points drawn from it.
A *source* is anything with `cells`, `profile`, `hi` and `window(low, high)`: a `Cloud` in memory or the `RoomWindows`
of a file. Coordinates are metres from the minimum corner of the cloud, so that none is negative.

Letters: P points of a room or scan, M points left after thinning, N points a block, n points of one column.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.rooms.cells import (
    CELL,
    CellTable,
    HeightProfile,
    cells_after_thinning,
    height_profile,
    sort_by_cell,
    thin,
)

# A column reaches this much (metres) past its upper border, so that no rounding leaves a point between two columns.
_SLACK = 1e-6
_CHUNK = 1_000_000  # points thinned at once: bounds the temporary memory, changes no result
MUCH_TALLER = 1.5  # a scan is cut into layers when it is so many times as tall as the tallest training room
FEWEST_PUBLISHED = 100  # PointNet drops columns with fewer points


@dataclass(frozen=True)
class Cloud:
    """Thinned points in memory, sorted by cell.

    xyz (M, 3) float32; rgb (M, 3) uint8; labels (M,) uint8; cells: the table of these M points;
    profile: heights of all P points; hi (3,) float64: the corner opposite to (0, 0, 0);
    owner (P,) int32: the place among the M points of the one that stands for each given point.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    cells: CellTable
    profile: HeightProfile
    hi: np.ndarray
    owner: np.ndarray

    @staticmethod
    def of(xyz, rgb, grid, labels=None):
        """Thin and sort a cloud. xyz: (P, 3) float32 from the minimum corner; rgb: (P, 3) uint8; labels: (P,) uint8."""
        if len(xyz) == 0:
            raise ValueError("a cloud needs at least one point")
        order, cells = sort_by_cell(xyz)
        owner = np.empty(len(xyz), np.int32)
        starts, profiles, count = [np.zeros(1, np.int64)], [], 0
        for first, last in _chunks(cells):
            part = order[cells.starts[first] : cells.starts[last]]
            points, table = xyz[part], _cells_between(cells, first, last)
            profiles.append(height_profile(points[:, 2], table))
            kept, stands_for = thin(points, table, grid) if grid else (np.arange(len(part)), np.arange(len(part)))
            owner[part] = stands_for + count
            starts.append(cells_after_thinning(table, kept).starts[1:] + count)
            # What is kept moves to the front of `order`, to hold no second list as long as the cloud.
            order[count : count + len(kept)] = part[kept]
            count += len(kept)
        kept = order[:count]
        return Cloud(
            xyz=xyz[kept],
            rgb=rgb[kept],
            labels=np.full(count, UNLABELLED, np.uint8) if labels is None else labels[kept],
            cells=CellTable(cells.indices, np.concatenate(starts)),
            profile=_joined(profiles),
            hi=xyz.max(axis=0).astype(np.float64),
            owner=owner,
        )

    def window(self, low, high):
        """Points with low <= x, y <= high. -> ids (n,) int64 ascending, xyz (n, 3), rgb (n, 3), labels (n,)."""
        starts = self.cells.starts
        runs = [np.arange(starts[first], starts[last]) for first, last in self.cells.runs(low, high)]
        ids = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        ids = ids[_between(self.xyz[ids], low, high)]
        return ids, self.xyz[ids], self.rgb[ids], self.labels[ids]


class KeptPlaces:
    """What thinning kept of the cells read last, so that a cell is thinned once and not once a window.

    At most `most_bytes` of places, two bytes a point as a rule: all of S3DIS thinned to 2 cm is about 80 MB.
    """

    def __init__(self, most_bytes=100_000_000):
        self.most_bytes = most_bytes
        self._places, self._bytes = OrderedDict(), 0

    def __getstate__(self):
        # A worker process starts with nothing kept instead of a copy of everything.
        return {"most_bytes": self.most_bytes, "_places": OrderedDict(), "_bytes": 0}

    def get(self, key):
        """-> (m,) places counted from the first point of the cell, or None."""
        places = self._places.get(key)
        if places is not None:
            self._places.move_to_end(key)
        return places

    def put(self, key, places, count):
        """Keep the places of a cell that holds `count` points."""
        if key in self._places:
            return
        self._places[key] = places = places.astype(np.uint16 if count <= 1 << 16 else np.uint32)
        self._bytes += places.nbytes
        while self._bytes > self.most_bytes:
            self._bytes -= self._places.popitem(last=False)[1].nbytes


class RoomWindows:
    """The windows of a room on disk, thinned while they are read: only the cells of a window are in memory.

    The points, and their order, are those that `Cloud.of` gives for the whole room; only the ids differ: here they
    are places in the file.
    """

    def __init__(self, room, grid, kept=None):
        """room: a RoomFile; grid: metres, 0 keeps every point; kept: a KeptPlaces to share with other rooms."""
        self.room, self.grid = room, grid
        self._kept = KeptPlaces() if kept is None else kept

    @property
    def cells(self):
        return self.room.cells

    @property
    def profile(self):
        return self.room.profile

    @property
    def hi(self):
        return self.room.hi

    def window(self, low, high):
        """Points with low <= x, y <= high. -> ids (n,) int64, xyz (n, 3), rgb (n, 3), labels (n,)."""
        parts = [self._run(first, last) for first, last in self.cells.runs(low, high)]
        if not parts:
            nothing = np.zeros((0, 3), np.uint8)
            return np.zeros(0, np.int64), nothing.astype(np.float32), nothing, nothing[:, 0]
        ids, xyz, rgb, labels = (np.concatenate(arrays) for arrays in zip(*parts))
        inside = _between(xyz, low, high)
        return ids[inside], xyz[inside], rgb[inside], labels[inside]

    def _run(self, first, last):
        """The thinned points of neighbouring cells first:last."""
        starts = self.cells.starts[first : last + 1]
        xyz, rgb, labels = self.room.read(int(starts[0]), int(starts[-1]))
        if not self.grid:
            return np.arange(starts[0], starts[-1]), xyz, rgb, labels
        kept = self._kept_of(first, last, xyz)
        return starts[0] + kept, xyz[kept], rgb[kept], labels[kept]

    def _kept_of(self, first, last, xyz):
        """Places of the kept points of cells first:last, counted from the first point of cell `first`. -> int64."""
        table = _cells_between(self.cells, first, last)
        keys = [(self.room.path, cell) for cell in range(first, last)]
        known = [self._kept.get(key) for key in keys]
        if all(places is not None for places in known):
            return np.concatenate([places + start for places, start in zip(known, table.starts[:-1])])
        kept, _ = thin(xyz, table, self.grid)
        ends = cells_after_thinning(table, kept).starts
        for key, start, stop, low, high in zip(keys, table.starts, table.starts[1:], ends, ends[1:]):
            self._kept.put(key, kept[low:high] - start, stop - start)
        return kept


@dataclass(frozen=True)
class Column:
    """The points a column offers to its draws: its members first, then what it was widened by.

    ids (n,), xyz (n, 3), rgb (n, 3), labels (n,): n is num_inside, or N where the column has fewer members than N.
    num_inside: how many points lie in the column itself; only these vote.
    """

    ids: np.ndarray
    xyz: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    num_inside: int


def column_corners(cells, hi, block_size, stride):
    """Lower corners of the columns that cover a cloud. -> (n, 2) float64, x-major.

    Along an axis they stand at 0, stride, 2 * stride, ...; the last one is moved back flush with the edge `hi`.
    Only columns that touch an occupied cell are there; every point lies in at least one of them.
    """
    if not 0 < stride <= block_size:
        raise ValueError(f"a stride of {stride} m leaves gaps between blocks of {block_size} m")
    x, y = (_touching(cells.indices[:, axis], float(hi[axis]), block_size, stride) for axis in (0, 1))
    pairs = (x[:, :, None] << 32) | y[:, None, :]
    pairs = np.unique(pairs[(x[:, :, None] >= 0) & (y[:, None, :] >= 0)])
    places = ((pairs >> 32, hi[0]), (pairs & 0xFFFFFFFF, hi[1]))
    return np.stack([_corner(number, float(edge), block_size, stride) for number, edge in places], axis=1)


def column_points(source, corner, block_size, num_points, z_range=None):
    """The members of a column; with fewer than `num_points` it is widened about its centre. -> Column.

    Widening adds the points nearest to the centre by the larger of |dx| and |dy|, ties by order. Only a cloud with
    fewer than `num_points` points in all repeats them, evenly. A column without members stays empty.
    With `z_range` (low, high) only points of this height are members; widening takes points of other heights, nearest
    by |dx|, |dy| and the height beyond the range, only where the whole cloud has too few of the right one.
    """
    corner = np.asarray(corner, np.float64)
    end = corner + block_size + _SLACK
    window = source.window(corner, end)
    inside = _beyond(window[1], z_range) <= 0
    count = int(inside.sum())
    if count == 0 or count >= num_points:
        return Column(*(array[inside] for array in window), num_inside=count)

    center = corner + block_size / 2
    window, distance = _around(source, center, block_size, count, num_points, z_range, other_heights=False)
    if z_range is not None and np.isfinite(distance).sum() < num_points:
        window, distance = _around(source, center, block_size, count, num_points, z_range, other_heights=True)
    xyz = window[1]
    distance[_between(xyz, corner, end) & (_beyond(xyz, z_range) <= 0)] = -1
    order = np.argsort(distance, kind="stable")[: min(num_points, int(np.isfinite(distance).sum()))]
    # np.resize starts over at the front: the points of a small cloud repeat evenly.
    order = np.resize(order, num_points)
    return Column(*(array[order] for array in window), num_inside=count)


def draws(num_inside, num_points, rng):
    """Split the members of a column into blocks. -> places (d, N) int64 among the column's points, votes (d, N) bool.

    d = ceil(num_inside / N) disjoint draws, the last one filled from the others; a column with fewer members than N
    is one draw of all its points, as `column_points` gives them. Each member votes exactly once.
    """
    if num_inside < num_points:
        places = np.arange(num_points)[None] if num_inside else np.zeros((0, num_points), np.int64)
        return places, places < num_inside
    order = rng.permutation(num_inside)
    missing = -num_inside % num_points
    full = num_inside - (num_points - missing) if missing else num_inside
    filling = order[rng.choice(full, missing, replace=False)] if missing else order[:0]
    places = np.concatenate([order, filling]).reshape(-1, num_points)
    votes = np.arange(places.size).reshape(places.shape) < num_inside
    return places, votes


def height_tiles(source, tallest):
    """Height ranges that a cloud much taller than the tallest training room is cut into. -> list of z_range.

    [None] (not tiled) where `tallest` is None, or where the height of the cloud (0.1 to 99.9 percentile) is at most 1.5
    times that: a room of 3.2 m cut in two because the training rooms ended at 2.9 m lost 5 points of mIoU.
    Otherwise tiles of that height from the floor upwards, the last flush with the top; what lies beneath the first or
    above the last tile belongs to it.
    """
    if tallest is None:
        return [None]
    floor, ceiling = source.profile.range([(0, len(source.cells.indices))])
    if ceiling - floor <= MUCH_TALLER * tallest + _SLACK:
        return [None]
    count = math.ceil((ceiling - floor) / tallest - _SLACK)
    lows = [floor + number * tallest for number in range(count - 1)] + [ceiling - tallest]
    tiles = [(low, low + tallest) for low in lows]
    tiles[0] = (-math.inf, tiles[0][1])
    tiles[-1] = (tiles[-1][0], math.inf)
    return tiles


def published_corners(hi, stride, block_size=1.0):
    """Where PointNet puts its columns: 0, stride, ... past the edge, none moved back. -> (n, 2), x-major."""
    counts = [max(math.ceil((float(edge) - block_size) / stride) + 1, 1) for edge in hi[:2]]
    return np.stack(np.meshgrid(*(np.arange(count) * stride for count in counts), indexing="ij"), -1).reshape(-1, 2)


def published_blocks(xyz, rgb, labels, stride, num_points, rng):
    """The blocks of PointNet and DeepGCN, as in `room2blocks_plus_normalized` of PointNet's indoor3d_util.py.

    xyz: (P, 3) from the minimum corner of the room. Columns of 1 m with inclusive borders, under 100 points dropped,
    `num_points` drawn with replacement; nothing is thinned. Yields features (N, 9) float32, labels (N,).
    """
    for corner in published_corners(xyz.max(axis=0), stride):
        inside = _between(xyz, corner, corner + 1.0)
        if inside.sum() >= FEWEST_PUBLISHED:
            yield published_block(xyz[inside], rgb[inside], labels[inside], xyz.max(axis=0), num_points, rng)


def published_block(xyz, rgb, labels, hi, num_points, rng):
    """One published block of the points of a column, (n, .), in a room that ends at `hi`. -> (N, 9) float32, (N,).

    x and y are taken from the minimum of the drawn points plus half a block, z from the floor of the room; the last
    three channels are xyz / hi.
    """
    chosen = _with_replacement(len(xyz), num_points, rng)
    xyz = xyz[chosen].astype(np.float64)
    center = np.array([*(xyz[:, :2].min(axis=0) + 0.5), 0.0])
    features = np.concatenate([xyz - center, rgb[chosen] / 255.0, xyz / hi], axis=1)
    return features.astype(np.float32), labels[chosen]


def _with_replacement(count, num_points, rng):
    """PointNet's `sample_data`: more points than wanted are drawn with replacement, fewer are all taken and filled."""
    if count == num_points:
        return np.arange(count)
    if count > num_points:
        return rng.choice(count, num_points)
    return np.concatenate([np.arange(count), rng.choice(count, num_points - count)])


def _last_number(hi, block_size, stride):
    """The number of the last column along an axis, counted from 0."""
    return max(math.ceil((hi - block_size - _SLACK) / stride), 0)


def _corner(numbers, hi, block_size, stride):
    """Where the columns of these numbers begin along an axis.

    Rounded to a nanometre, so that a multiple of the stride that should fall on a border between cells does.
    """
    last = _last_number(hi, block_size, stride)
    # The edge may be up to _SLACK past a multiple of the stride: no gap there.
    flush = max(min(hi - block_size, last * stride), 0.0)
    return np.round(np.where(numbers < last, numbers * stride, flush), 9)


def _touching(cells, hi, block_size, stride):
    """Numbers of the columns that touch each cell along one axis. cells: (K,) -> (K, m) int64, -1 where none.

    A cell does not contain its upper border, so a column that begins there does not touch it; a column that ends on
    the lower border of a cell matters only where the cloud ends with it.
    """
    last = _last_number(hi, block_size, stride)
    low, high = cells * CELL, (cells + 1) * CELL
    first = np.maximum(np.floor((low - block_size) / stride) + 1, 0).astype(np.int64)
    final = np.minimum(np.ceil(high / stride) - 1, last - 1).astype(np.int64)
    numbers = first[:, None] + np.arange(max(int((final - first).max()) + 1, 0))
    numbers[numbers > final[:, None]] = -1
    flush = _corner(last, hi, block_size, stride)
    touches_last = (flush < high) & (flush + block_size + _SLACK >= low)
    return np.concatenate([numbers, np.where(touches_last, last, -1)[:, None]], axis=1)


def _between(xyz, low, high):
    """(n, 3) -> (n,) bool: low <= x, y <= high, compared in float64 whatever the type of the borders."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    x, y = xyz[:, 0], xyz[:, 1]
    return (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])


def _beyond(xyz, z_range):
    """How far points lie above or below a height range. (n, 3) -> (n,) metres, 0 or less within it."""
    if z_range is None:
        return np.zeros(len(xyz))
    z = xyz[:, 2].astype(np.float64)
    return np.maximum(z_range[0] - z, z - z_range[1])


def _around(source, center, block_size, num_inside, num_points, z_range, other_heights):
    """A window about `center` that surely holds the `num_points` nearest points. -> window, distance (n,) metres.

    The whole source where it has no more. Without `other_heights` points beyond the height range are infinitely far.
    """
    half, count = block_size / 2, num_inside
    while True:
        # The square that should hold enough at the density so far; how it grows changes no result.
        half *= np.clip(1.1 * math.sqrt(num_points / max(count, 1)), 1.1, 2.0)
        window = source.window(center - half, center + half)
        distance = np.abs(window[1][:, :2] - center).max(axis=1)
        beyond = _beyond(window[1], z_range)
        distance = np.maximum(distance, beyond) if other_heights else np.where(beyond > 0, np.inf, distance)
        is_all = np.all(center - half <= 0) and np.all(center + half >= source.hi[:2])
        count = int((distance <= half).sum())
        if is_all or count >= num_points:
            return window, distance


def _chunks(cells):
    """Slices of cells that hold about _CHUNK points each. -> list of (first, last)."""
    ends = np.searchsorted(cells.starts, np.arange(_CHUNK, cells.starts[-1] + _CHUNK, _CHUNK))
    ends = np.unique(np.r_[0, np.minimum(ends, len(cells.indices)), len(cells.indices)])
    return [(int(first), int(last)) for first, last in pairwise(ends)]


def _cells_between(cells, first, last):
    """The table of cells first:last alone, with points counted from the first of them."""
    return CellTable(cells.indices[first:last], cells.starts[first : last + 1] - cells.starts[first])


def _joined(profiles):
    """One profile of the profiles of consecutive cells."""
    ends = np.cumsum([0] + [len(profile.bins) for profile in profiles])
    starts = [profile.starts[:-1] + end for profile, end in zip(profiles, ends)]
    return HeightProfile(
        np.concatenate([*starts, ends[-1:]]),
        np.concatenate([profile.bins for profile in profiles]),
        np.concatenate([profile.counts for profile in profiles]),
    )
