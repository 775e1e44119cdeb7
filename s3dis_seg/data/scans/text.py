"""Tables of text (.txt, .xyz, .csv, .asc, .pts) in the dialects that scanning programs write.

Comments (# or //), empty lines and a line of names may come first, the names also behind a comment mark, as
CloudCompare writes them; so may a count of points (.pts). Numbers are separated by spaces, tabs, commas or semicolons,
and may have a decimal comma.
Letters: P points.
"""

import itertools
import mmap
import os
import re
import warnings
from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.scans.tables import columns_by_place, names_by_place, unique, whole_as_integers
from s3dis_seg.files import InputError

_XYZ = ("x", "y", "z")
_LONGEST = 65_536  # bytes of a line, and of all lines up to the first point
_ROWS_AT_ONCE = 250_000  # points written at a time
# Separator (None: any spaces or tabs) and decimal mark, in the order in which they are tried on the first point.
_DIALECTS = ((";", "."), (";", ","), ("\t", "."), ("\t", ","), (",", "."), (None, "."), (None, ","))


@dataclass(frozen=True)
class _Layout:
    """How a file is to be read.

    skip: lines before the first point. names: of the columns, [] where the file has none.
    count: of the points, where the first line tells it, otherwise None.
    """

    encoding: str
    skip: int
    separator: str | None
    decimal: str
    names: list
    count: int | None


def read(path):
    """Read a table of numbers. -> columns (name -> (P,) array, whole numbers as int32, others float64), None

    Raises InputError where a line is no list of numbers or the columns cannot be told.
    """
    _refuse_long_lines(path)
    layout = _layout(path)
    if layout is None:
        return {axis: np.empty(0) for axis in _XYZ}, None
    table, counts = _table(path, layout)
    promised = layout.count + sum(counts) if layout.count is not None else len(table)
    if promised != len(table):
        raise InputError(
            f"{path} is cut off or damaged: its first line promises {promised:,} points, it holds {len(table):,}; "
            "copy it again"
        )
    if layout.names:
        columns = {name: table[:, place] for place, name in enumerate(layout.names)}
    else:
        columns = columns_by_place(path, table, _intensity_first(path, layout.count))
    # Coordinates stay float64, also where all are whole.
    return {name: values if name in _XYZ else whole_as_integers(values) for name, values in columns.items()}, None


def write(path, columns, source=None):
    """Write a line of names and one line a point: separated by commas in .csv, otherwise by spaces.

    Numbers have the shortest digits that read back as the same numbers; true and false become 1 and 0. What would
    break the line of names (spaces, separators, quotes) becomes _ in a name. `source` is not needed.
    """
    separator = "," if path.suffix.lower() == ".csv" else " "
    columns = dict(zip(unique([_plain_name(name) for name in columns]), columns.values()))
    with open(path, "wb") as file:
        file.write((separator.join(columns) + "\n").encode())
        for start in range(0, len(next(iter(columns.values()))), _ROWS_AT_ONCE):
            rows = {name: values[start : start + _ROWS_AT_ONCE] for name, values in columns.items()}
            file.write(_rows_as_text(rows, separator))


def _plain_name(name):
    valid = name.encode(errors="replace").decode()  # lone surrogates become ?
    return re.sub(r"[\s,;\"'#]+", "_", valid) or "_"


def _rows_as_text(rows, separator):
    import polars

    frame = polars.DataFrame({name: _printable(values) for name, values in rows.items()})
    return frame.write_csv(include_header=False, separator=separator).encode()


def _printable(values):
    """An array of a type that polars writes as numbers, in one piece and in the byte order of this machine."""
    kind = {"b1": "u1", "f2": "f4"}.get(values.dtype.str[1:], values.dtype.newbyteorder("="))
    return np.ascontiguousarray(values, dtype=kind)


# --- what the first lines say -----------------------------------------------------------------------------------------


def _layout(path):
    """-> _Layout, or None where there are no points"""
    encoding, lines = _first_lines(path)
    above, count = [], None  # filled lines above the first point
    for place, line in enumerate(lines):
        numbers = re.split("#|//", line)[0]
        separator, decimal = _dialect(numbers)
        if decimal:
            width = len(_words(numbers, separator))
            if separator != "," and any("," in other for other in lines[place:] if not _is_comment(other)):
                decimal = ","
            names = _names(path, above, separator, width)
            if not names:
                names_by_place(path, width, _intensity_first(path, count))  # refuses before the table is read
            return _Layout(encoding, place, separator, decimal, names, count)
        if count is None and re.fullmatch(r"\s*[0-9]{1,18}\s*", line):
            count = int(line)
        elif line.strip():
            above.append(line)
    plain = [line for line in above if not _is_comment(line)]
    if plain and not any(_has_xyz(_header_words(line, mark)) for line in above for mark in (None, ",", ";", "\t")):
        raise InputError(
            f"{path} is not a table of numbers: it begins with {plain[0].strip()[:40]!r}; "
            "expected lines such as 'x y z r g b'"
        )
    if os.path.getsize(path) > _LONGEST:
        raise InputError(f"{path} has no point in its first {_LONGEST:,} bytes; shorten what stands above the points")
    return None


