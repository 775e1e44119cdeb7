"""Scores of rooms, with a network that is known: it calls floor what lies below half of its room, else ceiling."""

import zipfile

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import RoomFile, write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.evaluation.folds import run_checkpoint
from s3dis_seg.evaluation.predictions import load_predictions, save_predictions
from s3dis_seg.evaluation.rooms import choose_rooms, held_out_rooms, overlap_warnings, require_whole_rooms
from s3dis_seg.evaluation.scoring import levels_of_rooms, score_room
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.config import DeepGCNConfig
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


def segmenter_of(sha256="a" * 64, config=None, **options):
    card = Card(None, None, blocks=BlockSettings(num_points=256, grid=0.0), provenance={}, sha256=sha256)
    card.config = config
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
    result = score_room(segmenter_of(), RoomFile(folder / "Area_1_office_2.h5"))
    assert result.confusion.sum() == 600
    assert result.confusion[CEILING, FLOOR] == 30
    assert np.trace(result.confusion) == 570


def test_the_published_protocol_counts_the_points_of_its_blocks(folder):
    # 2 x 1.5 m: columns of 1 m at 0 and 1 along x, and along y at 0 and past the middle.
    result = score_room(segmenter_of(stride=1.0), RoomFile(folder / "Area_1_office_1.h5"), "published")
    assert result.confusion.sum() == 4 * 4096
    assert np.trace(result.confusion) == 4 * 4096
    assert score_room(segmenter_of(), RoomFile(folder / "Area_1_office_1.h5"), "published").confusion.sum() == 6 * 4096


def test_a_room_without_a_published_block_is_told(tmp_path):
    room = RoomFile(write_room(flat_room("Area_1_closet_1", count=90), tmp_path))
    result = score_room(segmenter_of(stride=1.0), room, "published")
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
    rooms = open_rooms(tmp_path)
    assert [(room.name, room.num_points) for room in rooms] == [("Area_1_office_1", 8192), ("Area_2_office_1", 4096)]
    assert score_room(segmenter_of(), rooms[0], "published").confusion[CEILING, CEILING] == 2 * 4096
    with pytest.raises(InputError, match="--protocol published"):
        require_whole_rooms(rooms)


def test_predictions_of_pointnets_blocks_are_kept_by_what_the_blocks_hold(tmp_path):
    h5py = pytest.importorskip("h5py")

    def written(folder, height):
        folder.mkdir()
        data = np.zeros((1, 4096, 9), np.float32)
        data[..., 8] = height
        with h5py.File(folder / "ply_data_all_0.h5", "w") as file:
            file["data"], file["label"] = data, np.full((1, 4096), CEILING, np.uint8)
        (folder / "all_files.txt").write_text("ply_data_all_0.h5\n")
        (folder / "room_filelist.txt").write_text("Area_1_office_1\n")
        return open_rooms(folder)[0]

    kept = tmp_path / "kept"
    high, low = written(tmp_path / "a", 1.0), written(tmp_path / "b", 0.0)  # rooms of the same name
    assert score_room(segmenter_of(), high, "published", kept).confusion[CEILING, CEILING] == 4096
    other = score_room(segmenter_of(), low, "published", kept)
    assert not other.reused and other.confusion[CEILING, FLOOR] == 4096
    assert score_room(segmenter_of(), low, "published", kept).reused


def test_kept_predictions_are_reused_and_give_the_same_confusion(folder, tmp_path):
    first, second = segmenter_of(), segmenter_of()
    made = score_room(first, RoomFile(folder / "Area_1_office_2.h5"), folder=tmp_path / "kept")
    again = score_room(second, RoomFile(folder / "Area_1_office_2.h5"), folder=tmp_path / "kept")
    assert (made.reused, again.reused) == (False, True)
    assert first.model.calls > 0
    assert second.model.calls == 0
    assert (made.confusion == again.confusion).all()


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "b" * 64},
        {"config": DeepGCNConfig(k=8)},
        {"config": DeepGCNConfig(block="plain")},
        {"stride": 1.0},
        {"seed": 1},
        {"passes": 2},
        {"protocol": "published"},
        {"room": 1},
    ],
)
def test_predictions_are_made_again_under_another_checkpoint_setting_or_room(folder, tmp_path, change):
    path = RoomFile(folder / "Area_1_office_2.h5")
    score_room(segmenter_of(), path, folder=tmp_path / "kept")
    protocol = change.pop("protocol", "all-points")
    if change.pop("room", None):
        write_room(flat_room("Area_1_office_2", wrong=31), folder)
    result = score_room(segmenter_of(**change), path, protocol, folder=tmp_path / "kept")
    assert not result.reused


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9])
def test_predictions_with_a_flipped_byte_are_read_rightly_or_made_again(folder, tmp_path, place):
    room = RoomFile(folder / "Area_1_office_1.h5")
    made = score_room(segmenter_of(), room, folder=tmp_path).confusion
    kept = tmp_path / "Area_1_office_1.npz"
    damaged = bytearray(kept.read_bytes())
    damaged[int(place * len(damaged))] ^= 0xFF
    kept.write_bytes(damaged)
    assert (score_room(segmenter_of(), room, folder=tmp_path).confusion == made).all()


def test_predictions_that_were_cut_off_are_made_again_and_it_is_told(folder, tmp_path):
    path = RoomFile(folder / "Area_1_office_1.h5")
    assert not score_room(segmenter_of(), path, folder=tmp_path).warnings
    kept = tmp_path / "Area_1_office_1.npz"
    kept.write_bytes(kept.read_bytes()[:100])
    again = score_room(segmenter_of(), path, folder=tmp_path)
    assert not again.reused
    assert again.warnings == ["the kept predictions were damaged and have been made again"]
    assert score_room(segmenter_of(), path, folder=tmp_path).reused


