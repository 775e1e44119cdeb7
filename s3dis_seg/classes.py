"""The 13 classes of S3DIS, their colours and synonyms, and the six areas: the only such list in the project."""

import numpy as np

# The order of the field (PointNet, DGCNN, DeepGCN, Pointcept); torch-points3d and KPConv put chair before table.
CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door",
    "table", "chair", "sofa", "bookcase", "board", "clutter",
)  # fmt: skip

# Colours of PointNet's indoor3d_util.py, which most published pictures of S3DIS use.
COLORS = np.array(
    [
        (0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 255), (100, 100, 255), (200, 200, 100),
        (170, 120, 200), (255, 0, 0), (200, 100, 100), (10, 200, 100), (200, 200, 200), (50, 50, 50),
    ],
    dtype=np.uint8,
)  # fmt: skip

SYNONYMS = {"stairs": "clutter"}

AREAS = (1, 2, 3, 4, 5, 6)

UNLABELLED = 255
UNLABELLED_COLOR = np.array((128, 0, 0), dtype=np.uint8)


def colors_of(labels):
    """Class colours of labels or predictions. (P,) integers, 255 for unlabelled -> (P, 3) uint8."""
    table = np.tile(UNLABELLED_COLOR, (256, 1))
    table[: len(COLORS)] = COLORS
    return table[np.asarray(labels, dtype=np.uint8)]
