"""Corrections of a scan, in a small file beside it: scan.ply has scan.labels.npz.

The file keeps places of points and their classes, the names, colours and values of the classes, and the fingerprint of
the scan, so that it is never applied to another one. It is a plain archive of numpy arrays, read without pickle.
Letters: P points of a scan, n corrected ones.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.class_file import classes_of_text, text_of_classes
from s3dis_seg.data.scans.colors import COLOR_NAMES, color_names
from s3dis_seg.data.scans.npz import read_arrays
from s3dis_seg.files import InputError, replacing

SUFFIX = ".labels.npz"
_FORMAT = 1
_AT_ONCE = 1 << 20  # points hashed in one go: bounds the temporary memory


def corrections_path(scan_path):
    """Where the corrections of a scan lie by default. scan.ply -> scan.labels.npz"""
    scan_path = Path(scan_path)
    return scan_path.with_name(scan_path.stem + SUFFIX)


def is_corrections(path):
    """Whether a file is, by its name, the corrections of a scan and no scan itself."""
    return Path(path).name.lower().endswith(SUFFIX)


def fingerprint(scan):
    """A text that tells scans apart by the number of points, their coordinates in the file and their order."""
    names = {name.lower(): name for name in reversed(scan.columns)}
    axes = [scan.columns[names[axis]] for axis in "xyz"] if set("xyz") <= set(names) else list(scan.xyz.T)
    digest = hashlib.sha256(str(len(scan)).encode())
    for start in range(0, len(scan), _AT_ONCE):
        for values in axes:
            digest.update(np.asarray(values[start : start + _AT_ONCE], "<f8").tobytes())
    return digest.hexdigest()


def write_corrections(path, scan, labels):
    """Keep the corrections of a scan. labels: (P,) uint8 class numbers, 255 where nothing was corrected"""
    points = np.flatnonzero(labels != UNLABELLED)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            format=_FORMAT,
            fingerprint=fingerprint(scan),
            classes=text_of_classes(scan.classes),
            points=points,
            labels=labels[points],
        )


def read_corrections(path, scan):
    """Corrections of a scan. -> (P,) uint8 class numbers, 255 where nothing was corrected; the Classes they are of

    InputError where the file is not there, damaged, or of another scan.
    """
    made_for, classes, points, values = _read(path)
    if made_for != fingerprint(scan):
        raise InputError(
            f"{path} has the corrections of another scan than {scan.path}: points, coordinates or their order differ; "
            "name the scan that was corrected"
        )
    if len(points) and points.max() >= len(scan):
        raise InputError(f"{path} corrects more points than {scan.path} has; remove it to begin anew")
    labels = np.full(len(scan), UNLABELLED, np.uint8)
    labels[points] = values
    return labels, classes


def classes_of_corrections(path):
    """The classes of the corrections in a file. -> Classes; InputError as `read_corrections`"""
    return _read(path)[1]


def _read(path):
    """-> as `_stored`; InputError"""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there are no corrections {path}; s3dis-seg review makes them")
    try:
        return _stored(read_arrays(path)[0])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the permissions") from error
    except (KeyError, ValueError) as error:  # an InputError is one, too
        reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds no corrections or is damaged ({reason}); remove it to begin anew") from error


def _stored(arrays):
    """What a file of corrections holds. -> fingerprint, Classes, points (n,), labels (n,); KeyError, ValueError"""
    kind, made_for, text = (arrays[name].item() for name in ("format", "fingerprint", "classes"))
    if kind != _FORMAT:
        raise ValueError(f"it is of format {str(kind)[:20]}, and {_FORMAT} is expected")
    classes = classes_of_text(str(text), "its list of classes")
    points, labels = arrays["points"], arrays["labels"]
    if points.dtype.kind not in "iu" or labels.dtype != np.uint8 or points.ndim != 1 or points.shape != labels.shape:
        raise ValueError("its points and labels are no two lists of the same length")
    if len(points) and (points.min() < 0 or labels.max() >= len(classes)):
        raise ValueError("it has points or classes that cannot be")
    return made_for, classes, points, labels


def corrected_scan(scan, labels):
    """A segmented Scan in which corrected points have the class that they were given, with confidence 1. -> Scan

    labels: (P,) uint8, 255 where nothing was corrected; other points keep their prediction. All attributes stay, and
    `write_scan` writes them under the names that they have.
    """
    given = labels != UNLABELLED
    predictions = np.where(given, labels, scan.predictions)
    columns = dict(scan.columns) | {"prediction": predictions}
    if scan.confidence is not None:
        columns["confidence"] = np.where(given, np.float32(1), scan.confidence)
    for names in (("class_red", "class_green", "class_blue"), ("red", "green", "blue")):
        of_classes = names[0] == "class_red" or color_names(columns) == COLOR_NAMES[0]
        if of_classes and set(names) <= set(columns):
            columns |= dict(zip(names, _recolored(scan, names, labels)))
    # Without predictions of its own, the columns are written as they are.
    return replace(scan, columns=columns, predictions=None, confidence=None)


def _recolored(scan, names, labels):
    """Three columns of class colours, with those of corrected points changed. -> list of (P,) arrays"""
    given, columns = labels != UNLABELLED, [np.array(scan.columns[name]) for name in names]
    colors = scan.classes.colors_of(labels[given])
    for channel, column in enumerate(columns):
        column[given] = colors[:, channel].astype(np.uint16) * 257 if column.dtype == np.uint16 else colors[:, channel]
    return columns
