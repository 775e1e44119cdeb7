import csv
import json

import h5py
import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.models.zoo import create_model
from tests.cli.killed import killed_while_it_writes
from tests.models.official_layout import to_official

NAMES = ("Area_1_office_1", "Area_1_office_2", "Area_2_office_1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three small rooms, and two runs: one keeps Area 1 for testing, the other Area 2."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for name in NAMES:
        xyz = rng.random((500, 3)) * (1.5, 1.0, 2.5)
        write_room(room_of(name, xyz, rng.integers(0, 255, (500, 3)), rng.integers(0, 5, 500)), place / "rooms")
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    blocks = BlockSettings(num_points=128, grid=0.0)
    for area, train, test in ((1, NAMES[2:], NAMES[:2]), (2, NAMES[:2], NAMES[2:])):
        provenance = {"train_rooms": list(train), "val_rooms": [], "test_rooms": list(test), "test_area": area}
        card = Card("resgcn7", network.config, blocks=blocks, provenance=provenance)
        save_checkpoint(place / f"runs/area{area}/best.pt", network, card)
    return place


def evaluate(*words):
    return main(["evaluate", "--device", "cpu", *map(str, words)])


def test_a_run_is_scored_on_the_rooms_it_kept(place, tmp_path, capsys):
    assert evaluate("--data", place / "rooms", "--checkpoint", place / "runs/area1/best.pt", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "all points of 2 rooms" in printed
    assert "TRAINED ON" not in printed
    content = json.loads((tmp_path / "scores.json").read_text())
    assert list(content["room"]) == list(NAMES[:2])
    assert content["all"]["2 rooms"]["points"] == 1000
    assert len(content["settings"]["checkpoints"][0]["sha256"]) == 64
    with open(tmp_path / "scores.csv", newline="") as file:
        assert [row["level"] for row in csv.DictReader(file)] == ["all", "area", "room", "room"]
    assert (tmp_path / "confusion.png").stat().st_size > 10_000


def test_folds_are_pooled_and_an_interrupted_evaluation_goes_on(place, tmp_path, capsys):
    words = ["--data", place / "rooms", "--folds", place / "runs/area1", place / "runs/area2", "--out", tmp_path]
    assert evaluate(*words) == 0
    first = json.loads((tmp_path / "scores.json").read_text())
    assert first["all"]["3 rooms"]["points"] == 1500
    pooled = sum(np.array(fold["confusion"]) for fold in first["fold"].values())
    assert (pooled == first["all"]["3 rooms"]["confusion"]).all()
    (tmp_path / "predictions" / "Area_1_office_2.npz").unlink()
    capsys.readouterr()
    assert evaluate(*words) == 0
    assert "2 rooms had been predicted before" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text()) == first


def test_a_killed_evaluation_goes_on(place, tmp_path, capsys):
    words = ["evaluate", "--data", str(place / "rooms"), "--checkpoint", str(place / "runs/area1/best.pt")]
    words += ["--rooms", "*", "--device", "cpu"]
    killed_while_it_writes([*words, "--out", str(tmp_path / "killed")], at_file=2)
    assert len(list((tmp_path / "killed/predictions").glob("*.npz"))) == 2  # one of them unfinished
    assert main([*words, "--out", str(tmp_path / "killed")]) == 0
    assert "1 rooms had been predicted before" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    killed, whole = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("killed", "whole"))
    assert killed["all"] == whole["all"] and killed["room"] == whole["room"]


def test_a_room_that_was_trained_on_is_said_before_and_after(place, capsys):
    words = ["--checkpoint", place / "runs/area1/best.pt", "--test-area", 2]
    assert evaluate("--data", place / "rooms", *words) == 0
    printed = capsys.readouterr().out
    assert printed.count("TRAINED ON") == 2
    assert printed.index("TRAINED ON") < printed.index("scoring 1 rooms")


