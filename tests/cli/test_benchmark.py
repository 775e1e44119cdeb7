"""The benchmark: its two sides compute the same, and its tables say what was measured."""

import json

import numpy as np
import pytest
import torch

from s3dis_seg.benchmarks import machine, page, proof
from s3dis_seg.benchmarks import speed as library
from s3dis_seg.benchmarks.speed import BenchmarkSettings, Official, Stopwatch, operations, surface_blocks
from s3dis_seg.cli.main import main
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import FAST
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.models.zoo import create_model
from s3dis_seg.synthetic.rooms import synthetic_room
from s3dis_seg.training import RECIPES, TrainConfig


@pytest.mark.parametrize("block", ["res", "plain", "dense"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_both_sides_compute_the_same_network(block, training):
    torch.manual_seed(0)
    network = create_model("resgcn7", block=block, blocks=3, channels=8, k=4, dropout=0.0).double()
    official = Official(network.float()).double()
    network = network.double().train(training)
    official.train(training)
    blocks = surface_blocks(2, 60).double()
    ranks = network.draw_ranks()
    expected = network(blocks, ranks=ranks)
    found = official(blocks, ranks, Stopwatch("cpu"))
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_blocks_lie_on_surfaces_and_come_from_the_seed():
    blocks = surface_blocks(2, 500)
    assert blocks.shape == (2, 500, 9)
    assert blocks.isfinite().all() and blocks[..., 3:].min() >= 0 and blocks[..., 3:].max() <= 1.01
    assert ((blocks[..., 2] - 0.75).abs() < 0.01).float().mean() > 0.1
    assert torch.equal(blocks, surface_blocks(2, 500)) and not torch.equal(blocks, surface_blocks(2, 500, seed=1))


def test_the_operations_of_resgcn28_are_those_counted_by_hand():
    counted = operations(model_config("resgcn28"), 1, 4096)
    search = 2 * 4096**2 * (3 + 27 * 64)
    rest = 2 * 4096 * (1792 * 1024 + 1792 * 512 + 512 * 256 + 256 * 13)
    assert counted["k-NN"][0] == search and counted["fusion and prediction"][0] == rest
    assert sum(products for products, _ in counted.values()) == pytest.approx(84e9, rel=0.03)


class Here:
    """A pool of processes that is this process."""

    def __init__(self, *_, **__): ...
    def __enter__(self):
        return self

    def __exit__(self, *_): ...
    def submit(self, function, *arguments):
        self.found = function(*arguments)
        return self

    def result(self):
        return self.found


def in_this_process(monkeypatch):
    """Processes cost seconds each; here the figures do not matter."""

    monkeypatch.setattr(library, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(library, "rates", lambda device: (1e11, 1e10))


def test_the_command_prints_both_sides_of_every_task_and_writes_the_figures(monkeypatch, tmp_path, capsys):
    in_this_process(monkeypatch)
    path = tmp_path / "figures.json"
    words = ["benchmark", "--quick", "--device", "cpu", "--num-points", "64", "--repeats", "1", "--json", str(path)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for task in library.TASKS:
        assert any(line.startswith(task) and "x" in line for line in printed.splitlines())
    for part in ("k-NN", "edge convolutions", "fusion and prediction", "rest of forward", "backward", "floor"):
        assert part in printed
    figures = json.loads(path.read_text())
    assert set(figures["tasks"]) == set(library.TASKS)
    assert figures["tasks"]["k-NN"]["same_neighbors"] > 0.99
    losses = [figures["tasks"]["training step"][side]["first_loss"] for side in library.SIDES]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_one_page_tells_all_figures_in_tables_and_first_how_long_it_takes(monkeypatch, tmp_path, capsys):
    in_this_process(monkeypatch)
    monkeypatch.setattr(page, "start", lambda device: 1.25)
    path, words = tmp_path / "figures.json", ["--device", "cpu", "--repeats", "1"]
    assert main(["benchmark", "--all", "--quick", *words, "--json", str(path)]) == 0
    printed, told = capsys.readouterr()
    assert told.startswith("... about ") and "measured once" in told.splitlines()[0]
    for title in page.NUMBERS:
        assert f"| {title} | official | engine | times faster |" in printed
    for row in ("processor", "versions", "kernels", "rate of products", "evaluation", "training step",
                "`segment`, from the command to the first window", "training, bookkeeping"):  # fmt: skip
        assert f"| {row} | " in printed
    assert "Quick: " in printed and "| 1.2 s |" in printed
    figures = json.loads(path.read_text())
    assert set(figures) >= {*page.NUMBERS, "versions", "variants", "training", "first_window_seconds"}
    assert 0 < figures["training"]["reading_share"] + figures["training"]["bookkeeping_share"] < 1


def test_what_would_take_too_long_is_measured_once(monkeypatch):
    settings = BenchmarkSettings(num_points=64, repeats=3)
    monkeypatch.setattr(page, "expected_seconds", lambda settings: 400 * (settings.repeats + 1))
    assert page.within_bounds(settings)[1] == 800 and page.within_bounds(settings)[0].repeats == 1
    monkeypatch.setattr(page, "expected_seconds", lambda settings: 100 * (settings.repeats + 1))
    assert page.within_bounds(settings) == (settings, 400)


def test_a_page_of_a_side_without_memory_has_dashes():
    one = {"settings": {"batch_size": 1}, "tasks": {"evaluation": {"official": {"out_of_memory": True},
           "engine": {"seconds": 2.0, "memory_above_idle": None}}}}  # fmt: skip
    assert list(page._tasks("one block", one))[-1] == "| evaluation | - | 2 s | - | - | - | - |"


def test_a_figure_comes_from_a_process_of_its_own(tmp_path):
    settings = BenchmarkSettings(num_points=64, repeats=1, quick=True)
    library._prepare(settings, tmp_path / "case.pt")
    with library.ProcessPoolExecutor(1, mp_context=library.multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(library._measure, settings, "official", "k-NN", tmp_path / "case.pt").result()
    assert found["seconds"] > 0 and len(found["parts"]) == 4
    assert found["memory_above_idle"] is None or found["memory_above_idle"] >= 0


def test_a_side_without_enough_memory_is_told(monkeypatch, capsys):
    in_this_process(monkeypatch)
    measure = library._measure

    def out_of_memory(settings, side, *rest):
        return {"out_of_memory": True} if side == "official" else measure(settings, side, *rest)

    monkeypatch.setattr(library, "_measure", out_of_memory)
    assert main(["benchmark", "--quick", "--device", "cpu", "--num-points", "64", "--repeats", "1"]) == 0
    assert capsys.readouterr().out.count("no memory") == len(library.TASKS)


def pretend_variants(monkeypatch, slow):
    """Every path takes 1 ms, `slow` ms by the table's entry for products; nothing is measured."""

    def measure(entry, num_points, repeats):
        return {"product": 1e-3 * (slow if entry == machine.processor() else 1), "k-NN": 1e-3}

    monkeypatch.setattr(machine, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(machine, "_measure", measure)


VERDICTS = [(1.2, "The table is right here"), (1.5, "more than 1.3 times the best: product.")]


@pytest.mark.parametrize("slow, verdict", VERDICTS)
def test_the_choice_for_this_processor_is_shown_and_judged(monkeypatch, tmp_path, capsys, slow, verdict):
    pytest.importorskip("numba")
    pretend_variants(monkeypatch, slow)
    assert main(["benchmark", "--machine", "--json", str(tmp_path / "machine.json")]) == 0
    printed = capsys.readouterr().out
    assert verdict in printed and machine.processor().instructions in printed.splitlines()[0]
    report = json.loads((tmp_path / "machine.json").read_text())
    assert report["paths"]["product"]["times_the_best"] == pytest.approx(slow)


def test_what_cannot_be_forced_is_told_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("S3DIS_SEG_INSTRUCTIONS", "avx9")
    assert main(["benchmark", "--machine"]) == 2
    assert "'avx9'; set it to avx2 or sse2" in capsys.readouterr().err


def test_the_check_of_the_machine_takes_no_other_benchmark_beside_it(capsys):
    assert main(["benchmark", "--machine", "--quick", "--model", "resgcn28"]) == 2
    assert "not together with --machine" in capsys.readouterr().err


def test_the_engine_can_be_measured_alone(monkeypatch, capsys):
    in_this_process(monkeypatch)
    words = ["--quick", "--engine-only", "--device", "cpu", "--num-points", "64", "--repeats", "1"]
    assert main(["benchmark", *words]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.startswith(library.TASKS) and "parts" not in line]
    assert len(rows) == len(library.TASKS) and all("-" in row and not row[-1].endswith("%") for row in rows)
    assert "floor" in printed and "the same" not in printed


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with one prepared room."""
    folder = tmp_path_factory.mktemp("rooms")
    rng = np.random.default_rng(0)
    xyz, labels = rng.uniform(0, 3, (6000, 3)), rng.integers(0, 13, 6000)
    write_room(room_of("Area_1_office_1", xyz, rng.integers(0, 256, (6000, 3)), labels), folder)
    return folder


def test_a_proof_compares_trainings_with_both_forms(room, tmp_path, capsys):
    path = tmp_path / "proof.json"
    words = ["--model", "resgcn7", "--num-points", "128", "--steps", "6", "--device", "cpu", "--json", str(path)]
    assert main(["benchmark", "--proof", str(room), *words]) == 0
    printed = capsys.readouterr().out
    report = json.loads(path.read_text())
    exact = report["at_the_same_weights"]
    assert max(exact["loss"]) < 1e-9 and max(exact["gradient"]) < 1e-9
    assert list(report["losses"]) == ["engine", "definition", "rounded otherwise", "another seed"]
    assert all(len(losses) == 6 and name in printed for name, losses in report["losses"].items())
    # The first losses are those of the same weights, but for another seed.
    first = {name: losses[0] for name, losses in report["losses"].items()}
    definition = first.pop("definition")
    near = {name: abs(loss / definition - 1) for name, loss in first.items()}
    assert near["engine"] < 0.05 and near["rounded otherwise"] < 0.05 < near["another seed"]


def test_trainings_with_both_forms_differ_less_than_two_seeds(room, monkeypatch):
    # The graph is fixed in xyz and the learning rate low, so that rounding is not amplified: in a dynamic graph one
    # exchanged neighbour changes the features in which the next block searches, and after six steps of the published
    # rate the engine may be as far from the definition as another seed, depending on the processor. Observed for four
    # seeds: first loss within 7e-6 and all within 6e-3 of the definition; other seeds from 9e-2 to 2e-1.
    monkeypatch.setattr(proof, "at_the_same_weights", lambda *_: {})
    settings = RECIPES["published"] | {"lr": 1e-4}
    config = TrainConfig(
        str(room), ("Area_1_office_1",), model="resgcn7", num_points=128, batch_size=2, overrides={"graph": "fixed"},
        **settings,
    )  # fmt: skip
    report = proof.prove(config, 6, "cpu")
    first = {name: losses[0] for name, losses in report["losses"].items()}
    assert abs(first["engine"] / first["definition"] - 1) < 1e-4
    assert abs(first["another seed"] / first["definition"] - 1) > 1e-3
    assert report["steps_differ"]["engine"] < report["steps_differ"]["another seed"] / 3


def test_a_proof_finds_an_engine_that_computes_something_else(room, monkeypatch):
    wrong = FAST._replace(
        edge_conv=lambda x, neighbors, *rest, **options: FAST.edge_conv(x, neighbors[..., :-1], *rest, **options)
    )
    monkeypatch.setattr(proof, "FAST", wrong)
    config = TrainConfig(str(room), ("Area_1_office_1",), model="resgcn7", num_points=128, batch_size=2)
    assert min(proof.at_the_same_weights(config)["gradient"]) > 1e-3


def test_a_proof_refuses_the_flags_of_the_measurements(room, capsys):
    assert main(["benchmark", "--proof", str(room), "--quick", "--repeats", "2", "--engine-only"]) == 2
    assert "--quick, --engine-only, --repeats: not together with --proof" in capsys.readouterr().err


def test_a_checkpoint_is_stressed_on_altered_rooms(room, tmp_path, capsys):
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    save_checkpoint(tmp_path / "c.pt", network, Card("resgcn7", network.config, blocks=BlockSettings(num_points=256)))
    path = tmp_path / "stress.json"
    words = ["--stress", str(room), "--checkpoint", str(tmp_path / "c.pt"), "--device", "cpu", "--json", str(path)]
    assert main(["benchmark", *words]) == 0
    printed = capsys.readouterr().out
    assert "wrong with confidence >= 0.9" in printed and "as it is" in printed
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 8 and all(0 <= row["confidently_wrong"] <= 1 for row in rows.values())


def test_corrections_are_simulated_learned_and_scored(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    blocks = BlockSettings(num_points=128, block_size=2.0, grid=0.1)
    save_checkpoint(tmp_path / "c.pt", network, Card("resgcn7", network.config, blocks=blocks))
    for seed, name in enumerate(("Area_1_office_1", "Area_1_office_2")):
        write_room(synthetic_room(seed, 30.0, name), tmp_path / "rooms")
    path = tmp_path / "corrections.json"
    words = ["--corrections", str(tmp_path / "rooms"), "--checkpoint", str(tmp_path / "c.pt"), "--device", "cpu"]
    assert main(["benchmark", *words, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "2 rooms, 1 corrected at a time" in printed and "other rooms" in printed
    none, few, many = json.loads(path.read_text())["rows"]
    assert (none["corrections"], few["corrections"], many["corrections"]) == (0, 5, 20)
    assert none["learned"] is None and none["right"] is None
    # The network knows nothing, so nearly every region is wrong, and a class for each is better than before.
    assert none["by_hand"]["miou"] < few["by_hand"]["miou"] <= many["by_hand"]["miou"]
    assert 0 < few["right"] <= 1 and few["learned"]["points"] == few["others"]["points"]
    assert many["others"]["points"] == many["by_hand"]["points"], "each room is once another room"


@pytest.mark.parametrize(
    "words, said",
    [
        (["--all", "--k", "4", "--engine-only"], "--k, --engine-only: not together with --all"),
        (["--all", "--proof", "ROOM"], "--proof: not together with --all"),
        (["--stress", "ROOM", "--quick"], "--quick: not together with --stress"),
        (["--stress", "ROOM", "--k", "4"], "--k: not together with --stress"),
        (["--quality", "ROOM", "--num-points", "64"], "--num-points: not together with --quality"),
        (["--stress", "ROOM", "--quality", "ROOM"], "--quality: not together with --stress"),
        (["--stress", "ROOM", "--proof", "ROOM"], "--stress: not together with --proof"),
        (["--steps", "9"], "--steps: only with --proof"),
        (["--checkpoint", "c.pt"], "--checkpoint: only with --stress"),
        (["--corrections", "ROOM", "--quality", "ROOM"], "--quality: not together with --corrections"),
        (["--corrections", "ROOM", "--k", "4"], "--k: not together with --corrections"),
        (["--at-once", "2"], "--at-once: only with --corrections"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(room, words, said, capsys):
    assert main(["benchmark", *(str(room) if word == "ROOM" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_proof_of_too_few_steps_or_points_is_refused(room, capsys):
    assert main(["benchmark", "--proof", str(room), "--steps", "4"]) == 2
    assert "at least 5 steps; found --steps 4" in capsys.readouterr().err
    assert main(["benchmark", "--proof", str(room), "--num-points", "400", "--device", "cpu"]) == 2
    assert "at least 432 points, but --num-points is 400" in capsys.readouterr().err


def test_what_cannot_be_measured_is_refused(capsys):
    assert main(["benchmark", "--model", "resmrgcn28"]) == 2
    assert "edge convolutions, which resmrgcn28 has not" in capsys.readouterr().err
    assert main(["benchmark", "--num-points", "400", "--device", "cpu"]) == 2
    assert "at least 432 points a block; found --num-points 400" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["benchmark", "--device", "cuda"]) == 2
        assert "no CUDA device" in capsys.readouterr().err


def test_the_benchmarked_network_is_the_named_one():
    assert BenchmarkSettings().config.blocks == 28
    assert sum(p.numel() for p in DeepGCN(BenchmarkSettings().config).parameters()) == 3_644_301
