"""E57 files through pye57: one or several scans with their poses, read and written in pieces.

Files of others are read in a process of its own, because native code does it. A file is written from the one that was
read, in such a process, too: scans, poses, pictures and every field stay as they are, also the points that reading
leaves out, and ours are added.
The format: http://www.libe57.org/documentation.html
Letters: P points.
"""

import json
import os
import re
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3dis_seg.data.scans.contained import failure_apart, run_apart
from s3dis_seg.data.scans.tables import unique
from s3dis_seg.files import InputError

_ROWS_AT_ONCE = 250_000
_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
_STATES = ("cartesianInvalidState", "sphericalInvalidState")
_COLORS = ("red", "green", "blue")
# What fields are called in other formats. Fields that the standard does not know belong to an extension.
_NAMES = {
    "colorRed": "red", "colorGreen": "green", "colorBlue": "blue",
    "nor:normalX": "nx", "nor:normalY": "ny", "nor:normalZ": "nz",
}  # fmt: skip
_STANDARD = {"intensity", "rowIndex", "columnIndex", "returnIndex", "returnCount", "timeStamp"}
_NORMALS = ("nor", "http://www.libe57.org/E57_NOR_surface_normals.txt")
_OURS = ("seg", "urn:s3dis-seg")


@dataclass
class E57File:
    """A file that was read: `columns` as they were given, `notes` about it."""

    path: Path
    columns: dict = field(repr=False)
    notes: list = field(default_factory=list)


def read(path):
    """Read all scans of an E57 file in the frame of the file. -> columns (name -> (P,) array, mapped), E57File

    Points that are marked as invalid are left out. Several scans get a column `scan`, counted from 0.
    Raises InputError where the file is damaged, or pye57 is missing.
    """
    _libe57(path)
    with tempfile.TemporaryDirectory() as folder:
        run_apart(unpack, path, folder)
        head = json.loads((Path(folder) / "head.json").read_text())
        dtype = np.dtype([(name, kind) for name, kind in head["fields"]])
        if head["points"]:  # the mapping outlives the name of the file
            records = np.memmap(Path(folder) / "points", dtype, "r", 0, (head["points"],))
        else:
            records = np.empty(0, dtype)
    columns = {name: records[name] for name in dtype.names}
    return columns, E57File(Path(os.path.abspath(path)), columns, head["notes"])


def write(path, columns, source=None):
    """Write columns as an E57 file. With `source`, the E57File that `read` gave, everything else is taken from that
    file, which must still be there; points that `read` left out get 255 as `prediction` and otherwise 0.
    """
    libe57 = _libe57(path)
    if source is not None and all(columns.get(axis) is source.columns[axis] for axis in "xyz"):
        _write_again(path, columns, source)
        return
    try:
        _write_new(libe57, path, columns)
    except libe57.E57Exception as error:
        raise OSError(f"{' '.join(str(error).split())[:200]}") from error


def _libe57(path):
    try:
        from pye57 import libe57
    except ImportError as error:
        raise InputError(f"{path}: E57 files need pye57; run: pip install pye57") from error
    return libe57


# --- reading, in a process of its own ---------------------------------------------------------------------------------


def unpack(path, folder):
    """Write the points of all scans into `folder`: `points`, one record a point, and `head.json`, what they hold."""
    libe57 = _libe57(path)
    image = libe57.ImageFile(path, "r")
    scans = [_ScanFields(libe57, image, node) for node in _scans(libe57, image)]
    named = {}
    for scan in scans:
        for name, (_, kind) in scan.attributes.items():
            named[name] = np.result_type(named.get(name, kind), kind)
    several = len(scans) > 1
    dtype = np.dtype([(axis, "f8") for axis in "xyz"] + list(named.items()) + [("scan", "u2")] * several)
    total, left_out = 0, 0
    with open(Path(folder) / "points", "wb") as file:
        for number, scan in enumerate(scans):
            for xyz, values, valid in scan.pieces():
                rows = np.zeros(int(valid.sum()), dtype)
                for place, axis in enumerate("xyz"):
                    rows[axis] = xyz[valid, place]
                for name, column in values.items():
                    rows[name] = column[valid]
                if several:
                    rows["scan"] = number
                total, left_out = total + len(rows), left_out + len(valid) - len(rows)
                file.write(memoryview(rows).cast("B") if len(rows) else b"")
    head = {"fields": [(name, dtype[name].str) for name in dtype.names], "points": total,
            "notes": _notes(scans, named, left_out)}  # fmt: skip
    (Path(folder) / "head.json").write_text(json.dumps(head))
    image.close()


