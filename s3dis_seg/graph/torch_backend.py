"""The kernels of the graph engine in torch and numpy alone, for any device.

numba_backend.py and triton_backend.py have the same functions, only faster.

Letters: B clouds, N points, R = B * N rows, C channels, k neighbours.
"""

import numpy as np
import torch

from s3dis_seg.graph.threads import in_threads

_CHUNK = 256


def knn(x, ranks):
    """Neighbours of the wanted ranks, the point itself at rank 0, the others by (distance, index).

    x (B, N, C) float32 or float64, ranks (k,) ascending on the CPU -> (B, N, k) int64. Some rows of distances at once:
    direct differences in float64 and up to 4 channels, else |x_j|^2 - 2 <x_i, x_j> of features centred on their cloud.
    """
    B, N, C = x.shape
    out = torch.empty(B, N, len(ranks), dtype=torch.int64, device=x.device)
    exact = C <= 4 or x.dtype == torch.float64
    index = torch.arange(N, device=x.device)
    for cloud, found in zip(x, out):
        centred = cloud - cloud.mean(0)
        squares = centred.square().sum(1)
        for first in range(0, N, _CHUNK):
            here = slice(first, min(first + _CHUNK, N))
            if exact:
                distances = sum((cloud[here, c, None] - cloud[:, c]).square_() for c in range(C))
            else:
                distances = torch.addmm(squares, centred[here], centred.T, alpha=-2)
            distances.nan_to_num_(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
            distances[index[: here.stop - first], index[here]] = -torch.inf
            found[here] = _at_ranks(distances, index, ranks)
    return out


def _at_ranks(distances, index, ranks):
    """Which columns are at these ranks of each row, ordered by (distance, index). (n, N) -> (n, k)"""
    if distances.dtype == torch.float64:
        return distances.sort(dim=1, stable=True).indices[:, ranks.to(distances.device)]
    # One whole number for both: float32 bits in an order of their own above, the index below.
    bits = (distances + 0.0).view(torch.int32)
    keys = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32) | index
    needed = int(ranks[-1]) + 1
    if distances.device.type == "cuda":
        nearest = keys.topk(needed, dim=1, largest=False, sorted=True).values
    else:
        nearest = torch.empty(len(keys), needed, dtype=torch.int64)
        table, out = keys.numpy(), nearest.numpy()

        def select(first):
            rows = slice(first, first + 32)
            out[rows] = np.sort(np.partition(table[rows], needed - 1, axis=1)[:, :needed], axis=1)

        in_threads(select, [(first,) for first in range(0, len(keys), 32)])
    return nearest[:, ranks.to(distances.device)] & 0xFFFFFFFF


def gather_extreme(a, c, neighbors, sign, statistics):
    """The extreme of c over the neighbours of each row, and sums over edges of r = relu(a_i + c_j).

    a, c (R, C), neighbors (B, N, k) int64 within the cloud, sign (C,): 1 for the maximum, -1 the minimum, 0 the first
    -> e (R, C), arg (R, C) int32: the row it came from, the first such in the order of the table, and (None without
    `statistics`) sum_j r and #{j: r > 0} (R, C), sum of r and of r^2 over all edges (C,) float64.
    """
    rows = rows_of(neighbors)
    e, arg = c[rows[0]], rows[0].unsqueeze(1).expand(c.shape)
    for j in rows[1:]:
        other = c[j]
        better = (other * sign > e * sign) | (other.isnan() & ~e.isnan())
        e = torch.where(better, other, e)
        arg = torch.where(better, j.unsqueeze(1), arg)
    if not statistics:
        return e, arg.int(), None, None, None, None
    relu_sum, positive = torch.zeros_like(a), torch.zeros_like(a)
    squares = torch.zeros(a.shape[1], dtype=torch.float64, device=a.device)
    for j in rows:
        r = (a + c[j]).relu_()
        relu_sum += r
        positive += r > 0
        squares += r.square_().sum(0, dtype=torch.float64)
    return e, arg.int(), relu_sum, positive, relu_sum.sum(0, dtype=torch.float64), squares


def scatter_at(values, arg, neighbors):
    """out[j] = sum of values_i over the i with arg_i = j, channel by channel.

    values (R, C), arg (R, C) int32, each the row of a neighbour of i, neighbors (B, N, k) -> (R, C)
    """
    return torch.zeros_like(values).scatter_add_(0, arg.long(), values)


def scatter_edges(values, arg, neighbors, a, c, p, q):
    """`scatter_at` and, over the edges that come in at j, the sums of q r + p where r = a_i + c_j > 0.

    values, arg, a, c (R, C), neighbors (B, N, k), p, q (C,) -> (R, C)
    """
    total = scatter_at(values, arg, neighbors)
    for j in rows_of(neighbors):
        r = a + c[j]
        total.index_add_(0, j, torch.where(r > 0, torch.addcmul(p, r, q), 0))
    return total


def rows_of(neighbors):
    """The rows of all first neighbours, of all second ones, and so on. (B, N, k) -> (k, R)"""
    B, N, k = neighbors.shape
    starts = torch.arange(B, device=neighbors.device)[:, None, None] * N
    return (neighbors + starts).view(B * N, k).T.contiguous()
