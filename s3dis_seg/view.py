"""Looking at a scan: colourings, pictures without a screen, and an Open3D window.

Pictures are drawn here, point by point with a depth buffer, so that a pixel has exactly the colour of the point that is
seen there (graphics drivers smooth and shade), with no screen, driver or system library, from any number of points.
Letters: P points of a scan, H and W rows and columns of a picture.
"""

import ctypes
import os
import sys
import time
from dataclasses import dataclass

import numpy as np

from s3dis_seg.classes import CLASSES, COLORS, UNLABELLED, UNLABELLED_COLOR, colors_of
from s3dis_seg.files import InputError, replacing

BACKGROUND = np.array((255, 255, 255), np.uint8)
GREY = np.array((128, 128, 128), np.uint8)  # points without a colour of their own
RIGHT, WRONG = np.array((190, 200, 210), np.uint8), np.array((215, 25, 28), np.uint8)
_AT_ONCE = 1 << 20  # points projected in one go: bounds the memory, whatever the size of the scan
_IN_WINDOW = 5_000_000  # more points than this make a window slow
_OVERHEAD = CLASSES.index("ceiling"), CLASSES.index("beam")
_NOTHING = np.uint64(np.iinfo(np.uint64).max)


# ------------------------------------------------------------------------------------------------ colourings


def color_points(scan, coloring):
    """Colours of all points of a Scan. coloring: a name of COLORINGS -> (P, 3) uint8

    InputError where the scan lacks what the colouring shows.
    """
    if coloring not in COLORINGS:
        raise InputError(f"no colouring is called {coloring!r}; there are {', '.join(COLORINGS)}")
    if coloring not in available_colorings(scan):
        raise InputError(f"cannot show {coloring!r}: {scan.path or 'the scan'} has no {_LACKING[coloring]}")
    return COLORINGS[coloring](scan)


def available_colorings(scan):
    """The names of the colourings this scan has the data for, in the order of COLORINGS."""
    there = {
        "scan": True,
        "prediction": scan.predictions is not None,
        "truth": scan.labels is not None,
        "errors": scan.predictions is not None and scan.labels is not None,
        "confidence": scan.confidence is not None,
    }
    return [name for name in COLORINGS if there[name]]


def _scan_colors(scan):
    return np.tile(GREY, (len(scan.xyz), 1)) if scan.rgb is None else scan.rgb


def _prediction_colors(scan):
    return colors_of(scan.predictions)


def _truth_colors(scan):
    return colors_of(scan.labels)


def _error_colors(scan):
    """Right or wrong; points without a label are neither and look like unlabelled ones."""
    colors = np.where((scan.labels == scan.predictions)[:, None], RIGHT, WRONG)
    colors[scan.labels == UNLABELLED] = UNLABELLED_COLOR
    return colors


def _confidence_colors(scan):
    return ramp(scan.confidence)