def _notes(scans, named, left_out):
    notes = [f"{left_out:,} points that are marked as invalid are left out"] if left_out else []
    for name in named:
        lacking = sum(name not in scan.attributes for scan in scans)
        if lacking:
            notes.append(f"{lacking} of its {len(scans)} scans have no {name}: 0 is taken there")
    return notes


def _scans(libe57, image):
    from pye57.utils import get_node

    if not image.root().isDefined("data3D"):
        raise ValueError("it holds no scans")
    data = get_node(image.root(), "data3D")
    return [get_node(data, place) for place in range(data.childCount())]


class _ScanFields:
    """The points of one scan: which fields they have, and these in pieces."""

    def __init__(self, libe57, image, node):
        from pye57.utils import get_node

        self.libe57, self.image, self.node = libe57, image, node
        self.points = get_node(node, "points")
        prototype = libe57.StructureNode(self.points.prototype())
        self.nodes = {}
        for place in range(prototype.childCount()):
            child = get_node(prototype, place)
            self.nodes[child.elementName()] = child
        self.place = next((names for names in (_CARTESIAN, _SPHERICAL) if set(names) <= set(self.nodes)), None)
        if self.place is None:
            raise ValueError(f"a scan has neither cartesian nor spherical coordinates, only {', '.join(self.nodes)}")
        self.state = _STATES[self.place is _SPHERICAL]
        kept = [name for name in self.nodes if name not in (*_CARTESIAN, *_SPHERICAL, *_STATES)]
        names = unique([*"xyz", "scan", *(_NAMES.get(name, name.removeprefix("seg:")) for name in kept)])[4:]
        # Name of the column -> name of the field, type
        self.attributes = {new: (name, _kind(libe57, self.nodes[name])) for new, name in zip(names, kept)}

    def pieces(self):
        """Yield coordinates (n, 3) in the frame of the file, attributes (name -> (n,)), which points are valid (n,)."""
        wanted = dict.fromkeys(self.place, "f8") | dict(self.attributes.values())
        if self.state in self.nodes:
            wanted[self.state] = "u1"
        rotation, translation = self._pose()
        found = 0
        for count, arrays in self.raw(wanted, scaled=True):
            xyz = np.stack([arrays[name][:count] for name in self.place], axis=1)
            xyz = _from_sphere(xyz) if self.place is _SPHERICAL else xyz
            if rotation is not None:
                xyz = xyz @ rotation.T
            xyz += translation
            values = {new: arrays[name][:count] for new, (name, _) in self.attributes.items()}
            state = arrays.get(self.state)
            yield xyz, values, np.ones(count, bool) if state is None else state[:count] == 0
            found += count
        if found != self.points.childCount():
            raise ValueError(f"a scan promises {self.points.childCount():,} points and holds {found:,}")

    def raw(self, wanted, scaled):
        """Yield the number of points read, and arrays by field. wanted: name of a field -> type"""
        if not wanted or not self.points.childCount():
            return
        arrays, buffers = _buffers(self.libe57, self.image, wanted, scaled)
        reader = self.points.reader(buffers)
        while count := reader.read():
            yield count, arrays
        reader.close()

    def _pose(self):
        """-> (3, 3) rotation or None, (3,) translation in metres"""
        rotation = [self._number(f"pose/rotation/{axis}") for axis in "wxyz"]
        translation = np.array([self._number(f"pose/translation/{axis}") or 0.0 for axis in "xyz"])
        if None in rotation or not any(rotation):
            return None, translation
        w, x, y, z = np.array(rotation) / np.linalg.norm(rotation)
        return np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]), translation  # fmt: skip

    def _number(self, name):
        from pye57.utils import get_node

        if not self.node.isDefined(name):
            return None
        node = get_node(self.node, name)
        return node.scaledValue() if hasattr(node, "scaledValue") else float(node.value())


def _kind(libe57, node):
    """The smallest numpy type that holds the values of a field.

    "q" and not "i8": pye57 takes "i8", which Linux calls long, for 32 bits.
    """
    if isinstance(node, libe57.FloatNode):
        return "f4" if node.precision() == libe57.E57_SINGLE else "f8"
    if isinstance(node, libe57.IntegerNode):
        low, high = node.minimum(), node.maximum()
        kinds = ("u1", "i1", "u2", "i2", "q")
        return next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return "f8"


def _raw_kind(libe57, node):
    return _kind(libe57, node) if isinstance(node, libe57.FloatNode) else "q"


def _buffers(libe57, image, kinds, scaled):
    """Arrays by field, and the list of buffers that the library fills or empties."""
    arrays = {name: np.zeros(_ROWS_AT_ONCE, kind) for name, kind in kinds.items()}
    buffers = libe57.VectorSourceDestBuffer()
    for name, array in arrays.items():
        buffers.append(libe57.SourceDestBuffer(image, name, array, _ROWS_AT_ONCE, True, scaled))
    return arrays, buffers


