"""The command: a small grid on synthetic rooms, going on, further networks, and what it refuses."""

import json
import shlex
from dataclasses import fields

import pytest

from s3dis_seg.cli import depth, train
from s3dis_seg.cli.main import main, parse
from s3dis_seg.depth import plots
from s3dis_seg.models.config import DeepGCNConfig

TINY = shlex.split(
    "depth --steps 2 --blocks 2 --connections plain,res --channels 4 --k 3 --num-points 64 --batch-size 2 --out"
)


@pytest.fixture
def little_work(monkeypatch):
    """Two rooms of few points, and two of the pictures."""
    monkeypatch.setattr(plots, "MEASURED", {"gradient": plots.MEASURED["gradient"]})
    monkeypatch.setattr(depth, "ROOMS", 2)
    monkeypatch.setattr(depth, "ROOM_DENSITY", 60.0)


def test_a_grid_is_run_reported_gone_on_with_and_extended(little_work, tmp_path, capsys):
    assert main([*TINY, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 runs, 0 of them done before" in said and "expected time: about" in said
    files = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert files == ["plain-2-edge-k3-4channels-seed0.json", "res-2-edge-k3-4channels-seed0.json"]
    assert {"findings.md", "runs.csv", "layers.csv", "results.json", "gradient.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    before = (tmp_path / "runs" / files[0]).stat().st_mtime_ns
    (tmp_path / "runs" / files[1]).unlink()

    assert main([*TINY, str(tmp_path)]) == 0
    assert "2 runs, 1 of them done before" in capsys.readouterr().out
    assert (tmp_path / "runs" / files[0]).stat().st_mtime_ns == before

    assert main([*TINY, str(tmp_path), "--connections", "dense", "--data", str(tmp_path / "rooms")]) == 0
    assert len(json.loads((tmp_path / "results.json").read_text())["runs"]) == 3
    assert "3 runs of 3 networks" in (tmp_path / "findings.md").read_text()

    assert main([*TINY, str(tmp_path), "--steps", "3"]) == 2
    assert "made under other conditions (steps 2)" in capsys.readouterr().err


def test_the_lists_make_the_grid():
    words = "depth --convs edge,gcn --adjacency none,symmetric --norm none --fusion on,off --seeds 2"
    arguments = parse(shlex.split(words))
    systems = depth._systems(arguments)
    assert len(systems) == 2 * 2 * 3 * 2 * 2  # connections, blocks, convolutions, fusion, seeds
    assert {system.network.conv for system in systems} == {"edge", "gcn-none", "gcn-symmetric"}
    assert {system.network.fusion for system in systems} == {True, False}
    assert {system.network.norm for system in systems} == {"none"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--connections ladder", "'ladder' is none of res, dense, plain"),
        ("--convs gcn-none", "'gcn-none' is none of edge"),
        ("--adjacency left", "is none of none, random-walk, symmetric, diagonal"),
        ("--fusion maybe", "is none of on, off"),
        ("--blocks 7,x", "'x' is not an integer of at least 1"),
        ("--edge-drop 1", "edge_drop is 1; it must be below 1"),
        ("--k 600", "needs blocks of at least 600 points, but --num-points is 512"),
        ("--data nowhere", "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = _code(["depth", *words.split()])
    error = capsys.readouterr().err
    assert code == 2 and told in error and error.count("\n") == 1


def _code(words):
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code


def test_train_has_a_flag_for_every_setting_of_a_network():
    words = "train --out r --blocks 3 --channels 4 --k 3 --conv gat --block plain --graph fixed --no-dilation"
    words += " --epsilon 0 --dropout 0 --edge-drop 0.1 --norm layer --no-fusion"
    settings = train._overrides(vars(parse(shlex.split(words))))
    known = {setting.name for setting in fields(DeepGCNConfig)} - {"in_channels", "num_classes"}
    assert set(settings) == known == set(train.OVERRIDES)
    network = DeepGCNConfig(**settings)
    assert (network.norm, network.fusion, network.edge_drop, network.conv) == ("layer", False, 0.1, "gat")
