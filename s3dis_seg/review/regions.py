"""Regions of a segmented scan: the doubtful ones, and those that somebody picks.

The points lie in cubes. Cubes of one prediction that touch, be it with an edge or a corner, are connected.
Letters: P points of a scan, n points of a region, K cubes, E pairs of touching cubes.
"""

from dataclasses import dataclass, field

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.files import InputError

SURE = 0.8  # cubes with this mean confidence, or more, are in no doubtful region
FEWEST = 20  # points; smaller regions are not listed
RUNNER_UP = "runner_up"  # the property of a scan that holds the second class of each point
_CUBE = 0.1  # metres
_SMALLEST = 3  # cubes along an axis: one with points, and a free one on either side
_MOST_CUBES = 1 << 54  # that 63 bits can number, together with a prediction
_GROWTH, _POINTS_A_CUBE = 1.5, 3  # cubes of sparse scans grow until they hold so many points in the mean
# Half of the 26 neighbours of a cube; it is the neighbour of the other half.
_NEIGHBOURS = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)]


@dataclass(frozen=True)
class Region:
    """Points of a scan that get a class together.

    points: (n,) their numbers, ascending. low, high: (3,) corners of their box, metres. label: the class that most of
    them are predicted to be, 255 for none. confidence: their mean, nan where the scan has none. runner_up: the class
    that comes second at most of them, None where the scan does not tell.
    """

    points: np.ndarray = field(repr=False)
    low: np.ndarray
    high: np.ndarray
    label: int
    confidence: float
    runner_up: int | None = None

    @property
    def middle(self):
        """(3,) the middle of the box, metres"""
        return (self.low + self.high) / 2


