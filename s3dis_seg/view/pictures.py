"""Pictures of a scan, with titles and legend. Letters: P points of a scan, H and W rows and columns of a picture."""

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.files import InputError, replacing
from s3dis_seg.view.colorings import TITLES, color_points, legend, points_below_ceiling
from s3dis_seg.view.drawing import fitting_camera, paint, seen_points


def render(scan, coloring, size=(1280, 960), ceiling=False, **looking):
    """A picture of a scan without legend. -> (H, W, 3) uint8, white where there is nothing

    Cut to what is seen, so `size` (W, H) is the most it can be. ceiling: False looks into the room from above.
    looking: azimuth, elevation, zoom and point_size, as `fitting_camera` and `seen_points` take them.
    """
    return paint(look(scan, size, ceiling, **looking), color_points(scan, coloring))


def look(scan, size, ceiling=False, point_size=None, **camera):
    """Which point of the scan is seen at each pixel, whatever it is coloured by. -> (H, W) int64, -1 for none."""
    xyz = scan.xyz
    shown = np.isfinite(xyz).all(axis=1)
    if not ceiling:
        shown &= points_below_ceiling(scan)[0]
    if not shown.any():
        shown = np.isfinite(xyz).all(axis=1)  # nothing but ceiling
    if not shown.any():
        raise InputError(f"{scan.path or 'the scan'} has no point with finite coordinates; there is nothing to see")
    seen = seen_points(xyz, shown, fitting_camera(xyz, shown, size, **camera), point_size)
    return _cut(seen, margin=max(size) // 60)


def _cut(seen, margin):
    """Without the rows and columns that are empty, but for a margin. (H, W) -> (H', W')"""
    rows, columns = (np.flatnonzero((seen >= 0).any(axis=axis)) for axis in (1, 0))
    return seen[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin,
        max(columns[0] - margin, 0) : columns[-1] + 1 + margin,
    ]


def side_by_side(scan, colorings, size=(800, 600), ceiling=False, **looking):
    """Panels of the same scan in several colourings, with titles and one legend. -> (H, W, 3) uint8

    size: (W, H), the most a panel can be. The panels are in the picture pixel by pixel as `render` makes them.
    """
    seen = look(scan, size, ceiling, **looking)
    panels = [(_title(scan, name), paint(seen, color_points(scan, name))) for name in colorings]
    return compose(panels, legend(scan, colorings, seen))


def _title(scan, coloring):
    if coloring != "errors":
        return TITLES[coloring]
    judged = scan.labels != UNLABELLED
    return f"errors: {100 * (scan.labels != scan.predictions)[judged].mean():.1f} % of the points"


def compose(panels, entries):
    """Panels beside each other, titles above, legend below. [(title, (H, W, 3) uint8)], [(name, (3,))] -> (H, W, 3)

    The pixels of the panels stay as they are: panel i starts at row `title_height(whole width)`, column i * its width.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = panels[0][1].shape[:2]
    total_width, top = width * len(panels), title_height(width * len(panels))
    scale = top / _TITLE
    places, legend_height = _legend_places(entries, total_width, scale)
    total_height = top + height + legend_height
    figure = Figure(figsize=(total_width / 100, total_height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)

    def write(x, y, text, size, **style):
        points = 0.72 * size * scale  # 100 pixels are 72 points
        figure.text(x / total_width, 1 - y / total_height, text, fontsize=points, va="center", **style)

    for number, (title, _) in enumerate(panels):
        write((number + 0.5) * width, top / 2, title, 20, ha="center")
    side = 16 * scale
    for (name, color), (x, y) in zip(entries, places):
        y += top + height
        corner, extent = (x / total_width, 1 - (y + side / 2) / total_height), (side / total_width, side / total_height)
        figure.patches.append(
            Rectangle(corner, *extent, facecolor=color / 255, antialiased=False, transform=figure.transFigure)
        )
        write(x + 1.5 * side, y, name, 17)
    canvas.draw()
    picture = np.array(canvas.buffer_rgba())[:total_height, :total_width, :3]
    for number, (_, panel) in enumerate(panels):
        picture[top : top + height, number * width : (number + 1) * width] = panel
    return picture


_TITLE = 40  # pixels above panels
_LEGEND_ROW = 30


def title_height(width):
    """Pixels above the panels of a picture `width` pixels wide; titles and legend grow with wide pictures."""
    return round(_TITLE * min(max(width / 1600, 1.0), 2.0))


def _legend_places(entries, width, scale):
    """Where each entry of the legend starts, in rows as wide as the picture. -> list of (x, y), height in pixels"""
    step = scale * (44 + 10 * max((len(name) for name, _ in entries), default=0))
    row = _LEGEND_ROW * scale
    in_row = max(int((width - 20 * scale) // step), 1)
    places = [(20 * scale + step * (n % in_row), row * (n // in_row + 0.5)) for n in range(len(entries))]
    return places, round(row * -(-len(entries) // in_row) + 10 * scale * bool(entries))


def write_picture(path, picture):
    """Write (H, W, 3) uint8 as a PNG; the file appears whole or not at all."""
    from matplotlib.image import imsave

    if not str(path).lower().endswith(".png"):
        raise InputError(f"cannot write a picture as {path}; name a .png file")
    with replacing(path) as temporary:
        imsave(temporary, picture, format="png")
