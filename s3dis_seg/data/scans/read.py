"""A file of any known format as a Scan: format -> columns -> coordinates, colours, predictions, labels, units.

Letters: P points.
"""

import mmap
import os
from pathlib import Path

import numpy as np

from s3dis_seg.classes import Classes
from s3dis_seg.data.scans import e57, las, mesh, npy, npz, pcd, ply, ptx, room, text
from s3dis_seg.data.scans.axes import UP, judged_up, turned
from s3dis_seg.data.scans.class_comments import classes_in_header
from s3dis_seg.data.scans.colors import color_names, colors_as_bytes, doubts_about_colors, lazy_colors, stacked
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of
from s3dis_seg.data.scans.lazy import Lazy, lazy_rows
from s3dis_seg.data.scans.scan import Scan
from s3dis_seg.data.scans.units import UNITS, judged_units
from s3dis_seg.files import InputError

_READERS = {
    ".ply": ply.read, ".las": las.read, ".laz": las.read, ".npy": npy.read, ".txt": text.read, ".xyz": text.read,
    ".csv": text.read, ".asc": text.read, ".pts": text.read, ".pcd": pcd.read, ".h5": room.read, ".npz": npz.read,
    ".e57": e57.read, ".ptx": ptx.read, **dict.fromkeys(mesh.SUFFIXES, mesh.read),
}  # fmt: skip
READABLE = tuple(_READERS)
_LARGE = 1 << 30  # bytes; in a larger file it is told that it is read as a whole
_ROWS_AT_ONCE = 4_000_000  # rows of a mapped file that may be in memory at once


def read_scan(
    path: str | os.PathLike,
    units: str | None = None,
    classes: Classes | None = None,
    up: str | None = None,
    sample: int | None = None,
) -> Scan:
    """Read a scan of any of the formats in READABLE. -> Scan

    units: of the coordinates in the file, a key of UNITS. up: the axis of the file that points upwards, "z", "y", "x",
    "-z", "-y" or "-x". `xyz` is in metres with z upwards, `columns` stay as they are in the file. Where these are None,
    they are judged by the points: metres and z unless others are sure, which is told in `warnings`. What is neither is
    refused, except in a file that `segment` wrote: that was judged when it was made.
    classes: what its predictions and labels mean; None takes those that the file names, else those of S3DIS.
    sample: number of points to draw on the faces of a mesh; None takes its vertices.
    Raises InputError where the file cannot be used.
    """
    return _opened(Path(path), units, classes, up, sample, whole=True)


def open_scan(
    path: str | os.PathLike,
    units: str | None = None,
    up: str | None = None,
    sample: int | None = None,
) -> Scan:
    """The same for a scan of any size: `xyz`, `rgb` and `columns` of binary .ply, .las and .laz are Lazy.

    They are read from the file a part at a time, whenever it is asked for, and no more than that is in memory.
    """
    return _opened(Path(path), units, None, up, sample, whole=False)


def _opened(path, units, classes, up, sample, whole):
    for word, value, known in (("units", units, UNITS), ("up", up, UP)):
        if value is not None and value not in known:
            raise InputError(f"unknown {word} {value!r}; known: {', '.join(known)}")
    columns, source = _columns(path, sample)
    scan = _scan(path, columns, source, whole)
    _take_classes(scan, classes)
    _take_predictions(scan)
    _take_labels(scan)
    segmented = scan.predictions is not None and scan.confidence is not None
    if not segmented:  # told when it was
        scan.warnings += [f"{path}: {note}" for note in doubts_about_colors(scan.rgb)]
    _turn(scan, up, refuse=not segmented)
    _apply_units(scan, units, refuse=not segmented)
    return scan


def _columns(path, sample):
    """-> columns (name -> (P,) array), source: what the format keeps beside them"""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a scan file")
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise InputError(f"{path}: unknown format {path.suffix or '(no suffix)'!r}; known: {', '.join(READABLE)}")
        if "\0" in str(path):
            raise InputError(f"cannot read {str(path)!r}: a file's name cannot hold a zero byte; check the name")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again from where it came from")
        if sample is None:
            return reader(path)
        if path.suffix.lower() not in mesh.WITH_FACES:
            raise InputError(f"{path} has no faces to draw points on; leave out --sample")
        return mesh.read(path, sample)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; check the name and the permissions"
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; cut it into parts, or use a larger machine") from error


