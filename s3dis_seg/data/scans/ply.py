"""PLY files, kept word for word: the header as its lines, the vertices as columns, every other element as its bytes.

plyfile is not used: it takes 7 s to read and 22 s to write a million ASCII points, makes a Python object of every face,
moves comments, and takes a damaged header at its word.
Letters: P points.
"""

import itertools
import mmap
import re
import warnings
from dataclasses import dataclass, field

import numpy as np

from s3dis_seg.files import InputError

ROWS_AT_ONCE = 250_000  # points written at a time
_LINES_AT_ONCE = 1000  # looked at together for one that is no row
_HEADER_SIZE = 1 << 20  # bytes; headers have a few hundred
_BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
          "f4": "float32", "f8": "float64"}  # fmt: skip
_SPELLINGS = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
              "float": "f4", "double": "f8"} | {long: short for short, long in _TYPES.items()}  # fmt: skip


@dataclass
class PlyFile:
    """What a PLY file holds. `lines` is the header without its line ends, from "ply" to "end_header"."""

    lines: list
    columns: dict  # property of the vertices -> (P,) array, in the file's own type and order
    text: bool = False
    byte_order: str = "<"
    newline: bytes = b"\n"
    before: memoryview = field(default=memoryview(b""), repr=False)  # elements that come before the vertices
    after: memoryview = field(default=memoryview(b""), repr=False)  # ... and after them, such as faces
    mapped: mmap.mmap | None = field(default=None, repr=False)  # of a binary file: what the columns are views of


def read(path):
    """Read a PLY file, ASCII or binary of either byte order. -> columns (name -> (P,) array), PlyFile

    Columns of a binary file are views of the mapped file.

    Raises InputError where the file is no PLY, is cut off, or has no vertices with plain properties.
    """
    with open(path, "rb") as file:
        if not file.read(1):
            raise InputError(f"{path} is empty (0 bytes); copy it again from where it came from")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        lines, newline, start = _header_lines(path, data)
        form, elements = _parsed(path, lines)
        names = [element.name for element in elements]
        if "vertex" not in names:
            listed = ", ".join(names)[:200] or "nothing"
            raise InputError(f"{path} has no element 'vertex', only {listed}: no points to read")
        byte_order = _BYTE_ORDERS[form]
        vertex_type = _vertex_type(path, elements, byte_order)
        if form == "ascii":
            columns, before, after = _read_text(path, file, data, start, elements, vertex_type)
        else:
            columns, before, after = _read_binary(path, data, start, elements, vertex_type, byte_order)
    mapped = None if form == "ascii" else data
    return columns, PlyFile(lines, columns, form == "ascii", byte_order, newline, before, after, mapped)


def write(path, columns, source=None):
    """Write the vertices `columns` (name -> (P,) array); everything else as in `source`, the PlyFile that
    `read` gave, where there is one.

    Without `source`: binary, little endian, vertices only.
    """
    like = source
    if like is None:
        like = PlyFile(["ply", "format binary_little_endian 1.0", "element vertex 0", "end_header"], {})
    columns = {_ply_name(name): array for name, array in columns.items()}
    types = {name: _ply_type(array) for name, array in columns.items()}
    count = len(next(iter(columns.values())))
    header = _new_header(like.lines, types, count)
    write_rows = _write_text if like.text else _write_binary
    with open(path, "wb") as file:
        file.write(b"".join(line.encode("latin-1") + like.newline for line in header))
        file.write(like.before)
        for start in range(0, count, ROWS_AT_ONCE):
            rows = {name: array[start : start + ROWS_AT_ONCE] for name, array in columns.items()}
            write_rows(file, rows, types, like)
        file.write(like.after)


