"""Training runs: their settings, the loop, and the folder from which a run can go on.

The folder holds `last.pt` (weights, and what is needed to go on), `best.pt` (the weights with the best validation
mIoU), `metrics.csv` (a line an epoch) and TensorBoard's events. Several processes started by torchrun act as one.

The randomness of a step comes from (seed, step) and that of a block from (seed, epoch, block), never from what
happened before; so a run goes on exactly where it stopped, with any number of workers.

    config.py      settings and recipes
    inputs.py      the blocks, their order, and who takes which
    processes.py   several processes, devices
    losses.py      the loss, and the weights of classes
    statistics.py  BatchNorm's statistics measured again
    loop.py        train: the loop, one step, validation, the schedule
    run.py         the plan and the progress of a run, and the files of its folder
"""

from importlib import import_module

# Name -> its module, imported when the name is first used: settings alone need no torch.
_PUBLIC = {
    "AMP": "config",
    "CLASS_WEIGHTS": "config",
    "RECIPES": "config",
    "RunOutcome": "run",
    "RunPlan": "run",
    "TrainConfig": "config",
    "Watcher": "run",
    "open_data": "inputs",
    "stored_config": "run",
    "train": "loop",
    "validate": "loop",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"s3dis_seg.training has no attribute {name!r}; it offers {', '.join(_PUBLIC)}")
    return getattr(import_module(f"s3dis_seg.training.{_PUBLIC[name]}"), name)
