"""Maximum over edges: the same function, gradients and running statistics as the definition, in less memory."""

import copy
import sys

import pytest
import torch

from s3dis_seg.graph import definition, dispatch
from s3dis_seg.graph.edge_max import edge_conv, max_neighbors
from s3dis_seg.graph.knn import dilated_knn
from s3dis_seg.graph.products import linear


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture(params=["numba", "torch"])
def kernels(request, monkeypatch):
    """Runs the test with numba's kernels, and with those in torch alone."""
    if request.param == "numba":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(dispatch, "numba_kernels", lambda: None)


def layer(C, D, dtype=torch.float64):
    """weight, bias and a BatchNorm1d with scales of both signs and running statistics unlike those of the edges."""
    norm = torch.nn.BatchNorm1d(D).to(dtype)
    with torch.no_grad():
        for seed, tensor in enumerate((norm.weight, norm.bias, norm.running_mean)):
            tensor.copy_(random(D, seed=seed))
        norm.running_var.copy_(random(D, seed=3).square() + 0.5)
    return random(D, 2 * C, seed=4, dtype=dtype) / C**0.5, random(D, seed=5, dtype=dtype), norm


def results(function, x, neighbors, weight, bias, norm, **options):
    """Everything a step gives: output, gradients of x, weight, bias, gamma and beta, and the running statistics."""
    norm = copy.deepcopy(norm)
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, weight, bias)]
    y = function(leaves[0], neighbors, *leaves[1:], norm, **options)
    y.backward(random(*y.shape, seed=6, dtype=y.dtype))
    return {
        "y": y.detach(),
        **dict(zip(("x", "weight", "bias"), (leaf.grad for leaf in leaves))),
        **{"gamma": norm.weight.grad, "beta": norm.bias.grad},
        **{"running_mean": norm.running_mean, "running_var": norm.running_var, "steps": norm.num_batches_tracked},
    }


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        scale = value.abs().max().double() + (0 if value.abs().max() > 0 else 1)
        assert (found[name] - value).abs().max() <= tolerance * scale, name


# ---------------------------------------------------------------------------------------------------------------------
# Edge convolution


def test_an_edge_convolution_by_hand(kernels):
    # W = [0, 1]: of each point the largest max(x_j - x_i, 0), with BatchNorm as x -> 2 x + 1.
    norm = torch.nn.BatchNorm1d(1, eps=0).double().eval()
    torch.nn.init.constant_(norm.weight, 2)
    torch.nn.init.constant_(norm.bias, 1)
    x = torch.tensor([[[0.0], [1.0], [5.0]]], dtype=torch.float64)
    neighbors = torch.tensor([[[0, 1], [1, 2], [2, 1]]])
    weight = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    y = edge_conv(x, neighbors, weight, torch.zeros(1, dtype=torch.float64), norm)
    assert y.tolist() == [[[3.0], [9.0], [1.0]]]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("C, D, k", [(3, 5, 4), (9, 64, 16), (64, 33, 7), (17, 16, 1), (128, 130, 3)])
def test_it_is_the_definition_to_1e_9_in_float64(kernels, C, D, k, training):
    x = random(2, 61, C)
    neighbors = dilated_knn(x, k, dilation=2)
    step = (x, neighbors, *layer(C, D))
    assert_same(
        results(edge_conv, *step, training=training), results(definition.edge_conv, *step, training=training), 1e-9
    )


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("C, D, k", [(3, 64, 16), (64, 64, 16), (2048, 7, 2), (5, 2048, 3)])
def test_it_is_the_definition_to_1e_4_in_float32(kernels, C, D, k, training):
    x = random(3, 101, C, dtype=torch.float32)
    step = (x, dilated_knn(x, k, dilation=3), *layer(C, D, torch.float32))
    assert_same(
        results(edge_conv, *step, training=training), results(definition.edge_conv, *step, training=training), 1e-4
    )


