"""`s3dis-seg train`: the flags, what they are turned into, and that Ctrl-C loses nothing."""

import argparse
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dis_seg.cli import train as command
from s3dis_seg.cli.main import main
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from s3dis_seg.models.zoo import create_model
from s3dis_seg.training import RECIPES, RunOutcome, Watcher, stored_config
from tests.models.official_layout import to_official

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--blocks 3 --channels 8 --k 4 --num-points 128 --batch-size 4 --workers 0 --device cpu".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for area in range(1, 4):
        for number in range(1, 4):
            rng = np.random.default_rng(10 * area + number)
            xyz, labels = rng.uniform(0, (1.4, 1.4, 2.5), (900, 3)), rng.integers(0, 13, 900)
            rgb = rng.integers(0, 256, (900, 3))
            write_room(room_of(f"Area_{area}_office_{number}", xyz, rgb, labels), folder)
    return str(folder)


def parsed(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return {name: value for name, value in vars(parser.parse_args(words)).items() if value is not None}


def config_of(rooms, *words):
    return command.config_of(parsed("--data", rooms, "--out", "run", *words))


def test_without_flags_a_run_is_the_published_recipe_with_validation(rooms):
    config = config_of(rooms, "--test-area", "3")
    assert config.test_rooms == tuple(f"Area_3_office_{number}" for number in (1, 2, 3))
    assert config.val_rooms == ("Area_1_office_1",)  # every 8th of the six others
    assert len(config.train_rooms) == 5
    assert (config.model, config.epochs, config.batch_size, config.lr, config.schedule) == (
        "resgcn28", 100, 16, 1e-3, "halving",
    )  # fmt: skip
    assert (config.grid, config.frame_size, config.test_area, config.overrides) == (0.02, 8.0, 3, {})


def test_the_published_recipe_does_not_validate(rooms):
    config = config_of(rooms, "--recipe", "published", "--test-area", "3")
    assert config.val_rooms == ()
    assert (config.grid, config.frame_size, config.published_blocks) == (0.0, math.inf, True)
    assert config_of(rooms, "--recipe", "published", "--val-rooms", "Area_2_*").val_rooms


def a_checkpoint(folder, **blocks):
    network = create_model("resgcn7", channels=8, k=4)
    card = Card("resgcn7", network.config, blocks=BlockSettings(**blocks))
    save_checkpoint(folder / "before.pt", network, card)
    return str(folder / "before.pt")


def test_a_checkpoint_to_begin_with_brings_its_network_and_its_blocks(rooms, tmp_path):
    before = a_checkpoint(tmp_path, num_points=256, grid=0.03, block_size=1.5)
    config = config_of(rooms, "--from", before, "--recipe", "modern", "--freeze", "20")
    assert (config.start, config.model, config.overrides) == (before, "resgcn7", {"channels": 8, "k": 4})
    assert (config.num_points, config.grid, config.block_size, config.freeze) == (256, 0.03, 1.5, 20)
    assert (config.schedule, config.statistics_blocks) == ("cosine", 96)
    config = config_of(rooms, "--from", before, "--num-points", "512", "--epsilon", "0.5")
    assert (config.num_points, config.overrides["epsilon"]) == (512, 0.5)


def test_a_checkpoint_to_begin_with_brings_the_recipe_for_a_few_scans(rooms, tmp_path):
    before, tuned = a_checkpoint(tmp_path, num_points=2048, grid=0.03), RECIPES["fine-tune"]
    config = config_of(rooms, "--from", before)
    assert config.recipe == "fine-tune" and config.grid == 0.03
    assert {name: getattr(config, name) for name in tuned} == tuned
    config = config_of(rooms, "--from", before, "--epochs", "3", "--epoch-blocks", "0", "--freeze", "0")
    assert (config.epochs, config.epoch_blocks, config.freeze, config.lr) == (3, 0, 0, tuned["lr"])
    assert config_of(rooms, "--from", before, "--recipe", "standard").epochs == 100
    with pytest.raises(InputError, match="fine-tune begins with a checkpoint; name one by --from"):
        config_of(rooms, "--recipe", "fine-tune")


def test_the_recipe_for_corrections_trains_on_all_rooms_and_leaves_the_backbone_as_it_is(rooms, tmp_path):
    before = a_checkpoint(tmp_path, num_points=2048, grid=0.03)
    config = config_of(rooms, "--from", before, "--recipe", "corrections")
    assert config.val_rooms == () and len(config.train_rooms) > 1
    assert (config.num_points, config.grid, config.epochs) == (2048, 0.03, 1) and config.freeze > 1000
    with pytest.raises(InputError, match="corrections begins with a checkpoint; name one by --from"):
        config_of(rooms, "--recipe", "corrections")


def test_a_file_in_the_official_layout_is_begun_with_once_its_network_is_named(rooms, tmp_path):
    network = create_model("resgcn7", channels=8, k=4)
    torch.save(to_official(network.state_dict()), tmp_path / "official.pth")
    words = ["--from", str(tmp_path / "official.pth")]
    with pytest.raises(InputError, match="has the official layout, which does not tell its network: add --model"):
        config_of(rooms, *words)
    config = config_of(rooms, *words, "--model", "resgcn7", "--channels", "8", "--k", "4")
    assert (config.model, config.overrides) == ("resgcn7", {"channels": 8, "k": 4})
    assert (config.normalization, config.grid, config.frame_size) == ("official", 0.0, math.inf)


def test_another_network_beside_a_checkpoint_to_begin_with_is_refused(rooms, tmp_path, capsys):
    before = a_checkpoint(tmp_path, num_points=128)
    words = ["train", "--data", rooms, "--out", str(tmp_path / "run"), "--from", before, "--device", "cpu"]
    for flags in (["--model", "resgcn14", "--channels", "8", "--k", "4"], ["--channels", "16"], ["--conv", "mr"]):
        assert main([*words, *flags]) == 2
        assert (
            "holds another network than the flags describe; leave --model and its flags away" in capsys.readouterr().err
        )
        assert not (tmp_path / "run").exists()


def test_layers_are_frozen_only_with_a_checkpoint_to_begin_with(rooms):
    with pytest.raises(InputError, match="name one by --from, or leave it away"):
        config_of(rooms, "--freeze", "20")


def test_statistics_are_kept_or_measured_but_not_both(rooms, tmp_path):
    before = a_checkpoint(tmp_path)
    config = config_of(rooms, "--from", before)
    assert (config.keep_statistics, config.statistics_blocks) == (False, 24)
    config = config_of(rooms, "--from", before, "--keep-statistics")
    assert (config.keep_statistics, config.statistics_blocks) == (True, 0)
    with pytest.raises(InputError, match="kept or measured; leave --statistics-blocks away"):
        config_of(rooms, "--from", before, "--keep-statistics", "--statistics-blocks", "8")
    with pytest.raises(InputError, match="--keep-statistics keeps those of a checkpoint; name one by --from"):
        config_of(rooms, "--keep-statistics")


@pytest.mark.parametrize(
    ("names", "words", "told"),
    [
        (["a"], [], ["there is one room to train on and none to validate"]),
        (["a", "b"], [], ["for validation: a (--val-rooms", "only b is left to train on"]),
        (["a_train", "a_val"], [], ["for validation: a_val"]),
        (["a", "b", "c"], [], ["for validation: a"]),
        (["a", "b", "c"], ["--val-rooms", "b"], []),
        (["Area_1_a", "Area_1_b", "Area_2_c"], [], []),
    ],
)
def test_what_validates_is_told_where_nobody_has_chosen_it(tmp_path, names, words, told):
    for name in names:
        write_room(room_of(name, np.eye(3), np.zeros((3, 3)), np.zeros(3)), tmp_path)
    given = parsed("--data", str(tmp_path), "--out", "run", *words)
    said = list(command._about_validation(command.config_of(given), given))
    assert len(said) == len(told)
    for sentence, beginning in zip(said, told):
        assert sentence.startswith(beginning)


def test_flags_win_over_the_recipe(rooms):
    config = config_of(rooms, "--recipe", "modern", "--no-augment", "--k", "8", "--no-dilation", "--conv", "mr")
    assert (config.schedule, config.augment) == ("cosine", False)
    assert config.overrides == {"k": 8, "dilation": False, "conv": "mr"}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--recipe", "published", "--grid", "0.02"], "leave --grid away"),
        (["--recipe", "published", "--augment"], "leave --augment away"),
        (["--test-area", "3", "--test-rooms", "Area_1_office_1"], "either the area or the rooms"),
        (["--val-rooms", "Area_1_office_9"], "no room Area_1_office_9"),
    ],
)
def test_impossible_combinations_are_refused(rooms, words, sentence):
    with pytest.raises(InputError, match=sentence):
        config_of(rooms, *words)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--epochs", "many"], "'many' is not an integer of at least 1"),
        (["--batch-size", "0"], "'0' is not an integer of at least 1"),
        (["--lr", "0"], "'0' is not a number above 0"),
        (["--time-limit", "nan"], "'nan' is not a number above 0"),
        (["--amp", "tf32"], "invalid choice"),
    ],
)
def test_impossible_values_are_refused_in_words(words, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--out", "run", *words])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_without_rooms_it_says_what_is_missing(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "no prepared rooms" in capsys.readouterr().err


def test_train_and_resume_from_the_command_line(rooms, tmp_path, capsys):
    out = str(tmp_path / "run")
    words = ["train", "--data", rooms, "--out", out, "--test-area", "3", *SMALL, "--epochs", "2"]
    assert main([*words, "--time-limit", "0.00001"]) == 0
    text = capsys.readouterr()
    assert "5 rooms train, 1 validate, 3 are left out" in text.out
    assert "0 epochs and 1 of" in text.out
    assert f"go on with: s3dis-seg train --resume --out {out}" in text.out

    assert main(["train", "--resume", "--out", out, "--lr", "0.1"]) == 2
    assert "--lr 0.1 (was 0.001)" in capsys.readouterr().err
    assert main([*words, "--resume", "--test-area", "2"]) == 2
    assert "--test-area 2 (was 3)" in capsys.readouterr().err

    # The same command with --resume, or nothing but the folder.
    assert main([*words, "--resume"]) == 0
    text = capsys.readouterr().out
    assert "epoch 2: loss" in text
    assert "best.pt, validation mIoU" in text
    assert main(["train", "--resume", "--out", out, "--epochs", "3"]) == 0
    assert "epoch 3: loss" in capsys.readouterr().out
    assert stored_config(out).epochs == 3
    assert load_checkpoint(tmp_path / "run" / "last.pt")[1].provenance["test_area"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_wait(number, capfd):
    before = signal.default_int_handler
    earlier = signal.signal(number, before)  # the tests may run in the background, where signals are ignored
    with command.StopSignals() as stopping:
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert "once more to stop at once" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    signal.signal(number, earlier)


def test_a_run_in_the_background_stops_at_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell sets it for what it starts with &
    try:
        with command.StopSignals() as stopping:
            os.kill(os.getpid(), signal.SIGINT)
            assert stopping()
    finally:
        signal.signal(signal.SIGINT, before)


def test_under_nohup_a_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with command.StopSignals() as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_whose_recipe_was_changed_by_a_flag_goes_on_by_the_recipe(rooms, tmp_path, capsys):
    out = str(tmp_path / "run")
    words = ["train", "--data", rooms, "--out", out, *SMALL, "--epochs", "1", "--recipe", "modern"]
    assert main([*words, "--no-augment", "--time-limit", "0.00001"]) == 0
    assert main([*words, "--resume", "--augment"]) == 2
    assert "--augment (was --no-augment)" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert not stored_config(out).augment


def test_an_area_without_rooms_is_refused(rooms, tmp_path, capsys):
    assert main(["train", "--data", rooms, "--out", str(tmp_path / "run"), "--test-area", "5"]) == 2
    assert "no room of area 5, only rooms of the areas 1, 2, 3" in capsys.readouterr().err


def test_an_unknown_flag_names_the_help_of_the_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--out", "run", "--learning-rate", "1"])
    assert stopped.value.code == 2
    assert "--learning-rate 1; see s3dis-seg train --help" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "prepare"])
