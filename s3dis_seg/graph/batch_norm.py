"""BatchNorm over the rows of a matrix, in one process or over several that act as one.

torch's SyncBatchNorm refuses CPU tensors and BatchNorm2d's backward is wrong for channels-last inputs on the CPU
(torch 2.13), so features stay (rows, channels), BatchNorm1d does the work of one process, and the rest is here.
"""

import torch
import torch.distributed


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over a process group; so is its gradient, since every process uses the sum."""

    @staticmethod
    def forward(ctx, x, process_group):
        ctx.process_group = process_group
        total = x.clone()
        torch.distributed.all_reduce(total, group=process_group)
        return total

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.clone()
        torch.distributed.all_reduce(total, group=ctx.process_group)
        return total, None


def batch_norm(rows, norm, process_group=None, training=None):
    """`norm` (BatchNorm1d) of rows, with statistics over the rows of every process of the group. (R, C) -> (R, C)

    In training the running statistics of `norm` are updated as BatchNorm1d does (variance with R / (R - 1), R counted
    over the group). The arithmetic has the precision of the module's parameters, whatever that of the rows.
    `training` None follows the module.
    """
    training = norm.training if training is None else training
    rows = rows.to(norm.weight.dtype)
    share = share_of_batch(norm) if training else 0.0
    if process_group is None or not training:
        return torch.nn.functional.batch_norm(
            rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, share, norm.eps
        )
    count = _SumOverProcesses.apply(rows.new_tensor(float(len(rows))), process_group)
    mean = _SumOverProcesses.apply(rows.sum(0), process_group) / count
    centered = rows - mean
    variance = _SumOverProcesses.apply(centered.square().sum(0), process_group) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance * count / (count - 1), share)
    return centered * (variance + norm.eps).rsqrt() * norm.weight + norm.bias


def share_of_batch(norm):
    """Count one more batch. -> its weight in the running statistics: `momentum`, or that of each before it if None"""
    norm.num_batches_tracked.add_(1)
    return 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
