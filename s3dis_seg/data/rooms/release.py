"""The raw release of S3DIS: Area_1/office_1/Annotations/chair_1.txt, with its known faults mended by rule.

The release itself is never changed.
"""

import re
from array import array
from itertools import islice
from math import isfinite
from pathlib import Path

import numpy as np

from s3dis_seg.classes import CLASSES, SYNONYMS
from s3dis_seg.data.rooms.room import Repair, room_of
from s3dis_seg.data.rooms.room_source import (
    AREA,
    ROOM,
    RoomSource,
    areas_in,
    as_rgb,
    check_extent,
    is_stray,
    source_label,
    subfolders,
)
from s3dis_seg.files import InputError

# What is known to be wrong with release v1.2 (file, line): the rules below mend it, this list only says so in reports.
# Room files (office_1/office_1.txt) hold the points of Annotations/ again, without labels, and are never read.
KNOWN_FAULTS = {
    ("Area_5/hallway_6/Annotations/ceiling_1.txt", 180389): "NUL for a space: 185\\x00187",
    ("Area_5/office_19/Annotations/ceiling_1.txt", 323474): "103.0\\x100000 for 103.000000 (not aligned variant)",
    ("Area_5/office_36/Annotations/wall_3 (1).txt", None): "second copy of an object",
    ("Area_6/copyRoom_1/copy_Room_1.txt", None): "misnamed room file",
    ("Area_3/hallway_2/hallway_2.txt", 926337): "-9.1\\x160 for -9.160, in a room file: not read",
    ("Area_1/WC_1/WC_1.txt", 429613): "bad characters, in a room file: not read",
    ("Area_6/hallway_2/hallway_2.txt", 842733): "21.000000 for 211.000000, in a room file: not read",
}

