"""The class file: a small text that says which classes there are, and which values of a scan mean them.

    # name      colour       values in the scans
    ground      #a0784b  =   2
    low plants           =   3, 4
    tree        #228b22  =   5, 64-70
    ignore               =   0, 1

A line a class: its name, a colour if one is wanted, `=`, and the values that mean it, separated by commas: integers,
ranges, or words. `ignore` takes the values that mean no class; `rest` among the values of one line means all values
that no line names. Lines that begin with #, and what follows a # and a space, are comments. The order of the lines
numbers the classes from 0. Rooms and checkpoints keep their classes in the same form, without comments.
"""

import re
from itertools import pairwise
from pathlib import Path

from s3dis_seg.classes import CLASSES, REST, S3DIS, UNLABELLED, Classes, default_colors, range_of
from s3dis_seg.files import InputError

IGNORE = "ignore"
MOST_CLASSES = UNLABELLED  # their numbers and 255 fit a byte
_LONGEST_NAME = 40
_LARGEST = 1 << 20  # bytes of a class file
_COLOR = re.compile(r"#([0-9a-fA-F]{6})")
_EXAMPLE = "'wall = 3, 64-70'"
# What the standard says about the field `classification` of .las and .laz files.
LAS_NAMES = {
    0: IGNORE, 1: IGNORE, 2: "ground", 3: "low vegetation", 4: "medium vegetation", 5: "high vegetation", 6: "building",
    7: IGNORE, 9: "water", 10: "rail", 11: "road surface", 13: "wire guard", 14: "wire conductor", 15: "tower",
    16: "wire connector", 17: "bridge deck", 18: IGNORE,
}  # fmt: skip


def read_class_file(path):
    """-> Classes; InputError that names the line and what to write instead"""
    path = Path(path)
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise InputError(f"{path} has more than {_LARGEST:,} bytes, too many for a class file; check the name")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the class file {path}: {error.strerror or error}; check the name") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8; save the class file as plain text in UTF-8") from error
    return classes_of_text(text, str(path))


def classes_of_text(text, where):
    """Classes as a class file lists them. where: its name, for errors -> Classes; InputError naming the line"""
    names, colors, values, ignored, line_of = [], [], [], (), {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = _without_comment(line)
        if not line:
            continue
        place = f"{where}, line {number}"
        name, color, of_name = _parsed(line, place)
        _require_new("class", name.lower(), name, line_of, number, place)
        for value in of_name:
            _require_new("value", value, value, line_of, number, place)
        if name == IGNORE:
            ignored = of_name
        else:
            names.append(name)
            colors.append(color)
            values.append(of_name)
    if not 1 <= len(names) <= MOST_CLASSES:
        raise InputError(
            f"{where} names {len(names)} classes; expected 1 to {MOST_CLASSES}, a line for each, such as {_EXAMPLE}"
        )
    _refuse_overlaps([*values, ignored], line_of, where)
    return Classes(tuple(names), default_colors(colors), tuple(values), ignored)


def _without_comment(line):
    """A line without comment and outer spaces. A # begins a comment at the start of a line and before a space."""
    return re.split(r"^\s*#|(?<=\s)#(?=\s|$)", line.rstrip("\r"))[0].strip()


def _parsed(line, place):
    """A line as name, colour or None, values. InputError where it is none"""
    head, equals, tail = line.partition("=")
    if not equals:
        raise InputError(
            f"{place}: found {line[:60]!r} without =; write the name, = and its values, such as {_EXAMPLE}"
        )
    *words, last = head.split() or [""]
    color = _COLOR.fullmatch(last)
    if last.startswith("#") and not color:
        raise InputError(f"{place}: {last[:20]!r} is no colour; write # and six digits or a to f, such as #228b22")
    name = " ".join(words if color else [*words, last])
    if not name:
        raise InputError(f"{place}: there is no name before =; write one, such as {_EXAMPLE}")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"{place}: the name {name[:60]!r} has more than {_LONGEST_NAME} letters or unprintable ones; shorten it"
        )
    if name.lower() == IGNORE:
        name = IGNORE
    values = tuple(" ".join(value.split()) for value in tail.split(",") if value.strip())
    if not values:
        raise InputError(f"{place}: {name} has no value; write those that mean it after =, such as {_EXAMPLE}")
    return name, color and _as_color(color[1]), tuple(_as_value(value, place) for value in values)


def _as_color(digits):
    return tuple(bytes.fromhex(digits))


