"""The numbers of a network, and the named networks. Importable without torch, so that `--help` is quick."""

import reprlib
from dataclasses import dataclass, fields, replace

from s3dis_seg.files import InputError

# See convolutions.py.
CONVOLUTIONS = (
    "edge",
    "mr",
    "sage",
    "sage-normalized",
    "gin",
    "gcn",
    "gcn-none",
    "gcn-symmetric",
    "gcn-diagonal",
    "multihop",
    "gat",
)
BLOCKS = ("res", "dense", "plain")
GRAPHS = ("dynamic", "fixed")
NORMS = ("batch", "layer", "none")


def shortened(value):
    """A value for an error, in at most 80 characters: a damaged file may hold any, however large."""
    text = reprlib.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True)
class DeepGCNConfig:
    """Everything that fixes the shape of a network and the function it computes.

    block: "res" x + conv(x), "dense" cat(x, conv(x)), "plain" conv(x). blocks counts the head. conv: see CONVOLUTIONS.
    channels: of the head and of every convolution. dilation: block i takes every (1 + i)-th neighbour.
    epsilon: how often training draws its ranks at random. graph: "dynamic" looks for neighbours again in the features
    of every block, "fixed" only in xyz. edge_drop: the probability, in training, that the edge to a neighbour leads
    back to the point itself instead. norm: what follows every ReLU: "batch" BatchNorm, "layer" LayerNorm over the
    channels of a point, or "none". fusion: the prediction sees the outputs of the head and of all blocks; without it,
    only those of the last block.
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
    edge_drop: float = 0.0
    norm: str = "batch"
    fusion: bool = True

    def __post_init__(self):
        all_choices = (("block", BLOCKS), ("conv", CONVOLUTIONS), ("graph", GRAPHS), ("norm", NORMS))
        for name, choices in all_choices:
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {shortened(getattr(self, name))}; choose one of {', '.join(choices)}")
        for name, least in (("blocks", 1), ("channels", 1), ("k", 1), ("in_channels", 3), ("num_classes", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {shortened(value)}; it must be an integer of at least {least}")
        for name in ("dilation", "fusion"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InputError(f"{name} is {shortened(value)}; it must be True or False")
        for name, below in (("epsilon", False), ("dropout", True), ("edge_drop", True)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"{name} is {shortened(value)}; it must be a number from 0 to 1")
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

    @property
    def fused_widths(self):
        """How many channels each output has that fusion and prediction see. -> list of integers"""
        return self.widths if self.fusion else self.widths[-1:]


MODELS = {
    "resgcn7": DeepGCNConfig(blocks=7),
    "resgcn14": DeepGCNConfig(blocks=14),
    "resgcn28": DeepGCNConfig(),
    "resgcn28w": DeepGCNConfig(channels=128, k=8),
    "resgcn56": DeepGCNConfig(blocks=56, k=8),
    "resgcn112": DeepGCNConfig(blocks=112, k=8),
    "resgcn151": DeepGCNConfig(blocks=151, k=3),
    "plaingcn28": DeepGCNConfig(block="plain", dilation=False, epsilon=0.0),
    "densegcn28": DeepGCNConfig(block="dense", channels=32, k=8),
    "resmrgcn28": DeepGCNConfig(conv="mr"),
}


def model_config(name="resgcn28", **overrides):
    """The numbers of a named network, some of them replaced. -> DeepGCNConfig

    InputError for an unknown name, an unknown override or a value out of range.
    """
    if name not in MODELS:
        raise InputError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    known = [field.name for field in fields(DeepGCNConfig)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise InputError(f"a model has no setting {', '.join(unknown)}; its settings are {', '.join(known)}")
    return replace(MODELS[name], **overrides)