def _from_sphere(sphere):
    """(n, 3) distance, azimuth and elevation in radians -> (n, 3)"""
    distance, azimuth, elevation = sphere.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)


# --- writing ----------------------------------------------------------------------------------------------------------


def _write_again(path, columns, source):
    """Have the file that was read written again, with what `columns` hold beyond it."""
    kept = {}  # name of a column that was read -> its name now
    for old, original in source.columns.items():
        now = next((name for name, values in columns.items() if values is original), None)
        kept |= {} if now is None else {old: now}
    added = {name: values for name, values in columns.items()
             if not any(values is column for column in source.columns.values())}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        dtype = _write_rows(Path(folder) / "added", added, len(columns["x"]))
        head = {"kept": kept, "added": list(added), "kinds": [dtype[place].str for place in range(len(added))]}
        (Path(folder) / "head.json").write_text(json.dumps(head))
        reason = failure_apart(pack_again, source.path, folder, os.path.abspath(path))
    if reason:
        raise OSError(f"the scan {source.path}, which must be read again for it, or the new file failed ({reason})")


def _write_rows(file, columns, count):
    """Write columns side by side, some rows at a time. -> dtype of a row"""
    dtype = _row_type([values.dtype for values in columns.values()])
    with open(file, "wb") as target:
        for start in range(0, count, _ROWS_AT_ONCE):
            rows = np.empty(min(_ROWS_AT_ONCE, count - start), dtype)
            for place, values in enumerate(columns.values()):
                rows[str(place)] = values[start : start + len(rows)]
            target.write(rows.tobytes())
    return dtype


def _row_type(kinds):
    return np.dtype([(str(place), kind) for place, kind in enumerate(kinds)])


def pack_again(path, folder, target):
    """Write the file `path` again as `target`, with the columns that `_write_again` left in `folder`."""
    from pye57.utils import copy_node, get_node

    libe57, folder = _libe57(path), Path(folder)
    head = json.loads((folder / "head.json").read_text())
    dtype = _row_type(head["kinds"])
    names = [_field_name(name) for name in head["added"]]
    old, new = libe57.ImageFile(path, "r"), libe57.ImageFile(target, "w")
    for place in range(old.extensionsCount()):
        new.extensionsAdd(old.extensionsPrefix(place), old.extensionsUri(place))
    _add_extensions(new)
    root = old.root()
    for place in range(root.childCount()):
        child = get_node(root, place)
        if child.elementName() != "data3D":
            _copy(libe57, child, new.root(), new)
    scans = libe57.VectorNode(new, True)
    new.root().set("data3D", scans)
    with open(folder / "added", "rb") as rows:
        for old_node in _scans(libe57, old):
            scan, node = _ScanFields(libe57, old, old_node), libe57.StructureNode(new)
            scans.append(node)
            for place in range(old_node.childCount()):
                child = get_node(old_node, place)
                if child.elementName() not in ("points", "colorLimits"):
                    _copy(libe57, child, node, new)
            moved = _where_fields_go(scan, head["kept"])
            prototype = libe57.StructureNode(new)
            for name, field_name in moved.items():
                prototype.set(field_name, copy_node(scan.nodes[name], new)[0])
            for place, name in enumerate(names):
                prototype.set(name, _node_for(libe57, new, dtype[place]))
            _set_color_limits(libe57, new, node, prototype)
            points = libe57.CompressedVectorNode(new, prototype, libe57.VectorNode(new, True))
            node.set("points", points)
            _copy_points(libe57, new, scan, points, moved, names, dtype, rows)
    new.close()
    old.close()


def _where_fields_go(scan, kept):
    """Under which name every field of a scan is written. kept: column -> its name now

    -> name of the field -> new name
    """
    result = {}
    columns = {name: column for column, (name, _) in scan.attributes.items()}
    for name in scan.nodes:
        column = columns.get(name)
        if column is None or kept.get(column) == column:
            result[name] = name
        elif column in kept:
            result[name] = _field_name(kept[column])
    return result


def _copy_points(libe57, image, scan, points, moved, names, dtype, rows):
    """Write the points of one scan in pieces. names: of the fields that are added, whose values `rows` gives, a file"""
    kinds = {name: _raw_kind(libe57, node) for name, node in scan.nodes.items() if name in moved}
    targets = {moved[name]: kind for name, kind in kinds.items()}
    targets |= {name: _buffer_kind(dtype[place]) for place, name in enumerate(names)}
    arrays, buffers = _buffers(libe57, image, targets, scaled=False)
    writer = points.writer(buffers)
    for count, old in scan.raw(kinds, scaled=False):
        state = old.get(scan.state)
        valid = np.ones(count, bool) if state is None else state[:count] == 0
        added = np.fromfile(rows, dtype, int(valid.sum())) if names else ()
        for name, target in moved.items():
            arrays[target][:count] = old[name][:count]
        for place, name in enumerate(names):
            arrays[name][:count] = 255 if name == _field_name("prediction") else 0
            arrays[name][:count][valid] = added[str(place)]
        writer.write(count)
    writer.close()


