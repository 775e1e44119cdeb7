"""What a scan can be coloured by, and the legend. Letters: P points of a scan."""

import numpy as np

from s3dis_seg.classes import CLASSES, COLORS, UNLABELLED, UNLABELLED_COLOR, colors_of
from s3dis_seg.files import InputError

GREY = np.array((128, 128, 128), np.uint8)  # points without a colour of their own
RIGHT, WRONG = np.array((190, 200, 210), np.uint8), np.array((215, 25, 28), np.uint8)
_OVERHEAD = CLASSES.index("ceiling"), CLASSES.index("beam")


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
    return colors_of(scan.predictions)


def _truth_colors(scan):
    return colors_of(scan.labels)


def _error_colors(scan):
    """Right or wrong; points without a label are neither and look like unlabelled ones."""
    colors = np.where((scan.labels == scan.predictions)[:, None], RIGHT, WRONG)
    colors[scan.labels == UNLABELLED] = UNLABELLED_COLOR
    return colors


def _confidence_colors(scan):
    return ramp(scan.confidence)


def ramp(values):
    """A perceptual ramp (viridis) from dark at 0 to light at 1. (P,) -> (P, 3) uint8"""
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


def legend(scan, colorings, seen=None):
    """What the colours mean. -> list of (name, (3,) uint8): the classes that occur, each once, then the rest.

    seen: (H, W) of `seen_points`; the classes of these points only.
    """
    points = slice(None) if seen is None else np.unique(seen[seen >= 0])
    present = set()
    for name, values in (("prediction", scan.predictions), ("truth", scan.labels)):
        if name in colorings:
            present.update(np.unique(values[points]).tolist())
    if "errors" in colorings and (scan.labels[points] == UNLABELLED).any():
        present.add(UNLABELLED)
    entries = [(CLASSES[label], COLORS[label]) for label in sorted(present - {UNLABELLED})]
    if UNLABELLED in present:
        entries.append(("unlabelled", UNLABELLED_COLOR))
    if "errors" in colorings:
        entries += [("right", RIGHT), ("wrong", WRONG)]
    if "confidence" in colorings:
        steps = np.linspace(0, 1, 5)
        entries += [(f"{100 * step:.0f} % confident", color) for step, color in zip(steps, ramp(steps))]
    return entries


def points_below_ceiling(scan):
    """Which points to show so that one can look into a room from above. -> (P,) bool, what is hidden in words

    Hides what is labelled ceiling or beam (predicted, where there are no labels), or the upper 5 % of the height where
    there are neither.
    """
    for values, said in ((scan.labels, "labelled"), (scan.predictions, "predicted")):
        if values is not None:
            hidden = np.isin(values, _OVERHEAD)
            return ~hidden, f"{hidden.sum():,} points {said} ceiling or beam" if hidden.any() else ""
    z = scan.xyz[:, 2]
    some = z[:: max(1, len(z) // 100_000)]
    some = some[np.isfinite(some)]
    if len(some) == 0:
        return np.ones(len(z), bool), ""
    low, high = np.percentile(some, (0.1, 99.9))
    hidden = z > low + 0.95 * (high - low)
    return ~hidden, f"{hidden.sum():,} points in the upper 5 % of the height" if hidden.any() else ""
