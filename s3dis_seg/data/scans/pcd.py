"""PCD files of the Point Cloud Library: ASCII, binary and binary_compressed, read in numpy without a change of type.

The format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
Letters: P points.
"""

import itertools
import re
import struct
from dataclasses import dataclass

import numpy as np

from s3dis_seg.files import InputError

_HEADER_SIZE = 1 << 16  # bytes; headers have about 200
_LINES_AT_ONCE = 100_000
_FORMS = ("ascii", "binary", "binary_compressed")
_KINDS = {
    "F": {"4": "<f4", "8": "<f8"},
    "I": {"1": "<i1", "2": "<i2", "4": "<i4", "8": "<i8"},
    "U": {"1": "<u1", "2": "<u2", "4": "<u4", "8": "<u8"},
}
_LZF_MOST = 88  # 3 bytes of LZF give at most 264
_PYTHON_IS_FASTER = 500_000  # bytes; below that, compiling the decompression takes longer than running it


@dataclass
class _Header:
    names: list
    kinds: list  # numpy type of every field
    counts: list  # values that a point has in every field
    points: int
    form: str
    lines: int  # of the header, for naming lines of the body

    def dtype(self):
        """One point as the binary form stores it, with names by place: names of a file may occur twice."""
        return np.dtype(
            [(str(place), kind, (count,)) for place, (kind, count) in enumerate(zip(self.kinds, self.counts))]
        )


def read(path):
    """Read a PCD file. -> dict of name -> (P,) array in the file's own types, None

    A field of several values becomes name_0, name_1, ...; packed colours (rgb, rgba) become red, green, blue (alpha).
    Raises InputError where the file is damaged, or holds fewer or more points than its header promises.
    """
    with open(path, "rb") as file:
        header = _read_header(path, file)
        read_body = {"ascii": _read_ascii, "binary": _read_binary, "binary_compressed": _read_compressed}[header.form]
        fields = read_body(path, file, header)
    return _columns(path, header, fields), None


def _read_header(path, file):
    start = file.read(_HEADER_SIZE)
    end = re.search(rb"^DATA[ \t]+\w+[ \t]*\r?\n", start, re.MULTILINE)
    if end is None:
        raise InputError(
            f"{path} is not a PCD file, or its header is damaged: it has no line 'DATA ...'; copy it again"
        )
    file.seek(end.end())
    lines = start[: end.end()].decode("latin-1").split("\n")[:-1]
    entries = {}
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split()
        if words and words[0] in entries:
            raise InputError(f"{path}, line {number}: {words[0]} is there twice; write the file again")
        if words:
            entries[words[0]] = words[1:]
    return _checked(path, entries, len(lines))


