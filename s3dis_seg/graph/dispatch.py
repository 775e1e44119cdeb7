"""Which kernels do the work for a tensor: numba's on the CPU, Triton's on CUDA, else those in torch alone.

Each is a module with the same functions: knn, gather_extreme, scatter_at and scatter_edges (see torch_backend.py).
"""

from functools import lru_cache
from importlib.util import find_spec

import torch

from s3dis_seg.graph import torch_backend


def kernels_for(x):
    """The kernels for tensors of the device and type of x."""
    if x.device.type == "cpu":
        return numba_kernels() or torch_backend
    if x.device.type == "cuda" and x.dtype == torch.float32:
        return triton_kernels() or torch_backend
    return torch_backend


@lru_cache(maxsize=1)
def numba_kernels():
    """The module of CPU kernels, or None without numba."""
    try:
        from s3dis_seg.graph import numba_backend
    except ImportError:
        return None
    return numba_backend


@lru_cache(maxsize=1)
def triton_kernels():
    """The module of Triton kernels, or None without triton."""
    if find_spec("triton") is None:
        return None
    from s3dis_seg.graph import triton_backend

    return triton_backend
