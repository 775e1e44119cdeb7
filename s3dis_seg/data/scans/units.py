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
_ROOMS = (2.2, 3.5)  # metres from floor to ceiling in most buildings
_BINS = 100  # of the height
_FLOOR, _CEILING = 3.0, 4.0  # times the mean: how crowded these heights are at least; furnished rooms have 3.2 and 7.5
_FLOOR_COVER, _CEILING_COVER = 0.4, 0.7  # of the floor plan; furnished rooms have 0.43 and 0.77
_WIDEST = 200  # metres: no room is wider, so larger extents make the units unsure
_FLAT = 2000  # wider than any building in metres, though not high


def judged_units(xyz, path="the scan", refuse=True):
    """Units of the coordinates in a file. xyz: (P, 3), the third axis upwards. -> units, a sentence or ""

    Raises InputError with the flags to add where the units are not metres and not sure; with refuse=False the most
    likely ones are taken.
    """
    units, sure, others, height = _judged(xyz)
    inside = _floor_to_ceiling(xyz) if others and units in ("m", "inch") else None
    if units == "inch" and inside and _is_room(inside, "inch") and _across(xyz) * UNITS["inch"] <= _WIDEST:
        sure, height = True, inside
    if units == "m":
        if refuse and inside and _is_room(inside, "ft"):
            raise InputError(
                f"{path} is {inside:,.1f} high from floor to ceiling, like a room in feet or a hall in metres, and "
                "neither is sure: add --units ft or --units m"
            )
        note = (
            f"it is {height:,.1f} high and taken as metres (not sure; --units ft if these are feet)" if others else ""
        )
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


def _is_room(height, units):
    return _ROOMS[0] <= height * UNITS[units] <= _ROOMS[1]


def likely_units(xyz):
    """Units in which a scan has the height of rooms. (P, 3) -> a key of UNITS, the height without outliers"""
    units, _, _, height = _judged(xyz)
    return units, height


def _judged(xyz):
    """-> units, whether they are sure, other units that they may be, the height without outliers"""
    some = _some(xyz)
    if len(some) == 0:
        return "m", True, (), 0.0
    low, high = np.percentile(some[:, 2], (1, 99))
    across, height = _across(xyz), float(high - low)
    if height <= _HEIGHTS[1][0] and across > _FLAT:
        return "mm", False, ("cm",), height
    units, sure, others = next(rest for most, *rest in _HEIGHTS if height <= most)
    return units, sure and (units == "m" or across * UNITS[units] <= _WIDEST), others, height


def _some(xyz):
    """Up to about 200,000 of the points, all finite. (P, 3) -> (n, 3)"""
    some = xyz[:: max(1, len(xyz) // 100_000)]
    return some[np.isfinite(some).all(axis=1)]


def _across(xyz):
    """The longer side of the floor plan, without outliers."""
    low, high = np.percentile(_some(xyz)[:, :2], (1, 99), axis=0)
    return float((high - low).max())


def _floor_to_ceiling(xyz):
    """The height between a floor and a ceiling that lie over most of the floor plan, with no such level in between.

    (P, 3) -> height, None where these are not found
    """
    some = _some(xyz)
    low, high = np.percentile(some[:, 2], (1, 99))
    margin = 0.05 * (high - low)
    counts, edges = np.histogram(some[:, 2], _BINS, (low - margin, high + margin))
    crowded = (counts[:-1] + counts[1:]) * (_BINS / 2 / len(some))  # two neighbouring bins, as multiples of the mean
    squares = np.floor((some[:, :2] - some[:, :2].min(axis=0)) / ((high - low) / 10)).astype(np.int64)
    squares = squares[:, 0] * (squares[:, 1].max() + 1) + squares[:, 1]

    def cover(place):
        level = (some[:, 2] >= edges[place]) & (some[:, 2] <= edges[place + 2])
        return len(np.unique(squares[level])) / len(np.unique(squares))

    end = _BINS // 4
    floor, ceiling = int(crowded[:end].argmax()), len(crowded) - end + int(crowded[-end:].argmax())
    if crowded[floor] < _FLOOR or crowded[ceiling] < _CEILING:
        return None
    if cover(floor) < _FLOOR_COVER or cover(ceiling) < _CEILING_COVER:
        return None
    between = np.arange(floor + 5, ceiling - 5)
    if any(cover(place) >= _CEILING_COVER for place in between[crowded[between] >= _FLOOR]):
        return None  # storeys
    return float(edges[ceiling] - edges[floor])
