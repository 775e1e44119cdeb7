"""Scan files of every format <-> Scan: positions, colours, and every other attribute kept.

Letters: P points.
"""

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3dis_seg.classes import colors_of
from s3dis_seg.data.scans.labels import labels_of
from s3dis_seg.data.scans.ply import ROWS_AT_ONCE, PlyFile, read_ply, text_of, write_ply
from s3dis_seg.files import InputError, replacing

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}

# Names that colours go by, the first set that is there is taken. Ours come first: in a scan that was segmented before,
# red, green and blue hold the class colours.
_COLOR_NAMES = (
    ("scan_red", "scan_green", "scan_blue"),
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("Red", "Green", "Blue"),
    ("R", "G", "B"),
)
_RGB = ("red", "green", "blue")
_LAS_WITH_COLORS = {0: 2, 1: 3, 4: 5, 6: 7, 9: 10}  # the point format that has colours besides
_POINTS_AT_ONCE = 500_000


@dataclass
class Scan:
    """A scan as its file has it.

    xyz: (P, 3) metres, float32 or float64 as in the file; may be a view of the mapped file.
    rgb: (P, 3) uint8 or None where the file has no colours (intensity alone counts as none).
    columns: every attribute of a point by its name in the file, positions and colours included, untouched.
    predictions, confidence: (P,) uint8 and float32, from `segment` or from a file that it wrote.
    labels: (P,) uint8 or None; given classes, 255 for unlabelled, where an attribute called like that holds them.
    warnings: sentences about what was odd in the file.
    """

    xyz: np.ndarray
    rgb: np.ndarray | None = None
    columns: dict = field(default_factory=dict, repr=False)
    predictions: np.ndarray | None = None
    confidence: np.ndarray | None = None
    labels: np.ndarray | None = None
    path: Path | None = None
    warnings: list = field(default_factory=list)
    source: object = field(default=None, repr=False)  # PlyFile or laspy.LasData: what else the file held

    def __len__(self):
        return len(self.xyz)


def read_scan(path, units=None):
    """Read a scan: .ply, .las, .laz, .npy, .txt, .xyz, .csv, .pcd, or a prepared room .h5. -> Scan

    units: "m", "cm" or "mm" of the coordinates; None takes metres and refuses extents that cannot be metres.
    Raises InputError where the file cannot be used.
    """
    path = Path(path)
    if units is not None and units not in UNITS:
        raise InputError(f"unknown units {units!r}; known: {', '.join(UNITS)}")
    reader = _READERS.get(path.suffix.lower())
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a scan file")
    if reader is None:
        raise InputError(f"{path}: unknown format {path.suffix or '(no suffix)'!r}; known: {', '.join(READABLE)}")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again from where it came from")
        scan = reader(path)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; check the name and the permissions"
        ) from error
    if len(scan) == 0:
        raise InputError(f"{path} has no points (0 rows); there is nothing to read")
    scan.path = path
    if scan.labels is None:
        scan.labels = labels_of(scan)
    if units is None:
        check_units(scan.xyz, path)
    elif units != "m":
        scan.xyz = scan.xyz.astype(np.float64) * UNITS[units]
    return scan


