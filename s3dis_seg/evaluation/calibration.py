"""How far confidences can be trusted, and the temperature that makes them honest.

A network that says 90 % should be right in 90 of 100 such points. Most say more than they can keep.
Letters: P points, C classes.
"""

from collections.abc import Callable

import numpy as np

from s3dis_seg.evaluation.scoring import require_same_classes
from s3dis_seg.metrics import IGNORED, reliability
from s3dis_seg.models.card import TEMPERATURES
from s3dis_seg.segmentation import Segmenter
from s3dis_seg.segmentation.votes import tempered

_POINTS_OF_A_ROOM = 200_000  # drawn from each room, which bounds the memory; the error of a share is below 0.2 %
_TINIEST = 1e-6  # the least probability that a label can have, so that its logarithm is finite
_ROUNDS = 40  # of the search: each narrows the range to 0.618 of the one before


def probabilities_of_rooms(segmenter: Segmenter, rooms: list, progress: Callable | None = None):
    """Labelled points of rooms, with what the network says about them. -> labels (P,) uint8, probabilities (P, C)

    At temperature 1, whatever the card says. At most 200,000 points of each room, drawn by a fixed seed. rooms: as
    `open_rooms` gives them. progress: called as progress(done, blocks) within each room. InputError where a room has
    other classes than the checkpoint.
    """
    labels, probabilities = [], []
    for room in rooms:
        require_same_classes(segmenter, room)
        points = room.room()
        result = segmenter(points.xyz, points.rgb, probabilities=True, progress=progress)
        counted = np.flatnonzero((points.labels != IGNORED) & (result.predictions != IGNORED))
        chosen = np.random.default_rng(0).permutation(counted)[:_POINTS_OF_A_ROOM]
        labels.append(points.labels[chosen])
        probabilities.append(tempered(result.probabilities[chosen], 1 / segmenter.card.temperature))
    return np.concatenate(labels), np.concatenate(probabilities)


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature at which the labels are most probable. (P,), (P, C) -> float, 0.05 to 20

    The mean negative log-likelihood has one minimum in the temperature; a golden-section search finds it.
    """
    low, high = np.log(TEMPERATURES)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(_ROUNDS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _surprise(labels, probabilities, np.exp(left)) < _surprise(labels, probabilities, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def reliability_at(labels: np.ndarray, probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Points by confidence at a temperature. (P,), (P, C) -> (10, 3), see `reliability`"""
    at = tempered(probabilities, temperature)
    return reliability(labels, at.argmax(axis=1), at.max(axis=1))


def _surprise(labels, probabilities, temperature):
    """Mean negative logarithm of the probability of the label."""
    of_label = tempered(probabilities, temperature)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(of_label, _TINIEST)).mean()