def test_help_needs_no_torch(name):
    script = f"""
import sys
from s3dis_seg.cli.main import parse
try:
    parse([{name!r}, "--help"])
except SystemExit:
    assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def test_the_display_hears_all_that_training_tells():
    told = {name for name in vars(Watcher) if not name.startswith("_")}
    assert told <= {name for name in dir(command._Display) if not name.startswith("_")}


def test_how_far_a_stopped_run_has_come_is_said_in_words():
    stopped = [RunOutcome("stopped", epoch=3, step=step, best=None) for step in (20, 100)]
    assert command._done(stopped[0], 100) == "after 3 epochs and 20 of 100 steps"
    assert command._done(stopped[1], 100) == "in the validation after epoch 4"


def test_a_run_without_a_reader_goes_on(capsys, monkeypatch):
    def closed(text):
        raise BrokenPipeError

    monkeypatch.setattr(command.progress, "say", closed)
    display = command._Display("run", quiet=False)
    display.say("hello")
    display.say("again")


def test_two_runs_into_one_folder_are_refused(rooms, tmp_path, capsys):
    out = tmp_path / "run"
    script = (
        f"from s3dis_seg.files import locked\nwith locked({str(out)!r}):\n    print('mine', flush=True)\n    input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    words = ["train", "--data", rooms, "--out", str(out), *SMALL, "--epochs", "1"]
    try:
        assert other.stdout.readline() == "mine\n"
        assert main(words) == 2
        assert f"another process is writing into {out}" in capsys.readouterr().err
    finally:
        other.kill()
        other.communicate()
    assert main(words) == 0  # a killed process leaves no lock


@pytest.fixture(scope="module")
def whole(rooms, tmp_path_factory):
    """The weights of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(words_of_a_run(rooms, out)) == 0
    return load_checkpoint(out / "last.pt")[0].state_dict()


