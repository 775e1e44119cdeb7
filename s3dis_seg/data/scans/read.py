"""A file of any known format as a Scan: format -> columns -> coordinates, colours, predictions, labels, units.

Letters: P points.
"""

import os
from pathlib import Path

import numpy as np

from s3dis_seg.classes import Classes
from s3dis_seg.data.scans import e57, las, mesh, npy, npz, pcd, ply, ptx, room, text
from s3dis_seg.data.scans.axes import UP, judged_up, turned
from s3dis_seg.data.scans.class_comments import classes_in_header
from s3dis_seg.data.scans.colors import color_names, colors_as_bytes, doubts_about_colors, stacked
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of
from s3dis_seg.data.scans.scan import Scan
from s3dis_seg.data.scans.units import UNITS, judged_units
from s3dis_seg.files import InputError

_READERS = {
    ".ply": ply.read, ".las": las.read, ".laz": las.read, ".npy": npy.read, ".txt": text.read, ".xyz": text.read,
    ".csv": text.read, ".asc": text.read, ".pts": text.read, ".pcd": pcd.read, ".h5": room.read, ".npz": npz.read,
    ".e57": e57.read, ".ptx": ptx.read, **dict.fromkeys(mesh.SUFFIXES, mesh.read),
}  # fmt: skip
READABLE = tuple(_READERS)


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
    path = Path(path)
    for word, value, known in (("units", units, UNITS), ("up", up, UP)):
        if value is not None and value not in known:
            raise InputError(f"unknown {word} {value!r}; known: {', '.join(known)}")
    columns, source = _columns(path, sample)
    scan = _scan(path, columns, source)
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


def _scan(path, columns, source):
    """The scan of named columns, whatever format they came from."""
    names = {name.lower(): name for name in reversed(columns)}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)} among its properties {', '.join(columns)}")
    scan = Scan(stacked([columns[names[axis]] for axis in "xyz"]), columns=columns, path=path, source=source)
    scan.words = {name: values for name, values in columns.items() if values.dtype.kind == "U"}
    scan.columns = {name: values for name, values in columns.items() if name not in scan.words}
    if len(scan) == 0:
        raise InputError(f"{path} has no points (0 rows); there is nothing to read")
    if not np.issubdtype(scan.xyz.dtype, np.floating):
        scan.xyz = scan.xyz.astype(np.float64)
    scan.warnings += [f"{path}: {note}" for note in getattr(source, "notes", ())]
    chosen = color_names(columns)
    if chosen:
        scan.rgb, notes = colors_as_bytes([columns[name] for name in chosen])
        scan.warnings += [f"{path}: {note}" for note in notes]
    elif any(name.lower().endswith("intensity") for name in columns):
        scan.warnings.append(f"{path}: it has an intensity but no colours; grey made of it would be no colours either")
    return scan


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
    columns = scan.columns
    if "prediction" in columns and _are_bytes(columns["prediction"]):
        scan.predictions = np.asarray(columns["prediction"], np.uint8)
        with np.errstate(over="ignore"):
            scan.confidence = np.asarray(columns["confidence"], np.float32) if "confidence" in columns else None


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
    scan.xyz, scan.up = turned(scan.xyz, up), up


def _apply_units(scan, units, refuse):
    if units is None:
        units, note = judged_units(scan.xyz, scan.path, refuse)
        scan.warnings += [f"{scan.path}: {note}"] if note else []
    scan.units = units
    if units != "m":
        scan.xyz = scan.xyz.astype(np.float64) * UNITS[units]
