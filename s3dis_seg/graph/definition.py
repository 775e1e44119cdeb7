"""The graph operations as they are defined: slow and obvious. The tests hold every fast form to them.

Letters: B clouds, N points each, C channels, k neighbours.
"""

import torch

from s3dis_seg.graph.batch_norm import batch_norm


@torch.no_grad()
def dilated_knn(x, k, dilation=1, ranks=None):
    """Every `dilation`-th of the nearest neighbours of each point within its cloud. (B, N, C) -> (B, N, k) int64

    Rank 0 is the point itself, also where other points lie on it; the others follow by (Euclidean distance, index).
    Kept are the ranks 0, dilation, ..., (k - 1) * dilation, or `ranks` (ascending integers) where they are given
    (DeepGCN, section 3.3). ValueError when a cloud has too few points.
    """
    ranks = torch.arange(k) * dilation if ranks is None else ranks
    needed = int(ranks.max()) + 1
    if x.shape[1] < needed:
        raise ValueError(f"these neighbourhoods need clouds of at least {needed} points; found {x.shape[1]}")
    found = []
    with torch.autocast(x.device.type, enabled=False):
        for cloud in x if x.dtype == torch.float64 else x.float():
            # Differences, not the expanded square: points that coincide are then exactly at distance 0.
            distances = torch.cdist(cloud, cloud, compute_mode="donot_use_mm_for_euclid_dist")
            distances.fill_diagonal_(-1)
            found.append(torch.sort(distances, stable=True).indices[:, ranks.to(x.device)])
    return torch.stack(found)


def gather_neighbors(x, neighbors):
    """The features of each neighbour, x_j. (B, N, C), (B, N, k) -> (B, N, k, C)"""
    clouds = torch.arange(len(x), device=x.device)[:, None, None]
    return x[clouds, neighbors]


def max_neighbors(x, neighbors):
    """max_j x_j over the neighbours j of each point, channel by channel. (B, N, C), (B, N, k) -> (B, N, C)"""
    return gather_neighbors(x, neighbors).max(dim=2).values


def edge_conv(x, neighbors, weight, bias, norm, training=None, process_group=None):
    """max_j BatchNorm(ReLU(W [x_i, x_j - x_i] + b)) over the neighbours j. (B, N, C), (B, N, k) -> (B, N, D)

    weight (D, 2C), bias (D,), norm BatchNorm1d(D). The statistics run over all B * N * k edges, of every process of
    `process_group` where one is given; in training (None: `norm.training`) the running ones are updated.
    EdgeConv in the order linear -> ReLU -> BatchNorm of lightaime/deep_gcns_torch, gcn_lib/dense/torch_vertex.py.
    """
    central = x.unsqueeze(2).expand(-1, -1, neighbors.shape[2], -1)
    edges = torch.cat([central, gather_neighbors(x, neighbors) - central], dim=-1)
    rows = torch.relu(torch.nn.functional.linear(edges.flatten(0, 2), weight, bias))
    rows = batch_norm(rows, norm, process_group, training)
    return rows.view(*neighbors.shape, -1).max(dim=2).values