def test_points_that_repeat_and_neighbours_named_twice_give_their_gradient_to_the_first(kernels):
    # Eighths and small whole numbers: every product is exact, so that points which are equal tie on every processor.
    x = (2 * random(2, 40, 6)).round()
    x[:, 20:] = x[:, :20]
    neighbors = dilated_knn(x, 6)
    neighbors[:, 5] = torch.tensor([5, 7, 7, 7, 9, 7])
    weight, bias, norm = layer(6, 19)
    step = (x, neighbors, (8 * weight).round() / 8, (8 * bias).round() / 8, norm)
    assert_same(results(edge_conv, *step), results(definition.edge_conv, *step), 1e-9)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_scales_of_zero_take_the_first_neighbour_as_the_maximum_of_the_definition_does(kernels, training):
    x = random(1, 30, 4)
    weight, bias, norm = layer(4, 20)
    with torch.no_grad():
        norm.weight[::3] = 0
    step = (x, dilated_knn(x, 5).flip(2), weight, bias, norm)
    assert_same(
        results(edge_conv, *step, training=training), results(definition.edge_conv, *step, training=training), 1e-9
    )


def test_channels_that_relu_silences_have_no_gradient(kernels):
    x = random(1, 30, 4)
    weight, _, norm = layer(4, 8)
    step = (x, dilated_knn(x, 5), weight, torch.full((8,), -100.0, dtype=torch.float64), norm)
    found = results(edge_conv, *step)
    assert_same(found, results(definition.edge_conv, *step), 1e-9)
    assert found["x"].abs().max() == 0 and (found["y"] == norm.bias).all()


def test_the_gradient_is_that_of_finite_differences(kernels):
    x = random(1, 9, 3).requires_grad_()
    neighbors = dilated_knn(x, 3)
    weight, bias, norm = layer(3, 4)
    leaves = (x, weight.requires_grad_(), bias.requires_grad_(), norm.weight, norm.bias)

    def step(x, weight, bias, *_):
        return edge_conv(x, neighbors, weight, bias, norm)

    assert torch.autograd.gradcheck(step, leaves)


def test_the_running_statistics_move_only_in_training_and_follow_the_momentum(kernels):
    x = random(2, 30, 4)
    neighbors = dilated_knn(x, 5)
    weight, bias, norm = layer(4, 8)
    for momentum in (0.1, 1.0, None):
        norm.momentum = momentum
        mine, theirs = copy.deepcopy(norm), copy.deepcopy(norm)
        rows = torch.relu(torch.nn.functional.linear(edges_of(x, neighbors), weight, bias))
        for _ in range(2):
            edge_conv(x, neighbors, weight, bias, mine)
            theirs(rows)
        for name, value in theirs.named_buffers():
            assert torch.allclose(getattr(mine, name), value, rtol=1e-12)
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    edge_conv(x, neighbors, weight, bias, norm)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def edges_of(x, neighbors):
    others = definition.gather_neighbors(x, neighbors)
    return torch.cat([x.unsqueeze(2).expand_as(others), others - x.unsqueeze(2)], dim=-1).flatten(0, 2)


