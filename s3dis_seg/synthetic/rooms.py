"""Furnished rooms made from a seed, with all 13 classes, coloured and noisy, written as a raw release of S3DIS.

A room is a list of boxes (some rounded), each belonging to an object of a class. Points are drawn on their faces,
coloured by pattern and light, and kept where a scanner standing in the room would have seen them.

Letters: P points, B boxes. Lengths in metres. Furniture is built in a frame of its own: x to the right, y to its
front, z up, the origin on the floor at the middle of its back.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import replacing

_NOISE = 0.003  # of a point's position, standard deviation
_COLOR_NOISE = 6.0  # of a point's colour, in 255ths
_BOX, _CYLINDER, _ELLIPSOID = 0, 1, 2

# Faces of a box by axis and side, the order of all face arrays.
_NORMALS = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)], float)
_ALL = "xXyYzZ"  # lower case: the face at the low end of the axis

_WOODS = [(150, 105, 65), (180, 140, 95), (110, 72, 45), (205, 175, 130)]
_PAINTS = [(225, 220, 205), (215, 218, 220), (232, 226, 190), (200, 210, 200), (225, 205, 195)]
_FLOORS = [(120, 110, 100), (95, 100, 110), (150, 120, 85), (140, 135, 125), (105, 85, 75)]
_FABRICS = [(45, 60, 110), (120, 35, 40), (60, 95, 70), (90, 70, 110), (170, 120, 60), (70, 75, 80)]
_SEATS = [(35, 35, 40), (30, 45, 95), (130, 30, 35), (60, 60, 65), (25, 80, 70)]
_BRIGHT = [(190, 50, 45), (50, 90, 170), (60, 140, 80), (220, 180, 50), (235, 230, 220), (40, 40, 45), (150, 90, 150)]


def synthetic_room(seed, density=1500.0, name="Area_1_office_1"):
    """A furnished room. -> Room of roughly 150 * density points (density in points a square metre of surface)

    seed: an int or a sequence of ints; the same seed gives the same room.
    """
    xyz, rgb, classes, instances = _scan(np.random.default_rng(seed), density, _kind(name))
    labels = np.array([CLASSES.index(name) for name in classes], np.uint8)[instances]
    return room_of(name, xyz, rgb, labels, instances, source=f"synthetic room, seed {seed}")


def _kind(name):
    return next((kind for kind in _KINDS if f"_{kind}_" in f"_{name}_"), "office")


def write_release(folder, rooms=None, seed=0, density=1500.0, progress=None):
    """Write rooms as `folder`/Area_1/office_1/Annotations/chair_1.txt and so on. -> list of room names

    rooms: how many in each area, as {"Area_1": 3, "Area_5": 1}; two in each of the six areas where it is left out.
    progress: called with each name when its room is written.
    """
    rooms = {f"Area_{area}": 2 for area in range(1, 7)} if rooms is None else rooms
    names = []
    for area, count in rooms.items():
        number = int(area.removeprefix("Area_"))
        for index in range(count):
            room = f"{_KINDS[(number + index) % len(_KINDS)]}_{index // len(_KINDS) + 1}"
            names.append(f"{area}_{room}")
            _write_room(synthetic_room((seed, number, index), density, names[-1]), Path(folder) / area / room)
            if progress is not None:
                progress(names[-1])
    return names


def _write_room(room, folder):
    xyz = room.xyz + room.offset
    numbers = dict.fromkeys(CLASSES, 0)
    for instance in np.unique(room.instances):
        member = room.instances == instance
        name = CLASSES[room.labels[member][0]]
        numbers[name] += 1
        values = np.column_stack([xyz[member], room.rgb[member]])
        with replacing(folder / "Annotations" / f"{name}_{numbers[name]}.txt") as temporary:
            temporary.write_text("%.3f %.3f %.3f %d %d %d\n" * len(values) % tuple(values.ravel().tolist()))


# ---- boxes


@dataclass
class Pose:
    """Where a frame lies in the room: turned by `yaw` (radians, counter-clockwise), then moved to x, y."""

    x: float
    y: float
    yaw: float = 0.0


class Scene:
    """Objects of a room, as boxes in columns."""

    def __init__(self):
        self.classes = []  # of each object
        self.boxes = []

    def new(self, class_name, pose):
        """Start an object. -> a function that adds boxes to it, given their corners in the frame of `pose`."""
        instance = len(self.classes)
        self.classes.append(class_name)

        def box(low, high, color, second=None, period=(0, 0), duty=0.1, faces=_ALL, shape=_BOX):
            """A box; `second` colours the share `duty` of stripes every `period` metres along a face's two axes."""
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
            _turned(local, yaw) + np.stack([x, y, 0 * x], 1),
            color,
            _turned(normals, yaw),
            instance[box, 0].astype(int),
        )


