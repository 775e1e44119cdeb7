"""Pictures of a scan: panels with a title above and a legend below. Letters: H and W rows and columns of a picture."""

import numpy as np

from s3dis_seg.files import InputError, replacing
from s3dis_seg.view.colorings import color_points, legend, points_below_ceiling, ramp, title_of, within_heights
from s3dis_seg.view.drawing import BACKGROUND, fitting_camera, paint, seen_points

# Pixels, in pictures up to 1,600 wide; in wider ones all of these grow by `_scale`.
_TITLE, _ROW, _SQUARE, _LETTER, _MARGIN = 40, 30, 16, 10, 20
_NARROWEST = 280  # a panel holds its title and one column of the legend


def side_by_side(scan, colorings, size=(800, 600), ceiling=False, heights=None, **looking):
    """Panels of the same scan, one for each colouring, with its title and its legend. -> (H, W, 3) uint8

    size: (W, H) that a panel has at most. ceiling: False hides ceiling and beams, so that one can look into the room.
    heights: (low, high) metres above the floor, of a slice.
    looking: azimuth, elevation, zoom and point_size, as `fitting_camera` and `seen_points` take them.
    The points stand at the same pixels in every panel, each pixel in exactly the colour of its point.
    """
    colors = [color_points(scan, name) for name in colorings]
    seen = look(scan, size, ceiling, heights, **looking)
    width = seen.shape[1]
    top, scale = title_height(width * len(colorings)), _scale(width * len(colorings))
    legends = [legend_picture(scan, name, width, scale, seen) for name in colorings]
    lowest = max(len(picture) for picture in legends)
    panels = [
        np.concatenate(
            [
                _title_picture(title_of(scan, name), width, top, scale),
                paint(seen, of_points),
                below,
                _blank(lowest - len(below), width),
            ]
        )
        for name, of_points, below in zip(colorings, colors, legends)
    ]
    return np.concatenate(panels, axis=1)


def look(scan, size, ceiling=False, heights=None, point_size=None, **camera):
    """Which point of the scan is seen at each pixel. -> (H, W) int64, -1 where there is none

    Cut to what is seen, so `size` (W, H) is the most it can be.
    """
    xyz = scan.xyz
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.any():
        raise InputError(f"{scan.path or 'the scan'} has no point with finite coordinates; there is nothing to see")
    shown = finite if ceiling else finite & points_below_ceiling(scan)[0]
    if not shown.any():
        shown = finite  # the scan is nothing but ceiling
    if heights is not None:
        shown = shown & within_heights(scan, heights)
    seen = seen_points(xyz, shown, fitting_camera(xyz, shown, size, **camera), point_size)
    return _cut(seen, margin=max(size) // 60)


def _cut(seen, margin):
    """Remove empty rows and columns but for a margin, but leave room for the text. (H, W) -> (H', W')"""
    rows, columns = (np.flatnonzero((seen >= 0).any(axis=axis)) for axis in (1, 0))
    lacking = max(_NARROWEST - (columns[-1] + 1 - columns[0] + 2 * margin), 0)
    sideways = margin + -(-lacking // 2)
    return seen[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin,
        max(columns[0] - sideways, 0) : columns[-1] + 1 + sideways,
    ]


def title_height(width):
    """Pixels above the panels of a picture that is `width` pixels wide."""
    return round(_TITLE * _scale(width))


def _scale(width):
    return min(max(width / 1600, 1.0), 2.0)


def legend_picture(scan, coloring, width, scale=1.0, points=None):
    """What the colours of a colouring mean, as a picture. -> (H, width, 3) uint8; no rows where there is nothing to say

    points: which points count, as `legend` takes them. scale: of letters and squares.
    """
    if coloring == "confidence":
        return _color_bar(width, scale)
    entries = legend(scan, coloring, points)
    if not entries:
        return _blank(0, width)
    row, side, margin = _ROW * scale, round(_SQUARE * scale), _MARGIN * scale
    step = scale * (_LETTER * max(len(name) for name, _ in entries)) + 2.75 * side
    in_row = max(int((width - margin) // step), 1)
    places = [(margin + step * (i % in_row), row * (i // in_row + 0.5)) for i in range(len(entries))]
    height = round(row * -(-len(entries) // in_row) + _LETTER * scale)
    texts = [(x + 1.5 * side, y, name, "left") for (name, _), (x, y) in zip(entries, places)]
    picture = _texts_picture(texts, width, height, 17 * scale)
    for (_, color), (x, y) in zip(entries, places):
        picture[round(y - side / 2) : round(y + side / 2), round(x) : round(x) + side] = color
    return picture


def _color_bar(width, scale):
    """The ramp of the confidence with its percentages below."""
    margin, side, row = round(2 * _MARGIN * scale), round(_SQUARE * scale), _ROW * scale
    across = max(width - 2 * margin, 1)
    shares = (0, 0.5, 1) if across > 200 * scale else (0, 1)
    texts = [(margin + share * across, 1.3 * row, f"{share:.0%}".replace("%", " %"), "center") for share in shares]
    picture = _texts_picture(texts, width, round(2 * row), 17 * scale)
    top = round(0.5 * row - side / 2)
    picture[top : top + side, margin : margin + across] = ramp(np.linspace(0, 1, across))[: width - margin]
    return picture


def _title_picture(text, width, height, scale):
    return _texts_picture([(width / 2, height / 2, text, "center")], width, height, 20 * scale)


def _texts_picture(texts, width, height, size):
    """Texts on white. texts: (x, y of the middle of the line in pixels, text, alignment) -> (height, width, 3) uint8"""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    for x, y, text, alignment in texts:
        # 100 pixels are 72 of the points that fonts are measured in.
        figure.text(x / width, 1 - y / height, text, fontsize=0.72 * size, ha=alignment, va="center_baseline")
    canvas.draw()
    drawn = np.array(canvas.buffer_rgba())[:height, :width, :3]
    picture = _blank(height, width)
    picture[: drawn.shape[0], : drawn.shape[1]] = drawn  # a figure may round its size down by a pixel
    return picture


def _blank(height, width):
    return np.tile(BACKGROUND, (height, width, 1))


def write_picture(path, picture):
    """Write (H, W, 3) uint8 as a PNG; the file appears whole or not at all."""
    from matplotlib.image import imsave

    if not str(path).lower().endswith(".png"):
        raise InputError(f"cannot write a picture as {path}; name a .png file")
    with replacing(path) as temporary:
        imsave(temporary, picture, format="png")


def lines_picture(lines, width):
    """Short texts below each other, each behind a square of its colour. -> (H, width, 3) uint8

    lines: list of (text, (3,) uint8, or None for no square).
    """
    height = round(_ROW * len(lines) + _LETTER)
    places = [_ROW * (place + 0.5) for place in range(len(lines))]
    texts = [(_MARGIN + 1.5 * _SQUARE, y, text, "left") for (text, _), y in zip(lines, places)]
    picture = _texts_picture(texts, width, height, 15)
    for (_, color), y in zip(lines, places):
        if color is not None:
            picture[round(y - _SQUARE / 2) : round(y + _SQUARE / 2), _MARGIN : _MARGIN + _SQUARE] = color
    return picture
