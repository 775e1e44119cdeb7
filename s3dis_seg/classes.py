"""The 13 classes of S3DIS with their colours and synonyms, and its six areas. No other file repeats these lists."""

import numpy as np

# The number of a class is its place here. PointNet, DGCNN, DeepGCN and Pointcept number them in this order;
# torch-points3d and KPConv put chair before table.
CLASSES: tuple[str, ...] = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door",
    "table", "chair", "sofa", "bookcase", "board", "clutter",
)  # fmt: skip

# (13, 3) red, green, blue. From PointNet's indoor3d_util.py; most published pictures of S3DIS have these colours.
COLORS: np.ndarray = np.array(
    [
        (0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 255), (100, 100, 255), (200, 200, 100),
        (170, 120, 200), (255, 0, 0), (200, 100, 100), (10, 200, 100), (200, 200, 200), (50, 50, 50),
    ],
    dtype=np.uint8,
)  # fmt: skip

SYNONYMS = {"stairs": "clutter"}  # names of objects in the release that are no class of their own

AREAS = (1, 2, 3, 4, 5, 6)

UNLABELLED = 255  # the label of points without a class; losses and scores leave them out
UNLABELLED_COLOR = np.array((128, 0, 0), dtype=np.uint8)


def colors_of(labels):
    """The colours of labels or predictions. (P,) class numbers, 255 for unlabelled -> (P, 3) uint8"""
    table = np.tile(UNLABELLED_COLOR, (256, 1))
    table[: len(COLORS)] = COLORS
    return table[np.asarray(labels, dtype=np.uint8)]
