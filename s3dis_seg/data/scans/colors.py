"""Colours of points as bytes, whatever type and range a file has them in. Letters: P points."""

import numpy as np

from s3dis_seg.data.scans.lazy import Lazy, lazy_rows

# Names that colours go by, in any mixture of capitals; the first set that is there is taken. Ours come first: in a scan
# that was segmented before, red, green and blue hold the class colours. CloudCompare writes colours from 0 to 1 as Rf.
COLOR_NAMES = (
    ("scan_red", "scan_green", "scan_blue"),
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("rf", "gf", "bf"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
_POINTS_AT_ONCE = 500_000


def color_names(columns):
    """The names of the three columns that hold colours, spelled as in the file. -> three names, or None"""
    spelled = {name.lower(): name for name in reversed(columns)}
    known = next((names for names in COLOR_NAMES if all(name in spelled for name in names)), None)
    return known and tuple(spelled[name] for name in known)


def colors_as_bytes(columns):
    """Colours of any type as bytes. Three (P,) arrays -> (P, 3) uint8 or None for no colours, list of notes

    Floats are judged by their range (0 to 1 or 0 to 255), 16-bit integers by their type unless none exceeds 255.
    All black means no colours: scanners without a camera write zeros. NaN becomes 0.
    """
    rgb, notes = lazy_colors(columns)
    if rgb is None:
        return None, notes
    return stacked(columns) if _are_bytes(columns) else np.asarray(rgb), notes


def lazy_colors(columns):
    """The same as Lazy (P, 3) uint8, for columns that may be Lazy as well."""
    top = _largest(columns)
    if top <= 0:
        return None, ["its colours are all black, which is taken as no colours"]
    if _are_bytes(columns):
        return lazy_rows(columns), []
    factor, told = _color_scale(columns[0].dtype, top)

    def as_bytes(part):
        values = np.stack([column[part] for column in columns], axis=1).astype(np.float64)
        return np.clip(np.rint(np.nan_to_num(values * factor)), 0, 255).astype(np.uint8)

    return Lazy(as_bytes, (len(columns[0]), 3), np.uint8), told


def _are_bytes(columns):
    return {column.dtype for column in columns} == {np.dtype(np.uint8)}


def _largest(columns):
    """The largest value, 0 at least. For integers any value that tells as much: beyond 255, or a byte beyond 0."""
    whole, top = all(column.dtype.kind in "iu" and column.dtype.itemsize <= 2 for column in columns), 0.0
    enough = 0 if _are_bytes(columns) else 255
    for start in range(0, len(columns[0]), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        top = max(top, *(float(np.nanmax(column[part], initial=0)) for column in columns))
        if whole and top > enough:
            break
    return top


def doubts_about_colors(rgb):
    """A sentence where colours are shades of grey. (P, 3) uint8 or None -> list of sentences"""
    if rgb is None:
        return []
    some = rgb[:: max(1, len(rgb) // 100_000)]
    if len(some) < 100 or (some != some[:, :1]).any():
        return []
    return ["its colours are all grey, perhaps made of intensity: labels are worse than with colours"]


def stacked(columns):
    """Three (P,) columns side by side, (P, 3): a view where they lie side by side in one record, otherwise a copy."""
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