def words_of_a_run(rooms, out):
    # As many epochs as a process needs from the first line of its log until a signal reaches it, several times over.
    return ["train", "--data", rooms, "--out", str(out), *SMALL, "--test-area", "3", "--epochs", "6"]


def started(words):
    """Run a command in a process group of its own, with the threads of this process."""
    threads = {name: str(torch.get_num_threads()) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, where it is ignored
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "s3dis_seg.cli.main", *words],
            cwd=ROOT,
            env={**os.environ, **threads},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_process_goes_on_to_the_weights_of_one_that_never_stopped(rooms, tmp_path, whole, number):
    out = tmp_path / "run"
    workers = "1" if number == signal.SIGINT else "0"
    process = started([*words_of_a_run(rooms, out), "--workers", workers])
    # A line an epoch: the first one says that training is under way.
    said = ""
    while "epoch 1: loss" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    os.killpg(process.pid, number)  # as a terminal does: a worker gets it too
    said += process.communicate(timeout=60)[0]
    if number == signal.SIGKILL:
        assert process.returncode == -number, said
    else:
        assert process.returncode == 130, said
        assert f"go on with: s3dis-seg train --resume --out {out}" in said
    assert "Traceback" not in said
    assert 1 <= load_training_state(out / "last.pt")["progress"]["epoch"] < 6
    assert main(["train", "--resume", "--out", str(out), "--workers", "0", "--device", "cpu"]) == 0
    weights = load_checkpoint(out / "last.pt")[0].state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.items())


