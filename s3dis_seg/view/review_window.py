"""An Open3D window that shows the regions of a review one after the other; a key gives a region its class."""

import time

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.files import InputError
from s3dis_seg.review import name_of, told_region
from s3dis_seg.view.colorings import GREY, points_below_ceiling
from s3dis_seg.view.drawing import BACKGROUND, fitting_camera
from s3dis_seg.view.overlay import Overlay
from s3dis_seg.view.pictures import lines_picture
from s3dis_seg.view.window import check_window

KEYS = "1234567890ABCDEFGIJKLMNOPRSTXYZ"  # of the classes, in their order; the other letters are taken
HELP = (
    "keys: those of the list in the window give the region its class; Space skips it, Backspace goes back, U takes the "
    "last class back, V changes the colours, W saves, H this help, Q saves and closes; mouse: left button turns, right "
    "button moves, wheel zooms"
)
_MARK = np.array((255, 128, 0), np.uint8)  # the present region; orange is no colour of S3DIS
_VIEWS = ("scan", "classes", "plain")  # what V goes through
_PALE = 0.45  # how much of its colour what surrounds the region keeps in the view of classes
_AROUND = 0.7  # metres around the region that are in the picture at least
_IN_WINDOW = 3_000_000  # points; of larger scans a random part is shown, and all of the region
_SIZE, _LIST_WIDTH, _POINT_SIZE = (1280, 960), 250, 4.0
_SPACE, _BACKSPACE = 32, 259  # as GLFW numbers them


