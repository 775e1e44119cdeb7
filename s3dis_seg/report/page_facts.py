"""The numbers of a page: floor areas, how sure the network is, and doubtful places.

Letters: P points of a scan.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.floor import FloorPlan
from s3dis_seg.metrics import IGNORED

PLACE_CELL = 0.5  # metres
DOUBTFUL_SHARE = 0.1  # of the points, in the cubes that make the places to check
SURE = 0.9  # a cube of this mean confidence is no place to check


def floor_areas(xyz, labels):
    """Area of the floor plan on which a class has points: its occupied squares of 5 cm. (P, 3), (P,) -> (256,) m2"""
    plan = FloorPlan(xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0))
    plan.add(xyz[:, :2], labels)
    return plan.areas()


def _cells(coordinates, side):
    """In which cell of a grid each point lies. (P, d) -> cells along each axis (d,), (P,) int64"""
    low, high = coordinates.min(axis=0).astype(np.float64), coordinates.max(axis=0).astype(np.float64)
    counts = np.floor((high - low) / side).astype(np.int64) + 1
    keys = np.zeros(len(coordinates), np.int64)
    for axis, count in enumerate(counts):
        cell = np.floor((coordinates[:, axis] - low[axis]) / side).astype(np.int64)
        keys = keys * count + np.minimum(cell, count - 1)
    return counts, keys


def histogram(confidence, bins=20):
    """Shares of the points by confidence, from 0 to 1. (P,) -> (bins,), all 0 where there is no point"""
    counts = np.bincount(np.minimum((confidence * bins).astype(np.int64), bins - 1), minlength=bins)
    return counts / max(counts.sum(), 1)


@dataclass(frozen=True)
class Place:
    """A part of a scan where the network is unsure.

    low, high: (3,) corners of the box of its cubes, metres. points; confidence: their mean; label: the class that most
    of them are predicted to be.
    """

    low: np.ndarray
    high: np.ndarray
    points: int
    confidence: float
    label: int


def doubtful_places(xyz, predictions, confidence, most=12):
    """Where to check the predictions first. (P, 3), (P,), (P,) -> list of Place, those with most points first

    The scan is cut into cubes of half a metre. The cubes with the lowest mean confidence are taken until they hold a
    tenth of the points, none of a mean of 0.9 or more; those that touch with a face make one place.
    """
    counted = np.flatnonzero(predictions != IGNORED)
    if len(counted) == 0:
        return []
    xyz, predictions, confidence = xyz[counted], predictions[counted], confidence[counted]
    counts, keys = _cells(xyz, PLACE_CELL)
    cubes, cube_of = np.unique(keys, return_inverse=True)
    points = np.bincount(cube_of)
    mean = np.bincount(cube_of, confidence) / points
    order = np.argsort(mean, kind="stable")
    before = np.cumsum(points[order]) - points[order]
    doubtful = order[(before < DOUBTFUL_SHARE * len(xyz)) & (mean[order] < SURE)]
    place_of_cube = np.full(len(cubes), -1)
    for number, members in enumerate(_touching(cubes[doubtful].tolist(), counts)):
        place_of_cube[np.searchsorted(cubes, members)] = number
    place_of = place_of_cube[cube_of]
    corner = xyz.min(axis=0).astype(np.float64)
    sizes = np.bincount(place_of[place_of >= 0])
    largest = np.argsort(-sizes, kind="stable")[:most]
    places = []
    for number in largest:
        members = np.flatnonzero(place_of == number)
        low, high = _box(cubes[place_of_cube == number], corner, counts)
        label = int(np.bincount(predictions[members]).argmax())
        places.append(Place(low, high, len(members), float(confidence[members].mean(dtype=np.float64)), label))
    return places


def _touching(keys, counts):
    """Groups of cubes that touch with a face. -> yields lists of keys"""
    _, along_y, along_z = map(int, counts)
    left = set(keys)
    while left:
        group, found = [], [left.pop()]
        while found:
            key = found.pop()
            group.append(key)
            y, z = key // along_z % along_y, key % along_z
            beside = [key - along_y * along_z, key + along_y * along_z]
            beside += [key - along_z] if y > 0 else []
            beside += [key + along_z] if y < along_y - 1 else []
            beside += [key - 1] if z > 0 else []
            beside += [key + 1] if z < along_z - 1 else []
            touching = left.intersection(beside)
            left -= touching
            found += touching
        yield group


def _box(cubes, corner, counts):
    """The box around some cubes. -> (3,) and (3,), metres"""
    _, along_y, along_z = counts
    cells = np.stack([cubes // (along_y * along_z), cubes // along_z % along_y, cubes % along_z], axis=1)
    return corner + cells.min(axis=0) * PLACE_CELL, corner + (cells.max(axis=0) + 1) * PLACE_CELL
