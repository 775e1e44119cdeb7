"""What more looks at every point are worth, and what they cost.

Letters: C classes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.evaluation.rooms import require_whole_rooms
from s3dis_seg.evaluation.scoring import require_same_classes
from s3dis_seg.metrics import Scores, confusion_matrix, scores
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.segmentation import Segmenter


@dataclass(frozen=True)
class Looks:
    """How often points are looked at. stride, passes: of a Segmenter; views: of a point, in the mean."""

    stride: float
    passes: int

    @property
    def views(self):
        return self.passes / self.stride**2


LOOKS = (Looks(1.0, 1), Looks(1.0, 2), Looks(1.0, 4), Looks(0.5, 1), Looks(0.5, 2), Looks(0.5, 4))


@dataclass(frozen=True)
class QualityRow:
    """Scores of all rooms together, seconds and blocks for all of them."""

    looks: Looks
    scores: Scores
    seconds: float
    blocks: int


def run(folder, checkpoint, device: str = "auto", progress: Callable | None = None) -> list[QualityRow]:
    """Score a checkpoint on all rooms of a folder with each of LOOKS. -> rows in their order

    progress: called as progress(looks, room name) after each room. InputError where the folder holds drawn blocks
    instead of whole rooms, or where its classes are not those of the checkpoint.
    """
    rooms = open_rooms(folder)
    require_whole_rooms(rooms)
    model, card = load_checkpoint(checkpoint)
    return [_row(Segmenter(model, card, device, at.stride, at.passes), at, rooms, progress) for at in LOOKS]


def _row(segmenter, looks, rooms, progress):
    names = segmenter.card.class_names
    confusion, seconds, blocks = np.zeros((len(names), len(names)), np.int64), 0.0, 0
    for room in rooms:
        require_same_classes(segmenter, room)
        points = room.room()
        start = time.perf_counter()
        result = segmenter(points.xyz, points.rgb)
        seconds += time.perf_counter() - start
        blocks += result.num_blocks
        confusion += confusion_matrix(points.labels, result.predictions, len(names))
        if progress:
            progress(looks, room.name)
    return QualityRow(looks, scores(confusion, names), seconds, blocks)
