"""How a checkpoint labels rooms that were altered: turned, thinned, without colours, or only in part.

Letters: C classes, P points.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.evaluation.rooms import require_whole_rooms
from s3dis_seg.evaluation.scoring import require_same_classes
from s3dis_seg.metrics import IGNORED, Scores, confusion_matrix, scores
from s3dis_seg.segmentation import Segmenter

SURE = 0.9  # a wrong point with at least this confidence is confidently wrong
_WALL_DEPTH = 0.3  # metres from the outermost wall point that still belong to the wall of that side


@dataclass(frozen=True)
class StressRow:
    """Scores of all rooms after one alteration.

    confidently_wrong: share of the counted points that are wrong with a confidence of at least 0.9; nan where no point
    was counted.
    """

    scores: Scores
    confidently_wrong: float


def run(folder, checkpoint, device: str = "auto", seed: int = 0, progress: Callable | None = None):
    """Stress a checkpoint on all rooms of a folder. -> dict alteration -> StressRow

    progress: called as progress(alteration, room name) after each room. InputError where the folder holds drawn blocks
    instead of whole rooms, or where its classes are not those of the checkpoint.
    """
    rooms = open_rooms(folder)
    require_whole_rooms(rooms)
    segmenter = Segmenter.from_checkpoint(checkpoint, device, seed=seed)
    return stress(segmenter, rooms, seed, progress)


def stress(segmenter: Segmenter, rooms: list, seed: int = 0, progress: Callable | None = None) -> dict[str, StressRow]:
    """Score whole rooms after each alteration. -> dict alteration -> StressRow, "as it is" first

    rooms: as `open_rooms` gives them. seed: of the points dropped and of the noise. A room of which an alteration
    leaves no point (no wall, say) does not count in that row. progress, errors: as in `run`.
    """
    names = segmenter.card.class_names
    confusions = {alteration: np.zeros((len(names), len(names)), np.int64) for alteration in ALTERATIONS}
    sure_and_wrong = dict.fromkeys(ALTERATIONS, 0)
    for room in rooms:
        require_same_classes(segmenter, room)
        points = room.room()
        for alteration, alter in ALTERATIONS.items():
            xyz, rgb, labels = alter(points, np.random.default_rng(seed))
            if len(xyz):
                result = segmenter(xyz, rgb)
                confusions[alteration] += confusion_matrix(labels, result.predictions, len(names))
                sure_and_wrong[alteration] += count_confidently_wrong(labels, result.predictions, result.confidence)
            if progress:
                progress(alteration, room.name)
    return {
        alteration: StressRow(
            scores(confusion, names),
            sure_and_wrong[alteration] / confusion.sum() if confusion.any() else float("nan"),
        )
        for alteration, confusion in confusions.items()
    }


def count_confidently_wrong(labels, predictions, confidence) -> int:
    """How many points are wrong with a confidence of at least 0.9; points with 255 on either side do not count.

    labels, predictions: (P,) integers; confidence: (P,) 0 to 1.
    """
    counted = (labels != IGNORED) & (predictions != IGNORED)
    return int((counted & (labels != predictions) & (confidence >= SURE)).sum())


# An alteration takes a Room and a random generator and returns xyz (P, 3), rgb (P, 3) or None, and labels (P,).


def _as_it_is(room, rng):
    return room.xyz, room.rgb, room.labels


def _turned(room, rng):
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    return room.xyz @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]), room.rgb, room.labels


def _thinned(room, rng):
    count = len(room.xyz)
    return _part(room, np.sort(rng.permutation(count)[: count - round(0.3 * count)]))


def _without_colors(room, rng):
    return room.xyz, None, room.labels


def _noisy(room, rng):
    return room.xyz + rng.normal(0, 0.01, room.xyz.shape), room.rgb, room.labels


def _shifted(room, rng):
    return room.xyz + np.array([0, 0, 2.0]), room.rgb, room.labels


def _half(room, rng):
    """The points on the lower side of the middle of the longer horizontal side."""
    axis = int(np.ptp(room.xyz[:, :2], axis=0).argmax())
    low, high = room.xyz[:, axis].min(), room.xyz[:, axis].max()
    return _part(room, room.xyz[:, axis] <= (low + high) / 2)


def _wall_of_one_side(room, rng):
    """The wall points at the lower end of the shorter horizontal side: one long wall, and no floor."""
    wall = np.zeros(len(room.xyz), bool)
    if "wall" in room.class_names:
        wall = room.labels == room.class_names.index("wall")
    if not wall.any():
        return _part(room, wall)
    axis = int(np.ptp(room.xyz[:, :2], axis=0).argmin())
    return _part(room, wall & (room.xyz[:, axis] <= room.xyz[wall, axis].min() + _WALL_DEPTH))


def _part(room, chosen):
    return room.xyz[chosen], room.rgb[chosen], room.labels[chosen]


ALTERATIONS = {
    "as it is": _as_it_is,
    "turned by 30 degrees": _turned,
    "30 % of points dropped": _thinned,
    "colours dropped": _without_colors,
    "1 cm noise": _noisy,
    "shifted by 2 m in z": _shifted,
    "half a room": _half,
    "a wall without floor": _wall_of_one_side,
}
