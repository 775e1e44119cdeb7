"""Checkpoints: weights, and all that is needed to use them. Reads the files of lightaime/deep_gcns_torch, too.

A file is a dictionary of tensors, numbers, texts, lists and dictionaries, written by torch.save and read with
weights_only: whatever it holds, loading runs none of it.
"""

import hashlib
import io
import re
import zipfile
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import torch

from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.class_file import stored_classes, text_of_classes
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.card import SCHEMA_VERSION, Card, plain, require_believable, require_classes, require_names
from s3dis_seg.models.config import DeepGCNConfig, model_config, shortened
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.models.official import read_official
from s3dis_seg.models.shipped import find_checkpoint

FORMAT = "s3dis_seg"

# How torch's weights_only reader says that a pickle asks for more than data, and for what.
_CODE = re.compile(r"GLOBAL ([\w.]+)|unrecognized function (.+)|(?:Unsupported class|new object for) (\S+)")


def save_checkpoint(
    path: str | Path, model: DeepGCN, card: Card, training_state: dict | None = None, half: bool = False
) -> None:
    """Write the weights of `model` and its card; `training_state` (a dict) is what resuming needs beside them.

    half: matrices in 16 bits, which halves the file; they are float32 again once they are loaded. BatchNorm's vectors
    stay as they are: there are few, and a variance may be too large or small for 16 bits.

    The file appears whole or not at all. numpy numbers become Python's; TypeError for what is neither tensor, number,
    text, list nor dictionary, since it could not be read back safely. InputError when the file cannot be written.
    """
    weights = model.state_dict()
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "model": card.model,
        "config": asdict(model.config),
        "class_names": list(card.class_names),
        "classes": text_of_classes(card.classes),
        "blocks": asdict(card.blocks),
        "provenance": card.provenance,
        "state_dict": {name: value.half() if half and value.dim() > 1 else value for name, value in weights.items()},
    }
    if training_state is not None:
        content["training_state"] = training_state
    # Through memory: a full disk is then an OSError of ours and not something that torch makes of it.
    buffer = io.BytesIO()
    torch.save(plain(content, "checkpoint"), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | Path, model: str | None = None, **overrides) -> tuple[DeepGCN, Card]:
    """A network with its weights, in evaluation mode, and its card. -> (DeepGCN, Card)

    path: a file, or the name of shipped weights (see `find_checkpoint`). A file of our own knows its network; `model`
    and `overrides` (as in `create_model`) may then only confirm it. A file in the layout of lightaime/deep_gcns_torch
    (with or without "module." before its keys) needs `model`, and brings the input normalisation it was trained with.
    Its classes are those it was trained on, however many; `num_classes` among the overrides confirms their number.
    No code in the file is run. InputError when the file is missing or damaged, holds something else or another number
    of classes than was named, or does not fit the network.
    """
    path = find_checkpoint(path)
    content, sha256 = _read(path)
    _require_plain_tensors(content.get("state_dict", content), path)
    if content.get("format") == FORMAT:
        card, state = _own(content, path, model, overrides)
    else:
        card, state = read_official(content, path, model, overrides)
    card.sha256 = sha256
    require_believable(card, path)
    with torch.device("meta"):
        network = DeepGCN(card.config)
    expected = network.state_dict()
    _require_fit(state, expected, path)
    network.load_state_dict(_usable_weights(state, expected, path), assign=True)
    return network.eval(), card


def knows_its_network(path):
    """Whether a checkpoint says which network it holds; one in the layout of lightaime/deep_gcns_torch does not."""
    return _read(find_checkpoint(path))[0].get("format") == FORMAT


