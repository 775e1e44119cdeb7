"""A folder of prepared rooms: one HDF5 file a room, sorted by cell, so that a block reads only its cells.

Letters: P points, K occupied cells, C classes.
"""

import hashlib
import json
import os
import re
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.rooms.cells import CellTable, HeightProfile, height_profile, sort_by_cell
from s3dis_seg.data.rooms.hdf5 import DAMAGES, own_dataset, require_stored
from s3dis_seg.data.rooms.room import Repair, Room, area_of
from s3dis_seg.files import InputError, replacing

FORMAT_VERSION = 1
BYTES_PER_POINT = 18  # on disk: xyz 12, rgb 3, label 1, instances compressed to about 1, tables
_MOST_OPEN_FILES = 128  # a release of many rooms must not meet the limit of the system (often 1024)

# The datasets of a prepared room: type, and shape in points P, cells K and height bins B.
_DATASETS = {
    "xyz": (np.float32, "P3"),
    "rgb": (np.uint8, "P3"),
    "labels": (np.uint8, "P"),
    "instances": (np.int32, "P"),
    "cells/indices": (np.int64, "K2"),
    "cells/starts": (np.int64, "S"),
    "profile/starts": (np.int64, "S"),
    "profile/bins": (np.int32, "B"),
    "profile/counts": (np.int32, "B"),
}


def room_path(name, folder):
    """Where the room of that name lies in a folder of prepared rooms."""
    return Path(folder) / f"{name}.h5"


def write_room(room, folder):
    """Write a room as `folder`/name.h5, sorted by cell; the file appears whole or not at all. -> its path"""
    _check(room)
    order, cells = sort_by_cell(room.xyz)
    xyz = room.xyz[order]
    profile = height_profile(xyz[:, 2], cells)
    path = room_path(room.name, folder)
    with replacing(path) as temporary:
        try:
            _write(temporary, room, order, xyz, cells, profile)
        except OSError as error:
            raise _in_plain_words(error) from error
    return path


def _write(path, room, order, xyz, cells, profile):
    with h5py.File(path, "w") as file:
        # Contiguous and uncompressed: a block is a few short slices, read without touching anything beside them.
        file.create_dataset("xyz", data=xyz)
        file.create_dataset("rgb", data=room.rgb[order])
        file.create_dataset("labels", data=room.labels[order])
        file.create_dataset("instances", data=room.instances[order], chunks=True, compression="lzf", shuffle=True)
        for group, table in (("cells", cells), ("profile", profile)):
            for name, values in vars(table).items():
                file[f"{group}/{name}"] = values
        # A dataset, because attributes are limited to 64 KB.
        file["repairs"] = json.dumps([asdict(repair) for repair in room.repairs])
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["name"] = room.name
        file.attrs["source"] = room.source
        file.attrs["class_names"] = json.dumps(room.class_names)
        file.attrs["class_counts"] = np.bincount(room.labels, minlength=256)[: len(room.class_names)]
        file.attrs["offset"] = np.asarray(room.offset, np.float64)
        file.attrs["hi"] = xyz.max(axis=0).astype(np.float64)