def _write_new(libe57, path, columns):
    """Write columns as a file with one scan."""
    names = {name.lower(): name for name in reversed(columns)}
    fields = {_CARTESIAN["xyz".index(axis)]: columns[names[axis]] for axis in "xyz"}
    for name, values in columns.items():
        if name.lower() not in ("x", "y", "z"):
            fields[_field_name(name)] = values
    image = libe57.ImageFile(str(path), "w")
    image.extensionsAdd("", libe57.E57_V1_0_URI)
    _add_extensions(image)
    scans = libe57.VectorNode(image, True)
    for name, node in {
        "formatName": libe57.StringNode(image, "ASTM E57 3D Imaging Data File"),
        "guid": libe57.StringNode(image, f"{{{uuid.uuid4()}}}"),
        "versionMajor": libe57.IntegerNode(image, libe57.E57_FORMAT_MAJOR),
        "versionMinor": libe57.IntegerNode(image, libe57.E57_FORMAT_MINOR),
        "e57LibraryVersion": libe57.StringNode(image, libe57.E57_LIBRARY_ID),
        "coordinateMetadata": libe57.StringNode(image, ""),
        "data3D": scans,
        "images2D": libe57.VectorNode(image, True),
    }.items():
        image.root().set(name, node)
    node, prototype = libe57.StructureNode(image), libe57.StructureNode(image)
    scans.append(node)
    node.set("guid", libe57.StringNode(image, f"{{{uuid.uuid4()}}}"))
    for name, values in fields.items():
        prototype.set(name, _node_for(libe57, image, values.dtype))
    _set_color_limits(libe57, image, node, prototype)
    points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
    node.set("points", points)
    arrays, buffers = _buffers(
        libe57, image, {name: _buffer_kind(values.dtype) for name, values in fields.items()}, scaled=False
    )
    writer = points.writer(buffers)
    for start in range(0, len(fields[_CARTESIAN[0]]), _ROWS_AT_ONCE):
        for name, values in fields.items():
            piece = values[start : start + _ROWS_AT_ONCE]
            arrays[name][: len(piece)] = piece
        writer.write(len(piece))
    writer.close()
    image.close()


def _field_name(name):
    """What a column is called in the file: as the standard has it, or in the extension of ours."""
    known = {column: field for field, column in _NAMES.items()}
    if name in known or name in _STANDARD:
        return known.get(name, name)
    return "seg:" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def _add_extensions(image):
    for prefix, uri in (_NORMALS, _OURS):
        there = [image.extensionsPrefix(place) for place in range(image.extensionsCount())]
        if prefix not in there:
            image.extensionsAdd(prefix, uri)


def _node_for(libe57, image, dtype):
    """The node that describes values of a type."""
    if dtype.kind == "f":
        precision = libe57.E57_DOUBLE if dtype.itemsize == 8 else libe57.E57_SINGLE
        return libe57.FloatNode(image, 0.0, precision)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, min(np.iinfo(dtype).max, 2**63 - 1))
    return libe57.IntegerNode(image, 0, int(low), int(high))


def _buffer_kind(dtype):
    if dtype.kind == "f":
        return "f8" if dtype.itemsize == 8 else "f4"
    return "q"


def _set_color_limits(libe57, image, node, prototype):
    """Tell between which values the colours of a scan lie."""
    if not prototype.isDefined("colorRed"):
        return
    from pye57.utils import get_node

    limits = libe57.StructureNode(image)
    for color in ("colorRed", "colorGreen", "colorBlue"):
        child = get_node(prototype, color)
        whole = isinstance(child, libe57.IntegerNode)
        low, high = (child.minimum(), child.maximum()) if whole else (0.0, 1.0)
        for word, value in (("Minimum", low), ("Maximum", high)):
            limits.set(color + word, (libe57.IntegerNode if whole else libe57.FloatNode)(image, value))
    node.set("colorLimits", limits)


def _copy(libe57, child, parent, image):
    """Copy a node with all that is below it, pictures included."""
    from pye57.utils import copy_node

    node, _, blobs = copy_node(child, image)
    parent.set(child.elementName(), node)
    for pair in blobs:
        content = np.frombuffer(pair["in"].read_buffer(), np.uint8)
        pair["out"].write(content, 0, len(content))
