"""What a scan can be coloured by, with titles and legends, and what is hidden. Letters: P points of a scan."""

import numpy as np

from s3dis_seg.classes import UNLABELLED, UNLABELLED_COLOR
from s3dis_seg.files import InputError

GREY = np.array((128, 128, 128), np.uint8)  # points without a colour of their own
RIGHT, WRONG = np.array((190, 200, 210), np.uint8), np.array((215, 25, 28), np.uint8)
_OVERHEAD = "ceiling", "beam"
_HEAD_HEIGHT = 1.5  # metres above the floor; a prediction of ceiling below this height is a mistake, and stays visible


def color_points(scan, coloring):
    """Colours of all points of a Scan. coloring: a name of COLORINGS -> (P, 3) uint8

    InputError where the scan lacks what the colouring shows.
    """
    if coloring not in COLORINGS:
        raise InputError(f"no colouring is called {coloring!r}; there are {', '.join(COLORINGS)}")
    if coloring not in available_colorings(scan):
        raise InputError(f"cannot show {coloring!r}: {scan.path or 'the scan'} has no {_LACKING[coloring]}")
    return COLORINGS[coloring](scan)


def available_colorings(scan):
    """The names of the colourings this scan has the data for, in the order of COLORINGS."""
    there = {
        "scan": True,
        "prediction": scan.predictions is not None,
        "truth": scan.labels is not None,
        "errors": scan.predictions is not None and scan.labels is not None,
        "confidence": scan.confidence is not None,
    }
    return [name for name in COLORINGS if there[name]]


def _scan_colors(scan):
    return np.tile(GREY, (len(scan.xyz), 1)) if scan.rgb is None else scan.rgb


def _prediction_colors(scan):
    return scan.classes.colors_of(scan.predictions)


def _truth_colors(scan):
    return scan.classes.colors_of(scan.labels)


def _error_colors(scan):
    """Right or wrong; points without a label are neither and have the colour of unlabelled points."""
    colors = np.where((scan.labels == scan.predictions)[:, None], RIGHT, WRONG)
    colors[scan.labels == UNLABELLED] = UNLABELLED_COLOR
    return colors


def _confidence_colors(scan):
    return ramp(scan.confidence)


def ramp(values):
    """Colours from dark at 0 to light at 1 (matplotlib's viridis). (P,) -> (P, 3) uint8"""
    from matplotlib import colormaps

    table = (colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table[(np.clip(values, 0, 1) * 255).round().astype(np.uint8)]


COLORINGS = {
    "scan": _scan_colors,
    "prediction": _prediction_colors,
    "truth": _truth_colors,
    "errors": _error_colors,
    "confidence": _confidence_colors,
}
TITLES = {
    "scan": "scan",
    "prediction": "prediction",
    "truth": "ground truth",
    "errors": "errors",
    "confidence": "confidence",
}
_LACKING = {
    "prediction": "predictions; s3dis-seg segment makes them",
    "truth": "labels that are known by their name; name their property with --label-field",
    "errors": "predictions and labels at once; s3dis-seg segment makes the former, --label-field names the latter",
    "confidence": "confidence; s3dis-seg segment writes it beside the predictions",
}


def title_of(scan, coloring):
    """The title of a panel or of the window, with a remark where it is needed to read the colours."""
    if coloring == "scan" and scan.rgb is None:
        return "scan (has no colours)"
    if coloring == "errors":
        labelled = scan.labels != UNLABELLED
        if not labelled.any():
            return "errors: no point has a label"
        return f"errors: {100 * (scan.labels != scan.predictions)[labelled].mean():.1f} % of the points"
    return TITLES[coloring]


def legend(scan, coloring, points=None):
    """What the colours of a colouring mean. -> list of (name, (3,) uint8), of classes those that occur

    points: which points count, as integers in an array of any shape, -1 for none; all points by default.
    """
    points = slice(None) if points is None else np.unique(points[points >= 0])
    if coloring == "prediction":
        return _classes_in(scan.predictions[points], scan.classes)
    if coloring == "truth":
        return _classes_in(scan.labels[points], scan.classes)
    if coloring == "errors":
        unlabelled = (scan.labels[points] == UNLABELLED).any()
        return [("right", RIGHT), ("wrong", WRONG), *([_UNLABELLED_ENTRY] if unlabelled else [])]
    if coloring == "confidence":
        steps = np.linspace(0, 1, 5)
        return [(f"{100 * step:.0f} % confident", color) for step, color in zip(steps, ramp(steps))]
    return [("no colour", GREY)] if scan.rgb is None else []


_UNLABELLED_ENTRY = ("unlabelled", UNLABELLED_COLOR)


def _classes_in(labels, classes):
    """An entry for each class that occurs; a number beyond the classes, as other programs may write, is named by it."""
    present = np.unique(labels)
    known = [int(label) for label in present if label != UNLABELLED]
    names = [classes.names[label] if label < len(classes) else f"class {label}" for label in known]
    entries = list(zip(names, classes.color_table[known]))
    return [*entries, _UNLABELLED_ENTRY] if UNLABELLED in present else entries


def points_below_ceiling(scan):
    """Which points to show so that one can look into a room from above. -> (P,) bool, what is hidden in words

    Hidden is what is labelled ceiling or beam, and what is predicted so in the upper part of the scan: the same points
    whatever the colouring. A prediction of ceiling low in a room is a mistake and stays in the picture. Without labels
    and predictions, or where none of the classes has one of these names, the upper 5 % of the height is hidden.
    """
    low, high = floor_and_ceiling(scan.xyz)
    z = scan.xyz[:, 2]
    overhead_classes = [number for number, name in enumerate(scan.classes.names) if name.lower() in _OVERHEAD]
    if not overhead_classes or (scan.labels is None and scan.predictions is None):
        hidden = z > low + 0.95 * (high - low)
        return ~hidden, f"{hidden.sum():,} points in the upper 5 % of the height" if hidden.any() else ""
    nothing = np.zeros(len(z), bool)
    overhead = z > min(low + _HEAD_HEIGHT, (low + high) / 2)
    labelled = nothing if scan.labels is None else np.isin(scan.labels, overhead_classes)
    predicted = nothing if scan.predictions is None else np.isin(scan.predictions, overhead_classes) & overhead
    hidden = labelled | predicted
    said = " or ".join(word for word, some in (("labelled", labelled), ("predicted", predicted)) if some.any())
    return ~hidden, f"{hidden.sum():,} points {said} ceiling or beam" if said else ""


def within_heights(scan, heights):
    """Which points lie between two heights. heights: (low, high) metres above the floor -> (P,) bool

    InputError where there is none.
    """
    floor, ceiling = floor_and_ceiling(scan.xyz)
    inside = (scan.xyz[:, 2] >= floor + heights[0]) & (scan.xyz[:, 2] <= floor + heights[1])
    if not inside.any():
        raise InputError(
            f"{scan.path or 'the scan'} has no point from {heights[0]:g} to {heights[1]:g} m above its floor; "
            f"it is {ceiling - floor:.2f} m high"
        )
    return inside


def floor_and_ceiling(xyz):
    """The lowest and highest z, without outliers; 0 and 0 where no point is finite."""
    some = xyz[:: max(1, len(xyz) // 100_000), 2]
    some = some[np.isfinite(some)]
    return np.percentile(some, (0.1, 99.9)) if len(some) else (0.0, 0.0)
