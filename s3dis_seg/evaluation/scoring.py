"""Confusion matrices of rooms and scans, and the scores computed from them.

Two protocols for rooms. "all-points": every point is predicted, from overlapping columns, and counts once. "published":
as PointNet and DeepGCN did, only the points drawn into blocks of 1 m count, as often as they are drawn.

Letters: C classes, N points a block.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from s3dis_seg.data.blocks.datasets import blocks_as_published
from s3dis_seg.data.blocks.published import published_corners
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.data.scans import read_scan
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of, predictions_of
from s3dis_seg.evaluation.predictions import key_of, load_predictions, save_predictions
from s3dis_seg.files import InputError
from s3dis_seg.metrics import confusion_matrix, scores

PUBLISHED_POINTS = 4096  # drawn into a block


@dataclass(frozen=True)
class RoomResult:
    """What scoring one room gave. confusion: (C, C), rows = labels; reused: its predictions had been kept before."""

    name: str
    confusion: np.ndarray
    reused: bool = False
    warnings: list = field(default_factory=list)


def score_room(segmenter, room, protocol="all-points", folder=None, progress=None):
    """Confusion of a room. -> RoomResult

    segmenter: a Segmenter; its stride, seed, and (all points) passes are those of the evaluation. room: as `open_rooms`
    gives it. folder: where predictions are kept, and taken from if network, settings and room are the same.
    progress(done, all) is called along the way. InputError where room and checkpoint have other classes.
    """
    require_same_classes(segmenter, room)
    kept = None if folder is None else Path(folder) / f"{room.name}.npz"
    key = None if kept is None else key_of(segmenter, room, protocol)
    classes = len(segmenter.card.class_names)
    arrays, damaged = None, False
    if kept is not None:
        arrays, damaged = load_predictions(kept, key, classes, _most_points(segmenter, room, protocol))
    reused, warnings = arrays is not None, []
    if not reused:
        predict = _predict_blocks if protocol == "published" else _predict_points
        *arrays, warnings = predict(segmenter, room, progress)
        if kept is not None:
            save_predictions(kept, key, *arrays)
    if damaged:
        warnings.append("the kept predictions were damaged and have been made again")
    return RoomResult(room.name, confusion_matrix(*arrays, classes), reused, warnings)


def _most_points(segmenter, room, protocol):
    """How many points the predictions of a room can have at most."""
    if protocol == "published" and room.has_all_points:
        return len(published_corners(room.hi, segmenter.stride)) * PUBLISHED_POINTS
    return room.num_points


def require_same_classes(segmenter, room):
    """InputError where room and checkpoint have other classes."""
    if tuple(room.class_names) != tuple(segmenter.card.class_names):
        raise InputError(
            f"{room.name} has the classes {', '.join(room.class_names)}, but the checkpoint knows "
            f"{', '.join(segmenter.card.class_names)}; score a checkpoint that was trained with the same classes"
        )


def _predict_points(segmenter, room, progress):
    """-> labels (P,), predictions (P,) of all points of a room, warnings"""
    points = room.room()
    result = segmenter(points.xyz, points.rgb, progress=progress)
    return points.labels, result.predictions, list(result.warnings)


def _predict_blocks(segmenter, room, progress):
    """-> labels (blocks * N,), predictions (blocks * N,) of the points drawn into blocks, warnings"""
    normalization = segmenter.card.blocks.normalization
    blocks = blocks_as_published([room], segmenter.stride, PUBLISHED_POINTS, segmenter.seed, normalization)
    if len(blocks) == 0:
        return np.zeros(0, np.uint8), np.zeros(0, np.uint8), ["no column has the 100 points that make a block"]
    labels, predictions = [], []
    for start in range(0, len(blocks), segmenter.batch_size):
        batch = [blocks[place] for place in range(start, min(start + segmenter.batch_size, len(blocks)))]
        probabilities = segmenter.predict(torch.stack([features for features, _ in batch]))
        predictions.append(probabilities.argmax(dim=-1).cpu().numpy().astype(np.uint8).ravel())
        labels += [labels_of_block.numpy().astype(np.uint8) for _, labels_of_block in batch]
        if progress:
            progress(start + len(batch), len(blocks))
    return np.concatenate(labels), np.concatenate(predictions), []


def score_scan(path, label_field=None, prediction_field=None, classes=None):
    """Compare the predictions of a segmented scan with its labels. -> (C, C) confusion, rows = labels; names of the
    classes; list of warnings

    label_field: the property that holds the labels; None looks for the usual names. prediction_field: the property that
    holds the predictions; None is `prediction`. classes: as `read_scan` takes them. InputError where
    one of the properties is missing.
    """
    field = prediction_field or "prediction"
    scan = read_scan(path, units="m", classes=classes, up="z")
    if field not in scan.columns:
        remedy = "name another with --prediction-field" if prediction_field else "segment it first"
        raise InputError(
            f"{path} has no property {field!r}, only {', '.join(scan.columns)}; {remedy}: "
            f"s3dis-seg segment {path} --out segmented.ply"
        )
    labels = labels_of(scan, label_field)
    if labels is None:
        raise InputError(
            f"{path} has no labels that are known by their name, only {', '.join(scan.columns)}; "
            "name the property that holds them with --label-field"
        )
    warnings = list(scan.warnings)
    if label_field is not None and (doubt := doubt_about_labels(labels, scan.classes)):
        warnings.append(f"{path}: {doubt}")
    confusion = confusion_matrix(labels, predictions_of(scan, field), len(scan.classes))
    return confusion, scan.classes.names, list(dict.fromkeys(warnings))


def levels_of_rooms(confusions, class_names, folds=None):
    """Scores of all rooms together, of folds and areas where there are several, and of every room.

    confusions: dict room -> (C, C); folds: dict fold -> list of its rooms. -> {"all": {name: Scores}, "fold": ...}
    Confusions are summed and divided once, on every level.
    """

    def level(groups):
        return {name: scores(sum(confusions[room] for room in rooms), class_names) for name, rooms in groups.items()}

    areas = {}
    for room in sorted(confusions):
        area = area_of(room)
        areas.setdefault("no area" if area is None else f"Area_{area}", []).append(room)
    found = {"all": level({f"{len(confusions)} rooms" if len(confusions) > 1 else "1 room": list(confusions)})}
    if folds and len(folds) > 1:
        found["fold"] = level(folds)
    if set(areas) != {"no area"}:
        found["area"] = level(areas)
    found["room"] = level({room: [room] for room in sorted(confusions)})
    return found
