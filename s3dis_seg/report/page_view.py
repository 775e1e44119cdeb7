"""What the 3-D view of a page is made of: the packed points, and the facts that page.js reads as JSON.

Letters: n points of the page.
"""

import json

import numpy as np

from s3dis_seg.classes import UNLABELLED_COLOR
from s3dis_seg.report.page_points import as_bytes, drawing_order, packed, quantized
from s3dis_seg.view.colorings import RIGHT, WRONG, ramp

_SAMPLE = 200_000  # points that tell the extent without outliers


def view_of(scan, palette, places, most_points):
    """The data of the 3-D view. -> dict name -> packed column, text of JSON, (n,) indices of the points in it

    scan: a Scan of finite points with predictions. palette: (256, 3) colours of all labels. places: list of Place.
    """
    steps, corner, step = quantized(scan.xyz)
    order, hands = drawing_order(steps, most_points)
    steps = steps[order]
    facts = {
        "points": len(order),
        "allPoints": len(scan),
        "hands": hands,
        "step": step,
        "spacing": _spacing(steps * step),
        "predictionCounts": _counts(scan.predictions),
        "labelCounts": None if scan.labels is None else _counts(scan.labels),
        "classColors": palette.tolist(),
        "ramp": ramp(np.arange(256) / 255).tolist(),
        "errorColors": [RIGHT.tolist(), WRONG.tolist(), UNLABELLED_COLOR.tolist()],
        "places": [
            {"low": (place.low - corner).tolist(), "high": (place.high - corner).tolist(), "label": place.label}
            for place in places
        ],
    }
    some = steps[:: max(1, len(steps) // _SAMPLE)] * step
    facts["low"], facts["high"] = np.percentile(some, (0.1, 99.9), axis=0).tolist()
    columns = {name: packed(column) for name, column in _columns(scan, order, steps).items()}
    return columns, json.dumps(facts, separators=(",", ":")), order


def _counts(labels):
    return np.bincount(labels, minlength=256).tolist()


def _spacing(xyz, side=0.1):
    """About how far apart the points of a surface are. (n, 3) from 0 -> metres"""
    # A surface that crosses a cube has about the area of one of its faces.
    cubes = np.floor(xyz / side).astype(np.int64)
    counts = cubes.max(axis=0) + 1
    occupied = len(np.unique((cubes[:, 0] * counts[1] + cubes[:, 1]) * counts[2] + cubes[:, 2]))
    return side * float(np.sqrt(occupied / len(xyz)))


def _columns(scan, order, steps):
    """The columns of points by the names that page.js knows. -> dict name -> (n,) uint8 or uint16"""
    columns = {axis: steps[:, place] for place, axis in enumerate("xyz")}
    if scan.rgb is not None:
        columns |= {name: scan.rgb[order, place] for place, name in enumerate(("red", "green", "blue"))}
    columns["prediction"] = scan.predictions[order]
    if scan.labels is not None:
        columns["truth"] = scan.labels[order]
    if scan.confidence is not None:
        columns["confidence"] = as_bytes(scan.confidence[order])
    return columns
