"""The network: convolutions by their formulas, every combination, and what holds whatever the weights."""

import copy
import itertools
import pickle

import pytest
import torch

from s3dis_seg.graph.definition import dilated_knn
from s3dis_seg.models import memory
from s3dis_seg.models.config import BLOCKS, CONVOLUTIONS, GRAPHS, NORMS, DeepGCNConfig
from s3dis_seg.models.convolutions import BY_NAME, DEFINITION, FAST, drop_edges
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.models.memory import Append, max_over_points
from s3dis_seg.models.zoo import create_model

OPERATIONS = pytest.mark.parametrize("operations", [FAST, DEFINITION], ids=["fast", "definition"])


def points(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def small(operations=FAST, **settings):
    """A network of 4 blocks in float64 with BatchNorm scales of both signs, the same on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = DeepGCN(DeepGCNConfig(**{"blocks": 4, "channels": 6, "k": 3, "dropout": 0.0} | settings), operations)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                torch.nn.init.normal_(module.weight)
                torch.nn.init.normal_(module.bias)
    return model.double()


def gradients_of(model, x):
    model(x).square().mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def _attention(conv, x_i, x_j):
    """The shares of the neighbours, (k,)."""
    u, v = conv.attention
    weight = conv.linear.weight
    scores = torch.stack([u @ (weight @ x_i) + v @ (weight @ neighbor) for neighbor in x_j])
    scores = torch.where(scores > 0, scores, 0.2 * scores)
    return scores.exp() / scores.exp().sum()


# Each convolution before its linear layer, point by point: x (N, C), the neighbours' features (k, C), deg of all.
FORMULAS = {
    "mr": lambda conv, x_i, x_j, degrees: torch.cat([x_i, (x_j - x_i).amax(0)]),
    "sage": lambda conv, x_i, x_j, degrees: torch.cat([x_i, conv.neighbor(x_j).relu().amax(0)]),
    "sage-normalized": lambda conv, x_i, x_j, degrees: torch.cat([x_i, conv.neighbor(x_j).relu().amax(0)]),
    "gin": lambda conv, x_i, x_j, degrees: (1 + conv.epsilon) * x_i + x_j.sum(0),
    "gcn": lambda conv, x_i, x_j, degrees: x_j.mean(0),
    "gcn-none": lambda conv, x_i, x_j, degrees: x_j.sum(0),
    "gcn-diagonal": lambda conv, x_i, x_j, degrees: x_j.mean(0) + x_i / len(x_j),
    "gat": lambda conv, x_i, x_j, degrees: _attention(conv, x_i, x_j) @ x_j,
    "gcn-symmetric": lambda conv, x_i, x_j, degrees: (x_j / (len(x_j) * degrees).sqrt().unsqueeze(1)).sum(0),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_convolution_is_its_formula_point_by_point(name):
    torch.manual_seed(0)
    conv = BY_NAME[name](3, 5).double().eval()
    if name == "gin":
        torch.nn.init.constant_(conv.epsilon, 0.3)
    x = points(2, 12, 3) - 0.5
    neighbors = dilated_knn(x, 4)
    aggregated = []
    for cloud, of_cloud in zip(x, neighbors):
        degrees = torch.bincount(of_cloud.flatten(), minlength=12).double()
        aggregated += [FORMULAS[name](conv, cloud[i], cloud[of_cloud[i]], degrees[of_cloud[i]]) for i in range(12)]
    wanted = conv.norm(conv.linear(torch.stack(aggregated)).relu()).view(2, 12, 5)
    if name == "sage-normalized":
        wanted = wanted / wanted.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(conv(x, neighbors, FAST), wanted, rtol=0, atol=1e-12)


def test_multihop_sees_the_neighbors_and_beside_them_the_neighbors_of_neighbors():
    conv = BY_NAME["multihop"](3, 5, "none").double()
    x = points(1, 12, 3) - 0.5
    neighbors = dilated_knn(x, 4)
    adjacency = torch.zeros(12, 12, dtype=torch.float64).scatter_(1, neighbors[0], 1) / 4
    both = torch.cat([adjacency @ x[0], adjacency @ adjacency @ x[0]], dim=1)
    torch.testing.assert_close(conv(x, neighbors, FAST)[0], conv.linear(both).relu(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["layer", "none"])
@OPERATIONS
def test_other_norms_of_an_edge_convolution_follow_the_maximum_with_all_gradients(norm, operations):
    torch.manual_seed(0)
    conv, x = BY_NAME["edge"](3, 5, norm).double(), (points(2, 12, 3) - 0.5).requires_grad_()
    neighbors = dilated_knn(x, 4)
    x_j = torch.stack([cloud[of_cloud] for cloud, of_cloud in zip(x, neighbors)])
    x_i = x.unsqueeze(2).expand_as(x_j)
    wanted = conv.linear(torch.cat([x_i, x_j - x_i], dim=-1)).relu().amax(2)
    if norm == "layer":
        mean, variance = wanted.mean(-1, keepdim=True), wanted.var(-1, keepdim=True, correction=0)
        wanted = conv.norm.weight * (wanted - mean) / (variance + 1e-5).sqrt() + conv.norm.bias
    found = conv(x, neighbors, operations)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    inputs = [x, *conv.parameters()]
    gradients = [torch.autograd.grad(y.square().sum(), inputs, retain_graph=True) for y in (found, wanted)]
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("norm", "conv"), [(norm, conv) for norm in ("layer", "none") for conv in CONVOLUTIONS])
def test_every_convolution_learns_with_every_norm_and_both_engines_agree(norm, conv):
    x = points(2, 20, 9)
    settings = {"conv": conv, "norm": norm, "graph": "fixed", "epsilon": 0.0}
    fast, slow = small(**settings), small(DEFINITION, **settings)
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in fast.modules())
    torch.testing.assert_close(fast.eval()(x), slow.eval()(x), rtol=1e-9, atol=1e-9)
    found, wanted = gradients_of(fast.train(), x), gradients_of(slow.train(), x)
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-9)


def test_the_norm_of_a_config_follows_every_relu():
    assert NORMS == ("batch", "layer", "none")
    counts = {norm: sum("norm.weight" in name for name, _ in small(norm=norm).named_parameters()) for norm in NORMS}
    assert counts == {"batch": 4 + 3, "layer": 4 + 3, "none": 0}


@pytest.mark.parametrize("block", BLOCKS)
def test_without_fusion_the_prediction_sees_the_last_block_only(block):
    seen, x = [], points(2, 20, 9)
    model = small(block=block, fusion=False).eval()
    logits = model(x, watch=seen.append)
    last = seen[-1]
    cloud = model.fusion(last).amax(1, keepdim=True).expand(-1, 20, -1)
    first, second, third = model.prediction
    torch.testing.assert_close(logits, third(second(first(torch.cat([cloud, last], -1)))), rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(model(x), logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_watcher_sees_what_leaves_the_head_and_every_block(block):
    seen, x = [], points(2, 20, 9)
    model = small(block=block, graph="fixed").eval()
    model(x, watch=seen.append)
    assert [features.shape[-1] for features in seen] == model.config.widths
    neighbors = model._neighbor_search(x[..., :3], model.draw_ranks())
    new = model.backbone[1](seen[1], neighbors(None, 2), FAST)
    wanted = {"res": lambda: seen[1] + new, "plain": lambda: new, "dense": lambda: torch.cat([seen[1], new], -1)}
    torch.testing.assert_close(seen[2], wanted[block](), rtol=0, atol=1e-12)


def test_the_gradient_of_features_that_are_watched_counts_every_way_to_the_loss():
    model, x, seen = small(graph="fixed", epsilon=0.0).eval(), points(1, 20, 9), []
    logits = model(x, watch=lambda features: (features.retain_grad(), seen.append(features)))
    logits.square().sum().backward()
    direction = points(*seen[1].shape, seed=3) - 0.5
    values = []
    for step in (-1e-6, 1e-6):
        change = lambda module, inputs, new, step=step: new + step * direction  # noqa: E731
        handle = model.backbone[0].register_forward_hook(change)
        values.append(model(x).square().sum().item())
        handle.remove()
    assert (values[1] - values[0]) / 2e-6 == pytest.approx((seen[1].grad * direction).sum().item(), rel=1e-5)


def test_a_dropped_edge_leads_back_to_the_point_itself_at_the_given_rate():
    neighbors = dilated_knn(points(2, 200, 3), 8)
    assert drop_edges(neighbors, 0.0) is neighbors
    torch.manual_seed(0)
    dropped = drop_edges(neighbors, 0.25)
    changed = dropped != neighbors
    own = torch.arange(200)[:, None].expand(200, 8)
    assert all(torch.equal(cloud[of_cloud], own[of_cloud]) for cloud, of_cloud in zip(dropped, changed))
    assert 0.2 < changed[..., 1:].double().mean() < 0.3


@pytest.mark.parametrize("graph", GRAPHS)
def test_edges_are_dropped_in_training_only_and_the_seed_decides_which(graph):
    model, x = small(edge_drop=0.5, epsilon=0.0, graph=graph), points(2, 20, 9)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model.train()(x))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    whole = small(epsilon=0.0, graph=graph)
    whole.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), whole.eval()(x))


@pytest.mark.parametrize(("block", "conv"), list(itertools.product(BLOCKS, CONVOLUTIONS)))
def test_every_combination_learns_and_both_engines_agree(block, conv):
    x = points(2, 20, 9)
    # One search for both: points with the same neighbours get the same features from gcn, and rounding breaks the tie.
    operations = FAST._replace(dilated_knn=dilated_knn)
    for graph, dilation in itertools.product(GRAPHS, (True, False)):
        settings = {"block": block, "conv": conv, "graph": graph, "dilation": dilation, "epsilon": 0.0}
        fast, slow = small(operations, **settings), small(DEFINITION, **settings)
        torch.testing.assert_close(fast.eval()(x), slow.eval()(x), rtol=1e-9, atol=1e-9)
        found, wanted = gradients_of(fast.train(), x), gradients_of(slow.train(), x)
        for name, gradient in wanted.items():
            assert gradient.abs().max() > 0, name
            torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-9)


@OPERATIONS
def test_the_order_of_points_and_clouds_does_not_matter(operations):
    model, x = small(operations).eval(), points(3, 40, 9)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[:, order]), model(x)[:, order], rtol=0, atol=1e-10)
    torch.testing.assert_close(model(x[[2, 0]]), model(x)[[2, 0]], rtol=0, atol=1e-10)


def test_neighbors_are_sought_again_in_every_block_unless_the_graph_is_fixed():
    for graph, searches in (("dynamic", 4), ("fixed", 1)):
        seen = []

        def counting(x, *args, seen=seen, **kwargs):
            seen.append(x.shape[-1])
            return dilated_knn(x, *args, **kwargs)

        small(FAST._replace(dilated_knn=counting), graph=graph).eval()(points(1, 20, 9))
        assert len(seen) == searches
        assert seen[0] == 3


def test_a_fixed_graph_is_dilated_by_layer():
    xyz = points(1, 20, 3)
    neighbors = small(graph="fixed")._neighbor_search(xyz, [torch.arange(3) * dilation for dilation in (1, 1, 2, 3)])
    for i, dilation in enumerate((1, 1, 2, 3)):
        assert torch.equal(neighbors(None, i), dilated_knn(xyz, 3, dilation))


def test_resgcn28_needs_406_points_and_432_while_ranks_are_drawn():
    with torch.device("meta"):
        model = create_model("resgcn28")
    assert model.train().points_needed == 432
    assert model.eval().points_needed == 406
    with torch.device("meta"):
        assert create_model("plaingcn28").points_needed == 16


@pytest.mark.parametrize("graph", GRAPHS)
def test_as_few_points_as_needed_are_enough_and_one_less_is_not(graph):
    model = small(graph=graph, epsilon=1.0)
    for mode in (True, False):
        model.train(mode)
        needed = model.points_needed
        assert needed == (9 if mode else 7)
        model(points(2, needed, 9))
        with pytest.raises(ValueError, match=f"at least {needed} points .*found {needed - 1}"):
            model(points(2, needed - 1, 9))


def test_blocks_of_another_shape_are_refused():
    for shape in ((20, 9), (1, 9, 20), (1, 20, 6)):
        with pytest.raises(ValueError, match=r"expected blocks of shape \(B, N, 9\); found"):
            small()(points(*shape))


def test_stochastic_ranks_come_from_the_generator_of_the_model_and_only_in_training():
    model, x = small(epsilon=0.5), points(1, 30, 9)
    before = model.generator.get_state()
    torch.manual_seed(1)
    first = model.train()(x)
    after = model.generator.get_state()
    assert not torch.equal(before, after)
    model.generator.set_state(before)
    torch.manual_seed(2)
    assert torch.equal(model(x), first)
    model.eval()(x)
    assert torch.equal(model.generator.get_state(), after)


def test_stochastic_ranks_are_drawn_for_each_layer_and_step_at_the_given_rate():
    model = small(blocks=41, epsilon=0.2)
    regular = [torch.arange(3) * dilation for dilation in model.config.dilations]
    assert all(map(torch.equal, model.eval().draw_ranks(), regular))
    model.seed_ranks(0)
    draws = [model.train().draw_ranks() for _ in range(50)]
    other = sum(not torch.equal(*pair) for ranks in draws for pair in zip(ranks[10:], regular[10:]))
    assert 0.15 < other / (50 * 31) < 0.25
    assert all(ranks[i][-1] < 3 * model.config.dilations[i] for ranks in draws for i in range(41))


def test_ranks_handed_in_replace_the_draw():
    model, x = small(epsilon=1.0), points(1, 30, 9)
    ranks = small().eval().draw_ranks()
    state = model.generator.get_state()
    torch.testing.assert_close(model(x, ranks), small(epsilon=0.0)(x))
    assert torch.equal(model.generator.get_state(), state)


def test_autocast_leaves_the_graph_convolutions_alone():
    model, x = small().float().eval(), points(2, 40, 9, dtype=torch.float32)
    features = []
    original = model._predict
    model._predict = lambda x: (features.append(x), original(x))[1]
    exact = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
    assert torch.equal(*features)
    assert logits.dtype == torch.float32
    assert 0 < (logits - exact).abs().max() < 0.05 * exact.abs().max()


def test_gradients_under_autocast_are_float32():
    x = points(2, 40, 9, dtype=torch.float32)
    wanted = gradients_of(small(epsilon=0.0).float(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients_of(small(epsilon=0.0).float(), x)
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in found.values())
    last = "prediction.2.weight"
    assert (found[last] - wanted[last]).norm() < 0.2 * wanted[last].norm()


def test_the_maximum_over_points_is_that_of_torch_with_its_gradient():
    x = points(3, 50, 7).round(decimals=1).requires_grad_()
    most, wanted = max_over_points(x), x.max(dim=1).values
    assert torch.equal(most, wanted)
    found, wanted = (torch.autograd.grad(values.square().sum(), x)[0] for values in (most, wanted))
    assert torch.equal(found, wanted)


def test_appending_is_concatenation_without_copies():
    grown = torch.empty(2, 3, 6, dtype=torch.float64)
    parts = [points(2, 3, width, seed=width).requires_grad_() for width in (1, 2, 3)]

    def appended(*parts):
        x, sums = parts[0][..., :0], []
        for part in parts:
            x = Append.apply(x, part, grown)
            sums.append(x.square())
        return torch.cat(sums, -1)

    assert torch.autograd.gradcheck(appended, parts)
    x = Append.apply(Append.apply(parts[0][..., :0], parts[0], grown), parts[1], grown)
    assert torch.equal(x, torch.cat(parts[:2], -1))
    assert x.data_ptr() == grown.data_ptr()


def test_a_dense_network_keeps_its_features_once():
    model = small(block="dense", conv="mr", blocks=9)
    kept = {}

    def note(tensor):
        if tensor.shape[:2] == (1, 50):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features = model._features(points(1, 50, 9), model.eval().draw_ranks())
    assert features.shape == (1, 50, 54)
    wide = [size for size in kept.values() if size == features.untyped_storage().nbytes()]
    assert len(wide) <= 1


def test_weights_start_with_the_variance_of_he_and_biases_at_zero():
    torch.manual_seed(0)
    model = create_model("resgcn7")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif parameter.dim() == 2 and parameter.numel() > 5000:
            assert parameter.std().item() == pytest.approx((2 / parameter.shape[1]) ** 0.5, rel=0.05)
    assert model.dropout.p == 0.3


def test_dropout_acts_in_training_only():
    model, x = small(dropout=0.9, epsilon=0.0), points(1, 20, 9)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_a_network_can_be_copied_and_pickled():
    model, x = small().eval(), points(1, 20, 9)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("block", ["res", "dense", "plain"])
def test_clouds_and_points_in_pieces_give_the_logits_of_all_together(block, monkeypatch):
    model, x = small(block=block).eval(), points(5, 30, 9)
    together = model(x).detach()  # gradients are wanted
    sizes = []
    features = model._features
    monkeypatch.setattr(model, "_features", lambda clouds, *rest: sizes.append(len(clouds)) or features(clouds, *rest))
    monkeypatch.setattr(memory, "POINTS_OF_CLOUDS", 60)
    monkeypatch.setattr(memory, "POINTS_IN_FUSION", 7)
    with torch.no_grad():
        assert torch.allclose(model(x), together, rtol=1e-12, atol=1e-12)
        assert sizes == [2, 2, 1]


def test_every_convolution_of_a_config_is_there():
    assert tuple(BY_NAME) == CONVOLUTIONS
