"""Checkpoints: weights, and all that is needed to use them. Reads the files of lightaime/deep_gcns_torch, too.

A file is a dictionary of tensors, numbers, texts, lists and dictionaries, written by torch.save and read with
weights_only: whatever it holds, loading runs none of it.
"""

import hashlib
import io
import math
import re
import zipfile
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np
import torch

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.blocks.columns import BlockSettings
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.deepgcn import DeepGCN, DeepGCNConfig
from s3dis_seg.models.shipped import find_checkpoint
from s3dis_seg.models.zoo import MODELS, model_config

FORMAT = "s3dis_seg"
SCHEMA_VERSION = 1

# How the inputs of the authors' training were cut and scaled (PointNet's blocks; the room's own box).
OFFICIAL_BLOCKS = BlockSettings(grid=0.0, frame_size=math.inf, normalization="official")

# How torch's weights_only reader says that a pickle asks for more than data, and for what.
_CODE = re.compile(r"GLOBAL ([\w.]+)|unrecognized function (.+)|(?:Unsupported class|new object for) (\S+)")


@dataclass
class Card:
    """What a checkpoint says about its weights.

    model: name in the zoo the network was made from, None when unknown. class_names: by label. blocks: how to cut the
    inputs. provenance: anything worth telling (training rooms, epochs, scores, licence), texts and numbers only.
    sha256 of the file, in hexadecimal, is there after loading.
    """

    model: str | None
    config: DeepGCNConfig
    class_names: tuple = CLASSES
    blocks: BlockSettings = field(default_factory=BlockSettings)
    provenance: dict = field(default_factory=dict)
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def untrained(self):
        """Numbers of the classes of which the training had no point, and which are never predicted. -> list of int"""
        names = self.provenance.get("untrained_classes") or []
        return [number for number, name in enumerate(self.class_names) if name in names]


def save_checkpoint(path, model, card, training_state=None):
    """Write the weights of `model` and its card; `training_state` (a dict) is what resuming needs beside them.

    The file appears whole or not at all. numpy numbers become Python's; TypeError for what is neither tensor, number,
    text, list nor dictionary, since it could not be read back safely. InputError when the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "model": card.model,
        "config": asdict(model.config),
        "class_names": list(card.class_names),
        "blocks": asdict(card.blocks),
        "provenance": card.provenance,
        "state_dict": dict(model.state_dict()),
    }
    if training_state is not None:
        content["training_state"] = training_state
    # Through memory: a full disk is then an OSError of ours and not something that torch makes of it.
    buffer = io.BytesIO()
    torch.save(_plain(content, "checkpoint"), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path, model=None, **overrides):
    """A network with its weights, in evaluation mode, and its card. -> (DeepGCN, Card)

    path: a file, or the name of shipped weights (see `find_checkpoint`). A file of our own knows its network; `model`
    and `overrides` (as in `create_model`) may then only confirm it. A file in the layout of lightaime/deep_gcns_torch
    (with or without "module." before its keys) needs `model`, and brings the input normalisation it was trained with.
    No code in the file is run. InputError when the file is missing or damaged, holds something else or other classes,
    or does not fit the network.
    """
    path = find_checkpoint(path)
    content, sha256 = _read(path)
    if content.get("format") == FORMAT:
        card, state = _own(content, path, model, overrides)
    else:
        card, state = _official(content, path, model, overrides)
    card.sha256 = sha256
    with torch.device("meta"):
        network = DeepGCN(card.config)
    _require_fit(state, network.state_dict(), path)
    network.load_state_dict(state, assign=True)
    return network.eval(), card


def load_training_state(path):
    """What `save_checkpoint` was given to resume from. -> dict. InputError when the file has none."""
    path = find_checkpoint(path)
    content, _ = _read(path)
    if not isinstance(content.get("training_state"), dict):
        raise InputError(f"{path} holds weights only and cannot be resumed; resume from the last.pt of a run")
    return content["training_state"]


def to_official(state):
    """State dict of a DeepGCN -> keys and shapes of lightaime/deep_gcns_torch (edge and mr convolutions only)."""
    theirs = _official_prefixes(state)
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        if prefix not in theirs:
            raise ValueError(f"{key} has no place in the official layout, which knows edge and mr convolutions only")
        # Their products are 1x1 convolutions: weights (D, C, 1, 1).
        renamed[f"{theirs[prefix]}.{leaf}"] = value[..., None, None] if value.dim() == 2 else value
    return renamed


def from_official(state):
    """The inverse of `to_official`; "module." before the keys is dropped. Keys of no DeepGCN are kept as they are."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    ours = {theirs: prefix for prefix, theirs in _official_prefixes(state).items()}
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        renamed[f"{ours.get(prefix, prefix)}.{leaf}"] = value.flatten(1) if value.dim() == 4 else value
    return renamed


