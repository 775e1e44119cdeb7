"""Which rooms train, validate and test."""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.files import InputError

_VALIDATE_EVERY = 8  # every 8th training room validates
_TRAIN, _VAL = "_train", "_val"  # how the rooms of a scan end that `prepare --cut` has cut in two


@dataclass(frozen=True)
class Split:
    """Which rooms do what; each is a list of rooms sorted by name, no room is in two of them."""

    train: list
    val: list
    test: list


def split_rooms(rooms, test_area=None, val_rooms=None, test_rooms=None, train_rooms=None, split_file=None):
    """Decide which rooms train, validate and test. rooms: anything with a name. -> Split

    test_area: this area (1-6) tests. test_rooms, val_rooms, train_rooms: lists of room names; the area may be left out
    where the rest is unambiguous, and `*` stands for anything. What neither tests nor validates trains, unless
    train_rooms names the rooms that do. val_rooms None: where scans were cut in two (name_train, name_val), the latter
    parts; otherwise every 8th of the remaining rooms by sorted name, the first one included; one room alone trains. An
    empty list: none. split_file: a text file that says all of it instead,

        [train]
        Area_1_office_1
        Area_2_*
        [val]
        Area_1_hallway_2      # a comment
        [test]
        Area_5_*

    in which rooms that are not named take no part. InputError for a name no room has, and for a room on two sides.
    """
    rooms = _by_name(rooms)
    if split_file is not None:
        if any(choice is not None for choice in (test_area, val_rooms, test_rooms, train_rooms)):
            raise InputError("a split file says everything; leave out the test area and the lists of rooms beside it")
        sides = {side: _named(names, rooms, split_file) for side, names in _read_split(split_file).items()}
        return _split(rooms, **sides)
    if test_area is not None and test_rooms is not None:
        raise InputError("name either the area or the rooms to test on, not both")
    areas = sorted({area_of(name) for name in rooms} - {None})
    if test_area is not None and test_area not in areas:
        found = f"of the areas {', '.join(map(str, areas))}" if areas else "of no area"
        raise InputError(f"there is no room of area {test_area}, only rooms {found}")
    test = _named(test_rooms or [], rooms, "the rooms to test on")
    test += [name for name in rooms if test_area is not None and area_of(name) == test_area]
    named_val = _named(val_rooms or [], rooms, "the rooms to validate on")
    if train_rooms is None:
        train = [name for name in rooms if name not in {*test, *named_val}]
    else:
        train = _named(train_rooms, rooms, "the rooms to train on")
    if val_rooms is None and len(train) > 1:
        named_val = _cut_off(train) or sorted(train)[::_VALIDATE_EVERY]
        train = [name for name in train if name not in named_val]
    return _split(rooms, train, named_val, test)


def _cut_off(names):
    """The rooms that are the validation part of a scan whose other part is there, too."""
    return [name for name in names if name.endswith(_VAL) and name.removesuffix(_VAL) + _TRAIN in names]


def _by_name(rooms):
    """Rooms by name, sorted. -> dict name -> room"""
    by_name = {}
    for room in sorted(rooms, key=lambda room: room.name):
        if room.name in by_name:
            raise InputError(f"the room {room.name} is there twice; give each room once")
        by_name[room.name] = room
    return by_name


def _named(names, rooms, where):
    """Full names of the rooms that a list means, each once. InputError for a name that means none or several."""
    return list(dict.fromkeys(full for name in names for full in _meant(name, rooms, where)))


def _meant(name, rooms, where):
    name = name.replace("/", "_").removesuffix(".h5")
    if "*" in name:
        found = [room for room in rooms if fnmatchcase(room, name)]
    elif name in rooms:
        found = [name]
    else:
        found = [room for room in rooms if area_of(room) is not None and room.split("_", 2)[2] == name]
        if len(found) > 1:
            raise InputError(f"{where}: {name} may be {' or '.join(found)}; write the area too")
    if not found:
        name = name if len(name) <= 80 else f"{name[:80]}..."
        raise InputError(f"{where}: there is no room {name}; {similar_names(name, list(rooms))}")
    return found


def similar_names(name, known):
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:3]
    return f"near it are {', '.join(near)}" if near else "there are none at all"


def _read_split(path):
    """A split file. -> dict of lists of names: train, val, test"""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the split file {path}: {error}") from error
    sides, side = {"train": [], "val": [], "test": []}, None
    for number, line in enumerate(lines, start=1):
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            side = line.strip("[] ")
            if side not in sides:
                raise InputError(f"{path}, line {number}: found {line[:80]}; expected [train], [val] or [test]")
        elif line:
            if side is None:
                raise InputError(f"{path}, line {number}: found {line[:80]!r} before any of [train], [val], [test]")
            sides[side].append(line)
    return sides


def _split(rooms, train, val, test):
    """Rooms of the chosen names; InputError where a room is on two sides."""
    sides = {"training": train, "validation": val, "test": test}
    side_of = {}
    for side, names in sides.items():
        for name in names:
            if name in side_of:
                raise InputError(f"{name} would be a {side_of[name]} and a {side} room; leave it on one side")
            side_of[name] = side
    return Split(*([rooms[name] for name in sorted(names)] for names in sides.values()))
