"""The scene of a room: objects made of boxes, and the points that a scanner in the room would record of them.

A box belongs to an object, and an object to a class. Points are drawn on the faces of all boxes, coloured by pattern
and light, and kept where a scanner in the room would have seen them.

Letters: P points. Lengths in metres. An object is built in a frame of its own: x to the right, y to its front, z up,
the origin on the floor at the middle of its back.
"""

from dataclasses import dataclass

import numpy as np

_NOISE = 0.003  # of a point's position, standard deviation
_COLOR_NOISE = 6.0  # of a point's colour, in 255ths
BOX, CYLINDER, ELLIPSOID = 0, 1, 2

# Faces of a box by axis and side, the order of all face arrays.
_NORMALS = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)], float)
_ALL = "xXyYzZ"  # lower case: the face at the low end of the axis


@dataclass
class Pose:
    """Where a frame lies in the room: turned by `yaw` (radians, counter-clockwise), then moved to x, y."""

    x: float
    y: float
    yaw: float = 0.0


class Scene:
    """The objects of a room, each with a class, and the boxes they are made of."""

    def __init__(self):
        self.classes = []  # of each object
        self.kinds = []  # of each object: what it is, where its class says less, such as a "plant" among the clutter
        self.boxes = []

    def new(self, class_name, pose, kind=None):
        """Start an object. -> a function that adds boxes to it; it takes their corners in the frame of `pose`."""
        instance = len(self.classes)
        self.classes.append(class_name)
        self.kinds.append(kind or class_name)

        def box(low, high, color, second=None, period=(0, 0), duty=0.1, faces=_ALL, shape=BOX):
            """Add a box.

            low, high: corners. second: the colour of stripes that repeat every `period` metres along the two axes of a
            face (0: none) and cover the share `duty` of it. faces: which of the six faces have points.
            """
            shown = [face in faces for face in _ALL]
            stripes = color if second is None else second
            place = (pose.x, pose.y, pose.yaw)
            self.boxes.append((*low, *high, *place, *color, *stripes, *period, duty, shape, instance, *shown))

        return box

    def sample(self, rng, density):
        """Draw points on every face. -> xyz (P, 3), rgb (P, 3) float before light, normals (P, 3), instances (P,)"""
        table = np.array(self.boxes)
        low, high, place, color, second, period, duty, shape, instance, shown = np.split(
            table, np.cumsum([3, 3, 3, 3, 3, 2, 1, 1, 1]), axis=1
        )
        size = high - low
        areas = np.stack([size[:, 1] * size[:, 2], size[:, 0] * size[:, 2], size[:, 0] * size[:, 1]], axis=1)
        counts = rng.poisson(np.repeat(areas, 2, axis=1) * shown * density)
        box, face = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), 6)
        inside = rng.random((len(box), 3))
        inside[np.arange(len(box)), face // 2] = face % 2
        color = _pattern(inside * size[box], face // 2, color[box], second[box], period[box], duty[box])
        normals = _NORMALS[face]
        local = low[box] + _rounded(inside, shape[box, 0]) * size[box]
        x, y, yaw = place[box].T
        return (
            rotated(local, yaw) + np.stack([x, y, 0 * x], 1),
            color,
            rotated(normals, yaw),
            instance[box, 0].astype(int),
        )


def _pattern(along, axis, color, second, period, duty):
    """Colour points in stripes or a grid: the share `duty` of every period has the second colour. -> (P, 3)"""
    first_axis, second_axis = np.where(axis == 0, 1, 0), np.where(axis == 2, 1, 2)
    rows = np.arange(len(along))
    striped = np.zeros(len(along), bool)
    for place, column in ((along[rows, first_axis], period[:, 0]), (along[rows, second_axis], period[:, 1])):
        step = np.where(column > 0, column, 1.0)
        striped |= (column > 0) & (place / step % 1 < duty[:, 0])
    return np.where(striped[:, None], second, color)


def _rounded(inside, shape):
    """Points on the faces of the unit cube, moved onto the cylinder or ellipsoid inside it. (P, 3) -> (P, 3)"""
    centered = inside - 0.5
    weights = np.stack([shape != BOX, shape != BOX, shape == ELLIPSOID], axis=1)
    length = np.sqrt((weights * centered**2).sum(axis=1))
    # A point on the lid of a cylinder may lie anywhere on it, so it only shrinks from the square to the disc.
    largest = np.abs(centered * weights).max(axis=1)
    on_lid = (shape == CYLINDER) & (np.abs(centered[:, 2]) == 0.5)
    radius = np.where(on_lid, largest, 0.5)
    scale = np.where((shape == BOX) | (length == 0), 1.0, radius / np.where(length == 0, 1.0, length))
    return 0.5 + centered * np.where(weights, scale[:, None], 1.0)


def rotated(vectors, yaw):
    """Vectors rotated about z by `yaw` radians, counter-clockwise. (P, 3) -> (P, 3)"""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = vectors.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)


def scan(scene, size, rng, density):
    """The points a scanner records of a room. -> xyz (P, 3), rgb (P, 3), instances (P,), (class, kind) of each instance

    xyz is float64, rounded to millimetres; rgb uint8; instances int32. size: (3,) of the room; density: points a square
    metre of surface. An object that no point shows is left out.
    """
    xyz, rgb, normals, instances = scene.sample(rng, density)
    seen = _visible(xyz, size, rng)
    xyz, rgb, normals, instances = xyz[seen], rgb[seen], normals[seen], instances[seen]
    rgb = _lit(rgb, xyz, normals, size, rng)
    xyz = xyz + rng.normal(0, _NOISE, xyz.shape) + (*rng.uniform(-30, 30, 2), 0)
    # Objects in the order of their file names, so that a room read from its files equals the one that was written.
    rank = np.argsort(np.argsort([f"{name} {i:06d}" for i, name in enumerate(scene.classes)]))
    order = np.argsort(rank[instances], kind="stable")
    present, instances = np.unique(rank[instances[order]], return_inverse=True)
    objects = sorted(zip(rank, scene.classes, scene.kinds))
    return np.round(xyz[order], 3), rgb[order], instances.astype(np.int32), [objects[i][1:] for i in present]


def _visible(xyz, size, rng, positions=4):
    """Which points a scanner sees from a few places in the room. (P, 3) -> (P,) bool

    A point is hidden where something stands clearly nearer in the same direction (bins of 1.2 degrees).
    """
    seen = np.zeros(len(xyz), bool)
    for x, y in rng.uniform(0.2, 0.8, (positions, 2)) * size[:2]:
        ray = xyz - (x, y, 1.5)
        distance = np.sqrt((ray**2).sum(axis=1))
        azimuth = (np.arctan2(ray[:, 1], ray[:, 0]) / (2 * np.pi) % 1 * 300).astype(int)
        height = ((ray[:, 2] / np.maximum(distance, 1e-9) + 1) / 2 * 149).astype(int)
        bins = azimuth * 150 + height
        nearest = np.full(300 * 150, np.inf)
        np.minimum.at(nearest, bins, distance)
        seen |= distance < nearest[bins] * 1.05 + 0.15
    return seen


def _lit(rgb, xyz, normals, size, rng):
    """Colours under the light of the room: lamps at the ceiling, a tint, and the noise of the camera. -> uint8"""
    brightness = rng.uniform(0.75, 1.05)
    tint = rng.normal(1.0, 0.04, 3)
    side = rng.uniform(0, 2 * np.pi)
    facing = 0.86 + 0.12 * normals[:, 2] + 0.06 * (normals[:, :2] @ [np.cos(side), np.sin(side)])
    lamps = rng.uniform(0.25, 0.75, (2, 2)) * size[:2]
    away = np.min([np.hypot(*(xyz[:, :2] - lamp).T) for lamp in lamps], axis=0)
    light = brightness * facing * (1.08 - 0.07 * away)
    return (
        np.clip(rgb * light[:, None] * tint + rng.normal(0, _COLOR_NOISE, rgb.shape), 0, 255).round().astype(np.uint8)
    )


def pick_color(rng, colors, spread=12):
    """One of the colours at random, each channel shifted a little. -> (red, green, blue)"""
    return tuple(np.clip(np.array(colors[rng.integers(len(colors))]) + rng.normal(0, spread, 3), 5, 250))


def darker(color, by=0.7):
    """The colour with every channel multiplied by `by`. -> (red, green, blue)"""
    return tuple(np.array(color) * by)
