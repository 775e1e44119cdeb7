"""DeepGCN: a graph convolution on every point's neighbours, many times over, then one prediction a point.

    points -> head -> blocks (each looks for neighbours again, in its own features) -> fusion -> prediction

Li, Müller, Thabet, Ghanem, "DeepGCNs: Can GCNs Go as Deep as CNNs?" (ICCV 2019), in the form of the authors' PyTorch
code (lightaime/deep_gcns_torch, examples/sem_seg_dense), whose weights can be loaded.

Letters: B blocks (clouds), N points each, C channels, k neighbours. Features are (B, N, C) throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from s3dis_seg.files import InputError
from s3dis_seg.graph import definition, edge_max, knn
from s3dis_seg.graph.batch_norm import batch_norm
from s3dis_seg.graph.knn import wanted_ranks
from s3dis_seg.graph.products import linear

FUSION_CHANNELS = 1024
PREDICTION_CHANNELS = (512, 256)
# Where points need not go through all together (see `_may_divide`), clouds of so many points in all do at a time, and
# so many points of each through fusion and prediction: less memory at the same speed.
POINTS_OF_CLOUDS = 4096
POINTS_IN_FUSION = 512


class Engine(NamedTuple):
    """The graph operations a network uses; `model.engine = TEXTBOOK` computes the same function the slow way."""

    dilated_knn: Callable
    edge_conv: Callable
    max_neighbors: Callable


FAST = Engine(knn.dilated_knn, edge_max.edge_conv, edge_max.max_neighbors)
TEXTBOOK = Engine(definition.dilated_knn, definition.edge_conv, definition.max_neighbors)


class Layer(nn.Module):
    """Linear -> ReLU -> BatchNorm, in the order of the authors' PyTorch code. (B, N, C) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x, process_group=None):
        return self.activate(linear(x, self.linear.weight, self.linear.bias), process_group)

    def of_pair(self, x, y, process_group=None):
        """The layer of [x, y], without the concatenation. (B, N, C), (B, N, C) -> (B, N, D)"""
        first, second = self.linear.weight.split(x.shape[-1], dim=1)
        return self.activate(linear(x, first, self.linear.bias) + linear(y, second), process_group)

    def activate(self, x, process_group=None):
        """ReLU and BatchNorm of what the linear part made (and may be overwritten). (B, N, D) -> (B, N, D)"""
        # Under autocast the product is 16 bits wide; what follows is not.
        x = x.to(self.norm.weight.dtype).relu_()
        return batch_norm(x.flatten(0, -2), self.norm, process_group).view(x.shape)


class EdgeConv(Layer):
    """max_j BN(ReLU(W [x_i, x_j - x_i] + b)) (Wang et al., "Dynamic Graph CNN"). (B, N, C), (B, N, k) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)

    def forward(self, x, neighbors, engine, process_group=None):
        return engine.edge_conv(
            x, neighbors, self.linear.weight, self.linear.bias, self.norm, process_group=process_group
        )


class MRConv(Layer):
    """BN(ReLU(W [x_i, max_j (x_j - x_i)] + b)), max-relative (DeepGCN, section 3). (B, N, C), (B, N, k) -> (B, N, D)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)

    def forward(self, x, neighbors, engine, process_group=None):
        return self.of_pair(x, engine.max_neighbors(x, neighbors) - x, process_group)


