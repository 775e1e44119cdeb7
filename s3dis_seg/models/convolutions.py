"""Graph convolutions: what a point makes of its neighbours.

Letters: B clouds, N points each, C and D channels, k neighbours. Features are (B, N, C) throughout.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from s3dis_seg.graph import definition, edge_max, knn
from s3dis_seg.graph.batch_norm import batch_norm
from s3dis_seg.graph.products import linear


class Operations(NamedTuple):
    """The graph operations a network uses. FAST and DEFINITION compute the same function, the latter slowly."""

    dilated_knn: Callable
    edge_conv: Callable
    max_neighbors: Callable


FAST = Operations(knn.dilated_knn, edge_max.edge_conv, edge_max.max_neighbors)
DEFINITION = Operations(definition.dilated_knn, definition.edge_conv, definition.max_neighbors)


def sum_neighbors(x, neighbors):
    """sum_j x_j over the neighbours of each point. (B, N, C), (B, N, k) -> (B, N, C)"""
    rows = x.reshape(-1, x.shape[-1])
    return F.embedding_bag(_rows(neighbors).flatten(0, 1), rows, mode="sum").view(x.shape)


def _rows(neighbors):
    """Numbers of the neighbours counted through all clouds. (B, N, k) -> (B, N, k)"""
    return neighbors + torch.arange(len(neighbors), device=neighbors.device)[:, None, None] * neighbors.shape[1]


class Layer(nn.Module):
    """Linear -> ReLU -> BatchNorm, in the order of the authors' PyTorch code. (B, N, C) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x, process_group=None):
        return self.activate(linear(x, self.linear.weight, self.linear.bias), process_group)

    def of_pair(self, x, y, process_group=None):
        """The layer of [x, y], without the concatenation. (B, N, C), (B, N, C) -> (B, N, D)"""
        first, second = self.linear.weight.split(x.shape[-1], dim=1)
        return self.activate(linear(x, first, self.linear.bias) + linear(y, second), process_group)

    def activate(self, x, process_group=None):
        """ReLU and BatchNorm of what the linear part made (and may be overwritten). (B, N, D) -> (B, N, D)"""
        # Under autocast the product is 16 bits wide; what follows is not.
        x = x.to(self.norm.weight.dtype).relu_()
        return batch_norm(x.flatten(0, -2), self.norm, process_group).view(x.shape)


class EdgeConv(Layer):
    """max_j BN(ReLU(W [x_i, x_j - x_i] + b)) (Wang et al., "Dynamic Graph CNN"). (B, N, C), (B, N, k) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)

    def forward(self, x, neighbors, operations, process_group=None):
        return operations.edge_conv(
            x, neighbors, self.linear.weight, self.linear.bias, self.norm, process_group=process_group
        )


class MRConv(Layer):
    """BN(ReLU(W [x_i, max_j (x_j - x_i)] + b)), max-relative (DeepGCN, section 3). (B, N, C), (B, N, k) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)

    def forward(self, x, neighbors, operations, process_group=None):
        return self.of_pair(x, operations.max_neighbors(x, neighbors) - x, process_group)


class SAGEConv(Layer):
    """BN(ReLU(W [x_i, max_j ReLU(V x_j + c)] + b)) (Hamilton et al., "Inductive Representation Learning").

    (B, N, C), (B, N, k) -> (B, N, D). V has C rows, as in lightaime/deep_gcns, gcn_lib/tf_vertex.py.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)
        self.neighbor = nn.Linear(in_channels, in_channels)

    def forward(self, x, neighbors, operations, process_group=None):
        return self.of_pair(x, operations.max_neighbors(self.neighbor(x).relu(), neighbors), process_group)


class NormalizedSAGEConv(SAGEConv):
    """SAGEConv with outputs of length 1. (B, N, C), (B, N, k) -> (B, N, D)"""

    def forward(self, x, neighbors, operations, process_group=None):
        return F.normalize(super().forward(x, neighbors, operations, process_group), dim=-1)


class GINConv(Layer):
    """BN(ReLU(W ((1 + e) x_i + sum_j x_j) + b)), e learned from 0 (Xu et al., "How Powerful are GNNs?").

    (B, N, C), (B, N, k) -> (B, N, D)
    """

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.epsilon = nn.Parameter(torch.zeros(1))

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward((1 + self.epsilon) * x + sum_neighbors(x, neighbors), process_group)


class GCNConv(Layer):
    """BN(ReLU(W mean_j x_j + b)): Kipf and Welling's GCN, random-walk normalised. (B, N, C), (B, N, k) -> (B, N, D)

    The point itself is one of its k neighbours and counts once.
    """

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward(sum_neighbors(x, neighbors) / neighbors.shape[2], process_group)


class SymmetricGCNConv(Layer):
    """BN(ReLU(W sum_j x_j / sqrt(k deg(j)) + b)), deg(j) the number of points that have j as a neighbour.

    (B, N, C), (B, N, k) -> (B, N, D). Kipf and Welling, "Semi-Supervised Classification with GCNs".
    """

    def forward(self, x, neighbors, operations, process_group=None):
        degrees = torch.bincount(_rows(neighbors).flatten(), minlength=x.shape[0] * x.shape[1]).view(*x.shape[:2], 1)
        # A point that is nobody's neighbour takes part in no sum.
        scaled = x * (neighbors.shape[2] * degrees.clamp(min=1)).to(x.dtype).rsqrt()
        return super().forward(sum_neighbors(scaled, neighbors), process_group)


# Name in a DeepGCNConfig -> its convolution.
BY_NAME = {
    "edge": EdgeConv,
    "mr": MRConv,
    "sage": SAGEConv,
    "sage-normalized": NormalizedSAGEConv,
    "gin": GINConv,
    "gcn": GCNConv,
    "gcn-symmetric": SymmetricGCNConv,
}
