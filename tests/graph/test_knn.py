"""Dilated neighbours: one contract, held by every backend, checked against the definition in float64."""

import importlib.util
import os
import sys
import types

import numpy as np
import pytest
import torch

from s3dis_seg.graph import definition, dispatch
from s3dis_seg.graph.knn import dilated_knn, wanted_ranks

BACKENDS = ("definition", "numba", "torch", "triton", "torch_cluster")
FAST = ("numba", "torch")
LINE = torch.tensor([[[0.0], [1.0], [3.0], [7.0]]])


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture
def search(request, monkeypatch):
    """dilated_knn through the backend that the test is run for; "torch" is the CPU one where numba is missing."""
    backend = request.param
    if backend == "numba":
        pytest.importorskip("numba")
    if backend == "torch_cluster":
        pytest.importorskip("torch_cluster")
    if backend == "torch":
        monkeypatch.setattr(dispatch, "numba_kernels", lambda: None)
    if backend == "triton":
        if importlib.util.find_spec("triton") is None:
            pytest.skip("needs triton")
        if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
            if "triton" in sys.modules:
                pytest.skip("triton was imported to compile, not to interpret")
            os.environ["TRITON_INTERPRET"] = "1"

    def through(x, *arguments, **options):
        name = "cpu" if backend in FAST else backend
        device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
        return dilated_knn(x.to(device), *arguments, backend=name, **options).cpu()

    return through


def every(*backends):
    return pytest.mark.parametrize("search", backends or BACKENDS, indirect=True)


def squared_distances(x, found):
    """From every point to the neighbours found, in float64. (B, N, C), (B, N, k) -> (B, N, k)"""
    x = x.double()
    return (definition.gather_neighbors(x, found) - x.unsqueeze(2)).square().sum(-1)


def share_as_in_float64(x, found, ranks):
    """How many of the ranks lie as far away as in float64, where everything is exact to 1e-12."""
    expected = squared_distances(x, definition.dilated_knn(x.double(), len(ranks), ranks=ranks))
    agree = (squared_distances(x, found) - expected).abs() <= 1e-12 * (1 + expected)
    return agree.double().mean().item()


# ---------------------------------------------------------------------------------------------------------------------
# Which ranks


def test_the_wanted_ranks_are_every_dilation_th_from_the_point_itself_on():
    assert wanted_ranks(4, 3).tolist() == [0, 3, 6, 9]


def test_stochastic_ranks_are_ascending_distinct_and_below_k_times_dilation():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([wanted_ranks(16, 27, epsilon=1.0, generator=generator) for _ in range(50)])
    assert (draws.diff(dim=1) > 0).all()
    assert draws.min() == 0 and draws.max() > 400 and draws.max() < 432


