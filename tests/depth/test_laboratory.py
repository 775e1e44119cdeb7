"""One run: what is measured, against closed forms, and how it ends."""

import math

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.depth import laboratory
from s3dis_seg.depth.laboratory import Budget, Material
from s3dis_seg.depth.measures import MEASURES
from s3dis_seg.depth.systems import System, grid
from s3dis_seg.files import InputError
from s3dis_seg.models.config import DeepGCNConfig
from s3dis_seg.synthetic.rooms import synthetic_room

BUDGET = Budget(steps=3, batch_size=2, num_points=32, lr=1e-3)
TINY = {"channels": 4, "k": 3}


class Blocks(torch.utils.data.Dataset):
    """Random blocks whose labels follow from the height of a point."""

    def __len__(self):
        return 6

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, number):
        features = torch.from_numpy(np.random.default_rng(number).random((32, 9), np.float32))
        return features, (features[:, 2] > 0.5).long()


def material():
    features, labels = zip(*(Blocks()[number] for number in range(5)))
    return Material(Blocks(), torch.stack(features), torch.stack(labels), CLASSES)


def system(seed=0, **settings):
    [one] = grid(1, **TINY, block=["plain"], blocks=[3], **{name: [value] for name, value in settings.items()})
    return System(one.network, seed)


def layers(result, state, name):
    return [row[name] for row in result["layers"] if row["state"] == state]


@pytest.fixture
def linear_network():
    """Plain, without norm and fusion, every ReLU open, one neighbour: layer l is X W_l^T, positive throughout."""
    network = DeepGCNConfig(
        block="plain", conv="gcn", blocks=4, channels=3, k=1, dilation=False, epsilon=0.0, dropout=0.0, graph="fixed",
        norm="none", fusion=False,
    )  # fmt: skip
    model = laboratory.fresh(System(network, 0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_() if parameter.dim() > 1 else parameter.fill_(0.125)
    return model.double()


def test_the_gradients_of_a_linear_network_are_those_of_its_closed_form(linear_network):
    model, blocks = linear_network, material()
    rows = laboratory.measured(model, blocks, "start")
    features, labels = blocks.measured

    weights = [layer.linear.weight.detach() for layer in (model.head, *model.backbone)]
    outputs = [features.double()]
    for weight in weights:
        outputs.append(outputs[-1] @ weight.T + 0.125)
    last = outputs[-1].requires_grad_()
    logits = model._predict(last)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    [delta] = torch.autograd.grad(loss, last)
    for row, weight, before in zip(rows[::-1], weights[::-1], outputs[-2::-1]):
        assert row["gradient"] == pytest.approx(delta.norm().item(), rel=1e-9)
        weight_gradient = delta.flatten(0, 1).T @ before.detach().flatten(0, 1)
        assert row["weight_gradient"] == pytest.approx(weight_gradient.norm().item(), rel=1e-9)
        delta = delta @ weight
    assert [row["layer"] for row in rows] == [1, 2, 3, 4]
    assert [row["rms"] for row in rows] == pytest.approx(
        [np.mean([cloud.square().mean().sqrt().item() for cloud in output]) for output in outputs[1:]], rel=1e-9
    )


def test_gradients_count_the_way_past_a_residual_layer():
    model = laboratory.fresh(System(grid(1, **TINY, block=["res"], blocks=[3], fusion=[False])[0].network, 0))
    with torch.no_grad():
        for conv in model.backbone:
            conv.norm.weight.zero_()  # what is left is the way past
    gradients = [row["gradient"] for row in laboratory.measured(model, material(), "start")]
    assert gradients == pytest.approx([gradients[-1]] * 3, rel=1e-12)


def test_measuring_leaves_the_network_and_the_random_state_alone():
    model = laboratory.fresh(system(epsilon=0.5, edge_drop=0.5))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state, ranks = torch.get_rng_state(), model.generator.get_state()
    first = laboratory.measured(model, material(), "start")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(model.generator.get_state(), ranks)
    assert model.config.epsilon == 0.5 and model.training
    assert laboratory.measured(model, material(), "start") == first


def test_a_run_has_all_measures_of_all_layers_before_and_after():
    steps = []
    result = laboratory.run(system(), material(), BUDGET, stepped=lambda: steps.append(1))
    assert len(steps) == BUDGET.steps and result["diverged_at"] is None
    for state in ("start", "trained"):
        assert layers(result, state, "layer") == [1, 2, 3]
        for name in ("gradient", "weight_gradient", *MEASURES):
            assert all(map(math.isfinite, layers(result, state, name))), name
    assert layers(result, "start", "rms") != layers(result, "trained", "rms")
    assert all(0 <= result[name] <= 1 for name in ("miou", "oa", "commonest_share"))
    assert math.isfinite(result["val_loss"]) and math.isfinite(result["train_loss"])


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    results = [laboratory.run(system(seed, edge_drop=0.3), material(), BUDGET) for seed in (0, 0, 1)]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]
    assert results[0]["layers"] != results[2]["layers"]


def test_all_networks_of_a_seed_see_the_same_blocks():
    batches = [next(laboratory.batches(seed, material(), BUDGET))[0] for seed in (0, 0, 1)]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])


