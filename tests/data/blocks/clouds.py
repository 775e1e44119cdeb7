"""Small clouds for the tests of this folder."""

import numpy as np

from s3dis_seg.data.blocks.cloud import Cloud


def cloud_of(xyz, grid=0):
    xyz = np.asarray(xyz, np.float32)
    return Cloud.of(xyz, np.zeros((len(xyz), 3), np.uint8), grid)


def random_xyz(rng, size, count):
    xyz = (rng.random((count, 3)) * size).astype(np.float32)
    return xyz - xyz.min(axis=0)
