"""Weights to begin a training with: those of a network that has learned other rooms, or other classes."""

from dataclasses import replace
from pathlib import Path

from s3dis_seg.files import InputError
from s3dis_seg.models.checkpoint import knows_its_network, load_checkpoint

_LAST = "prediction.2."  # the layer with a row for every class


def load_start(path, model=None, overrides=None):
    """A checkpoint to begin with. -> DeepGCN, Card

    model, overrides: the network as `model_config` takes it, for a file in the layout of lightaime/deep_gcns_torch; a
    file of ours knows its own, and these are ignored.
    """
    if knows_its_network(path):
        return load_checkpoint(path)
    return load_checkpoint(path, model, **overrides or {})


def begin_with(path, model, class_names, name=None, overrides=None):
    """Fill `model` with the weights of a checkpoint. -> dict of what these weights have seen, for the card

    The networks must be alike but for the number of classes. A class that the checkpoint knows by the same name keeps
    its row of the last layer; a class that is new to it, or of which it has never seen a point, has the random row that
    it has in `model`. name, overrides: as for `load_start`. InputError where the networks differ.
    """
    before, card = load_start(path, name, overrides)
    if replace(before.config, num_classes=model.config.num_classes) != model.config:
        raise InputError(f"{path} holds another network than the flags describe; leave --model and its flags away")
    state, wanted = before.state_dict(), model.state_dict()
    rows = {name: number for number, name in enumerate(card.class_names) if number not in card.untrained}
    for name in (name for name in wanted if name.startswith(_LAST)):
        for number, class_name in enumerate(class_names):
            if class_name in rows:
                wanted[name][number] = state[name][rows[class_name]]
        state[name] = wanted[name]
    model.load_state_dict(state)
    return {
        "checkpoint": Path(path).name,
        "sha256": card.sha256,
        "kept_classes": [name for name in class_names if name in rows],
        "train_rooms": list(card.provenance.get("train_rooms", [])),
        "origin": dict(card.provenance.get("origin", {})),
        "licence": card.provenance.get("licence", ""),
    }


def told_of_start(origin, class_names):
    """What a training begins with, in words. origin: as `begin_with` returns it"""
    kept = origin["kept_classes"]
    new = [name for name in class_names if name not in kept]
    told = f"begins with the weights of {origin['checkpoint']}"
    if not kept:
        return f"{told}, which knows none of the classes; the last layer is new"
    return f"{told}, which knows {', '.join(kept)}" + (f"; new: {', '.join(new)}" if new else "")
