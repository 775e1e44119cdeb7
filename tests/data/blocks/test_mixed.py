"""Blocks mixed with another block."""

import pytest
import torch
from torch.utils.data import Dataset

from s3dis_seg.data.blocks.mixed import MixedBlocks


class Numbered(Dataset):
    """Blocks of 8 points that all carry the number of their block, and epochs that are remembered."""

    epoch = 0

    def __len__(self):
        return 50

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        features = torch.arange(8.0).repeat(9, 1).T + 100 * index
        return features, torch.full((8,), index)


def mixed_numbers(blocks):
    return [index for index in range(len(blocks)) if len(blocks[index][1].unique()) > 1]


def test_a_mixed_block_has_half_of_the_points_of_its_own_column_and_half_of_another():
    blocks = MixedBlocks(Numbered(), share=1.0)
    for index in mixed_numbers(blocks):
        features, labels = blocks[index]
        assert (labels == index).sum() == 4
        assert len(features.unique(dim=0)) == 8
        assert (features[:, 0] // 100 == labels).all()  # points keep their labels
    assert len(mixed_numbers(blocks)) > 40  # now and then the other is the block itself


@pytest.mark.parametrize("share, least, most", [(0.0, 0, 0), (0.3, 6, 25)])
def test_a_share_of_the_blocks_is_mixed(share, least, most):
    assert least <= len(mixed_numbers(MixedBlocks(Numbered(), share))) <= most


def test_an_item_depends_on_seed_epoch_and_number_alone():
    blocks, again, other = (MixedBlocks(Numbered(), 0.5, seed) for seed in (3, 3, 4))
    first = [blocks[index][1].tolist() for index in range(50)]
    assert first == [again[index][1].tolist() for index in reversed(range(50))][::-1]
    assert first != [other[index][1].tolist() for index in range(50)]
    blocks.set_epoch(1)
    assert blocks.blocks.epoch == 1
    assert first != [blocks[index][1].tolist() for index in range(50)]
