"""Which axis of a scan points upwards, judged by its floor and ceiling. Letters: P points.

Along the upright axis, points crowd at two heights: floor and ceiling. Walls that lie along the axes of the file do the
same, so that only y (as in most meshes and scans of telephones) is ever taken instead of z, and only where no two such
heights are found along z. In 28 rooms of the S3DIS dataset y is never 1.2 times as crowded as z.
"""

import numpy as np

from s3dis_seg.files import InputError

# Axis that points upwards -> where the coordinates that the network sees come from: place and sign.
UP = {
    "z": ((0, 1), (1, 1), (2, 1)),
    "y": ((0, 1), (2, -1), (1, 1)),
    "x": ((1, 1), (2, 1), (0, 1)),
    "-z": ((0, 1), (1, -1), (2, -1)),
    "-y": ((0, 1), (2, 1), (1, -1)),
    "-x": ((1, 1), (2, -1), (0, -1)),
}
_BINS = 100
_ENDS = _BINS // 4  # floor and ceiling lie in the outer quarters
_CROWDED = 4.0  # times the mean: the most furnished room has 3.2, others 5 to 10
_EMPTY = 2.5
_REFUSED = 1.7  # times as crowded along y as along z; one of 84 crops of rooms, a metre of a corridor, has 1.5
_FEWEST = 1000  # points, for a judgement


def judged_up(xyz, path="the scan", by_format=None, refuse=True):
    """Which axis points upwards. xyz: (P, 3) as in the file. -> key of UP, a sentence or ""

    by_format: the axis that the format of the file names, which holds unless the points say otherwise.
    Raises InputError with the flags to add where y is more likely than z, but not sure; with refuse=False z is taken.
    """
    usual = by_format or "z"
    told = f"{by_format} points upwards, as its format says (--up z if not)" if by_format else ""
    peaks = _peaks(xyz)
    if peaks is None:
        return usual, told
    floor_y, both_y, both_z = peaks[1][0], min(peaks[1]), min(peaks[2])
    if both_z >= _CROWDED and both_z >= 2 * both_y and both_y < _EMPTY:
        note = "z is taken as upwards, though this format says y: floor and ceiling lie along z (sure; --up y if not)"
        return "z", note if usual == "y" else ""
    if both_y >= _CROWDED and both_y >= 2 * both_z and both_z < _EMPTY:
        return "y", "y is taken as upwards: floor and ceiling lie along y, and none along z (sure; --up z if not)"
    if by_format:
        return usual, told
    floor_alone = floor_y > 5 and floor_y > 2.5 * max(peaks[2]) and max(peaks[2]) < 2
    if refuse and ((both_y >= _CROWDED and both_y >= _REFUSED * both_z) or floor_alone):
        raise InputError(
            f"{path} may have its floor along y and not along z, which is not sure: add --up y, or --up z if z points "
            "upwards all the same"
        )
    return "z", ""


def turned(xyz, up):
    """Coordinates with the third axis upwards, turned and not mirrored. (P, 3) -> (P, 3)"""
    if up == "z":
        return xyz
    return np.stack([xyz[:, place] * np.array(sign, xyz.dtype) for place, sign in UP[up]], axis=1)


def _peaks(xyz):
    """How crowded the lower and the upper quarter are at most, as multiples of the mean. -> (3, 2), or None"""
    some = xyz[:: max(1, len(xyz) // 100_000)]
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) < _FEWEST:
        return None
    low, high = np.percentile(some, (1, 99), axis=0)
    if not np.isfinite(high - low).all() or (high <= low).any():
        return None
    peaks = []
    for axis in range(3):
        margin = 0.05 * (high - low)[axis]
        counts = np.histogram(some[:, axis], _BINS, (low[axis] - margin, high[axis] + margin))[0] / len(some)
        pairs = (counts[:-1] + counts[1:]) / (2 / _BINS)
        peaks.append((float(pairs[:_ENDS].max()), float(pairs[-_ENDS:].max())))
    return peaks
