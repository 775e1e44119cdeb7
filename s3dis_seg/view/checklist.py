"""What the legend of the window lists, with counts; what is hidden by it; and what is known of a point.

Letters: P points of a scan. An entry is known by its key, a pair of what it sorts by and its name, such as
("class", "wall"): two scans side by side share the entries of the same name, whatever their numbers.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from s3dis_seg.classes import UNLABELLED, UNLABELLED_COLOR
from s3dis_seg.view.colorings import GREY, RIGHT, WRONG, ramp

_BANDS = 5  # of confidence


@dataclass(frozen=True)
class Entry:
    """A line of the legend. key: (what it sorts by, name). color: (3,) uint8. count: points of the scan."""

    key: tuple
    color: tuple
    count: int

    @property
    def name(self):
        return self.key[1]


def checklist(scan, coloring):
    """The entries of a colouring that occur in a scan, with their counts. -> list of Entry

    Errors and confidence come with their own entries, and all with the classes: of the labels where these are shown,
    otherwise of the predictions, or of the labels where there are no others. Hidden or not, all points count.
    """
    return [
        Entry((sort, name), tuple(int(value) for value in color), int(count))
        for sort, numbers, names, colors in _sortings(scan, coloring)
        for name, color, count in zip(names, colors, np.bincount(numbers, minlength=len(names)))
        if count
    ]


def not_hidden(scan, coloring, hidden):
    """Which points no hidden entry takes away. hidden: set of keys -> (P,) bool"""
    shown = np.ones(len(scan.xyz), bool)
    for sort, numbers, names, _ in _sortings(scan, coloring):
        table = np.array([(sort, name) not in hidden for name in names])
        if not table.all():
            shown &= table[numbers]
    return shown


def _sortings(scan, coloring):
    """How the points are sorted into entries: (what it sorts by, (P,) numbers, names, colours of each number)."""
    if coloring == "errors":
        wrong = (scan.labels != scan.predictions).astype(np.uint8)
        wrong[scan.labels == UNLABELLED] = 2
        yield "error", wrong, ("right", "wrong", "neither: unlabelled"), (RIGHT, WRONG, UNLABELLED_COLOR)
    if coloring == "confidence":
        band = np.clip(np.nan_to_num(scan.confidence) * _BANDS, 0, _BANDS - 1).astype(np.uint8)
        edges = np.linspace(0, 100, _BANDS + 1).astype(int)
        names = [f"{low} to {high} % confident" for low, high in itertools.pairwise(edges)]
        yield "confidence", band, names, ramp((np.arange(_BANDS) + 0.5) / _BANDS)
    numbers = scan.labels if coloring == "truth" or scan.predictions is None else scan.predictions
    if numbers is not None:
        names = [class_name(scan.classes, number) for number in range(UNLABELLED + 1)]
        yield "class", numbers, names, scan.classes.colors_of(np.arange(UNLABELLED + 1, dtype=np.uint8))
    elif scan.rgb is None:
        yield "color", np.zeros(len(scan.xyz), np.uint8), ("no colour",), (GREY,)


def class_name(classes, number):
    """The name of a class number; a number beyond the classes, as other programs may write, is named by it."""
    if number == UNLABELLED:
        return "unlabelled"
    return classes.names[number] if number < len(classes) else f"class {number}"


_TOLD = {"x", "y", "z", "red", "green", "blue", "prediction", "confidence"}


def facts_of_point(scan, point):
    """What is known of a point: class, confidence, place, colour and the attributes of the file.

    point: its number in the scan. -> list of (name, text)
    """
    facts = [("point", f"{point:,}")]
    if scan.predictions is not None:
        facts.append(("prediction", class_name(scan.classes, int(scan.predictions[point]))))
    if scan.confidence is not None:
        facts.append(("confidence", f"{100 * scan.confidence[point]:.1f} %"))
    if scan.labels is not None:
        facts.append(("label", class_name(scan.classes, int(scan.labels[point]))))
    facts += [(axis, f"{scan.xyz[point, place]:.3f} m") for place, axis in enumerate("xyz")]
    if scan.rgb is not None:
        facts.append(("colour", " ".join(str(value) for value in scan.rgb[point].tolist())))
    attributes = {name: values for name, values in scan.columns.items() if name.lower() not in _TOLD}
    return facts + [(name, _text(values[point])) for name, values in {**attributes, **scan.words}.items()]


def _text(value):
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
