"""A scan back into a file, with its predictions. Letters: P points."""

import os
from pathlib import Path

import numpy as np

from s3dis_seg.data.scans import e57, las, npy, npz, ply, text
from s3dis_seg.data.scans.class_comments import with_classes
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


def write_scan(path: str | os.PathLike, scan: Scan, keep_rgb: bool = False) -> dict[str, str]:
    """Write a scan in the format of the suffix of `path`; the file appears whole or not at all.

    Every attribute of a point is written. What else the file of the scan held (comments, faces, header) is kept where
    the format stays the same. Coordinates are written as the file had them, in its own units.
    Predictions add the attributes `prediction` and `confidence`, and in a .ply comments that name the classes; class
    colours go to red, green, blue and the scan's own to scan_red, scan_green, scan_blue. With keep_rgb the scan's own
    stay, and class colours go to class_red, class_green, class_blue. An attribute that has one of these names already
    becomes source_<name>.
    -> the attributes that were renamed for that reason, old name -> new name
    Raises InputError where the format is unknown or the file cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: cannot write {path.suffix or '(no suffix)'!r}; known: {', '.join(WRITABLE)}")
    if "\0" in str(path):
        raise InputError(f"cannot write {str(path)!r}: a file's name cannot hold a zero byte; name another place")
    columns, renamed = _columns_to_write(scan, keep_rgb)
    for name, values in columns.items():
        if len(values) != len(scan):
            raise InputError(f"cannot write {path}: {name} has {len(values):,} values for {len(scan):,} points")
    same_format = scan.path is not None and _WRITERS.get(Path(scan.path).suffix.lower()) is writer
    source = scan.source if same_format else None
    if writer is ply.write and "prediction" in columns:
        source = with_classes(source, scan.classes)
    with replacing(path) as temporary:
        writer(temporary, columns, source)
    return renamed


def _columns_to_write(scan, keep_rgb):
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
    ours |= dict(zip(target, _LazyColors.of(scan.predictions, scan.classes)))
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


class _LazyColors:
    """One channel of the class colours, made for the slice that is asked for: 30 million points are 90 MB of them."""

    dtype = np.dtype(np.uint8)

    def __init__(self, predictions, classes, channel):
        self.predictions, self.classes, self.channel = predictions, classes, channel

    @classmethod
    def of(cls, predictions, classes):
        return [cls(predictions, classes, channel) for channel in range(3)]

    def __len__(self):
        return len(self.predictions)

    def __getitem__(self, part):
        return self.classes.colors_of(self.predictions[part])[:, self.channel]

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
