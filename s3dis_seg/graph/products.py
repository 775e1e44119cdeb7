"""Matrix products on the CPU: torch's own or oneDNN's, as the table of processors says.

With AVX-512 oneDNN is up to twice as fast as the MKL that torch takes on AMD; with AVX2 it is slower than that.
"""

import torch
import torch.nn.functional as F

from s3dis_seg.graph.processor import processor

# Private to torch, but what torch.compile emits for CPUs. Where it is missing, F.linear is used.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(x, weight, bias=None):
    """x W^T + b. (..., C), (D, C), (D,) -> (..., D)"""
    fits = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.numel() > 0
    if not fits or _ONEDNN is None or processor().product != "onednn" or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    return _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = _product(gradient, weight.T)
        if ctx.needs_input_grad[1]:
            dweight = _product(gradient.T, x.T)
        if ctx.needs_input_grad[2]:
            dbias = gradient.sum(0)
        return dx, dweight, dbias


def _product(x, weight, bias=None):
    # oneDNN takes its slowest path for views of a larger matrix.
    return _ONEDNN(_whole(x), _whole(weight), bias, "none", [], "")


def _whole(matrix):
    return matrix if matrix.mT.is_contiguous() else matrix.contiguous()