def _pattern(along, axis, color, second, period, duty):
    """Stripes and grids: the second colour on the share `duty` of every period along the two axes of the face."""
    first_axis, second_axis = np.where(axis == 0, 1, 0), np.where(axis == 2, 1, 2)
    rows = np.arange(len(along))
    striped = np.zeros(len(along), bool)
    for place, column in ((along[rows, first_axis], period[:, 0]), (along[rows, second_axis], period[:, 1])):
        step = np.where(column > 0, column, 1.0)
        striped |= (column > 0) & (place / step % 1 < duty[:, 0])
    return np.where(striped[:, None], second, color)


def _rounded(inside, shape):
    """Points of the unit cube's faces, moved onto the cylinder or the ellipsoid inside of it. (P, 3) -> (P, 3)"""
    centered = inside - 0.5
    weights = np.stack([shape != _BOX, shape != _BOX, shape == _ELLIPSOID], axis=1)
    length = np.sqrt((weights * centered**2).sum(axis=1))
    # A point on the lid of a cylinder may lie anywhere on it, so it only shrinks from the square to the disc.
    largest = np.abs(centered * weights).max(axis=1)
    on_lid = (shape == _CYLINDER) & (np.abs(centered[:, 2]) == 0.5)
    radius = np.where(on_lid, largest, 0.5)
    scale = np.where((shape == _BOX) | (length == 0), 1.0, radius / np.where(length == 0, 1.0, length))
    return 0.5 + centered * np.where(weights, scale[:, None], 1.0)


def _turned(vectors, yaw):
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = vectors.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)


# ---- scanning


def _scan(rng, density, kind):
    """Furnish and scan a room. -> xyz (P, 3) float64 in mm steps, rgb (P, 3) uint8, class of each object, instances"""
    scene, size = _furnished(rng, kind)
    xyz, rgb, normals, instances = scene.sample(rng, density)
    seen = _visible(xyz, size, rng)
    xyz, rgb, normals, instances = xyz[seen], rgb[seen], normals[seen], instances[seen]
    rgb = _lit(rgb, xyz, normals, size, rng)
    xyz = xyz + rng.normal(0, _NOISE, xyz.shape) + (*rng.uniform(-30, 30, 2), 0)
    # Objects in the order of their file names, so that a room read from its files equals the one that was written.
    rank = np.argsort(np.argsort([f"{name} {i:06d}" for i, name in enumerate(scene.classes)]))
    order = np.argsort(rank[instances], kind="stable")
    present, instances = np.unique(rank[instances[order]], return_inverse=True)
    names = sorted(scene.classes)
    return np.round(xyz[order], 3), rgb[order], [names[i] for i in present], instances.astype(np.int32)


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


# ---- furnishing


class Floor:
    """What already stands in the room, as rectangles."""

    def __init__(self, size):
        self.size = size
        self.taken = []

    def claim(self, x, y, width, depth, margin=0.05):
        """Take the rectangle about x, y if it is free and inside of the room. -> whether it was"""
        low, high = np.array([x - width / 2, y - depth / 2]), np.array([x + width / 2, y + depth / 2])
        if (low < -1e-6).any() or (high > self.size[:2] + 1e-6).any():
            return False
        if any(
            (low - margin < other_high).all() and (high + margin > other_low).all()
            for other_low, other_high in self.taken
        ):
            return False
        self.taken.append((low, high))
        return True