def _header_lines(path, data):
    start = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data[:64])
    if start is None:
        raise InputError(f"{path} is not a PLY file: it begins with {bytes(data[:16])!r} instead of 'ply'")
    newline = start[1]
    end = re.compile(b"(?:\r\n|\n|\r)end_header[ \t]*" + newline).search(data[:_HEADER_SIZE])
    if end is None:
        raise InputError(
            f"{path} is cut off or damaged: its header has no 'end_header' in its first megabyte; copy it again"
        )
    return bytes(data[: end.end()]).decode("latin-1").split(newline.decode())[:-1], newline, end.end()


@dataclass
class _Property:
    name: str
    kind: str  # numpy type without byte order
    length: str | None = None  # type of the length of a list, None where it is a single value


@dataclass
class _Element:
    name: str
    count: int
    properties: list = field(default_factory=list)

    def lists(self):
        return [item for item in self.properties if item.length is not None]

    def dtype(self, byte_order):
        """One row of an element without lists."""
        return np.dtype([(item.name, byte_order + item.kind) for item in self.properties])


def _parsed(path, lines):
    """The header as form ("ascii", ...) and list of elements. InputError for a line that is no PLY."""
    form, elements = None, []
    for number, line in enumerate(lines[1:-1], start=2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _BYTE_ORDERS and form is None:
            form = words[1]
        elif words[0] == "element" and len(words) == 3 and re.fullmatch("[0-9]{1,15}", words[2]):
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and elements and _property(words) is not None:
            elements[-1].properties.append(_property(words))
        else:
            raise InputError(f"{path} has a PLY header that cannot be read: line {number} is {line[:60]!r}; "
                             "write it again as plain PLY")  # fmt: skip
    if form is None:
        raise InputError(f"{path} has a PLY header that cannot be read: it lacks the line 'format ...'")
    _refuse_doubles(path, [element.name for element in elements], "elements")
    for element in elements:
        _refuse_doubles(path, [item.name for item in element.properties], f"properties of '{element.name[:40]}'")
        if element.count and not element.properties:
            raise InputError(f"{path}: element '{element.name[:40]}' has rows but no properties; write it again")
    return form, elements


def _property(words):
    """A line of the header as a property, None where it is none."""
    if len(words) == 3 and words[1] in _SPELLINGS:
        return _Property(words[2], _SPELLINGS[words[1]])
    if len(words) == 5 and words[1] == "list" and words[2] in _SPELLINGS and words[3] in _SPELLINGS:
        length = _SPELLINGS[words[2]]
        return None if length.startswith("f") else _Property(words[4], _SPELLINGS[words[3]], length)
    return None


def _refuse_doubles(path, names, what):
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise InputError(f"{path} has two {what} called {doubled[0][:40]!r}; give one of them another name")


def _vertex_type(path, elements, byte_order):
    vertex = next(element for element in elements if element.name == "vertex")
    for item in vertex.lists():
        raise InputError(
            f"{path}: the points have a list property '{item.name}', which cannot be kept; remove it first"
        )
    return vertex.dtype(byte_order)


def _cut_off(path, name, found, expected):
    return InputError(
        f"{path} is cut off: its header promises {expected:,} rows of '{name}', it holds {found:,}; copy it again"
    )


# --- binary -----------------------------------------------------------------------------------------------------------


def _read_binary(path, data, start, elements, vertex_type, byte_order):
    position, first, count = start, start, 0
    for element in elements:
        rows, size = _size_of(path, data, position, element, byte_order)
        if rows < element.count:
            raise _cut_off(path, element.name, rows, element.count)
        if element.name == "vertex":
            first, count = position, element.count
        position += size
    if data[position : position + 1000].strip(b"\0\r\n\t "):
        raise _too_many(path)
    last = first + count * vertex_type.itemsize
    vertices = np.frombuffer(data, vertex_type, count, first) if count else np.empty(0, vertex_type)
    columns = {name: vertices[name] for name in vertex_type.names or ()}
    view = memoryview(data)
    return columns, view[start:first], view[last:]


def _too_many(path):
    return InputError(f"{path} goes on after the last row that its header promises; write it again as plain PLY")


def _size_of(path, data, position, element, byte_order):
    """How many of the rows of an element are there and what they take. -> rows, bytes."""
    left, count = len(data) - position, element.count
    if count == 0:
        return 0, 0
    if not element.lists():
        row = element.dtype(byte_order).itemsize
        return min(count, left // row), count * row
    row, lengths = _row_like_first(data, position, element, byte_order)
    if row is not None and count * row <= left:
        rows = np.frombuffer(data, lengths, count, position)
        if all((rows[name] == rows[name][0]).all() for name in lengths.names):
            return count, count * row
    return _walk(path, data, position, element, byte_order)


def _row_like_first(data, position, element, byte_order):
    """A row type in which every list is as long as in the first row: all rows of a triangle mesh are like that."""
    offset, names, types, offsets = 0, [], [], []
    for item in element.properties:
        size = np.dtype(item.kind).itemsize
        if item.length is None:
            offset += size
            continue
        length = np.dtype(byte_order + item.length)
        if position + offset + length.itemsize > len(data):
            return None, None
        many = int(np.frombuffer(data, length, 1, position + offset)[0])
        names.append(item.name)
        types.append(length)
        offsets.append(offset)
        offset += length.itemsize + size * many
        if many < 0 or position + offset > len(data):
            return None, None
    return offset, np.dtype({"names": names, "formats": types, "offsets": offsets, "itemsize": offset})


def _walk(path, data, position, element, byte_order):
    """Row by row through an element whose lists differ in length. -> complete rows, their bytes."""
    order = "big" if byte_order == ">" else "little"
    steps = [
        (
            np.dtype(item.length).itemsize if item.length else 0,
            np.dtype(item.kind).itemsize,
            (item.length or "")[:1] == "i",
        )
        for item in element.properties
    ]
    here, end = position, len(data)
    for row in range(element.count):
        stop = here
        for length_size, value_size, signed in steps:
            many = int.from_bytes(data[stop : stop + length_size], order, signed=signed) if length_size else 1
            if many < 0:
                raise InputError(f"{path} is damaged: row {row + 1:,} of '{element.name[:40]}' has a list of {many:,} "
                                 "values; copy it again")  # fmt: skip
            stop += length_size + many * value_size
            if stop > end:
                return row, here - position
        here = stop
    return element.count, here - position


def _write_binary(file, rows, types, like):
    dtype = np.dtype([(name, like.byte_order + kind) for name, kind in types.items()])
    packed = np.empty(len(next(iter(rows.values()))), dtype)
    for name, values in rows.items():
        packed[name] = values
    file.write(memoryview(packed).cast("B") if len(packed) else b"")


# --- ASCII ------------------------------------------------------------------------------------------------------------


def _read_text(path, file, data, start, elements, vertex_type):
    file.seek(start)
    columns, first, last = None, start, start
    for element in elements:
        count = element.count
        if element.name != "vertex":
            found = sum(1 for _ in itertools.islice(_filled(file), count))
            if found < count:
                raise _cut_off(path, element.name, found, count)
            continue
        first = file.tell()
        vertices = _rows_of_text(path, file, vertex_type, count)
        last = file.tell()
        if len(vertices) < count:
            raise _cut_off(path, "vertex", len(vertices), count)
        columns = {name: vertices[name] for name in vertex_type.names or ()}
    if next(_filled(file), None) is not None:
        raise _too_many(path)
    filled = [element for element in elements if element.count]
    if filled and data[len(data) - 1 :] not in (b"\n", b"\r") and _last_line_short(data, filled[-1]):
        raise InputError(f"{path} is cut off in its last line; copy it again")
    view = memoryview(data)
    return columns, view[start:first], view[last:]


def _filled(file):
    """Lines that hold something. readline, not iteration: the place in the file must stay known."""
    return (line for line in iter(file.readline, b"") if not line.isspace())


def _rows_of_text(path, file, dtype, count):
    """The next `count` filled lines of a file as rows. -> structured array; InputError naming the first that is none"""
    start = file.tell()
    lines = itertools.islice(_filled(file), count)
    first = list(itertools.islice(lines, 1))
    if not first:
        return np.empty(0, dtype)
    try:
        return _parsed_rows(itertools.chain(first, lines), dtype)
    except (ValueError, OverflowError, Warning) as error:
        said = _first_bad_line(file, start, dtype, count) or " ".join(str(error).split())[:200]
        raise InputError(f"{path} is cut off or damaged among its {count:,} points: {said}; copy it again") from error


def _parsed_rows(lines, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numbers that numpy would only grumble about, such as 1.5 in a uchar
        return np.loadtxt(lines, dtype, comments=None, ndmin=1, encoding="latin-1")


def _first_bad_line(file, start, dtype, count):
    """The first line from `start` on that is no row, with its number in the file, in words. "" where none is alone."""
    file.seek(0)
    above = file.read(start).count(b"\n")
    numbered = enumerate(iter(file.readline, b""), start=above + 1)
    filled = itertools.islice(((number, line) for number, line in numbered if not line.isspace()), count)
    while lines := list(itertools.islice(filled, _LINES_AT_ONCE)):
        if _are_rows([line for _, line in lines], dtype):
            continue
        for number, line in lines:
            if not _are_rows([line], dtype):
                shown = line[:60].decode("latin-1").strip()
                return f"line {number} is {shown!r}; expected {len(dtype.names or ())} numbers"
    return ""


def _are_rows(lines, dtype):
    try:
        _parsed_rows(lines, dtype)
    except (ValueError, OverflowError, Warning):
        return False
    return True


def _last_line_short(data, element):
    """Whether the last line, which has no line end, lacks numbers: a copy that broke off there."""
    words = bytes(data[data.rfind(b"\n") + 1 :]).split()
    place = 0
    for item in element.properties:
        if place >= len(words):
            return True
        if item.length is None:
            place += 1
        elif re.fullmatch(rb"[0-9]{1,9}", words[place]):
            place += 1 + int(words[place])
        else:
            return True
    return place > len(words)


def _write_text(file, rows, types, like):
    file.write(text_of({name: values.astype(types[name]) for name, values in rows.items()}, " ", like.newline.decode()))


def text_of(rows, separator, newline="\n"):
    """Rows of a table (name -> array) as text, with the shortest digits that read back as the same numbers. -> bytes"""
    import polars

    frame = polars.DataFrame({name: np.ascontiguousarray(values) for name, values in rows.items()})
    return frame.write_csv(include_header=False, separator=separator, line_terminator=newline).encode()


# --- header -----------------------------------------------------------------------------------------------------------


def _ply_name(name):
    """A property's name has no spaces and only ASCII letters; those of tables may."""
    return re.sub(r"[^!-~]+", "_", name)


def _ply_type(array):
    """The PLY type that holds an array. PLY has no 64-bit integers and no half floats: those become float64."""
    kind = array.dtype.str[1:]
    return {"b1": "u1", "f2": "f4"}.get(kind, kind if kind in _TYPES else "f8")


def _new_header(lines, types, count):
    """The lines of a header with the vertices' count and properties changed, all others word for word."""
    properties, result, inside, at = {}, [], False, 0
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            inside = words[1] == "vertex"
            if inside:
                line, at = f"element vertex {count}", len(result) + 1
        elif inside and words[:1] == ["property"]:
            properties[words[-1]] = words[1]
            continue
        result.append(line)
        # Comments may stand between the properties; those come first, which keeps the properties together.
        if inside and words[:1] == ["comment"]:
            at = len(result)
    added = []
    for name, kind in types.items():
        spelled = properties.get(name)
        added.append(f"property {spelled if _SPELLINGS.get(spelled) == kind else _TYPES[kind]} {name}")
    return result[:at] + added + result[at:]
