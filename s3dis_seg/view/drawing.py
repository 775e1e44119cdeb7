"""Which point is seen at each pixel.

Pictures are drawn here, point by point with a depth buffer, so that a pixel has exactly the colour of the point that is
seen there (graphics drivers smooth and shade), with no screen, driver or system library, from any number of points.
Letters: P points of a scan, H and W rows and columns of a picture.
"""

from dataclasses import dataclass

import numpy as np

BACKGROUND = np.array((255, 255, 255), np.uint8)
_FIELD_OF_VIEW = 40.0  # degrees, along the longer side of the picture
_AT_ONCE = 1 << 20  # points projected in one go: bounds the memory, whatever the size of the scan
_NOTHING = np.uint64(np.iinfo(np.uint64).max)
CLOSING = 2.2  # discs around points strewn at random cover 98 % of a surface from 2.2 times their spacing


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


def fitting_camera(xyz, shown, size=(1280, 960), azimuth=None, elevation=68.0, zoom=1.0, left_free=0):
    """A camera that looks down at the shown points from outside and has all of them in the picture. -> Camera

    azimuth, elevation: where the eye is, in degrees from +x towards +y, and above the ground; by default over a corner
    with the longer side of the scan running from left to right. zoom: 2 shows the middle half. left_free: pixels at the
    left edge that no point is to cover. xyz: (P, 3), shown: (P,) bool.
    """
    low, high = _box(xyz, shown)
    origin = (low + high) / 2
    if azimuth is None:
        along_x, along_y, _ = high - low
        azimuth = -70.0 if along_x >= along_y else 20.0
    axes = axes_towards(azimuth, elevation)
    focal = focal_length(size)
    # Half the picture, less 4 % of margin, over the focal length; first to the right and up, then to the left and down.
    slopes = np.array([size, size]) / 2 * 0.96 / focal
    slopes[1, 0] -= left_free / focal
    # Each side of the picture is a plane through the eye: a point is inside where right + back * slope is at most
    # eye + distance * slope (and mirrored), so the widest point on each side fixes the eye in closed form.
    widest = np.full((2, 2), -np.inf)
    for start in range(0, len(xyz), _AT_ONCE):
        some = xyz[start : start + _AT_ONCE][shown[start : start + _AT_ONCE]]
        if len(some) == 0:
            continue
        seen = (some - origin) @ axes.T
        positive, negative = (seen[:, 2:] * side for side in slopes)
        widest = np.maximum(widest, [(positive + seen[:, :2]).max(axis=0), (negative - seen[:, :2]).max(axis=0)])
    distance = max((widest.sum(axis=0) / slopes.sum(axis=0)).max(), 0.1)
    eye = (widest[0] - widest[1] + distance * (slopes[1] - slopes[0])) / 2
    return Camera(origin, axes, np.append(eye, distance), zoom * focal, tuple(size))


def axes_towards(azimuth, elevation):
    """The axes of a camera whose eye is in this direction, in degrees. -> (3, 3), rows right, up, backwards"""
    azimuth, elevation = np.radians((azimuth, elevation))
    sideways = np.array((-np.sin(azimuth), np.cos(azimuth), 0))
    backwards = np.array((np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)))
    return np.stack((sideways, np.cross(backwards, sideways), backwards))


def focal_length(size):
    """Pixels, for a picture of (W, H): the longer side sees 40 degrees."""
    return max(size) / 2 / np.tan(np.radians(_FIELD_OF_VIEW) / 2)


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
        point_size = closing_size(xyz, shown, camera)
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


def closing_size(xyz, shown, camera, sample=200_000):
    """A diameter in pixels, 1 to 16, at which the points of most surfaces hide what is behind them. -> int"""
    ids = np.flatnonzero(shown)
    step = max(len(ids) // sample, 1)
    sampled = xyz[ids[::step]] - camera.origin
    spacing, cube = spacings(sampled, step)
    depth = camera.project(sampled + camera.origin)[2]
    in_pixels = np.quantile(spacing * camera.focal / np.maximum(depth, cube), 0.75)
    return int(np.clip(round(CLOSING * in_pixels), 1, 16))


def spacings(sampled, step):
    """How far the points of a surface are apart, around each of some of them.

    sampled: (n, 3) metres, every `step`-th point of a cloud. -> (n,) metres, side of the cubes that it was judged by
    """
    # A surface that crosses a small cube has about the area of one of its faces, shared by the points in the cube.
    cube = max(np.ptp(sampled, axis=0).max() / 40, 1e-6)
    _, where, counts = np.unique(
        np.floor(sampled / cube).astype(np.int32), axis=0, return_inverse=True, return_counts=True
    )
    return cube / np.sqrt(step * counts[where.ravel()]), cube


def paint(seen, colors):
    """Colours of the points that are seen. (H, W) from `seen_points`, (P, 3) uint8 -> (H, W, 3) uint8"""
    picture = np.tile(BACKGROUND, (*seen.shape, 1))
    picture[seen >= 0] = colors[seen[seen >= 0]]
    return picture
