"""Columns of tables that do not name them, or not well. Letters: P points."""

import io
import re

import numpy as np

from s3dis_seg.files import InputError

_XYZ, _RGB, _NORMALS = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")
_BY_WIDTH = {
    3: _XYZ,
    4: (*_XYZ, "intensity"),
    6: _XYZ + _RGB,
    7: (*_XYZ, *_RGB, "label"),
    9: _XYZ + _RGB + _NORMALS,
    10: (*_XYZ, *_RGB, "scalar", *_NORMALS),  # as CloudCompare orders them
}
_INTENSITY_FIRST = _BY_WIDTH | {7: (*_XYZ, "intensity", *_RGB), 10: (*_XYZ, "intensity", *_RGB, *_NORMALS)}


def names_by_place(path, width, intensity_first=False):
    """Names of the columns of a table without names. Raises InputError for a number of columns that means nothing.

    intensity_first: 7 columns are x y z intensity r g b, as in .pts files, and not x y z r g b label.
    """
    names = (_INTENSITY_FIRST if intensity_first else _BY_WIDTH).get(width)
    if names is None:
        raise InputError(
            f"{path} has {width} columns; without a header line 3 (x y z), 4 (and intensity), 6 (x y z r g b), 7 (and "
            "a label), 9 (x y z r g b and normals) or 10 (x y z r g b, a scalar and normals) are understood"
        )
    return list(names)


def columns_by_place(path, table, intensity_first=False):
    """Columns of a table without names. (P, number of columns) -> name -> (P,) array, views of the table"""
    names = names_by_place(path, table.shape[1], intensity_first)
    # MeshLab writes normals behind x y z. Colours are never negative.
    if len(names) == 6 and len(table) and table[:, 3:].min() < 0:
        names = _XYZ + _NORMALS
    return {name: table[:, place] for place, name in enumerate(names)}


def unique(names):
    """Names of which none is there twice: a second `scalar` becomes scalar_2. -> list of names"""
    result = []
    for name in names:
        number, new = 2, name
        while new in result or (new != name and new in names):
            new, number = f"{name}_{number}", number + 1
        result.append(new)
    return result


def whole_as_integers(values):
    """Numbers of a table of text as int32 where all are whole; 0 and 1 alone stay, they may be colours from 0 to 1."""
    with np.errstate(invalid="ignore"):
        whole = values.max() > 1 and bool(((values % 1 == 0) & (np.abs(values) < 2**31)).all())
    return values.astype(np.int32) if whole else values


def numbers(text):
    """Lines of numbers between single or several spaces or tabs. bytes -> (lines, numbers in a line) float64

    Raises ValueError where a word is no number, or the lines differ in length.
    """
    import polars

    first = text[: text.find(b"\n")]
    if first.rstrip(b"\r").endswith(b" "):
        text = re.sub(rb" +\r?\n", b"\n", text)
    try:
        frame = polars.read_csv(text, has_header=False, separator=" ", quote_char=None,
                                schema={str(place): polars.Float64 for place in range(len(first.split()))})  # fmt: skip
        if frame.null_count().sum_horizontal().item() == 0:
            return frame.to_numpy(order="c")
    except polars.exceptions.PolarsError:
        pass  # numpy is slower, but takes several spaces, and tells what is wrong
    return np.loadtxt(io.BytesIO(text), np.float64, comments=None, ndmin=2, encoding="latin-1")
