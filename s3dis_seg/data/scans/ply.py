"""PLY files, kept word for word: the header as its lines, the vertices as columns, every other element as its bytes.

plyfile reads the header. The bodies are read and written here: plyfile takes 7 s to read and 22 s to write a million
ASCII points, makes a Python object of every face, and moves comments.
Letters: P points.
"""

import io
import itertools
import mmap
import re
import warnings
from dataclasses import dataclass, field

import numpy as np

from s3dis_seg.files import InputError

ROWS_AT_ONCE = 250_000  # points written at a time
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
        header, counts = _parsed(path, lines)
        if "vertex" not in header:
            raise InputError(
                f"{path} has no element 'vertex', only {', '.join(counts) or 'nothing'}: no points to read"
            )
        read_body = _read_text if header.text else _read_binary
        columns, before, after = read_body(path, file, data, start, header, counts)
    return columns, PlyFile(lines, columns, header.text, header.byte_order, newline, before, after)


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
    end = re.compile(b"(?:\r\n|\n|\r)end_header[ \t]*" + newline).search(data)
    if end is None:
        raise InputError(f"{path} is cut off or damaged: its header has no 'end_header'; copy it again")
    return bytes(data[: end.end()]).decode("latin-1").split(newline.decode())[:-1], newline, end.end()


def _parsed(path, lines):
    """The header as plyfile sees it, emptied of points, and how many rows each element should have."""
    import plyfile

    counts, empty = {}, []
    for line in lines:
        words = line.split()
        if words[:1] == ["element"] and len(words) == 3 and words[2].isdigit():
            counts[words[1]] = int(words[2])
            line = f"element {words[1]} 0"
        # plyfile takes no letters beyond ASCII, which the comments of real files do contain.
        empty.append("comment" if words[:1] in (["comment"], ["obj_info"]) else line.rstrip())
    try:
        return plyfile.PlyData.read(io.BytesIO("\n".join([*empty, ""]).encode("ascii"))), counts
    except (plyfile.PlyParseError, ValueError) as error:
        raise InputError(
            f"{path} has a PLY header that cannot be read: {error}; write it again as plain PLY"
        ) from error


def _vertex_type(path, header):
    for item in header["vertex"].properties:
        if hasattr(item, "list_dtype"):
            raise InputError(
                f"{path}: the points have a list property '{item.name}', which cannot be kept; remove it first"
            )
    return header["vertex"].dtype(header.byte_order)


def _cut_off(path, name, found, expected):
    return InputError(
        f"{path} is cut off: its header promises {expected:,} rows of '{name}', it holds {found:,}; copy it again"
    )


# --- binary -----------------------------------------------------------------------------------------------------------


def _read_binary(path, file, data, start, header, counts):
    vertex_type = _vertex_type(path, header)
    position, places = start, {}
    for element in header:
        rows, size = _size_of(data, position, element, counts[element.name], header.byte_order)
        if rows < counts[element.name]:
            raise _cut_off(path, element.name, rows, counts[element.name])
        places[element.name] = position
        position += size
    first = places["vertex"]
    last = first + counts["vertex"] * vertex_type.itemsize
    vertices = np.frombuffer(data, vertex_type, counts["vertex"], first) if last > first else np.empty(0, vertex_type)
    columns = {name: vertices[name] for name in vertex_type.names}
    view = memoryview(data)
    return columns, view[start:first], view[last:]


