"""Confusion matrices and the scores made of them. Knows neither models nor files.

Confusions are summed over rooms and folds and divided once, at the end: a mean over rooms is another number.
Letters: C classes, P points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

IGNORED = 255  # unlabelled, or not predicted because a coordinate was not finite
_AT_ONCE = 1 << 22  # points counted in one go: bounds the memory, whatever the size of the scan


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """Count points by label and prediction. (P,) integers twice -> (C, C) int64, rows = labels, columns = predictions.

    Points with 255 on either side are left out. Any other value outside 0..C-1 raises ValueError.

    >>> confusion_matrix([0, 0, 1, 255], [0, 1, 1, 1], num_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    labels, predictions = np.asarray(labels).ravel(), np.asarray(predictions).ravel()
    if len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels but {len(predictions)} predictions")
    counts = np.zeros(num_classes**2, np.int64)
    for start in range(0, len(labels), _AT_ONCE):
        rows = labels[start : start + _AT_ONCE].astype(np.int64)
        columns = predictions[start : start + _AT_ONCE].astype(np.int64)
        counted = (rows != IGNORED) & (columns != IGNORED)
        rows, columns = rows[counted], columns[counted]
        for name, values in (("label", rows), ("prediction", columns)):
            if len(values) and not 0 <= values.min() <= values.max() < num_classes:
                raise ValueError(
                    f"{name}s from {values.min()} to {values.max()}; expected 0 to {num_classes - 1}, or {IGNORED}"
                )
        counts += np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def scores(confusion: ArrayLike, class_names: Sequence[str]) -> "Scores":
    """Scores of a confusion matrix (C, C), rows = labels. -> Scores

    A class absent from labels and predictions is left out of the means and named in `absent`; one that is predicted
    but never a label counts as IoU 0. Mean class accuracy runs over the classes that occur in the labels.

    >>> scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ["wall", "floor", "sofa"]).absent
    ['sofa']
    """
    confusion = np.asarray(confusion, dtype=np.int64)
    if confusion.shape != (len(class_names), len(class_names)):
        raise ValueError(f"a confusion of shape {confusion.shape} for {len(class_names)} classes")
    right = np.diagonal(confusion)
    labelled, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    iou = _ratio(right, labelled + predicted - right)
    accuracy = _ratio(right, labelled)
    return Scores(
        class_names=tuple(class_names),
        iou=iou,
        accuracy=accuracy,
        miou=_mean(iou),
        macc=_mean(accuracy),
        oa=float(_ratio(right.sum(), confusion.sum())),
        absent=[name for name, value in zip(class_names, iou) if np.isnan(value)],
        confusion=confusion,
    )


def reliability(labels: ArrayLike, predictions: ArrayLike, confidence: ArrayLike, bins: int = 10) -> np.ndarray:
    """Points by confidence. (P,) three times -> (bins, 3) float64: points, of these right ones, sum of confidences

    Bins are of equal width, from 0 to 1. Points with 255 as label or prediction are left out.

    >>> reliability([0, 1], [0, 0], [0.95, 0.91])[-1].tolist()
    [2.0, 1.0, 1.86]
    """
    labels, predictions, confidence = map(np.asarray, (labels, predictions, confidence))
    counted = (labels != IGNORED) & (predictions != IGNORED)
    right, confidence = (labels == predictions)[counted], confidence[counted].astype(np.float64)
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    return np.stack([np.bincount(place, weights, bins) for weights in (None, right, confidence)], axis=1)


def calibration_error(counts: ArrayLike) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, over all points. (bins, 3) -> 0 to 1

    counts: of `reliability`. nan where no point was counted.
    """
    counts = np.asarray(counts, float)
    apart = np.abs(counts[:, 1] - counts[:, 2]).sum()
    return float(_ratio(apart, counts[:, 0].sum()))


def _ratio(part, whole):
    """part / whole, nan where whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values):
    """Mean of the values that are not nan; nan when there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


@dataclass(frozen=True)
class Scores:
    """Scores as fractions of 1.

    iou: (C,) intersection over union, nan for a class absent from labels and predictions.
    accuracy: (C,) share of a class's points that got their label, nan for a class absent from the labels.
    miou, macc: means of the two over the classes that are not nan; oa: share of all counted points that is right.
    absent: names of the classes that are left out. confusion: (C, C) int64, rows = labels.
    """

    class_names: tuple
    iou: np.ndarray
    accuracy: np.ndarray
    miou: float
    macc: float
    oa: float
    absent: list
    confusion: np.ndarray

    @property
    def points(self):
        """How many points were counted."""
        return int(self.confusion.sum())
