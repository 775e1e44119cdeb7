"""Where one looks from: turning, moving and zooming, and ways of the camera through several views."""

import dataclasses
import json
import math
from dataclasses import dataclass

import numpy as np

from s3dis_seg.files import InputError, replacing
from s3dis_seg.view.drawing import Camera, axes_towards, fitting_camera, focal_length

_CLOSEST = 0.02  # metres from the eye to what it looks at


@dataclass(frozen=True)
class View:
    """A look at a place. target: (x, y, z) in metres. azimuth, elevation: direction from there to the eye, in degrees.

    distance: metres from the target to the eye.
    """

    target: tuple
    azimuth: float
    elevation: float
    distance: float

    def camera(self, size):
        """The camera of this view for a picture of (W, H) pixels."""
        axes = axes_towards(self.azimuth, self.elevation)
        return Camera(np.array(self.target), axes, np.array((0, 0, self.distance)), focal_length(size), tuple(size))

    def turned(self, right, up):
        """The eye goes around the target, by degrees."""
        elevation = min(max(self.elevation + up, -90.0), 90.0)
        return dataclasses.replace(self, azimuth=(self.azimuth + right) % 360, elevation=elevation)

    def moved(self, right, down, size):
        """What is at the target follows the mouse by some pixels of a picture of (W, H)."""
        metres = self.distance / focal_length(size)
        sideways, upwards, _ = axes_towards(self.azimuth, self.elevation)
        target = np.array(self.target) - right * metres * sideways + down * metres * upwards
        return dataclasses.replace(self, target=tuple(target.tolist()))

    def nearer(self, steps):
        """Each step is an eighth of the distance; negative steps lead away."""
        return dataclasses.replace(self, distance=max(self.distance * 0.875**steps, _CLOSEST))

    def at(self, place):
        """The same look at another place, (x, y, z) in metres."""
        return dataclasses.replace(self, target=tuple(float(value) for value in place))


def first_view(xyz, shown, size, azimuth=None, elevation=68.0, zoom=1.0):
    """The view of `fitting_camera`: from above, with all shown points in the picture. xyz: (P, 3), shown: (P,) bool"""
    camera = fitting_camera(xyz, shown, size, azimuth, elevation)
    target = camera.origin + camera.eye[:2] @ camera.axes[:2]
    azimuth = math.degrees(math.atan2(-camera.axes[0, 0], camera.axes[0, 1]))
    return View(tuple(target.tolist()), azimuth % 360, float(elevation), float(camera.eye[2]) / zoom)


def turn_around(view, frames):
    """Once around the target. -> list of `frames` views, of which the last leads on to the first"""
    return [view.turned(360 * number / frames, 0) for number in range(frames)]


def way_through(views, frames):
    """From view to view, starting and stopping gently at each. -> list of `frames` views"""
    if len(views) == 1:
        return views * frames
    way = []
    for place in np.linspace(0, len(views) - 1, frames):
        leg = min(int(place), len(views) - 2)
        share = place - leg
        way.append(_between(views[leg], views[leg + 1], share * share * (3 - 2 * share)))
    return way


def _between(one, other, share):
    target = np.array(one.target) * (1 - share) + np.array(other.target) * share
    turn = (other.azimuth - one.azimuth + 180) % 360 - 180  # the shorter way round
    return View(
        tuple(target.tolist()),
        (one.azimuth + share * turn) % 360,
        one.elevation * (1 - share) + other.elevation * share,
        one.distance ** (1 - share) * other.distance**share,
    )


def write_views(path, views):
    """Write views as JSON, for `read_views`; the file appears whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"views": [dataclasses.asdict(view) for view in views]}, indent=1) + "\n")


def read_views(path):
    """The views that `write_views` wrote. -> list of View, at least one. InputError where the file is another."""
    remedy = "the key V of the window writes such files"
    try:
        views = json.loads(path.read_text(encoding="utf-8"))["views"]
        views = [View(_finite(view.pop("target")), **_named(view)) for view in views]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a list of views; {remedy}") from error
    if not views or any(len(view.target) != 3 or view.distance <= 0 for view in views):
        raise InputError(f"{path} has no view, or one that lacks a place or a distance; {remedy}")
    return views


def _named(values):
    return dict(zip(values, _finite(values.values())))


def _finite(values):
    numbers = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in numbers):
        raise ValueError("a number is not finite")
    return numbers
