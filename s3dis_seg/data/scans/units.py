"""Units of coordinates, judged by the extents of a scan. Letters: P points."""

import numpy as np

from s3dis_seg.files import InputError

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "inch": 0.0254}
UNIT_NAMES = {"m": "metres", "cm": "centimetres", "mm": "millimetres", "ft": "feet", "inch": "inches"}
# Up to which height a scan is taken to be in which units, whether that is sure, and what it may be as well. Rooms are
# 2 to 20 m high, most of them less than 6.5 m.
_HEIGHTS = (
    (6.5, "m", True, ()),
    (80, "m", True, ("ft",)),  # a hall in metres, or a room in feet: metres unless told
    (190, "inch", False, ("cm",)),
    (650, "cm", True, ()),
    (1900, "cm", False, ("mm",)),
    (20_000, "mm", True, ()),
    (np.inf, "mm", False, ()),
)
_WIDEST = 200  # metres: no room is wider, so larger extents make the units unsure
_FLAT = 2000  # wider than any building in metres, though not high


def judged_units(xyz, path="the scan", refuse=True):
    """Units of the coordinates in a file. xyz: (P, 3), the third axis upwards. -> units, a sentence or ""

    Raises InputError with the flags to add where the units are not metres and not sure; with refuse=False the most
    likely ones are taken.
    """
    units, sure, others, height = _judged(xyz)
    if units == "m":
        note = f"it is {height:,.1f} high and taken as metres; add --units ft if these are feet" if others else ""
        return units, note
    if sure or not refuse:
        return units, (
            f"its coordinates are taken as {UNIT_NAMES[units]}, because it is {height:,.0f} high "
            f"({'sure' if sure else 'not sure'}; --units m if these are metres all the same)"
        )
    flags = " or ".join(f"--units {name}" for name in (units, *others))
    raise InputError(
        f"{path} is {height:,.0f} high, which looks like {UNIT_NAMES[units]} and is not sure: add {flags} "
        "(--units m if these are metres all the same)"
    )


def likely_units(xyz):
    """Units in which a scan has the height of rooms. (P, 3) -> a key of UNITS, the height without outliers"""
    units, _, _, height = _judged(xyz)
    return units, height


def _judged(xyz):
    """-> units, whether they are sure, other units that they may be, the height without outliers"""
    some = xyz[:: max(1, len(xyz) // 100_000)]
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) == 0:
        return "m", True, (), 0.0
    low, high = np.percentile(some, (1, 99), axis=0)
    across, height = float((high - low)[:2].max()), float((high - low)[2])
    if height <= _HEIGHTS[1][0] and across > _FLAT:
        return "mm", False, ("cm",), height
    units, sure, others = next(rest for most, *rest in _HEIGHTS if height <= most)
    return units, sure and (units == "m" or across * UNITS[units] <= _WIDEST), others, height
