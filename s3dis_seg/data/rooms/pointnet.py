"""PointNet's ready-made block files, the folder `indoor3d_sem_seg_hdf5_data`: drawn blocks of every area, stride 0.5.

Their classes are in the order of `classes.CLASSES`. Block files that other projects wrote in the same layout may not
be: torch-points3d and KPConv put chair before table, and nothing in the files says so.
"""

import hashlib
import os
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from s3dis_seg.classes import CLASSES, S3DIS
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.data.splits import similar_names
from s3dis_seg.files import InputError

_LIST = "all_files.txt"  # names the block files; by it the folder is recognised
_ROWS_AT_ONCE = 1000  # blocks looked at in one go: bounds the memory
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
        self.paths = [self.folder / Path(line).name for line in self._lines(_LIST)]
        counts = [self._count(path) for path in self.paths]
        self.room = np.array(self._lines("room_filelist.txt"))
        if len(self.room) != sum(counts):
            raise InputError(
                f"{self.folder / 'room_filelist.txt'} names the rooms of {len(self.room)} blocks, but the files of "
                f"{_LIST} hold {sum(counts)}; unpack indoor3d_sem_seg_hdf5_data.zip again"
            )
        self.num_points = self._open(self.paths[0])["label"].shape[1]
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
        file = self._open(path)
        size = (file["data"].chunks or (1,))[0]
        start = row - row % size
        if self._unpacked[0] != (path, start):
            part = slice(start, start + size)
            self._unpacked = (path, start), file["data"][part], file["label"][part]
        return self._unpacked[1][row - start], self._unpacked[2][row - start]

    def class_counts(self, rows):
        """Points of each class in some blocks. rows: ascending numbers -> (C,) int64"""
        counts = np.zeros(256, np.int64)
        for path, own in self._by_file(rows):
            labels = self._open(path)["label"][own[0] : own[-1] + 1][own - own[0]]
            counts += np.bincount(labels.astype(np.uint8).ravel(), minlength=256)
        return counts[: len(CLASSES)]

    def fingerprint(self, rows):
        """SHA-256 of some blocks. rows: ascending numbers -> text"""
        digest = hashlib.sha256()
        for path, own in self._by_file(rows):
            for name in ("data", "label"):
                digest.update(np.ascontiguousarray(self._open(path)[name][own[0] : own[-1] + 1][own - own[0]]))
        return digest.hexdigest()

    def _by_file(self, rows):
        """Rows of blocks file by file, _ROWS_AT_ONCE at most. Yields path, (m,) rows within it."""
        for number, path in enumerate(self.paths):
            own = self._row_of[rows[self._file_of[rows] == number]]
            for start in range(0, len(own), _ROWS_AT_ONCE):
                yield path, own[start : start + _ROWS_AT_ONCE]

    def _open(self, path):
        if self._process != os.getpid():
            # Handles do not survive a fork.
            self._files, self._process = {}, os.getpid()
        if path not in self._files:
            try:
                self._files[path] = h5py.File(path, "r", locking=False)
            except OSError as error:
                raise InputError(f"{path} cannot be read ({error}); unpack the archive again") from error
        return self._files[path]

    def _count(self, path):
        file = self._open(path)
        if "data" not in file or "label" not in file or file["data"].shape[1:] != (*file["label"].shape[1:], 9):
            raise InputError(f"{path} is no block file of PointNet: expected data (n, 4096, 9) and label (n, 4096)")
        return len(file["data"])

    def _lines(self, name):
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"there is no {path}; name the unpacked folder indoor3d_sem_seg_hdf5_data of PointNet")
        return path.read_text().split()


class PointNetRoom:
    """A room of which only drawn blocks are at hand. Has what a RoomFile has, but for its points."""

    has_all_points = False
    classes = S3DIS
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
