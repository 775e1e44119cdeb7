"""Maximum over edges, exactly and without anything of the size of the edges.

W [x_i, x_j - x_i] + b = a_i + c_j with a = x (W1 - W2)^T + b and c = x W2^T: two products on points instead of one on
edges. ReLU is monotone and BatchNorm has one slope a channel, so the maximum over j of BN(ReLU(a_i + c_j)) is
BN(ReLU(a_i + e_i)), with e_i the maximum of c_j where the slope (gamma) is positive and the minimum where it is
negative. The backward pass recomputes what it needs about edges from a, c and the table of neighbours.

Letters: B clouds, N points, R = B * N rows, C channels (D after the convolution), k neighbours, E = R * k edges.
"""

import torch
import torch.distributed
import torch.nn.functional as F

from s3dis_seg.graph.batch_norm import share_of_batch
from s3dis_seg.graph.dispatch import kernels_for
from s3dis_seg.graph.products import linear


def edge_conv(x, neighbors, weight, bias, norm, training=None, process_group=None):
    """max_j BatchNorm(ReLU(W [x_i, x_j - x_i] + b)) over the neighbours j. (B, N, C), (B, N, k) -> (B, N, D)

    weight (D, 2C), bias (D,), norm BatchNorm1d(D). The statistics run over all edges, of every process of
    `process_group` where one is given; in training (None: `norm.training`) the running ones are updated. The
    arithmetic has the precision of the module's parameters, also under autocast. The gradient of a maximum goes to the
    first neighbour that has it.
    """
    training = norm.training if training is None else training
    B, N, C = x.shape
    with torch.autocast(x.device.type, enabled=False):
        rows = x.reshape(B * N, C).to(weight.dtype)
        if training:
            y, mean, variance, edges = _EdgeMax.apply(
                rows, weight, bias, norm.weight, norm.bias, neighbors, norm.eps, process_group
            )
            _update_running_statistics(norm, mean, variance, edges)
        else:
            # With fixed statistics BatchNorm is s y + t, differentiable as it stands.
            central, relative = _central_and_relative(weight)
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            e = _Extreme.apply(linear(rows, relative), neighbors, norm.weight.detach().sign())
            highest = F.relu(linear(rows, central, bias) + e)
            y = torch.addcmul(norm.bias, highest - norm.running_mean, scale)
    return y.view(B, N, -1)


def max_neighbors(x, neighbors):
    """max_j x_j over the neighbours j of each point, channel by channel. (B, N, C), (B, N, k) -> (B, N, C)

    The gradient goes to the first neighbour that has the maximum.
    """
    rows = x.reshape(-1, x.shape[-1])
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    return _Extreme.apply(rows, neighbors, rows.new_ones(rows.shape[1])).view(x.shape).to(x.dtype)


def _update_running_statistics(norm, mean, variance, edges):
    """As BatchNorm does: the running variance is that of the population the edges are a sample of."""
    share = share_of_batch(norm)
    with torch.no_grad():
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
        norm.running_var.lerp_((variance * edges / (edges - 1)).to(norm.running_var.dtype), share)


class _Extreme(torch.autograd.Function):
    """The maximum of c over the neighbours where sign is 1, the minimum where it is -1. (R, C) -> (R, C)"""

    @staticmethod
    def forward(ctx, c, neighbors, sign):
        e, arg, *_ = kernels_for(c).gather_extreme(c, c, neighbors, sign, statistics=False)
        ctx.save_for_backward(neighbors, arg)
        return e

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        neighbors, arg = ctx.saved_tensors
        gradient = gradient.contiguous()
        return kernels_for(gradient).scatter_at(gradient, arg, neighbors), None, None


