"""An Open3D window on a scan."""

import ctypes
import os
import sys
import time

import numpy as np

from s3dis_seg.files import InputError
from s3dis_seg.view.colorings import color_points, legend, points_below_ceiling, title_of
from s3dis_seg.view.drawing import BACKGROUND, closing_size, fitting_camera

_IN_WINDOW = 5_000_000  # more points than this make a window slow


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
        options.point_size = float(np.clip(closing_size(xyz, self._kept, camera), 2, 7))
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
        self.tell(title_of(self.scan, self.coloring) + hidden, legend(self.scan, self.coloring))
