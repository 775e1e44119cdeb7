"""Labels that a scan brings along in one of its properties, whatever that is called."""

import numpy as np

from s3dis_seg.classes import CLASSES, UNLABELLED
from s3dis_seg.files import InputError

# Tried in this order where no name is given. In .las and .laz files `classification` has a meaning of its own (2 is
# ground, 6 is building), so there a name must be given.
USUAL_NAMES = ("classification", "label", "labels", "class", "scalar_Classification", "scalar_Label")


def labels_of(scan, name=None):
    """Labels that a scan brings along. -> (P,) uint8 class numbers, 255 unlabelled; None where none are found

    name: the property that holds them; without it the usual names are tried. Raises InputError where a property that
    was named is not there, or holds anything but class numbers, 255 and -1 (both unlabelled).
    """
    if name is not None:
        if name not in scan.columns:
            raise InputError(f"{scan.path} has no property {name!r}; it has {', '.join(scan.columns)}")
        labels, fault = _as_labels(scan.columns[name])
        if fault:
            raise InputError(
                f"property {name!r} of {scan.path} holds {fault}; labels are 0 ({CLASSES[0]}) to {len(CLASSES) - 1} "
                f"({CLASSES[-1]}), and {UNLABELLED} or -1 where there is none"
            )
        return labels
    if scan.path is not None and scan.path.suffix.lower() in (".las", ".laz"):
        return None
    for usual in USUAL_NAMES:
        if usual in scan.columns:
            labels, fault = _as_labels(scan.columns[usual])
            if not fault:
                return labels
    return None


def doubt_about_labels(labels):
    """A sentence where class numbers may be those of other classes, otherwise "". (P,) uint8 -> str

    Files hold numbers without names. Rooms of S3DIS nearly always have clutter, the last class; numbers that end before
    it are more often those of somebody's own classes.
    """
    numbers = np.flatnonzero(np.bincount(labels, minlength=256)[: len(CLASSES)])
    if len(numbers) == 0 or numbers[-1] == len(CLASSES) - 1:
        return ""
    low, high = numbers[0], numbers[-1]
    span = f"label {low} is" if low == high else f"labels {low} to {high} are"
    return (
        f"{span} taken as {', '.join(CLASSES[number] for number in numbers)}; "
        "if these numbers mean other classes, do not score against them"
    )


def _as_labels(values):
    """-> (P,) uint8 and "", or None and what is wrong with the values."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        return None, f"{values.dtype} values"
    usual = (values >= 0) & (values < len(CLASSES))
    if values.dtype.kind == "f":
        usual &= values == np.floor(values)
    odd = values[~(usual | (values == UNLABELLED) | (values == -1))]
    if len(odd):
        return None, f"{odd[0]:g}"
    labels = np.full(len(values), UNLABELLED, np.uint8)
    labels[usual] = values[usual]
    return labels, ""
