"""The blocks of PointNet and DeepGCN, as in `room2blocks_plus_normalized` of PointNet's indoor3d_util.py.

Columns of 1 m with inclusive borders; those with fewer than 100 points are dropped; points are drawn with replacement;
nothing is thinned.

Letters: N points a block, n points of one column.
"""

import math

import numpy as np

FEWEST_POINTS = 100  # of a column that is kept


def published_corners(hi, stride, block_size=1.0):
    """Where PointNet puts its columns: 0, stride, ... past the edge, none moved back. -> (n, 2), x-major."""
    counts = [max(math.ceil((float(edge) - block_size) / stride) + 1, 1) for edge in hi[:2]]
    return np.stack(np.meshgrid(*(np.arange(count) * stride for count in counts), indexing="ij"), -1).reshape(-1, 2)


def published_block(xyz, rgb, labels, hi, num_points, rng):
    """One published block of the points of a column, (n, .), in a room that ends at `hi`. -> (N, 9) float32, (N,).

    x and y are taken from the minimum of the drawn points plus half a block, z from the floor of the room; the last
    three channels are xyz / hi.
    """
    chosen = _with_replacement(len(xyz), num_points, rng)
    xyz = xyz[chosen].astype(np.float64)
    center = np.array([*(xyz[:, :2].min(axis=0) + 0.5), 0.0])
    features = np.concatenate([xyz - center, rgb[chosen] / 255.0, xyz / hi], axis=1)
    return features.astype(np.float32), labels[chosen]


def _with_replacement(count, num_points, rng):
    """PointNet's `sample_data`: more points than wanted are drawn with replacement, fewer are all taken and filled."""
    if count == num_points:
        return np.arange(count)
    if count > num_points:
        return rng.choice(count, num_points)
    return np.concatenate([np.arange(count), rng.choice(count, num_points - count)])
