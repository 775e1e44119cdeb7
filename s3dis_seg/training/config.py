"""The settings of a run, and the recipes that name some of them. Imports no torch, so that --help stays quick."""

import math
from dataclasses import dataclass, field

LARGEST_SEED = 2**64 - 1  # that torch takes
AMP = ("off", "bf16", "fp16")
CLASS_WEIGHTS = ("none", "sqrt")
SCHEDULES = ("halving", "cosine")
NORMALIZATIONS = ("none", "official")  # see data/blocks/features.py

# What the name of a recipe changes in a TrainConfig.
# "standard": the published optimisation, on blocks of even density that suit a hall as well.
# "published": exactly as the paper, with DeepGCN's own blocks and no validation; the last weights are the result.
# "corrections": a few scans that were corrected, from the weights that labelled them; the last weights are the result.
# "modern": what later networks on S3DIS train with.
# "fine-tune": a few scans with other classes, beginning with a checkpoint; takes minutes on a CPU, however many scans.
RECIPES = {
    "standard": {},
    "published": {"grid": 0.0, "frame_size": math.inf, "published_blocks": True},
    "corrections": {
        "schedule": "cosine",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "batch_size": 4,
        "epochs": 1,
        "freeze": 1_000_000,  # steps: only fusion and prediction learn
        "lr": 1e-3,
    },
    "modern": {
        "augment": True,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "statistics_blocks": 96,
    },
    "fine-tune": {
        "augment": True,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "statistics_blocks": 24,
        "num_points": 1024,
        "batch_size": 4,
        "epochs": 10,
        "epoch_blocks": 80,
        "freeze": 20,
        "lr": 1e-3,
    },
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes; its checkpoints keep it. The defaults are DeepGCN's recipe.

    data: the folder of the rooms. start: the checkpoint whose weights the network begins with, "" for random ones; see
    start.py. train_rooms, val_rooms, test_rooms: names of rooms; the last are only remembered.
    overrides: settings of DeepGCNConfig that differ from the named model's.
    block_size, grid and frame_size (metres) and normalization: see BlockSettings. published_blocks: draw blocks as
    PointNet did.
    epoch_blocks: how many blocks make an epoch, after which there is a validation; 0: every block once. The blocks are
    taken in turn, so an epoch may be a part of them, or have some of them several times.
    batch_size: blocks a step of the optimizer, over all processes. accumulate: in how many parts a process computes
    its share of a step, to save memory. The loss stays the same mean, but BatchNorm normalises each part on its own.
    schedule: "halving" (every 20 epochs) or "cosine" (a warm-up, then down to zero at the end of the last epoch).
    freeze: for how many steps the head and the backbone stay as they are, their BatchNorm statistics included.
    class_weights: "none", or "sqrt" to weigh rare classes more; lovasz: how much of the Lovász loss is added to the
    cross entropy; see losses.py.
    mix: share of the training blocks that are mixed with another one, see MixedBlocks.
    statistics_blocks: over how many training blocks BatchNorm's statistics are measured again before each validation
    and at the end, see statistics.py; 0 keeps the running ones.
    keep_statistics: BatchNorm normalises with the statistics of the checkpoint, in training as well, and keeps them.
    amp: one of AMP. val_every: epochs between two validations. deterministic: the same result every time on CUDA too.
    """

    data: str
    train_rooms: tuple[str, ...]
    val_rooms: tuple[str, ...] = ()
    test_rooms: tuple[str, ...] = ()
    test_area: int | None = None
    start: str = ""
    freeze: int = 0
    recipe: str = "standard"
    model: str = "resgcn28"
    overrides: dict = field(default_factory=dict)
    num_points: int = 4096
    block_size: float = 1.0
    grid: float = 0.02
    frame_size: float = 8.0
    normalization: str = "none"
    published_blocks: bool = False
    augment: bool = False
    epochs: int = 100
    epoch_blocks: int = 0
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    schedule: str = "halving"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    lovasz: float = 0.0
    mix: float = 0.0
    statistics_blocks: int = 0
    keep_statistics: bool = False
    amp: str = "off"
    seed: int = 0
    val_every: int = 1
    deterministic: bool = False
