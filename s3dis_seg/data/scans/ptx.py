"""PTX files of Leica and others: one or several scans, each a grid of points with the pose of its scanner.

A scan has ten lines before its points: columns, rows, the place of the scanner, its three axes, and a matrix of four
lines, which the row (x, y, z, 1) is multiplied by. A point is `x y z intensity` or `x y z intensity red green blue`;
`0 0 0` is a ray that met nothing.
Letters: P points.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from s3dis_seg.data.scans.tables import numbers, whole_as_integers
from s3dis_seg.files import InputError

_LINES_AT_ONCE = 250_000
_BYTES_AT_ONCE = 1 << 22
_LONGEST = 65_536  # bytes of a line
_HEADER_LINES = 10
_NAMES = ("x", "y", "z", "intensity", "red", "green", "blue")


@dataclass
class PtxFile:
    """What is told about a file."""

    notes: list = field(default_factory=list)


def read(path):
    """Read a PTX file, all its scans in one frame of coordinates. -> columns (name -> (P,) array), PtxFile

    Several scans get a column `scan`, counted from 0. Raises InputError where the file is damaged or cut off.
    """
    scans, num_empty, number = [], 0, 0
    with open(path, "rb") as file:
        while any(header := [file.readline(_LONGEST) for _ in range(_HEADER_LINES)]):
            if not b"".join(header).strip():
                continue
            count, matrix, number = *_header(path, header, number), number + _HEADER_LINES
            pieces = [_met(piece, matrix) for piece in _pieces(path, file, count, number)]
            number += count
            scans.append(np.concatenate(pieces) if pieces else np.empty((0, 4)))
            num_empty += count - len(scans[-1])
    if not scans:
        raise InputError(f"{path} holds no scan; copy it again")
    return _columns(scans), PtxFile(_notes(scans, num_empty))


def _header(path, lines, number):
    """The ten lines before the points of a scan. -> number of points, (4, 4) matrix"""
    words = [line.split() for line in lines]
    widths = [1, 1, 3, 3, 3, 3, 4, 4, 4, 4]
    if [len(row) for row in words] == widths:
        sizes = [row[0] for row in words[:2] if re.fullmatch(rb"[0-9]{1,9}", row[0])]
        try:
            matrix = np.array([[float(word) for word in row] for row in words[6:]])
        except ValueError:
            matrix = np.full((4, 4), np.nan)
        if len(sizes) == 2 and np.isfinite(matrix).all():
            return int(sizes[0]) * int(sizes[1]), matrix
    raise InputError(
        f"{path}, line {number + 1}: expected the ten lines that begin a scan of a PTX file (columns, rows, place, "
        f"three axes, matrix), found {lines[0][:40].decode('latin-1').strip()!r}; copy it again"
    )


def _met(table, matrix):
    """The points of rays that met something, in the frame of the file. (n, 4 or 7), (4, 4) -> (m, 4 or 7)"""
    met = (table[:, 0] != 0) | (table[:, 1] != 0) | (table[:, 2] != 0)
    table = table[met]
    with np.errstate(all="ignore"):
        table[:, :3] = np.ascontiguousarray(table[:, :3]) @ matrix[:3, :3] + matrix[3, :3]
    return table


def _pieces(path, file, count, number):
    """Yield the next `count` lines as tables of 4 or 7 columns, float64."""
    width, found = None, 0
    while found < count:
        lines, num_lines = _lines(file, min(_LINES_AT_ONCE, count - found))
        if not num_lines:
            raise InputError(f"{path} is cut off: a scan promises {count:,} points, it holds {found:,}; copy it again")
        try:
            table = numbers(lines)
        except ValueError as error:
            said = " ".join(str(error).split(";")[0].split())[:150]
            raise InputError(f"{path} is damaged after line {number + found:,}: {said}; copy it again") from error
        if table.shape[1] not in (4, 7) or width not in (None, table.shape[1]):
            raise InputError(
                f"{path}, line {number + found + 1:,}: {table.shape[1]} numbers; expected 'x y z intensity' or "
                "'x y z intensity red green blue'"
            )
        if len(table) != num_lines:
            raise InputError(f"{path} has empty lines after line {number + found:,}; copy it again")
        width, found = table.shape[1], found + num_lines
        yield table


def _lines(file, count):
    """The next lines of a file, at most `count`. -> bytes, their number"""
    start, pieces, found = file.tell(), [], 0
    while found < count and (piece := file.read(_BYTES_AT_ONCE)):
        ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
        if found + len(ends) >= count:
            piece = piece[: ends[count - found - 1] + 1]
        pieces.append(piece)
        found = min(count, found + len(ends))
    lines = b"".join(pieces)
    file.seek(start + len(lines))
    return lines, found + (lines[-1:] not in (b"", b"\n"))


def _columns(scans):
    width = max(table.shape[1] for table in scans)
    total = sum(len(table) for table in scans)
    columns = {}
    for place, name in enumerate(_NAMES[:width]):
        values = np.zeros(total)
        start = 0
        for table in scans:
            if place < table.shape[1]:
                values[start : start + len(table)] = table[:, place]
            start += len(table)
        columns[name] = whole_as_integers(values) if place > 3 and total else values
    if len(scans) > 1:
        columns["scan"] = np.repeat(np.arange(len(scans), dtype=np.int32), [len(table) for table in scans])
    return columns


def _notes(scans, num_empty):
    notes = []
    if num_empty:
        notes.append(f"{num_empty:,} rays that met nothing (0 0 0) are left out")
    widths = [table.shape[1] for table in scans if len(table)]
    if 4 in widths and 7 in widths:
        notes.append(f"{widths.count(4)} of its {len(widths)} scans with points have no colours: black is taken there")
    return notes
