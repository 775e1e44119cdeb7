"""Points sorted by cell, thinned: those of a scan, in memory or in files, and those of a room on disk.

Both are a *source* of points for columns: they have `cells`, `profile`, `hi` and `points_between(low, high)`.
Coordinates are metres from the minimum corner of the cloud, so that none is negative.

Letters: P points of a room or scan, M points left after thinning, n points between two corners.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.ahead import ahead
from s3dis_seg.data.rooms.cells import (
    CellTable,
    HeightProfile,
    cell_keys,
    cells_after_thinning,
    cells_of_keys,
    height_profile,
    stable_order,
    thin,
)
from s3dis_seg.data.store import InMemory

# Points read and thinned at once: bounds the temporary memory, changes no result.
_AT_ONCE, _CHUNK = 500_000, 1_000_000
_THREADS = 2


@dataclass(frozen=True)
class Given:
    """Points to be thinned, read a part at a time; a part is a slice of the P points.

    count: P. hi: (3,), the corner of the usable points opposite to (0, 0, 0).
    xyz: function of a part -> which of its points are usable (n,) or None for all, and these, (n, 3) float32 metres
    from the minimum corner. rgb: function of a part -> (n, 3) uint8 of all its points.
    """

    count: int
    hi: np.ndarray
    xyz: Callable
    rgb: Callable

    def read(self, part):
        """-> places among the P points (n,), xyz (n, 3), rgb (n, 3) of the usable points of a part"""
        usable, xyz = self.xyz(part)
        places, rgb = np.arange(part.start, part.stop), self.rgb(part)
        return (places, xyz, rgb) if usable is None else (places[usable], xyz, rgb[usable])


@dataclass(frozen=True)
class Cloud:
    """Thinned points, sorted by cell.

    xyz (M, 3) float32; rgb (M, 3) uint8; labels (M,) uint8. cells: which of the M points lie in which cell.
    profile: heights of all P points. hi (3,) float64: the corner opposite to (0, 0, 0).
    owner (P,) int32: for each given point, the index of the thinned point that represents it; -1 where it is not
    usable. release: takes the points out of memory that are kept in files, see store.py.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    cells: CellTable
    profile: HeightProfile
    hi: np.ndarray
    owner: np.ndarray
    release: Callable = field(default=lambda: None, repr=False)

    @staticmethod
    def of(xyz, rgb, grid, labels=None):
        """Thin and sort a cloud. xyz: (P, 3) float32 from the minimum corner; rgb: (P, 3) uint8; labels: (P,) uint8."""
        if len(xyz) == 0:
            raise ValueError("a cloud needs at least one point")
        given = Given(len(xyz), xyz.max(axis=0), lambda part: (None, xyz[part]), lambda part: rgb[part])
        cloud, places = thinned(given, grid, InMemory())
        return cloud if labels is None else replace(cloud, labels=labels[places])

    def points_between(self, low, high):
        """Points with low <= x, y <= high. -> ids (n,) int64 ascending, xyz (n, 3), rgb (n, 3), labels (n,)."""
        starts = self.cells.starts
        runs = [np.arange(starts[first], starts[last]) for first, last in self.cells.runs(low, high)]
        ids = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        ids = ids[between(self.xyz[ids], low, high)]
        return ids, self.xyz[ids], self.rgb[ids], self.labels[ids]


def thinned(given, grid, store):
    """Sort points by cell and thin them, in two passes over them. -> Cloud, places (M,): which of the P points are kept

    Of each voxel the first point is kept. given: Given. grid: metres, 0 keeps every point. store: where the arrays are
    kept. How the points are cut into parts changes nothing.
    """
    keys, starts = _counted_cells(given)
    xyz, rgb, places = _sorted_by_cell(given, keys, starts, store)
    full = CellTable(cells_of_keys(keys, given.hi), starts)
    owner = store.new("owner", given.count, np.int32)
    owner[:] = -1
    ends, profiles, count = [np.zeros(1, np.int64)], [], 0
    thinning = partial(_thinned_cells, full, xyz, grid)
    for part, profile, kept, representative, table in ahead(thinning, cell_chunks(full), _THREADS, _THREADS):
        profiles.append(profile)
        owner[places[part]] = representative + count
        ends.append(table.starts[1:] + count)
        # Kept points move to the front, which saves a second array of them. None is read after it is overwritten.
        for array in (xyz, rgb, places):
            array[count : count + len(kept)] = array[part][kept]
        count += len(kept)
        store.release()
    names = ("xyz", xyz), ("rgb", rgb), ("places", places)
    xyz, rgb, places = (store.shortened(name, array, count) for name, array in names)
    cells, hi = CellTable(full.indices, np.concatenate(ends)), np.asarray(given.hi, np.float64)
    return Cloud(xyz, rgb, unlabelled(count), cells, _joined(profiles), hi, owner, store.release), places


