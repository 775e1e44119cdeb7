"""Probabilities of overlapping blocks become one prediction a point.

Letters: P points of a scan, M points left after thinning, C classes, n points of one block.
"""

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.ahead import ahead
from s3dis_seg.data.blocks.cloud import parts

_THREADS = 2


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

    work: where these arrays are. goes_on: whether they hold already what an interrupted run found. temperature: of the
    checkpoint, see `tempered`.
    """

    def __init__(self, count, num_classes, keep_probabilities, work, goes_on=False, temperature=1.0):
        self.temperature = temperature
        self.predictions = work.opened("thinned-predictions", count, np.uint8)
        self.confidence = work.opened("thinned-confidence", count, np.float32)
        shape = (count, num_classes)
        self.probabilities = work.opened("thinned-probabilities", shape, np.float32) if keep_probabilities else None
        if not goes_on:
            self.predictions[:], self.confidence[:] = UNLABELLED, 0
            if keep_probabilities:
                self.probabilities[:] = 0

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
        self.cloud, self.places, self.axis, self.labelled = layout.cloud, layout.ids, axis, labelled
        self.ids, self.along = np.zeros(0, np.int64), np.zeros(0, np.float32)  # ids ascending; where they are
        self.sums = np.zeros((0, num_classes), np.float32)
        self.low = self.high = -np.inf

    def move_to(self, low, high):
        """Go on to columns that begin at `low` or later; points before `low` are finished. high: where they end."""
        if low <= self.low:
            return
        finished = self.along < low
        self._settle(self.ids[finished], self.sums[finished])
        kept, sums = self.ids[~finished], self.sums[~finished]
        self._reach(low, high)
        self.sums = np.zeros((len(self.ids), sums.shape[1]), np.float32)
        self.sums[np.searchsorted(self.ids, kept)] = sums

    def go_on(self, low, high, sums):
        """Take up the sums (n, C) of a band that had moved to this place."""
        self._reach(low, high)
        self.sums = sums

    def _reach(self, low, high):
        self.low, self.high = low, high
        start, stop = np.full(2, -np.inf), np.full(2, np.inf)
        start[self.axis], stop[self.axis] = low, high + 1e-3
        self.ids, xyz, _, _ = self.cloud.points_between(start, stop)  # contains all points that are kept
        self.along = xyz[:, self.axis]

    def add(self, ids, probabilities):
        """Votes of different points of one block. (n,), (n, C)"""
        self.sums[np.searchsorted(self.ids, ids)] += probabilities

    def finish(self):
        """No more votes: the last points are finished."""
        self._settle(self.ids, self.sums)

    def _settle(self, ids, sums):
        self.labelled.settle(ids if self.places is None else self.places[ids], sums)


def carry_back(thinned, plan):
    """Every given point gets the prediction of the thinned point that represents it.

    -> predictions (P,), confidence (P,), probabilities (P, C) or None
    """
    count, work = plan.num_points, plan.work
    names, defaults = ("predictions", "confidence", "probabilities"), (UNLABELLED, 0, 0)
    given = [getattr(thinned, name) for name in names]
    results = [None if values is None else work.opened(name, (count, *values.shape[1:]), values.dtype)
               for name, values in zip(names, given)]  # fmt: skip

    def carry(part):
        owner = np.full(part.stop - part.start, -1) if plan.cloud is None else plan.cloud.owner[part]
        unusable = owner < 0
        for values, result, default in zip(given, results, defaults):
            if values is None:
                continue
            if not unusable.any():
                np.take(values, owner, axis=0, out=result[part], mode="clip")  # any other mode makes a copy
            else:
                result[part][unusable] = default
                result[part][~unusable] = values[owner[~unusable]]
        work.store.release()

    for _ in ahead(carry, parts(count), _THREADS, _THREADS):
        pass
    return results