def doubtful_regions(scan, sure=SURE, most=None):
    """Where the network is least sure. -> list of Region, those with most points first; `most` of them at most

    scan: a Scan with predictions and confidence. Cubes of 0.1 m whose points of one prediction have a mean confidence
    below `sure` are doubtful; those that are connected make a region. Regions of fewer than 20 points are left out.
    InputError where the scan has no confidence.
    """
    _require_predictions(scan)
    if scan.confidence is None:
        raise InputError(f"{scan.path or 'the scan'} has no confidence; s3dis-seg segment writes it to every point")
    usable = _usable(scan)
    if len(usable) == 0:
        return []
    cubes = _Cubes(scan.xyz, scan.predictions, usable)
    sums = np.bincount(cubes.of_point, scan.confidence[usable], len(cubes.keys))
    doubtful = np.flatnonzero(sums / np.bincount(cubes.of_point, minlength=len(cubes.keys)) < sure)
    region_of_cube = np.full(len(cubes.keys), -1)
    region_of_cube[doubtful] = cubes.connected(doubtful)
    regions = region_of_cube[cubes.of_point]
    inside = np.flatnonzero(regions >= 0)
    # Sorted by region, so that each is a slice.
    inside = inside[np.argsort(regions[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(regions[inside], prepend=-1))
    groups = [part for part in np.split(usable[inside], starts[1:]) if len(part) >= FEWEST]
    groups.sort(key=lambda part: -len(part))
    return [_region(scan, part) for part in groups[:most]]


def region_around(scan, place, radius):
    """The connected points of one prediction within `radius` metres of a place; that of the nearest point. -> Region

    place: (3,) metres. InputError where no point is within the radius.
    """
    _require_predictions(scan)
    place = np.asarray(place, np.float64)
    inside = _usable(scan)
    for axis in range(3):  # the box first: distances of all points would take three times the memory
        inside = inside[np.abs(scan.xyz[inside, axis] - place[axis]) <= radius]
    distances = np.linalg.norm(scan.xyz[inside].astype(np.float64) - place, axis=1)
    inside, distances = inside[distances <= radius], distances[distances <= radius]
    if len(inside) == 0:
        raise InputError(
            f"no point with a prediction is within {radius:g} m of {_told(place)}; the scan reaches {_extent(scan)}"
        )
    cubes = _Cubes(scan.xyz, scan.predictions, inside)
    groups = cubes.connected(np.arange(len(cubes.keys)))[cubes.of_point]
    return _region(scan, inside[groups == groups[distances.argmin()]])


def region_in_box(scan, low, high):
    """All points with a prediction in a box. low, high: (3,) its corners, metres -> Region; InputError where none is"""
    _require_predictions(scan)
    low, high = np.minimum(low, high), np.maximum(low, high)
    inside = _usable(scan)
    for axis in range(3):
        values = scan.xyz[inside, axis]
        inside = inside[(values >= low[axis]) & (values <= high[axis])]
    if len(inside) == 0:
        raise InputError(
            f"no point with a prediction is in the box from {_told(low)} to {_told(high)}; the scan reaches "
            f"{_extent(scan)}"
        )
    return _region(scan, inside)


def name_of(label, classes):
    """The name of a class number; "nothing" for 255, "class 77" for one beyond the classes."""
    if label < len(classes):
        return classes.names[label]
    return "nothing" if label == UNLABELLED else f"class {label}"


def told_region(region, classes):
    """A region in words. -> text"""
    x, y, z = region.middle
    size = " x ".join(f"{extent:.1f}" for extent in region.high - region.low)
    sure = "" if np.isnan(region.confidence) else f", mean confidence {region.confidence:.2f}"
    second = "" if region.runner_up is None else f", then {name_of(region.runner_up, classes)}"
    return (
        f"{name_of(region.label, classes)}{second}: {len(region.points):,} points, {size} m around "
        f"{x:.2f}, {y:.2f}, {z:.2f}{sure}"
    )


def _require_predictions(scan):
    if scan.predictions is None:
        raise InputError(f"{scan.path or 'the scan'} has no predictions; s3dis-seg segment makes them")


def _usable(scan):
    """Numbers of the points that have a prediction and a place. -> (n,)"""
    return np.flatnonzero((scan.predictions != UNLABELLED) & np.isfinite(scan.xyz).all(axis=1))


def _region(scan, points):
    xyz = scan.xyz[points]
    confidence = float("nan") if scan.confidence is None else float(scan.confidence[points].mean(dtype=np.float64))
    second = np.asarray(scan.columns[RUNNER_UP])[points] if RUNNER_UP in scan.columns else np.zeros(0)
    second = second[(second >= 0) & (second < len(scan.classes))].astype(np.int64)
    return Region(
        points,
        xyz.min(axis=0).astype(np.float64),
        xyz.max(axis=0).astype(np.float64),
        int(np.bincount(scan.predictions[points]).argmax()),
        confidence,
        int(np.bincount(second).argmax()) if len(second) else None,
    )


def _told(place):
    return ", ".join(f"{value:g}" for value in place)


def _extent(scan):
    xyz = scan.xyz[_usable(scan)]
    return f"from {_told(xyz.min(axis=0))} to {_told(xyz.max(axis=0))}" if len(xyz) else "nowhere"


class _Cubes:
    """The cubes in which points lie, one for each prediction in it.

    keys: (K,) ascending int64, place and prediction in one number. of_point: (n,) the cube of each point.
    """

    def __init__(self, xyz, predictions, points):
        side = _CUBE
        while True:
            self.counts, keys = _places(xyz, points, side)
            if max(self.counts) <= _SMALLEST:
                break
            if keys is not None and len(np.unique(keys)) * _POINTS_A_CUBE <= len(points):
                break
            side *= _GROWTH
        self.keys, self.of_point = np.unique(keys * 256 + predictions[points], return_inverse=True)

    def connected(self, chosen):
        """Number the groups of connected cubes among some. chosen: (k,) ascending places in `keys` -> (k,)"""
        keys = self.keys[chosen]
        pairs = [np.zeros((2, 0), np.int64)]
        for x, y, z in _NEIGHBOURS:
            wanted = keys + ((x * self.counts[1] + y) * self.counts[2] + z) * 256
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            there = np.flatnonzero(keys[place] == wanted)
            pairs.append(np.stack([there, place[there]]))
        return _components(len(keys), *np.concatenate(pairs, axis=1))


def _places(xyz, points, side):
    """In which cube of a grid each point lies. -> cubes along each axis, (n,) int64, or None where there are too many

    A row of cubes before and behind the points stays free, so that no neighbour is one at the other end.
    """
    low = [float(xyz[points, axis].min()) for axis in range(3)]
    counts = [int((float(xyz[points, axis].max()) - low[axis]) / side) + _SMALLEST for axis in range(3)]
    if counts[0] * counts[1] * counts[2] > _MOST_CUBES:
        return counts, None
    keys = np.zeros(len(points), np.int64)
    for axis in range(3):  # one by one: the coordinates of all points would take three times the memory
        cells = ((xyz[points, axis].astype(np.float64) - low[axis]) / side).astype(np.int64)
        keys = keys * counts[axis] + cells + 1
    return counts, keys


def _components(count, first, second):
    """The lowest member of the group of each of `count` things. first, second: (E,) pairs that belong together"""
    lowest = np.arange(count)
    while True:
        one, other = lowest[first], lowest[second]
        apart = one != other
        if not apart.any():
            return lowest
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(lowest, follow := lowest[lowest]):
            lowest = follow
