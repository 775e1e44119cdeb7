"""The blocks a run trains on: how they are made, their order, and how the processes share them.

Letters: N points a block.
"""

import math
import os
import re
import signal
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from s3dis_seg.classes import Classes
from s3dis_seg.data.blocks.augment import augment
from s3dis_seg.data.blocks.datasets import BlockDataset, blocks_as_published, tallest
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.files import InputError
from s3dis_seg.training.config import TrainConfig

STRIDE = 0.5  # step between the columns of training, as a fraction of their width; PointNet's files have the same
# Columns of validation do not overlap. Its score counts drawn points only; it serves to compare epochs.
VALIDATION_STRIDE = 1.0

LICENCE = (
    "Derived from S3DIS, the Stanford Large-Scale 3D Indoor Spaces dataset (Armeni et al., CVPR 2016): "
    "for non-commercial academic use only, under the dataset's own agreement."
)


@dataclass(frozen=True)
class Data:
    """What a run trains on.

    training, validation: datasets of blocks, validation None without rooms for it. settings: how the blocks are cut.
    licence: a sentence that must stay with the weights, or empty.
    """

    training: Dataset
    validation: Dataset | None
    classes: Classes
    settings: BlockSettings
    licence: str

    @property
    def class_names(self):
        return self.classes.names

    @cached_property
    def unchanged(self):
        """The blocks of the training without augmentation, from the same open rooms. -> dataset"""
        return self.training.without_augmentation()

    @cached_property
    def untrained(self):
        """Numbers of the classes of which no training room has a point. -> list of int"""
        return np.flatnonzero(np.asarray(self.training.class_counts) == 0).tolist()


def open_data(config):
    """The blocks of the rooms that a TrainConfig names. -> Data; InputError where a room is not there."""
    rooms = {room.name: room for room in open_rooms(config.data)}
    missing = [name for name in (*config.train_rooms, *config.val_rooms) if name not in rooms]
    if missing:
        raise InputError(f"{config.data} lacks {len(missing)} rooms of this run, such as {missing[0]}; see --data")
    if not config.train_rooms:
        raise InputError(f"no room of {config.data} is left to train on; test or validate on fewer")
    training, validation = ([rooms[name] for name in names] for names in (config.train_rooms, config.val_rooms))
    normalization = config.normalization
    settings = BlockSettings(
        config.num_points, config.block_size, config.grid, config.frame_size, normalization=normalization
    )
    if training[0].has_all_points:
        settings = replace(settings, tallest=tallest([room.path for room in training]))
    else:
        _require_blocks_as_they_are(config, training[0].files)
        settings = replace(settings, grid=0.0, frame_size=math.inf)
    blocks = _blocks(config, settings, training, is_training=True)
    others = _blocks(config, settings, validation, is_training=False) if validation else None
    _require_labels(blocks, "training", config.data)
    if others is not None:
        _require_labels(others, "validation", config.data)
    licence = LICENCE if any(map(_is_of_s3dis, training)) else ""
    return Data(blocks, others, blocks.classes, settings, licence)


def _require_labels(blocks, side, folder):
    """InputError where no point of the rooms of a side has a label."""
    if not np.any(blocks.class_counts):
        raise InputError(f"no point of the {side} rooms of {folder} has a label; name other rooms for the {side}")


def _is_of_s3dis(room):
    return re.match(r"Area_[1-6]_", room.name) is not None and "synthetic" not in room.source


def _blocks(config, settings, rooms, is_training):
    """The blocks of some rooms, as the settings of the run want them. -> dataset"""
    stride = STRIDE if is_training else VALIDATION_STRIDE
    if config.published_blocks or not rooms[0].has_all_points:
        return blocks_as_published(rooms, stride, config.num_points, config.seed, config.normalization)
    change = augment if config.augment and is_training else None
    paths = [room.path for room in rooms]
    return BlockDataset(paths, settings, stride * settings.block_size, is_training, config.seed, change)


