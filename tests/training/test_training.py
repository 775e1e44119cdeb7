"""Training: the step, the schedule, what a run writes, and that it goes on exactly where it stopped."""

import csv
import math
import multiprocessing
import os
import signal
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import InputError
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state
from s3dis_seg.models.zoo import create_model
from s3dis_seg.segmentation import Segmenter
from s3dis_seg.training import RECIPES, TrainConfig, Watcher, open_data, stored_config, train
from s3dis_seg.training.inputs import EpochIndexed, Steps, make_loader
from s3dis_seg.training.loop import gradients, learning_rate
from s3dis_seg.training.processes import Team
from s3dis_seg.training.run import Progress

CPU = Team(torch.device("cpu"))
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)
TINY = {"blocks": 3, "channels": 8, "k": 4}
NAMES = ("Area_1_office_1", "Area_1_office_2", "Area_2_office_1")


def write_rooms(folder, names=NAMES, source="release"):
    """Boxes of 2 x 2 x 2.5 m: floor, ceiling and a wall, each of another colour."""
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        xyz = rng.uniform(0, (2, 2, 2.5), (1800, 3))
        labels = np.repeat([0, 1, 2], 600)
        xyz[labels == 0, 2], xyz[labels == 1, 2], xyz[labels == 2, 0] = 2.5, 0, 0
        rgb = np.array([(250, 250, 250), (90, 60, 30), (160, 170, 180)])[labels] + rng.integers(-5, 6, (1800, 3))
        labels[::50] = 255
        write_room(room_of(name, xyz, rgb, labels, source=f"{source}/{name}"), folder)
    return str(folder)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return write_rooms(tmp_path_factory.mktemp("rooms"))


@pytest.fixture
def config(rooms):
    """Everything random is on: stochastic dilation, dropout, augmentation."""
    return TrainConfig(
        data=rooms,
        train_rooms=NAMES[:2],
        val_rooms=NAMES[2:],
        overrides={**TINY, "epsilon": 0.5},
        num_points=128,
        augment=True,
        epochs=4,
        batch_size=4,
    )


def weights(run):
    return load_checkpoint(run / "last.pt")[0].state_dict()


def same_run(one, other):
    """Bit for bit the same weights, optimizer and history (apart from the clock)."""

    def equal(a, b):
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a if key not in ("seconds", *CLOCK))
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(map(equal, a, b))
        return a == b or (a != a and b != b)

    return equal(weights(one), weights(other)) and equal(
        load_training_state(one / "last.pt"), load_training_state(other / "last.pt")
    )


CLOCK = ("blocks_per_second",)


