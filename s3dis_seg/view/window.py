"""An Open3D window on a scan."""

import ctypes
import os
import sys
import time

import numpy as np

from s3dis_seg.files import InputError
from s3dis_seg.view.colorings import color_points, legend, points_below_ceiling, title_of
from s3dis_seg.view.drawing import BACKGROUND, closing_size, fitting_camera
from s3dis_seg.view.pictures import legend_picture

_IN_WINDOW = 5_000_000  # more points than this make a window slow
_SIZE = 1280, 960
_LEGEND_WIDTH, _LEGEND_MARGIN = 170, 12  # pixels: one column of entries, and its distance from the corner


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

    tell: called with a sentence and a legend (a list as from `legend`) whenever there is something to say.
    Of more than 5 million points, a random sample from `seed` is shown.
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
        "T ceiling on or off, L legend on or off, + and - size of the points, R back to the first view, H this help, "
        "Q close; mouse: left button turns, right button or Ctrl-left moves, wheel zooms"
    )

    def __init__(self, scan, coloring, tell, ceiling=False, azimuth=None, elevation=68.0, seed=0):
        check_window()
        color_points(scan, coloring)  # refused before a window opens
        import open3d

        self._open3d, self.scan, self.tell = open3d, scan, tell
        self.coloring, self.ceiling = coloring, ceiling
        self._looking = {"azimuth": azimuth, "elevation": elevation}
        self._below, self._hidden = points_below_ceiling(scan)
        self._kept = self._points_to_show(seed)
        self.visualizer = self._open()
        camera = self._camera(_SIZE)
        self._origin = camera.origin
        self._cloud, self._legend = None, None
        self._legend_shown, self._legend_seen_from = True, None
        self._set_options(closing_size(scan.xyz, self._kept, camera))
        self.actions = self._register_keys()
        self._draw()
        self.reset_view()

    def _points_to_show(self, seed):
        """(P,) bool: the finite points, a random sample where they are too many."""
        finite = np.isfinite(self.scan.xyz).all(axis=1)
        count = finite.sum()
        if count == 0:
            name = self.scan.path or "the scan"
            raise InputError(f"{name} has no point with finite coordinates; there is nothing to see")
        if count <= _IN_WINDOW:
            return finite
        kept = finite & (np.random.default_rng(seed).random(len(finite), np.float32) < _IN_WINDOW / count)
        self.tell(f"showing {kept.sum():,} of {len(finite):,} points, taken at random")
        return kept

    def _open(self):
        open3d = self._open3d
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            visualizer = open3d.visualization.VisualizerWithKeyCallback()
            name = f"s3dis-seg: {self.scan.path or 'scan'}"
            if not visualizer.create_window(name, width=_SIZE[0], height=_SIZE[1]):
                raise InputError("no window can be opened: Open3D finds no usable graphics; add --save picture.png")
        return visualizer

    def _set_options(self, point_size):
        options = self.visualizer.get_render_option()
        options.light_on = False  # class colours as they are
        options.background_color = BACKGROUND / 255
        options.mesh_show_back_face = True  # the legend is seen from either side
        options.point_size = float(np.clip(point_size, 2, 7))

    def _register_keys(self):
        """Key -> what it does."""
        actions = {}
        for name, keys in self.KEYS.items():
            actions |= {key: lambda name=name: self.show(name) for key in keys}
        actions |= {"T": self.toggle_ceiling, "L": self.toggle_legend, "R": self.reset_view}
        actions |= {"H": lambda: self.tell(self.HELP), "Q": self.visualizer.close}
        for key, action in actions.items():
            self.visualizer.register_key_callback(ord(key), lambda _, action=action: bool(action()))
        return actions

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

    def toggle_legend(self):
        self._legend_shown = not self._legend_shown
        self._draw_legend()

    def reset_view(self):
        """The first view: from above at an angle, with the whole scan in the window, beside the legend."""
        control = self.visualizer.get_view_control()
        seen = control.convert_to_pinhole_camera_parameters()
        width, height = seen.intrinsic.width, seen.intrinsic.height
        camera = self._camera((width, height))
        seen.intrinsic.set_intrinsics(width, height, camera.focal, camera.focal, width / 2 - 0.5, height / 2 - 0.5)
        # Open3D's camera has y down and z forwards, ours y up and z backwards.
        axes = camera.axes * np.array([[1], [-1], [-1]])
        extrinsic = np.eye(4)
        extrinsic[:3, :3] = axes
        extrinsic[:3, 3] = -camera.eye * (1, -1, -1)
        seen.extrinsic = extrinsic
        control.convert_from_pinhole_camera_parameters(seen)
        control.set_constant_z_near(self._legend_depth() / 2)  # else the legend vanishes in the distance

    def _camera(self, size):
        """The camera of the first view, for a window of this size (W, H)."""
        beside = _LEGEND_WIDTH + _LEGEND_MARGIN if size[0] > 4 * _LEGEND_WIDTH else 0
        return fitting_camera(self.scan.xyz, self._kept, size, left_free=beside, **self._looking)

    def run(self):
        """Wait for keys and mouse until the window is closed."""
        # Open3D's own run() keeps Python from noticing Ctrl-C.
        try:
            while self.poll():
                time.sleep(0.01)
        finally:
            self.visualizer.destroy_window()

    def poll(self):
        """Do what keys and mouse ask for, and draw. -> False once the window is closed"""
        if not self.visualizer.poll_events():
            return False
        self._place_legend()
        self.visualizer.update_renderer()
        return True

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
        self._shown = np.flatnonzero(shown)
        self._draw_legend()
        hidden = "" if self.ceiling or not self._hidden else f"; {self._hidden} hidden, T shows them"
        self.tell(title_of(self.scan, self.coloring) + hidden, legend(self.scan, self.coloring, self._shown))

    def _draw_legend(self):
        """Put the legend of the colouring into the window, as a rectangle with a picture of the legend on it."""
        if self._legend is not None:
            self.visualizer.remove_geometry(self._legend, reset_bounding_box=False)
            self._legend = None
        picture = legend_picture(self.scan, self.coloring, _LEGEND_WIDTH, points=self._shown)
        if not self._legend_shown or len(picture) == 0:
            return
        open3d = self._open3d
        self._legend = open3d.geometry.TriangleMesh(
            open3d.utility.Vector3dVector(np.zeros((4, 3))), open3d.utility.Vector3iVector([[0, 1, 2], [0, 2, 3]])
        )
        # A pixel from the edge, where the graphics mix in what lies outside.
        low, high = 1 / np.array(picture.shape[1::-1]), 1 - 1 / np.array(picture.shape[1::-1])
        corners = np.array([[low[0], high[1]], high, [high[0], low[1]], low])
        self._legend.triangle_uvs = open3d.utility.Vector2dVector(corners[[0, 1, 2, 0, 2, 3]])
        self._legend.triangle_material_ids = open3d.utility.IntVector([0, 0])
        self._legend.textures = [open3d.geometry.Image(np.ascontiguousarray(picture))]
        self._legend_size = picture.shape[1::-1]
        self._legend_seen_from = None
        self._place_legend(added=False)
        self.visualizer.add_geometry(self._legend, reset_bounding_box=False)

    def _place_legend(self, added=True):
        """Keep the legend in the upper left corner of the window, in front of the scan, wherever the camera is."""
        if self._legend is None:
            return
        seen = self.visualizer.get_view_control().convert_to_pinhole_camera_parameters()
        place = np.append(np.ravel(seen.extrinsic), np.ravel(seen.intrinsic.intrinsic_matrix))
        if added and np.array_equal(place, self._legend_seen_from):
            return
        self._legend_seen_from = place
        width, height = self._legend_size
        pixels = np.array([[0, height], [width, height], [width, 0], [0, 0]]) + _LEGEND_MARGIN
        focal, middle = seen.intrinsic.intrinsic_matrix[0, 0], seen.intrinsic.intrinsic_matrix[:2, 2]
        depth = self._legend_depth()
        in_camera = np.c_[(pixels - middle) / focal * depth, np.full(4, depth)]
        turn, move = seen.extrinsic[:3, :3], seen.extrinsic[:3, 3]
        self._legend.vertices = self._open3d.utility.Vector3dVector((in_camera - move) @ turn)
        if added:
            self.visualizer.update_geometry(self._legend)

    def _legend_depth(self):
        """In front of the scan, from wherever one looks at it as a whole. -> metres from the camera"""
        return 0.02 * max(np.ptp(np.asarray(self._cloud.points), axis=0).max(), 0.1)
