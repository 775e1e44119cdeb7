"""What was found in a scan: points, floor area and confidence of every class; points come in pieces of any size.

Letters: P points of a scan, n points of a piece.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.blocks.cloud import parts
from s3dis_seg.data.floor import FloorPlan

UNSURE = 0.5  # a point with less confidence counts as uncertain


@dataclass(frozen=True)
class Tally:
    """By label, (256,) each: points, floor area in m2 (0 for unlabelled), mean confidence. unsure: the share of the
    labelled points with a confidence below 0.5."""

    points: np.ndarray
    areas: np.ndarray
    confidence: np.ndarray
    unsure: float


def tally_of(xyz, predictions, confidence):
    """(P, 3) metres, (P,) uint8, (P,) float32 -> Tally; only a piece is looked at at a time."""
    slices = parts(len(xyz))
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for part in slices:
        xy = xyz[part][predictions[part] != UNLABELLED, :2]
        low, high = np.minimum(low, xy.min(axis=0, initial=np.inf)), np.maximum(high, xy.max(axis=0, initial=-np.inf))
    points, sums, unsure = np.zeros(256, np.int64), np.zeros(256), 0
    plan = FloorPlan(low, high) if low[0] <= high[0] else None
    for part in slices:
        labels, sure = predictions[part], confidence[part]
        points += np.bincount(labels, minlength=256)
        sums += np.bincount(labels, sure, minlength=256)
        labelled = labels != UNLABELLED
        unsure += int(np.count_nonzero(sure[labelled] < UNSURE))
        if plan is not None:
            plan.add(xyz[part][labelled, :2], labels[labelled])
    labelled = int(points.sum() - points[UNLABELLED])
    areas = np.zeros(256) if plan is None else plan.areas()
    return Tally(points, areas, sums / np.maximum(points, 1), unsure / max(labelled, 1))
