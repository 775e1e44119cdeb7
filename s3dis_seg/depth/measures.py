"""What is measured of the features that leave a layer.

Letters: N points of one cloud, C channels, k neighbours, P pairs of points. X is (N, C) float64, a point a row. The
neighbours and pairs are those of the points in space, the same for all layers: a graph sought in the features joins
points with near features, whose energy is low by construction.

A value that has no meaning (a ratio to a spread of 0, any measure of features that are not finite) is nan.
"""

import math
from typing import NamedTuple

import torch

from s3dis_seg.graph.knn import dilated_knn

NEIGHBORS = 8  # of a point in space, without the point itself
PAIRS = 2000  # drawn in every cloud


class Places(NamedTuple):
    """Which points of a cloud are compared. neighbors (N, k), pairs (P, 2), remote (P,) bool: far apart in space."""

    neighbors: torch.Tensor
    pairs: torch.Tensor
    remote: torch.Tensor


def places_of(xyz, seed=0):
    """The fixed graph and the sample of pairs of a cloud (N, 3) of more than NEIGHBORS points. -> Places

    A pair is remote when it is farther apart than half of the pairs are.
    """
    xyz = xyz.double()
    neighbors = dilated_knn(xyz[None], NEIGHBORS + 1)[0, :, 1:]
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(xyz), (PAIRS,), generator=generator)
    second = (first + torch.randint(1, len(xyz), (PAIRS,), generator=generator)) % len(xyz)
    pairs = torch.stack([first, second], dim=1)
    apart = distances(xyz, pairs)
    return Places(neighbors, pairs, apart > apart.median())


def measures_of(x, places):
    """All measures of a layer's features (N, C). -> dict of floats"""
    x = x.double()
    if not bool(x.isfinite().all()):
        return dict.fromkeys(MEASURES, math.nan)
    values = singular_values(x)
    return {name: float(measure(x, places, values)) for name, measure in MEASURES.items()}


def rms(x):
    """Root of the mean square of all numbers: the scale."""
    return x.square().mean().sqrt()


def dirichlet_energy(x, neighbors):
    """1/N sum_i sum_j |x_i - x_j|^2 over the neighbours j of each point. 0 where all neighbours are equal.

    Rusch, Bronstein, Mishra, "A survey on oversmoothing in graph neural networks" (arXiv 2303.10993).
    """
    return (x[neighbors] - x[:, None]).square().sum() / len(x)


def relative_energy(x, neighbors):
    """The Dirichlet energy over that of unrelated points, 2k |X - mean|_F^2 / N: no scale and no shift changes it.

    0: neighbours are equal, compared with the spread of the cloud. 1: neighbours are as unlike as any two points.
    """
    return _ratio(dirichlet_energy(x, neighbors) * len(x), 2 * neighbors.shape[1] * centered(x).square().sum())


def mean_cosine_distance(x, pairs):
    """MAD, the mean of 1 - cos(x_i, x_j) over pairs: 0 for one direction, 1 for right angles.

    Pairs with a point whose features are all 0 are left out: they have no direction. Chen et al., "Measuring and
    relieving the over-smoothing problem" (AAAI 2020).
    """
    first, second = (x[pairs[:, side]] for side in (0, 1))
    lengths = first.norm(dim=1) * second.norm(dim=1)
    known = lengths > 0
    return (1 - (first * second).sum(dim=1)[known] / lengths[known]).mean()


def mad_gap(x, places):
    """MADGap: the MAD of remote pairs minus that of neighbours. Near 0, features do not tell near from far."""
    own = torch.arange(len(x))[:, None].expand_as(places.neighbors)
    edges = torch.stack([own.flatten(), places.neighbors.flatten()], dim=1)
    return mean_cosine_distance(x, places.pairs[places.remote]) - mean_cosine_distance(x, edges)


def effective_rank(values):
    """exp(-sum p ln p), p the share of each singular value of X - mean in their sum: in how many directions the points
    spread, 1 for a line, C for a ball. Roy and Vetterli, "The effective rank" (EUSIPCO 2007)."""
    return torch.special.entr(values / values.sum()).sum().exp()


def numerical_rank(values):
    """|X - mean|_F^2 / |X - mean|_2^2, from its singular values: 1 when all spread is in one direction, C when it is
    the same in all."""
    squares = values.square()
    return _ratio(squares.sum(), squares.max())


def mean_pairwise_distance(x, pairs):
    """The mean of |x_i - x_j| over pairs (Zhao and Akoglu, "PairNorm", ICLR 2020)."""
    return distances(x, pairs).mean()


def distances(x, pairs):
    """|x_i - x_j| of every pair. (N, C), (P, 2) -> (P,)"""
    return (x[pairs[:, 0]] - x[pairs[:, 1]]).norm(dim=1)


def centered(x):
    return x - x.mean(dim=0)


def singular_values(x):
    """Of X - mean. (N, C) -> (min(N, C),), by the eigenvalues of the smaller Gram matrix, which is much quicker.

    Values under 1e-8 of the largest are rounding and become 0.
    """
    x = centered(x)
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    return values.where(values > 1e-8 * values.max(), 0)


def _ratio(part, whole):
    return part / whole if whole > 0 else torch.tensor(math.nan)


# Name in the tables -> measure of X, its Places, and the singular values of X - mean.
MEASURES = {
    "rms": lambda x, places, values: rms(x),
    "energy": lambda x, places, values: dirichlet_energy(x, places.neighbors),
    "relative_energy": lambda x, places, values: relative_energy(x, places.neighbors),
    "mad": lambda x, places, values: mean_cosine_distance(x, places.pairs),
    "mad_gap": lambda x, places, values: mad_gap(x, places),
    "effective_rank": lambda x, places, values: effective_rank(values),
    "numerical_rank": lambda x, places, values: numerical_rank(values),
    "pair_distance": lambda x, places, values: mean_pairwise_distance(x, places.pairs),
}
