"""Training: a run is settings, a loop, and a folder from which it can go on.

The folder holds `last.pt` (weights, and what is needed to go on), `best.pt` (the weights with the best validation
mIoU), `metrics.csv` (a line an epoch) and TensorBoard's events. Several processes started by torchrun act as one.

The randomness of a step comes from (seed, step) and that of a block from (seed, epoch, block), never from what
happened before; so a run goes on exactly where it stopped, with any number of workers.

    run.py        settings, progress, and what is written
    inputs.py     the blocks, their order, and who takes which
    processes.py  several processes, devices
    loop.py       train: the loop, one step, validation, the schedule
"""

from s3dis_seg.training.inputs import open_data
from s3dis_seg.training.loop import AMP, Outcome, Plan, Watcher, train, validate
from s3dis_seg.training.losses import CLASS_WEIGHTS
from s3dis_seg.training.run import RECIPES, TrainConfig, stored_config

__all__ = [
    "AMP",
    "CLASS_WEIGHTS",
    "RECIPES",
    "Outcome",
    "Plan",
    "TrainConfig",
    "Watcher",
    "open_data",
    "stored_config",
    "train",
    "validate",
]