def _as_value(value, place):
    """A value in its one spelling: no plus signs, leading zeros and spaces in numbers."""
    ends = range_of(value.removeprefix("+"))
    if ends is None:
        if re.fullmatch(r"[-+0-9][-+0-9.,\s]*", value):
            raise InputError(
                f"{place}: {value[:40]!r} is neither an integer nor a range; separate values by commas, such as "
                f"{_EXAMPLE}"
            )
        return REST if value.lower() == REST else value
    low, high = ends
    if low > high:
        raise InputError(f"{place}: the range {value} ends before it begins; write {high}-{low}")
    return str(low) if low == high else f"{low}-{high}"


def _require_new(kind, key, spelled, line_of, number, place):
    """InputError where another line, or this one, has the same already. kind: "class" or "value\""""
    if (kind, key) in line_of:
        raise InputError(
            f"{place}: the {kind} {spelled} stands in line {line_of[kind, key]} already; leave it in one place"
        )
    line_of[kind, key] = number


def _refuse_overlaps(values, line_of, where):
    """InputError where a range holds a value of another one."""
    ranges = sorted((*ends, text) for texts in values for text in texts if (ends := range_of(text)) is not None)
    for (_, high, one), (low, _, other) in pairwise(ranges):
        if low <= high:
            lines = [line_of["value", text] for text in (one, other)]
            raise InputError(f"{where}, line {max(lines)}: {one} and {other} (line {min(lines)}) both hold {low}; "
                             "leave it in one of them")  # fmt: skip


def text_of_classes(classes):
    """Classes as the lines of a class file without comments; `classes_of_text` reads them. -> text"""
    lines = [_line(*row) for row in zip(classes.names, classes.colors, classes.values)]
    return "\n".join([*lines, f"{IGNORE} = {', '.join(classes.ignored)}"] if classes.ignored else lines)


def _line(name, color, values):
    return f"{name} #{bytes(color).hex()} = {', '.join(values)}"


def first_class_file(counts, field, is_las=False):
    """A class file to start from: a class for every value that was found. -> text

    counts: dict value (integer or word) -> points. field: where they were found, for the first comment. is_las: whether
    they are the standard's numbers of a .las file, which have names. -1 and 255 are ignored, as in most data sets.
    """
    if len(counts) > MOST_CLASSES:
        raise InputError(f"{field} holds {len(counts):,} values, too many for classes; name the field of the labels")
    rows, ignored, colors = [], [], iter(default_colors([None] * len(counts)))
    for value, points in sorted(counts.items(), key=lambda item: (isinstance(item[0], str), item[0])):
        name = _first_name(value, is_las)
        if name == IGNORE:
            ignored.append((str(value), points))
        else:
            rows.append((_line(name, next(colors), [str(value)]), f"{points:,} points"))
    if ignored:
        rows.append((f"{IGNORE} = {', '.join(value for value, _ in ignored)}",
                     f"{sum(points for _, points in ignored):,} points"))  # fmt: skip
    width = max(len(line) for line, _ in rows)
    return "\n".join([
        f"# Values found in {field}. A line a class: name, colour, = and the values that mean it (3, 64-70).",
        f"# Give the classes names; join values by writing them in one line. The line '{IGNORE} = ...' takes values",
        f"# that mean no class; the word {REST} among the values of a line means all that no line names.",
        *(f"{line:<{width}}  # {remark}" for line, remark in rows),
        "",
    ])  # fmt: skip


def _first_name(value, is_las):
    if isinstance(value, str):
        return value
    if value in (-1, UNLABELLED):
        return IGNORE
    return LAS_NAMES.get(value, f"class {value}") if is_las else f"class {value}"


def stored_classes(names, text, where):
    """The classes that a room or a checkpoint keeps. -> Classes

    names: by class number. text: what `text_of_classes` made of them, None in files that were written before classes
    could have colours of their own. ValueError where the two contradict each other or the text cannot be read.
    """
    names = tuple(names)
    if text is None:
        return S3DIS if names == CLASSES else Classes.named(names)
    if not isinstance(text, str) or len(text) > _LARGEST:
        raise ValueError("its classes are no text")
    try:
        classes = classes_of_text(text, where)
    except InputError as error:
        raise ValueError(f"its classes cannot be read: {error}") from error
    if classes.names != names:
        raise ValueError(f"it names its classes {', '.join(names)[:80]} and {', '.join(classes.names)[:80]}")
    return classes
