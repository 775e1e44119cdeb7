"""Arrays of numpy (.npy): (P, 3), (P, 6) or (P, 7) numbers, or a structured array. Letters: P points."""

import tokenize
import warnings
from pathlib import Path

import numpy as np

from s3dis_seg.data.scans.tables import columns_by_place
from s3dis_seg.files import InputError

_SHAPES = "expected numbers of shape (P, 3), (P, 6) or (P, 7): x y z, r g b, label"


def read(path):
    """Read an array. -> columns (name -> (P,) array, views of the mapped file), None

    Raises InputError where the file is damaged or holds anything but a table of numbers. Never unpickles.
    """
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise InputError(f"{path} is an .npz archive; save the array of the points alone with numpy.save")
    table = mapped(path)
    if table.dtype.names:
        return _fields(path, table), None
    if table.ndim != 2 or not _is_plain(table.dtype) or table.dtype.kind == "b":
        raise InputError(f"{path} holds {_short(table.dtype)} of shape {_short(table.shape)}; {_SHAPES}")
    return columns_by_place(path, table), None


def write(path, columns, source=None):
    """Write a structured array whose fields are the columns; `read` understands it. `source` is not needed."""
    count = len(next(iter(columns.values())))
    table = np.empty(count, [(name, values.dtype.newbyteorder("=")) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = np.asarray(values)
    with open(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Stored array in format", category=UserWarning)
        np.save(file, table)


def mapped(path):
    """The array of a file as a view of it. Never unpickles.

    Raises InputError where the file is damaged, cannot hold the shape that it claims, or goes on after its array.
    """
    path = Path(path)
    try:
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy about headers that old versions wrote
            table = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, TypeError, SyntaxError, ArithmeticError, MemoryError, RecursionError,
            tokenize.TokenError) as error:  # fmt: skip
        said = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} is damaged or no .npy array of numbers ({said}); save it again with numpy.save"
        ) from error
    if min(table.shape, default=0) < 0 or table.nbytes > path.stat().st_size:
        raise InputError(f"{path} is damaged: it cannot hold its shape {_short(table.shape)}; copy it again")
    if table.offset + table.nbytes < path.stat().st_size:
        raise InputError(f"{path} goes on after its array of shape {_short(table.shape)}; save all points as one array")
    return table


def _fields(path, table):
    if table.ndim != 1:
        raise InputError(f"{path} holds named fields in the shape {_short(table.shape)}; expected one row of points")
    for name in table.dtype.names:
        if not _is_plain(table.dtype[name]):
            raise InputError(
                f"{path} has a field {name[:40]!r} of {_short(table.dtype[name])}; "
                "expected one number a point in every field"
            )
    return {name: table[name] for name in table.dtype.names}


def _is_plain(dtype):
    """Whether it is one number: bool, integer or float of at most 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _short(value):
    text = str(value)
    return text if len(text) <= 80 else text[:80] + "..."
