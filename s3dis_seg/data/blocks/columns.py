"""Where the columns of a cloud stand, which points each of them offers, and how these are drawn into blocks.

A *column* is a square of the floor plan, 1 m wide, over the whole height. A *block* is N points drawn from it.
A *source* is where the points come from: a `Cloud` in memory or the `RoomPoints` of a file, see cloud.py.

Letters: N points a block, n points of one column.
"""

import math
from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.blocks.cloud import between
from s3dis_seg.data.rooms.cells import CELL

# Metres by which a column reaches past its upper border, so that rounding leaves no point between two columns.
_SLACK = 1e-6
MUCH_TALLER = 1.5  # a scan more than this many times as tall as the tallest training room is cut into layers


@dataclass(frozen=True)
class Column:
    """The points from which the blocks of a column are drawn: its members first, then the points added by widening.

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
    Columns that touch no occupied cell are left out. Every point lies in at least one column.
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

    Widening adds the points nearest to the centre by the larger of |dx| and |dy|, ties in the order of
    the cloud. A cloud with fewer than `num_points` points in all repeats them evenly. A column without members stays
    empty.
    With `z_range` (low, high) only points between these heights are members. Widening takes points of other heights
    only where the whole cloud has too few between these: those nearest by |dx|, |dy| and the distance from the range.
    """
    corner = np.asarray(corner, np.float64)
    end = corner + block_size + _SLACK
    points = source.points_between(corner, end)
    inside = _beyond(points[1], z_range) <= 0
    count = int(inside.sum())
    if count == 0 or count >= num_points:
        return Column(*(array[inside] for array in points), num_inside=count)

    center = corner + block_size / 2
    points, distance = _around(source, center, block_size, count, num_points, z_range, other_heights=False)
    if z_range is not None and np.isfinite(distance).sum() < num_points:
        points, distance = _around(source, center, block_size, count, num_points, z_range, other_heights=True)
    xyz = points[1]
    distance[between(xyz, corner, end) & (_beyond(xyz, z_range) <= 0)] = -1
    order = np.argsort(distance, kind="stable")[: min(num_points, int(np.isfinite(distance).sum()))]
    # np.resize starts over at the front: the points of a small cloud repeat evenly.
    order = np.resize(order, num_points)
    return Column(*(array[order] for array in points), num_inside=count)


def members_by_layer(source, corner, block_size, layers):
    """The members of a column in each of its layers. layers: list of z_range. -> ids (n,), firsts (L,), lasts (L,)

    The members of layer i, those that `column_points` counts as `num_inside`, are ids[firsts[i]:lasts[i]].
    """
    corner = np.asarray(corner, np.float64)
    ids, xyz, _, _ = source.points_between(corner, corner + block_size + _SLACK)
    if layers == [None]:
        return ids, np.array([0]), np.array([len(ids)])
    z = xyz[:, 2].astype(np.float64)
    order = np.argsort(z, kind="stable")
    z, (lows, highs) = z[order], np.transpose(layers)
    return ids[order], np.searchsorted(z, lows, side="left"), np.searchsorted(z, highs, side="right")


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
    Otherwise tiles of that height from the floor upwards, the last one flush with the top. Points below the first or
    above the last tile belong to it.
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


def _beyond(xyz, z_range):
    """How far points lie above or below a height range. (n, 3) -> (n,) metres, 0 or less within it."""
    if z_range is None:
        return np.zeros(len(xyz))
    z = xyz[:, 2].astype(np.float64)
    return np.maximum(z_range[0] - z, z - z_range[1])


def _around(source, center, block_size, num_inside, num_points, z_range, other_heights):
    """Points of a square about `center` that surely holds the `num_points` nearest. -> points, distance (n,) metres

    points: as `points_between` returns them; the whole source where it has no more. Without `other_heights`, points
    beyond the height range are infinitely far.
    """
    half, count = block_size / 2, num_inside
    while True:
        # Guess a large enough square from the density so far; how fast it grows changes no result.
        half *= np.clip(1.1 * math.sqrt(num_points / max(count, 1)), 1.1, 2.0)
        points = source.points_between(center - half, center + half)
        distance = np.abs(points[1][:, :2] - center).max(axis=1)
        beyond = _beyond(points[1], z_range)
        distance = np.maximum(distance, beyond) if other_heights else np.where(beyond > 0, np.inf, distance)
        is_all = np.all(center - half <= 0) and np.all(center + half >= source.hi[:2])
        count = int((distance <= half).sum())
        if is_all or count >= num_points:
            return points, distance