def _size_of(data, position, element, count, byte_order):
    """How many of the `count` rows are there and what they take. -> rows, bytes."""
    left = len(data) - position
    lists = [item for item in element.properties if hasattr(item, "list_dtype")]
    if not lists:
        row = element.dtype(byte_order).itemsize
        return (count if row == 0 else min(count, left // row)), count * row
    row, lengths = _row_like_first(data, position, element, byte_order)
    if row is not None and count * row <= left:
        rows = np.frombuffer(data, lengths, count, position)
        if all((rows[name] == rows[name][0]).all() for name in lengths.names):
            return count, count * row
    return _walk(data, position, element, count, byte_order)


def _row_like_first(data, position, element, byte_order):
    """A row type in which every list is as long as in the first row: all rows of a triangle mesh are like that."""
    offset, names, types, offsets = 0, [], [], []
    for item in element.properties:
        if not hasattr(item, "list_dtype"):
            offset += np.dtype(item.dtype(byte_order)).itemsize
            continue
        length, value = map(np.dtype, item.list_dtype(byte_order))
        if position + offset + length.itemsize > len(data):
            return None, None
        names.append(item.name)
        types.append(length)
        offsets.append(offset)
        offset += length.itemsize + value.itemsize * int(np.frombuffer(data, length, 1, position + offset)[0])
    return offset, np.dtype({"names": names, "formats": types, "offsets": offsets, "itemsize": offset})


def _walk(data, position, element, count, byte_order):
    """Row by row through an element whose lists differ in length. -> complete rows, their bytes."""
    steps = []
    for item in element.properties:
        if hasattr(item, "list_dtype"):
            length, value = map(np.dtype, item.list_dtype(byte_order))
            order = "little" if byte_order == "<" else "big"
            steps.append((length.itemsize, value.itemsize, order))
        else:
            steps.append((0, np.dtype(item.dtype(byte_order)).itemsize, ""))
    here, end = position, len(data)
    for row in range(count):
        stop = here
        for length_size, value_size, order in steps:
            many = int.from_bytes(data[stop : stop + length_size], order) if length_size else 1
            stop += length_size + many * value_size
        if stop > end:
            return row, here - position
        here = stop
    return count, here - position


def _write_binary(file, rows, types, like):
    dtype = np.dtype([(name, like.byte_order + kind) for name, kind in types.items()])
    packed = np.empty(len(next(iter(rows.values()))), dtype)
    for name, values in rows.items():
        packed[name] = values
    file.write(memoryview(packed).cast("B") if len(packed) else b"")


# --- ASCII ------------------------------------------------------------------------------------------------------------


def _read_text(path, file, data, start, header, counts):
    vertex_type = _vertex_type(path, header).newbyteorder("=")
    file.seek(start)
    columns, first, last = None, start, start
    for element in header:
        count = counts[element.name]
        if element.name != "vertex":
            found = sum(1 for _ in itertools.islice(_filled(file), count))
            if found < count:
                raise _cut_off(path, element.name, found, count)
            continue
        first = file.tell()
        vertices = _rows_of_text(path, itertools.islice(_filled(file), count), vertex_type, count)
        last = file.tell()
        if len(vertices) < count:
            raise _cut_off(path, "vertex", len(vertices), count)
        columns = {name: vertices[name] for name in vertex_type.names}
    if any(counts.values()) and data[len(data) - 1 :] not in (b"\n", b"\r") and _last_line_short(data, header, counts):
        raise InputError(f"{path} is cut off in its last line; copy it again")
    view = memoryview(data)
    return columns, view[start:first], view[last:]


def _filled(file):
    """Lines that hold something. readline, not iteration: the place in the file must stay known."""
    return (line for line in iter(file.readline, b"") if not line.isspace())


def _rows_of_text(path, lines, dtype, count):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numbers that numpy would only grumble about, such as 1.5 in a uchar
            first = list(itertools.islice(lines, 1))
            if not first:
                return np.empty(0, dtype)
            return np.loadtxt(itertools.chain(first, lines), dtype, comments=None, ndmin=1, encoding="latin-1")
    except (ValueError, OverflowError, Warning) as error:
        raise InputError(f"{path} is cut off or damaged among its {count:,} points: {error}") from error


def _last_line_short(data, header, counts):
    """Whether the last line, which has no line end, lacks numbers: a copy that broke off there."""
    words = bytes(data[data.rfind(b"\n") + 1 :]).split()
    place = 0
    for item in [element for element in header if counts[element.name]][-1].properties:
        if place >= len(words):
            return True
        place += 1 + (int(float(words[place])) if hasattr(item, "list_dtype") else 0)
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
