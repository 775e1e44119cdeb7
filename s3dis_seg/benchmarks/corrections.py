"""What corrections are worth: somebody gives the least sure regions their true class, and the network learns from it.

Letters: C classes, P points.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.rooms.labelled import labels_to_learn
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.scans import Scan
from s3dis_seg.evaluation.scoring import require_same_classes
from s3dis_seg.metrics import Scores, confusion_matrix, scores
from s3dis_seg.review import doubtful_regions
from s3dis_seg.segmentation import Segmenter
from s3dis_seg.training import TrainConfig, train

COUNTS = (0, 5, 20)  # corrections of a room


@dataclass(frozen=True)
class CorrectionsRow:
    """Scores after some corrections of a room, of all rooms together.

    by_hand: of the predictions before, with the corrected regions replaced. right: share of the corrected points that
    got their true class, nan without any. Of a network that has learned from the corrections, and None without any:
    learned, on the rooms that were corrected; learned_by_hand, the same with the corrected regions replaced; others, on
    the rooms that were not corrected, None where there are none.
    """

    corrections: int
    by_hand: Scores
    right: float
    learned: Scores | None = None
    learned_by_hand: Scores | None = None
    others: Scores | None = None

    @property
    def scores(self):
        """dict of what was scored -> Scores or None"""
        return {name: getattr(self, name) for name in ("by_hand", "learned", "learned_by_hand", "others")}


class _Corrected:
    """A room, what the network said of it before, and what corrections of it give. predictions: (P,)"""

    def __init__(self, room, segmenter):
        self.name, self.room, self.classes = room.name, room.room(), segmenter.card.classes
        result = segmenter(self.room.xyz, self.room.rgb)
        self.scan = Scan(self.room.xyz, self.room.rgb, classes=self.classes)
        self.scan.predictions, self.scan.confidence = result.predictions, result.confidence
        self.regions = doubtful_regions(self.scan, most=max(COUNTS))

    def corrections(self, count):
        """The class of every corrected point, 255 for the others: each region gets the class that most of it has."""
        given = np.full(len(self.room.labels), UNLABELLED, np.uint8)
        for region in self.regions[:count]:
            true = self.room.labels[region.points]
            if (true != UNLABELLED).any():
                given[region.points] = np.bincount(true[true != UNLABELLED]).argmax()
        return given


def simulate(
    rooms: list,
    checkpoint: str | Path,
    settings: Callable[[Path], TrainConfig],
    at_once: int = 1,
    sure: float | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> list[CorrectionsRow]:
    """Correct rooms, learn from it, score. -> a row for each of COUNTS

    rooms: labelled ones, as `open_rooms` gives them. settings: folder of the corrected rooms -> how to learn from them.
    at_once: how many rooms are corrected before the network learns; the others are those that were not corrected.
    sure: as `labels_to_learn` takes it. progress: called with words before each step.
    A correction gives a doubtful region, the largest first, the class that most of its points truly have, as somebody
    would with one key. So some of its points get a wrong class.
    """
    told = progress or (lambda what: None)
    segmenter = Segmenter.from_checkpoint(checkpoint, device, stride=1.0)
    for room in rooms:
        require_same_classes(segmenter, room)
    told("labelling the rooms")
    corrected = [_Corrected(room, segmenter) for room in rooms]
    groups = [corrected[start : start + at_once] for start in range(0, len(corrected), at_once)]
    rows = []
    for count in COUNTS:
        row = _row_by_hand(corrected, count)
        if count:
            confusions = [_learn(group, corrected, count, settings, sure, device, told) for group in groups]
            row = replace(row, **_pooled(confusions, segmenter.card.class_names))
        rows.append(row)
    return rows


def _row_by_hand(corrected, count):
    confusion, right, given = 0, 0, 0
    for room in corrected:
        corrections = room.corrections(count)
        confusion = confusion + _confusion(room, room.scan.predictions, corrections)
        known = (corrections != UNLABELLED) & (room.room.labels != UNLABELLED)
        right, given = right + (corrections == room.room.labels)[known].sum(), given + known.sum()
    return CorrectionsRow(count, scores(confusion, corrected[0].classes.names), right / given if given else np.nan)


def _confusion(room, predictions, corrections=None):
    if corrections is not None:
        predictions = np.where(corrections == UNLABELLED, predictions, corrections)
    return confusion_matrix(room.room.labels, predictions, len(room.classes))


def _learn(group, everything, count, settings, sure, device, told):
    """Train on a group of corrected rooms, and label all rooms again. -> dict of confusions as in CorrectionsRow"""
    names = ", ".join(room.name for room in group)
    with tempfile.TemporaryDirectory() as folder:
        told(f"learning from {count} corrections of {names}")
        for room in group:
            labels = labels_to_learn(room.scan, room.corrections(count), sure)
            write_room(replace(room.room, labels=labels, classes=room.classes), Path(folder) / "rooms")
        train(settings(Path(folder) / "rooms"), Path(folder) / "run", device=device)
        segmenter = Segmenter.from_checkpoint(Path(folder) / "run" / "last.pt", device, stride=1.0)
    confusions = dict.fromkeys(("learned", "learned_by_hand", "others"), 0)
    for room in everything:
        told(f"labelling {room.name} after {count} corrections of {names}")
        predictions = segmenter(room.room.xyz, room.room.rgb).predictions
        if room in group:
            confusions["learned"] = confusions["learned"] + _confusion(room, predictions)
            by_hand = _confusion(room, predictions, room.corrections(count))
            confusions["learned_by_hand"] = confusions["learned_by_hand"] + by_hand
        else:
            confusions["others"] = confusions["others"] + _confusion(room, predictions)
    return confusions


def _pooled(confusions, names):
    """Scores of the confusions of all groups together. -> dict"""
    sums = {key: sum(found[key] for found in confusions) for key in confusions[0]}
    return {key: scores(confusion, names) for key, confusion in sums.items() if np.any(confusion)}