def test_a_loss_that_is_no_number_ends_the_run_as_diverged():
    wild = Budget(steps=20, batch_size=2, num_points=32, lr=1e25)
    result = laboratory.run(system(norm="none"), material(), wild)
    assert 1 < result["diverged_at"] < 20
    assert layers(result, "start", "layer") == [1, 2, 3] and layers(result, "trained", "layer") == []
    assert all(math.isnan(result[name]) for name in ("train_loss", "val_loss", "miou", "oa"))


def test_features_beyond_the_range_of_float32_are_measured_at_the_start():
    deep = DeepGCNConfig(block="res", conv="gcn-none", blocks=60, channels=4, k=8, dilation=False, epsilon=0.0,
                         dropout=0.0, norm="none", graph="fixed")  # fmt: skip
    result = laboratory.run(System(deep, 0), material(), BUDGET)
    scales = layers(result, "start", "rms")
    assert scales[-1] > 1e38 and result["diverged_at"] == 1


def test_the_commonest_class_is_that_of_the_labelled_points():
    labels = torch.tensor([[0, 1, 1, 255], [1, 0, 255, 255]])
    assert Material(None, torch.zeros(2, 4, 9), labels, CLASSES).commonest_share == pytest.approx(3 / 5)


def test_blocks_too_small_for_a_network_are_refused_with_the_number_that_is_needed():
    with pytest.raises(InputError, match=r"plain-3-edge-k20-dilated needs blocks of at least 39 points.* is 32"):
        laboratory.require_points(grid(1, k=20, block=["plain"], blocks=[3], dilation=[True]), BUDGET)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for number in (1, 2):
        name = f"Area_1_office_{number}"
        write_room(synthetic_room(number, 60.0, name), folder)
    return folder


def test_rooms_are_split_as_elsewhere_and_their_validation_blocks_stay_the_same(rooms):
    opened = [laboratory.open_material(rooms, BUDGET) for _ in range(2)]
    assert torch.equal(opened[0].features, opened[1].features)
    assert opened[0].features.shape[1:] == (32, 9) and len(opened[0].measured[0]) == 4
    named = laboratory.open_material(rooms, BUDGET, ["Area_1_office_2"])
    assert not torch.equal(named.features[:1], opened[0].features[:1])


def test_rooms_that_cannot_be_compared_on_are_refused(rooms, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        laboratory.open_material(tmp_path / "nothing", BUDGET)
    with pytest.raises(InputError, match="no room to validate on"):
        laboratory.open_material(rooms, BUDGET, [])
    with pytest.raises(InputError, match="blocks of 8 points are too small"):
        laboratory.open_material(rooms, Budget(1, 1, 8, 1e-3))
    with pytest.raises(InputError, match="fewer than a step takes; add rooms, or lower --batch-size"):
        laboratory.open_material(rooms, Budget(1, 10_000, 32, 1e-3))