class ReviewWindow:
    """A window on a Session; `run` returns when it is closed.

    tell: called with a sentence whenever there is something to say. save: called without anything, to keep what was
    given so far; also when the window is closed, however that happens.
    """

    def __init__(self, session, tell, save, seed=0):
        check_window()
        import open3d

        self._open3d, self.session, self.tell, self.save = open3d, session, tell, save
        self.scan = scan = session.scan
        finite = np.isfinite(scan.xyz).all(axis=1)
        if not finite.any():
            raise InputError(f"{scan.path} has no point with finite coordinates; there is nothing to see")
        few = np.random.default_rng(seed).random(len(scan), np.float32) < _IN_WINDOW / len(scan)
        self._finite, self._usual = finite, finite & few & points_below_ceiling(scan)[0]
        self._middle = scan.xyz[finite].mean(axis=0, dtype=np.float64)
        self._view = 0 if scan.rgb is not None else 1
        self._cloud = None
        self.visualizer = self._open()
        extent = np.ptp(scan.xyz[finite], axis=0).max()
        self._overlay = Overlay(self.visualizer, 0.005 * max(float(extent), 0.1))
        self.actions = self._actions()
        for key, action in self.actions.items():
            self.visualizer.register_key_callback(key, lambda _, action=action: bool(action()))
        self._show()

    def _open(self):
        open3d = self._open3d
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            visualizer = open3d.visualization.VisualizerWithKeyCallback()
            if not visualizer.create_window(f"s3dis-seg review: {self.scan.path}", *_SIZE):
                raise InputError("no window can be opened: Open3D finds no usable graphics; use --list and --assign")
        options = visualizer.get_render_option()
        options.light_on = False  # colours as they are
        options.background_color = BACKGROUND / 255
        options.mesh_show_back_face = True  # the list is seen from either side
        options.point_size = _POINT_SIZE
        return visualizer

    def _actions(self):
        """Number of a key, as GLFW has it -> what it does."""
        session = self.session
        actions = {
            ord(key): lambda label=label: self._do(session.assign, label)
            for label, key in zip(range(len(self.scan.classes)), KEYS)
        }
        actions |= {_SPACE: lambda: self._do(session.skip), _BACKSPACE: lambda: self._do(session.back)}
        actions |= {ord("U"): lambda: self._do(session.undo), ord("V"): self._change_view, ord("W"): self.save}
        return actions | {ord("H"): lambda: self.tell(HELP), ord("Q"): self.visualizer.close}

    def _do(self, action, *words):
        action(*words)
        self._show()

    def _change_view(self):
        self._view = (self._view + 1) % len(_VIEWS)
        self._draw()

    def _show(self):
        """The present region, from a place in the middle of the scan, and the list of the keys."""
        self._draw()
        region = self.session.current
        count = len(self.session.regions)
        if region is None:
            self.tell(f"that was the last of {count} regions; Q saves and closes, Backspace goes back")
        else:
            self.tell(f"{self.session.position + 1} of {count}: {told_region(region, self.scan.classes)}")
            self._look_at(region)
        self._overlay.show(lines_picture(self._lines(), _LIST_WIDTH))

    def _draw(self):
        vectors, region = self._open3d.utility.Vector3dVector, self.session.current
        shown = self._usual.copy()
        if region is not None:
            shown[region.points] = self._finite[region.points]
        if not shown.any():
            shown = self._finite
        colors = self._colors()
        if self._cloud is not None:
            self.visualizer.remove_geometry(self._cloud, reset_bounding_box=False)
        first, self._cloud = self._cloud is None, self._open3d.geometry.PointCloud()
        self._cloud.points = vectors(self.scan.xyz[shown] - self._middle)
        self._cloud.colors = vectors(colors[shown] / 255)
        self.visualizer.add_geometry(self._cloud, reset_bounding_box=first)

    def _colors(self):
        """(P, 3) uint8: the scan, or pale classes with what was corrected, and the region marked."""
        view, region = _VIEWS[self._view], self.session.current
        if view == "classes":
            given = self.session.labels
            classes = np.where(given == UNLABELLED, self.scan.predictions, given)
            colors = (255 - _PALE * (255.0 - self.scan.classes.colors_of(classes))).astype(np.uint8)
        else:
            colors = np.tile(GREY, (len(self.scan), 1)) if self.scan.rgb is None else self.scan.rgb.copy()
        if region is not None and view != "plain":
            colors[region.points] = _MARK
        return colors

    def _look_at(self, region):
        """Look at a region from the side of the middle of the scan, so that no wall is in between."""
        near = self._finite.copy()
        for axis in range(3):
            values = self.scan.xyz[:, axis]
            near &= (values > region.low[axis] - _AROUND) & (values < region.high[axis] + _AROUND)
        towards = self._middle - region.middle
        azimuth = None if np.hypot(*towards[:2]) < 0.2 else float(np.degrees(np.arctan2(towards[1], towards[0])))
        control = self.visualizer.get_view_control()
        seen = control.convert_to_pinhole_camera_parameters()
        width, height = seen.intrinsic.width, seen.intrinsic.height
        beside = _LIST_WIDTH if width > 3 * _LIST_WIDTH else 0
        camera = fitting_camera(
            self.scan.xyz - self._middle, near, (width, height), azimuth, elevation=35.0, left_free=beside
        )
        seen.intrinsic.set_intrinsics(width, height, camera.focal, camera.focal, width / 2 - 0.5, height / 2 - 0.5)
        # Open3D's camera has y down and z forwards, ours y up and z backwards.
        extrinsic = np.eye(4)
        extrinsic[:3, :3] = camera.axes * np.array([[1], [-1], [-1]])
        extrinsic[:3, 3] = -extrinsic[:3, :3] @ camera.origin - camera.eye * (1, -1, -1)
        seen.extrinsic = extrinsic
        control.convert_from_pinhole_camera_parameters(seen, allow_arbitrary=True)
        control.set_constant_z_near(self._overlay.depth / 2)  # else the list vanishes

    def _lines(self):
        """What the list in the window says. -> list of (text, colour or None)"""
        classes, region = self.scan.classes, self.session.current
        head = "no region is left"
        if region is not None:
            head = f"{self.session.position + 1} of {len(self.session.regions)}: {name_of(region.label, classes)}"
        lines = [(head, _MARK)]
        lines += [(f"{key}  {name}", color) for key, name, color in zip(KEYS, classes.names, classes.colors)]
        return [*lines, ("Space skip, U undo, H help", None)]

    def run(self):
        """Wait for keys and mouse until the window is closed; then save."""
        # Open3D's own run() keeps Python from noticing Ctrl-C.
        try:
            while self.poll():
                time.sleep(0.01)
        finally:
            self.visualizer.destroy_window()
            self.save()

    def poll(self):
        """Do what keys and mouse ask for, and draw. -> False once the window is closed"""
        if not self.visualizer.poll_events():
            return False
        self._overlay.follow()
        self.visualizer.update_renderer()
        return True
