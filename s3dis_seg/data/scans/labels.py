"""Labels that a scan brings along in one of its properties, whatever that is called. Letters: P points."""

import numpy as np

from s3dis_seg.classes import S3DIS, UNLABELLED, Classes
from s3dis_seg.data.scans.lazy import Lazy
from s3dis_seg.files import InputError

# Tried in this order where no name is given. In .las and .laz files `classification` has a meaning of its own (2 is
# ground, 6 is building), so for the classes of S3DIS a name must be given there.
USUAL_NAMES = ("classification", "label", "labels", "class", "scalar_Classification", "scalar_Label")

_CLOUDCOMPARE = "scalar_"  # what it puts before the names of its scalar fields
_MOST_VALUES = 10_000  # different values; a property with more holds no labels
_AT_ONCE = 1_000_000  # points looked at in one go: bounds the temporary memory


def labels_of(scan, name=None):
    """Labels that a scan brings along. -> (P,) uint8 class numbers, 255 unlabelled; None where none are found

    Its values mean what `scan.classes` says; a value that is no number (NaN) is unlabelled. name: the property that
    holds them; without it the usual names are tried. InputError where a property that was named is not there, or holds
    a value that the classes do not name.
    """
    if name is not None:
        field = field_of(scan, name)
        labels, fault = _as_labels(_values(scan, field), scan.classes)
        if fault:
            raise InputError(f"property {field!r} of {scan.path} holds {fault}; labels are {_expected(scan.classes)}")
        return labels
    if scan.classes is S3DIS and scan.path is not None and scan.path.suffix.lower() in (".las", ".laz"):
        return None
    for usual in USUAL_NAMES:
        if usual in scan.columns:
            labels, fault = _as_labels(scan.columns[usual], scan.classes)
            if not fault:
                return labels
    return None


def _expected(classes):
    if classes is S3DIS:
        names = classes.names
        return f"0 ({names[0]}) to {len(names) - 1} ({names[-1]}), and {UNLABELLED} or -1 where there is none"
    named = [f"{', '.join(values)} ({name})" for name, values in zip(classes.names, classes.values)]
    return "; ".join(named)[:300] + (f"; none: {', '.join(classes.ignored)}" if classes.ignored else "")


def field_of(scan, name=None):
    """The property of a scan that is meant by a name, or has a usual one. -> its name in the file

    Capitals do not matter, nor does what CloudCompare puts before the name of a scalar field. InputError where there
    is none.
    """
    spelled = {known.lower(): known for known in reversed([*scan.columns, *scan.words])}
    for wanted in USUAL_NAMES if name is None else (name,):
        if wanted in scan.columns:
            return wanted
        for key in (wanted.lower(), _CLOUDCOMPARE + wanted.lower()):
            if key in spelled:
                return spelled[key]
    has = ", ".join([*scan.columns, *scan.words])
    if name is None:
        raise InputError(
            f"{scan.path} has no labels that are known by their name, only {has}; "
            "name the property that holds them with --label-field"
        )
    raise InputError(f"{scan.path} has no property {name!r}; it has {has}")


def predictions_of(scan, field):
    """Predictions in a property of a scan. -> (P,) uint8 class numbers, 255 for none; InputError for anything else"""
    names = scan.classes.names
    labels, fault = _as_labels(scan.columns[field], Classes.named(names))
    if fault:
        raise InputError(
            f"property {field!r} of {scan.path} holds {fault}; predictions are 0 ({names[0]}) to {len(names) - 1} "
            f"({names[-1]}), and {UNLABELLED} or -1 where there is none: name their classes with --classes"
        )
    return labels


def values_of(scan, field):
    """The different values of a property. -> dict integer, word, or None for NaN -> points

    InputError where it holds fractions or more values than labels can have.
    """
    counts = {}
    for distinct, places, fault in _parts(_values(scan, field)):
        if fault or len(counts) > _MOST_VALUES:
            raise InputError(
                f"property {field!r} of {scan.path} holds {fault or f'more than {_MOST_VALUES:,} different values'}; "
                "labels are integers: name the property that holds them with --label-field"
            )
        for value, points in zip(distinct, np.bincount(places, minlength=len(distinct)).tolist()):
            counts[value] = counts.get(value, 0) + points
    return counts


def doubt_about_labels(labels, classes=S3DIS):
    """A sentence where class numbers may be those of other classes, otherwise "". (P,) uint8 -> str

    Files hold numbers without names. Rooms of S3DIS nearly always have clutter, the last class; numbers that end before
    it are more often those of somebody's own classes. No doubt where the user, or the file, has named its classes.
    """
    numbers = np.flatnonzero(np.bincount(labels, minlength=256)[: len(classes)])
    if classes is not S3DIS or len(numbers) == 0 or numbers[-1] == len(classes) - 1:
        return ""
    low, high = numbers[0], numbers[-1]
    span = f"label {low} is" if low == high else f"labels {low} to {high} are"
    return (
        f"{span} taken as {', '.join(classes.names[number] for number in numbers)}; "
        "if these numbers mean other classes, name them with --classes, or do not score against them"
    )


def _values(scan, field):
    return scan.words[field] if field in scan.words else scan.columns[field]


def _as_labels(values, classes):
    """-> (P,) uint8 and "", or None and what is wrong with the values."""
    labels, done = [], 0
    for distinct, places, fault in _parts(values):
        numbers = [UNLABELLED if value is None else classes.label_of(value) for value in distinct]
        if fault or None in numbers:
            return None, fault or str(distinct[numbers.index(None)])
        labels.append(np.array(numbers, np.uint8)[places])
        done += len(places)
    return np.concatenate(labels) if done else np.zeros(0, np.uint8), ""


def _parts(values):
    """Yields for parts of a property: its different values, each point's place among them, what is wrong with them."""
    values = values if isinstance(values, Lazy) else np.asanyarray(values)
    if values.ndim != 1 or values.dtype.kind not in "biufU":
        yield [], np.zeros(0, np.int64), f"{values.dtype} values"
        return
    for start in range(0, len(values), _AT_ONCE):
        distinct, places = np.unique(values[start : start + _AT_ONCE], return_inverse=True)
        fault = f"more than {_MOST_VALUES:,} different values" if len(distinct) > _MOST_VALUES else ""
        if not fault and distinct.dtype.kind == "f":
            odd = distinct[~(np.isnan(distinct) | (np.isfinite(distinct) & (distinct == np.rint(distinct))))]
            fault = f"{odd[0]:g}" if len(odd) else ""
        yield [] if fault else [_plain(value) for value in distinct.tolist()], places, fault


def _plain(value):
    """A value as integer or word; None for NaN."""
    if isinstance(value, str):
        return value
    return None if value != value else int(value)
