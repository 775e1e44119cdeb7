"""Dilated k nearest neighbours: what every backend has to return, and the choice of the backend.

Neighbours of a point are all points of its cloud in the order of (distance, index), the point itself at rank 0 before
all others, also before those that lie on it. Letters: B clouds, N points, C channels, k neighbours.
"""

import os

import torch

from s3dis_seg.graph import definition, dispatch


def wanted_ranks(k, dilation, epsilon=0.0, generator=None):
    """Which ranks of the sorted neighbours make the dilated neighbourhood. -> (k,) int64 on the CPU, ascending

    Every `dilation`-th rank, starting at the point itself; with probability `epsilon` k random ones out of
    k * dilation instead (stochastic dilation, DeepGCN section 3.3). Leave epsilon 0 outside training, so that a
    prediction never depends on a random state.
    """
    if epsilon > 0 and torch.rand(1, generator=generator).item() < epsilon:
        return torch.randperm(k * dilation, generator=generator)[:k].sort().values
    return torch.arange(k) * dilation


@torch.no_grad()
def dilated_knn(
    x: torch.Tensor, k: int, dilation: int = 1, ranks: torch.Tensor | None = None, backend: str = "auto"
) -> torch.Tensor:
    """The neighbours of each point at the ranks 0, dilation, ..., (k - 1) * dilation. (B, N, C) -> (B, N, k) int64

    ranks: ascending int64 CPU tensor (see `wanted_ranks`) that replaces those. backend: "definition" is the
    slow form, "cpu" the fast one for CPU tensors, "triton" that for CUDA tensors, "torch_cluster" that package; "auto"
    takes the fast one that fits. Distances are exact for float64; 16-bit features are widened to float32.
    ValueError when a cloud has too few points, or a backend cannot do what is asked.
    """
    ranks = torch.arange(k) * dilation if ranks is None else ranks
    if x.dim() != 3:
        raise ValueError(f"expected clouds of shape (B, N, C); found {tuple(x.shape)}")
    if len(ranks) != k or k < 1 or int(ranks[0]) < 0 or bool((ranks.diff() <= 0).any()):
        raise ValueError(f"expected {k} ascending ranks from 0 on; found {ranks.tolist()}")
    needed = int(ranks[-1]) + 1
    if x.shape[1] < needed:
        raise ValueError(f"these neighbourhoods need clouds of at least {needed} points; found {x.shape[1]}")
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; choose one of {', '.join(BACKENDS)}")
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    with torch.autocast(x.device.type, enabled=False):
        return _FORMS[backend](x.contiguous(), ranks)


def _automatic(x, ranks):
    return dispatch.kernels_for(x).knn(x, ranks)


def _on_cpu(x, ranks):
    if x.device.type != "cpu":
        raise ValueError(f'backend "cpu" takes tensors on the CPU; found one on {x.device}')
    return dispatch.kernels_for(x).knn(x, ranks)


def _on_cuda(x, ranks):
    kernels = dispatch.triton_kernels()
    if kernels is None:
        raise ValueError('backend "triton" needs the package triton, which is not installed')
    # Triton's interpreter runs the same kernels on a CPU, for tests.
    if x.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f'backend "triton" takes CUDA tensors; found one on {x.device}')
    if x.dtype != torch.float32:
        raise ValueError(f'backend "triton" takes float32 and narrower features; found {x.dtype}')
    return kernels.knn(x, ranks)


def _on_torch_cluster(x, ranks):
    """Through torch_cluster.knn, whose neighbours of a point may leave the point itself out where others lie on it."""
    try:
        from torch_cluster import knn
    except ImportError as error:
        raise ValueError(
            'backend "torch_cluster" needs the package torch-cluster: pip install --no-build-isolation torch-cluster'
        ) from error
    B, N, C = x.shape
    needed = int(ranks[-1]) + 1
    if x.device.type == "cuda" and needed > 100:
        raise ValueError(f"torch-cluster finds at most 100 neighbours on CUDA, these ranks need {needed}")
    rows = x.view(B * N, C)
    clouds = torch.arange(B, device=x.device).repeat_interleave(N)
    _, found = knn(rows, rows, needed, clouds, clouds)
    if len(found) != B * N * needed:
        raise ValueError(f"torch-cluster found {len(found)} neighbours where {B * N * needed} were asked for")
    found = found.view(B, N, needed) - torch.arange(B, device=x.device)[:, None, None] * N
    # The point itself may be anywhere in its row. If it is missing, the last neighbour is dropped instead of it.
    own = torch.arange(N, device=x.device)[:, None]
    others = (found != own).int()
    others[..., -1] *= 1 - others.all(-1).int()
    front = torch.cat([own.expand(B, N, 1), found.gather(2, others.argsort(dim=2, descending=True, stable=True))], 2)
    return front[..., ranks.to(x.device)]


def _by_definition(x, ranks):
    return definition.dilated_knn(x, len(ranks), ranks=ranks)


_FORMS = {
    "auto": _automatic,
    "definition": _by_definition,
    "cpu": _on_cpu,
    "triton": _on_cuda,
    "torch_cluster": _on_torch_cluster,
}
BACKENDS = tuple(_FORMS)
