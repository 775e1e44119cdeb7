"""From a column to blocks, the same for training and for inference: draw points, compute the channels, normalise.

Letters: N points a block, n points of a column.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.blocks.columns import draws
from s3dis_seg.data.blocks.features import block_features, frame_of, moved_frame, normalize


@dataclass(frozen=True)
class Block:
    """N points of a column, as the network sees them.

    features: (N, 9) float32. ids, labels: (N,) of the points in their source. votes: (N,) bool, whether the
    prediction of a point counts; False where it was only drawn to fill the block.
    """

    features: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    votes: np.ndarray


def blocks_of(column, source, corner, settings, rng, z_range=None, change=None):
    """The blocks of a column, one for each draw. Yields Block.

    column: a Column that `column_points` cut from `source` at `corner` (2,). settings: BlockSettings.
    change: a function (xyz, rgb, rng) -> xyz, rgb, (3, 3) map, such as `augment.augment` or a turn. It gets coordinates
    about the centre of the column at the floor of its frame, and the frame moves with them.
    """
    center = corner + settings.block_size / 2
    frame = frame_of(source, center, settings.frame_size, z_range)
    for places, votes in zip(*draws(column.num_inside, settings.num_points, rng)):
        xyz, rgb = column.xyz[places], column.rgb[places]
        if change is None:
            features = block_features(xyz, rgb, center, frame)
        else:
            xyz, rgb, linear = change(xyz - np.array([*center, frame.origin[2]]), rgb, rng)
            moved = moved_frame(frame, center, source.hi, settings.frame_size, linear)
            features = block_features(xyz, rgb, (0.0, 0.0), moved)
        yield Block(normalize(features, settings.normalization), column.ids[places], column.labels[places], votes)