class Wall:
    """One of the four walls: its frame has x along it, y into the room. `openings`: (start, stop, bottom, top)"""

    def __init__(self, index, size):
        sx, sy, self.height = size
        corner = ((0, 0), (sx, 0), (sx, sy), (0, sy))[index]
        self.pose = Pose(*corner, index * np.pi / 2)
        self.length = (sx, sy)[index % 2]
        self.along = np.round([np.cos(self.pose.yaw), np.sin(self.pose.yaw)])
        self.inward = np.array([-self.along[1], self.along[0]])
        self.openings = []

    def at(self, along, inward=0.0):
        """The pose of something whose back is at this place of the wall, looking into the room."""
        x, y = np.array([self.pose.x, self.pose.y]) + self.along * along + self.inward * inward
        return Pose(x, y, self.pose.yaw)

    def footprint(self, along, width, depth):
        """Centre and extent of a rectangle that stands at the wall, for Floor.claim."""
        x, y = np.array([self.pose.x, self.pose.y]) + self.along * along + self.inward * depth / 2
        turned = abs(self.along[1]) > 0.5
        return (x, y, depth, width) if turned else (x, y, width, depth)

    def open(self, along, width, bottom, top, margin=0.12):
        """Cut a hole for a door, a window or a board if there is none yet. -> whether there was room for it"""
        start, stop = along - width / 2, along + width / 2
        if start < margin or stop > self.length - margin or not self.is_plain(start, stop, margin):
            return False
        self.openings.append((start, stop, bottom, top))
        return True

    def is_plain(self, start, stop, margin=0.0):
        return all(stop + margin < other[0] or start - margin > other[1] for other in self.openings)

    def build(self, scene, color):
        """The wall itself, around its openings."""
        box = scene.new("wall", self.pose)
        place = 0.0
        for start, stop, bottom, top in sorted(self.openings):
            box((place, -0.05, 0), (start, 0, self.height), color, faces="Y")
            box((start, -0.05, 0), (stop, 0, bottom), color, faces="Y")
            box((start, -0.05, top), (stop, 0, self.height), color, faces="Y")
            place = stop
        box((place, -0.05, 0), (self.length, 0, self.height), color, faces="Y")


def _furnished(rng, kind):
    """Lay out a room of the kind. -> Scene, size (3,)"""
    size = np.array([rng.uniform(4.0, 6.0), rng.uniform(3.3, 5.2), rng.uniform(2.5, 3.2)])
    scene, floor = Scene(), Floor(size)
    walls = [Wall(index, size) for index in range(4)]
    _add_openings(scene, floor, walls, rng)
    _add_structure(scene, floor, walls, size, rng)
    _KINDS_OF_ROOMS[kind](scene, floor, walls, rng)
    _add_clutter(scene, floor, walls, size, rng)
    return scene, size


def _tries(rng, walls, widest, count=60, least=1.0):
    """Places along walls for something that wide, or down to the share `least` of it. -> Wall, middle, width"""
    for width in widest * np.linspace(1.0, least, count):
        wall = walls[rng.integers(4)]
        if wall.length > width:
            yield wall, rng.uniform(width / 2, wall.length - width / 2), width


def _pick(rng, colors, spread=12):
    """One of the colours, shifted a little. -> (3,) tuple"""
    return tuple(np.clip(np.array(colors[rng.integers(len(colors))]) + rng.normal(0, spread, 3), 5, 250))


def _darker(color, by=0.7):
    return tuple(np.array(color) * by)


def _add_openings(scene, floor, walls, rng):
    """A door, windows and boards, each in a hole of its wall."""
    color = _pick(rng, [*_WOODS, (90, 110, 130)])
    for wall, along, _ in _tries(rng, walls, 1.3):
        if wall.open(along, 1.0, 0.0, 2.1):
            floor.claim(*wall.footprint(along, 1.0, 0.7))
            _door(scene.new("door", wall.at(along)), color)
            break
    for _ in range(rng.integers(1, 3)):
        widest, bottom = rng.uniform(1.0, 1.8), rng.uniform(0.8, 1.0)
        top = bottom + rng.uniform(1.0, 1.35)
        for wall, along, width in _tries(rng, walls, widest, least=0.6):
            if wall.open(along, width, bottom, top):
                _window(scene.new("window", wall.at(along)), width, bottom, top, rng)
                break
    for _ in range(rng.integers(1, 3)):
        widest, bottom = rng.uniform(1.2, 2.2), rng.uniform(0.85, 1.0)
        for wall, along, width in _tries(rng, walls, widest, least=0.6):
            if wall.open(along, width, bottom, bottom + 1.1):
                _board(scene.new("board", wall.at(along)), width, bottom, rng)
                break


