"""Which kernels do the work for a tensor: numba's on the CPU, Triton's on CUDA, else those in torch alone.

Each is a module with the same functions: knn, gather_extreme, scatter_at and scatter_edges (see plain.py).
"""

from functools import lru_cache
from importlib.util import find_spec

import torch

from s3dis_seg.graph import plain


def kernels_for(x):
    """The kernels for tensors of the device and type of x."""
    if x.device.type == "cpu":
        return compiled_kernels() or plain
    if x.device.type == "cuda" and x.dtype == torch.float32:
        return triton_kernels() or plain
    return plain


@lru_cache(maxsize=1)
def compiled_kernels():
    """The module of CPU kernels, or None without numba."""
    try:
        from s3dis_seg.graph import compiled
    except ImportError:
        return None
    return compiled


@lru_cache(maxsize=1)
def triton_kernels():
    """The module of Triton kernels, or None without triton."""
    if find_spec("triton") is None:
        return None
    from s3dis_seg.graph import kernels

    return kernels
