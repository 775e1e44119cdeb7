"""Losses: weights of classes, and what is ignored."""

import numpy as np
import pytest
import torch

from s3dis_seg.training.losses import class_weights, cross_entropy, weight_of


def test_the_loss_of_a_class_counts_as_often_as_its_weight_says():
    logits, labels = torch.zeros(1, 3, 2), torch.tensor([[0, 1, 255]])
    weights = torch.tensor([1.0, 3.0])
    # Two equal logits: log 2 a point, the unlabelled one left out.
    assert cross_entropy(logits, labels).item() == pytest.approx(2 * np.log(2))
    assert cross_entropy(logits, labels, weights=weights).item() == pytest.approx(4 * np.log(2))
    assert (weight_of(labels).item(), weight_of(labels, weights).item()) == (2, 4)


def test_weights_are_one_over_the_root_of_the_share_and_one_in_the_mean():
    counts = np.array([900, 100, 0])
    weights = class_weights("sqrt", counts).numpy()
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[2] == 0
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_the_rarest_classes_weigh_as_a_thousandth_of_the_points():
    weights = class_weights("sqrt", [10**9, 10, 10**6]).numpy()
    assert weights[1] == pytest.approx(weights[2], rel=0.01)


def test_without_weights_there_are_none():
    assert class_weights("none", [1, 2]) is None