def _add_structure(scene, floor, walls, size, rng):
    """Floor, walls, ceiling with lamps, a beam below it and a column in a corner."""
    sx, sy, height = size
    paint = _pick(rng, _PAINTS, 6)
    tile = _pick(rng, _FLOORS, 8)
    period = [(0.6, 0.6), (0.15, 0), (0.3, 0.3), (0, 0)][rng.integers(4)]
    scene.new("floor", Pose(0, 0))((0, 0, -0.1), (sx, sy, 0), tile, _darker(tile, 0.85), period, 0.06, faces="Z")
    for wall in walls:
        wall.build(scene, _pick(rng, [paint], 3))
    white = _pick(rng, [(235, 235, 230), (215, 215, 212)], 5)
    # The beam runs along the frame's x; the ceiling lies on both sides of it.
    long_way = rng.random() < 0.5
    pose, length, across = (Pose(0, 0), sx, sy) if long_way else (Pose(sx, 0, np.pi / 2), sy, sx)
    start, width, drop = rng.uniform(0.15, 0.7) * across, rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4)
    box = scene.new("ceiling", pose)
    for low, high in ((0.0, start), (start + width, across)):
        box((0, low, height), (length, high, height + 0.1), white, _darker(white, 0.85), (0.6, 0.6), 0.04, faces="z")
    grey = _pick(rng, [(175, 172, 165), (150, 145, 140)], 6)
    scene.new("beam", pose)((0, start, height - drop), (length, start + width, height), grey, faces="yYz")
    _column(scene, floor, walls, height, rng)


def _column(scene, floor, walls, height, rng):
    side, color = rng.uniform(0.3, 0.5), _pick(rng, [(185, 180, 170), (165, 160, 158)], 6)
    for index in rng.permutation(4):
        wall, before = walls[index], walls[index - 1]
        if wall.is_plain(0, side) and before.is_plain(before.length - side, before.length):
            floor.claim(*wall.footprint(side / 2, side, side))
            shape = _BOX
            scene.new("column", wall.at(side / 2))(
                (-side / 2, 0, 0), (side / 2, side, height), color, faces="xXyY", shape=shape
            )
            return


def _door(box, color):
    frame = _darker(color, 0.75)
    for low, high in ((-0.5, -0.44), (0.44, 0.5)):
        box((low, -0.05, 0), (high, 0.03, 2.1), frame, faces="xXY")
    box((-0.5, -0.05, 2.04), (0.5, 0.03, 2.1), frame, faces="zY")
    box((-0.44, -0.08, 0), (0.44, -0.03, 2.04), color, _darker(color, 0.93), (0.2, 0), 0.2, faces="Y")
    box((0.3, -0.03, 1.0), (0.42, 0.03, 1.06), (160, 160, 165))


def _window(box, width, bottom, top, rng):
    half, frame = width / 2, _pick(rng, [(230, 230, 230), (120, 120, 125)], 6)
    glass = _pick(rng, [(150, 185, 225), (175, 205, 235), (110, 150, 195)], 10)
    box((-half, -0.1, bottom), (half, 0.0, bottom + 0.05), frame, faces="ZY")
    box((-half, -0.1, top - 0.05), (half, 0.0, top), frame, faces="zY")
    for x in (-half, -0.025, half - 0.05):
        box((x, -0.1, bottom), (x + 0.05, 0.0, top), frame, faces="xXY")
    blinds = _darker(glass, 0.85) if rng.random() < 0.5 else glass
    box((-half, -0.13, bottom), (half, -0.1, top), glass, blinds, (0, 0.06), 0.35, faces="Y")


def _board(box, width, bottom, rng):
    half, top = width / 2, bottom + 1.1
    face = _pick(rng, [(245, 245, 248), (240, 245, 240), (40, 75, 60)], 4)
    box((-half, -0.02, bottom), (half, 0.015, top), face, (90, 90, 140), (0, 0.22), 0.05, faces="Y")
    for low, high in ((bottom, bottom + 0.04), (top - 0.04, top)):
        box((-half, -0.02, low), (half, 0.03, high), (130, 130, 135), faces="zZY")
    box((-half * 0.6, 0.0, bottom), (half * 0.6, 0.09, bottom + 0.03), (140, 140, 145))


