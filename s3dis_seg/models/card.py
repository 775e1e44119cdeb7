"""The card of a checkpoint: what it says about its weights, and which of its numbers are believable."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from s3dis_seg.classes import S3DIS, Classes
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.files import InputError
from s3dis_seg.models.config import DeepGCNConfig, shortened

SCHEMA_VERSION = 1

# What a network of this family may have. Wider than anything trained so far, narrow enough that a damaged card cannot
# ask for more memory than a machine has.
MOST = {"blocks": 1000, "channels": 4096, "k": 1024, "in_channels": 64, "num_classes": 255}
MOST_POINTS = 1 << 20  # of a block
TEMPERATURES = (0.05, 20)  # least and most
_LISTS = ("untrained_classes", "train_rooms", "val_rooms", "test_rooms")  # of a provenance
_DEEPEST = 20  # dictionaries within dictionaries of a provenance: each start from other weights adds one


def plain(value, where):
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
        return type(value)(plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, dict):
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers, texts, lists and dicts")


def require_classes(found, expected, path):
    if found != expected:
        raise InputError(
            f"{path} tells {found} classes apart, but {expected} are expected; "
            "use weights that were trained on these classes"
        )


def require_believable(card, path):
    """InputError where a number of a card is out of any range that makes sense, before anything is allocated for it."""
    _refuse([*_faults_of_network(card.config), *faults_of_blocks(card.blocks), *_faults_of_words(card)], path)


def require_names(names, num_classes, path):
    """InputError where the names of the classes in a file are no names, or not as many as its network has outputs."""
    _refuse(list(_faults_of_names(names, num_classes)), path)


def _refuse(faults, path):
    if faults:
        raise InputError(f"{path} is damaged or no checkpoint of ours: {faults[0]}; copy or download it again")


def _faults_of_network(config):
    for name, most in MOST.items():
        if getattr(config, name) > most:
            yield f"its network has {name}={getattr(config, name)}, more than {most}"


def faults_of_blocks(blocks):
    """What is wrong with a BlockSettings of a file. Yields texts."""
    if not is_integer(blocks.num_points) or not 1 <= blocks.num_points <= MOST_POINTS:
        yield f"its blocks have {shortened(blocks.num_points)} points; expected 1 to {MOST_POINTS:,}"
    ranges = {"block_size": (0.05, 100.0), "grid": (0.0, 10.0), "frame_size": (0.05, math.inf)}
    for name, (least, most) in ranges.items():
        value = getattr(blocks, name)
        if not is_number(value) or not least <= value <= most:
            yield f"its {name} is {shortened(value)} m; expected {least:g} to {most:g}"
    if is_number(blocks.grid) and 0 < blocks.grid < 0.002:
        yield f"its grid is {blocks.grid!r} m; expected 0, or at least 0.002"
    if blocks.tallest is not None and (not is_number(blocks.tallest) or not 0.1 <= blocks.tallest <= 1000):
        yield f"its tallest room is {shortened(blocks.tallest)} m high; expected 0.1 to 1000"
    if blocks.normalization not in ("none", "official"):
        yield f"its normalization is {shortened(blocks.normalization)}; expected 'none' or 'official'"


def _faults_of_words(card):
    if card.model is not None and not isinstance(card.model, str):
        yield "the name of its network is no text"
    yield from _faults_of_names(card.class_names, card.config.num_classes)
    if not isinstance(card.provenance, dict) or not is_words(card.provenance):
        yield "its provenance is no dictionary of texts and numbers"
        return
    for name in _LISTS:
        if not is_list_of_texts(card.provenance.get(name) or []):
            yield f"its {name} are no list of names"
    if not is_number(card.temperature) or not TEMPERATURES[0] <= card.temperature <= TEMPERATURES[1]:
        yield f"its temperature is {shortened(card.temperature)}; expected {TEMPERATURES[0]} to {TEMPERATURES[1]}"
    if not isinstance(card.provenance.get("origin", {}), dict):
        yield "the origin of its weights is no dictionary"


def _faults_of_names(names, num_classes):
    if not all(isinstance(name, str) and 0 < len(name) <= 200 for name in names):
        yield "the names of its classes are no texts of 1 to 200 characters"
    elif len(set(names)) < len(names):
        yield "two of its classes have the same name"
    if len(names) != num_classes:
        yield f"it names {len(names)} classes for {shortened(num_classes)} outputs"


def is_words(value, depth=0):
    """Whether it is made of texts, numbers, None, lists and dictionaries by name, as a provenance is."""
    if value is None or isinstance(value, (str, int, float)):
        return True
    if depth == _DEEPEST:
        return False
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and is_words(list(value.values()), depth)
    return isinstance(value, (list, tuple)) and all(is_words(item, depth + 1) for item in value)


def is_list_of_texts(value):
    """Whether it is a list of texts, such as the names of rooms."""
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def is_integer(value):
    """Whether it is an integer, which True and False are not meant to be."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether it is an integer or a float, NaN among them."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass
class Card:
    """What a checkpoint says about its weights.

    model: name in the zoo the network was made from, None when unknown. classes: by label. blocks: how to cut the
    inputs. provenance: anything worth telling (training rooms, epochs, scores, licence), texts and numbers only.
    sha256 of the file, in hexadecimal, is there after loading.
    """

    model: str | None
    config: DeepGCNConfig
    classes: Classes = S3DIS
    blocks: BlockSettings = field(default_factory=BlockSettings)
    provenance: dict = field(default_factory=dict)
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def temperature(self):
        """By which confidences are made honest, see `s3dis_seg calibrate`; 1 where nobody has measured it. -> float"""
        return self.provenance.get("temperature", 1.0)

    @property
    def class_names(self):
        """By label. -> tuple of texts"""
        return self.classes.names

    @property
    def untrained(self):
        """Numbers of the classes of which the training had no point, and which are never predicted. -> list of int"""
        names = self.provenance.get("untrained_classes") or []
        return [number for number, name in enumerate(self.class_names) if name in names]
