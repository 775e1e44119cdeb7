"""A window that shows a Scene.

The pictures come from `scene.py`; Open3D's window puts them on the screen, and hands over keys and mouse. So the window
shows the same on every machine, whatever its graphics, and all but this file runs without a screen.
"""

import ctypes
import functools
import os
import sys
import time

import numpy as np

from s3dis_seg.files import InputError

WAY_OUT = "add --save picture.png, or make a page with `s3dis-seg report`"
_KEYS = {
    32: "SPACE", 257: "ENTER", 335: "ENTER", 258: "TAB", 256: "ESCAPE", 266: "PAGE_UP", 267: "PAGE_DOWN", 268: "HOME",
    262: "RIGHT", 263: "LEFT", 264: "DOWN", 265: "UP", 61: "+", 334: "+", 45: "-", 333: "-", 93: "+", 47: "-", 320: "0",
    **{code: chr(code) for code in (*range(48, 58), *range(65, 91))},
}  # fmt: skip  # GLFW's codes; 93 and 47 are + and - where Europeans have them
_BUTTONS = {0: "left", 1: "right", 2: "middle"}
_RELEASED, _PRESSED = 0, 1
_SHIFT, _CONTROL = 1, 2
_REST = 0.01  # seconds between two looks at keys and mouse


def check_window():
    """InputError, with the way out, where no window can be opened."""
    if not sys.platform.startswith("linux") or os.environ.get("WAYLAND_DISPLAY"):
        return
    display = os.environ.get("DISPLAY")
    if not display:
        raise InputError(f"no window can be opened: DISPLAY is not set, so there is no screen; {WAY_OUT}")
    # Open3D falls back to drawing unseen when the screen cannot be reached, and would wait for keys forever.
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError as error:
        raise InputError(f"no window can be opened: {error}; install libx11-6, or {WAY_OUT}") from error
    x11.XOpenDisplay.restype = ctypes.c_void_p
    screen = x11.XOpenDisplay(None)
    if not screen:
        raise InputError(f"no window can be opened: the screen {display!r} does not answer; {WAY_OUT}")
    x11.XCloseDisplay(ctypes.c_void_p(screen))


class Window:
    """A window on a Scene; `run` returns when it is closed."""

    def __init__(self, scene, title="s3dis-seg"):
        check_window()
        import open3d

        self._open3d, self.scene = open3d, scene
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            self.visualizer = open3d.visualization.VisualizerWithKeyCallback()
            if not self.visualizer.create_window(title, width=scene.size[0], height=scene.size[1]):
                raise InputError(f"no window can be opened: Open3D finds no usable graphics; {WAY_OUT}")
        # On some screens a step of the mouse is several pixels of the picture.
        self._pixels = self._size()[0] / scene.size[0] if sys.platform == "darwin" else 1.0
        self._mouse, self._shift = (0.0, 0.0), False
        self._image = None
        self._register()
        if self._size() != scene.size:
            scene.resize(self._size())
            scene.reset_view()
        self.poll()

    def _register(self):
        for code, name in _KEYS.items():
            self.visualizer.register_key_action_callback(code, functools.partial(self._key, name))
        self.visualizer.register_mouse_button_callback(self._button)
        self.visualizer.register_mouse_move_callback(self._move)
        self.visualizer.register_mouse_scroll_callback(self._scroll)

    # What these return is whether Open3D is to draw again; `poll` sees to that.
    def _key(self, name, _, action, mods):
        if action != _RELEASED:
            self.scene.press(name, shift=bool(mods & _SHIFT))
        return False

    def _button(self, _, button, action, mods):
        if action == _PRESSED:
            self.scene.mouse_down(_BUTTONS.get(button, "left"), *self._mouse, shift=bool(mods & (_SHIFT | _CONTROL)))
        elif action == _RELEASED:
            self.scene.mouse_up()
        return False

    def _move(self, _, x, y):
        self._mouse = x * self._pixels, y * self._pixels
        self.scene.mouse_move(*self._mouse)
        return False

    def _scroll(self, _, sideways, steps):
        self.scene.scroll(steps, self._mouse[0])
        return False

    def _size(self):
        seen = self.visualizer.get_view_control().convert_to_pinhole_camera_parameters().intrinsic
        return seen.width, seen.height

    def poll(self):
        """Do what keys and mouse ask for, and draw what there is time for. -> False once the window is closed"""
        if not self.visualizer.poll_events() or self.scene.closed:
            return False
        self.scene.resize(self._size())
        picture = self.scene.step()
        if picture is not None:
            self._show(picture)
        elif self.scene.at_rest:
            time.sleep(_REST)
        return True

    def _show(self, picture):
        if self._image is not None and np.asarray(self._image).shape == picture.shape:
            np.asarray(self._image)[...] = picture
            self.visualizer.update_geometry(self._image)
        else:
            self.visualizer.clear_geometries()
            self._image = self._open3d.geometry.Image(picture)
            self.visualizer.add_geometry(self._image)
        self.visualizer.update_renderer()

    def run(self):
        """Wait for keys and mouse until the window is closed."""
        # Open3D's own run() keeps Python from noticing Ctrl-C.
        try:
            while self.poll():
                pass
        finally:
            self.visualizer.destroy_window()
