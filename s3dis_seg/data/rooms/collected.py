"""Folders of Area_X_room.npy, the "collected" form of PointNet, PointNet++ and others."""

from pathlib import Path

import numpy as np

from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.rooms.room_source import (
    RoomSource,
    as_labels,
    as_rgb,
    check_extent,
    is_stray,
    load_array,
    source_label,
)
from s3dis_seg.files import InputError


def find_npy_rooms(folder):
    """Files Area_X_room.npy of a folder. -> list of RoomSource"""
    paths = (path for path in Path(folder).glob("*.npy") if not is_stray(path))
    return [
        RoomSource(path.stem, path, read_npy_room, path.stat().st_size // 28, path.stat().st_mtime) for path in paths
    ]


def read_npy_room(path, name):
    """A (P, 7) array of x y z (metres, from any origin), r g b, class id. -> Room without instances"""
    table = load_array(path)
    if table.ndim != 2 or table.shape[1] != 7 or table.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: expected numbers of shape (P, 7), 'x y z r g b label', found {table.dtype} {table.shape}"
        )
    if len(table) == 0:
        raise InputError(f"{path} has no points")
    xyz = table[:, :3].astype(np.float64)
    check_extent(xyz, lambda point: f"{path}, row {point}")
    labels = as_labels(table[:, 6], path)
    return room_of(name, xyz, as_rgb(table[:, 3:6], path), labels, source=source_label(path))
