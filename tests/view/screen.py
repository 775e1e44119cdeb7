"""A virtual screen, on which tests open windows."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest


def run_on_a_screen(script):
    """Run a Python script on a virtual screen of 1600 x 1200; skipped where there is none, or no Open3D."""
    if shutil.which("xvfb-run") is None:
        pytest.skip("no xvfb-run to open a window on")
    pytest.importorskip("open3d")
    command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24", sys.executable, "-c", textwrap.dedent(script)]
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
