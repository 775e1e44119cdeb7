"""Predictions of rooms, kept on disk so that an interrupted evaluation can go on.

Each file holds the settings it was made with, and is used only where these are the same.
"""

import json
from dataclasses import asdict

import numpy as np

from s3dis_seg.files import replacing

_FORMAT = 2  # raised whenever the same settings would give other predictions


def key_of(segmenter, room, protocol):
    """Everything on which the predictions of a room depend. -> text"""
    card = segmenter.card
    decisive = {
        "format": _FORMAT,
        "checkpoint": card.sha256,
        # A file in the official layout does not tell its network, so it may be read as several.
        "network": None if card.config is None else asdict(card.config),
        "blocks": asdict(card.blocks),
        "room": room.fingerprint(),
        "protocol": protocol,
        "stride": segmenter.stride,
        "passes": segmenter.passes,
        "seed": segmenter.seed,
        "amp": segmenter.amp,
    }
    return json.dumps(decisive, sort_keys=True)


def load_predictions(path, key):
    """Read kept predictions. -> (labels, predictions) or None, and whether the file was damaged

    None where there is no file, where it is damaged, and where its predictions were made from something else.
    """
    try:
        # Opened here, because numpy leaves the file open where it is not an archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            if str(content["made_from"]) != key:
                return None, False
            labels, predictions = content["labels"], content["predictions"]
            if _are_bytes(labels) and _are_bytes(predictions) and labels.shape == predictions.shape:
                return (labels, predictions), False
    except FileNotFoundError:
        return None, False
    except Exception:  # damaged bytes can raise any exception in numpy's reader
        pass
    return None, True


def _are_bytes(values):
    """Whether it is a (P,) uint8 array. A member of an archive that is no array comes as a text of bytes."""
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype == np.uint8


def save_predictions(path, key, labels, predictions):
    with replacing(path) as temporary:
        np.savez_compressed(temporary, made_from=key, labels=labels, predictions=predictions)