class _EdgeMax(torch.autograd.Function):
    """max_j BN(ReLU(W [x_i, x_j - x_i] + b)) with the statistics over all edges i -> j of the table.

    x (R, C), weight (D, 2C), bias, gamma, beta (D,) -> y (R, D), and mean and variance (D,) and number of edges,
    float64. Only x and the table are kept: the rest is computed again, which takes little beside the search of the
    table and leaves a fifth of the memory.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, gamma, beta, neighbors, eps, process_group):
        highest, _, _, _, _, _, totals = _over_edges(x, weight, bias, gamma, neighbors)
        totals = torch.cat([*totals, totals[0].new_full((1,), neighbors.numel())])
        if process_group is not None:
            torch.distributed.all_reduce(totals, group=process_group)
        edges = totals[-1]
        mean, mean_square = (totals[:-1] / edges).chunk(2)
        variance = (mean_square - mean.square()).clamp_(min=0)
        inverse = (variance + eps).rsqrt()
        y = torch.addcmul(beta, highest.sub_(mean.to(x.dtype)), gamma * inverse.to(x.dtype))
        ctx.save_for_backward(x, weight, bias, gamma, neighbors, mean, inverse, edges)
        ctx.process_group = process_group
        ctx.mark_non_differentiable(mean, variance, edges)
        return y, mean, variance, edges

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *_):
        # Called under the autocast of the loss, if there is one.
        with torch.autocast(gradient.device.type, enabled=False):
            return *_gradients(gradient, *ctx.saved_tensors, ctx.process_group), None, None, None


def _gradients(gradient, x, weight, bias, gamma, neighbors, mean, inverse, edges, process_group):
    """Of x, weight, bias, gamma and beta, of what _EdgeMax has kept and the gradient of its output (R, D)."""
    highest, arg, a, c, relu_sum, positive, _ = _over_edges(x, weight, bias, gamma, neighbors)
    kind = x.dtype
    dbeta = gradient.sum(0)
    dgamma = (gradient * (highest - mean.to(kind))).sum(0) * inverse.to(kind)
    totals = torch.cat([dbeta, dgamma]).double()
    if process_group is not None:
        torch.distributed.all_reduce(totals, group=process_group)
    c1, c2 = (totals / edges).chunk(2)
    # By the chain rule through the statistics every edge with r > 0 gets q r + p, the extreme one also `given`.
    slope = gamma.double() * inverse
    q = -slope * c2 * inverse
    p = -slope * c1 - q * mean
    slope, p, q = slope.to(kind), p.to(kind), q.to(kind)
    given = torch.where(highest > 0, gradient, 0) * slope
    dc = kernels_for(x).scatter_edges(given, arg, neighbors, a, c, p, q)
    da = given.addcmul_(positive, p).addcmul_(relu_sum, q)

    central, relative = _central_and_relative(weight)
    dx = linear(da, central.T).add_(linear(dc, relative.T))
    dcentral, drelative = linear(da.T, x.T), linear(dc.T, x.T)
    dweight = torch.cat([dcentral, drelative - dcentral], dim=1)
    return dx, dweight, None if bias is None else da.sum(0), dgamma, dbeta


def _central_and_relative(weight):
    """What multiplies x_i and x_j in W [x_i, x_j - x_i] = (W1 - W2) x_i + W2 x_j. (D, 2C) -> twice (D, C)"""
    first, second = weight.chunk(2, dim=1)
    return first - second, second.contiguous()


def _over_edges(x, weight, bias, gamma, neighbors):
    """One pass over all edges. -> ReLU(a_i + e_i), arg, a, c, sum_j r_ij and #{j: r_ij > 0}, and a list: sum r, sum r^2

    with a, c, e (R, D) as above, arg the row that e comes from, r_ij = ReLU(a_i + c_j).
    """
    central, relative = _central_and_relative(weight)
    a, c = linear(x, central, bias), linear(x, relative)
    e, arg, relu_sum, positive, *totals = kernels_for(x).gather_extreme(a, c, neighbors, gamma.sign(), True)
    return e.add_(a).relu_(), arg, a, c, relu_sum, positive, totals
