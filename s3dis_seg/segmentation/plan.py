"""What happens to a scan before the network runs: its usable points are chosen and thinned.

Letters: P points of a scan, U of them usable, M points left after thinning.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.blocks.cloud import Cloud

GREY = 127.5  # 0.5 once the features have divided it by 255
_AT_ONCE = 500_000  # points of a scan processed at once: bounds the temporary memory
_SAMPLE = 100_000  # points from which the extent of a scan is estimated
_FAR, _FAR_IN_SCANS = 100.0, 10.0  # a point is far beyond 100 m and beyond ten times the extent of the scan
_FARTHEST = 1e5  # metres: up to here float32 still resolves centimetres


@dataclass
class ScanPlan:
    """A scan before the network runs: its thinned points, and the columns to visit.

    num_blocks: how many blocks will go through the network. layouts: list of Layout, the narrowest columns first.
    usable: (P,) bool, or None where all points are; the others are not finite or far away.
    cloud: the usable points, thinned; None where there are none. axis: 0 or 1, along which columns are visited.
    """

    num_points: int
    num_blocks: int
    layouts: list
    cloud: Cloud | None
    usable: np.ndarray | None
    has_colors: bool
    axis: int
    seconds: dict
    warnings: list

    @property
    def size(self) -> np.ndarray:
        """Extents of the usable points along x, y and z. -> (3,) metres"""
        return np.zeros(3) if self.cloud is None else np.asarray(self.cloud.hi, np.float64)


def usable_points(xyz):
    """Coordinates from the minimum corner, rounded to float32 only after the difference.

    Points that are not finite, or far from all others, are left out: float32 could not hold both ends of such a scan.
    -> relative (U, 3) float32, usable (P,) bool or None where all are, number of far points
    """
    low, high = _limits(xyz)
    usable, corner, num_far = np.empty(len(xyz), bool), np.full(3, np.inf), 0
    for part in parts(len(xyz)):
        rows = xyz[part].astype(np.float64)
        near = ((rows >= low) & (rows <= high)).all(axis=1)
        num_far += int((np.isfinite(rows).all(axis=1) & ~near).sum())
        corner = np.minimum(corner, rows[near].min(axis=0, initial=np.inf))
        usable[part] = near
    relative = np.empty((int(usable.sum()), 3), np.float32)
    end = 0
    for part in parts(len(xyz)):
        rows = xyz[part][usable[part]].astype(np.float64) - corner
        relative[end : end + len(rows)] = rows
        end += len(rows)
    return relative, None if usable.all() else usable, num_far


def _limits(xyz):
    """The box beyond which points are far, by the extent without the outer 1 % at either end. -> (3,), (3,)"""
    some = xyz[:: max(1, len(xyz) // _SAMPLE)].astype(np.float64)
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) == 0:
        some = xyz.astype(np.float64)
        some = some[np.isfinite(some).all(axis=1)]
    if len(some) == 0:
        return np.zeros(3), np.zeros(3)
    # Sorted values instead of np.percentile, which overflows between 1e300 and -1e300.
    some.sort(axis=0)
    cut = max(len(some) // 100, 1) if len(some) >= 10 else 0
    low, middle, high = some[cut], some[len(some) // 2], some[-1 - cut]
    with np.errstate(over="ignore"):
        reach = np.minimum(np.maximum(_FAR, _FAR_IN_SCANS * (high - low)), _FARTHEST)
    return np.maximum(low, middle - _FARTHEST) - reach, np.minimum(high, middle + _FARTHEST) + reach


def cloud_of(relative, rgb, usable, grid):
    """Usable points, sorted and thinned; without colours all are grey. -> Cloud, or None where there are no points"""
    if len(relative) == 0:
        return None
    if rgb is None:
        rgb = np.broadcast_to(np.uint8(GREY), (len(relative), 3))
    elif usable is not None:
        rgb = rgb[usable]
    return Cloud.of(relative, rgb, grid)


def num_blocks(layouts, passes):
    """How many blocks the columns make in all passes. -> int"""
    return passes * sum(
        -(-column.num_inside // layout.settings.num_points) for layout in layouts for column in layout.columns
    )


def parts(count):
    """Slices of up to half a million that cover `count` rows. -> list of slice"""
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
