"""Probabilities of overlapping blocks become one prediction a point.

Letters: P points of a scan, M points left after thinning, C classes, n points of one block.
"""

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.segmentation.plan import parts


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature: p^(1/T), normalised. (P, C), rows sum to 1 -> the same

    Above 1 they become less sure, below 1 surer. The most probable class stays the same. Guo et al., "On Calibration of
    Modern Neural Networks", ICML 2017, where it acts on logits; here it acts on the mean over all votes.
    """
    if temperature == 1:
        return probabilities
    # Divided by the largest first, so that no row vanishes.
    powers = (probabilities / probabilities.max(axis=1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


class Labelled:
    """Predictions (M,), confidence (M,) and, where asked for, probabilities (M, C) of the thinned points.

    temperature: of the checkpoint, see `tempered`.
    """

    def __init__(self, count, num_classes, keep_probabilities, temperature=1.0):
        self.temperature = temperature
        self.predictions = np.full(count, UNLABELLED, np.uint8)
        self.confidence = np.zeros(count, np.float32)
        self.probabilities = np.zeros((count, num_classes), np.float32) if keep_probabilities else None

    def settle(self, ids, sums):
        """Turn the summed probabilities (n, C) of finished points into predictions and confidences."""
        voted = sums.sum(axis=1) > 0
        ids, sums = ids[voted], sums[voted]
        mean = tempered(sums / sums.sum(axis=1, keepdims=True), self.temperature)
        self.predictions[ids] = mean.argmax(axis=1)
        self.confidence[ids] = mean.max(axis=1)
        if self.probabilities is not None:
            self.probabilities[ids] = mean


class Band:
    """Sums of probabilities, kept only for the points that the present column and later ones can still reach.

    labelled: where the results go, at the places layout.ids.
    """

    def __init__(self, layout, axis, num_classes, labelled):
        cloud = layout.cloud
        self.cloud, self.places, self.axis, self.labelled = cloud, layout.ids, axis, labelled
        self.ids = np.zeros(0, np.int64)
        self.rows = np.zeros(len(cloud.xyz), np.int32)  # where in `ids` and `sums` a point of the band is
        self.sums = np.zeros((0, num_classes), np.float32)
        self.low = -np.inf

    def move_to(self, low, high):
        """Go on to columns that begin at `low` or later; points before `low` are finished. high: where they end."""
        if low <= self.low:
            return
        self.low = low
        finished = self.cloud.xyz[self.ids, self.axis] < low
        self._settle(self.ids[finished], self.sums[finished])
        kept, sums = self.ids[~finished], self.sums[~finished]
        start, stop = np.full(2, -np.inf), np.full(2, np.inf)
        start[self.axis], stop[self.axis] = low, high + 1e-3
        self.ids = self.cloud.points_between(start, stop)[0]  # contains all points that are kept
        self.rows[self.ids] = np.arange(len(self.ids), dtype=np.int32)
        self.sums = np.zeros((len(self.ids), sums.shape[1]), np.float32)
        self.sums[self.rows[kept]] = sums

    def add(self, ids, probabilities):
        """Votes of different points of one block. (n,), (n, C)"""
        self.sums[self.rows[ids]] += probabilities

    def finish(self):
        """No more votes: the last points are finished."""
        self._settle(self.ids, self.sums)

    def _settle(self, ids, sums):
        self.labelled.settle(ids if self.places is None else self.places[ids], sums)


def carry_back(thinned, plan):
    """Every given point gets the prediction of the thinned point that represents it.

    -> predictions (P,), confidence (P,), probabilities (P, C) or None
    """
    count, usable = plan.num_points, plan.usable
    result = Labelled(count, 0, False)
    if thinned.probabilities is not None:
        result.probabilities = np.zeros((count, thinned.probabilities.shape[1]), np.float32)
    owner = np.zeros(0, np.int32) if plan.cloud is None else plan.cloud.owner
    end = 0
    for part in parts(count):
        rows = np.arange(part.start, part.stop) if usable is None else part.start + np.flatnonzero(usable[part])
        owners = owner[end : end + len(rows)]
        end += len(rows)
        result.predictions[rows] = thinned.predictions[owners]
        result.confidence[rows] = thinned.confidence[owners]
        if result.probabilities is not None:
            result.probabilities[rows] = thinned.probabilities[owners]
    return result.predictions, result.confidence, result.probabilities