def _in_plain_words(error):
    """HDF5 hides the reason, such as a full disk, in a paragraph of its own. -> OSError with the system's words"""
    number = re.search(r"errno = (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else error


def _check(room):
    """InputError where a room cannot be stored as the format promises."""
    if not re.fullmatch(r"[^/\\]+", room.name):
        raise InputError(f"the room name {room.name!r} cannot be a file name; rename the room in its source")
    if len(room.xyz) == 0:
        raise InputError(f"the room {room.name} ({room.source}) has no points")
    if not np.isfinite(room.xyz).all():
        bad = np.flatnonzero(~np.isfinite(room.xyz).all(axis=1))
        raise InputError(
            f"the room {room.name} ({room.source}) has {len(bad)} points with NaN or infinite coordinates, "
            f"the first is point {bad[0]}; remove them from the source"
        )
    if (room.xyz.min(axis=0) != 0).any():
        raise ValueError(f"xyz of {room.name} must start at 0 on every axis, not at {room.xyz.min(axis=0)}")
    wrong = room.labels[(room.labels >= len(room.class_names)) & (room.labels != UNLABELLED)]
    if len(wrong):
        raise InputError(
            f"the room {room.name} ({room.source}) has the label {wrong[0]}; expected 0 to "
            f"{len(room.class_names) - 1}, or {UNLABELLED} for unlabelled"
        )


def find_rooms(folder):
    """Prepared rooms of a folder, sorted by name. -> list of paths; InputError where there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; make it with: s3dis-seg prepare RAW --out {folder}")
    # A file that is being written has a hidden name, which pathlib's glob would show.
    paths = sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))
    if not paths:
        raise InputError(f"{folder} holds no prepared rooms (*.h5); make them with: s3dis-seg prepare RAW --out FOLDER")
    return paths


# Open files by process and RoomFile, the least recently used first.
_open_files = OrderedDict()


class RoomFile:
    """A prepared room on disk, opened when it is first read. Safe to pickle and to use after a fork.

    name, area, class_names, source, repairs: as in Room; offset: (3,) float64; hi: (3,) float64, the largest xyz (the
    smallest is 0); num_points; class_counts: (C,) int64 points of each class; cells: CellTable;
    profile: HeightProfile. All of these are read once and kept; the points are not.
    """

    has_all_points = True

    def __init__(self, path):
        self.path = Path(path)

    @property
    def folder(self):
        return self.path.parent

    def fingerprint(self):
        """What its points are: SHA-256 of the file, as a text. InputError where it cannot be read."""
        digest = hashlib.sha256()
        try:
            with open(self.path, "rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
            return digest.hexdigest()
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}; check its permissions") from error

    def __repr__(self):
        return f"RoomFile({str(self.path)!r})"

    def __getstate__(self):
        return {"path": self.path}

    @property
    def _opened(self):
        """The file, and its datasets of points: looking these up by name takes longer than reading a cell."""
        key = (os.getpid(), id(self))
        opened = _open_files.get(key)
        if opened is None:
            file = _open(self.path)
            try:
                with _damage_told(self.path):
                    _check_datasets(file)
                    points = tuple(file[name] for name in ("xyz", "rgb", "labels"))
            except InputError:
                file.close()
                raise
            opened = _open_files[key] = file, points
            if len(_open_files) > _MOST_OPEN_FILES:
                _open_files.popitem(last=False)[1][0].close()
        _open_files.move_to_end(key)
        return opened

    @property
    def _file(self):
        return self._opened[0]

    def close(self):
        """Close the file; the next read opens it again."""
        opened = _open_files.pop((os.getpid(), id(self)), None)
        if opened is not None:
            opened[0].close()

    def __del__(self):
        # Another RoomFile may get this one's id. At exit the table may be gone before us.
        if _open_files is not None:
            self.close()

    @cached_property
    def _head(self):
        file = self._file
        with _damage_told(self.path):
            head = dict(file.attrs)
            head["num_points"] = len(file["labels"])
            head["class_names"] = tuple(json.loads(head["class_names"]))
            _check_head(head)
        return head

    @property
    def name(self):
        return self._head["name"]

    @property
    def area(self):
        return area_of(self.name)

    @property
    def class_names(self):
        return self._head["class_names"]

    @property
    def class_counts(self):
        return self._head["class_counts"]

    @property
    def source(self):
        return self._head["source"]

    @property
    def num_points(self):
        return self._head["num_points"]

    @property
    def offset(self):
        return self._head["offset"]

    @property
    def hi(self):
        return self._head["hi"]

    @property
    def repairs(self):
        file = self._file
        with _damage_told(self.path):
            repairs = own_dataset(file, "repairs")
            if repairs.shape != ():
                raise ValueError("its repairs are no text")
            return tuple(Repair(**fields) for fields in json.loads(repairs.asstr()[()]))

    @cached_property
    def cells(self):
        file = self._file
        with _damage_told(self.path):
            table = CellTable(file["cells/indices"][:], file["cells/starts"][:])
            _check_cells(table, self.num_points)
        return table

    @cached_property
    def profile(self):
        file, cells = self._file, self.cells
        with _damage_told(self.path):
            parts = (file[f"profile/{name}"][:] for name in ("starts", "bins", "counts"))
            profile = HeightProfile(*parts)
            _check_profile(profile, cells)
        return profile

    def read(self, start, stop):
        """Points start:stop in the order of the file. -> xyz (n, 3) float32, rgb (n, 3) uint8, labels (n,) uint8"""
        _, points = self._opened
        with _damage_told(self.path):
            xyz, rgb, labels = (values[start:stop] for values in points)
            _check_points(xyz, labels, self.hi.max(), len(self.class_names))
        return xyz, rgb, labels

    def room(self):
        """Everything, in the order of the file. -> Room"""
        xyz, rgb, labels = self.read(0, self.num_points)
        with _damage_told(self.path):
            instances = self._file["instances"][:]
        return Room(
            self.name,
            xyz,
            self.offset,
            rgb,
            labels,
            instances,
            self.source,
            self.class_names,
            self.repairs,
        )


def _open(path):
    try:
        # Prepared rooms never change, and locks fail on some network folders.
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise InputError(f"there is no room {path}") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as a prepared room ({error}); delete it and run s3dis-seg prepare again"
        ) from error
    try:
        with _damage_told(path):
            version = file.attrs.get("format_version")
    except InputError:
        file.close()
        raise
    if not isinstance(version, (int, np.integer)) or version != FORMAT_VERSION:
        file.close()
        found = "is no prepared room" if version is None else f"has format version {str(version)[:80]}"
        raise InputError(f"{path} {found}; expected version {FORMAT_VERSION}: run s3dis-seg prepare again")
    return file


@contextmanager
def _damage_told(path):
    """Turns what a damaged file raises while it is read into one InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except DAMAGES as error:
        what = _shortened(error.args[0] if error.args else type(error).__name__)
        raise InputError(f"{path} is damaged ({what}); delete it and run s3dis-seg prepare again") from error


def _shortened(value):
    """A value for an error in one line: a damaged file may hold any, however large."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_datasets(file):
    """ValueError or KeyError where a dataset of a prepared room is missing, of another kind, or kept elsewhere."""
    sizes = {"3": 3, "2": 2}
    for name, (dtype, letters) in _DATASETS.items():
        dataset = own_dataset(file, name)
        shape = dataset.shape
        expected = tuple(sizes.setdefault(letter, size) for letter, size in zip(letters, shape))
        if dataset.dtype != dtype or len(shape) != len(letters) or shape != expected:
            raise ValueError(f"its dataset {name} is {dataset.dtype} {shape}, which does not fit the others")
        require_stored(dataset)
    if sizes["S"] != sizes["K"] + 1 or sizes["P"] == 0:
        raise ValueError(f"its tables hold {sizes['K']} cells and {sizes['S']} borders of {sizes['P']} points")


def _check_head(head):
    """ValueError or KeyError where what a room says about itself cannot be."""
    if not isinstance(head["name"], str) or not re.fullmatch(r"[^/\\\0]+", head["name"]):
        raise ValueError(f"its name is {_shortened(head['name'])!r}")
    if not isinstance(head["source"], str):
        raise ValueError("its source is no text")
    if not all(isinstance(name, str) for name in head["class_names"]):
        raise ValueError("its class names are no texts")
    if len(head["class_names"]) > UNLABELLED:
        raise ValueError(f"it names {len(head['class_names'])} classes; expected at most {UNLABELLED}")
    counts = np.asarray(head["class_counts"])
    if counts.shape != (len(head["class_names"]),) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"its counts of {len(head['class_names'])} classes are {_shortened(counts)}")
    for name in ("offset", "hi"):
        value = np.asarray(head[name])
        if value.shape != (3,) or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
            raise ValueError(f"its {name} is {_shortened(head[name])}; expected three finite numbers")
    if (head["hi"] < 0).any():
        raise ValueError(f"its hi is {head['hi']}, which lies below its points")


def _check_cells(table, points):
    """ValueError where a table of cells does not hold every point once, or its cells are out of order."""
    _check_starts(table.starts, points, "cells/starts")
    x, y = table.indices.T
    ascending = (np.diff(x) > 0) | ((np.diff(x) == 0) & (np.diff(y) > 0))
    if table.indices.min() < 0 or not ascending.all():
        raise ValueError("its cells/indices are out of order")


def _check_profile(profile, cells):
    """ValueError where a height profile does not count every point of every cell once."""
    _check_starts(profile.starts, len(profile.bins), "profile/starts")
    counts = profile.counts.astype(np.int64)
    sums = np.add.reduceat(counts, profile.starts[:-1])
    if counts.min() < 1 or profile.bins.min() < 0 or (sums != np.diff(cells.starts)).any():
        raise ValueError("its profile does not count each point once")


def _check_points(xyz, labels, farthest, classes):
    """ValueError for points outside of the room, NaN included, and for labels of no class."""
    if len(xyz) and not (xyz.min() >= 0 and xyz.max() <= farthest):
        raise ValueError("it has points outside of its own box")
    if ((labels >= classes) & (labels != UNLABELLED)).any():
        raise ValueError(f"it has labels beyond its {classes} classes")


def _check_starts(starts, end, name):
    """ValueError where the borders between cells do not ascend from 0 to `end`."""
    if starts[0] != 0 or starts[-1] != end or (np.diff(starts) <= 0).any():
        raise ValueError(f"its {name} do not ascend from 0 to {end}")