def test_one_in_five_draws_is_stochastic_at_epsilon_one_fifth_and_the_generator_decides_which():
    def draw_many(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([wanted_ranks(4, 5, epsilon=0.2, generator=generator) for _ in range(500)])

    stochastic = (draw_many(1) != wanted_ranks(4, 5)).any(dim=1).double().mean()
    assert 0.15 < stochastic < 0.25
    assert torch.equal(draw_many(2), draw_many(2))


def test_without_epsilon_no_random_state_is_touched():
    before = torch.get_rng_state()
    wanted_ranks(16, 4)
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------------------------------------------------------------
# The contract


@every()
def test_neighbours_of_four_points_on_a_line(search):
    assert search(LINE, 2).tolist() == [[[0, 1], [1, 0], [2, 1], [3, 2]]]
    assert search(LINE, 2, dilation=3).tolist() == [[[0, 3], [1, 3], [2, 3], [3, 0]]]


@every()
def test_given_ranks_replace_the_regular_ones_and_may_leave_the_point_itself_out(search):
    assert search(LINE, 2, ranks=torch.tensor([1, 3])).tolist() == [[[1, 3], [0, 3], [1, 3], [2, 0]]]


@every()
def test_one_neighbour_is_the_point_itself(search):
    assert search(random(2, 5, 3), 1).tolist() == [[[0], [1], [2], [3], [4]]] * 2


@every("definition", "numba", "torch", "triton")
def test_a_point_comes_first_among_those_that_lie_on_it_and_ties_go_by_index(search):
    x = torch.tensor([[[5.0], [5.0], [5.0], [4.0], [6.0]]])
    assert search(x, 5)[0, 2].tolist() == [2, 0, 1, 3, 4]


@every("numba", "torch")
@pytest.mark.parametrize(
    "points, channels, k, dilation",
    [(406, 64, 16, 27), (700, 5, 9, 3), (97, 200, 4, 7), (33, 3, 33, 1), (1300, 4, 20, 20)],
)
def test_the_ranks_of_random_clouds_are_those_of_float64(search, points, channels, k, dilation):
    x = random(2, points, channels, seed=points)
    ranks = wanted_ranks(k, dilation)
    found = search(x, k, dilation)
    assert found.shape == (2, points, k) and found.dtype == torch.int64
    assert share_as_in_float64(x, found, ranks) > 0.999
    assert (found[..., 0] == torch.arange(points)).all()


@every("numba", "torch", "definition")
@pytest.mark.parametrize("points, channels", [(300, 64), (211, 3), (64, 7)])
def test_float64_is_exact_also_where_points_repeat(search, points, channels):
    x = random(2, points, channels, dtype=torch.float64)
    x[:, points // 2 :] = x[:, : points - points // 2]
    ranks = torch.tensor([0, 1, 2, 5, 17, points - 1])
    difference = (x[:, :, None] - x[:, None]).square().sum(-1)
    difference.diagonal(dim1=1, dim2=2).fill_(-1)
    expected = difference.sort(dim=2, stable=True).indices[..., ranks]
    assert torch.equal(search(x, 6, ranks=ranks), expected)


@every("numba", "torch")
@pytest.mark.parametrize("channels", [3, 64])
def test_where_all_points_are_equal_the_index_decides(search, channels):
    x = torch.ones(1, 600, channels)
    found = search(x, 300, dilation=2)[0]
    assert found[0, :3].tolist() == [0, 2, 4] and found[599].tolist() == [599, *range(1, 599, 2)]


@every("numba", "torch")
def test_points_far_from_the_origin_keep_their_neighbours(search):
    x = random(1, 500, 8)
    near = search(x, 8, dilation=4)
    far = search(x + 1000, 8, dilation=4)
    assert share_as_in_float64((x + 1000), far, wanted_ranks(8, 4)) > 0.98
    assert (near == far).double().mean() > 0.9


@every("numba", "torch")
def test_clouds_of_one_batch_do_not_see_each_other(search):
    x = random(3, 200, 6)
    together = search(x, 4, dilation=3)
    assert all(torch.equal(together[b], search(x[b : b + 1], 4, dilation=3)[0]) for b in range(3))


@every("numba", "torch")
def test_views_and_narrow_types_are_taken(search):
    x = random(6, 2, 150).permute(1, 2, 0)
    assert not x.is_contiguous()
    assert torch.equal(search(x, 5), search(x.contiguous(), 5))
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(search(x.to(dtype), 5), search(x.to(dtype).float(), 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(search(random(1, 150, 16), 5), search(random(1, 150, 16), 5))
        assert share_as_in_float64(random(1, 150, 16), search(random(1, 150, 16), 5), torch.arange(5)) > 0.999


@every("numba", "torch")
def test_no_gradient_comes_back(search):
    assert not search(random(1, 20, 3).requires_grad_(), 4).requires_grad


@every("numba", "torch")
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, 1e-30])
def test_features_that_overflow_still_give_points_of_the_cloud(search, channels, value):
    x = random(1, 700, channels)
    x[0, 3] = value
    if value == 1e-30:
        x *= value
    found = search(x, 30, dilation=20)
    assert found.min() >= 0 and found.max() < 700
    assert (found[..., 0] == torch.arange(700)).all()


@pytest.mark.parametrize("kernels", ["numba", "torch"])
def test_points_without_a_distance_come_last(kernels):
    if kernels == "numba":
        pytest.importorskip("numba")
    module = dispatch.numba_kernels() if kernels == "numba" else dispatch.torch_backend
    x = LINE.repeat(1, 300, 1)
    x[0, 7] = torch.nan
    assert (module.knn(x, torch.arange(1199))[0] == 7).sum() == 1


def test_the_result_does_not_depend_on_the_number_of_threads():
    x = random(2, 800, 32)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(dilated_knn(x, 8, dilation=9))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_form_of_selection_for_this_processor_keeps_what_the_simple_one_keeps(dtype):
    numba_knn = pytest.importorskip("s3dis_seg.graph.numba_knn")
    order = np.arange(256, dtype=np.int32)
    for row in random(3, 256).numpy().astype(dtype):
        for limit in (dtype(0.3), dtype(-9), dtype(9)):
            expected = np.flatnonzero(row <= limit)
            for keep in (numba_knn._keep, numba_knn._keep_singly):
                values, indices = np.empty(320, dtype), np.empty(320, np.int32)
                n = keep(row, order, limit, values, indices)
                assert n == len(expected)
                assert np.array_equal(indices[:n], expected) and np.array_equal(values[:n], row[expected])


# ---------------------------------------------------------------------------------------------------------------------
# Real rooms


@every("numba", "torch")
def test_on_a_real_room_99_9_percent_of_the_ranks_are_those_of_float64_through_28_layers(search, shared):
    rows = np.load(shared / "data/s3dis/rooms/Area_6_office_11.npy")[4096 : 4096 + 640]
    points = torch.from_numpy(rows[:, :6] / np.array([1, 1, 1, 255, 255, 255], np.float32))
    generator = torch.Generator().manual_seed(0)
    features, coordinates, shares = points[None], points[None, :, :3], []
    for layer in range(28):
        ranks = wanted_ranks(16, max(layer, 1))
        x = features if layer else coordinates
        found = search(x, 16, ranks=ranks)
        shares.append(share_as_in_float64(x, found, ranks))
        C = features.shape[2]
        weight = torch.randn(64, 2 * C, generator=generator) * (1 / C) ** 0.5
        edges = torch.relu(
            (features @ (weight[:, :C] - weight[:, C:]).T).unsqueeze(2)
            + definition.gather_neighbors(features @ weight[:, C:].T, found)
        )
        new = (edges.amax(2) - edges.mean((0, 1, 2))) / (edges.var((0, 1, 2)) + 1e-5).sqrt()
        features = new if layer == 0 else features + new
    assert min(shares) >= 0.999


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


@every()
def test_too_few_points_are_refused_with_how_many_it_takes(search):
    with pytest.raises(ValueError, match="at least 406 points; found 400"):
        search(random(1, 400, 3), 16, dilation=27)


@pytest.mark.parametrize("ranks", [[1, 0], [0, 0], [-1, 2], [0]])
def test_ranks_have_to_be_ascending_and_as_many_as_k(ranks):
    with pytest.raises(ValueError, match="2 ascending ranks"):
        dilated_knn(LINE, 2, ranks=torch.tensor(ranks))


def test_a_cloud_without_batch_is_refused():
    with pytest.raises(ValueError, match=r"shape \(B, N, C\); found \(4, 1\)"):
        dilated_knn(LINE[0], 2)


def test_an_unknown_backend_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="auto, definition, cpu, triton, torch_cluster"):
        dilated_knn(LINE, 2, backend="faiss")


def test_triton_refuses_what_it_cannot_take(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "triton_kernels", lambda: object())
    with pytest.raises(ValueError, match="CUDA tensors; found one on cpu"):
        dilated_knn(LINE, 2, backend="triton")
    monkeypatch.setattr(dispatch, "triton_kernels", lambda: None)
    with pytest.raises(ValueError, match="not installed"):
        dilated_knn(LINE, 2, backend="triton")


def pretend_torch_cluster(monkeypatch, knn):
    monkeypatch.setitem(sys.modules, "torch_cluster", types.SimpleNamespace(knn=knn))


def test_missing_neighbours_of_torch_cluster_are_an_error_that_counts_them(monkeypatch):
    pretend_torch_cluster(monkeypatch, lambda *_: torch.zeros(2, 7, dtype=torch.int64))
    with pytest.raises(ValueError, match="found 7 neighbours where 8 were asked for"):
        dilated_knn(LINE, 2, backend="torch_cluster")


def test_torch_cluster_may_leave_a_point_out_of_its_own_neighbours(monkeypatch):
    x = torch.tensor([[[5.0], [5.0], [5.0], [4.0]]])
    found = torch.tensor([[0, 1], [0, 1], [0, 1], [3, 0]]).flatten()
    pretend_torch_cluster(monkeypatch, lambda *_: torch.stack([torch.arange(4).repeat_interleave(2), found]))
    assert dilated_knn(x, 2, backend="torch_cluster").tolist() == [[[0, 1], [1, 0], [2, 0], [3, 0]]]


@pytest.mark.gpu
def test_more_than_100_neighbours_by_torch_cluster_on_cuda_are_refused(monkeypatch):
    pretend_torch_cluster(monkeypatch, None)
    with pytest.raises(ValueError, match="at most 100 neighbours on CUDA, these ranks need 121"):
        dilated_knn(random(1, 200, 3).cuda(), 16, dilation=8, backend="torch_cluster")


def test_without_torch_cluster_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    with pytest.raises(ValueError, match="pip install"):
        dilated_knn(LINE, 2, backend="torch_cluster")
