"""The networks compute what the authors' code computes: golden outputs, and the same network written down once more."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import DEFINITION, FAST
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.models.official import from_official
from tests.models.official_layout import to_official

# Deterministic also in training: no dropout, no stochastic dilation.
PLAIN_TRAINING = {"k": 4, "dropout": 0.0, "epsilon": 0.0}
GOLDEN = {
    "res-edge-7": ("resgcn28", {"blocks": 7, "channels": 16}),
    "plain-edge-7": ("plaingcn28", {"blocks": 7, "channels": 16}),
    "dense-edge-5": ("densegcn28", {"blocks": 5, "channels": 8}),
    "res-mr-7": ("resmrgcn28", {"blocks": 7, "channels": 16}),
}
OPERATIONS = pytest.mark.parametrize("operations", [FAST, DEFINITION], ids=["fast", "definition"])


class Oracle:
    """Forward pass over an official state dict in float64; dropout and stochastic dilation off.

    After a pass in train mode `running` holds every running statistic as it is after the step.
    """

    def __init__(self, state, block, conv, k, training):
        self.state = {key: value.double() for key, value in state.items()}
        self.block, self.conv, self.k, self.training = block, conv, k, training
        self.running = {}

    def __call__(self, points):
        """(B, N, 9) -> (B, N, 13)"""
        outputs = [self.convolve("head.gconv.nn", points, points[..., :3], 1)]
        blocks = 1 + len({key.split(".")[1] for key in self.state if key.startswith("backbone.")})
        for i in range(blocks - 1):
            x = outputs[-1]
            y = self.convolve(f"backbone.{i}.body.gconv.nn", x, x, 1 if self.block == "plain" else 1 + i)
            outputs.append(torch.cat([x, y], -1) if self.block == "dense" else x + y if self.block == "res" else y)
        x = torch.cat(outputs, -1)
        cloud = self.layer("fusion_block", x).max(1, keepdim=True).values
        x = torch.cat([cloud.expand(-1, x.shape[1], -1), x], -1)
        x = self.layer("prediction.1", self.layer("prediction.0", x))
        return x @ self.state["prediction.3.0.weight"].flatten(1).T + self.state["prediction.3.0.bias"]

    def convolve(self, name, x, space, dilation):
        distances = (space.unsqueeze(2) - space.unsqueeze(1)).square().sum(-1)
        neighbors = distances.argsort(-1)[..., : self.k * dilation : dilation]
        x_j = torch.stack([cloud[of_cloud] for cloud, of_cloud in zip(x, neighbors)])
        x_i = x.unsqueeze(2).expand_as(x_j)
        if self.conv == "mr":
            return self.layer(name, torch.cat([x, (x_j - x_i).amax(2)], -1))
        return self.layer(name, torch.cat([x_i, x_j - x_i], -1)).amax(2)

    def layer(self, name, x):
        weight, bias = self.state[f"{name}.0.weight"].flatten(1), self.state[f"{name}.0.bias"]
        x = F.relu(x @ weight.T + bias)
        mean, variance = self.state[f"{name}.2.running_mean"], self.state[f"{name}.2.running_var"]
        if self.training:
            rows = x.flatten(0, -2)
            self.running[f"{name}.2.running_mean"] = (0.9 * mean + 0.1 * rows.mean(0)).detach()
            self.running[f"{name}.2.running_var"] = (0.9 * variance + 0.1 * rows.var(0)).detach()
            mean, variance = rows.mean(0), rows.var(0, correction=0)
        return self.state[f"{name}.2.weight"] * (x - mean) / (variance + 1e-5).sqrt() + self.state[f"{name}.2.bias"]


class Case:
    """One golden file, or the like of it from random weights: points (B, N, 9), labels (B, N), official state dict."""

    def __init__(self, name, shared=None):
        self.name, self.overrides = GOLDEN[name]
        if shared is None:
            self.golden = {}
            self.state = to_official(random_state(self.model(), seed=len(name)))
            generator = torch.Generator().manual_seed(1)
            self.points = torch.rand(2, 64, 9, generator=generator).double()
            self.labels = torch.randint(13, (2, 64), generator=generator)
        else:
            with np.load(shared / "parity" / f"{name}.npz") as file:
                self.golden = {key: torch.as_tensor(file[key]) for key in file.files}
            self.state = self.golden_part("state/")
            self.points = self.golden["points"].squeeze(-1).transpose(1, 2).double()
            self.labels = self.golden["labels"]

    def golden_part(self, prefix):
        return {key.removeprefix(prefix): value for key, value in self.golden.items() if key.startswith(prefix)}

    def model(self, operations=FAST):
        return DeepGCN(model_config(self.name, **PLAIN_TRAINING, **self.overrides), operations).double()

    def loaded(self, operations):
        model = self.model(operations)
        model.load_state_dict(from_official(self.state))
        return model

    def oracle(self, training):
        config = self.model().config
        return Oracle(self.state, config.block, config.conv, config.k, training)


def random_state(model, seed):
    """Random weights, BatchNorm scales of both signs and random running statistics."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in model.state_dict().items():
        noise = torch.randn(value.shape, dtype=torch.float64, generator=generator)
        state[key] = {
            "num_batches_tracked": value,
            "running_var": noise.exp(),
            "weight": noise / max(value.shape[-1:], default=1) ** 0.5 if value.dim() == 2 else noise,
        }.get(key.rpartition(".")[2], noise)
    return state


