"""Torch datasets over blocks.

Every dataset here gives pairs: features (N, 9) float32 tensor, labels (N,) int64 tensor with 255 for unlabelled.
An item depends on the seed, its number and the epoch, not on which worker makes it. Files are opened where they are
read, so that datasets can be handed to worker processes.

Letters: N points a block.
"""

import math
import os
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.blocks import columns as blocks
from s3dis_seg.data.blocks.block import blocks_of
from s3dis_seg.data.blocks.columns import KeptPlaces, RoomWindows
from s3dis_seg.data.blocks.features import normalize
from s3dis_seg.data.rooms.cells import CELL
from s3dis_seg.data.rooms.prepared import RoomFile, area_of
from s3dis_seg.data.splits import similar_names
from s3dis_seg.files import InputError

_NOTHING = (None, None, None)
_ROWS_AT_ONCE = 1000  # blocks whose labels are counted in one go: bounds the memory


class BlockDataset(Dataset):
    """The columns of prepared rooms, one block each.

    settings: a BlockSettings; stride: metres between columns; augment: a function of (xyz, rgb, rng) or None.
    training=True: in every epoch (`set_epoch`) each column is moved by up to half a stride, points are drawn afresh,
    and `augment` (see data/augment.py) is applied where given. training=False: the same blocks every time.
    """

    def __init__(self, room_paths, settings, stride=0.5, training=True, seed=0, augment=None):
        self.settings, self.stride, self.training, self.seed, self.augment = settings, stride, training, seed, augment
        kept = KeptPlaces()
        self.sources = [RoomWindows(RoomFile(path), settings.grid, kept) for path in room_paths]
        self.class_names = _same_classes([source.room for source in self.sources])
        # (source, height range, corners) of every room, or of every slice of a room too tall for the network
        self._parts = [
            (source, z_range, blocks.column_corners(source.cells, source.hi, settings.block_size, stride))
            for source in self.sources
            for z_range in blocks.height_tiles(source, settings.tallest)
        ]
        self._ends = np.cumsum([len(corners) for _, _, corners in self._parts])
        self._epoch = 0

    def __len__(self):
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def class_counts(self):
        """Points of each class in all rooms. -> (C,) int64"""
        return _class_counts(self.sources)

    def set_epoch(self, epoch):
        """Take the moves and draws of this epoch from now on; without effect where training is False.

        Worker processes have copies of their own: call it before they start, or in the worker.
        """
        self._epoch = epoch

    def __getitem__(self, index):
        index = _checked(index, len(self))
        epoch = self._epoch if self.training else 0
        rng = np.random.default_rng((self.seed, epoch, index))
        source, corner, column, z_range = self._column(index, rng)
        block = next(blocks_of(column, source, corner, self.settings, rng, z_range, self.augment))
        return torch.from_numpy(block.features), torch.from_numpy(block.labels.astype(np.int64))

    def _column(self, index, rng):
        """The column of an item, moved when training. -> source, corner (2,), Column, height range."""
        size = self.settings.block_size
        # A column can touch an occupied cell and miss its points; then the next one takes its turn.
        for number in (np.arange(len(self)) + index) % len(self):
            part = int(np.searchsorted(self._ends, number, side="right"))
            source, z_range, corners = self._parts[part]
            corner = corners[number - (self._ends[part] - len(corners))]
            places = [corner]
            if self.training:
                move = rng.uniform(-self.stride / 2, self.stride / 2, 2)
                places.insert(0, np.clip(corner + move, 0.0, np.maximum(source.hi[:2] - size, 0.0)))
            for place in places:
                column = blocks.column_points(source, place, size, self.settings.num_points, z_range)
                if column.num_inside:
                    return source, place, column, z_range
        raise AssertionError("every room has a point, and every point lies in a column")


class PublishedDataset(Dataset):
    """The blocks of PointNet and DeepGCN made from prepared rooms, drawn once: see `blocks.published_blocks`.

    room: (n,) name of the room of each block; area: (n,) its area, 0 where the name says none.
    """

    def __init__(self, room_paths, stride=1.0, num_points=4096, seed=0, normalization="none"):
        self.num_points, self.seed, self.normalization = num_points, seed, normalization
        self.sources = [RoomWindows(RoomFile(path), grid=0) for path in room_paths]
        self.class_names = _same_classes([source.room for source in self.sources])
        corners = [_kept_corners(source, stride) for source in self.sources]
        counts = [len(part) for part in corners]
        self._corners = np.concatenate([np.zeros((0, 2)), *corners])
        self._source_of = np.repeat(np.arange(len(counts)), counts)
        self.room = np.repeat([source.room.name for source in self.sources], counts)
        self.area = np.repeat([source.room.area or 0 for source in self.sources], counts)

    def __len__(self):
        return len(self._corners)

    @property
    def class_counts(self):
        """Points of each class in all rooms. -> (C,) int64"""
        return _class_counts(self.sources)

    def set_epoch(self, epoch):
        """Nothing: the published blocks were drawn once."""

    def __getitem__(self, index):
        index = _checked(index, len(self))
        source, corner = self.sources[self._source_of[index]], self._corners[index]
        rng = np.random.default_rng((self.seed, index))
        _, xyz, rgb, labels = source.window(corner, corner + 1.0)
        features, labels = blocks.published_block(xyz, rgb, labels, source.hi, self.num_points, rng)
        features = normalize(torch.from_numpy(features), self.normalization)
        return features, torch.from_numpy(labels.astype(np.int64))


