"""Files in the layout of the authors' PyTorch code, lightaime/deep_gcns_torch."""

import math

import numpy as np
import torch

from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card, plain, require_classes
from s3dis_seg.models.config import MODELS, model_config

# How the inputs of the authors' training were cut and scaled (PointNet's blocks; the room's own box).
OFFICIAL_BLOCKS = BlockSettings(grid=0.0, frame_size=math.inf, normalization="official")


def from_official(state):
    """State dict in the official layout -> names and shapes of ours.

    "module." before the names is dropped, 1x1 convolutions become matrices. Names of no DeepGCN are kept as they are.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    ours = {theirs: prefix for prefix, theirs in layer_names(state).items()}
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        renamed[f"{ours.get(prefix, prefix)}.{leaf}"] = value.flatten(1) if value.dim() == 4 else value
    return renamed


def layer_names(state):
    """Names of the layers, ours -> theirs, for as many blocks as the keys of either layout tell of."""
    blocks = sorted({key.split(".")[1] for key in state if key.startswith("backbone.")})
    layers = {"head": "head.gconv.nn", "fusion": "fusion_block"}
    layers |= {f"backbone.{i}": f"backbone.{i}.body.gconv.nn" for i in blocks}
    layers |= {f"prediction.{i}": f"prediction.{i}" for i in (0, 1)}
    prefixes = {"prediction.2": "prediction.3.0"}
    for ours, theirs in layers.items():
        prefixes |= {f"{ours}.linear": f"{theirs}.0", f"{ours}.norm": f"{theirs}.2"}
    return prefixes


def read_official(content, path, model, overrides):
    """Card and state dict of a file in the layout of lightaime/deep_gcns_torch."""
    state = content.get("state_dict", content)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path} holds no weights of a DeepGCN; name a file that train has made")
    state = from_official(state)
    found = _shape_of(state)
    if found is None:
        raise InputError(f"{path} holds no weights of a DeepGCN; name a file that train has made")
    if model is None:
        raise InputError(
            f"{path} has the official layout, which does not tell its network: add {_flags_for(found)} "
            "(and --k, if it was trained with other than the model's own)"
        )
    config = model_config(model, **overrides)
    require_classes(found["num_classes"], config.num_classes, path)
    if any(found[name] != getattr(config, name) for name in ("blocks", "channels")) or (
        found["dense"] != (config.block == "dense")
    ):
        raise InputError(
            f"{path} does not fit {model} with {config.blocks} blocks of {config.channels} channels "
            f"({config.block}): use {_flags_for(found)}"
        )
    if config.conv not in ("edge", "mr"):
        raise InputError(f"{path} has the official layout, which holds edge or mr convolutions, not {config.conv}")
    provenance = {"source": "file in the layout of lightaime/deep_gcns_torch"}
    for name in ("epoch", "best_value"):
        if isinstance(content.get(name), (int, float, np.number)):
            provenance[name] = plain(content[name], name)
    return Card(model=model, config=config, blocks=OFFICIAL_BLOCKS, provenance=provenance), state


def _shape_of(state):
    """What the weights of a network tell about it. -> dict, or None when they are no DeepGCN's"""
    keys = ("head.linear.weight", "fusion.linear.weight", "prediction.2.weight")
    if not all(key in state and state[key].dim() == 2 for key in keys):
        return None
    head, fusion, last = (state[key] for key in keys)
    blocks = 1 + len({key.split(".")[1] for key in state if key.startswith("backbone.")})
    return {
        "blocks": blocks,
        "channels": head.shape[0],
        "dense": blocks > 1 and fusion.shape[1] != blocks * head.shape[0],
        "num_classes": last.shape[0],
    }


def _flags_for(found):
    """The flags that describe these weights, in words: "--model resgcn28, plaingcn28 or resmrgcn28 --blocks 7"."""
    alike = [name for name, config in MODELS.items() if (config.block == "dense") == found["dense"]]
    exact = [
        name
        for name in alike
        if all(getattr(MODELS[name], setting) == found[setting] for setting in ("blocks", "channels"))
    ]
    names = exact or [name for name in alike if MODELS[name].blocks == 28 and not name.endswith("w")]
    flags = [] if exact else [f"--{name} {found[name]}" for name in ("blocks", "channels")]
    choice = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return " ".join([f"--model {choice}", *flags])
