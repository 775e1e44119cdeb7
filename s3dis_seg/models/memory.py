"""What keeps the memory of a network small. None of it changes what is computed.

Letters: B clouds, N points each, C and D channels.
"""

import torch
import torch.nn.functional as F

# Where clouds are independent of each other (`may_divide`), so many points of clouds go through the graph convolutions
# at a time, and so many points of each cloud through fusion and prediction: less memory at the same speed.
POINTS_OF_CLOUDS = 4096
POINTS_IN_FUSION = 512


def may_divide(x, training):
    """Whether a batch may be computed in parts: without batch statistics and gradients, clouds are independent.

    On a GPU they stay together, where splitting only adds launch overhead.
    """
    return not (training or torch.is_grad_enabled()) and x.device.type == "cpu"


def clouds_at_once(blocks, divide):
    """A batch in parts of about POINTS_OF_CLOUDS points. (B, N, C) -> list of (b, N, C)"""
    return blocks.split(max(POINTS_OF_CLOUDS // blocks.shape[1], 1)) if divide else [blocks]


def points_at_once(features, divide):
    """Clouds in parts of POINTS_IN_FUSION points each. (B, N, C) -> list of (B, n, C)"""
    return features.split(POINTS_IN_FUSION, dim=1) if divide else [features]


def max_over_points(x):
    """The largest value in every channel of a cloud. (B, N, C) -> (B, C)"""
    if x.device.type != "cpu":
        return x.max(dim=1).values
    # On the CPU max goes down the columns one by one; pooling, which reads rows, finds them in a twentieth of the time.
    image = x.detach().unsqueeze(2).permute(0, 3, 1, 2)
    _, first = F.max_pool2d(image, (x.shape[1], 1), return_indices=True)
    return x.gather(1, first.view(len(x), 1, -1)).squeeze(1)


class SideBySide:
    """cat(outputs, dim=-1). Where no gradient is wanted each goes to its place at once, so that none is there twice."""

    def __init__(self, width):
        self.width, self.filled = width, 0
        self.outputs, self.whole = [], None

    def add(self, x):
        if torch.is_grad_enabled():
            self.outputs.append(x)
            return
        if self.whole is None:
            self.whole = x.new_empty(*x.shape[:2], self.width)
        end = self.filled + x.shape[-1]
        self.whole[..., self.filled : end] = x
        self.filled = end

    def together(self):
        return torch.cat(self.outputs, dim=-1) if self.whole is None else self.whole


class FoldColumns(torch.autograd.Function):
    """The sum of the parts of a matrix that begin in the same column. (D, sum of widths), widths -> (D, last width)"""

    @staticmethod
    def forward(ctx, weight, widths):
        ctx.widths = widths
        folded = weight.new_zeros(len(weight), widths[-1])
        for part in weight.split(widths, dim=1):
            folded[:, : part.shape[1]] += part
        return folded

    @staticmethod
    def backward(ctx, gradient):
        return torch.cat([gradient[:, :width] for width in ctx.widths], dim=1), None


class Append(torch.autograd.Function):
    """cat(x, new) along the channels, where x already lies at the beginning of `grown`: only `new` is copied.

    (B, N, C), (B, N, D), (B, N, >= C + D) -> (B, N, C + D), a view of `grown`. A dense network would otherwise keep
    blocks / 2 copies of its features for the backward pass. What was handed out before is never written again,
    which autograd cannot know: hence `.data`, whose writes it does not count.
    """

    @staticmethod
    def forward(ctx, x, new, grown):
        ctx.width, end = x.shape[-1], x.shape[-1] + new.shape[-1]
        grown.data[..., ctx.width : end] = new
        return grown.data[..., :end]

    @staticmethod
    def backward(ctx, gradient):
        return gradient[..., : ctx.width], gradient[..., ctx.width :], None
