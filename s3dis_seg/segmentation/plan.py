"""What happens to a scan before the network runs: its usable points are chosen, placed and thinned.

Letters: P points of a scan, n points of a part of it, U of them usable, M points left after thinning.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.ahead import ahead
from s3dis_seg.data.blocks.cloud import Cloud, Given, parts, thinned
from s3dis_seg.segmentation.work import InNoFolder

GREY = 127.5  # 0.5 once the features have divided it by 255
_SAMPLE = 100_000  # points from which the extent and the units of a scan are estimated
_FAR, _FAR_IN_SCANS = 100.0, 10.0  # a point is far beyond 100 m and beyond ten times the extent of the scan
_FARTHEST = 1e5  # metres: up to here float32 still resolves centimetres
_STEPS = 1e4  # of a metre: coordinates are rounded to a tenth of a millimetre
_THREADS = 2


@dataclass
class ScanPlan:
    """A scan before the network runs: its thinned points, and the columns to visit.

    num_blocks: how many blocks will go through the network. layouts: list of Layout, the narrowest columns first.
    cloud: the usable points, thinned; None where there are none. axis: 0 or 1, along which columns are visited.
    work: where the arrays are, and how far an earlier run came.
    """

    num_points: int
    num_blocks: int
    layouts: list
    cloud: Cloud | None
    has_colors: bool
    axis: int
    seconds: dict
    warnings: list
    work: object

    @property
    def size(self) -> np.ndarray:
        """Extents of the usable points along x, y and z. -> (3,) metres"""
        return np.zeros(3) if self.cloud is None else np.asarray(self.cloud.hi, np.float64)


@dataclass(frozen=True)
class Placement:
    """Which points of a scan are usable, and where they are counted from.

    Points that are not finite, or far from all others, are left out: float32 could not hold both ends of such a scan.
    low, high: (3,) metres, beyond which points are far. corner: (3,) the minimum corner of the usable points, and
    hi: (3,) the corner opposite to it, counted from there, float32. num_usable, num_far: points.
    """

    low: np.ndarray
    high: np.ndarray
    corner: np.ndarray
    hi: np.ndarray
    num_usable: int
    num_far: int

    @staticmethod
    def of(fields):
        """The Placement that `fields` wrote down."""
        arrays = {name: np.array(fields[name]) for name in ("low", "high", "corner")}
        return Placement(**fields | arrays | {"hi": np.array(fields["hi"], np.float32)})

    def fields(self):
        """-> dictionary of numbers and lists"""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    def place(self, rows):
        """Metres from the corner, in float32 after the difference. (n, 3) -> usable (n,) or None for all, (U, 3)

        They are rounded to a tenth of a millimetre first. So a scan in float32 and its copy in a text of four decimals
        have the same coordinates here: else a point on the border between two voxels is in the one or the other.
        """
        rows = np.asarray(rows, np.float64)
        usable = _near(rows, self.low, self.high)
        if usable.all():
            usable = None
        else:
            rows = rows[usable]
        return usable, self._counted(_rounded(rows))

    def _counted(self, steps):
        return ((steps - np.rint(self.corner * _STEPS)) / _STEPS).astype(np.float32)


def placement_of(xyz):
    """xyz: (P, 3) metres, an array or Lazy. -> Placement"""
    low, high = _limits(xyz)
    corner, top, num_usable, num_finite = np.full(3, np.inf), np.full(3, -np.inf), 0, 0

    def extent(part):
        rows = np.asarray(xyz[part], np.float64)
        near = _near(rows, low, high)
        if near.all():
            finite = len(rows)
        else:
            finite = int(np.isfinite(rows).all(axis=1).sum())
            rows = rows[near]
        return rows.min(axis=0, initial=np.inf), rows.max(axis=0, initial=-np.inf), len(rows), finite

    for least, most, usable, finite in ahead(extent, parts(len(xyz)), _THREADS, _THREADS):
        corner, top = np.minimum(corner, least), np.maximum(top, most)
        num_usable, num_finite = num_usable + usable, num_finite + finite
    if num_usable == 0:
        return Placement(low, high, np.zeros(3), np.zeros(3, np.float32), 0, num_finite)
    corner, top = _rounded(corner) / _STEPS, _rounded(top) / _STEPS
    placement = Placement(low, high, corner, np.zeros(3, np.float32), num_usable, num_finite - num_usable)
    return Placement(**vars(placement) | {"hi": placement._counted(_rounded(top))})


def _near(rows, low, high):
    """Which points are finite and not far. (n, 3) float64 -> (n,) bool"""
    inside = np.ones(len(rows), bool)
    for axis in range(3):
        values = rows[:, axis]
        inside &= (values >= low[axis]) & (values <= high[axis])
    return inside


def _rounded(rows):
    return np.rint(rows * _STEPS)


def _limits(xyz):
    """The box beyond which points are far, by the extent without the outer 1 % at either end. -> (3,), (3,)"""
    some = np.asarray(xyz[:: max(1, len(xyz) // _SAMPLE)], np.float64)
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) == 0:
        finite = (rows[np.isfinite(rows).all(axis=1)] for rows in (np.asarray(xyz[part]) for part in parts(len(xyz))))
        some = np.concatenate([np.asarray(rows[:_SAMPLE], np.float64) for rows in finite])
    if len(some) == 0:
        return np.zeros(3), np.zeros(3)
    # Sorted values instead of np.percentile, which overflows between 1e300 and -1e300.
    some = np.sort(some, axis=0)
    cut = max(len(some) // 100, 1) if len(some) >= 10 else 0
    low, middle, high = some[cut], some[len(some) // 2], some[-1 - cut]
    with np.errstate(over="ignore"):
        reach = np.minimum(np.maximum(_FAR, _FAR_IN_SCANS * (high - low)), _FARTHEST)
    return np.maximum(low, middle - _FARTHEST) - reach, np.minimum(high, middle + _FARTHEST) + reach


def sample_of(xyz, placement):
    """Some of the usable points. -> (n, 3) float32 metres from the minimum corner"""
    return placement.place(xyz[:: max(1, len(xyz) // _SAMPLE)])[1]


def cloud_of(xyz, rgb, placement, grid, work=None):
    """The usable points of a scan, sorted and thinned. -> Cloud, or None where there are no points

    xyz: (P, 3) metres; rgb: (P, 3) uint8, or None where all are grey; arrays or Lazy. work: see work.py.
    """
    work = InNoFolder() if work is None else work
    if placement.num_usable == 0:
        return None

    def colors(part):
        return np.full((part.stop - part.start, 3), np.uint8(GREY)) if rgb is None else rgb[part]

    given = Given(len(xyz), placement.hi, lambda part: placement.place(xyz[part]), colors)
    cloud, _ = thinned(given, grid, work.store)
    work.store.drop("places")
    return cloud


def num_blocks(layouts, passes):
    """How many blocks the columns make in all passes. -> int"""
    return passes * sum(
        -(-column.num_inside // layout.settings.num_points) for layout in layouts for column in layout.columns
    )
