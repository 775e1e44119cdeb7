"""The measures on features whose values are known."""

import math

import pytest
import torch

from s3dis_seg.depth import measures
from s3dis_seg.depth.measures import Places, measures_of, places_of
from s3dis_seg.graph.knn import dilated_knn
from s3dis_seg.models.convolutions import BY_NAME, FAST

ALL_PAIRS_OF_4 = torch.combinations(torch.arange(4))


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ring(N):
    """The two neighbours of each of N points on a ring. (N, 2)"""
    own = torch.arange(N)
    return torch.stack([(own - 1) % N, (own + 1) % N], dim=1)


def test_the_energy_is_its_double_sum():
    x, neighbors = random(30, 5), dilated_knn(random(1, 30, 3, seed=1), 5)[0]
    wanted = sum((x[i] - x[j]).square().sum() for i in range(30) for j in neighbors[i].tolist()) / 30
    assert measures.dirichlet_energy(x, neighbors).item() == pytest.approx(wanted.item(), rel=1e-12)


def test_equal_features_have_no_energy_distance_or_cosine_distance():
    x = torch.full((20, 4), 3.0, dtype=torch.float64)
    pairs = torch.combinations(torch.arange(20))
    assert measures.dirichlet_energy(x, ring(20)) == 0
    assert measures.mean_pairwise_distance(x, pairs) == 0
    assert measures.mean_cosine_distance(x, pairs).item() == pytest.approx(0, abs=1e-15)
    # A ratio to no spread has no meaning.
    assert math.isnan(measures.relative_energy(x, ring(20)))
    values = measures.singular_values(x)
    assert math.isnan(measures.effective_rank(values)) and math.isnan(measures.numerical_rank(values))


def test_averaging_over_the_ring_smooths_at_the_rate_of_its_second_eigenvalue():
    """The random walk with loops on a ring of N points has the eigenvalues (1 + 2 cos(2 pi m / N)) / 3."""
    N, steps = 12, 40
    walk = torch.eye(N, dtype=torch.float64) / 3
    for i, near in enumerate(ring(N).tolist()):
        walk[i, near] += 1 / 3
    x = random(N, 3)
    mean, energies, relative = x.mean(dim=0), [], []
    for _ in range(steps):
        energies.append(measures.dirichlet_energy(x, ring(N)).item())
        relative.append(measures.relative_energy(x, ring(N)).item())
        x = walk @ x
    rate = (1 + 2 * math.cos(2 * math.pi / N)) / 3
    torch.testing.assert_close(x, mean.expand(N, 3), rtol=0, atol=5 * rate**steps)
    assert energies[-1] / energies[-2] == pytest.approx(rate**2, rel=1e-3)
    # What is left is the slowest wave, in which neighbours differ by 1 - cos(2 pi / N) of what any two points do.
    assert relative[-1] == pytest.approx(1 - math.cos(2 * math.pi / N), rel=1e-3)


def test_layers_of_a_random_walk_smooth_each_component_to_its_own_mean_at_the_rate_of_the_slower():
    sizes, layers = (12, 8), 120
    with_loops = [torch.cat([torch.arange(N)[:, None], ring(N)], dim=1) for N in sizes]
    neighbors = torch.cat([with_loops[0], with_loops[1] + sizes[0]])
    conv = BY_NAME["gcn"](3, 3, "none").double()
    torch.nn.init.eye_(conv.linear.weight)
    torch.nn.init.zeros_(conv.linear.bias)
    x = random(20, 3).abs()
    means = torch.cat([part.mean(dim=0).expand(len(part), 3) for part in x.split(sizes)])
    energies = []
    for _ in range(layers):
        x = conv(x[None], neighbors[None], FAST)[0].detach()
        energies.append(measures.dirichlet_energy(x, neighbors[:, 1:]).item())
    rate = (1 + 2 * math.cos(2 * math.pi / max(sizes))) / 3
    torch.testing.assert_close(x, means, rtol=0, atol=3 * rate**layers)
    assert energies[-1] / energies[-2] == pytest.approx(rate**2, rel=1e-3)
    # Two points are left: the spread is a line, and neighbours are equal beside it.
    assert measures.effective_rank(measures.singular_values(x)).item() == pytest.approx(1, abs=1e-3)
    assert measures.relative_energy(x, neighbors[:, 1:]).item() < 1e-6


