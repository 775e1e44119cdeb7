"""Drawing a cloud fast enough to move it: every point is a small disc, the nearest disc is seen at a pixel.

Compiled by numba, a processor of today draws 5 to 20 million points a second and thread, on any machine and without its
graphics. `draw_discs` and `paint_discs` have a slow form in numpy, which says what they do, and which is used where
numba is missing. Letters: P points, n rows that are drawn, H and W rows and columns of a picture.
"""

import functools

import numpy as np

EMPTY = np.uint64(np.iinfo(np.uint64).max)  # a pixel at which nothing is seen
_WIDEST = 24  # pixels: a disc close to the eye does not grow beyond
_NEAREST = 0.01  # metres from the eye to the nearest point that is seen


def empty_buffer(size):
    """For each pixel the depth of what is seen there and, in the lower 32 bits, its point. (W, H) -> (H, W) uint64"""
    return np.full((size[1], size[0]), EMPTY, np.uint64)


def draw_discs(buffer, xyz, rows, camera, diameter, far):
    """Draw points into a buffer, in front of what is there and farther away.

    buffer: (H, W) uint64 from `empty_buffer`. xyz: (P, 3) float32, from the origin of the camera. rows: (n,) int32,
    which points. diameter: of a disc, in metres. far: metres; no point is farther from the eye.
    Discs sink in depth towards their edge, so that those of neighbours share the gap between them.
    """
    looking = _looking(camera, diameter, far)
    _compiled_or(_draw_slowly)(buffer, xyz, rows, *looking)


def paint_discs(buffer, colors, background, picture):
    """The colour of the point that is seen at each pixel. colors: (P, 3), picture: (H, W, 3), uint8."""
    _compiled_or(_paint_slowly)(buffer, colors, background, picture)


def point_at(buffer, column, row, within=4):
    """The point that is seen nearest to a pixel, within some pixels. -> its number, or None"""
    height, width = buffer.shape
    left, top = max(column - within, 0), max(row - within, 0)
    part = buffer[top : min(row + within + 1, height), left : min(column + within + 1, width)]
    rows, columns = np.nonzero(part != EMPTY)
    if len(rows) == 0:
        return None
    nearest = np.hypot(rows + top - row, columns + left - column).argmin()
    return int(part[rows[nearest], columns[nearest]] & np.uint64(0xFFFFFFFF))


def _looking(camera, diameter, far):
    """What a kernel wants to know of the camera, as plain numbers."""
    steps = (2.0**32 - 1) / far
    return camera.axes.astype(np.float64), camera.eye.astype(np.float64), float(camera.focal), float(diameter), steps


def _draw_slowly(buffer, xyz, rows, axes, eye, focal, diameter, steps):
    height, width = buffer.shape
    right, up, back = (xyz[rows].astype(np.float64) @ axes.T - eye).T
    seen = -back > _NEAREST
    rows, right, up, depth = rows[seen], right[seen], up[seen], -back[seen]
    across = np.clip(diameter * focal / depth, 1.0, _WIDEST)
    column, row = width / 2 + right * focal / depth, height / 2 - up * focal / depth
    for down in range(-_WIDEST // 2, _WIDEST // 2 + 1):
        for aside in range(-_WIDEST // 2, _WIDEST // 2 + 1):
            x, y = np.floor(column) + aside, np.floor(row) + down
            from_middle = ((x + 0.5 - column) ** 2 + (y + 0.5 - row) ** 2) / (across / 2) ** 2
            middle = down == 0 and aside == 0
            hit = ((from_middle <= 1) | middle) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            key = np.minimum((depth + diameter * np.minimum(from_middle, 1))[hit] * steps, 2.0**32 - 2)
            key = (key.astype(np.uint64) << np.uint64(32)) | rows[hit].astype(np.uint64)
            np.minimum.at(buffer, (y[hit].astype(np.int64), x[hit].astype(np.int64)), key)


def _paint_slowly(buffer, colors, background, picture):
    seen = buffer != EMPTY
    picture[...] = background
    picture[seen] = colors[(buffer[seen] & np.uint64(0xFFFFFFFF)).astype(np.int64)]


def _draw(buffer, xyz, rows, axes, eye, focal, diameter, steps):
    height, width = buffer.shape
    for row_number in range(len(rows)):
        point = rows[row_number]
        x, y, z = xyz[point, 0], xyz[point, 1], xyz[point, 2]
        depth = eye[2] - (axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z)
        if depth <= _NEAREST:
            continue
        scale = focal / depth
        column = width / 2 + (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z - eye[0]) * scale
        row = height / 2 - (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z - eye[1]) * scale
        if not (-_WIDEST < column < width + _WIDEST and -_WIDEST < row < height + _WIDEST):
            continue
        radius = min(max(diameter * scale, 1.0), float(_WIDEST)) / 2
        middle_column, middle_row = int(np.floor(column)), int(np.floor(row))
        reach = int(np.ceil(radius))
        low, high = max(middle_row - reach, 0), min(middle_row + reach, height - 1)
        left, right = max(middle_column - reach, 0), min(middle_column + reach, width - 1)
        for v in range(low, high + 1):
            for u in range(left, right + 1):
                from_middle = ((u + 0.5 - column) ** 2 + (v + 0.5 - row) ** 2) / (radius * radius)
                if from_middle > 1:
                    if u != middle_column or v != middle_row:
                        continue
                    from_middle = 1.0
                key = min((depth + diameter * from_middle) * steps, 4294967294.0)
                key = (np.uint64(key) << np.uint64(32)) | np.uint64(point)
                buffer[v, u] = min(buffer[v, u], key)


def _paint(buffer, colors, background, picture):
    height, width = buffer.shape
    for v in range(height):
        for u in range(width):
            key = buffer[v, u]
            if key == EMPTY:
                for channel in range(3):
                    picture[v, u, channel] = background[channel]
            else:
                point = key & np.uint64(0xFFFFFFFF)
                for channel in range(3):
                    picture[v, u, channel] = colors[point, channel]


_FAST = {_draw_slowly: _draw, _paint_slowly: _paint}


@functools.cache
def _compiled_or(slow):
    """The compiled form of a function, kept on disk where there is a folder to write to; without numba the slow one."""
    try:
        import numba
    except ImportError:
        return slow
    options = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(_FAST[slow])
    except RuntimeError:
        return numba.njit(**options)(_FAST[slow])