def ramp(values):
    """A perceptual ramp (viridis) from dark at 0 to light at 1. (P,) -> (P, 3) uint8"""
    from matplotlib import colormaps

    table = (colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table[(np.clip(values, 0, 1) * 255).round().astype(np.uint8)]


COLORINGS = {
    "scan": _scan_colors,
    "prediction": _prediction_colors,
    "truth": _truth_colors,
    "errors": _error_colors,
    "confidence": _confidence_colors,
}
TITLES = {
    "scan": "scan",
    "prediction": "prediction",
    "truth": "ground truth",
    "errors": "errors",
    "confidence": "confidence",
}
_LACKING = {
    "prediction": "predictions; s3dis-seg segment makes them",
    "truth": "labels that are known by their name; name their property with --label-field",
    "errors": "predictions and labels at once; s3dis-seg segment makes the former, --label-field names the latter",
    "confidence": "confidence; s3dis-seg segment writes it beside the predictions",
}


def legend(scan, colorings, seen=None):
    """What the colours mean. -> list of (name, (3,) uint8): the classes that occur, each once, then the rest.

    seen: (H, W) of `seen_points`; the classes of these points only.
    """
    points = slice(None) if seen is None else np.unique(seen[seen >= 0])
    present = set()
    for name, values in (("prediction", scan.predictions), ("truth", scan.labels)):
        if name in colorings:
            present.update(np.unique(values[points]).tolist())
    if "errors" in colorings and (scan.labels[points] == UNLABELLED).any():
        present.add(UNLABELLED)
    entries = [(CLASSES[label], COLORS[label]) for label in sorted(present - {UNLABELLED})]
    if UNLABELLED in present:
        entries.append(("unlabelled", UNLABELLED_COLOR))
    if "errors" in colorings:
        entries += [("right", RIGHT), ("wrong", WRONG)]
    if "confidence" in colorings:
        steps = np.linspace(0, 1, 5)
        entries += [(f"{100 * step:.0f} % confident", color) for step, color in zip(steps, ramp(steps))]
    return entries


def points_below_ceiling(scan):
    """Which points to show so that one can look into a room from above. -> (P,) bool, what is hidden in words

    Hides what is labelled ceiling or beam (predicted, where there are no labels), or the upper 5 % of the height where
    there are neither.
    """
    for values, said in ((scan.labels, "labelled"), (scan.predictions, "predicted")):
        if values is not None:
            hidden = np.isin(values, _OVERHEAD)
            return ~hidden, f"{hidden.sum():,} points {said} ceiling or beam" if hidden.any() else ""
    z = scan.xyz[:, 2]
    some = z[:: max(1, len(z) // 100_000)]
    some = some[np.isfinite(some)]
    if len(some) == 0:
        return np.ones(len(z), bool), ""
    low, high = np.percentile(some, (0.1, 99.9))
    hidden = z > low + 0.95 * (high - low)
    return ~hidden, f"{hidden.sum():,} points in the upper 5 % of the height" if hidden.any() else ""


# ------------------------------------------------------------------------------------------------ pictures


@dataclass(frozen=True)
class Camera:
    """A perspective camera. A point p is seen at ((p - origin) @ axes.T - eye), looking along -z; y points up.

    origin: (3,) float64, near the points, so that far coordinates (UTM) lose nothing. axes: (3, 3) rows right, up,
    backwards. eye: (3,). focal: pixels. size: (W, H).
    """

    origin: np.ndarray
    axes: np.ndarray
    eye: np.ndarray
    focal: float
    size: tuple

    def project(self, xyz):
        """(n, 3) -> columns (n,), rows (n,) in pixels, depth (n,) in metres; depth <= 0 is behind the camera."""
        right, up, back = ((xyz - self.origin) @ self.axes.T - self.eye).T
        depth = -back
        scale = self.focal / np.where(depth > 0, depth, np.inf)
        return self.size[0] / 2 + right * scale, self.size[1] / 2 - up * scale, depth


def fitting_camera(xyz, shown, size=(1280, 960), azimuth=None, elevation=68.0, zoom=1.0, field_of_view=40.0):
    """A camera that looks down at the shown points from outside and has all of them in the picture. -> Camera

    azimuth, elevation: where the eye is, in degrees from +x towards +y, and above the ground; by default over a corner
    with the longer side of the scan running from left to right. zoom: 2 shows the middle half.
    xyz: (P, 3), shown: (P,) bool.
    """
    low, high = _box(xyz, shown)
    origin = (low + high) / 2
    if azimuth is None:
        along_x, along_y, _ = high - low
        azimuth = -70.0 if along_x >= along_y else 20.0
    azimuth, elevation = np.radians((azimuth, elevation))
    sideways = np.array((-np.sin(azimuth), np.cos(azimuth), 0))
    backwards = np.array((np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)))
    axes = np.stack((sideways, np.cross(backwards, sideways), backwards))
    slopes = np.tan(np.radians(field_of_view) / 2) * np.array(size) / max(size) * 0.96  # 4 % of margin
    # Each side of the picture is a plane through the eye: a point is inside where right + back * slope is at most
    # eye + distance * slope (and mirrored), so the widest point on each side fixes the eye in closed form.
    widest = np.full((2, 2), -np.inf)
    for start in range(0, len(xyz), _AT_ONCE):
        some = xyz[start : start + _AT_ONCE][shown[start : start + _AT_ONCE]]
        if len(some) == 0:
            continue
        seen = (some - origin) @ axes.T
        leaning = seen[:, 2:] * slopes
        widest = np.maximum(widest, [(seen[:, :2] + leaning).max(axis=0), (leaning - seen[:, :2]).max(axis=0)])
    distance = max((widest.sum(axis=0) / (2 * slopes)).max(), 0.1)
    eye = np.append((widest[0] - widest[1]) / 2, distance)
    focal = zoom * max(size) / 2 / np.tan(np.radians(field_of_view) / 2)
    return Camera(origin, axes, eye, focal, tuple(size))


def _box(xyz, shown):
    """Lowest and highest corner of the shown points. -> (3,) float64 twice"""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for start in range(0, len(xyz), _AT_ONCE):
        some = xyz[start : start + _AT_ONCE][shown[start : start + _AT_ONCE]]
        if len(some):
            low, high = np.minimum(low, some.min(axis=0)), np.maximum(high, some.max(axis=0))
    return low, high


def seen_points(xyz, shown, camera, point_size=None):
    """Which point is seen at each pixel. xyz: (P, 3), shown: (P,) bool -> (H, W) int64, -1 for the background

    point_size: diameter of a point in pixels; by default as large as the gaps between the points of a surface.
    """
    width, height = camera.size
    nearest = np.full(width * height, _NOTHING, np.uint64)
    for start in range(0, len(xyz), _AT_ONCE):
        ids = start + np.flatnonzero(shown[start : start + _AT_ONCE])
        column, row, depth = camera.project(xyz[ids])
        inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = row[inside].astype(np.int64) * width + column[inside].astype(np.int64)
        # Positive floats sort like their bits, so one integer carries the depth and, below it, the point.
        bits = depth[inside].astype(np.float32).view(np.uint32).astype(np.uint64)
        np.minimum.at(nearest, pixel, (bits << np.uint64(32)) | ids[inside].astype(np.uint64))
    if point_size is None:
        point_size = _closing_size(xyz, shown, camera)
    nearest = _grow(nearest.reshape(height, width), point_size, camera.focal)
    return np.where(nearest == _NOTHING, -1, (nearest & np.uint64(0xFFFFFFFF)).astype(np.int64))


def _grow(nearest, diameter, focal):
    """Fill the gaps between points: every point becomes a disc, cut where another point of the surface is closer.

    nearest: (H, W) uint64 of depth and point, the largest number where there is none -> (H, W) uint64
    """
    reach = np.arange(diameter) - (diameter - 1) // 2
    middle = reach.mean()
    offsets = [(down, right) for down in reach for right in reach]
    offsets.sort(key=lambda offset: np.hypot(offset[0] - middle, offset[1] - middle))
    offsets = [offset for offset in offsets if np.hypot(offset[0] - middle, offset[1] - middle) <= diameter / 2]
    front = nearest.copy()
    for offset in offsets:
        target, source = _shifted(front, nearest, offset)
        np.minimum(target, source, out=target)
    # Among the points about as near as the front one, the first that an offset reaches is the closest on the picture.
    depth = (front >> np.uint64(32)).astype(np.uint32).view(np.float32)
    depth = np.where(front == _NOTHING, 0, depth * (1 + 1.5 * diameter / focal))
    limit = (depth.astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)) | np.uint64(0xFFFFFFFF)
    grown = np.full_like(nearest, _NOTHING)
    for offset in offsets:
        target, source = _shifted(grown, nearest, offset)
        bound, _ = _shifted(limit, nearest, offset)
        np.copyto(target, source, where=(target == _NOTHING) & (source <= bound))
    return grown


def _shifted(target, source, offset):
    """The parts of two pictures that cover each other when `source` moves by (down, right). -> two views"""
    height, width = source.shape
    down, right = offset
    return (
        target[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)],
        source[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)],
    )