def load_training_state(path):
    """What `save_checkpoint` was given to resume from. -> dict. InputError when the file has none."""
    path = find_checkpoint(path)
    content, _ = _read(path)
    if not isinstance(content.get("training_state"), dict):
        raise InputError(f"{path} holds weights only and cannot be resumed; resume from the last.pt of a run")
    return content["training_state"]


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
        if data[:2] == b"PK":
            _require_sound_archive(data, path, again)
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # what a damaged file does to its reader is anyone's guess
        code = _CODE.search(str(error))
        if code:
            what = next(filter(None, code.groups()))
            raise InputError(
                f"{path} holds Python objects beside tensors ({_cut(what)}), which could run code, and is not loaded; "
                "ask for a file with tensors and numbers only"
            ) from error
        raise InputError(f"{path} cannot be read: {again}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__} and no checkpoint; name a file that train has made")
    return content, hashlib.sha256(data).hexdigest()


def _require_sound_archive(data, path, again):
    """InputError for an archive that would unpack to more than it holds, or whose checksums are wrong."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # torch stores without compression: an archive that claims to unpack to more is no checkpoint but a bomb.
        if sum(entry.file_size for entry in archive.infolist()) > len(data):
            raise InputError(f"{path} would unpack to more than its own size, which no checkpoint does: {again}")
        # torch does not look at the checksums of its archives.
        if archive.testzip() is not None:
            raise InputError(f"{path} has a wrong checksum inside: {again}")


def _require_plain_tensors(state, path):
    """InputError for weights that are not tensors of real numbers, each stored in the file.

    A tensor may claim more elements than are stored: whatever computes with it would allocate them all.
    """
    if not isinstance(state, dict):
        return
    again = "copy or download it again"
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        plain_kind = value.layout == torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain_kind or value.is_quantized or value.is_complex():
            raise InputError(f"{path} is damaged: {_cut(name)} is no plain tensor of numbers; {again}")
        if value.nbytes > value.untyped_storage().nbytes():
            raise InputError(f"{path} is damaged: {_cut(name)} claims more numbers than it holds; {again}")


def _usable_weights(state, expected, path):
    """Weights in the number types of the network: those of 16 bits become float32. -> state dict

    InputError where they are not finite, or a variance is negative. Call it after `_require_fit`, since it allocates.
    """
    usable = {}
    for name, value in state.items():
        value = value.to(expected[name].dtype)
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InputError(f"{path} cannot be used: {name} holds NaN or infinite numbers; take an earlier checkpoint")
        if name.endswith("running_var") and bool((value < 0).any()):
            raise InputError(f"{path} cannot be used: {name} holds negative variances; take an earlier checkpoint")
        usable[name] = value
    return usable


def _numpy_numbers():
    """What a pickled numpy number is made of, under its old and new name: the official files hold one."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [(scalar, name) for name in names] + [np.dtype] + [type(np.dtype(code)) for code in ("f8", "f4", "i8")]


def _own(content, path, model, overrides):
    """Card and state dict of a file of ours."""
    version = content.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer s3dis_seg (its schema is {shortened(version)}); update this one"
        )
    if not isinstance(content.get("class_names", ()), (list, tuple)):
        raise InputError(f"{path} is damaged: its class names are no list; copy or download it again")
    try:
        card = Card(
            model=content["model"],
            config=DeepGCNConfig(**content["config"]),
            blocks=BlockSettings(**content["blocks"]),
            provenance=content["provenance"],
            schema_version=version,
        )
        state, names = content["state_dict"], content["class_names"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is incomplete or damaged ({_cut(error)}); copy or download it again") from error
    require_classes(card.config.num_classes, overrides.get("num_classes", card.config.num_classes), path)
    require_names(names, card.config.num_classes, path)
    try:
        card.classes = stored_classes(names, content.get("classes"), "its class list")
    except ValueError as error:
        raise InputError(f"{path} is damaged: {_cut(error)}; copy or download it again") from error
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


def _require_fit(state, expected, path):
    """InputError unless the tensors have the names and shapes of the network's."""
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path} is damaged: its weights are no tensors; copy or download it again")
    missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {_cut(unknown[0])}, which the network lacks"
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


def _cut(text):
    """A name or an error of a file, in one line: a damaged file may hold one of any length."""
    text = " ".join(str(text).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _described(tensor):
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