def test_no_flipped_byte_of_kept_predictions_is_an_error_or_gives_other_predictions(tmp_path):
    labels, predictions = np.arange(20, dtype=np.uint8), np.arange(20, dtype=np.uint8)[::-1].copy()
    path = tmp_path / "kept.npz"
    save_predictions(path, "key", labels, predictions)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        arrays, _ = load_predictions(path, "key", 20, 20)
        assert arrays is None or ((arrays[0] == labels).all() and (arrays[1] == predictions).all())


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf no array", b"\x93NUMPY\x01\x00\x03\x00{(\n" + bytes(9), b"", None,
    b"\x93NUMPY\x01\x00\x36\x00{'descr': '|u1', 'fortran_order': False, 'shape': (,)}  \n",
])  # fmt: skip
@pytest.mark.parametrize("name", ["labels.npy", "predictions.npy", "made_from.npy"])
def test_kept_predictions_of_odd_content_are_made_again(tmp_path, name, content):
    numbers, path = np.arange(20, dtype=np.uint8), tmp_path / "kept.npz"
    save_predictions(path, "key", numbers, numbers)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            if data is not None:
                archive.writestr(member, data)
    assert load_predictions(path, "key", 20, 20)[0] is None


def test_other_classes_are_refused(folder):
    segmenter = segmenter_of()
    segmenter.card.class_names = ("wall", "floor")
    with pytest.raises(InputError, match="checkpoint knows wall, floor"):
        score_room(segmenter, RoomFile(folder / "Area_1_office_1.h5"))


def test_levels_are_sums_of_confusions_and_not_means_of_scores(folder):
    confusions = {room.name: score_room(segmenter_of(), room).confusion for room in open_rooms(folder)}
    found = levels_of_rooms(confusions, CLASSES, {"a": ["Area_1_office_1"], "b": ["Area_1_office_2", "Area_3_lobby_1"]})
    assert list(found) == ["all", "fold", "area", "room"]
    assert found["all"]["3 rooms"].oa == pytest.approx(1 - 90 / 3600)
    assert found["area"]["Area_1"].oa == pytest.approx(1 - 30 / 3000)
    assert found["fold"]["b"].confusion.sum() == 1200
    iou = found["all"]["3 rooms"].iou
    assert iou[FLOOR] == pytest.approx((1800 - 90) / 1800)
    assert iou[FLOOR] != pytest.approx(np.mean([scores.iou[FLOOR] for scores in found["room"].values()]))


def test_rooms_are_chosen_by_area_by_name_and_evenly_spread(folder):
    rooms = open_rooms(folder)
    assert [room.name for room in choose_rooms(rooms, test_area=3)] == ["Area_3_lobby_1"]
    assert [room.name for room in choose_rooms(rooms, names=["Area_1_*"])] == ["Area_1_office_1", "Area_1_office_2"]
    assert [room.name for room in choose_rooms(rooms, limit=2)] == ["Area_1_office_1", "Area_3_lobby_1"]
    with pytest.raises(InputError, match=r"no room of area 5, only rooms of the areas 1, 3"):
        choose_rooms(rooms, test_area=5)


def test_held_out_rooms_come_from_the_card(folder):
    rooms = open_rooms(folder)

    def held_out(**provenance):
        found, missing = held_out_rooms(Card(None, None, provenance=provenance), rooms)
        return [room.name for room in found], missing

    assert held_out(test_rooms=["Area_3_lobby_1", "Area_3_x"], test_area=3) == (["Area_3_lobby_1"], ["Area_3_x"])
    assert held_out(test_area=1) == (["Area_1_office_1", "Area_1_office_2"], [])
    assert held_out() == ([], [])


def test_rooms_that_were_trained_on_are_named():
    card = Card(None, None, provenance={"train_rooms": ["a", "b"], "val_rooms": ["c"]})
    told = overlap_warnings(card, ["b", "c", "d"])
    assert "1 (b) of the 3 scored rooms were TRAINED ON" in told[0]
    assert "1 (c) of the 3 scored rooms served to choose" in told[1]
    assert overlap_warnings(card, ["d"]) == []
    assert "does not say" in overlap_warnings(Card(None, None), ["d"])[0]


def test_a_run_is_scored_by_its_best_weights_or_its_last(tmp_path):
    with pytest.raises(InputError, match=r"neither best\.pt nor last\.pt"):
        run_checkpoint(tmp_path)
    (tmp_path / "last.pt").touch()
    assert run_checkpoint(tmp_path).name == "last.pt"
    (tmp_path / "best.pt").touch()
    assert run_checkpoint(tmp_path).name == "best.pt"


def test_kept_predictions_that_would_unpack_to_more_than_the_room_are_not_unpacked(tmp_path, monkeypatch):
    path, zeros = tmp_path / "kept.npz", np.zeros(10_000_000, np.uint8)
    save_predictions(path, "key", zeros, zeros)
    assert path.stat().st_size < 100_000
    assert load_predictions(path, "key", 13, 10_000_000)[0] is not None
    monkeypatch.setattr("numpy.lib.npyio.NpzFile.__getitem__", None)
    assert load_predictions(path, "key", 13, 1800) == (None, True)


def test_kept_predictions_of_classes_that_are_none_are_made_again(tmp_path):
    path, numbers = tmp_path / "kept.npz", np.array([0, 12, 255, 13], np.uint8)
    save_predictions(path, "key", numbers, numbers)
    assert load_predictions(path, "key", 13, 4) == (None, True)
    assert load_predictions(path, "key", 14, 4)[0] is not None