# Files that belong to the release and hold no points of a room.
_COMPANIONS = re.compile(r"(Area_\d+_alignmentAngle|ReadMe.*|README.*|LICENSE.*)(\.\w+)?", re.IGNORECASE)
_OBJECT = re.compile(
    r"(?P<object>(?P<name>[A-Za-z]+)(_\d+)?)(?P<copy> ?\(\d+\)| - Copy.*| copy.*)?\.txt", re.IGNORECASE
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_IN_NUMBERS = b"0123456789.+-eE \t"
_LONGEST_LINE = 65_536  # bytes


def find_raw_rooms(folder):
    """Rooms of the raw release: `folder` is a room, an area, the release or its parent. -> list of RoomSource

    Every room folder is listed as soon as one has Annotations: a room without them is damage, told when it is read.
    """
    folder = Path(folder).resolve()
    if (folder / "Annotations").is_dir():
        return [_raw_source(folder)]
    release = _release(folder)
    if release is None:
        return []
    rooms = [room for area in areas_in(release) for room in _rooms(area)]
    return [_raw_source(room) for room in rooms] if any((room / "Annotations").is_dir() for room in rooms) else []


def _rooms(area):
    """Folders of an area that are called like a room, or hold one."""
    folders = subfolders(area, re.compile(".*"))
    return [path for path in folders if ROOM.fullmatch(path.name) or (path / "Annotations").is_dir()]


def _release(folder):
    """The folder whose Area_* are meant (or one area itself), looked for one level down as well; None if absent."""
    if areas_in(folder):
        return folder
    inside = [child for child in subfolders(folder, re.compile(".*")) if subfolders(child, AREA)]
    if len(inside) > 1:
        names = " and ".join(str(child) for child in inside)
        raise InputError(f"{folder} holds more than one release ({names}); name the one to prepare")
    return inside[0] if inside else None


def _raw_source(room):
    area = room.parent.name
    name = f"{area}_{room.name}" if AREA.fullmatch(area) else room.name
    files = [path for path in (room / "Annotations").glob("*.[tT][xX][tT]") if not is_stray(path)]
    stats = [path.stat() for path in files]
    size = sum(stat.st_size for stat in stats)
    modified = max((stat.st_mtime for stat in stats), default=0.0)
    return RoomSource(name, room, read_raw_room, int(size / _line_length(files)), modified)


def _line_length(files):
    """Bytes a line, from the start of one file: about 31 in the aligned variant."""
    for path in files:
        with path.open("rb") as file:
            lines = file.read(4096).split(b"\n")[:-1]
        if lines:
            return sum(map(len, lines)) / len(lines) + 1
    return 31


def find_strays(folder):
    """Files between the rooms of a raw release that belong to nothing. -> list of Repair, one for each file"""
    release = _release(Path(folder).resolve())
    if release is None:
        return []
    areas = areas_in(release)
    strays = [] if areas == [release] else _strays(release, areas)
    for area in areas:
        strays += _strays(area, _rooms(area))
    return strays


def _strays(folder, expected):
    root = folder.parent if AREA.fullmatch(folder.name) else folder
    return [
        Repair(path.relative_to(root).as_posix(), None, "stray, left out")
        for path in sorted(folder.iterdir())
        if path not in expected and not _COMPANIONS.fullmatch(path.name)
    ]


def read_raw_room(folder, name):
    """A room of the raw release from its Annotations. -> Room; instances are numbered in the order of the files."""
    folder = Path(folder)
    repairs = _beside_annotations(folder)
    objects, copies = _objects(folder, repairs)
    parts = {path: _read_object(path, folder, repairs) for path, _ in objects}
    for path, original in copies:
        _drop_copy(path, original, parts, folder, repairs)
    counts = [len(parts[path][0]) for path, _ in objects]
    xyz = np.concatenate([parts[path][0] for path, _ in objects])
    rgb = np.concatenate([parts[path][1] for path, _ in objects])
    check_extent(xyz, lambda point: _line_of(point, objects, counts))
    return room_of(
        name,
        xyz,
        as_rgb(rgb, folder),
        np.repeat(np.array([label for _, label in objects], np.uint8), counts),
        np.repeat(np.arange(len(objects), dtype=np.int32), counts),
        source=source_label(folder),
        repairs=repairs,
    )


def _line_of(point, objects, counts):
    """Where a point of a room was read, in words: file and line."""
    index = int(np.searchsorted(np.cumsum(counts), point, side="right"))
    path, row = objects[index][0], point - sum(counts[:index])
    lines = (number for number, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip())
    return f"{path}, line {next(islice(lines, row, None), 'unknown')}"


def _repair(path, room, line, what):
    file = path.relative_to(room.parent.parent).as_posix()  # from the area on, as in the list of known faults
    return Repair(file, line, what, (file, line) in KNOWN_FAULTS)


def _beside_annotations(room):
    """A list of Repair for misnamed room files and strays. Room files are not read, so nothing is lost with them."""
    repairs = []
    for path in sorted(room.iterdir()):
        if path.suffix == ".txt" and path.stem != room.name and not is_stray(path):
            what = f"misnamed room file, expected {room.name}.txt; not read, because Annotations holds its points"
            repairs.append(_repair(path, room, None, what))
        elif path.name not in ("Annotations", f"{room.name}.txt"):
            repairs.append(_repair(path, room, None, "stray, left out"))
    return repairs


def _objects(room, repairs):
    """Object files of a room and their labels. -> [(path, label)], [(second copy, the file it copies)]"""
    annotations = room / "Annotations"
    if not annotations.is_dir():
        raise InputError(f"{room} has no folder Annotations, so its points have no labels; unpack the release again")
    objects, copies = {}, []
    for path in sorted(annotations.iterdir(), key=_natural):
        match = _OBJECT.fullmatch(path.name)
        if match is None or is_stray(path):
            if path.suffix.lower() == ".txt" and not is_stray(path):
                raise InputError(f"{path} is not named like wall_3.txt; rename it to its class and a number")
            repairs.append(_repair(path, room, None, "stray, left out"))
        elif match["copy"] or match["object"].lower() in objects:
            copies.append((path, match))
        else:
            objects[match["object"].lower()] = (path, _label(match["name"], path))
    paired = []
    for path, match in copies:
        name = match["object"].lower()
        if name in objects:
            paired.append((path, objects[name][0]))
        else:
            objects[name] = (path, _label(match["name"], path))
            repairs.append(_repair(path, room, None, f"read as an object: there is no {match['object']}.txt"))
    for path, _ in objects.values():
        name = path.name.partition("_")[0].lower()
        if name in SYNONYMS:
            repairs.append(_repair(path, room, None, f"{name} counts as {SYNONYMS[name]}"))
    if not objects:
        raise InputError(f"{annotations} holds no files like wall_3.txt; unpack the release again")
    return list(objects.values()), paired


def _natural(path):
    """Sorts wall_2 before wall_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _label(name, path):
    name = name.lower()
    name = SYNONYMS.get(name, name)
    if name not in CLASSES:
        raise InputError(f"{path}: {name!r} is no class of S3DIS; expected one of {', '.join((*CLASSES, *SYNONYMS))}")
    return CLASSES.index(name)


def _read_object(path, room, repairs):
    """Points of one object. -> xyz (n, 3) float64, rgb (n, 3) uint8 or float32; appends to repairs"""
    xyz, rgb, mended = read_points(path)
    repairs += [_repair(path, room, line, what) for line, what in mended]
    return xyz, rgb


def _drop_copy(path, original, parts, room, repairs):
    """Leave out a second copy. Where it has points that its original lacks, those are kept: nothing may be lost."""
    xyz, rgb = parts[original]
    text = path.read_bytes()
    if not text.strip() or text == original.read_bytes():
        repairs.append(_repair(path, room, None, f"second copy of {original.name}, left out"))
        return
    more, more_rgb = _read_object(path, room, repairs)
    known = {row.tobytes() for row in xyz}
    new = np.array([row.tobytes() not in known for row in more])
    parts[original] = np.concatenate([xyz, more[new]]), np.concatenate([rgb, more_rgb[new]])
    what = f"second copy of {original.name}: {len(new) - new.sum()} points left out, {new.sum()} new ones kept"
    repairs.append(_repair(path, room, None, what))


def read_points(path):
    """Parse a text file of lines `x y z r g b`, mending what the rules of `_mended` explain.

    -> xyz (n, 3) float64, rgb (n, 3) uint8 (float32 where a colour is no whole number), [(line, what was mended)]
    """
    text = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")  # the mark some editors put in front of UTF-8
    if not text.strip():
        raise InputError(f"{path} is empty: an object without points; unpack the release again, or delete the file")
    _refuse_long_lines(text, path)
    points = _parse_fast(text)
    if points is None:
        points = _parse_fast(_tidy(text))
    if points is not None:
        return *points, []
    return _parse_carefully(text, path)


def _refuse_long_lines(text, path):
    """InputError for a line that cannot be a point: to parse it would take many times its size."""
    start = 0
    while len(text) - start > _LONGEST_LINE:
        end = text.rfind(b"\n", start, start + _LONGEST_LINE)
        if end < 0:
            line = text.count(b"\n", 0, start) + 1
            raise InputError(
                f"{path}, line {line}: expected 'x y z r g b', found more than {_LONGEST_LINE:,} bytes; "
                "unpack the release again, or correct the line"
            )
        start = end + 1


def _parse_fast(text):
    """Two to three million lines a second. -> xyz, rgb; None where a line is not just six good numbers."""
    try:
        import polars
    except ImportError:
        return None
    if text.count(b"\r") != text.count(b"\r\n"):  # polars would take a damaged minus for the end of a line
        return None
    whole = b"." not in b"".join(text.partition(b"\n")[0].split()[3:])
    schema = dict.fromkeys("xyz", polars.Float64) | dict.fromkeys("rgb", polars.UInt8 if whole else polars.Float32)
    try:
        table = polars.read_csv(text, separator=" ", has_header=False, quote_char=None, schema=schema)
    except polars.exceptions.PolarsError:
        return None
    if any(table.null_count().row(0)):  # a line that is blank or too short
        return None
    xyz, rgb = (np.stack([table[column].to_numpy() for column in columns], axis=1) for columns in ("xyz", "rgb"))
    if not np.isfinite(xyz).all() or not ((rgb >= 0) & (rgb <= 255)).all():
        return None
    return xyz, _narrow(rgb)


def _tidy(text):
    """The text with one space between numbers and no blank lines."""
    # A carriage return goes only in front of a line's end: elsewhere it is a damaged minus.
    text = re.sub(rb"[ \t]+", b" ", text)
    return re.sub(rb"( ?\r?\n)+ ?", b"\n", text).strip(b" \n")


def _parse_carefully(text, path):
    """Line by line, for files that the fast way refuses. -> xyz, rgb, [(line, what was mended)]"""
    values, mended = array("d"), []
    for number, line in enumerate(text.split(b"\n"), start=1):
        row = _numbers(line)
        if row is None and line.strip():
            better = _mended(line)
            row = _numbers(better)
            if row is None:
                raise InputError(
                    f"{path}, line {number}: expected 'x y z r g b' with colours from 0 to 255, found {_shown(line)}. "
                    "No known fault of the release looks like this: unpack the release again, or correct the line"
                )
            mended.append((number, f"{_shown(line)} read as {_shown(better)}"))
        values.extend(row or ())
    values = np.frombuffer(values).reshape(-1, 6)
    return values[:, :3], _narrow(values[:, 3:].astype(np.float32)), mended


def _numbers(line):
    """Six finite numbers with colours in range, or None."""
    line = line.rstrip(b" \t\r")
    words = line.split()
    if len(words) != 6 or line.translate(None, _IN_NUMBERS):
        return None
    try:
        row = [float(word) for word in words]
    except ValueError:
        return None
    return row if all(map(isfinite, row[:3])) and all(0 <= color <= 255 for color in row[3:]) else None


def _mended(line):
    """What a line with control characters was before it was damaged; the line itself where no rule helps.

    In every known fault one bit (0x20) of a character is lost: NUL was a space, 0x10 was '0', 0x16 was '6'. A control
    character of another kind stands for a space or for nothing, whichever gives six numbers.
    """
    restored = _CONTROL.sub(lambda match: bytes([match[0][0] | 0x20]), line.rstrip(b"\r"))
    readings = (restored, _CONTROL.sub(b" ", line), _CONTROL.sub(b"", line))
    return next((reading for reading in readings if _numbers(reading) is not None), line)


def _shown(line):
    text = repr(line[:100])[1:]  # repr shows control characters; without the b
    return text if len(line) <= 100 else text + "..."


def _narrow(rgb):
    """uint8 where every colour is a whole number, as in the release."""
    whole = rgb.astype(np.uint8)
    return whole if rgb.dtype == np.uint8 or (whole == rgb).all() else rgb