def _chair(box, rng):
    """An office chair or one with four legs, its seat 0.46 high."""
    seat, leg = _pick(rng, _SEATS, 8), (60, 60, 62)
    box((-0.23, 0.03, 0.43), (0.23, 0.48, 0.49), seat)
    box((-0.22, 0.0, 0.55), (0.22, 0.05, 0.95), seat)
    if rng.random() < 0.5:
        box((-0.03, 0.22, 0.08), (0.03, 0.28, 0.43), leg, shape=_CYLINDER)
        box((-0.25, 0.23, 0.04), (0.25, 0.27, 0.09), leg)
        box((-0.02, 0.0, 0.04), (0.02, 0.5, 0.09), leg)
        for x in (-0.27, 0.23):
            box((x, 0.1, 0.62), (x + 0.04, 0.4, 0.66), leg)
        box((-0.03, 0.0, 0.45), (0.03, 0.03, 0.6), leg)
    else:
        for x in (-0.22, 0.18):
            box((x, 0.02, 0), (x + 0.04, 0.06, 0.6), leg)
            box((x, 0.43, 0), (x + 0.04, 0.47, 0.43), leg)


def _table(box, width, depth, rng, height=0.74):
    top = _pick(rng, [*_WOODS, (225, 222, 215)], 8)
    box((-width / 2, 0, height - 0.04), (width / 2, depth, height), top, _darker(top, 0.9), (0.12, 0), 0.15)
    leg = _pick(rng, [(70, 70, 72), (170, 170, 172)], 5)
    for x in (-width / 2 + 0.04, width / 2 - 0.1):
        for y in (0.04, depth - 0.1):
            box((x, y, 0), (x + 0.06, y + 0.06, height - 0.04), leg, faces="xXyY")
    if rng.random() < 0.4:
        box((-width / 2 + 0.05, 0.02, 0.3), (width / 2 - 0.05, 0.05, height - 0.04), _darker(top, 0.85))


def _sofa(box, width, rng):
    color = _pick(rng, _FABRICS, 10)
    half = width / 2
    box((-half, 0, 0.08), (half, 0.85, 0.3), color, faces="xXyY")
    box((-half, 0, 0.3), (half, 0.25, 0.82), color)
    for x in (-half, half - 0.18):
        box((x, 0.0, 0.3), (x + 0.18, 0.85, 0.6), _darker(color, 0.92))
    seats = 2 if width < 1.8 else 3
    for low, high in np.linspace(-half + 0.18, half - 0.18, seats + 1).repeat(2)[1:-1].reshape(-1, 2):
        box((low + 0.01, 0.22, 0.3), (high - 0.01, 0.85, 0.45), tuple(np.minimum(np.array(color) * 1.1, 250)))


def _bookcase(box, width, height, rng):
    """Shelves 0.3 deep, filled with books of all colours."""
    wood, half = _pick(rng, _WOODS, 10), width / 2
    box((-half, 0, 0), (half, 0.02, height), _darker(wood, 0.8), faces="Y")
    for x in (-half, half - 0.03):
        box((x, 0, 0), (x + 0.03, 0.32, height), wood)
    for z in np.linspace(0.05, height - 0.03, max(3, round(height / 0.36))):
        box((-half, 0, z), (half, 0.32, z + 0.03), wood)
        place = -half + 0.04
        while z < height - 0.3 and place < half - 0.12:
            books = rng.uniform(0.03, 0.09)
            if rng.random() < 0.85:
                tall, deep = rng.uniform(0.2, 0.29), rng.uniform(0.18, 0.26)
                box(
                    (place, 0.02, z + 0.03),
                    (place + books, deep, z + 0.03 + tall),
                    _pick(rng, _BRIGHT, 20),
                    faces="xXYZ",
                )
            place += books


def _stand_bookcases(scene, floor, walls, rng, count):
    for _ in range(count):
        widest, height = rng.uniform(0.8, 1.5), rng.uniform(1.5, 2.1)
        for wall, along, width in _tries(rng, walls, widest, least=0.6):
            if wall.is_plain(along - width / 2, along + width / 2) and floor.claim(*wall.footprint(along, width, 0.34)):
                _bookcase(scene.new("bookcase", wall.at(along, 0.01)), width, height, rng)
                break


def _stand_sofas(scene, floor, walls, rng, count):
    for _ in range(count):
        widest = rng.uniform(1.4, 2.1)
        for wall, along, width in _tries(rng, walls, widest, least=0.6):
            if floor.claim(*wall.footprint(along, width, 0.9)):
                _sofa(scene.new("sofa", wall.at(along, 0.04)), width, rng)
                break