def test_the_relative_energy_is_one_for_unrelated_points_and_blind_to_scale_and_shift():
    x, neighbors = random(2000, 6), dilated_knn(random(1, 2000, 3, seed=1), 9)[0, :, 1:]
    value = measures.relative_energy(x, neighbors).item()
    assert value == pytest.approx(1, abs=0.03)
    assert measures.relative_energy(1e6 * x, neighbors).item() == pytest.approx(value, rel=1e-9)
    assert measures.relative_energy(x + 1e3, neighbors).item() == pytest.approx(value, rel=1e-9)


def test_the_cosine_distance_of_right_angles_is_one_of_a_direction_zero_and_of_opposites_two():
    assert measures.mean_cosine_distance(torch.eye(4).double(), ALL_PAIRS_OF_4).item() == pytest.approx(1)
    scaled = torch.outer(torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), random(5))
    assert measures.mean_cosine_distance(scaled, ALL_PAIRS_OF_4).item() == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0]]).double()
    assert measures.mean_cosine_distance(opposite, torch.tensor([[0, 1]])).item() == pytest.approx(2)


def test_points_without_a_direction_take_no_part_in_the_cosine_distance():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).double()
    assert measures.mean_cosine_distance(x, ALL_PAIRS_OF_4).item() == pytest.approx(1)
    assert math.isnan(measures.mean_cosine_distance(torch.zeros(4, 2), ALL_PAIRS_OF_4))


def test_the_gap_is_that_of_remote_pairs_and_neighbors():
    # Two groups of equal points at right angles: neighbours lie within a group, remote pairs in both.
    x = torch.eye(2).double()[[0, 0, 1, 1]]
    neighbors = torch.tensor([[1], [0], [3], [2]])
    pairs = torch.tensor([[0, 2], [1, 3], [0, 1]])
    remote = torch.tensor([True, True, False])
    assert measures.mad_gap(x, Places(neighbors, pairs, remote)).item() == pytest.approx(1)


def test_a_line_has_rank_one_wherever_it_lies():
    x = torch.outer(random(50), random(8, seed=1)) + 100 * random(8, seed=2)
    assert measures.effective_rank(measures.singular_values(x)).item() == pytest.approx(1, abs=1e-5)
    assert measures.numerical_rank(measures.singular_values(x)).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("C", [5, 60])
def test_a_ball_has_the_rank_of_its_dimension(C):
    # Orthogonal columns of length 1 that sum to 0: all singular values are 1.
    x = torch.linalg.qr(measures.centered(random(100, C)))[0]
    assert measures.effective_rank(measures.singular_values(x)).item() == pytest.approx(C, rel=1e-9)
    assert measures.numerical_rank(measures.singular_values(x)).item() == pytest.approx(C, rel=1e-9)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_singular_values_are_those_of_the_decomposition(shape):
    x = random(*shape)
    wanted = torch.linalg.svdvals(x - x.mean(dim=0))
    found = measures.singular_values(x).sort(descending=True).values
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-7)


def test_the_pairwise_distance_is_that_of_a_simplex():
    assert measures.mean_pairwise_distance(torch.eye(4).double(), ALL_PAIRS_OF_4).item() == pytest.approx(math.sqrt(2))


def test_features_that_are_not_finite_have_no_measures():
    x = random(30, 3)
    places = places_of(x)
    assert not any(map(math.isnan, measures_of(x, places).values()))
    for bad in (math.nan, math.inf):
        x[3, 1] = bad
        assert all(map(math.isnan, measures_of(x, places).values()))


def test_places_are_neighbors_in_space_and_pairs_of_two_points_half_of_them_remote():
    xyz = random(100, 3)
    places = places_of(xyz)
    assert places.neighbors.shape == (100, measures.NEIGHBORS)
    assert not (places.neighbors == torch.arange(100)[:, None]).any()
    assert (places.pairs[:, 0] != places.pairs[:, 1]).all()
    apart = measures.distances(xyz, places.pairs)
    assert places.remote.double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert apart[places.remote].min() >= apart[~places.remote].max()
    assert all(torch.equal(*both) for both in zip(places, places_of(xyz)))
