"""PointNet's ready-made block files, the folder `indoor3d_sem_seg_hdf5_data`: drawn blocks of every area, stride 0.5.

Their classes are in the order of `classes.CLASSES`. Block files that other projects wrote in the same layout may not
be: torch-points3d and KPConv put chair before table, and nothing in the files says so.
"""

import hashlib
import math
import os
import re
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from s3dis_seg.classes import CLASSES, UNLABELLED
from s3dis_seg.data.rooms.hdf5 import DAMAGES, own_dataset, require_stored
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.data.splits import similar_names
from s3dis_seg.files import InputError

_LIST = "all_files.txt"  # names the block files; by it the folder is recognised
_BYTES_AT_ONCE = 1 << 26  # of blocks looked at in one go: bounds the memory
_LARGEST_CHUNK = 1 << 26  # bytes of a chunk; those of PointNet have 9 million
_LONGEST_LIST = 1 << 22  # bytes; the rooms of PointNet's 23,585 blocks take 600,000
_NOTHING = (None, None, None)


def is_pointnet_folder(folder):
    """Whether a folder holds PointNet's block files."""
    return (Path(folder) / _LIST).is_file()


class PointNetFiles:
    """The blocks of such a folder. Opened where they are read; safe to pickle and to use after a fork.

    room: (n,) name of the room of each block, as Area_1_conferenceRoom_1. num_points: of a block.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._files, self._process, self._unpacked = {}, None, _NOTHING
        self.paths, shapes = [], []
        for line in self._lines(_LIST):
            self.paths.append(self._path_of(line))
            shapes.append(self._shape(self.paths[-1]))
        counts = [count for count, _ in shapes]
        names = self._lines("room_filelist.txt")
        if len(names) != sum(counts):
            raise InputError(
                f"{self.folder / 'room_filelist.txt'} names the rooms of {len(names)} blocks, but the files of "
                f"{_LIST} hold {sum(counts)}; unpack indoor3d_sem_seg_hdf5_data.zip again"
            )
        odd = next((name for name in names if "/" in name or "\\" in name), None)
        if odd:
            raise InputError(f"{self.folder / 'room_filelist.txt'} holds {odd[:40]!r}, which is no name of a room")
        self.room, self.num_points = np.array(names), shapes[0][1]
        if any(points != self.num_points for _, points in shapes):
            raise InputError(f"the block files of {self.folder} have blocks of different sizes; unpack the zip again")
        self._file_of = np.repeat(np.arange(len(counts)), counts)
        self._row_of = np.concatenate([np.arange(count) for count in counts])

    def __getstate__(self):
        return {**self.__dict__, "_files": {}, "_process": None, "_unpacked": _NOTHING}

    def rows_of(self, rooms=None):
        """Numbers of the blocks of some rooms, ascending; of all for None. InputError for a room that is not there."""
        if rooms is None:
            return np.arange(len(self.room))
        known = set(self.room.tolist())
        unknown = [name for name in rooms if name not in known]
        if unknown:
            raise InputError(
                f"{self.folder} has no room {', '.join(unknown)}; {similar_names(unknown[0], sorted(known))}"
            )
        return np.flatnonzero(np.isin(self.room, list(rooms)))

    def block(self, row):
        """One block. -> data (N, 9) float32, labels (N,) uint8

        The files are packed in chunks of 63 blocks, and a single block costs as much to unpack as all of them: the
        last chunk is kept for the next block, which makes reading in order 30 times faster.
        """
        path, row = self.paths[self._file_of[row]], int(self._row_of[row])
        size = (self._open(path)["data"].chunks or (1,))[0]
        start = row - row % size
        if self._unpacked[0] != (path, start):
            part = slice(start, start + size)
            self._unpacked = (path, start), self._numbers(path, "data", part), self._numbers(path, "label", part)
        return self._unpacked[1][row - start], self._unpacked[2][row - start]

    def class_counts(self, rows):
        """Points of each class in some blocks. rows: ascending numbers -> (C,) int64"""
        counts = np.zeros(256, np.int64)
        for path, own in self._by_file(rows):
            labels = self._numbers(path, "label", slice(own[0], own[-1] + 1))[own - own[0]]
            counts += np.bincount(labels.astype(np.uint8).ravel(), minlength=256)
        return counts[: len(CLASSES)]

    def fingerprint(self, rows):
        """SHA-256 of some blocks. rows: ascending numbers -> text"""
        digest = hashlib.sha256()
        for path, own in self._by_file(rows):
            for name in ("data", "label"):
                part = self._numbers(path, name, slice(own[0], own[-1] + 1))
                digest.update(np.ascontiguousarray(part[own - own[0]]))
        return digest.hexdigest()

    def _by_file(self, rows):
        """Rows of blocks file by file, a few at a time. Yields path, (m,) rows within it, not far from each other."""
        most = max(_BYTES_AT_ONCE // (36 * self.num_points), 1)
        for number, path in enumerate(self.paths):
            own = self._row_of[rows[self._file_of[rows] == number]]
            for place in np.unique(own // most):
                yield path, own[own // most == place]

    def _open(self, path):
        if self._process != os.getpid():
            # Handles do not survive a fork.
            self._files, self._process = {}, os.getpid()
        if path not in self._files:
            with _damage_told(path):
                self._files[path] = h5py.File(path, "r", locking=False)
        return self._files[path]

    def _shape(self, path):
        """Number of blocks and of points a block. InputError where the file does not hold them."""
        file = self._open(path)
        with _damage_told(path):
            data, label = (own_dataset(file, name) for name in ("data", "label"))
            if data.dtype.kind != "f" or label.dtype.kind not in "iu" or data.dtype.itemsize > 8:
                raise ValueError(f"its data are {data.dtype} and its labels {label.dtype}")
            if data.ndim != 3 or data.shape != (*label.shape, 9) or 0 in label.shape:
                raise ValueError(f"its data are {data.shape} and its labels {label.shape}")
            for dataset in (data, label):
                require_stored(dataset)
                if math.prod(dataset.chunks or (1, *dataset.shape[1:])) * dataset.dtype.itemsize > _LARGEST_CHUNK:
                    raise ValueError(f"its {dataset.name} is packed in chunks {dataset.chunks}")
        return label.shape

    def _numbers(self, path, name, rows):
        """Some rows of the data or labels of a file. InputError where no network could learn them."""
        file = self._open(path)
        with _damage_told(path):
            values = file[name][rows]
            if name == "data" and not np.isfinite(values).all():
                raise ValueError(f"the blocks {rows.start} to {rows.stop} hold numbers that are not finite")
            if name == "label" and not (((values >= 0) & (values < len(CLASSES))) | (values == UNLABELLED)).all():
                raise ValueError(f"the blocks {rows.start} to {rows.stop} hold labels of no class")
        return values

    def _path_of(self, line):
        """The file that a line of the list names, which lies beside the list. InputError where it cannot be one."""
        name = Path(line).name
        if not re.fullmatch(r"\w[\w.-]{0,199}", name):
            raise InputError(f"{self.folder / _LIST} names {line[:80]!r}, which is no block file; unpack the zip again")
        return self.folder / name

    def _lines(self, name):
        path = self.folder / name
        try:
            if path.stat().st_size > _LONGEST_LIST:
                raise InputError(f"{path} is longer than {_LONGEST_LIST:,} bytes; unpack the archive again")
            words = path.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            raise InputError(
                f"there is no {path}; name the unpacked folder indoor3d_sem_seg_hdf5_data of PointNet"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); unpack the archive again") from error
        odd = next((word for word in words if len(word) > 200 or "\0" in word), None)
        if odd or not words:
            found = f"holds {odd[:40]!r}" if odd else "is empty"
            raise InputError(f"{path} {found}, which is no name; unpack the archive again")
        return words


@contextmanager
def _damage_told(path):
    """Turns what a damaged file raises while it is read into one InputError that names it."""
    try:
        yield
    except DAMAGES as error:
        what = " ".join(str(error.args[-1] if error.args else error).split())[:200]
        raise InputError(
            f"{path} is missing, damaged or no block file of PointNet ({what}); expected data (n, 4096, 9) and label "
            "(n, 4096): unpack the archive again"
        ) from error


class PointNetRoom:
    """A room of which only drawn blocks are at hand. Has what a RoomFile has, but for its points."""

    has_all_points = False
    class_names = CLASSES
    source = "PointNet"

    def __init__(self, files, name):
        self.files, self.name = files, name

    @property
    def area(self):
        return area_of(self.name)

    @property
    def folder(self):
        return self.files.folder

    @cached_property
    def _rows(self):
        return self.files.rows_of([self.name])

    @property
    def num_points(self):
        """Of all its blocks, as often as they were drawn."""
        return len(self._rows) * self.files.num_points

    def room(self):
        """InputError: the points of the room are not there, only blocks drawn from them."""
        raise InputError(
            f"{self.folder} holds only drawn blocks of {self.name}, not its points; prepare the S3DIS release instead"
        )

    def fingerprint(self):
        """What its blocks are, as a text."""
        return self.files.fingerprint(self._rows)
