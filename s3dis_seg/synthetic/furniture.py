"""What stands, lies and hangs in a room: tables, chairs, sofas, bookcases and clutter. Lengths in metres."""

import numpy as np

from s3dis_seg.synthetic.scene import CYLINDER, ELLIPSOID, Pose, darker, pick_color, rotated
from s3dis_seg.synthetic.structure import WOODS, places_along

_FABRICS = [(45, 60, 110), (120, 35, 40), (60, 95, 70), (90, 70, 110), (170, 120, 60), (70, 75, 80)]
_SEATS = [(35, 35, 40), (30, 45, 95), (130, 30, 35), (60, 60, 65), (25, 80, 70)]
_BRIGHT = [(190, 50, 45), (50, 90, 170), (60, 140, 80), (220, 180, 50), (235, 230, 220), (40, 40, 45), (150, 90, 150)]


def _chair(box, rng):
    """An office chair or one with four legs, its seat 0.46 high."""
    seat, leg = pick_color(rng, _SEATS, 8), (60, 60, 62)
    box((-0.23, 0.03, 0.43), (0.23, 0.48, 0.49), seat)
    box((-0.22, 0.0, 0.55), (0.22, 0.05, 0.95), seat)
    if rng.random() < 0.5:
        box((-0.03, 0.22, 0.08), (0.03, 0.28, 0.43), leg, shape=CYLINDER)
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
    top = pick_color(rng, [*WOODS, (225, 222, 215)], 8)
    box((-width / 2, 0, height - 0.04), (width / 2, depth, height), top, darker(top, 0.9), (0.12, 0), 0.15)
    leg = pick_color(rng, [(70, 70, 72), (170, 170, 172)], 5)
    for x in (-width / 2 + 0.04, width / 2 - 0.1):
        for y in (0.04, depth - 0.1):
            box((x, y, 0), (x + 0.06, y + 0.06, height - 0.04), leg, faces="xXyY")
    if rng.random() < 0.4:
        box((-width / 2 + 0.05, 0.02, 0.3), (width / 2 - 0.05, 0.05, height - 0.04), darker(top, 0.85))


def _sofa(box, width, rng):
    color = pick_color(rng, _FABRICS, 10)
    half = width / 2
    box((-half, 0, 0.08), (half, 0.85, 0.3), color, faces="xXyY")
    box((-half, 0, 0.3), (half, 0.25, 0.82), color)
    for x in (-half, half - 0.18):
        box((x, 0.0, 0.3), (x + 0.18, 0.85, 0.6), darker(color, 0.92))
    seats = 2 if width < 1.8 else 3
    for low, high in np.linspace(-half + 0.18, half - 0.18, seats + 1).repeat(2)[1:-1].reshape(-1, 2):
        box((low + 0.01, 0.22, 0.3), (high - 0.01, 0.85, 0.45), tuple(np.minimum(np.array(color) * 1.1, 250)))


def _bookcase(box, width, height, rng):
    """Shelves 0.3 deep, filled with books of all colours."""
    wood, half = pick_color(rng, WOODS, 10), width / 2
    box((-half, 0, 0), (half, 0.02, height), darker(wood, 0.8), faces="Y")
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
                    pick_color(rng, _BRIGHT, 20),
                    faces="xXYZ",
                )
            place += books


def add_bookcases(scene, floor, walls, rng, count):
    """Add bookcases at the walls where there is room for them."""
    for _ in range(count):
        widest, height = rng.uniform(0.8, 1.5), rng.uniform(1.5, 2.1)
        for wall, along, width in places_along(rng, walls, widest, least=0.6):
            if wall.is_plain(along - width / 2, along + width / 2) and floor.claim(*wall.footprint(along, width, 0.34)):
                _bookcase(scene.new("bookcase", wall.at(along, 0.01)), width, height, rng)
                break


def add_sofas(scene, floor, walls, rng, count):
    """Add sofas at the walls where there is room for them."""
    for _ in range(count):
        widest = rng.uniform(1.4, 2.1)
        for wall, along, width in places_along(rng, walls, widest, least=0.6):
            if floor.claim(*wall.footprint(along, width, 0.9)):
                _sofa(scene.new("sofa", wall.at(along, 0.04)), width, rng)
                break


def add_desks(scene, floor, walls, rng, count):
    """Add desks at the walls, each with a chair in front and objects on it."""
    for _ in range(count):
        widest, depth = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.8)
        for wall, along, width in places_along(rng, walls, widest, least=0.6):
            if floor.claim(*wall.footprint(along, width, depth + 0.6)):
                pose = wall.at(along, 0.03)
                _table(scene.new("table", pose), width, depth, rng)
                _add_things_on_table(scene, pose, width, depth, rng)
                seat = wall.at(along + rng.uniform(-0.2, 0.2), depth + rng.uniform(0.4, 0.55))
                seat.yaw += np.pi + rng.normal(0, 0.3)
                _chair(scene.new("chair", seat), rng)
                break


