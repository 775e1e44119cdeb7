"""Training blocks of two columns at once, so that a network learns things apart from the rooms they stand in.

Mix3D (Nekrasov et al., 3DV 2021) lays two scenes over each other. Here a block keeps its number of points: half of them
come from each column, and each keeps its nine channels and its label.

Letters: N points a block.
"""

import numpy as np
import torch
from torch.utils.data import Dataset


class MixedBlocks(Dataset):
    """The blocks of a dataset, a share of them mixed with another block each.

    blocks: a dataset of datasets.py. share: of the blocks that are mixed, 0 to 1; which ones, and with which others, is
    drawn afresh in every epoch.
    """

    def __init__(self, blocks, share, seed=0):
        self.blocks, self.share, self.seed = blocks, share, seed
        self._epoch = 0

    def __len__(self):
        return len(self.blocks)

    def set_epoch(self, epoch):
        """As that of the dataset."""
        self._epoch = epoch
        self.blocks.set_epoch(epoch)

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self._epoch, index, len(self)))
        if rng.random() >= self.share:
            return self.blocks[index]
        return _half_of_each(self.blocks[index], self.blocks[int(rng.integers(len(self)))], rng)


def _half_of_each(one, other, rng):
    """Half of the points of each of two blocks, as (features (N, 9), labels (N,)). -> the same of the mixed block"""
    count = len(one[1])
    places = [rng.permutation(count)[:share] for share in (count - count // 2, count // 2)]
    parts = [(features[chosen], labels[chosen]) for (features, labels), chosen in zip((one, other), places)]
    return tuple(torch.cat(values) for values in zip(*parts))
