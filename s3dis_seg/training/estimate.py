"""What a run will take: its work is counted, its speed and memory are measured over a few steps."""

import math
import resource
import sys
import time
from dataclasses import dataclass

import torch

from s3dis_seg.training.config import TrainConfig
from s3dis_seg.training.inputs import batches, open_data
from s3dis_seg.training.loop import first_state, gradients
from s3dis_seg.training.processes import team_of

_WITHOUT_GRADIENTS = 1 / 3  # what a block costs in a validation, as a share of what it costs in a step of training
_TIMED = 2  # steps


@dataclass(frozen=True)
class Estimate:
    """seconds: of a block that is trained on; memory: bytes of this process."""

    seconds: float
    memory: int


def count_blocks(config: TrainConfig) -> tuple[int, float]:
    """The work of a run. -> blocks trained on over all epochs; all blocks, as many as would take the same time"""
    data = open_data(config)
    validations = math.ceil(config.epochs / config.val_every) if data.validation else 0
    trained = config.epochs * (config.epoch_blocks or len(data.training))
    others = validations * (len(data.validation or ()) + config.statistics_blocks)
    return trained, trained + _WITHOUT_GRADIENTS * others


def estimate(config: TrainConfig, device: str = "auto") -> Estimate:
    """Measure two steps of a run, of which nothing is kept. Processes that train together call this together."""
    with team_of(device) as team:
        data = open_data(config)
        batch_size, _ = batches(config, len(data.training), team)
        state = first_state(config, data, team)
        share = range(min(batch_size // team.size, len(data.training)))
        features, labels = (torch.stack(values) for values in zip(*(data.training[number] for number in share)))
        for step in range(1 + _TIMED):
            if step == 1:
                start = _clock(team)  # the first step compiles kernels and takes memory from the system
            gradients(state.model, features, labels, config, state.scaler, team)
        seconds = (_clock(team) - start) / _TIMED / batch_size
        return Estimate(seconds, _memory(team))


def _clock(team):
    if team.device.type == "cuda":
        torch.cuda.synchronize(team.device)
    return time.perf_counter()


def _memory(team):
    """The most that this process has used so far, on the GPU or in all. -> bytes"""
    if team.device.type == "cuda":
        return torch.cuda.max_memory_allocated(team.device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
