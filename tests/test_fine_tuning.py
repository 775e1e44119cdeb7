"""The measurement of fine-tuning: what it runs, that it goes on, its table and its picture."""

import json
import sys
from pathlib import Path

import pytest
import torch

from s3dis_seg.classes import S3DIS
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import RoomFile
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, save_checkpoint
from s3dis_seg.models.zoo import create_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import fine_tuning


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A measurement of two rooms of few points with a tiny network."""
    for name, value in (("DENSITY", 20.0), ("SYNTHETIC_ROOMS", 2), ("SYNTHETIC_VAL", 1)):
        monkeypatch.setattr(fine_tuning, name, value)
    monkeypatch.setattr(fine_tuning, "VALIDATIONS", {"fine-tuned": 2, "scratch": 2})
    monkeypatch.setitem(fine_tuning.RECIPES["fine-tune"], "statistics_blocks", 4)
    torch.manual_seed(0)
    model = create_model("resgcn7", blocks=2, channels=8, k=4)
    save_checkpoint(tmp_path / "before.pt", model, Card("resgcn7", model.config, S3DIS))
    start = ["--from", str(tmp_path / "before.pt"), "--num-points", "64", "--blocks", "8", "--sizes", "1"]
    return ["measure", *start, "--out", str(tmp_path / "out")]


def test_both_ways_are_measured_on_the_same_rooms_and_a_measurement_goes_on(words, tmp_path, capsys):
    assert fine_tuning.main(words) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["seconds_a_block"] > 0 and results["val_rooms"] == ["val_1"]
    lengths = {(run["kind"], run["rooms"]): len(run["points"]) for run in results["runs"]}
    assert lengths == {("fine-tuned", 1): 2, ("scratch", 1): 2}
    assert set(results["runs"][0]["points"][0]["iou"]) == set(RoomFile(tmp_path / "out/rooms/val_1.h5").class_names)
    steps = {}
    for kind in ("fine-tuned", "scratch"):
        provenance = load_checkpoint(tmp_path / f"out/runs/{kind}-1-seed0/last.pt")[1].provenance
        assert (provenance["train_rooms"], provenance["val_rooms"]) == (["train_01"], ["val_1"])
        assert bool(provenance["origin"]) == (kind == "fine-tuned")
        steps[kind] = provenance["steps"]
    assert steps == {"fine-tuned": 2, "scratch": 10}  # of 4 blocks

    capsys.readouterr()
    assert fine_tuning.main(words) == 0
    assert "epoch" not in capsys.readouterr().out
    assert json.loads((tmp_path / "out/results.json").read_text()) == results

    assert fine_tuning.main(["plot", str(tmp_path / "out"), "--save", str(tmp_path / "p.png")]) == 0
    assert capsys.readouterr().out.count("| ") > 6 and (tmp_path / "p.png").stat().st_size > 10_000


def test_synthetic_rooms_all_have_a_plant(tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuning, "DENSITY", 30.0)
    monkeypatch.setattr(fine_tuning, "SYNTHETIC_ROOMS", 2)
    rooms = [RoomFile(room.path) for room in open_rooms(fine_tuning.synthetic_rooms(tmp_path, seed=1))]
    assert [room.name for room in rooms] == ["train_01", "train_02", "val_1", "val_2"]
    for room in rooms:
        assert room.class_counts[room.class_names.index("plant")] > 0
        assert room.class_counts[room.class_names.index("furniture")] > 0


def test_the_table_says_what_each_way_reaches_and_when_fine_tuning_is_as_good():
    def points(*scores):
        return [{"blocks": 60.0 * number, "miou": miou} for number, miou in enumerate(scores, start=1)]

    runs = [("scratch", 3, points(0.1, 0.2, 0.35, 0.3)), ("fine-tuned", 3, points(0.3, 0.4, 0.5))]
    runs += [("scratch", 1, points(0.2)), ("fine-tuned", 1, points(0.1)), ("scratch", 10, points(0.2))]
    runs = [{"kind": kind, "rooms": rooms, "points": found} for kind, rooms, found in runs]
    _, _, one, three = fine_tuning.table({"seconds_a_block": 2.0, "runs": runs})
    assert one == "| 1 | 20 % | 2.00 | 10 % | 2.00 | - |"
    assert three == "| 3 | 35 % | 8.00 | 50 % | 6.00 | 4.00 |"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sizes", "1", "3"], "has 2 rooms to train on, fewer than 3"),
        (["--data", "rooms"], "--val-rooms: name the rooms"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_sentence(words, more, message, capsys):
    assert fine_tuning.main([*words, *more]) == 2
    assert message in capsys.readouterr().err


def test_results_that_are_missing_are_told(tmp_path, capsys):
    assert fine_tuning.main(["plot", str(tmp_path), "--save", str(tmp_path / "p.png")]) == 2
    assert "make it by measure --out" in capsys.readouterr().err