def _checked(path, entries, lines):
    missing = [word for word in ("FIELDS", "SIZE", "TYPE") if not entries.get(word)]
    if missing:
        raise InputError(f"{path} is not a PCD file that can be read: its header lacks {', '.join(missing)}")
    names, sizes, types = (entries[word] for word in ("FIELDS", "SIZE", "TYPE"))
    counts = [_number(path, "COUNT", word) for word in entries.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise InputError(
            f"{path} has {len(names)} FIELDS, {len(sizes)} SIZE, {len(types)} TYPE and {len(counts)} COUNT in its "
            "header, which must be as many; write the file again"
        )
    if not all(1 <= count <= 10_000 for count in counts):
        raise InputError(f"{path} has a COUNT of {min(counts)} to {max(counts)}; expected 1 to 10,000")
    unknown = [kind + size for kind, size in zip(types, sizes) if size not in _KINDS.get(kind, {})]
    if unknown:
        raise InputError(
            f"{path} has a field of TYPE and SIZE {unknown[0][:20]!r}; known are F4, F8, I1 to I8, U1 to U8"
        )
    form = entries["DATA"][0]
    if form not in _FORMS:
        raise InputError(f"{path} has DATA {form[:20]!r}; expected one of {', '.join(_FORMS)}")
    kinds = [_KINDS[kind][size] for kind, size in zip(types, sizes)]
    return _Header(names, kinds, counts, _points(path, entries), form, lines)


def _points(path, entries):
    """The number of points, which a header tells twice: WIDTH times HEIGHT, and POINTS."""
    told = {
        word: _number(path, word, " ".join(entries[word])) for word in ("WIDTH", "HEIGHT", "POINTS") if word in entries
    }
    area = told["WIDTH"] * told.get("HEIGHT", 1) if "WIDTH" in told else None
    points = told.get("POINTS", area)
    if points is None:
        raise InputError(f"{path} does not say how many points it has: its header lacks POINTS")
    if area not in (None, points):
        raise InputError(f"{path} contradicts itself: WIDTH times HEIGHT is {area:,}, POINTS is {points:,}")
    return points


def _number(path, word, text):
    if re.fullmatch("[0-9]{1,15}", text) is None:
        raise InputError(f"{path} has {word} {text[:20]!r} in its header; expected a whole number")
    return int(text)


def _cut_off(path, header, found):
    return InputError(
        f"{path} is cut off: its header promises {header.points:,} points, it holds {found:,}; copy it again"
    )


def _too_many(path, header):
    return InputError(f"{path} holds more than the {header.points:,} points that its header promises; write it again")


# --- bodies: each returns one (P, count) array a field ----------------------------------------------------------------


def _read_ascii(path, file, header):
    dtype = header.dtype()
    numbered = ((number, line) for number, line in enumerate(file, start=header.lines + 1) if not line.isspace())
    parts, found = [], 0
    while found < header.points:
        lines = list(itertools.islice(numbered, min(_LINES_AT_ONCE, header.points - found)))
        if not lines:
            raise _cut_off(path, header, found)
        parts.append(_parsed(path, lines, dtype))
        found += len(lines)
    if next(numbered, None) is not None:
        raise _too_many(path, header)
    table = np.concatenate(parts) if parts else np.empty(0, dtype)
    return [table[name] for name in dtype.names]


def _parsed(path, lines, dtype):
    """Lines with their numbers as a table; the first line that is no point is named."""
    flat = [(f"{name}_{place}", dtype[name].base) for name in dtype.names for place in range(dtype[name].shape[0])]
    try:
        table = _table([line for _, line in lines], flat)
    except (ValueError, OverflowError, DeprecationWarning) as error:
        for number, line in lines:
            try:
                _table([line], flat)
            except (ValueError, OverflowError, DeprecationWarning):
                shown = line[:60].decode("latin-1").strip()
                raise InputError(
                    f"{path}, line {number}: found {shown!r}; expected {len(flat)} numbers as the header says"
                ) from error
        raise InputError(f"{path} has lines that are no points: {str(error).splitlines()[0]}") from error
    return table.view(dtype)


def _table(lines, flat):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns of 1.5 where a whole number is expected
        return np.loadtxt(lines, np.dtype(flat), comments=None, ndmin=1, encoding="latin-1")


def _read_binary(path, file, header):
    start, dtype = file.tell(), header.dtype()
    size = file.seek(0, 2) - start
    if size < header.points * dtype.itemsize:
        raise _cut_off(path, header, size // dtype.itemsize)
    file.seek(start + header.points * dtype.itemsize)
    if file.read(dtype.itemsize).strip(b"\0\r\n "):
        raise _too_many(path, header)
    table = np.memmap(path, dtype, "r", start, (header.points,)) if header.points else np.empty(0, dtype)
    return [table[name] for name in dtype.names]


def _read_compressed(path, file, header):
    sizes = file.read(8)
    packed_size, size = struct.unpack("<II", sizes) if len(sizes) == 8 else (0, 0)
    expected = header.points * header.dtype().itemsize
    if size != expected or size > _LZF_MOST * packed_size:
        raise InputError(f"{path} is damaged: {header.points:,} points take {expected:,} bytes, it says that it holds "
                         f"{size:,} bytes, compressed to {packed_size:,}; copy it again")  # fmt: skip
    packed = np.fromfile(file, np.uint8, packed_size)
    if len(packed) < packed_size:
        raise InputError(
            f"{path} is cut off: it has {len(packed):,} of {packed_size:,} compressed bytes; copy it again"
        )
    content = decompress(packed, size)
    if content is None:
        raise InputError(f"{path} is damaged: its points cannot be decompressed; copy it again")
    fields, start = [], 0
    for kind, count in zip(header.kinds, header.counts):
        values = content[start : start + header.points * count * np.dtype(kind).itemsize]
        fields.append(values.view(kind).reshape(header.points, count))
        start += len(values)
    return fields


def decompress(packed, size):
    """Undo LZF compression (as in liblzf). (n,) uint8 -> (size,) uint8, None where the bytes do not give that many."""
    if size < _PYTHON_IS_FASTER:
        content = bytearray(size)
        return np.frombuffer(content, np.uint8) if _decompress(packed.tobytes(), content) else None
    try:
        from numba import njit
    except ImportError:
        content = bytearray(size)
        return np.frombuffer(content, np.uint8) if _decompress(packed.tobytes(), content) else None
    content = np.zeros(size, np.uint8)
    return content if njit(_decompress)(packed, content) else None


def _decompress(packed, content):
    """Fill `content`; whether that was possible. Runs in Python and is compiled by numba, hence the plain loops."""
    here, there, end, full = 0, 0, len(packed), len(content)
    while here < end:
        control = int(packed[here])
        here += 1
        if control < 32:  # so many bytes and one more as they are
            length = control + 1
            if here + length > end or there + length > full:
                return False
            for _ in range(length):
                content[there] = packed[here]
                there += 1
                here += 1
            continue
        length = control >> 5  # a copy of earlier bytes
        if length == 7:
            if here >= end:
                return False
            length += int(packed[here])
            here += 1
        if here >= end:
            return False
        source = there - ((control & 31) << 8) - int(packed[here]) - 1
        here += 1
        length += 2
        if source < 0 or there + length > full:
            return False
        for _ in range(length):
            content[there] = content[source]
            there += 1
            source += 1
    return there == full


# --- columns ----------------------------------------------------------------------------------------------------------


def _columns(path, header, fields):
    columns = {}
    for name, values in zip(header.names, fields):
        if name == "_":  # how the Point Cloud Library calls bytes without a meaning
            continue
        for new, column in _named(header, name, values).items():
            if new in columns:
                raise InputError(f"{path} has two fields called {new[:40]!r}; give one of them another name")
            columns[new] = column
    return columns


def _named(header, name, values):
    packed = name in ("rgb", "rgba") and values.shape[1] == 1 and values.dtype.itemsize == 4
    if packed and not {"red", "green", "blue"} & set(header.names):
        if header.form == "ascii" and values.dtype.kind == "f":
            # Opaque packed colours are NaN when read as floats, and text says no more than that: no colour is left.
            values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
        bits = np.ascontiguousarray(values[:, 0]).view("<u4")
        shifts = {"red": 16, "green": 8, "blue": 0} | ({"alpha": 24} if name == "rgba" else {})
        return {color: (bits >> shift).astype(np.uint8) for color, shift in shifts.items()}
    if values.shape[1] == 1:
        return {name: values[:, 0]}
    return {f"{name}_{place}": values[:, place] for place in range(values.shape[1])}
