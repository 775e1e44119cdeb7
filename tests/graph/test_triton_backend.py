"""The Triton kernels against the definition: on a GPU where there is one, else small, in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from s3dis_seg.graph import definition

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported, which only the kernels do

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def kernels(monkeypatch):
    """The module, with steps so short that small clouds take several."""
    from s3dis_seg.graph import triton_backend as kernels

    monkeypatch.setattr(kernels, "STEP", 8)
    return kernels


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def assert_nearest(x, ranks, found, share=1.0):
    """At least `share` of the ranks as in float64, where equal distances count as equal."""
    expected = definition.dilated_knn(x.double(), len(ranks), ranks=ranks)
    distances = (x.double()[:, :, None] - x.double()[:, None]).square().sum(dim=-1) if x.shape[1] < 1000 else None
    if distances is None:
        distances = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    same = (found == expected) | (distances.gather(2, found) == distances.gather(2, expected))
    assert same.double().mean() >= share
    assert (found.sort(dim=2).values.diff(dim=2) > 0).all()  # nobody twice


def test_neighbours_on_a_line_come_in_the_order_of_distance_and_ties_in_that_of_index(kernels):
    line = torch.tensor([[0.0], [1.0], [2.0], [4.0]], device=DEVICE)[None]
    assert kernels.knn(line, torch.arange(3))[0].tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]


@pytest.mark.parametrize("channels", [3, 5])
def test_the_wanted_ranks_are_those_of_float64(kernels, channels):
    x = random(1, 18, channels)
    ranks = torch.tensor([0, 2, 3, 9])
    assert_nearest(x, ranks, kernels.knn(x, ranks))


def test_a_point_is_its_own_first_neighbour_also_where_points_repeat(kernels):
    x = random(1, 19, 3)
    x[0, 11] = x[0, 4]
    found = kernels.knn(x, torch.arange(2))[0]
    assert found[:, 0].tolist() == list(range(19))
    assert found[11, 1] == 4


def test_more_ties_than_there_is_room_for_are_broken_by_index(kernels, monkeypatch):
    """At ranks up to 9 there is room for 16 candidates; here 16 lie at the same distance, and 2 nearer."""
    monkeypatch.setattr(kernels, "STEP", 16)
    x = torch.zeros(1, 18, 2, device=DEVICE)
    x[0, 2:, 0] = 1
    found = kernels.knn(x, torch.arange(10))[0]
    assert found[1].tolist() == [1, 0, *range(2, 10)]
    assert found[17].tolist() == [17, *range(2, 11)]


@pytest.mark.parametrize(
    "keys",
    [
        [(7 * j) % 40 for j in range(40)],
        [5] * 40,
        [1] * 3 + [5] * 35 + [1] * 2,
        # Few groups of columns (those of the same rest by 8) hold all the small ones.
        [j if j % 8 < 5 else 1000 + j for j in range(40)],
        [2**30 - (j % 2) * 2**29 + j for j in range(37)],
    ],
    ids=["spread", "all equal", "many ties", "few groups", "odd number"],
)
def test_the_smallest_keys_are_kept_and_nothing_is_written_beyond_their_room(kernels, keys):
    wanted, capacity, step = 6, 16, 8
    room = torch.full((2 * capacity,), -7, device=DEVICE)
    row = torch.tensor(keys, dtype=torch.int32, device=DEVICE)
    even = len(keys) % step == 0
    kernels._candidates[(1,)](row, room, len(keys), wanted, False, even, capacity, step, num_warps=1, **kernels.OPTIONS)
    assert (room[capacity:] == -7).all()
    kept = room[:capacity].sort().values[:wanted]
    expected = sorted((key, j) for j, key in enumerate(keys))[:wanted]
    assert list(zip((kept >> 32).tolist(), (kept & 0xFFFFFFFF).tolist())) == expected


def test_neighbours_do_not_depend_on_the_chunks_or_the_run(kernels, monkeypatch):
    x = random(2, 5, 5)
    ranks = torch.tensor([0, 1, 3])
    whole = kernels.knn(x, ranks)
    assert torch.equal(kernels.knn(x, ranks), whole)
    monkeypatch.setattr(kernels, "CHUNK_BYTES", 4 * 5 * 2)  # 2 rows
    assert torch.equal(kernels.knn(x, ranks), whole)
    monkeypatch.setattr(kernels, "CHUNK_BYTES", 4 * 5 * 5)  # 1 cloud
    assert torch.equal(kernels.knn(x, ranks), whole)


def test_features_that_are_not_finite_still_give_points_of_the_cloud(kernels):
    x = random(1, 19, 5)
    x[0, 2] = float("nan")
    x[0, 7] = float("inf")
    found = kernels.knn(x, torch.arange(4))
    assert ((found >= 0) & (found < 19)).all()
    assert found[0, :, 0].tolist() == list(range(19))


@pytest.fixture
def edges():
    """a, c (R, C), neighbors (B, N, k) of which some repeat and one has many, their rows, r = relu(a_i + c_j)"""
    B, N, C, k = 2, 13, 9, 5
    neighbors = torch.randint(0, N, (B, N, k), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    neighbors[:, :, 2] = 4
    a, c = random(B * N, C, seed=2), random(B * N, C, seed=3)
    rows = (neighbors + N * torch.arange(B, device=DEVICE)[:, None, None]).view(B * N, k)
    return a, c, neighbors, rows, (a[:, None] + c[rows]).relu()


def test_the_extreme_is_the_largest_or_the_smallest_or_the_first_and_says_where_it_comes_from(kernels, edges):
    a, c, neighbors, rows, _ = edges
    sign = torch.arange(c.shape[1], device=DEVICE) % 3 - 1.0
    extremes = {-1: c[rows].amin(dim=1), 0: c[rows[:, 0]], 1: c[rows].amax(dim=1)}
    for statistics in (True, False):
        e, arg, *_ = kernels.gather_extreme(a, c, neighbors, sign, statistics)
        for which, expected in extremes.items():
            assert torch.equal(e[:, sign == which], expected[:, sign == which])
        assert torch.equal(c.gather(0, arg.long()), e)
        assert torch.equal(arg[:, 1], rows[:, 0].int())


def test_of_equal_extremes_the_first_neighbour_counts(kernels):
    c = torch.tensor([[1.0], [3.0], [3.0]], device=DEVICE)
    neighbors = torch.tensor([[[0, 2, 1], [1, 2, 0], [0, 1, 2]]], device=DEVICE)
    arg = kernels.gather_extreme(c, c, neighbors, torch.ones(1, device=DEVICE), False)[1]
    assert arg.view(-1).tolist() == [2, 1, 1]


def test_the_statistics_are_sums_over_edges(kernels, edges):
    a, c, neighbors, _, r = edges
    _, _, relu_sum, positive, total, total_of_squares = kernels.gather_extreme(
        a, c, neighbors, torch.ones_like(c[0]), True
    )
    assert torch.equal(positive, (r > 0).float().sum(dim=1))
    torch.testing.assert_close(relu_sum, r.sum(dim=1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(total, r.double().sum(dim=(0, 1)), rtol=1e-6, atol=0)
    torch.testing.assert_close(total_of_squares, r.double().square().sum(dim=(0, 1)), rtol=1e-6, atol=0)


def test_sums_over_incoming_edges_are_those_of_a_scatter(kernels, edges):
    a, c, neighbors, rows, r = edges
    values, (p, q) = random(*c.shape, seed=4), random(2, c.shape[1], seed=5)
    arg = kernels.gather_extreme(c, c, neighbors, torch.ones_like(c[0]), False)[1]
    at_extremes = torch.zeros_like(c, dtype=torch.float64).scatter_add(0, arg.long(), values.double())
    scattered = kernels.scatter_at(values, arg, neighbors)
    torch.testing.assert_close(scattered.double(), at_extremes, rtol=1e-6, atol=1e-6)
    weights = torch.where(r > 0, q.double() * r.double() + p.double(), 0)
    everything = at_extremes.index_add(0, rows.flatten(), weights.flatten(0, 1))
    scattered = kernels.scatter_edges(values, arg, neighbors, a, c, p, q)
    torch.testing.assert_close(scattered.double(), everything, rtol=1e-5, atol=1e-5)
    assert torch.equal(kernels.scatter_edges(values, arg, neighbors, a, c, p, q), scattered)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from s3dis_seg.graph import triton_backend as kernels

POINTERS = dict(
    x="fp32", norms="fp32", keys="i32", candidates="i64", slot_of_rank="i32", out="i64", a="fp32", c="fp32",
    neighbors="i64", sign="fp32", e="fp32", arg="i32", relu_sum="fp32", positive="fp32", totals="fp64", values="fp32",
    edges="i32", starts="i32", p="fp32", q="fp32",
)

def build(kernel, warps, **constants):
    names = kernel.arg_names
    types = {n: "constexpr" if n in constants else f"*{POINTERS[n]}" if n in POINTERS else "i32" for n in names}
    source = ASTSource(kernel, types, {(names.index(n),): value for n, value in constants.items()})
    triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(num_warps=warps, **kernels.OPTIONS))

build(kernels._distances, 8, DIRECT=True, PRECISION="ieee", ROWS=16, COLS=16, CHANNELS=16)
build(kernels._distances, 8, DIRECT=False, PRECISION=kernels.PRECISION, ROWS=16, COLS=16, CHANNELS=16)
build(kernels._candidates, 1, ALL=False, EVEN=False, CAPACITY=16, STEP=32)
build(kernels._candidates, 1, ALL=True, EVEN=True, CAPACITY=64, STEP=32)
build(kernels._pick, 1, CAPACITY=16)
build(kernels._gather_extreme, 4, STATISTICS=True, ROWS=8, CHANNELS=16)
build(kernels._gather_extreme, 4, STATISTICS=False, ROWS=8, CHANNELS=16,
      a=None, relu_sum=None, positive=None, totals=None)
build(kernels._scatter, 1, ALL_EDGES=True, EDGES=8, CHANNELS=16)
build(kernels._scatter, 1, ALL_EDGES=False, EDGES=8, CHANNELS=16, a=None, c=None, p=None, q=None)
"""