def _closing_size(xyz, shown, camera, sample=200_000):
    """A diameter in pixels, 1 to 16, at which the points of most surfaces hide what is behind them. -> int"""
    ids = np.flatnonzero(shown)
    step = max(len(ids) // sample, 1)
    sampled = xyz[ids[::step]] - camera.origin
    # A surface that crosses a small cube has about the area of one of its faces, shared by the points in the cube.
    cube = max(np.ptp(sampled, axis=0).max() / 40, 1e-6)
    _, where, counts = np.unique(
        np.floor(sampled / cube).astype(np.int32), axis=0, return_inverse=True, return_counts=True
    )
    spacing = cube / np.sqrt(step * counts[where.ravel()])
    depth = camera.project(sampled + camera.origin)[2]
    in_pixels = np.quantile(spacing * camera.focal / np.maximum(depth, cube), 0.75)
    # Discs around points strewn at random cover 98 % of a surface from a diameter of 2.2 times their spacing.
    return int(np.clip(round(2.2 * in_pixels), 1, 16))


def paint(seen, colors):
    """Colours of the points that are seen. (H, W) from `seen_points`, (P, 3) uint8 -> (H, W, 3) uint8"""
    picture = np.tile(BACKGROUND, (*seen.shape, 1))
    picture[seen >= 0] = colors[seen[seen >= 0]]
    return picture


# ------------------------------------------------------------------------------------------------ whole pictures


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


# ------------------------------------------------------------------------------------------------ the window


def check_window():
    """InputError, with the way out, where no window can be opened."""
    if not sys.platform.startswith("linux") or os.environ.get("WAYLAND_DISPLAY"):
        return
    display = os.environ.get("DISPLAY")
    if not display:
        raise InputError("no window can be opened: DISPLAY is not set, so there is no screen; add --save picture.png")
    # Open3D falls back to drawing unseen when the screen cannot be reached, and would wait for keys forever.
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError as error:
        raise InputError(f"no window can be opened: {error}; install libx11-6 or add --save picture.png") from error
    x11.XOpenDisplay.restype = ctypes.c_void_p
    screen = x11.XOpenDisplay(None)
    if not screen:
        raise InputError(f"no window can be opened: the screen {display!r} does not answer; add --save picture.png")
    x11.XCloseDisplay(ctypes.c_void_p(screen))


class Window:
    """An Open3D window on a scan, with keys that switch the colouring; `run` returns when it is closed.

    tell: called with a sentence, or a coloring's name and its legend, whenever there is something to say.
    Scans of more than 5 million points are thinned for the display, at random from a seed.
    """

    KEYS = {  # noqa: RUF012
        "scan": "1S",
        "prediction": "2P",
        "truth": "3G",
        "errors": "4E",
        "confidence": "5C",
    }
    HELP = (
        "keys: 1 or S scan colours, 2 or P prediction, 3 or G ground truth, 4 or E errors, 5 or C confidence, "
        "T ceiling on or off, + and - size of the points, R view from the start, H this help, Q close; "
        "mouse: left turns, right or Ctrl-left moves, wheel zooms"
    )

    def __init__(self, scan, coloring, tell, ceiling=False, azimuth=None, elevation=68.0, seed=0):
        check_window()
        color_points(scan, coloring)  # refused before a window opens
        import open3d

        self.scan, self.tell, self.ceiling = scan, tell, ceiling
        self.coloring = coloring
        xyz = scan.xyz
        self._below, self._hidden = points_below_ceiling(scan)
        finite = np.isfinite(xyz).all(axis=1)
        if not finite.any():
            raise InputError(f"{scan.path or 'the scan'} has no point with finite coordinates; there is nothing to see")
        self._kept = finite
        if finite.sum() > _IN_WINDOW:
            share = _IN_WINDOW / finite.sum()
            self._kept = finite & (np.random.default_rng(seed).random(len(xyz), np.float32) < share)
            tell(f"showing {self._kept.sum():,} of {len(xyz):,} points, taken at random")
        camera = fitting_camera(xyz, finite, azimuth=azimuth, elevation=elevation)
        self._origin, self._axes = camera.origin, camera.axes
        self._open3d = open3d
        self._cloud = None
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            self.visualizer = open3d.visualization.VisualizerWithKeyCallback()
            opened = self.visualizer.create_window(f"s3dis-seg: {scan.path or 'scan'}", width=1280, height=960)
        if not opened:
            raise InputError("no window can be opened: Open3D finds no usable graphics; add --save picture.png")
        options = self.visualizer.get_render_option()
        options.light_on = False  # class colours as they are
        options.background_color = BACKGROUND / 255
        options.point_size = float(np.clip(_closing_size(xyz, self._kept, camera), 2, 7))
        self.actions = {}
        for name, keys in self.KEYS.items():
            self.actions |= {key: lambda name=name: self.show(name) for key in keys}
        self.actions |= {"T": self.toggle_ceiling, "H": lambda: tell(self.HELP), "R": self.reset_view}
        self.actions["Q"] = self.visualizer.close
        for key, action in self.actions.items():
            self.visualizer.register_key_callback(ord(key), lambda _, action=action: bool(action()))
        self._draw()
        self.reset_view()

    def show(self, coloring):
        """Switch the colouring; where the scan lacks the data for it, this is told and nothing changes."""
        try:
            color_points(self.scan, coloring)
        except InputError as error:
            self.tell(str(error))
            return
        self.coloring = coloring
        self._draw()

    def toggle_ceiling(self):
        self.ceiling = not self.ceiling
        self._draw()

    def reset_view(self):
        """The oblique view from above that the window starts with."""
        control = self.visualizer.get_view_control()
        control.set_lookat(np.zeros(3))
        control.set_front(self._axes[2])
        control.set_up(self._axes[1])
        control.set_zoom(0.6)

    def run(self):
        """Wait for keys and mouse until the window is closed."""
        # Open3D's own run() keeps Python from noticing Ctrl-C.
        try:
            while self.visualizer.poll_events():
                self.visualizer.update_renderer()
                time.sleep(0.01)
        finally:
            self.visualizer.destroy_window()

    def _draw(self):
        vectors = self._open3d.utility.Vector3dVector
        shown = self._kept if self.ceiling else self._kept & self._below
        if not shown.any():
            shown = self._kept
        first = self._cloud is None
        if not first:
            self.visualizer.remove_geometry(self._cloud, reset_bounding_box=False)
        self._cloud = self._open3d.geometry.PointCloud(vectors(self.scan.xyz[shown] - self._origin))
        self._cloud.colors = vectors(color_points(self.scan, self.coloring)[shown] / 255)
        self.visualizer.add_geometry(self._cloud, reset_bounding_box=first)
        hidden = "" if self.ceiling or not self._hidden else f"; {self._hidden} hidden, T shows them"
        self.tell(TITLES[self.coloring] + hidden, legend(self.scan, [self.coloring]))
