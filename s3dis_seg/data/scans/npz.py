"""Archives of numpy (.npz): arrays with one row a point, under the names that people give them. Letters: P points.

Coordinates are an array `xyz` (or points, pos, coord, ...) of shape (P, 3), or `x`, `y` and `z`. Arrays of another
length are kept for writing.
"""

import errno
import zipfile
from dataclasses import dataclass, field

import numpy as np

from s3dis_seg.data.scans.colors import COLOR_NAMES
from s3dis_seg.data.scans.tables import columns_by_place
from s3dis_seg.files import InputError

_XYZ = ("x", "y", "z")
_COORDINATES = ("xyz", "points", "point", "pos", "positions", "coord", "coords", "coordinates", "vertices", "pc",
                "data", "arr_0")  # fmt: skip
_COLORS = ("rgb", "color", "colors", "colour", "colours")
_NORMALS = ("normal", "normals")
_LONGEST_WORD = 200  # characters
_DEFLATE_MOST = 1032  # deflate gives at most that many bytes for one


@dataclass
class NpzFile:
    """What an archive holds beside the columns, so that the same arrays are written again.

    arrays: array by its name, as in the file. parts: name of an array of several columns -> these columns, (P,) each.
    """

    arrays: dict = field(repr=False)
    parts: dict = field(repr=False)
    compressed: bool = False
    notes: list = field(default_factory=list)


def read(path):
    """Read an archive. -> columns (name -> (P,) array), NpzFile

    Raises InputError where the file is damaged, or no array holds coordinates. Never unpickles.
    """
    arrays, compressed, notes = read_arrays(path)
    source = NpzFile(arrays, {}, compressed, notes)
    named = {name.lower(): name for name in reversed(arrays)}
    columns, rest = {}, dict(arrays)
    if set(_XYZ) <= set(named):
        count = len(np.atleast_1d(arrays[named["x"]]))
    else:
        name = _coordinates(path, arrays, named)
        table = rest.pop(name)
        count = len(table)
        columns = _table(path, name, table)
        source.parts[name] = dict(columns)
    for name, values in rest.items():
        if _are_words(values) and len(values) == count:
            columns[name] = values  # labels may be names of classes
        if values.dtype.kind not in "biuf" or values.shape[:1] != (count,) or not 1 <= values.ndim <= 2:
            continue
        new = _columns(name, values, {*columns, *rest})
        columns |= {key: column for key, column in new.items() if key not in columns}
        if values.ndim == 2:
            source.parts[name] = new
    return columns, source


def write(path, columns, source=None):
    """Write one array a column. With `source`, the NpzFile that `read` gave, arrays of several columns stay together,
    and arrays of another length are written again.
    """
    columns, arrays = dict(columns), {}
    for name, values in source.arrays.items() if source else ():
        parts = source.parts.get(name)
        here = {key for key, column in columns.items() if any(column is part for part in (parts or {}).values())}
        if parts and len(here) == len(parts) and name not in columns.keys() - here:
            arrays[name] = values
            columns = {key: column for key, column in columns.items() if key not in here}
        elif parts is None and name not in columns and (_are_words(values) or values.shape[:1] != (_length(columns),)):
            arrays[name] = values
    method = zipfile.ZIP_DEFLATED if source and source.compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, values in (arrays | columns).items():
            with archive.open(f"{name.encode(errors='replace').decode()}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(values), allow_pickle=False)


def _are_words(values):
    return values.dtype.kind == "U" and values.ndim == 1 and values.dtype.itemsize <= 4 * _LONGEST_WORD


def _length(columns):
    return len(next(iter(columns.values()))) if columns else -1


def read_arrays(path):
    """The arrays of an archive, never unpickled. -> arrays by name, whether the archive is compressed, notes

    InputError where it is damaged, holds no arrays, or promises more than its bytes can give.
    """
    arrays, notes, compressed = {}, [], False
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    continue
                compressed |= entry.compress_type != zipfile.ZIP_STORED
                if entry.file_size > _DEFLATE_MOST * entry.compress_size + 1000:
                    raise ValueError(f"{entry.filename[:40]} is said to be larger than its bytes can give")
                with archive.open(entry) as file:
                    values = _array(file, entry.file_size)
                name = entry.filename.removesuffix(".npy")
                if values is None:
                    notes.append(f"its array {name[:40]!r} holds Python objects and is left out")
                else:
                    arrays[name] = values
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a damaged directory of members causes
            raise
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged or no .npz archive ({said}); save it again with numpy.savez") from error
    if not arrays:
        raise InputError(f"{path} holds no arrays; save the points with numpy.savez(path, xyz=..., rgb=...)")
    return arrays, compressed, notes


def _array(file, size):
    """One array of an archive, None where it holds Python objects; ValueError where it cannot fit into its bytes."""
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise ValueError(f"an array of version {version}")
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        return None
    start = file.tell()
    count = 1
    for length in shape:
        count *= length
    if count < 0 or start + count * dtype.itemsize != size:
        raise ValueError(f"an array of shape {str(shape)[:60]} in {size - start} bytes")
    values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _coordinates(path, arrays, named):
    """The name of the array with the coordinates."""
    tables = [name for name, values in arrays.items() if _is_table(values) or values.dtype.names]
    known = [named[name] for name in _COORDINATES if named.get(name) in tables]
    if known:
        return known[0]
    if len(tables) == 1:
        return tables[0]
    listed = ", ".join(f"{name[:30]} {str(values.shape)[:30]}" for name, values in arrays.items())[:300]
    raise InputError(
        f"{path} has no array that is known to hold coordinates, only {listed}; call an array of shape (P, 3) 'xyz'"
    )


def _is_table(values):
    return values.ndim == 2 and values.shape[1] >= 3 and values.dtype.kind in "iuf"


def _table(path, name, table):
    if table.dtype.names:
        plain = [field for field in table.dtype.names if table.dtype[field].kind in "biuf"]
        if table.ndim != 1 or len(plain) < len(table.dtype.names):
            raise InputError(f"{path}: its array {name[:40]!r} holds more than one number in a field of a point")
        return {field: table[field] for field in plain}
    return columns_by_place(f"{path}, array {name[:40]!r},", table)


def _columns(name, values, taken):
    """Columns of an array with one row a point. -> name -> (P,) array"""
    if values.ndim == 1:
        return {name: values}
    width, lower = values.shape[1], name.lower()
    names = [f"{name}_{place}" for place in range(width)] if width != 1 else [name]
    if lower in _COLORS and width in (3, 4):
        # In a file that was segmented before, red, green and blue hold the class colours.
        free = COLOR_NAMES[1] if not set(COLOR_NAMES[1]) & taken else COLOR_NAMES[0]
        names = [*free, "alpha"][:width]
    elif lower in _NORMALS and width == 3:
        names = ["nx", "ny", "nz"]
    return {new: values[:, place] for place, new in enumerate(names)}
