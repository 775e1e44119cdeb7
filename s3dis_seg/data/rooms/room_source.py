"""What the readers of rooms share: a room that can be read, what lies in folders, and checks of what was read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dis_seg.classes import CLASSES, UNLABELLED
from s3dis_seg.data.rooms.room import Room
from s3dis_seg.data.scans.npy import mapped
from s3dis_seg.files import InputError

# What Finder and Explorer leave behind; Icon's name ends in a carriage return on a Mac.
STRAY_NAMES = {".DS_Store", "Icon", "Icon\r", "Thumbs.db", "desktop.ini", "__MACOSX"}

AREA = re.compile(r"Area_\d+")
ROOM = re.compile(r"[A-Za-z]+_\d+")
_LARGEST_ROOM = 500.0  # metres; the largest of S3DIS has 70


@dataclass(frozen=True)
class RoomSource:
    """A room that can be read. `points` is an estimate; `modified` the newest time stamp of its files."""

    name: str
    path: Path
    reader: Callable[[Path, str], Room]
    points: int
    modified: float

    @property
    def label(self):
        """What the prepared room will say about where it came from: the path below the folder of the release."""
        return source_label(self.path)

    def read(self):
        """-> Room; InputError naming file and line where it is damaged."""
        try:
            return self.reader(self.path, self.name)
        except OSError as error:
            raise InputError(f"cannot read {error.filename or self.path}: {error.strerror or error}") from error


def source_label(path):
    path = Path(path).resolve()
    return "/".join(path.parts[-2 if path.is_file() else -3 :])


def areas_in(folder):
    return [folder] if AREA.fullmatch(folder.name) else subfolders(folder, AREA)


def subfolders(folder, pattern):
    """Folders inside, by name; not the hidden and stray ones."""
    names = (path for path in folder.iterdir() if pattern.fullmatch(path.name) and not is_stray(path))
    return sorted(path for path in names if path.is_dir())


def is_stray(path):
    return path.name in STRAY_NAMES or path.name.startswith(".")


def load_array(path):
    """Numbers of a .npy file, as a view of it. InputError where it is damaged or holds something else."""
    array = mapped(path)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InputError(f"{path}: expected an array of numbers, found {str(array.dtype)[:80]}")
    return array


def check_extent(xyz, place_of):
    """InputError for coordinates that no room in metres can have. place_of: index of a point -> where it was read"""
    bad = ~np.isfinite(xyz).all(axis=1)
    if bad.any():
        raise InputError(f"{place_of(int(bad.argmax()))}: NaN or infinite coordinate ({bad.sum()} such points in all)")
    with np.errstate(over="ignore"):
        extent = xyz.max(axis=0) - xyz.min(axis=0)
    if extent.max() > _LARGEST_ROOM:
        axis = int(extent.argmax())
        furthest = int(np.abs(xyz[:, axis] - np.median(xyz[:, axis])).argmax())
        raise InputError(
            f"{place_of(furthest)}: {' '.join(f'{value:.6g}' for value in xyz[furthest])} makes the room "
            f"{extent.max():.6g} m long along {'xyz'[axis]}; expected metres, a room of at most {_LARGEST_ROOM:g} m. "
            "Correct the line, or convert millimetres to metres"
        )


def as_rgb(colors, where):
    """Colours of any type. -> uint8; numbers from 0 to 1 with fractions are stretched to 255.

    16-bit integers are shortened, unless none exceeds 255: then they are 8-bit colours in a wider type.
    """
    if colors.dtype == np.uint8:
        return colors
    if colors.dtype == np.uint16 and colors.max(initial=0) > 255:
        return np.rint(colors / 257.0).astype(np.uint8)
    if not ((colors >= 0) & (colors <= 255)).all():
        row = int((~((colors >= 0) & (colors <= 255)).all(axis=1)).argmax())
        raise InputError(f"{where}: point {row} (from 0) has the colour {colors[row].tolist()}; expected 0 to 255")
    if colors.max() <= 1 and (colors != np.rint(colors)).any():
        colors = colors * 255.0
    return np.rint(colors).astype(np.uint8)


def as_labels(values, where):
    """Class ids of any type. -> uint8; -1 and 255 are unlabelled"""
    unlabelled = (values == -1) | (values == UNLABELLED)
    good = unlabelled | np.isin(values, range(len(CLASSES)))
    if not good.all():
        row = int((~good).argmax())
        raise InputError(
            f"{where}: point {row} (from 0) has the label {values[row]}; expected a class id from 0 to "
            f"{len(CLASSES) - 1}, or -1 or 255 for unlabelled"
        )
    # Marked last and in the final type: 255 does not fit into int8.
    labels = np.where(unlabelled, 0, values).astype(np.uint8)
    labels[unlabelled] = UNLABELLED
    return labels
