"""Graph convolutions: what a point makes of its neighbours.

Letters: B clouds, N points each, C and D channels, k neighbours. Features are (B, N, C) throughout. Norm is what
follows every ReLU: BatchNorm, LayerNorm over the channels of a point, or nothing.

The graph is directed: A is the matrix with a one for each edge from a point to one of its k neighbours, the point
itself among them unless its rank was not drawn (an edge that is there twice counts twice). Every point has the same
out-degree k, which is the degree that D^-1 divides by; the in-degree, the number of edges that lead to a point, varies.
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


def drop_edges(neighbors, probability):
    """Lead each edge, with this probability, back to the point itself: all degrees stay k. (B, N, k) -> (B, N, k)

    Drawn from torch's random state, as dropout is. After Rong et al., "DropEdge" (ICLR 2020), which removes edges: for
    a maximum over a neighbourhood that holds the point itself, this is the same.
    """
    if not probability:
        return neighbors
    own = torch.arange(neighbors.shape[1], device=neighbors.device)[:, None]
    return torch.where(torch.rand(neighbors.shape, device=neighbors.device) < probability, own, neighbors)


class Layer(nn.Module):
    """Linear -> ReLU -> Norm, in the order of the authors' PyTorch code. (B, N, C) -> (B, N, D)

    norm: "batch", "layer" or "none".
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm = NORMS[norm](out_channels)

    def forward(self, x, process_group=None):
        return self.activate(linear(x, self.linear.weight, self.linear.bias), process_group)

    def of_pair(self, x, y, process_group=None):
        """The layer of [x, y], without the concatenation. (B, N, C), (B, N, C) -> (B, N, D)"""
        first, second = self.linear.weight.split(x.shape[-1], dim=1)
        return self.activate(linear(x, first, self.linear.bias) + linear(y, second), process_group)

    def activate(self, x, process_group=None):
        """ReLU and Norm of what the linear part made (and may be overwritten). (B, N, D) -> (B, N, D)"""
        # Under autocast the product is 16 bits wide; what follows is not.
        x = x.to(self.linear.weight.dtype).relu_()
        if isinstance(self.norm, nn.BatchNorm1d):
            return batch_norm(x.flatten(0, -2), self.norm, process_group).view(x.shape)
        return self.norm(x)


# Name in a DeepGCNConfig -> what makes the norm of so many channels.
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}


class EdgeConv(Layer):
    """max_j BN(ReLU(W [x_i, x_j - x_i] + b)) (Wang et al., "Dynamic Graph CNN"). (B, N, C), (B, N, k) -> (B, N, D)

    LayerNorm comes after the maximum: LN(max_j ReLU(W [x_i, x_j - x_i] + b)).
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(2 * in_channels, out_channels, norm)

    def forward(self, x, neighbors, operations, process_group=None):
        weight, bias = self.linear.weight, self.linear.bias
        if isinstance(self.norm, nn.BatchNorm1d):
            return operations.edge_conv(x, neighbors, weight, bias, self.norm, process_group=process_group)
        # W [x_i, x_j - x_i] has a part for each point and a part for each neighbour; see graph/edge_max.py.
        first, second = weight.split(x.shape[-1], dim=1)
        highest = operations.max_neighbors(linear(x, second.contiguous()), neighbors)
        return self.activate(linear(x, first - second, bias) + highest)


class MRConv(Layer):
    """Norm(ReLU(W [x_i, max_j (x_j - x_i)] + b)), max-relative (DeepGCN, section 3).

    (B, N, C), (B, N, k) -> (B, N, D)
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(2 * in_channels, out_channels, norm)

    def forward(self, x, neighbors, operations, process_group=None):
        return self.of_pair(x, operations.max_neighbors(x, neighbors) - x, process_group)


class SAGEConv(Layer):
    """Norm(ReLU(W [x_i, max_j ReLU(V x_j + c)] + b)) (Hamilton et al., "Inductive Representation Learning").

    (B, N, C), (B, N, k) -> (B, N, D). V has C rows, as in lightaime/deep_gcns, gcn_lib/tf_vertex.py.
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(2 * in_channels, out_channels, norm)
        self.neighbor = nn.Linear(in_channels, in_channels)

    def forward(self, x, neighbors, operations, process_group=None):
        return self.of_pair(x, operations.max_neighbors(self.neighbor(x).relu(), neighbors), process_group)


class NormalizedSAGEConv(SAGEConv):
    """SAGEConv with outputs of length 1. (B, N, C), (B, N, k) -> (B, N, D)"""

    def forward(self, x, neighbors, operations, process_group=None):
        return F.normalize(super().forward(x, neighbors, operations, process_group), dim=-1)


class GINConv(Layer):
    """Norm(ReLU(W ((1 + e) x_i + sum_j x_j) + b)), e learned from 0 (Xu et al., "How Powerful are GNNs?").

    (B, N, C), (B, N, k) -> (B, N, D)
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(in_channels, out_channels, norm)
        self.epsilon = nn.Parameter(torch.zeros(1))

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward((1 + self.epsilon) * x + sum_neighbors(x, neighbors), process_group)


