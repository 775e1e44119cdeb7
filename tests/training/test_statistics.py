"""Statistics of BatchNorm, measured again."""

import pytest
import torch
from torch import nn

from s3dis_seg.models.zoo import create_model
from s3dis_seg.training.statistics import LEAST_VARIANCE, quieten_silent_channels, renew_statistics


def test_statistics_are_those_of_all_batches_together():
    norm = nn.BatchNorm1d(2)
    norm.running_mean += 100
    model = nn.Sequential(nn.Flatten(0, 1), norm).eval()
    batches = [torch.rand(2, 5, 2) + shift for shift in (0.0, 1.0, 5.0)]
    renew_statistics(model, batches)
    rows = [batch.flatten(0, 1) for batch in batches]
    torch.testing.assert_close(norm.running_mean, torch.stack([r.mean(0) for r in rows]).mean(0))
    between_batches = torch.stack([r.mean(0) for r in rows]).var(0, correction=0)
    torch.testing.assert_close(norm.running_var, torch.stack([r.var(0) for r in rows]).mean(0) + between_batches)
    # That is the variance of all rows, but for the correction of the batch variances by R / (R - 1).
    biased = torch.stack([r.var(0, correction=0) for r in rows]).mean(0) + between_batches
    torch.testing.assert_close(biased, torch.cat(rows).var(0, correction=0))
    assert norm.momentum == 0.1 and not model.training


def test_every_layer_of_a_network_gets_fresh_statistics_and_no_weight_moves():
    torch.manual_seed(0)
    model = create_model("resgcn7", blocks=3, channels=8, k=4)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.running_var.fill_(1e6)
    blocks = torch.rand(4, 64, 9)
    renew_statistics(model, [blocks])
    assert all(norm.running_var.max() < 1e3 for norm in norms)
    assert all((weights[name] == value).all() for name, value in model.named_parameters())
    assert model.training


def test_edge_convolutions_see_the_variance_between_batches():
    torch.manual_seed(0)
    model = create_model("resgcn7", blocks=3, channels=8, k=4, epsilon=0.0, dropout=0.0).double()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    batches, seen = [torch.rand(2, 64, 9, dtype=torch.float64) * scale for scale in (1.0, 3.0)], []
    for batch in batches:
        renew_statistics(model, [batch])
        seen.append([(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms])
    renew_statistics(model, batches)
    for norm, (one_mean, one_var), (other_mean, other_var) in zip(norms, *seen):
        torch.testing.assert_close(norm.running_mean, (one_mean + other_mean) / 2)
        wanted = (one_var + other_var) / 2 + ((one_mean - other_mean) / 2).square()
        torch.testing.assert_close(norm.running_var, wanted)


def test_a_channel_that_was_silent_does_not_explode_when_an_odd_block_wakes_it():
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)).eval()
    rows = torch.rand(50, 3) * 2
    rows[:, 1] = -1.0  # the ReLU makes it 0 everywhere
    renew_statistics(model, [rows])
    before = model(rows)
    odd = torch.tensor([[1.0, 1.0, 1.0]])
    assert model(odd)[0, 1] > 300
    loud = model[1].running_var[[0, 2]].clone()
    quieten_silent_channels(model)
    assert model(odd)[0, 1] < 20
    torch.testing.assert_close(model(rows), before)
    assert (model[1].running_var[[0, 2]] == loud).all()
    assert model[1].running_var[1] == pytest.approx(LEAST_VARIANCE * loud.min().item(), rel=0.1)


def test_momenta_come_back_after_an_error():
    model = nn.Sequential(nn.BatchNorm1d(2))

    def broken():
        raise OSError("the disk has gone")
        yield

    with pytest.raises(OSError, match="gone"):
        renew_statistics(model, broken())
    assert model[0].momentum == 0.1


def test_every_module_gets_its_own_mode_back():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    model[1].eval()  # a part that is frozen
    renew_statistics(model, [torch.rand(4, 2)])
    assert model.training and model[0].training and not model[1].training
