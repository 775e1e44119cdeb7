"""PointNet's blocks."""

import numpy as np
import pytest

from s3dis_seg.data.blocks.published import FEWEST_POINTS, published_block, published_corners


def random_xyz(rng, size, count):
    xyz = (rng.random((count, 3)) * size).astype(np.float32)
    return xyz - xyz.min(axis=0)


def published_blocks(xyz, rgb, labels, stride, num_points, rng):
    """All blocks of a room, as the dataset makes them. Yields features (N, 9), labels (N,)."""
    for corner in published_corners(xyz.max(axis=0), stride):
        inside = ((xyz[:, :2] >= corner) & (xyz[:, :2] <= corner + 1.0)).all(axis=1)
        if inside.sum() >= FEWEST_POINTS:
            yield published_block(xyz[inside], rgb[inside], labels[inside], xyz.max(axis=0), num_points, rng)


def pointnet_room2blocks(data_label, num_point, stride, rng):
    """PointNet's indoor3d_util.py, room2blocks_plus_normalized, in the order of its steps."""
    data, label = data_label[:, :6].copy(), data_label[:, -1]
    data[:, 3:6] /= 255.0
    limit = data.max(axis=0)[:3]
    features, labels = [], []
    for i in range(int(np.ceil((limit[0] - 1.0) / stride)) + 1):
        for j in range(int(np.ceil((limit[1] - 1.0) / stride)) + 1):
            x, y = data[:, 0], data[:, 1]
            inside = (x <= i * stride + 1) & (x >= i * stride) & (y <= j * stride + 1) & (y >= j * stride)
            if inside.sum() < 100:
                continue
            count = inside.sum()
            if count > num_point:
                sample = rng.choice(count, num_point)
            elif count < num_point:
                sample = np.concatenate([np.arange(count), rng.choice(count, num_point - count)])
            else:
                sample = np.arange(count)
            block = data[inside][sample]
            room_place = block[:, :3] / limit
            block[:, 0] -= block[:, 0].min() + 0.5
            block[:, 1] -= block[:, 1].min() + 0.5
            features.append(np.concatenate([block, room_place], axis=1))
            labels.append(label[inside][sample])
    return np.array(features), np.array(labels)


@pytest.mark.parametrize("stride", [1.0, 0.5])
def test_published_blocks_are_those_of_pointnet(stride):
    rng = np.random.default_rng(15)
    xyz = random_xyz(rng, (3.7, 2.2, 2.5), 3000)
    # A sparse corner, so that columns are dropped; a full one, so that points are drawn with replacement.
    xyz = xyz[(xyz[:, 0] < 2.5) | (rng.random(3000) < 0.1)]
    rgb = rng.integers(0, 256, xyz.shape).astype(np.uint8)
    labels = rng.integers(0, 13, len(xyz)).astype(np.uint8)
    ours = list(published_blocks(xyz, rgb, labels, stride, 350, np.random.default_rng(0)))
    rows = np.concatenate([xyz, rgb, labels[:, None]], axis=1).astype(np.float64)
    features, wanted = pointnet_room2blocks(rows, 350, stride, np.random.default_rng(0))
    assert 0 < len(ours) == len(features)
    np.testing.assert_allclose([block for block, _ in ours], features, atol=1e-6)
    np.testing.assert_array_equal([label for _, label in ours], wanted)
    assert ours[0][0].dtype == np.float32
