"""Units of coordinates, judged by the extents of a scan. Letters: P points."""

import numpy as np

from s3dis_seg.files import InputError

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UNIT_NAMES = {"m": "metres", "cm": "centimetres", "mm": "millimetres"}


def check_units(xyz, path="the scan"):
    """Refuse extents that no indoor scan in metres has. xyz: (P, 3). Raises InputError with the flag to add."""
    units, height = likely_units(xyz)
    if units != "m":
        raise InputError(
            f"{path} is {height:,.0f} high, which looks like {UNIT_NAMES[units]}: add --units {units} "
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
