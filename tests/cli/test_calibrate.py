"""The command `calibrate`."""

import numpy as np
import pytest
import torch

from s3dis_seg.cli.main import main
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, save_checkpoint
from s3dis_seg.models.zoo import create_model


@pytest.fixture
def place(tmp_path):
    """Two small rooms, and a run that validated on the first."""
    rng = np.random.default_rng(0)
    for number in (1, 2):
        xyz = rng.random((300, 3)) * (1.5, 1.0, 2.5)
        room = room_of(f"Area_1_office_{number}", xyz, rng.integers(0, 255, (300, 3)), rng.integers(0, 5, 300))
        write_room(room, tmp_path / "rooms")
    torch.manual_seed(0)
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    network.backbone[0].norm.running_var[1] = 0.0  # a silent channel
    provenance = {"train_rooms": ["Area_1_office_2"], "val_rooms": ["Area_1_office_1"]}
    card = Card("resgcn7", network.config, blocks=BlockSettings(num_points=64, grid=0.0), provenance=provenance)
    save_checkpoint(tmp_path / "run/best.pt", network, card)
    return tmp_path


def calibrate(*words):
    return main(["calibrate", "--device", "cpu", *map(str, words)])


def test_the_weights_get_the_temperature_of_the_rooms_the_run_validated_on(place, capsys):
    words = ["--out", place / "c.pt", "--picture", place / "c.png", "--half"]
    assert calibrate(place / "run", "--data", place / "rooms", *words) == 0
    printed = capsys.readouterr().out
    assert "1 silent channels" in printed and "expected calibration error" in printed
    network, card = load_checkpoint(place / "c.pt")
    before, _ = load_checkpoint(place / "run/best.pt")
    assert card.provenance["calibration"]["rooms"] == ["Area_1_office_1"]
    assert card.temperature > 1.0
    assert network.backbone[0].norm.running_var[1] > 0
    for name, value in before.named_parameters():
        torch.testing.assert_close(network.get_parameter(name), value, rtol=1e-3, atol=1e-6)
    assert (place / "c.pt").stat().st_size < (place / "run/best.pt").stat().st_size
    assert (place / "c.png").stat().st_size > 10_000


def test_no_temperature_makes_the_network_surer_than_it_was(place, capsys, monkeypatch):
    monkeypatch.setattr("s3dis_seg.evaluation.calibration.best_temperature", lambda *points: 0.4)
    assert calibrate(place / "run", "--data", place / "rooms", "--out", place / "c.pt") == 0
    assert load_checkpoint(place / "c.pt")[1].temperature == 1.0
    assert "0.400, the best for these rooms, would be surer" in capsys.readouterr().out


def test_without_out_it_only_measures(place, capsys):
    before = sorted(place.rglob("*"))
    assert calibrate(place / "run/best.pt", "--data", place / "rooms", "--rooms", "Area_1_office_2") == 0
    assert sorted(place.rglob("*")) == before
    assert "the best for these rooms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--half"], "--half: only together with --out"),
        (["--out", "run/best.pt"], "is the checkpoint itself"),
        (["--rooms", "Area_9_*"], "Area_9_"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(place, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(place)
    assert calibrate("run", "--data", "rooms", *words) == 2
    assert sentence in capsys.readouterr().err


def test_a_checkpoint_without_rooms_of_its_own_asks_for_some(place, capsys):
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    save_checkpoint(place / "other.pt", network, Card("resgcn7", network.config))
    assert calibrate(place / "other.pt", "--data", place / "rooms") == 2
    assert "name rooms by --rooms" in capsys.readouterr().err


@pytest.mark.parametrize("temperature", [0, -1, "hot", float("nan"), 1e9, True])
def test_a_temperature_out_of_range_is_a_damaged_card(tmp_path, temperature, capsys):
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    card = Card("resgcn7", network.config, provenance={"temperature": temperature})
    save_checkpoint(tmp_path / "odd.pt", network, card)
    assert calibrate(tmp_path / "odd.pt", "--data", tmp_path) == 2
    assert "temperature" in capsys.readouterr().err