def test_only_some_rooms_and_the_published_protocol(place, tmp_path):
    words = ["--checkpoint", place / "runs/area1/best.pt", "--limit-rooms", 1, "--protocol", "published"]
    assert evaluate("--data", place / "rooms", *words, "--out", tmp_path) == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    assert list(content["room"]) == [NAMES[0]]
    assert content["all"]["1 room"]["points"] == 2 * 4096
    assert content["settings"]["stride"] == 1.0
    assert "--limit-rooms: only 1 of 2 rooms" in content["warnings"][0]


@pytest.mark.parametrize(
    "words, said",
    [
        (
            ["--data", "ROOMS", "--folds", "runs/a", "--checkpoint", "c.pt"],
            "--folds and --checkpoint exclude each other",
        ),
        (["--test-area", "5", "--rooms", "x"], "--test-area and --rooms exclude each other"),
        (["--data", "ROOMS", "--k", "8"], "--k: only together with --model"),
        (["--protocol", "published", "--passes", "2"], "--passes: only with --protocol all-points"),
        (["--protocol", "published", "--stride", "0.25"], "--stride 0.25: published scores have"),
        (["--data", "ROOMS", "--checkpoint", "C", "--stride", "0"], "stride of 0.0"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["scan.ply"], "s3dis-seg score scan.ply"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_the_words_of_the_flags(place, words, said, capsys):
    places = {"ROOMS": str(place / "rooms"), "C": str(place / "runs/area1/best.pt")}
    assert main(["evaluate", *(places.get(word, word) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_folds_need_rooms_they_kept_and_each_room_once(place, capsys):
    words = ["--data", place / "rooms", "--folds", place / "runs/area1"]
    assert evaluate(*words, place / "runs/area1/best.pt") == 2
    assert "would count twice" in capsys.readouterr().err
    write_room(room_of("Area_6_x", np.random.default_rng(0).random((200, 3)), np.zeros((200, 3)), np.zeros(200)), place)
    assert evaluate("--data", place, "--folds", place / "runs/area1") == 2
    assert "kept no room" in capsys.readouterr().err


def test_a_seed_for_blocks_that_were_drawn_before_is_refused(place, tmp_path, capsys):
    folder = tmp_path / "indoor3d_sem_seg_hdf5_data"
    folder.mkdir()
    with h5py.File(folder / "ply_data_all_0.h5", "w") as file:
        file["data"] = np.zeros((1, 4096, 9), np.float32)
        file["label"] = np.zeros((1, 4096), np.uint8)
    (folder / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/ply_data_all_0.h5\n")
    (folder / "room_filelist.txt").write_text("Area_1_office_1\n")
    words = ["--data", folder, "--checkpoint", place / "runs/area1/best.pt", "--protocol", "published"]
    assert evaluate(*words, "--seed", 1) == 2
    assert "leave --seed away" in capsys.readouterr().err
    assert evaluate(*words) == 0


def test_an_output_that_cannot_be_written_is_told_before_a_room_is_predicted(place, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = ["--data", place / "rooms", "--checkpoint", place / "runs/area1/best.pt", "--out", tmp_path / "file"]
    assert evaluate(*words) == 2
    captured = capsys.readouterr()
    assert "cannot write to" in captured.err and "scoring" not in captured.out


def test_an_out_folder_is_checked_even_where_predictions_go_elsewhere(place, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = ["--data", place / "rooms", "--checkpoint", place / "runs/area1/best.pt", "--out", tmp_path / "file"]
    assert evaluate(*words, "--predictions", tmp_path / "kept") == 2
    captured = capsys.readouterr()
    assert "cannot write to" in captured.err and "scoring" not in captured.out


def test_the_same_official_file_as_another_network_is_scored_anew(place, tmp_path, capsys):
    import torch

    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    torch.save(to_official(network.state_dict()), tmp_path / "official.pth")
    words = ["--data", place / "rooms", "--checkpoint", tmp_path / "official.pth", "--rooms", NAMES[0]]
    words += ["--blocks", 2, "--channels", 4, "--k", 2, "--out", tmp_path / "scores"]
    for model in ("resgcn7", "plaingcn28"):
        assert evaluate(*words, "--model", model) == 0
        assert "had been predicted before" not in capsys.readouterr().out
    assert evaluate(*words, "--model", "plaingcn28") == 0
    assert "had been predicted before" in capsys.readouterr().out
