"""What a run kept to go on from, checked before anything is made of it: last.pt may be damaged, or from a stranger."""

import math
from dataclasses import fields
from typing import get_type_hints

import torch

from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.files import InputError
from s3dis_seg.models.card import faults_of_blocks, is_integer, is_list_of_texts, is_number, is_words
from s3dis_seg.models.config import model_config, shortened
from s3dis_seg.training.config import (
    AMP,
    CLASS_WEIGHTS,
    LARGEST_SEED,
    NORMALIZATIONS,
    RECIPES,
    SCHEDULES,
    TrainConfig,
)

_CHOICES = {
    "recipe": RECIPES,
    "schedule": SCHEDULES,
    "class_weights": CLASS_WEIGHTS,
    "amp": AMP,
    "normalization": NORMALIZATIONS,
}
_LEAST = {"epochs": 1, "batch_size": 1, "accumulate": 1, "val_every": 1}  # of whole numbers; of the others it is 0


def config_of(state, path):
    """The settings of a run. state: from `load_training_state`. -> TrainConfig; InputError where they are damaged"""
    stored = state.get("config")
    if not isinstance(stored, dict) or not all(isinstance(name, str) for name in stored):
        raise _damaged(path, "its settings are no dictionary of names")
    unknown = sorted(set(stored) - {setting.name for setting in fields(TrainConfig)})
    if unknown or not {"data", "train_rooms"} <= set(stored):
        what = f"it has a setting {shortened(unknown[0])}" if unknown else "it names no rooms"
        raise InputError(f"{path} was written by another version of s3dis_seg and cannot be resumed ({what})")
    kinds = get_type_hints(TrainConfig)
    for name, value in stored.items():
        if not _fits(name, value, kinds[name]):
            raise _damaged(path, f"its setting {name} is {shortened(value)}")
    config = TrainConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()})
    model_config(config.model, **config.overrides)  # refuses what is no network
    for fault in faults_of_blocks(BlockSettings(config.num_points, config.block_size, config.grid, config.frame_size)):
        raise _damaged(path, fault)
    return config


def require_sound(state, path):
    """InputError where progress, origin or threads of a run are not what `Record` writes."""
    progress, origin = state.get("progress"), state.get("origin", {})
    if not _is_progress(progress):
        raise _damaged(path, f"its progress is {shortened(progress)}")
    if not isinstance(origin, dict) or not is_words(origin) or not isinstance(origin.get("licence", ""), str):
        raise _damaged(path, f"the origin of its weights is {shortened(origin)}")
    if not is_integer(state.get("threads")) or state["threads"] < 1:
        raise _damaged(path, f"its number of threads is {shortened(state.get('threads'))}")


def restore_optimizer(optimizer, stored, path, partly=False):
    """Give a fresh optimizer the moments and the learning rate of a stored one. InputError where they do not fit it.

    Everything else about the optimizer follows from the settings of the run. partly: whether parameters may have been
    frozen, so that there are no moments of them.
    """
    fresh = optimizer.state_dict()
    moments = stored.get("state") if isinstance(stored, dict) else None
    groups = stored.get("param_groups") if isinstance(stored, dict) else None
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = set(range(len(parameters)))
    # Before the first step there are no moments.
    if not isinstance(moments, dict) or not (set(moments) in (set(), numbers) or (partly and set(moments) < numbers)):
        raise _damaged(path, "the state of its optimizer does not fit the network")
    if not all(_are_moments(moments[number], parameters[number]) for number in moments):
        raise _damaged(path, "the state of its optimizer does not fit the network")
    if not isinstance(groups, list) or len(groups) != len(fresh["param_groups"]):
        raise _damaged(path, "its optimizer has other groups of parameters")
    for group, before in zip(fresh["param_groups"], groups):
        if not isinstance(before, dict) or not _is_finite(before.get("lr")) or before["lr"] < 0:
            raise _damaged(path, "the learning rate of its optimizer is no number")
        group["lr"] = before["lr"]
    optimizer.load_state_dict({"state": moments, "param_groups": fresh["param_groups"]})


def restore_scaler(scaler, stored, path):
    """Give a fresh scaler of losses the scale of a stored one. InputError where it is none; nothing without --amp."""
    if not scaler.is_enabled():
        return
    scale, tracked = (stored.get(name) if isinstance(stored, dict) else None for name in ("scale", "_growth_tracker"))
    if not _is_finite(scale) or scale <= 0 or not is_integer(tracked) or not 0 <= tracked < 2**31:
        raise _damaged(path, "the scale of its losses is no number above 0")
    scaler.load_state_dict(scaler.state_dict() | {"scale": float(scale), "_growth_tracker": tracked})


def _damaged(path, what):
    return InputError(f"{path} is damaged: {what}; go on from a copy of it, or start again in another folder")


def _fits(name, value, kind):
    """Whether a setting has the type of a TrainConfig, and a value that training can work with."""
    if name in _CHOICES:
        return isinstance(value, str) and value in _CHOICES[name]
    if kind == tuple[str, ...]:
        return is_list_of_texts(value)
    if kind is dict:
        return isinstance(value, dict) and is_words(value)
    if kind is float:
        return is_number(value) and value >= 0 and (math.isfinite(value) or name == "frame_size")
    if kind == int | None:
        return value is None or is_integer(value)
    if kind is int:
        return is_integer(value) and _LEAST.get(name, 0) <= value <= LARGEST_SEED
    return isinstance(value, kind)


def _is_progress(value):
    names = {"epoch", "step", "sums", "seconds", "best", "validation", "history"}
    if not isinstance(value, dict) or set(value) != names:
        return False
    counts, sums, rows = (value["epoch"], value["step"]), value["sums"], value["history"]
    return (
        all(is_integer(count) and count >= 0 for count in counts)
        and isinstance(sums, list) and len(sums) == 3 and all(map(_is_finite, sums))
        and _is_finite(value["seconds"]) and value["seconds"] >= 0
        and (value["best"] is None or _is_finite(value["best"]))
        and _is_row(value["validation"])
        and isinstance(rows, list) and len(rows) == value["epoch"] and all(map(_is_row, rows))
    )  # fmt: skip


def _is_row(value):
    """Whether it is a line of metrics.csv; NaN is the score of a class that is not there."""
    return isinstance(value, dict) and all(isinstance(name, str) and is_number(value[name]) for name in value)


def _are_moments(moments, parameter):
    """Whether these are the moments that Adam keeps of a parameter."""
    if not isinstance(moments, dict) or set(moments) != {"step", "exp_avg", "exp_avg_sq"}:
        return False
    steps, first, second = (moments[name] for name in ("step", "exp_avg", "exp_avg_sq"))
    return (
        _is_stored(steps, ())
        and bool(steps >= 0)
        and all(_is_stored(moment, parameter.shape) and not bool(moment.isnan().any()) for moment in (first, second))
        and bool((second >= 0).all())
    )


def _is_stored(value, shape):
    """Whether it is a plain tensor of that shape, of 32-bit floats, whose every number lies in the file."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype == torch.float32
        and value.shape == shape
        and value.nbytes <= value.untyped_storage().nbytes()
    )


def _is_finite(value):
    return (isinstance(value, float) and math.isfinite(value)) or (is_integer(value) and abs(value) < 2**63)