def _refuse_long_lines(path):
    """Raise InputError where a line is too long for points: numpy takes many times its size to read it."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 0
        while len(data) - start > _LONGEST:
            stop = start + _LONGEST
            end = max(data.rfind(b"\n", start, stop), data.rfind(b"\r", start, stop))
            if end < 0:
                raise InputError(
                    f"{path} is not a table of numbers: it has a line of more than {_LONGEST:,} bytes; "
                    "expected lines such as 'x y z r g b'"
                )
            start = end + 1


def _first_lines(path):
    """The encoding, and the lines that fit into the first 64 KiB."""
    with open(path, "rb") as file:
        head = file.read(_LONGEST)
    if os.path.getsize(path) > len(head):
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r"))]
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError:
        encoding, text = "latin-1", head.decode("latin-1")
    return encoding, re.split("\r\n|\n|\r", text)


def _dialect(line):
    """Separator and decimal mark of a line of numbers; (None, "") where it is none. One number alone is none."""
    for separator, decimal in _DIALECTS:
        words = _words(line, separator)
        if len(words) > 1 and all(_is_number(word.replace(decimal, ".")) for word in words):
            return separator, decimal
    return None, ""


def _words(line, separator):
    return [word.strip() for word in line.strip(" \r\n").split(separator)]


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_comment(line):
    return line.lstrip().startswith(("#", "//"))


def _has_xyz(names):
    return set(_XYZ) <= {name.lower() for name in names}


def _names(path, above, separator, width):
    """Names of the columns in the lines above the first point. -> list of `width` names, or [] where there are none"""
    plain = [line for line in above if not _is_comment(line)]
    for line in reversed(above):
        for mark in (separator, None):
            names = _header_words(line, mark)
            if len(names) == width and (_has_xyz(names) or not _is_comment(line)):
                if plain and plain[-1] in above[above.index(line) + 1 :]:  # perhaps a damaged point
                    raise InputError(
                        f"{path} has {plain[-1].strip()[:40]!r} between the names of its columns and its first point; "
                        "correct or remove that line"
                    )
                return unique([name.lower() if name in ("X", "Y", "Z") else name for name in names])
    if plain:
        found = len(_header_words(plain[-1], separator))
        raise InputError(
            f"{path} has {found} names in its first line and {width} numbers in the next; "
            "name every column, or begin a line that holds no names with #"
        )
    return []


def _header_words(line, separator):
    """What may be names, without comment mark and quotes."""
    words = [word.strip(" \t\"'") for word in _words(line.strip().lstrip("#/").strip(), separator)]
    words = [re.sub(r"^([XYZxyz]) ?[\[(].*[\])]$", r"\1", word) for word in words]  # X [m]
    return words[:-1] if words[-1:] == [""] else words


def _intensity_first(path, count):
    return count is not None or path.suffix.lower() == ".pts"


# --- the table --------------------------------------------------------------------------------------------------------


def _table(path, layout):
    """All numbers. -> (P, number of columns) float64, counts of points that stand between them"""
    try:
        return _loaded(path, layout, "#"), []
    except ValueError as error:
        if layout.count is not None and "number of columns changed" in str(error):
            return _several(path, layout)
        if not _contains(path, b"//"):
            raise _no_table(path, error) from error
    try:
        return _loaded(path, layout, ("#", "//")), []  # three times as slow, for comments between the points
    except ValueError as error:
        raise _no_table(path, error) from error


def _several(path, layout):
    """Several scans in a .pts file of Leica, each with its count before it. -> as `_table`"""
    counts = []

    def points(file):
        for line in itertools.islice(file, layout.skip, None):
            if re.fullmatch(r"\s*[0-9]{1,18}\s*", line):
                counts.append(int(line))
            else:
                yield line.replace(layout.decimal, ".")

    try:
        with open(path, encoding=layout.encoding) as file:
            table = np.loadtxt(points(file), np.float64, comments="#", delimiter=layout.separator, ndmin=2)
    except ValueError as error:
        raise _no_table(path, error) from error
    return table, counts


def _loaded(path, layout, comments):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="loadtxt: input contained no data")
        options = {"comments": comments, "delimiter": layout.separator, "ndmin": 2}
        if layout.decimal == ".":
            return np.loadtxt(path, np.float64, skiprows=layout.skip, encoding=layout.encoding, **options)
        with open(path, encoding=layout.encoding) as file:
            lines = (line.replace(",", ".") for line in itertools.islice(file, layout.skip, None))
            return np.loadtxt(lines, np.float64, **options)


def _contains(path, mark):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(mark) >= 0


def _no_table(path, error):
    said = " ".join(str(error).split(";")[0].split())[:200]
    return InputError(f"{path} is not a table of numbers: {said}; expected lines such as 'x y z r g b'")