class PointNetBlocks(Dataset):
    """PointNet's ready-made block files, the folder `indoor3d_sem_seg_hdf5_data` with stride 0.5 in every area.

    Their classes are in the order of `classes.CLASSES`. Block files that other projects wrote in the same layout may
    not be: torch-points3d and KPConv put chair before table, and nothing in the files says so.

    room: (n,) name of the room of each block, as Area_1_conferenceRoom_1; area: (n,) its area.
    """

    class_names = CLASSES

    def __init__(self, folder, areas=None, rooms=None, normalization="none"):
        """areas, rooms: take only the blocks of these areas (1-6) or room names."""
        self.folder, self.normalization = Path(folder), normalization
        self._files, self._process, self._unpacked = {}, None, _NOTHING
        self.paths = [self.folder / Path(line).name for line in self._lines("all_files.txt")]
        counts = [self._count(path) for path in self.paths]
        names = np.array(self._lines("room_filelist.txt"))
        if len(names) != sum(counts):
            raise InputError(
                f"{self.folder / 'room_filelist.txt'} names the rooms of {len(names)} blocks, but the files of "
                f"all_files.txt hold {sum(counts)}; unpack indoor3d_sem_seg_hdf5_data.zip again"
            )
        area = np.array([area_of(name) or 0 for name in names], np.int64)
        chosen = np.ones(len(names), bool)
        if areas is not None:
            _check_known(areas, set(area.tolist()), "area", self.folder)
            chosen &= np.isin(area, list(areas))
        if rooms is not None:
            _check_known(rooms, set(names.tolist()), "room", self.folder)
            chosen &= np.isin(names, list(rooms))
        self.room, self.area = names[chosen], area[chosen]
        self._file_of = np.repeat(np.arange(len(counts)), counts)[chosen]
        self._row_of = np.concatenate([np.arange(count) for count in counts])[chosen]

    def __getstate__(self):
        return {**self.__dict__, "_files": {}, "_process": None, "_unpacked": _NOTHING}

    def __len__(self):
        return len(self.room)

    @cached_property
    def class_counts(self):
        """Points of each class in all blocks. -> (C,) int64"""
        counts = np.zeros(256, np.int64)
        for number, path in enumerate(self.paths):
            rows = np.sort(self._row_of[self._file_of == number])
            for part in np.split(rows, range(_ROWS_AT_ONCE, len(rows), _ROWS_AT_ONCE)) if len(rows) else ():
                labels = self._open(path)["label"][part[0] : part[-1] + 1][part - part[0]]
                counts += np.bincount(labels.astype(np.uint8).ravel(), minlength=256)
        return counts[: len(self.class_names)]

    def set_epoch(self, epoch):
        """Nothing: the blocks were drawn once."""

    def __getitem__(self, index):
        index = _checked(index, len(self))
        data, labels = self._row(self.paths[self._file_of[index]], int(self._row_of[index]))
        features = torch.from_numpy(data.astype(np.float32))
        return normalize(features, self.normalization), torch.from_numpy(labels.astype(np.int64))

    def _row(self, path, row):
        """One block. -> data (N, 9), labels (N,)

        The files are packed in chunks of 63 blocks, and a single block costs as much to unpack as all of them: the
        last chunk is kept for the next block, which makes reading in order 30 times faster.
        """
        file = self._open(path)
        size = (file["data"].chunks or (1,))[0]
        start = row - row % size
        if self._unpacked[0] != (path, start):
            part = slice(start, start + size)
            self._unpacked = (path, start), file["data"][part], file["label"][part]
        return self._unpacked[1][row - start], self._unpacked[2][row - start]

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


def _class_counts(sources):
    return sum((np.asarray(source.room.class_counts, np.int64) for source in sources), np.zeros((), np.int64))


def tallest(paths):
    """Height in metres of the tallest room, from its 0.1 to its 99.9 percentile; None without rooms.

    What `BlockSettings.tallest` wants of the training rooms.
    """
    heights = [_height(RoomFile(path)) for path in paths]
    return max(heights, default=None)


def _height(room):
    floor, ceiling = room.profile.range([(0, len(room.cells.indices))])
    return ceiling - floor


def _kept_corners(source, stride):
    """The published columns of a room that hold enough points. -> (n, 2)."""
    corners = blocks.published_corners(source.hi, stride)
    return corners[[_has_enough(source, corner) for corner in corners]]


def _has_enough(source, corner):
    """Whether a published column is kept. The cells that lie wholly in it usually say so without reading a point."""
    low, high = np.ceil(corner / CELL) * CELL, np.floor((corner + 1.0) / CELL) * CELL
    runs = source.cells.runs(low, np.nextafter(high, -math.inf))
    if sum(source.cells.starts[last] - source.cells.starts[first] for first, last in runs) >= blocks.FEWEST_PUBLISHED:
        return True
    return len(source.window(corner, corner + 1.0)[0]) >= blocks.FEWEST_PUBLISHED


def _same_classes(rooms):
    """The classes all rooms agree on; InputError where they do not."""
    for room in rooms[1:]:
        if room.class_names != rooms[0].class_names:
            raise InputError(
                f"{room.path} has the classes {', '.join(room.class_names)}, {rooms[0].path} has "
                f"{', '.join(rooms[0].class_names)}; prepare both from sources with the same classes"
            )
    return rooms[0].class_names if rooms else CLASSES


def _checked(index, length):
    """An index as a list takes it. -> 0 to length - 1"""
    if not -length <= index < length:
        raise IndexError(f"block {index} of {length}")
    return int(index) % length


def _check_known(wanted, known, what, where):
    unknown = [str(item) for item in wanted if item not in known]
    if unknown:
        near = similar_names(unknown[0], [str(item) for item in known])
        raise InputError(f"{where} has no {what} {', '.join(unknown)}; {near}")
