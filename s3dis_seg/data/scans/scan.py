"""The scan that every format is read into. Letters: P points."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s3dis_seg.classes import S3DIS, Classes


@dataclass
class Scan:
    """The points of one scan.

    xyz: (P, 3) metres, z upwards, float32 or float64 as in the file; may be a read-only view of the mapped file.
    rgb: (P, 3) uint8, or None where the file has no colours (intensity alone counts as none).
    columns: every attribute of a point by its name in the file, (P,) each, coordinates and colours included, unchanged.
    predictions, confidence: (P,) uint8 and float32, from `segment` or from a file that it wrote.
    classes: what the numbers of predictions and labels mean.
    words: attributes that hold words instead of numbers, (P,) each, by their name in the file; they are not written.
    labels: (P,) uint8 or None; given class numbers, 255 for unlabelled, where an attribute with a usual name has them.
    units, up: of the coordinates in the file, as keys of UNITS and UP; `xyz` is in metres and z upwards all the same.
    path: the file, where there is one. warnings: sentences about what was odd in the file, for telling.
    source: what the reader of the format keeps, so that its writer can write everything again.
    """

    xyz: np.ndarray
    rgb: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    predictions: np.ndarray | None = None
    confidence: np.ndarray | None = None
    labels: np.ndarray | None = None
    classes: Classes = field(default=S3DIS, repr=False)
    words: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    units: str = "m"
    up: str = "z"
    path: Path | None = None
    warnings: list[str] = field(default_factory=list)
    source: Any = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.xyz)
