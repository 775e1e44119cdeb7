"""Lists of classes with names and colours: the 13 of S3DIS, and those that a user brings. No other file repeats them.

Letters: C classes, P points.
"""

import colorsys
import itertools
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNLABELLED = 255  # the label of points without a class; losses and scores leave them out
UNLABELLED_COLOR = np.array((128, 0, 0), dtype=np.uint8)
REST = "rest"  # among the values of a class: all that no class names
_GOLDEN = 0.618034  # of the colour circle: neighbours in a list of classes get colours that are far apart


@dataclass(frozen=True)
class Classes:
    """What the numbers 0 to C - 1 mean.

    names: by class number. colors: red, green, blue from 0 to 255, one triple for each class.
    values: for each class the values that mean it in the user's scans, a tuple of texts such as "2", "64-70" (both
    ends included), "tree" (for scans that hold words), or REST. ignored: the values that mean no class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    values: tuple[tuple[str, ...], ...]
    ignored: tuple[str, ...] = ()

    @staticmethod
    def named(names):
        """Classes of which only the names are known: default colours, and class numbers as values."""
        names = tuple(names)
        return Classes(names, default_colors([None] * len(names)), ()).numbered()

    def numbered(self):
        """The same classes for scans that hold class numbers, and -1 or 255 for none, as prepared rooms do."""
        values = tuple((str(number),) for number in range(len(self)))
        return Classes(self.names, self.colors, values, ("-1", str(UNLABELLED)))

    def __len__(self):
        return len(self.names)

    @cached_property
    def color_table(self):
        """(256, 3) uint8: the colour of every label"""
        table = np.tile(UNLABELLED_COLOR, (256, 1))
        table[: len(self.colors)] = self.colors
        return table

    def colors_of(self, labels):
        """The colours of labels or predictions. (P,) class numbers, 255 for unlabelled -> (P, 3) uint8"""
        return self.color_table[np.asarray(labels, dtype=np.uint8)]

    def label_of(self, value):
        """The class number that a value of a scan means. -> 0 to C - 1, UNLABELLED, or None where no line names it

        value: an integer, or a text for scans that hold words.
        """
        if isinstance(value, str):
            found = self._by_text.get(value)
        else:
            found = next((label for low, high, label in self._ranges if low <= value <= high), None)
        return self._by_text.get(REST) if found is None else found

    @cached_property
    def _by_text(self):
        """dict of value as text -> class number"""
        return {text: label for label, texts in self._labelled for text in texts}

    @cached_property
    def _ranges(self):
        """list of (lowest value, highest value, class number)"""
        ranges = [(range_of(text), label) for label, texts in self._labelled for text in texts]
        return [(*ends, label) for ends, label in ranges if ends is not None]

    @property
    def _labelled(self):
        return [*enumerate(self.values), (UNLABELLED, self.ignored)]


def range_of(text):
    """The lowest and the highest value that a text such as "7", "-1" or "64-70" means; None where it is a word.

    >>> range_of("64-70")
    (64, 70)
    """
    match = re.fullmatch(r"(-?[0-9]{1,15})(?:\s*-\s*(-?[0-9]{1,15}))?", text)
    return match and (int(match[1]), int(match[2] if match[2] is not None else match[1]))


def default_colors(given):
    """Colours for the classes that have none. given: a triple or None for each class -> tuple of triples, all there"""
    taken = {tuple(color) for color in given if color is not None}
    fresh = (color for color in map(_palette, itertools.count()) if color not in taken)
    return tuple(next(fresh) if color is None else tuple(color) for color in given)


def _palette(number):
    """Colour number 0, 1, 2, ... of a palette without end; none is dark red as unlabelled points are."""
    lightness = (0.95, 0.7, 0.5)[number // 12 % 3]
    saturation = (0.75, 0.45)[number % 2]
    red, green, blue = colorsys.hsv_to_rgb((0.33 + number * _GOLDEN) % 1, saturation, lightness)
    return round(255 * red), round(255 * green), round(255 * blue)


# The number of a class is its place here. PointNet, DGCNN, DeepGCN and Pointcept number them in this order;
# torch-points3d and KPConv put chair before table.
CLASSES: tuple[str, ...] = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door",
    "table", "chair", "sofa", "bookcase", "board", "clutter",
)  # fmt: skip

# (13, 3) red, green, blue. From PointNet's indoor3d_util.py; most published pictures of S3DIS have these colours.
COLORS: np.ndarray = np.array(
    [
        (0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 255), (100, 100, 255), (200, 200, 100),
        (170, 120, 200), (255, 0, 0), (200, 100, 100), (10, 200, 100), (200, 200, 200), (50, 50, 50),
    ],
    dtype=np.uint8,
)  # fmt: skip

S3DIS = Classes(CLASSES, tuple(map(tuple, COLORS.tolist())), ()).numbered()

SYNONYMS = {"stairs": "clutter"}  # names of objects in the release that are no class of their own

AREAS = (1, 2, 3, 4, 5, 6)
