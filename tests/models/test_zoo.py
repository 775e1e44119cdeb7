"""The named networks: their numbers, and how they are asked for."""

import pytest
import torch

from s3dis_seg.files import InputError
from s3dis_seg.models.config import MODELS
from s3dis_seg.models.zoo import create_model, model_config


def parameters_of(name, **overrides):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create_model(name, **overrides).parameters())


@pytest.mark.parametrize(
    ("name", "overrides", "parameters", "width"),
    [
        ("resgcn7", {}, 1_403_853, 448),
        ("resgcn14", {}, 2_150_669, 896),
        ("resgcn28", {}, 3_644_301, 1792),
        ("plaingcn28", {}, 3_644_301, 1792),
        ("resmrgcn28", {}, 3_644_301, 1792),
        ("resgcn28w", {}, 7_066_893, 3584),
        ("resgcn56", {}, 6_631_565, 3584),
        ("resgcn112", {}, 12_606_093, 7168),
        ("densegcn28", {}, 21_397_197, 12992),
        ("densegcn28", {"channels": 64, "k": 16}, 43_678_605, 25984),
    ],
)
def test_networks_have_the_published_size(name, overrides, parameters, width):
    assert parameters_of(name, **overrides) == parameters
    assert sum(model_config(name, **overrides).widths) == width


def test_networks_have_the_published_numbers_of_neighbors():
    assert {name: config.k for name, config in MODELS.items() if config.k != 16} == {
        "resgcn28w": 8, "resgcn56": 8, "resgcn112": 8, "resgcn151": 3, "densegcn28": 8,
    }  # fmt: skip


def test_the_deepest_network_runs_on_as_few_points_as_it_needs():
    model = create_model("resgcn151", channels=4).eval()
    assert len(model.backbone) == 150 and model.points_needed == 301
    with torch.no_grad():
        assert model(torch.rand(1, 301, 9)).shape == (1, 301, 13)


def test_the_plain_network_is_neither_dilated_nor_stochastic():
    config = MODELS["plaingcn28"]
    assert set(config.dilations) == {1}
    assert config.epsilon == 0


def test_every_number_can_be_overridden():
    model = create_model("resgcn28", blocks=3, channels=8, k=4, conv="mr", num_classes=5)
    assert model(torch.rand(2, 20, 9)).shape == (2, 20, 5)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no model 'resgcn29'; choose one of resgcn7, .*resmrgcn28"):
        create_model("resgcn29")


def test_an_unknown_setting_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no setting chanels; its settings are .*channels"):
        create_model("resgcn28", chanels=3)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("block", "residual", "choose one of res, dense, plain"),
        ("conv", "edgeconv", "choose one of edge, mr, sage"),
        ("graph", "static", "choose one of dynamic, fixed"),
        ("blocks", 0, "integer of at least 1"),
        ("k", 2.5, "integer of at least 1"),
        ("channels", True, "integer of at least 1"),
        ("dilation", "no", "True or False"),
        ("epsilon", 1.5, "number from 0 to 1"),
        ("dropout", 1, "below 1"),
        ("edge_drop", 1, "below 1"),
        ("norm", "group", "choose one of batch, layer, none"),
        ("fusion", 1, "True or False"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(setting, value, words):
    with pytest.raises(InputError, match=f"{setting} is .*{words}"):
        create_model("resgcn28", **{setting: value})