def _scan(path, columns, source, whole):
    """The scan of named columns, whatever format they came from. whole: see `_opened`"""
    names = {name.lower(): name for name in reversed(columns)}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)} among its properties {', '.join(columns)}")
    axes, release = [names[axis] for axis in "xyz"], _releasing(source)
    is_lazy = release is not None and not whole
    if is_lazy:
        columns = {name: _lazy(values, release) for name, values in columns.items()}
        xyz = lazy_rows([columns[name] for name in axes])
    else:
        if any(isinstance(columns[name], Lazy) for name in axes):
            columns = columns | dict(zip(axes, np.asarray(lazy_rows([columns[name] for name in axes])).T))
        xyz = stacked([columns[name] for name in axes])
    scan = Scan(xyz, columns=columns, path=path, source=source)
    scan.words = {name: values for name, values in columns.items() if values.dtype.kind == "U"}
    scan.columns = {name: values for name, values in columns.items() if name not in scan.words}
    if len(scan) == 0:
        raise InputError(f"{path} has no points (0 rows); there is nothing to read")
    if not np.issubdtype(scan.xyz.dtype, np.floating):
        scan.xyz = _changed(scan.xyz, lambda xyz: xyz.astype(np.float64), np.float64)
    scan.warnings += [f"{path}: {note}" for note in getattr(source, "notes", ())]
    chosen = color_names(columns)
    if chosen:
        as_bytes = lazy_colors if is_lazy else colors_as_bytes
        scan.rgb, notes = as_bytes([columns[name] for name in chosen])
        scan.warnings += [f"{path}: {note}" for note in notes]
    elif any(name.lower().endswith("intensity") for name in columns):
        scan.warnings.append(f"{path}: it has an intensity but no colours; grey made of it would be no colours either")
    if release is not None:
        release()
    elif not whole and path.stat().st_size > _LARGE:
        scan.warnings.append(
            f"{path}: all of it is in memory; only binary .ply, .las and .laz are read a part at a time"
        )
    return scan


def _releasing(source):
    """What takes the pages of a mapped file out of memory again. -> function, or None where nothing is mapped"""
    mapped = getattr(source, "mapped", None)
    if mapped is None and hasattr(source, "points"):  # of a LAS file
        mapped = getattr(source.points.array, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    return lambda: mapped.madvise(mmap.MADV_DONTNEED)


def _lazy(values, release):
    """Values of a mapped file, copied a part at a time; their pages do not stay in memory."""

    def make(part):
        start, stop, step = part.indices(len(values))
        span, pieces = max(_ROWS_AT_ONCE // step, 1) * step, []  # few pages of the file, though few rows are wanted
        for first in range(start, stop, span):
            pieces.append(np.array(values[first : min(first + span, stop) : step]))
            release()
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, values.dtype), *pieces])

    return Lazy(make, (len(values),), values.dtype, origin=values)


def _changed(xyz, change, dtype):
    """`change` of all rows: now, or when they are asked for."""
    if isinstance(xyz, Lazy):
        return Lazy(lambda part: change(xyz[part]), xyz.shape, dtype)
    return change(xyz)


def _take_classes(scan, given):
    """Classes that are given, or that the file names."""
    named = None
    if given is None and isinstance(scan.source, ply.PlyFile):
        named, fault = classes_in_header(scan.source.lines)
        scan.warnings += [f"{scan.path}: {fault}"] if fault else []
    elif scan.path.suffix.lower() == ".h5":
        named, scan.source = scan.source, None
    scan.classes = given or named or scan.classes


def _take_predictions(scan):
    """Predictions and confidence from a file that `segment` wrote."""
    columns = {name: np.asarray(scan.columns[name]) for name in ("prediction", "confidence") if name in scan.columns}
    if "prediction" in columns and _are_bytes(columns["prediction"]):
        scan.predictions = columns["prediction"].astype(np.uint8, copy=False)
        with np.errstate(over="ignore"):
            scan.confidence = columns["confidence"].astype(np.float32, copy=False) if "confidence" in columns else None


def _take_labels(scan):
    """Labels from an attribute with a usual name; those of prepared rooms were checked when the room was made."""
    if scan.path.suffix.lower() == ".h5":
        scan.labels = scan.columns["classification"]
        return
    scan.labels = labels_of(scan)
    doubt = "" if scan.labels is None else doubt_about_labels(scan.labels, scan.classes)
    if doubt:
        scan.warnings.append(f"{scan.path}: {doubt}")


def _are_bytes(values):
    """Whether numbers of any type are all whole and from 0 to 255: tables of text have no other way to hold bytes."""
    with np.errstate(invalid="ignore"):
        return values.dtype == np.uint8 or bool(((values >= 0) & (values <= 255) & (values % 1 == 0)).all())


def _turn(scan, up, refuse):
    if up is None and scan.path.suffix.lower() == ".h5":
        return  # prepared rooms have z upwards
    if up is None:
        up, note = judged_up(scan.xyz, scan.path, getattr(scan.source, "up", None), refuse)
        scan.warnings += [f"{scan.path}: {note}"] if note else []
    if up != "z":
        scan.xyz = _changed(scan.xyz, lambda xyz: turned(xyz, up), scan.xyz.dtype)
    scan.up = up


def _apply_units(scan, units, refuse):
    if units is None:
        units, note = judged_units(scan.xyz, scan.path, refuse)
        scan.warnings += [f"{scan.path}: {note}"] if note else []
    scan.units = units
    if units != "m":
        scan.xyz = _changed(scan.xyz, lambda xyz: xyz.astype(np.float64) * UNITS[units], np.float64)