def add_table(scene, floor, rng, width, depth, chairs, height=0.74):
    """Add a table away from the walls, with chairs around it; a smaller one where there is little room."""
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
        back = rotated(np.array([[0, -d / 2, 0]]), yaw)[0]
        pose = Pose(x + back[0], y + back[1], yaw)
        _table(scene.new("table", pose), w, d, rng, height)
        _add_things_on_table(scene, pose, w, d, rng, height)
        for side in (-1, 1) if chairs else ():
            for along in np.linspace(-w / 2, w / 2, max(1, min(chairs, int(w / 0.65))) + 2)[1:-1]:
                away = d / 2 + rng.uniform(0.25, 0.5)
                dx, dy, _ = rotated(np.array([[along, side * away, 0]]), yaw)[0]
                facing = yaw + (np.pi if side > 0 else 0) + rng.normal(0, 0.25)
                _chair(scene.new("chair", Pose(x + dx, y + dy, facing)), rng)
        return


def add_chairs(scene, floor, rng, count):
    """Add chairs without a table."""
    for _ in range(count):
        for _ in range(20):
            x, y = rng.uniform(0.3, floor.size[:2] - 0.3)
            if floor.claim(x, y, 0.55, 0.55):
                yaw = rng.uniform(0, 2 * np.pi)
                back = rotated(np.array([[0, -0.25, 0]]), yaw)[0]
                _chair(scene.new("chair", Pose(x + back[0], y + back[1], yaw)), rng)
                break


def _add_things_on_table(scene, pose, width, depth, rng, height=0.74):
    """Add monitors with keyboards, boxes and cups to a table, in its frame."""
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
            box((place - side, y - side, height), (place + side, y + side, tall), pick_color(rng, _BRIGHT, 20))
        box(
            (place + 0.2, y, height),
            (place + 0.28, y + 0.08, height + 0.11),
            pick_color(rng, _BRIGHT, 20),
            shape=CYLINDER,
        )


def add_clutter(scene, floor, walls, size, rng):
    """Add boxes, bins, plants, bags and balls on the floor, posters on the walls, and a projector."""
    for _ in range(rng.integers(7, 13)):
        x, y = rng.uniform(0.25, size[:2] - 0.25)
        if floor.claim(x, y, 0.4, 0.4):
            kind = KINDS_OF_CLUTTER[rng.integers(len(KINDS_OF_CLUTTER))]
            _CLUTTER[kind](scene.new("clutter", Pose(x, y, rng.uniform(0, 2 * np.pi)), kind), rng)
    for wall, along, _ in list(places_along(rng, walls, 0.7))[: rng.integers(2, 5)]:
        if wall.is_plain(along - 0.3, along + 0.3):
            half, z = rng.uniform(0.15, 0.3), rng.uniform(1.4, 1.7)
            poster = scene.new("clutter", wall.at(along))
            poster(
                (-half, 0, z),
                (half, 0.04, z + 0.45),
                pick_color(rng, _BRIGHT, 25),
                pick_color(rng, _BRIGHT, 25),
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
        pick_color(rng, [(175, 135, 90), (200, 165, 120)], 10),
        (120, 90, 60),
        (0.17, 0),
        0.1,
        faces="xXyYZ",
    )


def _bin(box, rng):
    box(
        (-0.15, -0.15, 0),
        (0.15, 0.15, 0.4),
        pick_color(rng, [(45, 45, 50), (30, 90, 160), (200, 200, 200)], 8),
        shape=CYLINDER,
    )


def _plant(box, rng):
    box((-0.13, -0.13, 0), (0.13, 0.13, 0.3), (150, 85, 55), shape=CYLINDER)
    top = rng.uniform(0.7, 1.2)
    box((-0.02, -0.02, 0.3), (0.02, 0.02, top - 0.3), (95, 75, 45))
    for _ in range(6):
        x, y = rng.uniform(-0.12, 0.12, 2)
        z = top - rng.uniform(0.05, 0.4)
        box(
            (x - 0.12, y - 0.12, z - 0.08),
            (x + 0.12, y + 0.12, z + 0.1),
            pick_color(rng, [(55, 120, 50)], 15),
            shape=ELLIPSOID,
        )


def _bag(box, rng):
    box((-0.16, -0.11, 0), (0.16, 0.11, 0.42), pick_color(rng, _FABRICS, 15), shape=ELLIPSOID)


def _ball(box, rng):
    box(
        (-0.16, -0.16, 0),
        (0.16, 0.16, 0.32),
        pick_color(rng, _BRIGHT, 10),
        pick_color(rng, _BRIGHT, 10),
        (0.16, 0),
        0.5,
        shape=ELLIPSOID,
    )


_CLUTTER = {"carton": _carton, "bin": _bin, "plant": _plant, "bag": _bag, "ball": _ball}
KINDS_OF_CLUTTER = tuple(_CLUTTER)