class GCNConv(Layer):
    """Norm(ReLU(W mean_j x_j + b)), D^-1 A X: GCN, random-walk normalised. (B, N, C), (B, N, k) -> (B, N, D)

    After Kipf and Welling, "Semi-Supervised Classification with GCNs". The point itself is one of its k neighbours and
    counts once.
    """

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward(sum_neighbors(x, neighbors) / neighbors.shape[2], process_group)


class SumGCNConv(Layer):
    """Norm(ReLU(W sum_j x_j + b)), A X: GCN, the adjacency not normalised. (B, N, C), (B, N, k) -> (B, N, D)"""

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward(sum_neighbors(x, neighbors), process_group)


class SymmetricGCNConv(Layer):
    """Norm(ReLU(W sum_j x_j / sqrt(k deg(j)) + b)), D^-1/2 A D^-1/2 X, deg(j) the in-degree of the neighbour.

    (B, N, C), (B, N, k) -> (B, N, D). Kipf and Welling, "Semi-Supervised Classification with GCNs".
    """

    def forward(self, x, neighbors, operations, process_group=None):
        degrees = torch.bincount(_rows(neighbors).flatten(), minlength=x.shape[0] * x.shape[1]).view(*x.shape[:2], 1)
        # A point that is nobody's neighbour takes part in no sum.
        scaled = x * (neighbors.shape[2] * degrees.clamp(min=1)).to(x.dtype).rsqrt()
        return super().forward(sum_neighbors(scaled, neighbors), process_group)


class DiagonalGCNConv(Layer):
    """Norm(ReLU(W (mean_j x_j + x_i / k) + b)), (P + diag(P)) X with P = D^-1 A: the point itself counts twice.

    (B, N, C), (B, N, k) -> (B, N, D). Diagonal enhancement with lambda = 1; Chiang et al., "Cluster-GCN" (KDD 2019).
    """

    def forward(self, x, neighbors, operations, process_group=None):
        return super().forward((sum_neighbors(x, neighbors) + x) / neighbors.shape[2], process_group)


class MultiHopConv(Layer):
    """Norm(ReLU(W [P X, P^2 X] + b)) with P = D^-1 A: the neighbours, and beside them the neighbours' neighbours.

    (B, N, C), (B, N, k) -> (B, N, D). Powers of the adjacency; Abu-El-Haija et al., "N-GCN" (UAI 2019).
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(2 * in_channels, out_channels, norm)

    def forward(self, x, neighbors, operations, process_group=None):
        near = sum_neighbors(x, neighbors) / neighbors.shape[2]
        return self.of_pair(near, sum_neighbors(near, neighbors) / neighbors.shape[2], process_group)


class GATConv(Layer):
    """Norm(ReLU(W sum_j s_ij x_j + b)), s_ij the softmax over j of LeakyReLU(u W x_i + v W x_j): attention, one head.

    (B, N, C), (B, N, k) -> (B, N, D). LeakyReLU has the slope 0.2; `attention` (2, D) holds u and v. Veličković et al.,
    "Graph Attention Networks" (ICLR 2018).
    """

    def __init__(self, in_channels, out_channels, norm="batch"):
        super().__init__(in_channels, out_channels, norm)
        self.attention = nn.Parameter(torch.empty(2, out_channels))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, x, neighbors, operations, process_group=None):
        rows = _rows(neighbors).flatten(0, 1)
        of_point, of_neighbor = linear(x, self.attention @ self.linear.weight).flatten(0, 1).T
        shares = F.leaky_relu(of_point[:, None] + of_neighbor[rows], 0.2).softmax(dim=1)
        attended = F.embedding_bag(rows, x.flatten(0, 1), mode="sum", per_sample_weights=shares)
        return super().forward(attended.view(x.shape), process_group)


# Name in a DeepGCNConfig -> its convolution.
BY_NAME = {
    "edge": EdgeConv,
    "mr": MRConv,
    "sage": SAGEConv,
    "sage-normalized": NormalizedSAGEConv,
    "gin": GINConv,
    "gcn": GCNConv,
    "gcn-none": SumGCNConv,
    "gcn-symmetric": SymmetricGCNConv,
    "gcn-diagonal": DiagonalGCNConv,
    "multihop": MultiHopConv,
    "gat": GATConv,
}
