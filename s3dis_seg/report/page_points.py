"""The points of a page: which are shown, in which order, and as text that the page unpacks.

A column of points (x, or red, or the prediction) is stored as the difference of each value from the one before it, low
bytes first, then high bytes; this is compressed by gzip and written in base64. The order of the points makes the
differences small: a point follows its neighbour. Letters: P points of a scan, n points of the page.
"""

import base64
import gzip

import numpy as np

HANDS = 16  # the points are dealt into so many hands, each spread over the whole scan
_FINEST = 0.0005  # metres; finer coordinates are noise that cannot be compressed
_HAND_ORDER = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)  # the first few hands are far apart, too
_GZIP_LEVEL = 6


def quantized(xyz):
    """Coordinates as whole steps from their lowest corner. (P, 3) finite metres -> (P, 3) uint16, corner (3,), step

    The step is 0.5 mm, or more where 65,536 steps would not reach across the scan.
    """
    low, high = xyz.min(axis=0).astype(np.float64), xyz.max(axis=0).astype(np.float64)
    step = max(float((high - low).max()) / 65535, _FINEST)
    steps = np.empty(xyz.shape, np.uint16)
    for axis in range(3):
        steps[:, axis] = np.rint((xyz[:, axis] - low[axis]) / step)
    return steps, low, step


def drawing_order(steps, most):
    """Which points to draw, in their order, so that any number of whole hands is spread evenly over the scan.

    steps: (P, 3) uint16 as from `quantized`. most: the number of points that are kept at most; more are thinned evenly.
    -> (n,) int64 indices, list of HANDS numbers: how many points the first 1, 2, ... hands have

    The points are sorted along a curve that fills space (Morton order). Every so many of them along the curve make a
    thinner scan of the same shape.
    """
    order = np.argsort(_along_curve(steps), kind="stable")
    if len(order) > most:
        order = order[np.arange(most, dtype=np.int64) * len(order) // most]
    hands = [order[hand::HANDS] for hand in _HAND_ORDER]
    return np.concatenate(hands), np.cumsum([len(hand) for hand in hands]).tolist()


def _along_curve(steps):
    """The bits of x, y and z in turn: the place of a point on the curve. (P, 3) uint16 -> (P,) uint64"""
    place = np.zeros(len(steps), np.uint64)
    for axis in range(3):
        bits = steps[:, axis].astype(np.uint64)
        for shift, mask in (
            (32, 0x001F00000000FFFF),
            (16, 0x001F0000FF0000FF),
            (8, 0x100F00F00F00F00F),
            (4, 0x10C30C30C30C30C3),
            (2, 0x1249249249249249),
        ):
            bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
        place |= bits << np.uint64(axis)
    return place


def as_bytes(confidence):
    """Confidence from 0 to 1 as whole numbers from 0 to 255. (n,) -> (n,) uint8"""
    return np.rint(np.clip(confidence, 0, 1) * 255).astype(np.uint8)


def packed(column):
    """A column of uint8 or uint16 as text. (n,) -> str"""
    differences = np.diff(column, prepend=column.dtype.type(0))
    planes = differences.astype(differences.dtype.newbyteorder("<")).view(np.uint8).reshape(len(column), -1).T
    return base64.b64encode(gzip.compress(planes.tobytes(), _GZIP_LEVEL, mtime=0)).decode("ascii")


def unpacked(text, dtype):
    """The column that `packed` made into text: what the page does to show it. -> (n,) array of dtype"""
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    planes = planes.reshape(np.dtype(dtype).itemsize, -1)
    differences = np.ascontiguousarray(planes.T).view(np.dtype(dtype).newbyteorder("<")).ravel()
    return np.cumsum(differences, dtype=dtype)
