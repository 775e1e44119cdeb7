"""Which rooms a checkpoint is judged on, its predictions there, and the confusions that scores are made of.

Two protocols. "all-points": every point of a room is predicted, from overlapping windows, and counts once. "published":
PointNet's and DeepGCN's way, the points drawn into blocks of 1 m are judged, as often as they are drawn.

Letters: C classes, N points a block.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from s3dis_seg.data.blocks.datasets import PointNetBlocks, PublishedDataset
from s3dis_seg.data.rooms.prepared import RoomFile, area_of, find_rooms
from s3dis_seg.data.splits import split_rooms
from s3dis_seg.files import InputError, replacing
from s3dis_seg.metrics import confusion_matrix, scores
from s3dis_seg.models.shipped import find_checkpoint

PROTOCOLS = ("all-points", "published")
STRIDES = {"all-points": 0.5, "published": 1.0}  # where none is given
PUBLISHED_POINTS = 4096  # drawn into a block


@dataclass(frozen=True)
class RoomResult:
    """What scoring one room gave. confusion: (C, C), rows = labels; reused: its predictions had been kept before."""

    name: str
    confusion: np.ndarray
    reused: bool = False
    warnings: list = field(default_factory=list)


# --- which rooms ------------------------------------------------------------------------------------------------------


def list_rooms(folder, protocol):
    """What can be scored in a folder: prepared rooms, or the rooms of PointNet's block files. -> paths, sorted

    The latter are no files: their path is the folder with the room's name behind it.
    """
    if not (Path(folder) / "all_files.txt").is_file():
        return find_rooms(folder)
    if protocol != "published":
        raise InputError(f"{folder} holds drawn blocks and not whole rooms; score them with --protocol published")
    return [Path(folder) / str(name) for name in np.unique(PointNetBlocks(folder).room)]


def choose_rooms(paths, test_area=None, names=None, limit=None):
    """The rooms of an area, or those named (as in `split_rooms`), or all; of these `limit`, evenly spread. -> paths"""
    if test_area is not None:
        there = sorted({area_of(path.stem) for path in paths} - {None})
        if test_area not in there:
            found = f"areas {', '.join(map(str, there))}" if there else "rooms of no area"
            raise InputError(f"there is no room of area {test_area} in {paths[0].parent}, only {found}")
    if test_area is not None or names is not None:
        paths = split_rooms(paths, test_area=test_area, test_rooms=names, val_rooms=[]).test
    if limit is not None and limit < len(paths):
        paths = [paths[place] for place in np.linspace(0, len(paths) - 1, limit).round().astype(int)]
    return paths


def held_out_rooms(card, paths):
    """The rooms that a run kept for testing. -> paths that are there, names that are not; both empty if it kept none.

    card: of one of its checkpoints, whose provenance has `test_rooms` (names) or `test_area`.
    """
    names = list(card.provenance.get("test_rooms") or [])
    if names:
        found = [path for path in paths if path.stem in names]
        return found, sorted(set(names) - {path.stem for path in found})
    area = card.provenance.get("test_area")
    return [path for path in paths if area is not None and area_of(path.stem) == area], []


def run_checkpoint(run):
    """The weights of a run: best.pt of its folder, last.pt where it has no validation; or the file named. -> Path"""
    run = Path(run)
    if not run.is_dir():
        return find_checkpoint(run)
    for name in ("best.pt", "last.pt"):
        if (run / name).is_file():
            return run / name
    raise InputError(f"{run} holds neither best.pt nor last.pt; name the folder of a run, or a checkpoint")


def doubts(card, names):
    """Why scores on these rooms would not be those of unseen rooms. -> list of sentences, empty if they would be."""
    told = []
    seen = sorted(set(names) & set(card.provenance.get("train_rooms") or []))
    if seen:
        told.append(
            f"{_listed(seen)} of the {len(names)} scored rooms were TRAINED ON: these scores do not tell how well "
            "unseen rooms are labelled"
        )
    chosen = sorted(set(names) & set(card.provenance.get("val_rooms") or []))
    if chosen:
        told.append(f"{_listed(chosen)} of the {len(names)} scored rooms served to choose the best weights")
    if "train_rooms" not in card.provenance:
        told.append("the checkpoint does not say which rooms it was trained on; they may be among those scored")
    return told


def _listed(names):
    """["a", "b", "c", "d"] -> "4 (a, b, c ...)" """
    return f"{len(names)} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"


# --- one room ---------------------------------------------------------------------------------------------------------


def score_room(segmenter, path, protocol="all-points", folder=None, progress=None):
    """Confusion of a room. -> RoomResult

    segmenter: a Segmenter; its stride, seed, and (all points) passes are those of the evaluation. folder: where
    predictions are kept, and taken from if checkpoint, settings and room are the same. progress(done, all) is called
    along the way.
    """
    num_classes = len(segmenter.card.class_names)
    key = _key(segmenter, path, protocol)
    kept = None if folder is None else Path(folder) / f"{path.stem}.npz"
    arrays = None if kept is None else _load(kept, key)
    warnings = []
    reused = arrays is not None
    if not reused:
        predict = _predict_blocks if protocol == "published" else _predict_points
        labels, predictions, warnings = predict(segmenter, path, progress)
        if kept is not None:
            _save(kept, key, labels, predictions)
    else:
        labels, predictions = arrays
    return RoomResult(path.stem, confusion_matrix(labels, predictions, num_classes), reused, warnings)


def _predict_points(segmenter, path, progress):
    """-> labels (P,), predictions (P,) of all points of a prepared room, warnings"""
    room = RoomFile(path).room()
    _require_classes(segmenter.card, room.class_names, path)
    result = segmenter(room.xyz, room.rgb, progress=progress)
    return room.labels, result.predictions, list(result.warnings)


@torch.inference_mode()
def _predict_blocks(segmenter, path, progress):
    """-> labels (blocks * N,), predictions (blocks * N,) of the points drawn into blocks, warnings"""
    normalization = segmenter.card.blocks.normalization
    if path.suffix == ".h5":
        blocks = PublishedDataset([path], segmenter.stride, PUBLISHED_POINTS, segmenter.seed, normalization)
    else:
        blocks = PointNetBlocks(path.parent, rooms=[path.name], normalization=normalization)
    _require_classes(segmenter.card, blocks.class_names, path)
    if len(blocks) == 0:
        return np.zeros(0, np.uint8), np.zeros(0, np.uint8), ["no column has the 100 points that make a block"]
    labels, predictions = [], []
    for start in range(0, len(blocks), segmenter.batch_size):
        batch = [blocks[place] for place in range(start, min(start + segmenter.batch_size, len(blocks)))]
        features = torch.stack([features for features, _ in batch]).to(segmenter.device)
        predictions.append(segmenter.model(features).argmax(dim=-1).cpu().numpy().astype(np.uint8).ravel())
        labels += [labels_of_block.numpy().astype(np.uint8) for _, labels_of_block in batch]
        if progress:
            progress(start + len(batch), len(blocks))
    return np.concatenate(labels), np.concatenate(predictions), []


def _require_classes(card, found, path):
    if tuple(found) != tuple(card.class_names):
        raise InputError(
            f"{path} has the classes {', '.join(found)}, but the checkpoint knows {', '.join(card.class_names)}; "
            "score a checkpoint that was trained with the same classes"
        )


# --- predictions on disk ----------------------------------------------------------------------------------------------


def _key(segmenter, path, protocol):
    """All that decides the predictions of a room. -> text"""
    decisive = {
        "checkpoint": segmenter.card.sha256,
        "room": _sha256(path) if path.is_file() else str(path.name),
        "protocol": protocol,
        "stride": segmenter.stride,
        "passes": segmenter.passes,
        "seed": segmenter.seed,
    }
    return json.dumps(decisive, sort_keys=True)


def _sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
    return digest.hexdigest()


def _load(path, key):
    """-> (labels, predictions), or None where there are none or they belong to something else."""
    try:
        # Opened here: numpy leaves the file open when it is no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            if str(content["made_from"]) == key:
                return content["labels"], content["predictions"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent, or cut off by a full disk: made again
    return None


def _save(path, key, labels, predictions):
    with replacing(path) as temporary:
        np.savez_compressed(temporary, made_from=key, labels=labels, predictions=predictions)


# --- many rooms -------------------------------------------------------------------------------------------------------


def levels(confusions, class_names, folds=None):
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
