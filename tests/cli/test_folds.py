"""`s3dis-seg train --folds`: every area is left out once, and all are scored together."""

import json

import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint

SMALL = "--blocks 3 --channels 8 --k 4 --num-points 128 --grid 0 --batch-size 4 --workers 0 --device cpu".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for area in (1, 2, 4):
        rng = np.random.default_rng(area)
        xyz, labels = rng.uniform(0, (1.2, 1.2, 2.5), (500, 3)), rng.integers(0, 13, 500)
        write_room(room_of(f"Area_{area}_office_1", xyz, rng.integers(0, 256, (500, 3)), labels), folder)
    return str(folder)


def train(rooms, out, *words):
    return main(["train", "--data", rooms, "--out", str(out), *SMALL, *map(str, words)])


def test_each_area_is_left_out_once_and_scored_by_the_run_that_never_saw_it(rooms, tmp_path, capsys):
    assert train(rooms, tmp_path, "--folds", "--epochs", 1) == 0
    printed = capsys.readouterr().out
    assert "3 folds, 0 of them trained" in printed and "GB of memory" in printed
    for area in (1, 2, 4):
        _, card = load_checkpoint(tmp_path / f"area{area}/last.pt")
        assert card.provenance["test_rooms"] == [f"Area_{area}_office_1"]
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert scores["all"]["3 rooms"]["points"] == 1500
    assert len(scores["fold"]) == 3
    assert train(rooms, tmp_path, "--folds", "--epochs", 1) == 0  # again: nothing is trained twice
    assert "3 of them trained" in capsys.readouterr().out


def test_folds_go_on_where_the_time_was_over(rooms, tmp_path, capsys):
    assert train(rooms, tmp_path, "--folds", "--epochs", 3, "--time-limit", 1e-6) == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert load_training_state(tmp_path / "area1/last.pt")["progress"]["epoch"] < 3
    assert not (tmp_path / "area2").exists() and not (tmp_path / "scores").exists()
    assert train(rooms, tmp_path, "--folds", "--epochs", 3) == 0
    assert load_training_state(tmp_path / "area4/last.pt")["progress"]["epoch"] == 3
    assert (tmp_path / "scores/scores.json").is_file()


def test_single_folds_are_scored_together_once_all_are_there(rooms, tmp_path, capsys):
    assert train(rooms, tmp_path, "--epochs", 1, "--folds", 2, 4) == 0
    assert "not trained yet: areas 1" in capsys.readouterr().out
    assert train(rooms, tmp_path, "--epochs", 1, "--folds", 1) == 0
    assert (tmp_path / "scores/scores.json").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--folds", "7"], "has no room of this area"),
        (["--folds", "--test-area", "1"], "--folds and --test-area exclude each other"),
        (["--folds", "--resume"], "--folds and --resume exclude each other"),
    ],
)
def test_folds_that_cannot_be_are_refused(rooms, tmp_path, capsys, words, sentence):
    assert train(rooms, tmp_path, *words) == 2
    assert sentence in capsys.readouterr().err


def test_rooms_of_one_area_make_no_folds(tmp_path, capsys):
    rng = np.random.default_rng(0)
    write_room(
        room_of("Area_1_office_1", rng.random((200, 3)), rng.integers(0, 9, (200, 3)), np.zeros(200)),
        tmp_path / "rooms",
    )
    assert train(str(tmp_path / "rooms"), tmp_path / "runs", "--folds") == 2
    assert "needs two or more" in capsys.readouterr().err


def test_a_fold_whose_run_is_damaged_is_one_sentence(rooms, tmp_path, capsys):
    assert train(rooms, tmp_path, "--epochs", 1, "--folds", 1) == 0
    path = tmp_path / "area1/last.pt"
    network, card = load_checkpoint(path)
    save_checkpoint(path, network, card, load_training_state(path) | {"progress": {}})
    capsys.readouterr()
    assert train(rooms, tmp_path, "--epochs", 1, "--folds") == 2
    assert "damaged: its progress is" in capsys.readouterr().err
