"""Predictions of rooms, kept on disk so that an interrupted evaluation can go on.

Each file holds the settings it was made with, and is used only where these are the same.
"""

import json
import zipfile
from dataclasses import asdict

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.files import replacing

_FORMAT = 2  # raised whenever the same settings would give other predictions
_HEADERS = 10_000  # bytes, more than the three arrays have before their numbers


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


def load_predictions(path, key, num_classes, most_points):
    """Read kept predictions. -> (labels, predictions) or None, and whether the file was damaged

    most_points: how many there can be; a file that would unpack to more is damaged, and is not unpacked.
    None where there is no file, where it is damaged, and where its predictions were made from something else.
    """
    try:
        # Opened here, because numpy leaves the file open where it is not an archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            if not _is_believable(content.zip, 2 * most_points + 4 * len(key)):
                return None, True
            if str(content["made_from"]) != key:
                return None, False
            labels, predictions = content["labels"], content["predictions"]
            if _are_classes(labels, num_classes) and _are_classes(predictions, num_classes):
                return ((labels, predictions), False) if labels.shape == predictions.shape else (None, True)
    except FileNotFoundError:
        return None, False
    except Exception:  # damaged bytes can raise any exception in numpy's reader
        pass
    return None, True


def _is_believable(archive, size):
    """Whether an archive of three arrays unpacks to no more than `size` bytes beside their headers."""
    entries = archive.infolist()
    plain = all(entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries)
    return plain and sum(entry.file_size for entry in entries) <= size + _HEADERS


def _are_classes(values, num_classes):
    """Whether it is a (P,) uint8 array of classes and 255. What is no array in an archive comes as a text of bytes."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != np.uint8:
        return False
    return bool(((values < num_classes) | (values == UNLABELLED)).all())


def save_predictions(path, key, labels, predictions):
    with replacing(path) as temporary:
        np.savez_compressed(temporary, made_from=key, labels=labels, predictions=predictions)
