"""Points sorted by cell, thinned: those of a cloud in memory, and those of a room on disk.

Both are a *source* of points for columns: they have `cells`, `profile`, `hi` and `points_between(low, high)`.
Coordinates are metres from the minimum corner of the cloud, so that none is negative.

Letters: P points of a room or scan, M points left after thinning, n points between two corners.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.rooms.cells import (
    CellTable,
    HeightProfile,
    cells_after_thinning,
    height_profile,
    sort_by_cell,
    thin,
)

_CHUNK = 1_000_000  # points thinned at once: bounds the temporary memory, changes no result


@dataclass(frozen=True)
class Cloud:
    """Thinned points in memory, sorted by cell.

    xyz (M, 3) float32; rgb (M, 3) uint8; labels (M,) uint8. cells: which of the M points lie in which cell.
    profile: heights of all P points. hi (3,) float64: the corner opposite to (0, 0, 0).
    owner (P,) int32: for each given point, the index of the thinned point that represents it.
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
        for first, last in cell_chunks(cells):
            part = order[cells.starts[first] : cells.starts[last]]
            points, table = xyz[part], _cells_between(cells, first, last)
            profiles.append(height_profile(points[:, 2], table))
            kept, representative = thin(points, table, grid) if grid else (np.arange(len(part)), np.arange(len(part)))
            owner[part] = representative + count
            starts.append(cells_after_thinning(table, kept).starts[1:] + count)
            # Kept points move to the front of `order`, which saves a second array of P numbers.
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

    def points_between(self, low, high):
        """Points with low <= x, y <= high. -> ids (n,) int64 ascending, xyz (n, 3), rgb (n, 3), labels (n,)."""
        starts = self.cells.starts
        runs = [np.arange(starts[first], starts[last]) for first, last in self.cells.runs(low, high)]
        ids = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        ids = ids[between(self.xyz[ids], low, high)]
        return ids, self.xyz[ids], self.rgb[ids], self.labels[ids]


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
