"""Labels that a scan brings along in one of its properties, whatever that is called."""

import numpy as np

from s3dis_seg.classes import CLASSES, UNLABELLED
from s3dis_seg.files import InputError

# Tried in this order where no name is given. In .las and .laz files `classification` has a meaning of its own (2 is
# ground, 6 is building), so there a name must be given.
USUAL_NAMES = ("classification", "label", "labels", "class", "scalar_Classification", "scalar_Label")


def labels_of(scan, name=None):
    """Labels of a scan. -> (P,) uint8 of class numbers, 255 unlabelled; None where no name is given and none is found.

    name: the property; InputError where it is not there or holds anything but class numbers, 255 and -1 (unlabelled).
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
    return np.where(usual, values, UNLABELLED).astype(np.uint8), ""
