"""DeepGCN: a graph convolution on every point's neighbours, many times over, then one prediction a point.

    points -> head -> blocks (each looks for neighbours again, in its own features) -> fusion -> prediction

Li, Müller, Thabet, Ghanem, "DeepGCNs: Can GCNs Go as Deep as CNNs?" (ICCV 2019), in the form of the authors' PyTorch
code (lightaime/deep_gcns_torch, examples/sem_seg_dense), whose weights can be loaded.

Letters: B blocks (clouds), N points each, C channels, k neighbours. Features are (B, N, C) throughout.
"""

import torch
from torch import nn

from s3dis_seg.graph.knn import wanted_ranks
from s3dis_seg.graph.products import linear
from s3dis_seg.models.convolutions import BY_NAME, FAST, Layer, drop_edges
from s3dis_seg.models.memory import (
    Append,
    FoldColumns,
    SideBySide,
    clouds_at_once,
    max_over_points,
    may_divide,
    points_at_once,
)

FUSION_CHANNELS = 1024
PREDICTION_CHANNELS = (512, 256)


class DeepGCN(nn.Module):
    """The network of a DeepGCNConfig.

    operations: the graph operations, FAST or DEFINITION. process_group: over which BatchNorm gathers its statistics,
    None for this process alone. generator: the random state of the stochastic ranks, on the CPU. It starts with torch's
    initial seed; `seed_ranks` sets it anew.
    """

    def __init__(self, config, operations=FAST, process_group=None):
        super().__init__()
        self.config = config
        self.operations = operations
        self.process_group = process_group
        self.generator = torch.Generator(device="cpu").manual_seed(torch.initial_seed())

        conv = BY_NAME[config.conv]
        fused, norm = sum(config.fused_widths), config.norm
        hidden, last = PREDICTION_CHANNELS
        self.head = conv(config.in_channels, config.channels, norm)
        self.backbone = nn.ModuleList(conv(width, config.channels, norm) for width in config.widths[:-1])
        self.fusion = Layer(fused, FUSION_CHANNELS, norm)
        self.prediction = nn.ModuleList(
            [
                Layer(FUSION_CHANNELS + fused, hidden, norm),
                Layer(hidden, last, norm),
                nn.Linear(last, config.num_classes),
            ]
        )
        self.dropout = nn.Dropout(config.dropout)
        for module in self.modules():
            # Without numbers, on the device "meta", torch would import its compiler for this: more than a second.
            if isinstance(module, nn.Linear) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def points_needed(self):
        """The fewest points a cloud may have, in the present mode (training or evaluation)."""
        k, dilation = self.config.k, max(self.config.dilations)
        stochastic = self.training and self.config.epsilon > 0
        return k * dilation if stochastic else (k - 1) * dilation + 1

    def seed_ranks(self, seed):
        """Fix the ranks that stochastic dilation draws from now on; training does so in every step. seed: an integer"""
        self.generator.manual_seed(seed)

    def draw_ranks(self):
        """Which ranks make the neighbourhoods of the head and of every block. -> list of (k,) int64 CPU tensors

        One draw for all points and clouds, from `generator`; in evaluation nothing is drawn.
        """
        epsilon = self.config.epsilon if self.training else 0.0
        return [wanted_ranks(self.config.k, dilation, epsilon, self.generator) for dilation in self.config.dilations]

    def forward(self, blocks, ranks=None, watch=None):
        """Blocks of points -> logits. (B, N, 9) float -> (B, N, num_classes)

        Channels 0:3 are the coordinates in which the head looks for neighbours. `ranks` replaces the draw of
        `draw_ranks`. watch: a function that is given the features (B, N, C) which leave the head and every block, one
        after another. Under autocast only the products of fusion and prediction are reduced in precision.
        ValueError when the shape is wrong or N is below `points_needed`.
        """
        self._check(blocks)
        ranks = self.draw_ranks() if ranks is None else ranks
        parts = clouds_at_once(blocks, may_divide(blocks, self.training))
        return torch.cat([self._logits(clouds, ranks, watch) for clouds in parts])

    def _logits(self, clouds, ranks, watch):
        """(B, N, 9) -> (B, N, num_classes)"""
        with torch.autocast(clouds.device.type, enabled=False):
            features = self._features(clouds.to(self.fusion.linear.weight.dtype), ranks, watch)
        return self._predict(features)

    def _check(self, blocks):
        if blocks.dim() != 3 or blocks.shape[2] != self.config.in_channels:
            raise ValueError(f"expected blocks of shape (B, N, {self.config.in_channels}); found {tuple(blocks.shape)}")
        if blocks.shape[1] < self.points_needed:
            raise ValueError(
                f"this network needs clouds of at least {self.points_needed} points "
                f"(k={self.config.k}, dilation up to {max(self.config.dilations)}); found {blocks.shape[1]}"
            )

    def _features(self, blocks, ranks, watch=None):
        """What fusion sees: the output of every block, or of the last. (B, N, 9) -> (B, N, C)

        Each output of a dense block begins with the one before it, so the last one holds them all, once each.
        """
        last_is_enough = self.config.block == "dense" or not self.config.fusion
        outputs = SideBySide(sum(self.config.widths))
        for x in self._layers(blocks, ranks):
            if watch is not None:
                watch(x)
            if not last_is_enough:
                outputs.add(x)
        return x if last_is_enough else outputs.together()

    def _layers(self, blocks, ranks):
        """The features that leave the head and every block. (B, N, 9) -> yields (B, N, C)"""
        neighbors_in = self._neighbor_search(blocks[..., :3], ranks)
        x = self.head(blocks, neighbors_in(blocks[..., :3], 0), self.operations, self.process_group)
        if self.config.block == "dense":
            grown = x.new_empty(*x.shape[:2], self.config.widths[-1])
            x = Append.apply(x[..., :0], x, grown)
        yield x
        for i, conv in enumerate(self.backbone, start=1):
            new = conv(x, neighbors_in(x, i), self.operations, self.process_group)
            if self.config.block == "dense":
                x = Append.apply(x, new, grown)
            else:
                x = x + new if self.config.block == "res" else new
            yield x

    def _neighbor_search(self, xyz, ranks):
        """-> function of features (B, N, C) and the number of the block, giving neighbours (B, N, k)"""
        if self.config.graph == "dynamic":
            found = lambda x, i: self.operations.dilated_knn(  # noqa: E731
                x, self.config.k, self.config.dilations[i], ranks=ranks[i]
            )
        else:
            wanted = torch.unique(torch.cat(ranks))
            table = self.operations.dilated_knn(xyz, len(wanted), ranks=wanted)
            found = lambda x, i: table[..., torch.searchsorted(wanted, ranks[i]).to(table.device)]  # noqa: E731
        probability = self.config.edge_drop if self.training else 0.0
        return lambda x, i: drop_edges(found(x, i), probability)

    def _predict(self, features):
        """Fusion and prediction. (B, N, blocks * channels) -> (B, N, num_classes)"""
        first = self.prediction[0].linear
        pieces = points_at_once(features, may_divide(features, self.training))
        weight = self._folded(self.fusion.linear.weight)
        cloud = torch.stack([max_over_points(self._fused(piece, weight)) for piece in pieces]).amax(dim=0)
        # The cloud's feature is the same for all its points, and so is its share of the product.
        of_cloud, of_point = first.weight.split([cloud.shape[1], sum(self.config.fused_widths)], dim=1)
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
        """Weights for all fused outputs one after another -> weights for what `_features` holds. (D, .) -> (D, C)

        The columns that meet the same channel of a dense network add up.
        """
        return FoldColumns.apply(weight, self.config.fused_widths) if self.config.block == "dense" else weight
