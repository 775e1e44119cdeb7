"""Losses: weights of classes, and what is ignored."""

import numpy as np
import pytest
import torch

from s3dis_seg.training.losses import class_weights, cross_entropy, lovasz_softmax, weight_of


def test_the_loss_of_a_class_counts_as_often_as_its_weight_says():
    logits, labels = torch.zeros(1, 3, 2), torch.tensor([[0, 1, 255]])
    weights = torch.tensor([1.0, 3.0])
    # Two equal logits: log 2 a point, the unlabelled one left out.
    assert cross_entropy(logits, labels).item() == pytest.approx(2 * np.log(2))
    assert cross_entropy(logits, labels, weights=weights).item() == pytest.approx(4 * np.log(2))
    assert (weight_of(labels).item(), weight_of(labels, weights).item()) == (2, 4)


def iou_lost(wrong, is_class):
    """1 - IoU of a class where `wrong` points are wrong. Two (n,) bool"""
    predicted = wrong ^ is_class
    return 1 - (predicted & is_class).sum().item() / (predicted | is_class).sum().item()


def lovasz_by_definition(logits, labels):
    """Point by point, the wrongest first: its error times the IoU that is lost when it is wrong, too."""
    known = labels.flatten() != 255
    probabilities, labels = logits.flatten(0, 1)[known].softmax(dim=1), labels.flatten()[known]
    losses = []
    for number in labels.unique():
        is_class = labels == number
        errors = (is_class.double() - probabilities[:, number]).abs()
        wrong, lost, loss = torch.zeros(len(labels), dtype=torch.bool), 0.0, 0.0
        for point in errors.argsort(descending=True):
            wrong[point] = True
            loss = loss + errors[point] * (iou_lost(wrong, is_class) - lost)
            lost = iou_lost(wrong, is_class)
        losses.append(loss)
    return torch.stack(losses).mean()


def test_the_lovasz_loss_and_its_gradient_are_those_of_its_definition():
    torch.manual_seed(0)
    logits = torch.randn(2, 30, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 30))
    labels[0, :5] = 255
    fast, slow = lovasz_softmax(logits, labels), lovasz_by_definition(logits, labels)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (fast, slow)))


def test_the_lovasz_loss_is_0_for_sure_and_right_points_1_for_sure_and_wrong_ones_and_0_without_labels():
    labels = torch.tensor([[0, 1, 1]])
    sure = 1e3 * torch.nn.functional.one_hot(labels, 2).double()
    assert lovasz_softmax(sure, labels).item() == pytest.approx(0)
    assert lovasz_softmax(sure, 1 - labels).item() == pytest.approx(1)
    assert lovasz_softmax(sure, torch.full_like(labels, 255)).item() == 0


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
