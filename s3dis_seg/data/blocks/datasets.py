"""Torch datasets over blocks.

Every dataset here gives pairs: features (N, 9) float32 tensor, labels (N,) int64 tensor with 255 for unlabelled.
An item depends on the seed, its number and the epoch, not on the worker process that makes it. Each worker opens the
files itself.

Letters: N points a block.
"""

import copy
import math
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset

from s3dis_seg.classes import S3DIS, UNLABELLED
from s3dis_seg.data.blocks.block import blocks_of
from s3dis_seg.data.blocks.cloud import KeptPlaces, RoomPoints
from s3dis_seg.data.blocks.columns import column_corners, column_points, height_tiles
from s3dis_seg.data.blocks.features import normalize
from s3dis_seg.data.blocks.published import FEWEST_POINTS, published_block, published_corners
from s3dis_seg.data.rooms.cells import CELL
from s3dis_seg.data.rooms.prepared import RoomFile
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.files import InputError

_MOST_TRIES = 20  # columns looked at for one with a labelled point


class BlockDataset(Dataset):
    """The columns of prepared rooms, one block each. Columns without any labelled point teach nothing and are left out.

    settings: a BlockSettings; stride: metres between columns; augment: a function of (xyz, rgb, rng) or None.
    training=True: in every epoch (`set_epoch`) each column is moved by up to half a stride, points are drawn afresh,
    and `augment` (see augment.py) is applied where given. training=False: the same blocks every time.
    """

    def __init__(self, room_paths, settings, stride=0.5, training=True, seed=0, augment=None):
        self.settings, self.stride, self.training, self.seed, self.augment = settings, stride, training, seed, augment
        kept = KeptPlaces()
        self.sources = [RoomPoints(RoomFile(path), settings.grid, kept) for path in room_paths]
        self.classes = _same_classes([source.room for source in self.sources])
        # (source, height range, corners) of every room, or of every slice of a room too tall for the network
        self._parts = [
            (source, z_range, _labelled_corners(source, settings.block_size, stride))
            for source in self.sources
            for z_range in height_tiles(source, settings.tallest)
        ]
        self._ends = np.cumsum([len(corners) for _, _, corners in self._parts])
        self._epoch = 0

    def __len__(self):
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def class_counts(self):
        """Points of each class in all rooms. -> (C,) int64"""
        return _class_counts(self.sources)

    def without_augmentation(self):
        """The same blocks as they are in the rooms, with an epoch of its own. -> BlockDataset"""
        other = copy.copy(self)
        other.augment = None
        return other

    def set_epoch(self, epoch):
        """Move columns and draw points as epoch number `epoch` does; without effect where training is False.

        Worker processes hold copies of the dataset: call this before they start, or in each of them.
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
        # A column can touch a cell with labels and contain none of its labelled points; then the next one is taken.
        # Thinning can remove the few labelled points of a room; then a column without any has to do.
        without_labels = None
        for tries, number in enumerate((np.arange(len(self)) + index) % len(self)):
            if without_labels and tries >= _MOST_TRIES:
                break
            part = int(np.searchsorted(self._ends, number, side="right"))
            source, z_range, corners = self._parts[part]
            corner = corners[number - (self._ends[part] - len(corners))]
            places = [corner]
            if self.training:
                move = rng.uniform(-self.stride / 2, self.stride / 2, 2)
                places.insert(0, np.clip(corner + move, 0.0, np.maximum(source.hi[:2] - size, 0.0)))
            for place in places:
                column = column_points(source, place, size, self.settings.num_points, z_range)
                if (column.labels != UNLABELLED).any():
                    return source, place, column, z_range
                if column.num_inside and without_labels is None:
                    without_labels = source, place, column, z_range
        assert without_labels, "every room has a point, and every point lies in a column"
        return without_labels


class PublishedDataset(Dataset):
    """The blocks of PointNet and DeepGCN made from prepared rooms, drawn once: see published.py.

    room: (n,) name of the room of each block; area: (n,) its area, 0 where the name says none.
    """

    def __init__(self, room_paths, stride=1.0, num_points=4096, seed=0, normalization="none"):
        self.num_points, self.seed, self.normalization = num_points, seed, normalization
        self.sources = [RoomPoints(RoomFile(path), grid=0) for path in room_paths]
        self.classes = _same_classes([source.room for source in self.sources])
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

    def without_augmentation(self):
        """These blocks, which are never augmented."""
        return self

    def set_epoch(self, epoch):
        """Nothing: the published blocks were drawn once."""

    def __getitem__(self, index):
        index = _checked(index, len(self))
        source, corner = self.sources[self._source_of[index]], self._corners[index]
        rng = np.random.default_rng((self.seed, index))
        _, xyz, rgb, labels = source.points_between(corner, corner + 1.0)
        features, labels = published_block(xyz, rgb, labels, source.hi, self.num_points, rng)
        features = normalize(torch.from_numpy(features), self.normalization)
        return features, torch.from_numpy(labels.astype(np.int64))


class PointNetBlocks(Dataset):
    """PointNet's ready-made blocks, of all rooms of a folder or of some.

    files: a PointNetFiles. rooms: names of rooms, None for all. room: (n,) name of the room of each block;
    area: (n,) its area, 0 where the name says none.
    """

    classes = S3DIS

    def __init__(self, files, rooms=None, normalization="none"):
        self.files, self.normalization = files, normalization
        self._rows = files.rows_of(rooms)
        self.room = files.room[self._rows]
        self.area = np.array([area_of(name) or 0 for name in self.room], np.int64)

    def __len__(self):
        return len(self._rows)

    @cached_property
    def class_counts(self):
        """Points of each class in all blocks. -> (C,) int64"""
        return self.files.class_counts(self._rows)

    def without_augmentation(self):
        """These blocks, which are never augmented."""
        return self

    def set_epoch(self, epoch):
        """Nothing: the blocks were drawn once."""

    def __getitem__(self, index):
        data, labels = self.files.block(int(self._rows[_checked(index, len(self))]))
        features = torch.from_numpy(data.astype(np.float32))
        return normalize(features, self.normalization), torch.from_numpy(labels.astype(np.int64))


def blocks_as_published(rooms, stride, num_points, seed=0, normalization="none"):
    """The published blocks of rooms, whatever form the rooms have. rooms: as `open_rooms` gives them. -> dataset"""
    if rooms[0].has_all_points:
        return PublishedDataset([room.path for room in rooms], stride, num_points, seed, normalization)
    return PointNetBlocks(rooms[0].files, [room.name for room in rooms], normalization)


def _class_counts(sources):
    return sum((np.asarray(source.room.class_counts, np.int64) for source in sources), np.zeros((), np.int64))


def tallest(paths):
    """Height in metres of the tallest room, from its 0.1 to its 99.9 percentile; None without rooms.

    The value of `BlockSettings.tallest`.
    """
    heights = [_height(RoomFile(path)) for path in paths]
    return max(heights, default=None)


def _height(room):
    floor, ceiling = room.profile.range([(0, len(room.cells.indices))])
    return ceiling - floor


def _labelled_corners(source, block_size, stride):
    """The columns of a room that touch a cell with a labelled point. -> (n, 2)"""
    corners, labelled = column_corners(source.cells, source.hi, block_size, stride), source.room.labelled_cells
    if labelled.all():
        return corners
    runs = [source.cells.runs(corner, corner + block_size) for corner in corners]
    return corners[[any(labelled[first:last].any() for first, last in run) for run in runs]]


def _kept_corners(source, stride):
    """The published columns of a room that hold enough points. -> (n, 2)."""
    corners = published_corners(source.hi, stride)
    return corners[[_has_enough(source, corner) for corner in corners]]


def _has_enough(source, corner):
    """Whether a published column has 100 points. Counting those of the cells wholly inside it is usually enough."""
    low, high = np.ceil(corner / CELL) * CELL, np.floor((corner + 1.0) / CELL) * CELL
    runs = source.cells.runs(low, np.nextafter(high, -math.inf))
    if sum(source.cells.starts[last] - source.cells.starts[first] for first, last in runs) >= FEWEST_POINTS:
        return True
    return len(source.points_between(corner, corner + 1.0)[0]) >= FEWEST_POINTS


def _same_classes(rooms):
    """The classes all rooms agree on; InputError where they do not."""
    for room in rooms[1:]:
        if room.class_names != rooms[0].class_names:
            raise InputError(
                f"{room.path} has the classes {', '.join(room.class_names)}, {rooms[0].path} has "
                f"{', '.join(rooms[0].class_names)}; prepare both from sources with the same classes"
            )
    return rooms[0].classes if rooms else S3DIS


def _checked(index, length):
    """An index that may be negative, as for a list. -> 0 to length - 1"""
    if not -length <= index < length:
        raise IndexError(f"block {index} of {length}")
    return int(index) % length
