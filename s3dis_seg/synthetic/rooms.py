"""Furnished rooms made from a seed: all 13 classes, coloured and noisy, also written as a raw release of S3DIS.

scene.py      objects made of boxes, and the points a scanner records of them
structure.py  floor, walls with their openings, ceiling, beam and column
furniture.py  tables, chairs, sofas, bookcases and clutter
"""

from pathlib import Path

import numpy as np

from s3dis_seg.classes import CLASSES, COLORS, S3DIS, Classes, default_colors
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import replacing
from s3dis_seg.synthetic.furniture import (
    KINDS_OF_CLUTTER,
    add_bookcases,
    add_chairs,
    add_clutter,
    add_desks,
    add_sofas,
    add_table,
)
from s3dis_seg.synthetic.scene import Scene, scan
from s3dis_seg.synthetic.structure import Floor, Wall, add_openings, add_structure


def synthetic_room(seed, density=1500.0, name="Area_1_office_1", own_classes=()):
    """A furnished room. -> Room of roughly 150 * density points

    seed: an int or a sequence of ints; the same seed gives the same room. density: points a square metre of surface.
    name: "office", "conferenceRoom" or "lounge" in it chooses the furniture; an office else.
    own_classes: what S3DIS calls clutter and here gets a class of its own, behind the 13: some of KINDS_OF_CLUTTER.
    """
    rng = np.random.default_rng(seed)
    scene, size = _furnished(rng, _kind(name))
    xyz, rgb, instances, objects = scan(scene, size, rng, density)
    classes = _with_own(own_classes)
    names = [kind if kind in own_classes else class_name for class_name, kind in objects]
    labels = np.array([classes.names.index(class_name) for class_name in names], np.uint8)[instances]
    return room_of(name, xyz, rgb, labels, instances, source=f"synthetic room, seed {seed}", classes=classes)


def _with_own(names):
    """The classes of S3DIS, and some kinds of clutter behind them. -> Classes"""
    unknown = [name for name in names if name not in KINDS_OF_CLUTTER]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no kind of clutter; there are {', '.join(KINDS_OF_CLUTTER)}")
    if not names:
        return S3DIS
    colors = default_colors([*map(tuple, COLORS.tolist()), *[None] * len(names)])
    return Classes((*CLASSES, *names), colors, ()).numbered()


def _kind(name):
    return next((kind for kind in _KINDS if f"_{kind}_" in f"_{name}_"), "office")


def write_release(folder, rooms=None, seed=0, density=1500.0, progress=None):
    """Write rooms as `folder`/Area_1/office_1/Annotations/chair_1.txt and so on. -> list of room names

    rooms: how many in each area, such as {"Area_1": 3, "Area_5": 1}; by default two in each of the six areas.
    progress: called with the name of each room once it is written.
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


def _furnished(rng, kind):
    """Lay out a room of a kind ("office", "conferenceRoom", "lounge"). -> Scene, size (3,)"""
    size = np.array([rng.uniform(4.0, 6.0), rng.uniform(3.3, 5.2), rng.uniform(2.5, 3.2)])
    scene, floor = Scene(), Floor(size)
    walls = [Wall(index, size) for index in range(4)]
    add_openings(scene, floor, walls, rng)
    add_structure(scene, floor, walls, size, rng)
    _FURNISHING[kind](scene, floor, walls, rng)
    add_clutter(scene, floor, walls, size, rng)
    return scene, size


def _office(scene, floor, walls, rng):
    add_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    add_desks(scene, floor, walls, rng, rng.integers(2, 4))
    add_sofas(scene, floor, walls, rng, 1)
    add_table(scene, floor, rng, 1.2, 0.8, rng.integers(1, 3))


def _conference_room(scene, floor, walls, rng):
    add_table(scene, floor, rng, rng.uniform(1.8, 3.0), rng.uniform(1.0, 1.3), 4)
    add_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    add_sofas(scene, floor, walls, rng, 1)


def _lounge(scene, floor, walls, rng):
    add_sofas(scene, floor, walls, rng, rng.integers(1, 4))
    add_bookcases(scene, floor, walls, rng, rng.integers(1, 3))
    add_table(scene, floor, rng, 1.1, 0.7, 0, height=0.45)
    add_table(scene, floor, rng, 1.0, 0.8, 2)
    add_chairs(scene, floor, rng, rng.integers(1, 3))


_FURNISHING = {"office": _office, "conferenceRoom": _conference_room, "lounge": _lounge}
_KINDS = tuple(_FURNISHING)
