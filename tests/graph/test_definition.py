"""The definitions of the graph operations, against examples by hand and loops over points."""

import pytest
import torch

from s3dis_seg.graph import definition


def clouds(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def norm_of(channels):
    """A BatchNorm1d with scales of both signs and running statistics unlike the batch's."""
    norm = torch.nn.BatchNorm1d(channels).double()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(clouds(channels, seed=channels))
        norm.running_var.fill_(0.7)
    return norm


def test_neighbors_of_four_points_on_a_line():
    line = torch.tensor([[[0.0], [1.0], [3.0], [7.0]]])
    assert definition.dilated_knn(line, k=2).tolist() == [[[0, 1], [1, 0], [2, 1], [3, 2]]]
    assert definition.dilated_knn(line, k=2, dilation=3).tolist() == [[[0, 3], [1, 3], [2, 3], [3, 0]]]


def test_given_ranks_replace_the_regular_ones():
    line = torch.tensor([[[0.0], [1.0], [3.0], [7.0]]])
    ranks = torch.tensor([1, 3])
    assert definition.dilated_knn(line, k=2, ranks=ranks).tolist() == [[[1, 3], [0, 3], [1, 3], [2, 0]]]


def test_a_point_is_its_own_first_neighbor_among_its_duplicates_and_ties_go_by_index():
    x = torch.tensor([[[5.0], [5.0], [5.0], [4.0], [6.0]]])
    assert definition.dilated_knn(x, k=5)[0, 2].tolist() == [2, 0, 1, 3, 4]


def test_among_many_equal_distances_the_lower_index_comes_first():
    x = (torch.arange(300) % 7).double().view(1, 300, 1)
    found = definition.dilated_knn(x, k=300)
    for i in range(300):
        wanted = sorted(range(300), key=lambda j, i=i: (j != i, abs(j % 7 - i % 7), j))
        assert found[0, i].tolist() == wanted


def test_neighbors_are_the_nearest_in_every_cloud():
    x = clouds(2, 30, 5)
    found = definition.dilated_knn(x, k=4, dilation=3)
    for cloud in range(2):
        for i in range(30):
            distances = (x[cloud] - x[cloud, i]).square().sum(1)
            assert found[cloud, i].tolist() == distances.argsort()[[0, 3, 6, 9]].tolist()


def test_far_from_the_origin_the_neighbors_stay_the_same():
    x = clouds(1, 200, 3)
    assert torch.equal(definition.dilated_knn(x + 1e6, 8), definition.dilated_knn(x, 8))


def test_too_few_points_say_how_many_are_needed():
    with pytest.raises(ValueError, match="at least 10 points; found 9"):
        definition.dilated_knn(clouds(1, 9, 3), k=4, dilation=3)


def test_max_neighbors_is_the_largest_feature_of_the_neighbors():
    x, neighbors = clouds(2, 12, 3), torch.randint(12, (2, 12, 4), generator=torch.Generator().manual_seed(1))
    most = definition.max_neighbors(x, neighbors)
    for cloud in range(2):
        for i in range(12):
            assert torch.equal(most[cloud, i], x[cloud, neighbors[cloud, i]].amax(0))


@pytest.mark.parametrize("training", [False, True])
def test_edge_conv_is_the_formula_edge_by_edge(training):
    x, weight, bias = clouds(2, 10, 3), clouds(5, 6, seed=1), clouds(5, seed=2)
    neighbors, norm = definition.dilated_knn(x, 3), norm_of(5)
    edges = [
        torch.relu(weight @ torch.cat([x[b, i], x[b, j] - x[b, i]]) + bias)
        for b in range(2)
        for i in range(10)
        for j in neighbors[b, i]
    ]
    edges = torch.stack(edges)
    mean, variance = (edges.mean(0), edges.var(0, correction=0)) if training else (norm.running_mean, norm.running_var)
    wanted = norm.weight * (edges - mean) / (variance + norm.eps).sqrt() + norm.bias
    running_mean = norm.running_mean * 0.9 + edges.mean(0) * 0.1
    running_var = norm.running_var * 0.9 + edges.var(0) * 0.1

    found = definition.edge_conv(x, neighbors, weight, bias, norm, training=training)

    torch.testing.assert_close(found, wanted.view(2, 10, 3, 5).amax(2), rtol=0, atol=1e-12)
    if training:
        torch.testing.assert_close(norm.running_mean, running_mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(norm.running_var, running_var, rtol=0, atol=1e-12)
    assert norm.num_batches_tracked == int(training)


def test_gradients_of_edge_conv_are_those_of_finite_differences():
    x, weight, bias, norm = clouds(1, 8, 2), clouds(3, 4, seed=1), clouds(3, seed=2), norm_of(3)
    neighbors = definition.dilated_knn(x, 3)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda *leaf: definition.edge_conv(leaf[0], neighbors, *leaf[1:], norm), leaves)