@pytest.fixture(params=[*GOLDEN, *(f"random-{name}" for name in GOLDEN)])
def case(request):
    if request.param.startswith("random-"):
        return Case(request.param.removeprefix("random-"))
    return Case(request.param, request.getfixturevalue("shared"))


def assert_close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@OPERATIONS
def test_evaluation_and_one_training_step_equal_the_authors(case, operations):
    model = case.loaded(operations)
    assert_close(model.eval()(case.points), case.oracle(training=False)(case.points))
    if case.golden:
        assert_close(model(case.points), case.golden["eval_logits"].transpose(1, 2))

    oracle = case.oracle(training=True)
    for value in oracle.state.values():
        value.requires_grad_()
    wanted_logits = oracle(case.points)
    wanted_loss = F.cross_entropy(wanted_logits.transpose(1, 2), case.labels)
    wanted_loss.backward()
    gradients = {key: value.grad for key, value in oracle.state.items() if value.grad is not None}

    logits = model.train()(case.points)
    loss = F.cross_entropy(logits.transpose(1, 2), case.labels)
    loss.backward()

    if case.golden:
        assert_close(loss, case.golden["train_loss"])
        assert_close(logits, case.golden["train_logits"].transpose(1, 2))
        golden = case.golden_part("grad/")
        assert len(golden) >= 30
        gradients |= golden
    assert_close(loss, wanted_loss)
    assert_close(logits, wanted_logits)
    found = to_official({key: parameter.grad for key, parameter in model.named_parameters()})
    assert set(found) == {key for key in gradients if "running" not in key}
    for key, gradient in found.items():
        assert_close(gradient, gradients[key])
    after = to_official(model.state_dict())
    for key, value in oracle.running.items():
        assert_close(after[key], value)
    assert all(value == case.state[key] + 1 for key, value in after.items() if key.endswith("num_batches_tracked"))


def test_the_official_file_gives_the_golden_logits(shared):
    case = Case("res-edge-7", shared)
    path = shared / "parity" / "official-res-edge-7.pth"
    model, card = load_checkpoint(path, model="resgcn28", blocks=7, channels=16, k=4)
    assert_close(model.double()(case.points), case.golden["eval_logits"].transpose(1, 2))
    assert card.blocks.normalization == "official"
    assert card.blocks.frame_size == float("inf")