class SAGEConv(Layer):
    """BN(ReLU(W [x_i, max_j ReLU(V x_j + c)] + b)) (Hamilton et al., "Inductive Representation Learning").

    (B, N, C), (B, N, k) -> (B, N, D). V has C rows, as in lightaime/deep_gcns, gcn_lib/tf_vertex.py.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__(2 * in_channels, out_channels)
        self.neighbor = nn.Linear(in_channels, in_channels)

    def forward(self, x, neighbors, engine, process_group=None):
        return self.of_pair(x, engine.max_neighbors(self.neighbor(x).relu(), neighbors), process_group)


class NormalizedSAGEConv(SAGEConv):
    """SAGEConv with outputs of length 1. (B, N, C), (B, N, k) -> (B, N, D)"""

    def forward(self, x, neighbors, engine, process_group=None):
        return F.normalize(super().forward(x, neighbors, engine, process_group), dim=-1)


class GINConv(Layer):
    """BN(ReLU(W ((1 + e) x_i + sum_j x_j) + b)), e learned from 0 (Xu et al., "How Powerful are GNNs?").

    (B, N, C), (B, N, k) -> (B, N, D)
    """

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.epsilon = nn.Parameter(torch.zeros(1))

    def forward(self, x, neighbors, engine, process_group=None):
        return super().forward((1 + self.epsilon) * x + sum_neighbors(x, neighbors), process_group)


class GCNConv(Layer):
    """BN(ReLU(W mean_j x_j + b)): Kipf and Welling's GCN, random-walk normalised. (B, N, C), (B, N, k) -> (B, N, D)

    The point itself is one of its k neighbours and counts once.
    """

    def forward(self, x, neighbors, engine, process_group=None):
        return super().forward(sum_neighbors(x, neighbors) / neighbors.shape[2], process_group)


class SymmetricGCNConv(Layer):
    """BN(ReLU(W sum_j x_j / sqrt(k deg(j)) + b)), deg(j) the number of points that have j as a neighbour.

    (B, N, C), (B, N, k) -> (B, N, D). Kipf and Welling, "Semi-Supervised Classification with GCNs".
    """

    def forward(self, x, neighbors, engine, process_group=None):
        degrees = torch.bincount(_rows(neighbors).flatten(), minlength=x.shape[0] * x.shape[1]).view(*x.shape[:2], 1)
        # A point that is nobody's neighbour takes part in no sum.
        scaled = x * (neighbors.shape[2] * degrees.clamp(min=1)).to(x.dtype).rsqrt()
        return super().forward(sum_neighbors(scaled, neighbors), process_group)


CONVOLUTIONS = {
    "edge": EdgeConv,
    "mr": MRConv,
    "sage": SAGEConv,
    "sage-normalized": NormalizedSAGEConv,
    "gin": GINConv,
    "gcn": GCNConv,
    "gcn-symmetric": SymmetricGCNConv,
}
BLOCKS = ("res", "dense", "plain")
GRAPHS = ("dynamic", "fixed")


@dataclass(frozen=True)
class DeepGCNConfig:
    """Everything that fixes the shape of a network and the function it computes.

    block: "res" x + conv(x), "dense" cat(x, conv(x)), "plain" conv(x). blocks counts the head. conv: see CONVOLUTIONS.
    channels: of the head and of every convolution. dilation: block i takes every (1 + i)-th neighbour.
    epsilon: how often training draws its ranks at random. graph: "dynamic" looks for neighbours again in the features
    of every block, "fixed" only in xyz.
    """

    block: str = "res"
    conv: str = "edge"
    blocks: int = 28
    channels: int = 64
    k: int = 16
    dilation: bool = True
    epsilon: float = 0.2
    graph: str = "dynamic"
    in_channels: int = 9
    num_classes: int = 13
    dropout: float = 0.3

    def __post_init__(self):
        for name, choices in (("block", BLOCKS), ("conv", tuple(CONVOLUTIONS)), ("graph", GRAPHS)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        for name, least in (("blocks", 1), ("channels", 1), ("k", 1), ("in_channels", 3), ("num_classes", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}; it must be an integer of at least {least}")
        if not isinstance(self.dilation, bool):
            raise InputError(f"dilation is {self.dilation!r}; it must be True or False")
        for name, below in (("epsilon", False), ("dropout", True)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"{name} is {value!r}; it must be a number from 0 to 1")
            if below and value == 1:
                raise InputError(f"{name} is 1; it must be below 1")

    @property
    def dilations(self):
        """The dilation of the head and of every block. -> list of `blocks` integers"""
        return [1] + [1 + i if self.dilation else 1 for i in range(self.blocks - 1)]

    @property
    def widths(self):
        """How many channels leave the head and every block. -> list of `blocks` integers"""
        return [self.channels * (1 + i if self.block == "dense" else 1) for i in range(self.blocks)]


class DeepGCN(nn.Module):
    """The network of a DeepGCNConfig.

    engine: the graph operations, FAST or TEXTBOOK. generator: the CPU generator of the stochastic ranks, seeded from
    torch's own; its state belongs to a training run. process_group: over which BatchNorm gathers its statistics.
    """

    def __init__(self, config, engine=FAST):
        super().__init__()
        self.config = config
        self.engine = engine
        self.process_group = None
        self.generator = torch.Generator(device="cpu").manual_seed(torch.initial_seed())

        conv = CONVOLUTIONS[config.conv]
        width = sum(config.widths)
        hidden, last = PREDICTION_CHANNELS
        self.head = conv(config.in_channels, config.channels)
        self.backbone = nn.ModuleList(conv(width, config.channels) for width in config.widths[:-1])
        self.fusion = Layer(width, FUSION_CHANNELS)
        self.prediction = nn.ModuleList(
            [Layer(FUSION_CHANNELS + width, hidden), Layer(hidden, last), nn.Linear(last, config.num_classes)]
        )
        self.dropout = nn.Dropout(config.dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def points_needed(self):
        """The fewest points a cloud may have, in the present mode (training or evaluation)."""
        k, dilation = self.config.k, max(self.config.dilations)
        stochastic = self.training and self.config.epsilon > 0
        return k * dilation if stochastic else (k - 1) * dilation + 1

    def draw_ranks(self):
        """Which ranks make the neighbourhoods of the head and of every block. -> list of (k,) int64 CPU tensors

        One draw for all points and clouds, from `generator`; in evaluation nothing is drawn.
        """
        epsilon = self.config.epsilon if self.training else 0.0
        return [wanted_ranks(self.config.k, dilation, epsilon, self.generator) for dilation in self.config.dilations]

    def forward(self, blocks, ranks=None):
        """Blocks of points -> logits. (B, N, 9) float -> (B, N, num_classes)

        Channels 0:3 are the coordinates in which the head looks for neighbours. `ranks` replaces the draw of
        `draw_ranks`. Under autocast only the products of fusion and prediction are reduced in precision.
        ValueError when the shape is wrong or N is below `points_needed`.
        """
        self._check(blocks)
        ranks = self.draw_ranks() if ranks is None else ranks
        at_once = max(POINTS_OF_CLOUDS // blocks.shape[1], 1) if self._may_divide(blocks) else len(blocks)
        return torch.cat([self._logits(clouds, ranks) for clouds in blocks.split(at_once)])

    def _may_divide(self, x):
        """Without batch statistics and gradients a cloud knows nothing of others. But a GPU would wait for orders."""
        return not (self.training or torch.is_grad_enabled()) and x.device.type == "cpu"

    def _logits(self, clouds, ranks):
        """(B, N, 9) -> (B, N, num_classes)"""
        with torch.autocast(clouds.device.type, enabled=False):
            features = self._features(clouds.to(self.fusion.norm.weight.dtype), ranks)
        return self._predict(features)

    def _check(self, blocks):
        if blocks.dim() != 3 or blocks.shape[2] != self.config.in_channels:
            raise ValueError(f"expected blocks of shape (B, N, {self.config.in_channels}); found {tuple(blocks.shape)}")
        if blocks.shape[1] < self.points_needed:
            raise ValueError(
                f"this network needs clouds of at least {self.points_needed} points "
                f"(k={self.config.k}, dilation up to {max(self.config.dilations)}); found {blocks.shape[1]}"
            )

    def _features(self, blocks, ranks):
        """What the head and every block put out, once each. (B, N, 9) -> (B, N, blocks * channels)"""
        neighbors_in = self._neighbor_search(blocks[..., :3], ranks)
        x = self.head(blocks, neighbors_in(blocks[..., :3], 0), self.engine, self.process_group)
        outputs = _SideBySide(sum(self.config.widths))
        if self.config.block == "dense":
            grown = x.new_empty(*x.shape[:2], self.config.widths[-1])
            x = _Append.apply(x[..., :0], x, grown)
        else:
            outputs.add(x)
        for i, conv in enumerate(self.backbone, start=1):
            new = conv(x, neighbors_in(x, i), self.engine, self.process_group)
            if self.config.block == "dense":
                x = _Append.apply(x, new, grown)
            else:
                x = x + new if self.config.block == "res" else new
                outputs.add(x)
        return x if self.config.block == "dense" else outputs.together()

    def _neighbor_search(self, xyz, ranks):
        """-> function of features (B, N, C) and the number of the block, giving neighbours (B, N, k)"""
        if self.config.graph == "dynamic":
            return lambda x, i: self.engine.dilated_knn(x, self.config.k, self.config.dilations[i], ranks=ranks[i])
        wanted = torch.unique(torch.cat(ranks))
        table = self.engine.dilated_knn(xyz, len(wanted), ranks=wanted)
        return lambda x, i: table[..., torch.searchsorted(wanted, ranks[i]).to(table.device)]

    def _predict(self, features):
        """Fusion and prediction. (B, N, blocks * channels) -> (B, N, num_classes)"""
        first = self.prediction[0].linear
        pieces = features.split(POINTS_IN_FUSION, dim=1) if self._may_divide(features) else [features]
        weight = self._folded(self.fusion.linear.weight)
        cloud = torch.stack([max_over_points(self._fused(piece, weight)) for piece in pieces]).amax(dim=0)
        # The cloud's feature is the same for all its points, and so is its share of the product.
        of_cloud, of_point = first.weight.split([cloud.shape[1], sum(self.config.widths)], dim=1)
        shared = linear(cloud, of_cloud, first.bias).unsqueeze(1)
        weight = self._folded(of_point).contiguous()
        return torch.cat([self._classified(piece, weight, shared) for piece in pieces], dim=1)

    def _fused(self, features, weight):
        return self.fusion.activate(linear(features, weight, self.fusion.linear.bias), self.process_group)

    def _classified(self, features, weight, shared):
        first, second, last = self.prediction
        x = first.activate(linear(features, weight) + shared, self.process_group)
        x = self.dropout(second(x, self.process_group))
        return linear(x, last.weight, last.bias).to(last.weight.dtype)

    def _folded(self, weight):
        """Weights for all outputs one after another -> weights for what `_features` holds. (D, sum of widths) -> (D, C)

        Each output of a dense block begins with the one before it, so the columns that meet the same channel add up.
        """
        return _FoldColumns.apply(weight, self.config.widths) if self.config.block == "dense" else weight


class _SideBySide:
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


class _FoldColumns(torch.autograd.Function):
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


class _Append(torch.autograd.Function):
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


def max_over_points(x):
    """The largest value in every channel of a cloud. (B, N, C) -> (B, C)"""
    if x.device.type != "cpu":
        return x.max(dim=1).values
    # On the CPU max goes down the columns one by one; pooling, which reads rows, finds them in a twentieth of the time.
    image = x.detach().unsqueeze(2).permute(0, 3, 1, 2)
    _, first = F.max_pool2d(image, (x.shape[1], 1), return_indices=True)
    return x.gather(1, first.view(len(x), 1, -1)).squeeze(1)


def sum_neighbors(x, neighbors):
    """sum_j x_j over the neighbours of each point. (B, N, C), (B, N, k) -> (B, N, C)"""
    rows = x.reshape(-1, x.shape[-1])
    return F.embedding_bag(_rows(neighbors).flatten(0, 1), rows, mode="sum").view(x.shape)


def _rows(neighbors):
    """Numbers of the neighbours counted through all clouds. (B, N, k) -> (B, N, k)"""
    return neighbors + torch.arange(len(neighbors), device=neighbors.device)[:, None, None] * neighbors.shape[1]