def unlabelled(count):
    """No labels for so many points, in no memory. -> (count,) uint8"""
    return np.broadcast_to(np.uint8(UNLABELLED), count)


def _counted_cells(given):
    """First pass: the occupied cells. -> keys (K,) ascending, starts (K + 1,)"""
    found, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for keys, numbers in ahead(partial(_cells_of_part, given), parts(given.count), _THREADS, _THREADS):
        found, where = np.unique(np.concatenate([found, keys]), return_inverse=True)
        counts = np.bincount(where, np.concatenate([counts, numbers])).astype(np.int64)
    return found, np.concatenate([[0], np.cumsum(counts)])


def _cells_of_part(given, part):
    keys, numbers = np.unique(cell_keys(given.xyz(part)[1], given.hi), return_counts=True)
    return keys.astype(np.int64), numbers


def _sorted_by_cell(given, keys, starts, store):
    """Second pass: every point goes to its cell. -> xyz (P, 3), rgb (P, 3), places (P,) in the order of the cells

    keys, starts: of `_counted_cells`. Within a cell the order stays.
    """
    total = int(starts[-1])
    xyz, rgb = store.new("xyz", (total, 3), np.float32), store.new("rgb", (total, 3), np.uint8)
    places = store.new("places", total, np.min_scalar_type(given.count))
    free = starts[:-1].copy()
    for found, firsts, points in ahead(partial(_sorted_part, given), parts(given.count), _THREADS, _THREADS):
        cells, lengths = np.searchsorted(keys, found), np.diff(firsts)
        target = np.repeat(free[cells] - firsts[:-1], lengths) + np.arange(firsts[-1])
        free[cells] += lengths
        for array, values in zip((places, xyz, rgb), points):
            array[target] = values
        store.release()
    return xyz, rgb, places


def _sorted_part(given, part):
    """-> keys of the cells of a part (k,), where each begins (k + 1,), its points in the order of the cells"""
    points = given.read(part)
    keys = cell_keys(points[1], given.hi)
    order = stable_order(keys, 8 * keys.itemsize)
    keys = keys[order]
    firsts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    return keys[firsts].astype(np.int64), np.r_[firsts, len(keys)], [array[order] for array in points]


def _thinned_cells(cells, xyz, grid, borders):
    """Thin some cells. borders: (first, last). -> slice of the points, their HeightProfile, kept, representative, table

    kept, representative: as of `thin`; table: the CellTable of the kept points.
    """
    first, last = borders
    part, table = slice(cells.starts[first], cells.starts[last]), _cells_between(cells, first, last)
    points = np.array(xyz[part])
    count = len(points)
    kept, representative = thin(points, table, grid) if grid else (np.arange(count), np.arange(count))
    return part, height_profile(points[:, 2], table), kept, representative, cells_after_thinning(table, kept)


def parts(count):
    """Slices of up to half a million that cover `count` rows. -> list of slice"""
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


class KeptPlaces:
    """A cache of which points thinning kept in the cells read last, because overlapping columns read a cell repeatedly.

    It holds at most `most_bytes`, usually two bytes a point: all of S3DIS thinned to 2 cm is about 80 MB.
    """

    def __init__(self, most_bytes=100_000_000):
        self.most_bytes = most_bytes
        self._places, self._bytes = OrderedDict(), 0

    def __getstate__(self):
        # A worker process starts with an empty cache instead of a copy of this one.
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


class RoomPoints:
    """The points of a room on disk, thinned while they are read: only the cells that are asked for are in memory.

    The points, and their order, are those that `Cloud.of` gives for the whole room. Only the ids differ: here they
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

    def points_between(self, low, high):
        """Points with low <= x, y <= high. -> ids (n,) int64, xyz (n, 3), rgb (n, 3), labels (n,)."""
        parts = [self._run(first, last) for first, last in self.cells.runs(low, high)]
        if not parts:
            nothing = np.zeros((0, 3), np.uint8)
            return np.zeros(0, np.int64), nothing.astype(np.float32), nothing, nothing[:, 0]
        ids, xyz, rgb, labels = (np.concatenate(arrays) for arrays in zip(*parts))
        inside = between(xyz, low, high)
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


def between(xyz, low, high):
    """(n, 3) -> (n,) bool: low <= x, y <= high, compared in float64 whatever the type of the borders."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    x, y = xyz[:, 0], xyz[:, 1]
    return (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])


def cell_chunks(cells):
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