def test_views_are_taken_and_gradients_come_back_in_their_shape(kernels):
    x = random(6, 2, 50).permute(1, 2, 0)
    wide = random(2, 50, 9)
    neighbors = dilated_knn(x, 8)[..., ::2]
    weight, bias, norm = layer(6, 10)
    step = (x, neighbors, weight, bias, norm)
    assert not x.is_contiguous() and not neighbors.is_contiguous()
    assert_same(results(edge_conv, *step), results(definition.edge_conv, *step), 1e-9)
    part = (wide[..., 2:8], neighbors, weight, bias, norm)
    assert_same(results(edge_conv, *part), results(definition.edge_conv, *part), 1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_it_computes_in_float32(kernels, dtype):
    x = random(2, 60, 12, dtype=torch.float32).to(dtype)
    weight, bias, norm = layer(12, 24, torch.float32)
    neighbors = dilated_knn(x, 6)
    plain = results(edge_conv, x.float(), neighbors, weight, bias, norm)
    with torch.autocast("cpu", dtype=dtype):
        narrow = results(edge_conv, x, neighbors, weight, bias, norm)
    assert torch.equal(narrow["y"], plain["y"]) and torch.equal(narrow["gamma"], plain["gamma"])
    assert torch.equal(narrow["x"], plain["x"].to(dtype))


def test_what_is_no_number_stays_none(kernels):
    x = random(1, 40, 4)
    neighbors = dilated_knn(x, 5)
    x[0, 7] = torch.nan
    weight, bias, norm = layer(4, 8)
    touched = (neighbors == 7).any(dim=2)
    y = edge_conv(x, neighbors, weight, bias, norm, training=False)
    assert y[touched].isnan().all() and not y[~touched].isnan().any()
    assert edge_conv(x, neighbors, weight, bias, norm, training=True).isnan().all()
    assert torch.equal(max_neighbors(x, neighbors).isnan().all(dim=2), touched)


def test_only_the_features_and_the_table_are_kept_for_the_backward_pass(kernels):
    B, N, C, k = 2, 100, 32, 20
    x = random(B, N, C, dtype=torch.float32).requires_grad_()
    neighbors = dilated_knn(x, k)
    weight, bias, norm = layer(C, C, torch.float32)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        edge_conv(x, neighbors, weight.requires_grad_(), bias, norm)
    assert sum(kept.values()) <= x.nbytes + neighbors.nbytes + 2 * weight.nbytes


def test_the_result_does_not_depend_on_the_number_of_threads(kernels):
    x = random(3, 400, 16, dtype=torch.float32)
    step = (x, dilated_knn(x, 8), *layer(16, 16, torch.float32))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = results(edge_conv, *step)
        torch.set_num_threads(2)
        assert_same(results(edge_conv, *step), alone, 1e-6)
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------------------
# Maximum over neighbours, products


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("C", [3, 16, 37])
def test_the_maximum_over_neighbours_and_its_gradient_are_those_of_torch(kernels, C, dtype):
    x = random(2, 50, C, dtype=dtype)
    x[:, 25:] = x[:, :25]
    neighbors = dilated_knn(x, 6)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    gradient = random(2, 50, C, seed=1, dtype=dtype)
    found, expected = max_neighbors(mine, neighbors), definition.max_neighbors(theirs, neighbors)
    found.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(found, expected)
    assert torch.allclose(mine.grad, theirs.grad, rtol=1e-5 if dtype == torch.float32 else 1e-12)


def test_the_maximum_over_neighbours_keeps_narrow_types(kernels):
    x = random(1, 30, 4, dtype=torch.bfloat16)
    neighbors = dilated_knn(x, 4)
    assert torch.equal(max_neighbors(x, neighbors), definition.max_neighbors(x, neighbors))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_products_are_those_of_torch_whatever_the_layout(dtype):
    whole = random(20, 40, seed=1, dtype=dtype)
    for x, weight in (
        (random(2, 50, 40, dtype=dtype), whole),
        (random(50, 100, dtype=dtype)[:, 7:27], whole[:, 3:23]),
        (random(40, 50, dtype=dtype).T, whole),
    ):
        for bias in (None, random(20, seed=2, dtype=dtype)):
            leaves = [[leaf.detach().clone().requires_grad_() for leaf in (x, weight)] for _ in range(2)]
            found, expected = linear(*leaves[0], bias), torch.nn.functional.linear(*leaves[1], bias)
            gradient = random(*found.shape, seed=3, dtype=dtype)
            found.backward(gradient)
            expected.backward(gradient)
            tolerance = 1e-12 if dtype == torch.float64 else 1e-4
            assert torch.allclose(found, expected, atol=tolerance)
            assert all(torch.allclose(mine.grad, theirs.grad, atol=tolerance) for mine, theirs in zip(*leaves))


# ---------------------------------------------------------------------------------------------------------------------
# Several processes


def step_of_two_clouds(rank=None, group=None):
    """The whole batch, or the cloud of one of two processes."""
    x = random(2, 40, 5)
    here = slice(None) if rank is None else slice(rank, rank + 1)
    neighbors = dilated_knn(x, 6)[here]
    weight, bias, norm = layer(5, 12)
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x[here], weight, bias)]
    y = edge_conv(leaves[0], neighbors, *leaves[1:], norm, process_group=group)
    y.backward(random(2, 40, 12, seed=6)[here])
    gradients = [leaf.grad for leaf in (*leaves, norm.weight, norm.bias)]
    return [y.detach(), *gradients, norm.running_mean, norm.running_var]


def one_of_two(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.save(step_of_two_clouds(rank, torch.distributed.group.WORLD), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo")
def test_two_processes_equal_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    y, dx, dweight, dbias, dgamma, dbeta, mean, variance = step_of_two_clouds()

    def same(found, expected):
        return torch.allclose(found, expected, rtol=1e-9, atol=1e-11)

    assert same(torch.cat([first[0], second[0]]), y) and same(torch.cat([first[1], second[1]]), dx)
    for i, expected in enumerate((dweight, dbias, dgamma, dbeta), start=2):
        assert same(first[i] + second[i], expected)
    for i, expected in enumerate((mean, variance), start=6):
        assert same(first[i], expected) and same(second[i], expected)
