"""Beginning with the weights of another training: which rows are kept, what is told, and frozen layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s3dis_seg.classes import S3DIS, Classes
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, save_checkpoint
from s3dis_seg.models.zoo import create_model
from s3dis_seg.training import TrainConfig, Watcher, stored_config, train
from s3dis_seg.training.inputs import open_data
from s3dis_seg.training.start import begin_with, told_of_start
from tests.models.official_layout import to_official

TINY = {"blocks": 3, "channels": 8, "k": 4}
OWN = Classes.named(("tree", "wall", "door"))


@pytest.fixture
def checkpoint(tmp_path):
    """A network that knows the classes of S3DIS, but has never seen a door."""
    torch.manual_seed(1)
    model = create_model("resgcn7", **TINY)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer += 0.5
    provenance = {
        "untrained_classes": ["door"], "train_rooms": ["Area_1_office_1"], "licence": "its licence",
        "origin": {"sha256": "before"},
    }  # fmt: skip
    save_checkpoint(tmp_path / "before.pt", model, Card("resgcn7", model.config, S3DIS, provenance=provenance))
    return tmp_path / "before.pt"


@pytest.fixture
def config(tmp_path, checkpoint):
    for seed, name in enumerate(("hall", "yard")):
        rng = np.random.default_rng(seed)
        xyz, labels = rng.random((900, 3)) * (2, 2, 2.5), rng.integers(0, 3, 900)
        write_room(room_of(name, xyz, rng.integers(0, 256, (900, 3)), labels, classes=OWN), tmp_path / "rooms")
    return TrainConfig(
        data=str(tmp_path / "rooms"), train_rooms=("hall",), val_rooms=("yard",), start=str(checkpoint),
        model="resgcn7", overrides={**TINY, "epsilon": 0.5}, num_points=64, epochs=2, batch_size=4, augment=True,
    )  # fmt: skip


def test_rows_of_classes_with_the_same_name_are_kept_and_no_others(checkpoint):
    torch.manual_seed(2)
    model = create_model("resgcn7", num_classes=3, **TINY)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    origin = begin_with(checkpoint, model, OWN.names)
    before, card = load_checkpoint(checkpoint)
    old, new = before.state_dict(), model.state_dict()
    for name, value in new.items():
        if not name.startswith("prediction.2."):
            assert torch.equal(value, old[name])
            continue
        assert torch.equal(value[1], old[name][S3DIS.names.index("wall")])
        assert torch.equal(value[[0, 2]], fresh[name][[0, 2]])  # a new class, and one without a training point
    assert (origin["sha256"], origin["kept_classes"]) == (card.sha256, ["wall"])
    assert origin["train_rooms"] == ["Area_1_office_1"] and origin["licence"] == "its licence"
    assert origin["origin"] == {"sha256": "before"}


def test_another_network_is_refused_in_one_sentence(checkpoint):
    for network in ({"channels": 16}, {"k": 8}, {"conv": "mr"}):
        model = create_model("resgcn7", num_classes=3, **TINY | network)
        with pytest.raises(InputError, match=r"before\.pt holds another network than the flags describe; leave"):
            begin_with(checkpoint, model, OWN.names)


def test_weights_in_the_official_layout_are_begun_with_and_get_the_inputs_they_know(config, checkpoint, tmp_path):
    before = load_checkpoint(checkpoint)[0]
    torch.save({"state_dict": to_official(before.state_dict())}, tmp_path / "official.pth")
    config = replace(config, start=str(tmp_path / "official.pth"), overrides=TINY, normalization="official", epochs=1)
    assert open_data(config).training[0][0][:, :3].abs().max() == pytest.approx(1, abs=1e-4)
    train(config, tmp_path / "run", device="cpu")
    card = load_checkpoint(tmp_path / "run/last.pt")[1]
    assert card.blocks.normalization == "official"
    assert card.provenance["origin"]["checkpoint"] == "official.pth"
    assert card.provenance["origin"]["kept_classes"] == ["wall", "door"]


def test_what_is_kept_is_told():
    origin = {"checkpoint": "c.pt", "kept_classes": ["wall"]}
    assert told_of_start(origin, OWN.names) == "begins with the weights of c.pt, which knows wall; new: tree, door"
    assert told_of_start(origin, ("wall",)) == "begins with the weights of c.pt, which knows wall"
    assert "knows none of the classes" in told_of_start(origin | {"kept_classes": []}, OWN.names)


class Notes(Watcher):
    def __init__(self):
        self.notes = []

    def note(self, sentence):
        self.notes.append(sentence)


def test_the_origin_goes_into_the_card_and_survives_an_interruption(config, checkpoint, tmp_path):
    config, notes = replace(config, overrides=TINY), Notes()
    steps = iter([False, True])
    assert train(config, tmp_path / "run", device="cpu", stopping=lambda: next(steps, True), watcher=notes).step == 2
    assert any("before.pt, which knows wall; new: tree, door" in note for note in notes.notes)
    first = load_checkpoint(tmp_path / "run/last.pt")[1]
    train(stored_config(tmp_path / "run"), tmp_path / "run", device="cpu", resume=True)
    for name in ("last.pt", "best.pt"):
        card = load_checkpoint(tmp_path / "run" / name)[1]
        assert card.provenance["origin"] == first.provenance["origin"]
        assert card.provenance["origin"]["sha256"] == load_checkpoint(checkpoint)[1].sha256
        assert card.provenance["licence"] == "its licence"
        assert card.classes == OWN and card.config.num_classes == 3


def parts(path):
    """Weights and statistics of a checkpoint: those of head and backbone, and the others."""
    state = load_checkpoint(path)[0].state_dict()
    frozen = {name: value for name, value in state.items() if name.startswith(("head.", "backbone."))}
    return frozen, {name: value for name, value in state.items() if name not in frozen}


@pytest.mark.parametrize("statistics_blocks", [0, 4])
def test_frozen_layers_keep_their_weights_and_statistics_and_the_others_learn(
    config, checkpoint, tmp_path, statistics_blocks
):
    config = replace(config, overrides=TINY, freeze=100, statistics_blocks=statistics_blocks, weight_decay=0.1)
    train(config, tmp_path / "run", device="cpu")
    (frozen, others), (before, others_before) = parts(tmp_path / "run/last.pt"), parts(checkpoint)
    assert all(torch.equal(value, before[name]) for name, value in frozen.items())
    for name, value in others.items():
        assert value.shape != others_before[name].shape or not torch.equal(value, others_before[name]), name


def test_kept_statistics_stay_as_they_are_while_all_weights_learn(config, checkpoint, tmp_path):
    train(replace(config, overrides=TINY, keep_statistics=True), tmp_path / "run", device="cpu")
    before, after = (load_checkpoint(path)[0].state_dict() for path in (checkpoint, tmp_path / "run/last.pt"))
    for name, value in after.items():
        if name.endswith(("running_mean", "running_var")):
            assert torch.equal(value, before[name]), name
        elif name.endswith("weight"):
            assert value.shape != before[name].shape or not torch.equal(value, before[name]), name


def test_after_the_frozen_steps_everything_learns_and_a_run_goes_on_to_the_bit(config, checkpoint, tmp_path):
    config = replace(config, overrides=TINY, freeze=3)
    train(config, tmp_path / "whole", device="cpu")
    frozen, before = parts(tmp_path / "whole/last.pt")[0], parts(checkpoint)[0]
    assert not any(torch.equal(value, before[name]) for name, value in frozen.items() if name.endswith("weight"))
    steps = iter([False, True])
    train(config, tmp_path / "parts", device="cpu", stopping=lambda: next(steps, True))
    train(config, tmp_path / "parts", device="cpu", resume=True)
    one, other = (load_checkpoint(tmp_path / run / "last.pt")[0].state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rooms_without_any_label_are_told(config, tmp_path):
    xyz = np.random.default_rng(0).random((500, 3))
    room = room_of("bare", xyz, np.zeros((500, 3)), np.full(500, 255), classes=OWN)
    write_room(room, tmp_path / "rooms")
    for side in ("train_rooms", "val_rooms"):
        settings = replace(config, train_rooms=("hall",), val_rooms=("yard",), overrides=TINY)
        what = "training" if side == "train_rooms" else "validation"
        with pytest.raises(InputError, match=f"no point of the {what} rooms .* has a label"):
            train(replace(settings, **{side: ("bare",)}), tmp_path / side, device="cpu")