def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path):
    """The interpreter lets pass what the compiler refuses: a type that changes within a loop, for one."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    (tmp_path / "build.py").write_text(COMPILE)  # a file, since the kernels' sources are looked up
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, tmp_path / "build.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def surface(clouds, points, channels, duplicates):
    """Points on three noisy planes, their features from two random layers; a share of the points twice."""
    x = random(clouds, points, 3) * torch.tensor([1, 1, 0.01], device=DEVICE)
    x = (
        x.roll(1, dims=2) * (torch.arange(points, device=DEVICE) % 2)[:, None]
        + x * (1 - torch.arange(points, device=DEVICE) % 2)[:, None]
    )
    x[:, -int(duplicates * points) :] = x[:, : int(duplicates * points)]
    if channels > 3:
        for layer, width in enumerate((3, channels)):
            x = (x @ random(width, channels, seed=layer) / width**0.5).relu()
    return x


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [3, 9, 64, 200])
@pytest.mark.parametrize("dilation", [1, 17, 27])
def test_neighbours_of_full_blocks_are_those_of_float64(channels, dilation):
    from s3dis_seg.graph import triton_backend as kernels

    x = surface(2, 4096, channels, 0.05)
    ranks = torch.arange(16) * dilation
    found = kernels.knn(x, ranks)
    assert_nearest(x, ranks, found, share=0.999)
    assert torch.equal(kernels.knn(x, ranks), found)


@pytest.mark.gpu
@pytest.mark.parametrize("points", [1000, 4099, 20000])
def test_clouds_of_any_size_fit(points):
    from s3dis_seg.graph import triton_backend as kernels

    x = surface(1, points, 32, 0.0)
    assert_nearest(x, torch.arange(16) * 27, kernels.knn(x, torch.arange(16) * 27), share=0.999)