def _stand_desks(scene, floor, walls, rng, count):
    """Desks at the walls, each with a chair in front and things on it."""
    for _ in range(count):
        widest, depth = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.8)
        for wall, along, width in _tries(rng, walls, widest, least=0.6):
            if floor.claim(*wall.footprint(along, width, depth + 0.6)):
                pose = wall.at(along, 0.03)
                _table(scene.new("table", pose), width, depth, rng)
                _things_on_table(scene, pose, width, depth, rng)
                seat = wall.at(along + rng.uniform(-0.2, 0.2), depth + rng.uniform(0.4, 0.55))
                seat.yaw += np.pi + rng.normal(0, 0.3)
                _chair(scene.new("chair", seat), rng)
                break


def _stand_table(scene, floor, rng, width, depth, chairs, height=0.74):
    """A table in the open with chairs around it; smaller ones where the room is full."""
    size = floor.size
    for shrink in np.linspace(1.0, 0.5, 40):
        w, d, turned = width * shrink, depth * max(shrink, 0.75), rng.random() < 0.5
        reach = 0.6 if chairs else 0.1
        extent = np.array([w, d] if not turned else [d, w]) + 2 * reach
        if (extent > size[:2]).any():
            continue
        x, y = rng.uniform(extent / 2, size[:2] - extent / 2)
        if not floor.claim(x, y, *extent):
            continue
        yaw = np.pi / 2 if turned else 0.0
        back = _turned(np.array([[0, -d / 2, 0]]), yaw)[0]
        pose = Pose(x + back[0], y + back[1], yaw)
        _table(scene.new("table", pose), w, d, rng, height)
        _things_on_table(scene, pose, w, d, rng, height)
        for side in (-1, 1) if chairs else ():
            for along in np.linspace(-w / 2, w / 2, max(1, min(chairs, int(w / 0.65))) + 2)[1:-1]:
                away = d / 2 + rng.uniform(0.25, 0.5)
                dx, dy, _ = _turned(np.array([[along, side * away, 0]]), yaw)[0]
                facing = yaw + (np.pi if side > 0 else 0) + rng.normal(0, 0.25)
                _chair(scene.new("chair", Pose(x + dx, y + dy, facing)), rng)
        return


def _stand_chairs(scene, floor, rng, count):
    """Chairs that stand by themselves."""
    for _ in range(count):
        for _ in range(20):
            x, y = rng.uniform(0.3, floor.size[:2] - 0.3)
            if floor.claim(x, y, 0.55, 0.55):
                yaw = rng.uniform(0, 2 * np.pi)
                back = _turned(np.array([[0, -0.25, 0]]), yaw)[0]
                _chair(scene.new("chair", Pose(x + back[0], y + back[1], yaw)), rng)
                break


def _office(scene, floor, walls, rng):
    _stand_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    _stand_desks(scene, floor, walls, rng, rng.integers(2, 4))
    _stand_sofas(scene, floor, walls, rng, 1)
    _stand_table(scene, floor, rng, 1.2, 0.8, rng.integers(1, 3))


def _conference_room(scene, floor, walls, rng):
    _stand_table(scene, floor, rng, rng.uniform(1.8, 3.0), rng.uniform(1.0, 1.3), 4)
    _stand_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    _stand_sofas(scene, floor, walls, rng, 1)


def _lounge(scene, floor, walls, rng):
    _stand_sofas(scene, floor, walls, rng, rng.integers(1, 4))
    _stand_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    _stand_table(scene, floor, rng, 1.1, 0.7, 0, height=0.45)
    _stand_table(scene, floor, rng, 1.0, 0.8, 2)
    _stand_chairs(scene, floor, rng, rng.integers(1, 3))


_KINDS_OF_ROOMS = {"office": _office, "conferenceRoom": _conference_room, "lounge": _lounge}
_KINDS = tuple(_KINDS_OF_ROOMS)


# ---- clutter


