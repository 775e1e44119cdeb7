"""What a run kept to go on from: every damage is one sentence, before a step is made."""

import math
from types import SimpleNamespace

import pytest
import torch

from s3dis_seg.files import InputError
from s3dis_seg.training.stored import config_of, require_sound, restore_optimizer, restore_scaler

PROGRESS = {"epoch": 1, "step": 2, "sums": [1.0, 2.0, 3.0], "seconds": 1.0, "best": None, "validation": {},
            "history": [{"epoch": 1, "val_iou_beam": math.nan}]}  # fmt: skip
CONFIG = {"data": "rooms", "train_rooms": ["Area_1_office_1"]}


def damage(value, name):
    """Something else in the place of a value."""
    return {"gone": None, "text": "x", "tensor": torch.zeros(2), "list": [1], "nan": math.nan, "below 0": -1}[name]


@pytest.mark.parametrize("setting", ["data", "train_rooms", "overrides", "num_points", "lr", "amp", "augment", "seed"])
@pytest.mark.parametrize("kind", ["gone", "tensor", "list", "nan", "below 0"])
def test_a_setting_of_another_kind_is_one_sentence(setting, kind):
    assert config_of({"config": CONFIG}, "last.pt").train_rooms == ("Area_1_office_1",)
    with pytest.raises(InputError, match=f"its setting {setting} is "):
        config_of({"config": CONFIG | {setting: damage(None, kind)}}, "last.pt")


@pytest.mark.parametrize(("config", "message"), [
    (None, "no dictionary"), ({}, "it names no rooms"), (CONFIG | {"new": 1}, "has a setting 'new'"),
    (CONFIG | {"num_points": 2**62}, "points; expected 1 to"), (CONFIG | {"model": "x"}, "there is no model 'x'"),
    (CONFIG | {"batch_size": 0}, "its setting batch_size is 0"), (CONFIG | {"lr": math.inf}, "its setting lr is inf"),
])  # fmt: skip
def test_settings_that_cannot_be_are_one_sentence(config, message):
    with pytest.raises(InputError, match=message):
        config_of({"config": config}, "last.pt")


@pytest.mark.parametrize("name", PROGRESS)
@pytest.mark.parametrize("kind", ["gone", "text", "tensor", "list", "nan", "below 0"])
def test_progress_of_another_kind_is_one_sentence(name, kind):
    require_sound({"progress": PROGRESS, "threads": 2}, "last.pt")
    if (name, kind) in (("best", "gone"), ("best", "below 0")):
        return  # a run without validation; and any finite score
    with pytest.raises(InputError, match="its progress is "):
        require_sound({"progress": PROGRESS | {name: damage(None, kind)}, "threads": 2}, "last.pt")


@pytest.mark.parametrize("name", ["reading", "computing"])
def test_a_run_may_lack_the_clocks_of_later_versions_but_their_values_are_times(name):
    assert name not in PROGRESS
    require_sound({"progress": PROGRESS | {name: 0.5}, "threads": 2}, "last.pt")
    for value in (-1.0, math.nan, "x", None):
        with pytest.raises(InputError, match="its progress is "):
            require_sound({"progress": PROGRESS | {name: value}, "threads": 2}, "last.pt")


@pytest.mark.parametrize("state", [
    {"threads": 0}, {"threads": None}, {"threads": 2, "origin": {"licence": 1}}, {"threads": 2, "origin": [1]},
    {"threads": 2, "origin": {"x": torch.zeros(1)}},
])  # fmt: skip
def test_odd_threads_and_origins_are_one_sentence(state):
    with pytest.raises(InputError, match=r"last\.pt is damaged: "):
        require_sound({"progress": PROGRESS} | state, "last.pt")


def an_optimizer():
    parameters = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.AdamW([{"params": parameters[:1], "weight_decay": 0.1}, {"params": parameters[1:]}])
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    return optimizer


def test_a_sound_optimizer_comes_back():
    before, after = an_optimizer(), an_optimizer()
    before.step()
    before.param_groups[0]["lr"] = 0.25
    restore_optimizer(after, before.state_dict(), "last.pt")
    assert after.param_groups[0]["lr"] == 0.25 and after.param_groups[0]["weight_decay"] == 0.1
    assert all(torch.equal(after.state[p]["exp_avg"], before.state[q]["exp_avg"])
               for p, q in zip(after.state, before.state))  # fmt: skip


@pytest.mark.parametrize("change", [
    lambda stored: None,
    lambda stored: {},
    lambda stored: stored | {"state": {0: stored["state"][0]}},
    lambda stored: stored | {"state": stored["state"] | {1: stored["state"][0]}},
    lambda stored: stored | {"state": stored["state"] | {0: 1}},
    lambda stored: stored | {"param_groups": stored["param_groups"][:1]},
    lambda stored: stored | {"param_groups": [{"lr": "x"}, {"lr": 0.1}]},
    lambda stored: stored | {"state": stored["state"] | {1: stored["state"][1] | {"exp_avg_sq": -torch.ones(2)}}},
    lambda stored: stored | {"state": stored["state"] | {1: stored["state"][1] | {"exp_avg": torch.ones(2) / 0 * 0}}},
    lambda stored: stored | {"state": stored["state"] | {1: stored["state"][1] | {"exp_avg": torch.ones(1).expand(2)}}},
])  # fmt: skip
def test_moments_that_do_not_fit_the_network_are_one_sentence(change):
    before, after = an_optimizer(), an_optimizer()
    before.step()
    with pytest.raises(InputError, match=r"last\.pt is damaged: "):
        restore_optimizer(after, change(before.state_dict()), "last.pt")


@pytest.mark.parametrize("stored", [None, {}, {"scale": 0.0, "_growth_tracker": 0}, {"scale": 1.0}])
def test_a_scale_that_is_none_is_one_sentence(stored):
    scaler = torch.amp.GradScaler("cpu")
    restore_scaler(scaler, {"scale": 512.0, "_growth_tracker": 7}, "last.pt")
    assert scaler.get_scale() == 512.0
    with pytest.raises(InputError, match="the scale of its losses"):
        restore_scaler(scaler, stored, "last.pt")
    restore_scaler(SimpleNamespace(is_enabled=lambda: False), stored, "last.pt")