def _official_prefixes(state):
    """Names of the layers, ours -> theirs, for as many blocks as the keys of either layout tell of."""
    blocks = sorted({key.split(".")[1] for key in state if key.startswith("backbone.")})
    layers = {"head": "head.gconv.nn", "fusion": "fusion_block"}
    layers |= {f"backbone.{i}": f"backbone.{i}.body.gconv.nn" for i in blocks}
    layers |= {f"prediction.{i}": f"prediction.{i}" for i in (0, 1)}
    prefixes = {"prediction.2": "prediction.3.0"}
    for ours, theirs in layers.items():
        prefixes |= {f"{ours}.linear": f"{theirs}.0", f"{ours}.norm": f"{theirs}.2"}
    return prefixes


def _plain(value, where):
    """The same with numpy numbers made Python's, and tensors on the CPU; TypeError for what is no plain data."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, str):
        return str(value)  # torch.__version__ is a kind of str that no loader without code takes
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers, texts, lists and dicts")


def _read(path):
    """The dictionary in a file, and the file's SHA-256. -> (dict, str)"""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    again = "it is damaged or no checkpoint; copy or download it again"
    if not data:
        raise InputError(f"{path} is empty; {again}")
    try:
        # torch does not look at the checksums of its archives.
        if data[:2] == b"PK" and zipfile.ZipFile(io.BytesIO(data)).testzip() is not None:
            raise InputError(f"{path} has a wrong checksum inside: {again}")
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # what a damaged file does to its reader is anyone's guess
        code = _CODE.search(str(error))
        if code:
            what = next(filter(None, code.groups()))
            raise InputError(
                f"{path} holds Python objects beside tensors ({what}), which could run code, and is not loaded; "
                "ask for a file with tensors and numbers only"
            ) from error
        raise InputError(f"{path} cannot be read: {again}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__} and no checkpoint; name a file that train has made")
    return content, hashlib.sha256(data).hexdigest()


def _numpy_numbers():
    """What a pickled numpy number is made of, under its old and new name: the official files hold one."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [(scalar, name) for name in names] + [np.dtype] + [type(np.dtype(code)) for code in ("f8", "f4", "i8")]


def _own(content, path, model, overrides):
    """Card and state dict of a file of ours."""
    version = content.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(f"{path} was written by a newer s3dis_seg (its schema is {version!r}); update this one")
    try:
        card = Card(
            model=content["model"],
            config=DeepGCNConfig(**content["config"]),
            class_names=tuple(content["class_names"]),
            blocks=BlockSettings(**content["blocks"]),
            provenance=content["provenance"],
            schema_version=version,
        )
        state = content["state_dict"]
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path} is incomplete or damaged ({error}); copy or download it again") from error
    _require_classes(card.config.num_classes, overrides.get("num_classes", len(CLASSES)), path)
    if len(card.class_names) != card.config.num_classes:
        raise InputError(f"{path} names {len(card.class_names)} classes for {card.config.num_classes} outputs; damaged")
    wanted = model_config(model, **overrides) if model else replace(card.config, **_known(overrides))
    differing = [
        f"{f.name}={getattr(card.config, f.name)!r}"
        for f in fields(wanted)
        if getattr(wanted, f.name) != getattr(card.config, f.name)
    ]
    if differing:
        raise InputError(f"{path} knows its own network ({', '.join(differing)}); leave the model's settings out")
    return card, state


def _known(overrides):
    model_config(**overrides)  # refuses what is no setting of a model
    return overrides


def _official(content, path, model, overrides):
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
    _require_classes(found["num_classes"], config.num_classes, path)
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
            provenance[name] = _plain(content[name], name)
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


def _require_classes(found, expected, path):
    if found != expected:
        raise InputError(
            f"{path} tells {found} classes apart, but {expected} are expected; "
            "use weights that were trained on these classes"
        )


def _require_fit(state, expected, path):
    """InputError unless the tensors have the names and shapes of the network's."""
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path} is damaged: its weights are no tensors; copy or download it again")
    missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the network lacks"
        raise InputError(
            f"{path} does not fit its network: it {what} ({len(missing)} missing, {len(unknown)} unknown); "
            "check the model and its settings"
        )
    for key, value in expected.items():
        if state[key].shape != value.shape or state[key].is_floating_point() != value.is_floating_point():
            raise InputError(
                f"{path} does not fit its network: {key} is {_described(state[key])}, expected {_described(value)}; "
                "check the model and its settings"
            )


def _described(tensor):
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
