"""A room: its labelled points, and what was mended in its source.

Letters: P points.
"""

import re
from dataclasses import dataclass

import numpy as np

from s3dis_seg.classes import S3DIS, Classes

_NO_INSTANCE = -1


@dataclass(frozen=True)
class Repair:
    """A fault of a source and what was made of it.

    file: relative to the release; line: from 1, None where it concerns the whole file; what: in words;
    known: whether the list of faults of the release (data/s3dis.py) has it.
    """

    file: str
    line: int | None
    what: str
    known: bool = False

    def __str__(self):
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}" + (" (known fault of the release)" if self.known else "")


@dataclass
class Room:
    """Labelled points of one room.

    name: "Area_3_hallway_3"; xyz: (P, 3) float32 metres from `offset`, the minimum on every axis is 0;
    offset: (3,) float64, the room's minimum corner in the coordinates of its source; rgb: (P, 3) uint8;
    labels: (P,) uint8 numbers of `classes`, 255 for unlabelled; instances: (P,) int32, -1 for none; source:
    where the room came from; repairs: a Repair for each fault of the source that was mended, and for each file that was
    left out.
    """

    name: str
    xyz: np.ndarray
    offset: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    source: str
    classes: Classes = S3DIS
    repairs: tuple = ()

    @property
    def class_names(self):
        return self.classes.names

    @property
    def area(self):
        """Which area the name says, or None. -> 1 to 6 in S3DIS"""
        return area_of(self.name)


def area_of(name):
    """Which area a room belongs to, by its name; None where the name says none.

    >>> area_of("Area_3_hallway_3")
    3
    """
    match = re.match(r"Area_(\d+)_", name)
    return int(match.group(1)) if match else None


def room_of(name, xyz, rgb, labels, instances=None, source="", repairs=(), classes=S3DIS):
    """A Room from coordinates anywhere. xyz: (P, 3) float64 metres; the minimum corner becomes the offset."""
    offset = xyz.min(axis=0).astype(np.float64)
    if instances is None:
        instances = np.full(len(xyz), _NO_INSTANCE, np.int32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `write_room` refuses
        relative = (xyz - offset).astype(np.float32)
    return Room(
        name,
        relative,
        offset,
        np.asarray(rgb, np.uint8),
        np.asarray(labels, np.uint8),
        np.asarray(instances, np.int32),
        source,
        classes,
        tuple(repairs),
    )