def _require_blocks_as_they_are(config, files):
    """InputError for settings that have no effect on ready-made blocks."""
    if config.augment:
        raise InputError(f"{config.data} holds ready-made blocks, which cannot be augmented; leave --augment away")
    for name, there in (("grid", 0.0), ("block_size", 1.0)):
        value = getattr(config, name)
        if value not in (there, getattr(TrainConfig, name)):
            flag = f"--{name.replace('_', '-')} {value}"
            raise InputError(f"{config.data} holds ready-made blocks of 1 m, not thinned; leave {flag} away")
    if config.num_points != files.num_points:
        raise InputError(
            f"the blocks of {config.data} have {files.num_points} points; say --num-points {files.num_points}"
        )


class EpochIndexed(Dataset):
    """Blocks by (epoch, number): the index carries the epoch, because workers hold copies of the dataset."""

    def __init__(self, blocks):
        self.blocks = blocks

    def __getitem__(self, item):
        epoch, number = item
        self.blocks.set_epoch(epoch)
        return self.blocks[number]


class Steps(Sampler):
    """Which blocks this process takes in each remaining step of the present epoch of `progress`.

    Yields lists of (pass, number of the block). A pass takes every block once, in an order of its own. An epoch is a
    pass without the last blocks, too few for a batch; or, with `in_turn`, the next so many blocks of passes without an
    end. A batch is dealt out to the processes, which together take what one alone would.
    """

    def __init__(self, num_blocks, batch_size, num_steps, seed, progress, team, in_turn=False):
        self.num_blocks, self.batch_size, self.num_steps, self.seed = num_blocks, batch_size, num_steps, seed
        self.progress, self.team, self.in_turn = progress, team, in_turn

    def __iter__(self):
        epoch, count = self.progress.epoch, self.num_steps * self.batch_size
        order = self._in_turn(epoch * count, count) if self.in_turn else self._pass(epoch)
        for step in range(self.progress.step, self.num_steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield batch[self.team.rank :: self.team.size]

    def _pass(self, number):
        order = np.random.default_rng((self.seed, number)).permutation(self.num_blocks).tolist()
        return [(number, block) for block in order]

    def _in_turn(self, start, count):
        """The blocks `start` to `start + count` of all passes, one after the other."""
        first, last = start // self.num_blocks, (start + count - 1) // self.num_blocks
        passes = [item for number in range(first, last + 1) for item in self._pass(number)]
        start -= first * self.num_blocks
        return passes[start : start + count]

    def __len__(self):
        return self.num_steps - self.progress.step


def batches(config, num_blocks, team):
    """How an epoch is divided. -> blocks a step, steps an epoch; InputError where it does not go evenly."""
    parts = team.size * config.accumulate
    if config.batch_size % parts:
        raise InputError(
            f"--batch-size {config.batch_size} cannot be dealt out evenly to {team.size} processes in "
            f"--accumulate {config.accumulate} parts; make it a multiple of {parts}"
        )
    batch_size = min(config.batch_size, num_blocks - num_blocks % parts)
    if batch_size == 0:
        raise InputError(
            f"the training rooms make {num_blocks} blocks, too few for {parts} parts a step; "
            "add rooms, or lower --accumulate or the number of processes"
        )
    return batch_size, max((config.epoch_blocks or num_blocks) // batch_size, 1)


def make_loader(dataset, team, workers=None, keep_workers=False, **options):
    """A DataLoader. workers: None for a sensible number; keep_workers: from one pass to the next."""
    cuda = team.device.type == "cuda"
    if workers is None:
        # On a CPU the network needs the cores itself; reading blocks takes little time beside it.
        workers = min(8, max(_cores() // team.size - 1, 1)) if cuda else 0
    return DataLoader(
        dataset,
        num_workers=workers,
        persistent_workers=keep_workers and workers > 0,
        pin_memory=cuda,
        worker_init_fn=_leave_signals_to_the_parent,
        **options,
    )


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_signals_to_the_parent(worker):
    # Ctrl-C reaches every process of the terminal, but the parent needs the workers until it has saved.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
