"""A scan back into a file, with its predictions. Letters: P points."""

import os
from pathlib import Path

import numpy as np

from s3dis_seg.classes import Classes
from s3dis_seg.data.scans import e57, las, npy, npz, ply, text
from s3dis_seg.data.scans.class_comments import with_classes
from s3dis_seg.data.scans.classification import SUFFIXES as WITH_CLASSIFICATION
from s3dis_seg.data.scans.classification import codes_of, names_of_codes, notes_on_codes
from s3dis_seg.data.scans.colors import COLOR_NAMES, color_names
from s3dis_seg.data.scans.scan import Scan
from s3dis_seg.files import InputError, replacing

_RGB = ("red", "green", "blue")
_SCAN_RGB = COLOR_NAMES[0]
_WRITERS = {
    ".ply": ply.write, ".las": las.write, ".laz": las.write, ".npy": npy.write, ".txt": text.write,
    ".xyz": text.write, ".csv": text.write, ".asc": text.write, ".npz": npz.write, ".e57": e57.write,
}  # fmt: skip
WRITABLE = tuple(_WRITERS)


def write_scan(
    path: str | os.PathLike, scan: Scan, keep_rgb: bool = False, classification: Classes | None = None
) -> dict[str, str]:
    """Write a scan in the format of the suffix of `path`; the file appears whole or not at all.

    Every attribute of a point is written. What else the file of the scan held (comments, faces, header) is kept where
    the format stays the same. Coordinates are written as the file had them, in its own units.
    Predictions add the attributes `prediction` and `confidence`, and in a .ply comments that name the classes; class
    colours go to red, green, blue and the scan's own to scan_red, scan_green, scan_blue. With keep_rgb the scan's own
    stay, and class colours go to class_red, class_green, class_blue. An attribute that has one of these names already
    becomes source_<name>.
    classification: only for .las and .laz; the predictions also go into the field `classification`, as the codes that
    `codes_of` gives these classes; point formats before 6 are converted.
    -> the attributes that were renamed for that reason, old name -> new name
    Raises InputError where the format is unknown or the file cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: cannot write {path.suffix or '(no suffix)'!r}; known: {', '.join(WRITABLE)}")
    if "\0" in str(path):
        raise InputError(f"cannot write {str(path)!r}: a file's name cannot hold a zero byte; name another place")
    if classification is not None:
        require_classification(path)
        if scan.predictions is None:
            raise InputError(f"cannot write {path}: there are no predictions for its field classification")
    columns, renamed = _columns_to_write(scan, keep_rgb, classification)
    for name, values in columns.items():
        if len(values) != len(scan):
            raise InputError(f"cannot write {path}: {name} has {len(values):,} values for {len(scan):,} points")
    same_format = scan.path is not None and _WRITERS.get(Path(scan.path).suffix.lower()) is writer
    source = scan.source if same_format else None
    if writer is ply.write and "prediction" in columns:
        source = with_classes(source, scan.classes)
    named = {"names": names_of_codes(classification)} if classification is not None else {}
    with replacing(path) as temporary:
        writer(temporary, columns, source, **named)
    return renamed


def require_classification(path):
    """InputError where the format of a file has no field `classification` with codes of its own."""
    if not _is_las(path):
        raise InputError(
            f"{path}: only {' and '.join(WITH_CLASSIFICATION)} files have a field classification; leave out "
            "--write-classification, or name such a file"
        )


def notes_on_classification(scan, classes):
    """What `write_scan` will do to a scan to write its field `classification`. -> list of sentences"""
    converted = las.conversion_for_codes(scan.source) if scan.path is not None and _is_las(scan.path) else ""
    return [*notes_on_codes(classes), *([converted] if converted else [])]


def _is_las(path):
    return Path(path).suffix.lower() in WITH_CLASSIFICATION


def _columns_to_write(scan, keep_rgb, classification):
    """Columns of the output by name, in their order, and the attributes that had to be renamed (old -> new)."""
    columns = dict(scan.columns)
    if not set("xyz") <= {name.lower() for name in columns}:
        columns = _own_columns(scan) | columns
    if scan.predictions is None:
        return columns, {}
    ours = {"prediction": scan.predictions, "confidence": scan.confidence}
    own = color_names(columns)
    before = "prediction" in columns and own == _SCAN_RGB  # red, green, blue are class colours already
    moved = {}
    if keep_rgb:
        if before:
            moved = dict(zip(own, _RGB))
        target = "class_red", "class_green", "class_blue"
    else:
        if own and not before:
            moved = dict(zip(own, _SCAN_RGB))
        target = _RGB
    ours |= {name: _LookedUp(scan.predictions, table) for name, table in zip(target, scan.classes.color_table.T)}
    if classification is not None:
        ours["classification"] = _LookedUp(scan.predictions, codes_of(classification))
    return _merged(columns, ours, moved)


def _merged(columns, ours, moved):
    """Columns under their new names, with ours after them; what is in the way is called source_<name>."""
    taken = set(columns) | set(ours) | set(moved.values())
    kept, renamed = {}, {}
    for name, values in columns.items():
        new = moved.get(name, name)
        if name not in moved and (name in ours or name in moved.values()):
            new = f"source_{name}"
            while new in taken:
                new = f"source_{new}"
            taken.add(new)
            renamed[name] = new
        kept[new] = values
    return kept | {name: values for name, values in ours.items() if values is not None}, renamed


class _LookedUp:
    """A byte for every prediction, looked up for the slice that is asked for: 30 million points are 30 MB a column.

    predictions: (P,) uint8; table: (256,) uint8.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, predictions, table):
        self.predictions, self.table = predictions, table

    def __len__(self):
        return len(self.predictions)

    def __getitem__(self, part):
        return self.table[self.predictions[part]]

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or np.uint8)


def _own_columns(scan):
    """Columns of a scan that was made in Python and not read from a file."""
    columns = {axis: scan.xyz[:, place] for place, axis in enumerate("xyz")}
    if scan.rgb is not None:
        columns |= {name: scan.rgb[:, place] for place, name in enumerate(_RGB)}
    if scan.labels is not None:
        columns["classification"] = scan.labels
    return columns
