"""The networks compute what the authors' published code computes, on every clone.

The folder golden/ holds results of lightaime/deep_gcns_torch (commit 4f6681e), computed in float64 with dropout 0 and
without stochastic dilation. Weights and inputs are not stored: they follow from numpy's RandomState, whose stream is
frozen, by the rules of `weights` and `inputs`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import DEFINITION, FAST
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.models.official import from_official
from tests.models.official_layout import to_official

# File -> seed, model, overrides, points of a cloud.
CASES = {
    "res-edge-7": (1, "resgcn28", {"blocks": 7, "channels": 16, "k": 4}, 256),
    "res-edge-14": (2, "resgcn28", {"blocks": 14, "channels": 32, "k": 8}, 384),
    "plain-edge-7": (3, "plaingcn28", {"blocks": 7, "channels": 16, "k": 4}, 256),
    "dense-edge-5": (4, "densegcn28", {"blocks": 5, "channels": 8, "k": 4}, 256),
    "res-mr-7": (5, "resmrgcn28", {"blocks": 7, "channels": 16, "k": 4}, 256),
}


def weights(seed, keys, shapes):
    """The state dict of a case, in the official layout: drawn in the order of its keys, rounded to float32."""
    random = np.random.RandomState(seed)
    state = {}
    for key, text in zip(keys, shapes):
        shape = tuple(int(size) for size in text.split(",") if size)
        leaf = key.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            state[key] = torch.tensor(0)
            continue
        if leaf == "running_mean":
            values = random.normal(0.3, 0.1, shape)
        elif leaf == "running_var":
            values = random.uniform(0.5, 1.5, shape)
        elif leaf == "bias":
            values = random.normal(0, 0.1, shape)
        elif len(shape) == 1:
            values = random.normal(0, 0.6, shape)
        else:
            values = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        state[key] = torch.from_numpy(values.astype(np.float32)).double()
    return state


def inputs(seed, N):
    """-> blocks (2, N, 9) float64, labels (2, N) int64"""
    random = np.random.RandomState(1000 + seed)
    points = random.uniform(0, 1, (2, 9, N, 1)).astype(np.float32)
    labels = random.randint(0, 13, (2, N))
    return torch.from_numpy(points).double().squeeze(-1).transpose(1, 2), torch.from_numpy(labels).long()


def assert_close(found, wanted):
    torch.testing.assert_close(found, torch.as_tensor(wanted).to(found.dtype), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operations", [FAST, DEFINITION], ids=["fast", "definition"])
@pytest.mark.parametrize("name", CASES)
def test_a_network_is_the_published_one_in_evaluation_and_in_a_training_step(name, operations):
    seed, model, overrides, N = CASES[name]
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        golden = dict(file)
    network = DeepGCN(model_config(model, dropout=0.0, epsilon=0.0, **overrides), operations).double()
    network.load_state_dict(from_official(weights(seed, golden["state_keys"], golden["state_shapes"])))
    blocks, labels = inputs(seed, N)

    with torch.no_grad():
        assert_close(network.eval()(blocks), golden["eval_logits"].transpose(0, 2, 1))
    logits = network.train()(blocks)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    assert_close(logits.detach(), golden["train_logits"].transpose(0, 2, 1))
    assert_close(loss.detach(), golden["train_loss"])

    gradients = to_official({key: parameter.grad for key, parameter in network.named_parameters()})
    assert set(gradients) == set(golden["keys"])
    for key, norm, projection in zip(golden["keys"], golden["grad_norms"], golden["grad_projections"]):
        gradient = gradients[key].flatten()
        assert_close(gradient.norm(), norm)
        assert_close(gradient @ torch.arange(len(gradient)).double().cos(), projection)
        if f"grad/{key}" in golden:
            assert_close(gradient, golden[f"grad/{key}"].flatten())
    after = to_official(network.state_dict())
    statistics = [key for key in golden if key.startswith("after/")]
    assert len(statistics) >= 2 * network.config.blocks
    for key in statistics:
        assert_close(after[key.removeprefix("after/")], golden[key])