@pytest.mark.parametrize(("largest", "name"), [(150, "events.out.tfevents"), (20_000, "last.pt")])
def test_a_disk_that_fills_up_is_one_sentence_and_keeps_the_last_save(
    rooms, tmp_path, capsys, monkeypatch, largest, name
):
    out, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    words = ["train", "--data", rooms, "--out", str(out), *SMALL, "--epochs", "2"]
    begin = command._Display.begin

    def fill_the_disk(display, plan):
        begin(display, plan)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))  # bytes that a file may have

    assert main([*words, "--time-limit", "0.00001"]) == 0
    before = (out / "last.pt").read_bytes()
    capsys.readouterr()
    monkeypatch.setattr(command._Display, "begin", fill_the_disk)
    try:
        assert main([*words, "--resume"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err
    assert told.startswith(f"error: cannot write {out / name}") and told.count("\n") == 1
    assert "free space" in told and (out / "last.pt").read_bytes() == before
    monkeypatch.undo()
    assert main([*words, "--resume"]) == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(rooms, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", "--data", rooms, "--out", str(tmp_path / "file" / "run"), *SMALL]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_help_shows_how_to_begin(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "s3dis-seg train --data data/rooms --model resgcn28 --test-area 5 --out runs/area5" in text
    assert "--augment | --no-augment" in text or "--augment, --no-augment" in text
