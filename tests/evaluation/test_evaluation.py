"""Scores of rooms, with a network that is known: it calls floor what lies below half of its room, else ceiling."""

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import room_of, write_room
from s3dis_seg.evaluation import (
    choose_rooms,
    doubts,
    held_out_rooms,
    levels,
    list_rooms,
    run_checkpoint,
    score_room,
)
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.segmentation import Segmenter

CEILING, FLOOR = 0, 1


class ByHeight(torch.nn.Module):
    """Channel 8 is the height in the room, from 0 to 1."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, blocks):
        self.calls += 1
        logits = torch.full((*blocks.shape[:2], len(CLASSES)), -20.0)
        logits[..., CEILING], logits[..., FLOOR] = blocks[..., 8] - 0.5, 0.5 - blocks[..., 8]
        return logits


def segmenter_of(sha256="a" * 64, **options):
    card = Card(None, None, blocks=BlockSettings(num_points=256, grid=0.0), provenance={}, sha256=sha256)
    return Segmenter(ByHeight(), card, device="cpu", **options)


def flat_room(name, count=600, wrong=0):
    """Floor and ceiling, 2 x 1.5 m; the labels of the first `wrong` points are exchanged."""
    xyz = np.random.default_rng(len(name)).random((count, 3)) * (2, 1.5, 0.05)
    xyz[count // 2 :, 2] += 2.5
    labels = np.repeat([FLOOR, CEILING], [count // 2, count - count // 2])
    labels[:wrong] = CEILING
    return room_of(name, xyz, np.zeros((count, 3)), labels)


@pytest.fixture
def folder(tmp_path):
    for name, count, wrong in (("Area_1_office_1", 2400, 0), ("Area_1_office_2", 600, 30), ("Area_3_lobby_1", 600, 60)):
        write_room(flat_room(name, count, wrong), tmp_path / "rooms")
    return tmp_path / "rooms"


def test_every_point_of_a_room_counts_once(folder):
    result = score_room(segmenter_of(), folder / "Area_1_office_2.h5")
    assert result.confusion.sum() == 600
    assert result.confusion[CEILING, FLOOR] == 30
    assert np.trace(result.confusion) == 570


def test_the_published_protocol_counts_the_points_of_its_blocks(folder):
    # 2 x 1.5 m: columns of 1 m at 0 and 1 along x, and along y at 0 and past the middle.
    result = score_room(segmenter_of(stride=1.0), folder / "Area_1_office_1.h5", "published")
    assert result.confusion.sum() == 4 * 4096
    assert np.trace(result.confusion) == 4 * 4096
    assert score_room(segmenter_of(), folder / "Area_1_office_1.h5", "published").confusion.sum() == 6 * 4096


def test_a_room_without_a_published_block_is_told(tmp_path):
    path = write_room(flat_room("Area_1_closet_1", count=90), tmp_path)
    result = score_room(segmenter_of(stride=1.0), path, "published")
    assert result.confusion.sum() == 0
    assert "100 points" in result.warnings[0]


def test_pointnet_blocks_are_scored_as_they_were_drawn(tmp_path):
    h5py = pytest.importorskip("h5py")
    data = np.zeros((3, 4096, 9), np.float32)
    data[..., 8] = 1.0
    with h5py.File(tmp_path / "ply_data_all_0.h5", "w") as file:
        file["data"], file["label"] = data, np.full((3, 4096), CEILING, np.uint8)
    (tmp_path / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/ply_data_all_0.h5\n")
    (tmp_path / "room_filelist.txt").write_text("Area_1_office_1\nArea_1_office_1\nArea_2_office_1\n")
    paths = list_rooms(tmp_path, "published")
    assert [path.stem for path in paths] == ["Area_1_office_1", "Area_2_office_1"]
    assert score_room(segmenter_of(), paths[0], "published").confusion[CEILING, CEILING] == 2 * 4096
    with pytest.raises(InputError, match="--protocol published"):
        list_rooms(tmp_path, "all-points")


def test_kept_predictions_are_reused_and_give_the_same_confusion(folder, tmp_path):
    first, second = segmenter_of(), segmenter_of()
    made = score_room(first, folder / "Area_1_office_2.h5", folder=tmp_path / "kept")
    again = score_room(second, folder / "Area_1_office_2.h5", folder=tmp_path / "kept")
    assert (made.reused, again.reused) == (False, True)
    assert first.model.calls > 0
    assert second.model.calls == 0
    assert (made.confusion == again.confusion).all()


@pytest.mark.parametrize(
    "change",
    [{"sha256": "b" * 64}, {"stride": 1.0}, {"seed": 1}, {"passes": 2}, {"protocol": "published"}, {"room": 1}],
)
def test_predictions_are_made_again_under_another_checkpoint_setting_or_room(folder, tmp_path, change):
    path = folder / "Area_1_office_2.h5"
    score_room(segmenter_of(), path, folder=tmp_path / "kept")
    protocol = change.pop("protocol", "all-points")
    if change.pop("room", None):
        write_room(flat_room("Area_1_office_2", wrong=31), folder)
    result = score_room(segmenter_of(**change), path, protocol, folder=tmp_path / "kept")
    assert not result.reused


def test_predictions_that_were_cut_off_are_made_again(folder, tmp_path):
    path = folder / "Area_1_office_1.h5"
    score_room(segmenter_of(), path, folder=tmp_path)
    kept = tmp_path / "Area_1_office_1.npz"
    kept.write_bytes(kept.read_bytes()[:100])
    assert not score_room(segmenter_of(), path, folder=tmp_path).reused
    assert score_room(segmenter_of(), path, folder=tmp_path).reused


def test_other_classes_are_refused(folder):
    segmenter = segmenter_of()
    segmenter.card.class_names = ("wall", "floor")
    with pytest.raises(InputError, match="checkpoint knows wall, floor"):
        score_room(segmenter, folder / "Area_1_office_1.h5")


def test_levels_are_sums_of_confusions_and_not_means_of_scores(folder):
    paths = list_rooms(folder, "all-points")
    confusions = {path.stem: score_room(segmenter_of(), path).confusion for path in paths}
    found = levels(confusions, CLASSES, {"a": ["Area_1_office_1"], "b": ["Area_1_office_2", "Area_3_lobby_1"]})
    assert list(found) == ["all", "fold", "area", "room"]
    assert found["all"]["3 rooms"].oa == pytest.approx(1 - 90 / 3600)
    assert found["area"]["Area_1"].oa == pytest.approx(1 - 30 / 3000)
    assert found["fold"]["b"].confusion.sum() == 1200
    iou = found["all"]["3 rooms"].iou
    assert iou[FLOOR] == pytest.approx((1800 - 90) / 1800)
    assert iou[FLOOR] != pytest.approx(np.mean([scores.iou[FLOOR] for scores in found["room"].values()]))


def test_rooms_are_chosen_by_area_by_name_and_evenly_spread(folder):
    paths = list_rooms(folder, "all-points")
    assert [path.stem for path in choose_rooms(paths, test_area=3)] == ["Area_3_lobby_1"]
    assert [path.stem for path in choose_rooms(paths, names=["Area_1_*"])] == ["Area_1_office_1", "Area_1_office_2"]
    assert [path.stem for path in choose_rooms(paths, limit=2)] == ["Area_1_office_1", "Area_3_lobby_1"]
    with pytest.raises(InputError, match=r"no room of area 5 .* areas 1, 3"):
        choose_rooms(paths, test_area=5)


def test_held_out_rooms_come_from_the_card(folder):
    paths = list_rooms(folder, "all-points")

    def held_out(**provenance):
        found, missing = held_out_rooms(Card(None, None, provenance=provenance), paths)
        return [path.stem for path in found], missing

    assert held_out(test_rooms=["Area_3_lobby_1", "Area_3_x"], test_area=3) == (["Area_3_lobby_1"], ["Area_3_x"])
    assert held_out(test_area=1) == (["Area_1_office_1", "Area_1_office_2"], [])
    assert held_out() == ([], [])


def test_rooms_that_were_trained_on_are_named():
    card = Card(None, None, provenance={"train_rooms": ["a", "b"], "val_rooms": ["c"]})
    told = doubts(card, ["b", "c", "d"])
    assert "1 (b) of the 3 scored rooms were TRAINED ON" in told[0]
    assert "1 (c) of the 3 scored rooms served to choose" in told[1]
    assert doubts(card, ["d"]) == []
    assert "does not say" in doubts(Card(None, None), ["d"])[0]


def test_a_run_is_scored_by_its_best_weights_or_its_last(tmp_path):
    with pytest.raises(InputError, match=r"neither best\.pt nor last\.pt"):
        run_checkpoint(tmp_path)
    (tmp_path / "last.pt").touch()
    assert run_checkpoint(tmp_path).name == "last.pt"
    (tmp_path / "best.pt").touch()
    assert run_checkpoint(tmp_path).name == "best.pt"
