"""The loss of training, and the weights of classes.

Letters: B blocks, N points a block, C classes.
"""

import numpy as np
import torch
import torch.nn.functional as F

from s3dis_seg.classes import UNLABELLED

_RAREST = 1e-3  # the smallest share that is used; rarer classes get no more weight than this gives


def cross_entropy(logits, labels, label_smoothing=0.0, weights=None):
    """Sum over the labelled points, each times the weight of its class. (B, N, C), (B, N) int64 -> scalar

    weights: (C,), None for 1. The scalar is at least float32, whatever the type of the logits.
    """
    logits = logits.flatten(0, 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(
        logits,
        labels.flatten(),
        weight=None if weights is None else weights.to(logits),
        ignore_index=UNLABELLED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def lovasz_softmax(logits, labels):
    """A loss that falls with the IoU itself, where cross entropy falls with the accuracy. -> scalar

    logits (B, N, C), labels (B, N) int64; 0 where nothing is labelled. For every class that has points: the Lovász
    extension of 1 - IoU, applied to how wrong its probability is at each point; the mean over these classes. Berman,
    Triki and Blaschko, "The Lovász-Softmax loss", CVPR 2018.
    """
    known = labels.flatten() != UNLABELLED
    labels = labels.flatten()[known]
    logits = logits.flatten(0, 1)[known]
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
    present = labels.unique()
    if not len(present):
        return logits.sum() * 0.0
    is_class = (labels[:, None] == present).to(probabilities.dtype)
    errors, order = (is_class - probabilities[:, present]).abs().sort(dim=0, descending=True)
    return (errors * _falls_of_iou(is_class.gather(0, order))).sum(dim=0).mean()


def _falls_of_iou(is_class):
    """How much IoU is lost by each point more that is wrong, the wrongest first. (n, P) of 0 and 1 -> (n, P)"""
    missed = is_class.cumsum(dim=0)
    intersection = is_class.sum(dim=0) - missed
    union = is_class.sum(dim=0) + (1 - is_class).cumsum(dim=0)
    lost = 1 - intersection / union
    return torch.diff(lost, dim=0, prepend=torch.zeros_like(lost[:1]))


def weight_of(labels, weights=None):
    """The sum of the weights of all labelled points, by which the summed loss is divided. -> scalar tensor"""
    known = labels[labels != UNLABELLED]
    if weights is None:
        return torch.tensor(len(known), device=labels.device)
    return weights[known].sum(dtype=torch.float64)


def class_weights(kind, counts):
    """Weights of the classes by how many points each has. (C,) -> (C,) tensor, or None for "none"

    kind: one of config.CLASS_WEIGHTS.

    "sqrt": proportional to 1 / sqrt(share of the points), with mean 1 over all points; 0 for a class without points.
    """
    if kind == "none":
        return None
    share = np.asarray(counts, np.float64) / max(np.sum(counts), 1)
    weights = np.where(share > 0, 1 / np.sqrt(np.maximum(share, _RAREST)), 0.0)
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)
