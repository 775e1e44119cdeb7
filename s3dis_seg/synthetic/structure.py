"""What a room itself is made of: floor, walls with their openings, ceiling, beam and column. Lengths in metres."""

import numpy as np

from s3dis_seg.synthetic.scene import Pose, darker, pick_color

WOODS = [(150, 105, 65), (180, 140, 95), (110, 72, 45), (205, 175, 130)]
_PAINTS = [(225, 220, 205), (215, 218, 220), (232, 226, 190), (200, 210, 200), (225, 205, 195)]
_FLOORS = [(120, 110, 100), (95, 100, 110), (150, 120, 85), (140, 135, 125), (105, 85, 75)]


class Floor:
    """The floor plan of a room, with a rectangle for everything that stands on it already."""

    def __init__(self, size):
        self.size = size
        self.taken = []

    def claim(self, x, y, width, depth, margin=0.05):
        """Reserve the rectangle centred at x, y if it is free and inside the room. -> whether it was"""
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
    """One of the four walls. Its frame has x along the wall and y into the room.

    openings: (start, stop, bottom, top) of the holes for doors, windows and boards.
    """

    def __init__(self, index, size):
        sx, sy, self.height = size
        corner = ((0, 0), (sx, 0), (sx, sy), (0, sy))[index]
        self.pose = Pose(*corner, index * np.pi / 2)
        self.length = (sx, sy)[index % 2]
        self.along = np.round([np.cos(self.pose.yaw), np.sin(self.pose.yaw)])
        self.inward = np.array([-self.along[1], self.along[0]])
        self.openings = []

    def at(self, along, inward=0.0):
        """The pose of an object with its back to the wall at this place, facing the room."""
        x, y = np.array([self.pose.x, self.pose.y]) + self.along * along + self.inward * inward
        return Pose(x, y, self.pose.yaw)

    def footprint(self, along, width, depth):
        """The rectangle of an object that stands at the wall, as `Floor.claim` takes it. -> x, y, width, depth"""
        x, y = np.array([self.pose.x, self.pose.y]) + self.along * along + self.inward * depth / 2
        turned = abs(self.along[1]) > 0.5
        return (x, y, depth, width) if turned else (x, y, width, depth)

    def open(self, along, width, bottom, top, margin=0.12):
        """Cut a hole centred at `along`, where the wall has no other. -> whether there was room for it"""
        start, stop = along - width / 2, along + width / 2
        if start < margin or stop > self.length - margin or not self.is_plain(start, stop, margin):
            return False
        self.openings.append((start, stop, bottom, top))
        return True

    def is_plain(self, start, stop, margin=0.0):
        """Whether the wall has no opening between start and stop."""
        return all(stop + margin < other[0] or start - margin > other[1] for other in self.openings)

    def build(self, scene, color):
        """Add the faces of the wall around its openings."""
        box = scene.new("wall", self.pose)
        place = 0.0
        for start, stop, bottom, top in sorted(self.openings):
            box((place, -0.05, 0), (start, 0, self.height), color, faces="Y")
            box((start, -0.05, 0), (stop, 0, bottom), color, faces="Y")
            box((start, -0.05, top), (stop, 0, self.height), color, faces="Y")
            place = stop
        box((place, -0.05, 0), (self.length, 0, self.height), color, faces="Y")


def places_along(rng, walls, widest, count=60, least=1.0):
    """Random places at walls where an object may stand, `count` at most. -> generator of (Wall, middle, width)

    The width shrinks from try to try, from `widest` to the share `least` of it.
    """
    for width in widest * np.linspace(1.0, least, count):
        wall = walls[rng.integers(4)]
        if wall.length > width:
            yield wall, rng.uniform(width / 2, wall.length - width / 2), width


def add_openings(scene, floor, walls, rng):
    """Add a door, one or two windows, and one or two boards, each in an opening of a wall."""
    color = pick_color(rng, [*WOODS, (90, 110, 130)])
    for wall, along, _ in places_along(rng, walls, 1.3):
        if wall.open(along, 1.0, 0.0, 2.1):
            floor.claim(*wall.footprint(along, 1.0, 0.7))
            _door(scene.new("door", wall.at(along)), color)
            break
    for _ in range(rng.integers(1, 3)):
        widest, bottom = rng.uniform(1.0, 1.8), rng.uniform(0.8, 1.0)
        top = bottom + rng.uniform(1.0, 1.35)
        for wall, along, width in places_along(rng, walls, widest, least=0.6):
            if wall.open(along, width, bottom, top):
                _window(scene.new("window", wall.at(along)), width, bottom, top, rng)
                break
    for _ in range(rng.integers(1, 3)):
        widest, bottom = rng.uniform(1.2, 2.2), rng.uniform(0.85, 1.0)
        for wall, along, width in places_along(rng, walls, widest, least=0.6):
            if wall.open(along, width, bottom, bottom + 1.1):
                _board(scene.new("board", wall.at(along)), width, bottom, rng)
                break


