"""Points that are handed over as arrays, checked as those of a file are. Letters: P points."""

import numpy as np

from s3dis_seg.data.scans.colors import colors_as_bytes
from s3dis_seg.data.scans.lazy import Lazy
from s3dis_seg.data.scans.units import UNIT_NAMES, likely_units
from s3dis_seg.files import InputError


def checked_points(xyz, rgb=None):
    """Check coordinates and colours in numpy arrays. -> xyz, rgb, notes

    xyz: (P, 3) numbers in metres, an array or Lazy; comes back as it is. rgb: (P, 3) of any number type, 0 to 1, 0 to
    255 or 16 bits; comes back as (P, 3) uint8, or None where there are no colours. notes: sentences about what is odd.
    Raises InputError for other shapes and types, and where there are no points.
    """
    xyz = xyz if isinstance(xyz, Lazy) else np.asanyarray(xyz)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or xyz.dtype.kind not in "fiu":
        raise InputError(f"xyz has shape {xyz.shape} of {xyz.dtype}; expected numbers of shape (P, 3), in metres")
    if len(xyz) == 0:
        raise InputError("there are no points to label (0 rows)")
    rgb, notes = _checked_colors(xyz, rgb)
    units, height = likely_units(xyz)
    if units != "m":
        notes.append(f"the scan is {height:,.0f} m high, which looks like {UNIT_NAMES[units]}; "
                     "coordinates must be metres")  # fmt: skip
    return xyz, rgb, notes


def _checked_colors(xyz, rgb):
    if rgb is None:
        return None, ["no colours: 0.5 grey is taken for all points, and predictions are worse"]
    rgb = rgb if isinstance(rgb, Lazy) else np.asanyarray(rgb)
    if rgb.shape != xyz.shape or rgb.dtype.kind not in "fiu":
        raise InputError(f"rgb has shape {rgb.shape} of {rgb.dtype}; expected numbers of the shape of xyz, {xyz.shape}")
    if rgb.dtype == np.uint8:
        return rgb, []
    return colors_as_bytes(list(rgb.T))
