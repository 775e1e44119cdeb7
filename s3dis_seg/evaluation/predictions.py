"""Predictions of rooms, kept on disk so that an interrupted evaluation can go on.

Each file holds the settings it was made with, and is used only where these are the same.
"""

import json
import zipfile
import zlib
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
            if labels.dtype == predictions.dtype == np.uint8 and labels.shape == predictions.shape:
                return (labels, predictions), False
    except FileNotFoundError:
        return None, False
    # RuntimeError: a flipped bit can make the archive look encrypted.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, MemoryError):
        pass
    return None, True


def save_predictions(path, key, labels, predictions):
    with replacing(path) as temporary:
        np.savez_compressed(temporary, made_from=key, labels=labels, predictions=predictions)
