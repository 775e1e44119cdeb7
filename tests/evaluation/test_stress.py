"""The stress table, with a network that is sure that everything is wall."""

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES, Classes
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.evaluation.stress import ALTERATIONS, count_confidently_wrong, stress
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.report import stress_table
from s3dis_seg.segmentation import Segmenter

FLOOR, WALL = CLASSES.index("floor"), CLASSES.index("wall")


class AllWall(torch.nn.Module):
    def forward(self, blocks):
        logits = torch.zeros((*blocks.shape[:2], len(CLASSES)))
        logits[..., WALL] = 20.0
        return logits


def segmenter():
    card = Card(None, None, blocks=BlockSettings(num_points=256, grid=0.0), provenance={}, sha256="a" * 64)
    return Segmenter(AllWall(), card, device="cpu")


def box_room(name="Area_1_office_1", unlabelled=0):
    """400 points of floor, 3 x 2 m, and 100 of each of the two long walls."""
    rng = np.random.default_rng(0)
    floor = rng.random((400, 3)) * (3, 2, 0)
    near, far = rng.random((100, 3)) * (3, 0.1, 2.5), rng.random((100, 3)) * (3, 0.1, 2.5) + (0, 1.9, 0)
    labels = np.repeat([FLOOR, WALL], [400, 200])
    labels[:unlabelled] = 255
    return room_of(name, np.concatenate([floor, near, far]), np.full((600, 3), 90), labels)


def altered(name, room):
    return ALTERATIONS[name](room, np.random.default_rng(0))


@pytest.fixture
def rooms(tmp_path):
    write_room(box_room(), tmp_path)
    return open_rooms(tmp_path)


def test_floor_that_is_surely_called_wall_is_counted_in_every_row_with_floor(rooms):
    rows = stress(segmenter(), rooms)
    assert list(rows) == list(ALTERATIONS)
    assert rows["as it is"].confidently_wrong == pytest.approx(400 / 600)
    assert rows["as it is"].scores.oa == pytest.approx(200 / 600)
    assert rows["30 % of points dropped"].scores.points == 420
    assert rows["a wall without floor"].scores.points == 100
    assert rows["a wall without floor"].confidently_wrong == 0


def test_confidently_wrong_is_what_counting_one_by_one_gives():
    rng = np.random.default_rng(1)
    labels, predictions = rng.choice([0, 1, 255], 500), rng.choice([0, 1, 255], 500)
    confidence = rng.choice([0.5, 0.9, 0.95], 500)
    slow = 0
    for label, prediction, sure in zip(labels, predictions, confidence):
        slow += label != 255 and prediction != 255 and label != prediction and sure >= 0.9
    assert count_confidently_wrong(labels, predictions, confidence) == slow


def test_turning_and_shifting_keep_all_distances():
    room = box_room()
    apart = np.linalg.norm(room.xyz[0] - room.xyz[1:], axis=1)
    for name in ("turned by 30 degrees", "shifted by 2 m in z"):
        xyz, _, labels = altered(name, room)
        np.testing.assert_allclose(np.linalg.norm(xyz[0] - xyz[1:], axis=1), apart, atol=1e-5)
        assert (labels == room.labels).all()
    assert (altered("shifted by 2 m in z", room)[0][:, 2] - room.xyz[:, 2]).min() == pytest.approx(2, abs=1e-5)


def test_half_a_room_is_cut_across_its_longer_side():
    xyz, rgb, labels = altered("half a room", box_room())
    assert len(xyz) == len(rgb) == len(labels)
    assert xyz[:, 0].max() <= 1.5 and xyz[:, 1].max() > 1.9


def test_the_room_itself_is_never_changed():
    room, same = box_room(), box_room()
    for name in ALTERATIONS:
        altered(name, room)
    assert (room.xyz == same.xyz).all() and (room.rgb == same.rgb).all() and (room.labels == same.labels).all()


def test_a_room_without_walls_leaves_that_row_empty_and_the_table_says_so(tmp_path):
    room = box_room()
    room.labels[:] = FLOOR
    write_room(room, tmp_path)
    rows = stress(segmenter(), open_rooms(tmp_path))
    assert rows["a wall without floor"].scores.points == 0
    assert np.isnan(rows["a wall without floor"].confidently_wrong)
    assert stress_table(rows).splitlines()[-1].split()[-3:] == ["-", "-", "-"]


def test_unlabelled_points_do_not_count(tmp_path):
    write_room(box_room(unlabelled=100), tmp_path)
    assert stress(segmenter(), open_rooms(tmp_path))["as it is"].confidently_wrong == pytest.approx(300 / 500)


def test_a_checkpoint_with_other_classes_is_refused(rooms):
    other = segmenter()
    other.card.classes = Classes.named(("wall", "floor"))
    with pytest.raises(InputError, match="checkpoint knows wall, floor"):
        stress(other, rooms)