def add_structure(scene, floor, walls, size, rng):
    """Add floor, walls, ceiling, a beam below it, and a column in a corner."""
    sx, sy, height = size
    paint = pick_color(rng, _PAINTS, 6)
    tile = pick_color(rng, _FLOORS, 8)
    period = [(0.6, 0.6), (0.15, 0), (0.3, 0.3), (0, 0)][rng.integers(4)]
    scene.new("floor", Pose(0, 0))((0, 0, -0.1), (sx, sy, 0), tile, darker(tile, 0.85), period, 0.06, faces="Z")
    for wall in walls:
        wall.build(scene, pick_color(rng, [paint], 3))
    white = pick_color(rng, [(235, 235, 230), (215, 215, 212)], 5)
    # The beam runs along the frame's x; the ceiling lies on both sides of it.
    long_way = rng.random() < 0.5
    pose, length, across = (Pose(0, 0), sx, sy) if long_way else (Pose(sx, 0, np.pi / 2), sy, sx)
    start, width, drop = rng.uniform(0.15, 0.7) * across, rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4)
    box = scene.new("ceiling", pose)
    for low, high in ((0.0, start), (start + width, across)):
        box((0, low, height), (length, high, height + 0.1), white, darker(white, 0.85), (0.6, 0.6), 0.04, faces="z")
    grey = pick_color(rng, [(175, 172, 165), (150, 145, 140)], 6)
    scene.new("beam", pose)((0, start, height - drop), (length, start + width, height), grey, faces="yYz")
    _column(scene, floor, walls, height, rng)


def _column(scene, floor, walls, height, rng):
    side, color = rng.uniform(0.3, 0.5), pick_color(rng, [(185, 180, 170), (165, 160, 158)], 6)
    for index in rng.permutation(4):
        wall, before = walls[index], walls[index - 1]
        if wall.is_plain(0, side) and before.is_plain(before.length - side, before.length):
            floor.claim(*wall.footprint(side / 2, side, side))
            scene.new("column", wall.at(side / 2))((-side / 2, 0, 0), (side / 2, side, height), color, faces="xXyY")
            return


def _door(box, color):
    frame = darker(color, 0.75)
    for low, high in ((-0.5, -0.44), (0.44, 0.5)):
        box((low, -0.05, 0), (high, 0.03, 2.1), frame, faces="xXY")
    box((-0.5, -0.05, 2.04), (0.5, 0.03, 2.1), frame, faces="zY")
    box((-0.44, -0.08, 0), (0.44, -0.03, 2.04), color, darker(color, 0.93), (0.2, 0), 0.2, faces="Y")
    box((0.3, -0.03, 1.0), (0.42, 0.03, 1.06), (160, 160, 165))


def _window(box, width, bottom, top, rng):
    half, frame = width / 2, pick_color(rng, [(230, 230, 230), (120, 120, 125)], 6)
    glass = pick_color(rng, [(150, 185, 225), (175, 205, 235), (110, 150, 195)], 10)
    box((-half, -0.1, bottom), (half, 0.0, bottom + 0.05), frame, faces="ZY")
    box((-half, -0.1, top - 0.05), (half, 0.0, top), frame, faces="zY")
    for x in (-half, -0.025, half - 0.05):
        box((x, -0.1, bottom), (x + 0.05, 0.0, top), frame, faces="xXY")
    blinds = darker(glass, 0.85) if rng.random() < 0.5 else glass
    box((-half, -0.13, bottom), (half, -0.1, top), glass, blinds, (0, 0.06), 0.35, faces="Y")


def _board(box, width, bottom, rng):
    half, top = width / 2, bottom + 1.1
    face = pick_color(rng, [(245, 245, 248), (240, 245, 240), (40, 75, 60)], 4)
    box((-half, -0.02, bottom), (half, 0.015, top), face, (90, 90, 140), (0, 0.22), 0.05, faces="Y")
    for low, high in ((bottom, bottom + 0.04), (top - 0.04, top)):
        box((-half, -0.02, low), (half, 0.03, high), (130, 130, 135), faces="zZY")
    box((-half * 0.6, 0.0, bottom), (half * 0.6, 0.09, bottom + 0.03), (140, 140, 145))