def _things_on_table(scene, pose, width, depth, rng, height=0.74):
    """A monitor with its keyboard, boxes and cups, in the frame of the table."""
    box = scene.new("clutter", pose)
    for place in np.arange(-width / 2 + 0.3, width / 2 - 0.25, 0.6):
        choice, y = rng.random(), depth * rng.uniform(0.3, 0.6)
        if choice < 0.45 and depth > 0.5:
            box((place - 0.24, 0.15, height + 0.1), (place + 0.24, 0.18, height + 0.42), (25, 25, 28))
            box((place - 0.05, 0.12, height), (place + 0.05, 0.22, height + 0.1), (50, 50, 52))
            box((place - 0.2, y, height), (place + 0.2, y + 0.13, height + 0.02), (45, 45, 48))
        elif choice < 0.75:
            side = rng.uniform(0.08, 0.15)
            tall = height + rng.uniform(0.06, 0.25)
            box((place - side, y - side, height), (place + side, y + side, tall), _pick(rng, _BRIGHT, 20))
        box((place + 0.2, y, height), (place + 0.28, y + 0.08, height + 0.11), _pick(rng, _BRIGHT, 20), shape=_CYLINDER)


def _add_clutter(scene, floor, walls, size, rng):
    """Boxes, bins, bags, plants and balls on the floor; a projector; pictures and clocks on the walls."""
    things = [_carton, _bin, _plant, _bag, _ball]
    for _ in range(rng.integers(7, 13)):
        x, y = rng.uniform(0.25, size[:2] - 0.25)
        if floor.claim(x, y, 0.4, 0.4):
            thing = things[rng.integers(len(things))]
            thing(scene.new("clutter", Pose(x, y, rng.uniform(0, 2 * np.pi))), rng)
    for wall, along, _ in list(_tries(rng, walls, 0.7))[: rng.integers(2, 5)]:
        if wall.is_plain(along - 0.3, along + 0.3):
            half, z = rng.uniform(0.15, 0.3), rng.uniform(1.4, 1.7)
            poster = scene.new("clutter", wall.at(along))
            poster(
                (-half, 0, z),
                (half, 0.04, z + 0.45),
                _pick(rng, _BRIGHT, 25),
                _pick(rng, _BRIGHT, 25),
                (0.13, 0.17),
                0.4,
            )
    x, y = size[:2] * rng.uniform(0.35, 0.65, 2)
    lamp = scene.new("clutter", Pose(x, y, rng.uniform(0, np.pi)))
    lamp((-0.16, -0.14, size[2] - 0.5), (0.16, 0.14, size[2] - 0.38), (60, 60, 66))
    lamp((-0.02, -0.02, size[2] - 0.38), (0.02, 0.02, size[2]), (120, 120, 120), faces="xXyY")


def _carton(box, rng):
    w, d, h = rng.uniform(0.12, 0.2), rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.45)
    box(
        (-w, -d, 0),
        (w, d, h),
        _pick(rng, [(175, 135, 90), (200, 165, 120)], 10),
        (120, 90, 60),
        (0.17, 0),
        0.1,
        faces="xXyYZ",
    )


def _bin(box, rng):
    box(
        (-0.15, -0.15, 0),
        (0.15, 0.15, 0.4),
        _pick(rng, [(45, 45, 50), (30, 90, 160), (200, 200, 200)], 8),
        shape=_CYLINDER,
    )


def _plant(box, rng):
    box((-0.13, -0.13, 0), (0.13, 0.13, 0.3), (150, 85, 55), shape=_CYLINDER)
    top = rng.uniform(0.7, 1.2)
    box((-0.02, -0.02, 0.3), (0.02, 0.02, top - 0.3), (95, 75, 45))
    for _ in range(6):
        x, y = rng.uniform(-0.12, 0.12, 2)
        z = top - rng.uniform(0.05, 0.4)
        box(
            (x - 0.12, y - 0.12, z - 0.08),
            (x + 0.12, y + 0.12, z + 0.1),
            _pick(rng, [(55, 120, 50)], 15),
            shape=_ELLIPSOID,
        )


def _bag(box, rng):
    box((-0.16, -0.11, 0), (0.16, 0.11, 0.42), _pick(rng, _FABRICS, 15), shape=_ELLIPSOID)


def _ball(box, rng):
    box(
        (-0.16, -0.16, 0),
        (0.16, 0.16, 0.32),
        _pick(rng, _BRIGHT, 10),
        _pick(rng, _BRIGHT, 10),
        (0.16, 0),
        0.5,
        shape=_ELLIPSOID,
    )