class StopAfter:
    """Says stop once it was asked so many times: it is asked after each step and each batch of a validation."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        return self.times <= 0


def test_the_defaults_are_the_published_recipe(config):
    plain = TrainConfig(data="rooms", train_rooms=())
    assert (plain.epochs, plain.batch_size, plain.lr, plain.weight_decay, plain.label_smoothing) == (
        100, 16, 1e-3, 0.0, 0.0,
    )  # fmt: skip
    assert (plain.schedule, plain.augment, plain.amp, plain.num_points) == ("halving", False, "off", 4096)


def test_the_learning_rate_is_halved_every_20_epochs(config):
    rates = [learning_rate(config, epoch * 7 + 3, num_steps=7) for epoch in (0, 19, 20, 39, 40)]
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_the_cosine_schedule_warms_up_and_ends_at_zero(config):
    config = replace(config, schedule="cosine", epochs=10)
    rates = [learning_rate(config, number, num_steps=10) for number in range(100)]
    assert rates[0] == pytest.approx(1e-3 / 5)
    assert np.argmax(rates) in (4, 5)
    assert max(rates) == pytest.approx(1e-3)
    assert 0 < rates[-1] < 1e-6


def batch(num_blocks=4, num_points=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(num_blocks, num_points, 9, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 13, (num_blocks, num_points), generator=generator)
    labels[0, : num_points // 2] = 255  # parts with different numbers of labelled points
    return features, labels


def step_gradients(model, config, features, labels, team=CPU):
    model.zero_grad()
    sums = gradients(model, features, labels, config, NO_SCALER, team)
    return sums, [parameter.grad.clone() for parameter in model.parameters()]


def test_the_loss_is_the_mean_over_labelled_points(config):
    torch.manual_seed(0)
    model = create_model("resgcn7", **TINY, dropout=0.0).double().eval()
    features, labels = batch()
    sums, found = step_gradients(model, config, features, labels)
    model.zero_grad()
    logits = model(features)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=255)
    loss.backward()
    assert sums[0] / sums[1] == pytest.approx(loss.item(), rel=1e-12)
    assert sums[1] == (labels != 255).sum()
    assert sums[2] == (logits.argmax(-1) == labels).sum()
    for one, parameter in zip(found, model.parameters()):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-9, atol=1e-12)


def test_accumulated_gradients_are_those_of_the_whole_batch(config):
    # With BatchNorm in evaluation: in training each part has statistics of its own.
    torch.manual_seed(0)
    model = create_model("resgcn7", **TINY, dropout=0.0).double().eval()
    features, labels = batch()
    whole = step_gradients(model, config, features, labels)
    parts = step_gradients(model, replace(config, accumulate=4), features, labels)
    torch.testing.assert_close(whole, parts, rtol=1e-9, atol=1e-12)


def test_a_batch_without_labels_changes_nothing(config):
    model = create_model("resgcn7", **TINY).double()
    features, labels = batch()
    sums, found = step_gradients(model, config, features, torch.full_like(labels, 255))
    assert sums.tolist() == [0, 0, 0]
    assert all((gradient == 0).all() for gradient in found)


def test_an_epoch_takes_every_block_once_and_processes_share_a_batch(config):
    progress = Progress(epoch=3)
    steps = Steps(22, 4, 5, seed=0, progress=progress, team=CPU)
    alone = list(steps)
    assert len(alone) == len(steps) == 5
    assert len({block for step in alone for block in step}) == 20
    shares = [list(Steps(22, 4, 5, 0, progress, Team(torch.device("cpu"), rank=rank, size=2))) for rank in (0, 1)]
    assert [sorted(one + other) for one, other in zip(*shares)] == [sorted(step) for step in alone]
    progress.step = 3
    assert list(steps) == alone[3:]
    progress.epoch = 4
    assert list(steps) != alone[3:]


def test_epochs_of_a_given_length_take_the_blocks_in_turn(config):
    taken = []
    for epoch in range(4):  # 4 epochs of 6 blocks, of which there are 8: three passes
        taken += [item for step in Steps(8, 2, 3, 0, Progress(epoch=epoch), CPU, in_turn=True) for item in step]
    assert [number for number, _ in taken] == [0] * 8 + [1] * 8 + [2] * 8
    for number in range(3):
        assert {block for which, block in taken if which == number} == set(range(8))
    shares = [Team(torch.device("cpu"), rank=rank, size=2) for rank in (0, 1)]
    shares = [
        [item for step in Steps(8, 2, 3, 0, Progress(), share, in_turn=True) for item in step] for share in shares
    ]
    assert sorted(shares[0] + shares[1]) == sorted(taken[:6])
    longer = [item for step in Steps(3, 2, 4, 0, Progress(step=1), CPU, in_turn=True) for item in step]
    assert len(longer) == 6 and longer[0][0] == 0 and longer[-1][0] == 2  # an epoch longer than a pass, resumed


def test_the_length_of_an_epoch_may_be_given(config, tmp_path):
    config = replace(config, epoch_blocks=9, epochs=2, batch_size=4)
    train(config, tmp_path / "whole", device="cpu")
    with open(tmp_path / "whole/metrics.csv", newline="") as file:
        assert [int(row["steps"]) for row in csv.DictReader(file)] == [2, 4]
    stopping = iter([False, False, True])
    train(config, tmp_path / "parts", device="cpu", stopping=lambda: next(stopping, True))
    train(stored_config(tmp_path / "parts"), tmp_path / "parts", device="cpu", resume=True)
    one, other = (load_checkpoint(tmp_path / run / "last.pt")[0].state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match="--epoch-blocks 12"):
        train(replace(config, epoch_blocks=12), tmp_path / "parts", device="cpu", resume=True)


def curves(folder):
    """What TensorBoard shows of a run. -> dict of name -> list of (step, value)"""
    shown = EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in shown.Scalars(name)] for name in shown.Tags()["scalars"]}


def test_a_resumed_run_repeats_no_step_of_its_curves(config, tmp_path):
    class Killer(Watcher):
        def looked(self, epoch, step, loss):
            if (epoch, step) == (1, 2):
                raise SystemExit  # as kill -9: nothing is saved

    config = replace(config, epochs=2)
    with pytest.raises(SystemExit):
        train(config, tmp_path / "run", device="cpu", watcher=Killer())
    outcome = train(config, tmp_path / "run", device="cpu", resume=True)
    assert outcome.reason == "finished" and len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 2
    num_steps = len(open_data(config).training) // 4
    assert [step for step, _ in curves(tmp_path / "run")["step/loss"]] == list(range(1, 2 * num_steps + 1))


def test_a_run_learns_and_writes_what_it_promises(config, tmp_path):
    config = replace(config, augment=False, epochs=6, lr=5e-3)
    outcome = train(config, tmp_path / "run")
    assert (outcome.reason, outcome.epoch, outcome.step) == ("finished", 6, 0)
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    assert float(rows[-1]["train_oa"]) > 0.8
    assert rows[0]["val_iou_sofa"] == "" or float(rows[0]["val_iou_sofa"]) == 0  # no sofa in any room
    curve = curves(tmp_path / "run")["epoch/val_miou"]
    assert [value for _, value in curve] == [pytest.approx(float(row["val_miou"])) for row in rows]
    assert [step for step, _ in curve] == [int(row["steps"]) for row in rows]

    model, card = load_checkpoint(tmp_path / "run" / "best.pt")
    best = max(rows, key=lambda row: float(row["val_miou"]))
    assert outcome.best == float(best["val_miou"])
    assert card.provenance["validation"]["epoch"] == int(best["epoch"]) == card.provenance["epochs"]
    assert card.provenance["validation"]["val_miou"] == outcome.best
    assert card.provenance["train_rooms"] == list(NAMES[:2])
    assert card.provenance["versions"]["torch"] == torch.__version__
    assert "non-commercial" in card.provenance["licence"]
    assert card.model == "resgcn28"
    assert model.config.channels == 8
    assert card.blocks.num_points == 128
    assert card.blocks.tallest == pytest.approx(2.5, abs=0.03)


def test_the_network_sees_the_same_blocks_with_and_without_workers(config, tmp_path):
    config = replace(config, epochs=2)
    train(config, tmp_path / "none", workers=0)
    train(config, tmp_path / "two", workers=2)
    assert same_run(tmp_path / "none", tmp_path / "two")


def test_every_epoch_has_blocks_of_its_own(config):
    blocks = EpochIndexed(open_data(config).training)
    first, second, first_again = blocks[0, 3][0], blocks[1, 3][0], blocks[0, 3][0]
    assert torch.equal(first, first_again)
    assert not torch.equal(first, second)


def test_ctrl_c_in_a_terminal_leaves_the_workers_alive(config):
    blocks = open_data(config).training
    batches = iter(make_loader(blocks, CPU, workers=1, batch_size=1))
    next(batches)
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal_number)
    assert len(list(batches)) == len(blocks) - 1


def test_two_epochs_and_two_more_are_four(config, tmp_path):
    train(config, tmp_path / "four")
    train(replace(config, epochs=2), tmp_path / "two")
    outcome = train(config, tmp_path / "two", resume=True)
    assert outcome.epoch == 4
    assert same_run(tmp_path / "four", tmp_path / "two")


def test_a_run_stopped_anywhere_ends_as_one_that_was_not(config, tmp_path):
    config = replace(config, epochs=2)
    data = open_data(config)
    steps = len(data.training) // 4
    train(config, tmp_path / "whole")
    # In the first epoch, in the validation after it, in the second epoch.
    for asked, epoch, step in ((2, 0, 2), (steps - 2 + 1, 0, steps), (math.ceil(len(data.validation) / 4) + 2, 1, 2)):
        outcome = train(config, tmp_path / "parts", resume=epoch + step > 2, stopping=StopAfter(asked))
        assert (outcome.reason, outcome.epoch, outcome.step) == ("stopped", epoch, step)
    outcome = train(config, tmp_path / "parts", resume=True)
    assert outcome.reason == "finished"
    assert same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_that_ended_without_saving_goes_on_from_its_last_save_to_the_bit(config, tmp_path):
    class Killer(Watcher):
        def looked(self, epoch, step, loss):
            if (epoch, step) == (1, 2):
                raise SystemExit  # as kill -9: nothing is saved

    config = replace(config, epochs=2)
    train(config, tmp_path / "whole", device="cpu")
    with pytest.raises(SystemExit):
        train(config, tmp_path / "parts", device="cpu", watcher=Killer())
    assert load_training_state(tmp_path / "parts" / "last.pt")["progress"]["epoch"] == 1
    train(config, tmp_path / "parts", device="cpu", resume=True)
    assert same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_on_rooms_with_fewer_blocks_is_refused(config, tmp_path):
    train(config, tmp_path / "run", device="cpu", stopping=StopAfter(2))
    content = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    content["training_state"]["progress"]["step"] = 1000
    torch.save(content, tmp_path / "run" / "last.pt")
    with pytest.raises(InputError, match=r"has done 1,000 steps of its epoch, but the rooms of .* make only"):
        train(config, tmp_path / "run", device="cpu", resume=True)


def test_a_time_limit_stops_and_saves(config, tmp_path):
    outcome = train(config, tmp_path / "run", time_limit=1e-6)
    assert (outcome.reason, outcome.epoch, outcome.step) == ("time limit", 0, 1)
    assert load_training_state(tmp_path / "run" / "last.pt")["progress"]["step"] == 1


def test_a_finished_run_resumed_does_nothing(config, tmp_path):
    config = replace(config, epochs=1)
    train(config, tmp_path / "run")
    before = weights(tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True).reason == "finished"
    assert all(torch.equal(before[key], value) for key, value in weights(tmp_path / "run").items())


def test_resuming_with_other_settings_names_the_flags(config, tmp_path):
    train(config, tmp_path / "run", stopping=lambda: True)
    other = replace(config, lr=0.1, val_rooms=(), overrides={**config.overrides, "k": 5})
    with pytest.raises(InputError, match=r"--val-rooms \(1 rooms differ\); --k 5 \(was 4\); --lr 0\.1 \(was 0\.001\)"):
        train(other, tmp_path / "run", resume=True)


def test_the_cosine_schedule_cannot_be_prolonged(config, tmp_path):
    config = replace(config, schedule="cosine")
    train(config, tmp_path / "run", stopping=lambda: True)
    with pytest.raises(InputError, match=r"--epochs 5 \(was 4\)"):
        train(replace(config, epochs=5), tmp_path / "run", resume=True)


def test_a_folder_in_use_is_refused(config, tmp_path):
    train(config, tmp_path / "run", stopping=lambda: True)
    with pytest.raises(InputError, match=r"holds a run; go on with it by --resume"):
        train(config, tmp_path / "run")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="name another folder"):
        train(config, tmp_path / "notes")
    with pytest.raises(InputError, match="no run to go on with"):
        train(config, tmp_path / "nothing", resume=True)


def test_what_a_killed_process_left_is_removed(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".writing-abc.pt").write_text("half")
    train(config, tmp_path / "run", stopping=lambda: True)
    assert not list((tmp_path / "run").glob(".writing-*"))


def test_a_flag_of_yes_or_no_is_named_as_it_is_typed(config, tmp_path):
    train(replace(config, augment=False), tmp_path / "run", stopping=lambda: True)
    with pytest.raises(InputError, match=r"--augment \(was --no-augment\)"):
        train(config, tmp_path / "run", resume=True)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(config, tmp_path):
    with pytest.raises(InputError, match=r"no longer a number in epoch 1, step \d+; .*last.pt keeps .* lower --lr"):
        train(replace(config, lr=1e30), tmp_path / "run")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_weights_that_are_no_numbers_are_never_saved(config, tmp_path):
    with pytest.raises(InputError, match="no longer a number"):
        train(replace(config, lr=math.inf), tmp_path / "run", stopping=lambda: True)
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_too_little_memory_says_what_to_do(config, tmp_path, monkeypatch):
    def gradients(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("s3dis_seg.training.loop.gradients", gradients)
    with pytest.raises(InputError, match="--accumulate 2"):
        train(config, tmp_path / "run")


def test_too_few_points_for_the_network_names_the_flags(config, tmp_path):
    with pytest.raises(InputError, match=r"at least 432 points, but --num-points is 128; .*--epsilon 0"):
        train(replace(config, overrides={}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_dealt_out_is_refused(config, tmp_path):
    with pytest.raises(InputError, match="make it a multiple of 3"):
        train(replace(config, accumulate=3), tmp_path / "run")


def test_a_device_that_is_not_there_is_refused(config, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(InputError, match="no device 'cuda'"):
        train(config, tmp_path / "run", device="cuda")


def test_a_room_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(InputError, match="lacks 1 rooms of this run, such as Area_3_lounge_1"):
        train(replace(config, train_rooms=("Area_3_lounge_1",)), tmp_path / "run")


def test_the_published_recipe_keeps_the_last_weights(config, tmp_path):
    settings = RECIPES["published"]
    config = replace(config, recipe="published", augment=False, val_rooms=(), epochs=1, **settings)
    outcome = train(config, tmp_path / "run")
    assert outcome.best is None
    assert not (tmp_path / "run" / "best.pt").exists()
    card = load_checkpoint(tmp_path / "run" / "last.pt")[1]
    assert (card.blocks.grid, card.blocks.frame_size) == (0, math.inf)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_reduced_precision_trains(config, tmp_path, amp):
    outcome = train(replace(config, amp=amp, epochs=1), tmp_path / "run")
    assert outcome.reason == "finished"
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights(tmp_path / "run").values())


def test_the_modern_recipe_trains(config, tmp_path):
    config = replace(config, recipe="modern", epochs=1, **RECIPES["modern"])
    assert train(config, tmp_path / "run").reason == "finished"


def test_the_size_of_a_block_is_a_setting_and_steps_are_fractions_of_it(config):
    def blocks_of(size):
        data = open_data(replace(config, block_size=size))
        assert data.settings.block_size == size
        assert data.training.stride == size / 2 and data.validation.stride == size
        return len(data.training), len(data.validation)

    # Rooms of 2 x 2 m: 3 x 3 columns of 1 m every half metre in each of two rooms, one column of 2 m in each.
    assert blocks_of(1.0) == (18, 4) and blocks_of(2.0) == (2, 1)


def test_statistics_are_fresh_in_what_is_validated_and_saved(config, tmp_path):
    settings = replace(config, epochs=1, statistics_blocks=4)
    train(settings, tmp_path / "fresh", device="cpu")
    train(replace(settings, statistics_blocks=0), tmp_path / "running", device="cpu")
    fresh, running = (load_checkpoint(tmp_path / name / "best.pt")[0].state_dict() for name in ("fresh", "running"))
    different = {name.rsplit(".", 1)[-1] for name in fresh if (fresh[name] != running[name]).any()}
    assert different == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_run_with_fresh_statistics_and_weights_goes_on_to_the_bit(config, tmp_path):
    settings = replace(config, epochs=2, statistics_blocks=4, class_weights="sqrt")
    train(settings, tmp_path / "whole", device="cpu")
    steps = iter([False] * 3 + [True])
    train(settings, tmp_path / "parts", device="cpu", stopping=lambda: next(steps, True))
    train(settings, tmp_path / "parts", device="cpu", resume=True)
    assert same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_class_without_a_training_point_is_named_and_never_predicted(config, tmp_path):
    train(replace(config, epochs=1), tmp_path / "run", device="cpu")
    model, card = load_checkpoint(tmp_path / "run" / "best.pt")
    assert card.provenance["untrained_classes"] == list(card.class_names[3:])
    assert card.untrained == list(range(3, 13))
    with torch.no_grad():  # make the last class the favourite of the network
        model.prediction[-1].bias[12] += 1000
    result = Segmenter(model, card, "cpu")(np.random.default_rng(0).random((500, 3)) * 2)
    assert set(np.unique(result.predictions)) <= {0, 1, 2}


def test_a_run_of_the_first_release_goes_on(config, tmp_path):
    steps = iter([False, True])
    train(config, tmp_path, device="cpu", stopping=lambda: next(steps, True))
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    for name in ("block_size", "class_weights", "statistics_blocks"):  # which it did not know
        del content["training_state"]["config"][name]
    torch.save(content, tmp_path / "last.pt")
    assert train(stored_config(tmp_path), tmp_path, device="cpu", resume=True).reason == "finished"


def test_weights_from_made_up_rooms_carry_no_licence(config, tmp_path):
    folder = write_rooms(tmp_path / "rooms", source="synthetic/Area_1")
    assert open_data(replace(config, data=folder)).licence == ""
    assert "non-commercial" in open_data(config).licence


def test_tensorboard_is_optional(config, tmp_path, monkeypatch):
    class Notes(Watcher):
        def __init__(self):
            self.notes = []

        def note(self, sentence):
            self.notes.append(sentence)

    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    notes = Notes()
    train(config, tmp_path / "run", stopping=lambda: True, watcher=notes)
    assert notes.notes == ["tensorboard is not installed; the curves are in metrics.csv only"]


def test_pointnets_block_files_train_as_they_are(config, tmp_path):
    folder, rng = tmp_path / "indoor3d_sem_seg_hdf5_data", np.random.default_rng(0)
    folder.mkdir()
    with h5py.File(folder / "ply_data_all_0.h5", "w") as file:
        file["data"] = rng.random((12, 128, 9), np.float32)
        file["label"] = rng.integers(0, 13, (12, 128)).astype(np.uint8)
    (folder / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/ply_data_all_0.h5\n")
    (folder / "room_filelist.txt").write_text("".join(f"{NAMES[i // 4]}\n" for i in range(12)))
    assert [room.name for room in open_rooms(folder)] == list(NAMES)
    config = replace(config, data=str(folder), grid=0.0, frame_size=math.inf, augment=False, epochs=1)
    assert train(config, tmp_path / "run").best is not None
    for setting, flag in (({"grid": 0.03}, "--grid 0.03"), ({"block_size": 2.0}, "--block-size 2.0")):
        with pytest.raises(InputError, match=f"ready-made blocks of 1 m, not thinned; leave {flag} away"):
            open_data(replace(config, **setting))