def write_scan(path, scan, keep_rgb=False):
    """Write a scan with its predictions, in the format of the suffix of `path`; the file appears whole or not at all.

    .ply: a PLY that was read keeps its form and everything in it. .las, .laz, .npy, .txt, .xyz, .csv: every attribute
    of a point. With predictions, `prediction` and `confidence` are added; class colours go to red, green, blue and the
    scan's own to scan_red, scan_green, scan_blue. keep_rgb: the scan's own stay, class colours go to class_red, ...
    A property that has one of these names already becomes source_<name>. -> dict of such renamings, for telling.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: cannot write {path.suffix or '(no suffix)'!r}; known: {', '.join(WRITABLE)}")
    columns, renamed = _columns_to_write(scan, keep_rgb)
    with replacing(path) as temporary:
        writer(temporary, columns, scan)
    return renamed


def check_units(xyz, path="the scan"):
    """Refuse extents that no indoor scan in metres has. xyz: (P, 3). Raises InputError with the flag to add."""
    units, height = likely_units(xyz)
    if units != "m":
        name = {"cm": "centimetres", "mm": "millimetres"}[units]
        raise InputError(
            f"{path} is {height:,.0f} high, which looks like {name}: add --units {units} "
            "(--units m if these are metres all the same)"
        )


def likely_units(xyz):
    """Units in which a scan has the height of rooms. (P, 3) -> "m", "cm" or "mm", and the height without outliers."""
    some = xyz[:: max(1, len(xyz) // 100_000)]
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) == 0:
        return "m", 0.0
    low, high = np.percentile(some, (1, 99), axis=0)
    across, height = float((high - low)[:2].max()), float((high - low)[2])
    # A room is 2 to 20 m high. A piece of floor has no height, but no indoor scan is 2 km wide either.
    if height > 1000 or (height <= 80 and across > 2000):
        return "mm", height
    return ("cm" if height > 80 else "m"), height


def colors_as_bytes(columns):
    """Colours of any type as bytes: three (P,) arrays -> (P, 3) uint8 or None for no colours, list of sentences.

    Floats by their range (0-1 or 0-255), 16-bit integers by their type unless none exceeds 255.
    """
    kinds = {column.dtype for column in columns}
    rgb = _stacked(columns) if kinds == {np.dtype(np.uint8)} else None
    top = max((float(np.nanmax(column, initial=0)) for column in columns), default=0.0) if len(columns[0]) else 0.0
    if top <= 0:
        return None, ["its colours are all black, which is taken as no colours"]
    if rgb is not None:
        return rgb, []
    factor, told = _color_scale(columns[0].dtype, top)
    rgb = np.empty((len(columns[0]), 3), np.uint8)
    for start in range(0, len(rgb), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        for axis, column in enumerate(columns):
            values = np.nan_to_num(column[part].astype(np.float64) * factor)
            rgb[part, axis] = np.clip(np.rint(values), 0, 255)
    return rgb, told


# --- from columns to a scan -------------------------------------------------------------------------------------------


def _scan_of(path, columns, source=None):
    """A scan from named columns, whatever file they came from."""
    names = {name.lower(): name for name in reversed(columns)}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)} among its properties {', '.join(columns)}")
    scan = Scan(_stacked([columns[names[axis]] for axis in "xyz"]), columns=columns, source=source)
    if not np.issubdtype(scan.xyz.dtype, np.floating):
        scan.xyz = scan.xyz.astype(np.float64)
    chosen = _color_names(columns)
    if chosen:
        scan.rgb, told = colors_as_bytes([columns[name] for name in chosen])
        scan.warnings += [f"{path}: {sentence}" for sentence in told]
    if "prediction" in columns and _are_bytes(columns["prediction"]):
        scan.predictions = np.asarray(columns["prediction"], np.uint8)
        scan.confidence = np.asarray(columns["confidence"], np.float32) if "confidence" in columns else None
    return scan


def _are_bytes(values):
    """Whether numbers of any type are all whole and from 0 to 255: tables of text have no other way to hold bytes."""
    return values.dtype == np.uint8 or bool(((values >= 0) & (values <= 255) & (values % 1 == 0)).all())


def _color_names(columns):
    return next((names for names in _COLOR_NAMES if all(name in columns for name in names)), None)


def _stacked(columns):
    """Three columns of one record as a (P, 3) view of it where they lie side by side, otherwise a copy."""
    first = columns[0]
    places = [column.__array_interface__["data"][0] for column in columns]
    alike = all(column.dtype == first.dtype and column.strides == first.strides for column in columns)
    size = first.dtype.itemsize
    if len(first) and alike and places[1] - places[0] == places[2] - places[1] == size and first.strides[0] >= 3 * size:
        return np.lib.stride_tricks.as_strided(first, (len(first), 3), (first.strides[0], size), writeable=False)
    return np.stack(columns, axis=1)


def _color_scale(dtype, top):
    """What brings colours to 0-255, by their type and largest value. -> factor, list of sentences."""
    if np.issubdtype(dtype, np.floating) and top <= 1:
        return 255.0, []
    if dtype in (np.uint16, np.int16) and top <= 255:
        return 1.0, ["its 16-bit colours never exceed 255 and are taken as 8-bit ones"]
    if top <= 255:
        return 1.0, []
    return 255 / 65535, [] if top <= 65535 else [f"its colours reach {top:g} and are cut at 65535"]


def _columns_to_write(scan, keep_rgb):
    """Named columns of the output in their order, and which properties had to give way. -> dict, dict old -> new."""
    columns = dict(scan.columns)
    if not set("xyz") <= {name.lower() for name in columns}:
        columns = _own_columns(scan) | columns
    if scan.predictions is None:
        return columns, {}
    ours = {"prediction": scan.predictions, "confidence": scan.confidence}
    own = _color_names(columns)
    before = "prediction" in columns and own == _COLOR_NAMES[0]  # red, green, blue are class colours already
    moved = {}
    if keep_rgb:
        if before:
            moved = dict(zip(own, _RGB))
        target = "class_red", "class_green", "class_blue"
    else:
        if own and not before:
            moved = dict(zip(own, _COLOR_NAMES[0]))
        target = _RGB
    ours |= dict(zip(target, _LazyColors.of(scan.predictions)))
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

    def __init__(self, predictions, channel):
        self.predictions, self.channel = predictions, channel

    @classmethod
    def of(cls, predictions):
        return [cls(predictions, channel) for channel in range(3)]

    def __len__(self):
        return len(self.predictions)

    def __getitem__(self, part):
        return colors_of(self.predictions[part])[:, self.channel]

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


# --- formats ----------------------------------------------------------------------------------------------------------


def _read_ply(path):
    ply = read_ply(path)
    return _scan_of(path, ply.columns, ply)


def _write_ply(path, columns, scan):
    write_ply(path, columns, scan.source if isinstance(scan.source, PlyFile) else None)


def _read_las(path):
    laspy = _laspy(path)
    try:
        las = laspy.read(path)
    except (laspy.LaspyException, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a LAS file that can be read: {error}; copy it again") from error
    columns = dict(zip("xyz", las.xyz.T))
    columns |= {name: np.asarray(las[name]) for name in las.point_format.dimension_names if name not in ("X", "Y", "Z")}
    return _scan_of(path, columns, las)


def _laspy(path):
    try:
        import laspy
    except ImportError as error:
        raise InputError(f"{path}: LAS and LAZ files need laspy; run: pip install 's3dis_seg[las]'") from error
    return laspy


def _write_las(path, columns, scan):
    laspy = _laspy(path)
    if isinstance(scan.source, laspy.LasData):
        las = laspy.LasData(copy.deepcopy(scan.source.header), scan.source.points.copy())
        if "red" not in las.point_format.dimension_names:
            las = laspy.convert(las, point_format_id=_LAS_WITH_COLORS.get(las.point_format.id, 7))
    else:
        las = _new_las(laspy, path, columns)
    standard = set(las.point_format.standard_dimension_names)
    there = set(las.point_format.dimension_names) | set("xyz")
    las.add_extra_dims(
        [laspy.ExtraBytesParams(name, values.dtype) for name, values in columns.items() if name not in there]
    )
    for name, values in columns.items():
        if name not in "xyz":
            values = values[:]
            # LAS colours have 16 bits, and 255 is 65535 there.
            wide = name in standard and name in _RGB and values.dtype == np.uint8
            las[name] = values.astype(np.uint16) * 257 if wide else values
    with open(path, "wb") as file:
        try:
            las.write(file, do_compress=path.suffix.lower() == ".laz")
        except RuntimeError as error:  # how the compressor reports a full disk
            raise OSError(str(error)) from error


def _new_las(laspy, path, columns):
    """A LAS file of points alone, to a tenth of a millimetre."""
    xyz = np.stack([columns[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not np.isfinite(xyz).all():
        raise InputError(f"{path}: LAS cannot hold NaN or infinite coordinates; write a .ply instead")
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales, header.offsets = np.full(3, 0.0001), np.floor(xyz.min(axis=0))
    las = laspy.LasData(header)
    las.xyz = xyz
    return las


def _read_npy(path):
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged or no .npy array of numbers; save it again with numpy.save") from error
    if table.dtype.names:
        return _scan_of(path, {name: table[name] for name in table.dtype.names})
    if table.ndim != 2 or table.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {table.dtype} of shape {table.shape}; expected numbers of shape (P, 3), (P, 6) "
                         "or (P, 7): x y z, r g b, label")  # fmt: skip
    return _scan_of(path, _unnamed(path, table))


def _write_npy(path, columns, scan):
    """A structured array: its names are the properties, and read_scan understands it."""
    table = np.empty(len(scan), [(name, values.dtype.newbyteorder("=")) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = np.asarray(values)
    with open(path, "wb") as file:
        np.save(file, table)


def _unnamed(path, table):
    """Columns of a table without names, by their number."""
    names = {
        3: ("x", "y", "z"),
        4: ("x", "y", "z", "intensity"),
        6: ("x", "y", "z", "red", "green", "blue"),
        7: ("x", "y", "z", "red", "green", "blue", "label"),
    }.get(table.shape[1])
    if names is None:
        raise InputError(f"{path} has {table.shape[1]} columns; without a header line 3 (x y z), 4 (and intensity), "
                         "6 (x y z r g b) or 7 (and a label) are understood")  # fmt: skip
    return {name: table[:, place] for place, name in enumerate(names)}


def _read_text(path):
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    delimiter = next((mark for mark in ",;\t" if mark in first), None)
    names = _header_names(first, delimiter)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="loadtxt: input contained no data")
            table = np.loadtxt(path, np.float64, comments=("#", "//"), delimiter=delimiter, ndmin=2,
                               skiprows=int(bool(names)), encoding="utf-8-sig")  # fmt: skip
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers: {error}; expected lines such as 'x y z r g b'") from error
    if table.size == 0:
        return Scan(np.empty((0, 3)))
    if not names:
        columns = _unnamed(path, table)
    elif len(names) == table.shape[1]:
        columns = {name: table[:, place] for place, name in enumerate(names)}
    else:
        raise InputError(f"{path} has {len(names)} names in its first line and {table.shape[1]} numbers in the next")
    return _scan_of(path, {name: values if name in "xyz" else _whole(values) for name, values in columns.items()})


def _whole(values):
    """Numbers of a table as integers where that is what they are; 0 and 1 alone may be colours from 0 to 1."""
    whole = values.max() > 1 and bool(((values % 1 == 0) & (np.abs(values) < 2**31)).all())
    return values.astype(np.int32) if whole else values


def _header_names(line, delimiter):
    """Names in the first line of a table, [] where it holds numbers."""
    words = [word.strip(" \"'\r\n") for word in line.lstrip("#/ ").split(delimiter)]
    try:
        [float(word) for word in words]
        return []
    except ValueError:
        return [word.lower() if word in "XYZ" else word for word in words if word]


def _write_text(path, columns, scan):
    separator = "," if path.suffix.lower() == ".csv" else " "
    with open(path, "wb") as file:
        file.write((separator.join(columns) + "\n").encode())
        for start in range(0, len(scan), ROWS_AT_ONCE):
            rows = {name: values[start : start + ROWS_AT_ONCE] for name, values in columns.items()}
            file.write(text_of(rows, separator))


def _read_pcd(path):
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.t.io.read_point_cloud(str(path))
    if "positions" not in cloud.point or len(cloud.point["positions"]) == 0:
        raise InputError(f"{path} is not a PCD file that can be read, or has no points; copy it again")
    columns = {}
    for name in cloud.point:
        values = cloud.point[name].numpy()
        parts = {"positions": "xyz", "colors": _RGB, "normals": ("nx", "ny", "nz")}.get(name)
        if parts is None:
            parts = [name] if values.shape[1] == 1 else [f"{name}_{place}" for place in range(values.shape[1])]
        columns |= {part: values[:, place] for place, part in enumerate(parts)}
    return _scan_of(path, {name: columns[name] for name in sorted(columns, key=lambda name: name not in "xyz")})


def _read_room(path):
    from s3dis_seg.data.rooms.prepared import RoomFile

    room = RoomFile(path).room()
    scan = Scan(room.xyz.astype(np.float64) + room.offset, room.rgb, labels=room.labels)
    scan.columns = _own_columns(scan) | {"instance": room.instances}
    return scan


_READERS = {
    ".ply": _read_ply, ".las": _read_las, ".laz": _read_las, ".npy": _read_npy, ".txt": _read_text,
    ".xyz": _read_text, ".csv": _read_text, ".pcd": _read_pcd, ".h5": _read_room,
}  # fmt: skip
_WRITERS = {
    ".ply": _write_ply, ".las": _write_las, ".laz": _write_las, ".npy": _write_npy, ".txt": _write_text,
    ".xyz": _write_text, ".csv": _write_text,
}  # fmt: skip
READABLE, WRITABLE = tuple(_READERS), tuple(_WRITERS)
