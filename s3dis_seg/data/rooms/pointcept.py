"""Pointcept's room folders: Area_1/office_1/{coord,color,segment,instance}.npy."""

from pathlib import Path

import numpy as np

from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.rooms.room_source import (
    AREA,
    ROOM,
    RoomSource,
    areas_in,
    as_labels,
    as_rgb,
    check_extent,
    load_array,
    source_label,
    subfolders,
)
from s3dis_seg.files import InputError


def find_pointcept_rooms(folder):
    """Folders Area_X/room with coord.npy: `folder` is a room, an area, or their parent. -> list of RoomSource"""
    folder = Path(folder).resolve()
    if (folder / "coord.npy").is_file():
        return [_pointcept_source(folder)]
    rooms = [room for area in areas_in(folder) for room in subfolders(area, ROOM)]
    return [_pointcept_source(room) for room in rooms] if any((room / "coord.npy").is_file() for room in rooms) else []


def _pointcept_source(room):
    stats = [path.stat() for path in room.glob("*.npy")]
    labels = room / "segment.npy"
    points = (room / "coord.npy").stat().st_size // 12 if labels.is_file() and (room / "coord.npy").is_file() else 0
    name = f"{room.parent.name}_{room.name}" if AREA.fullmatch(room.parent.name) else room.name
    return RoomSource(name, room, read_pointcept_room, points, max((stat.st_mtime for stat in stats), default=0.0))


def read_pointcept_room(folder, name):
    """coord (P, 3), color (P, 3), segment (P,) or (P, 1) and, if it is there, instance. -> Room"""
    folder = Path(folder)
    arrays = {}
    for part in ("coord", "color", "segment", "instance"):
        path = folder / f"{part}.npy"
        if path.is_file():
            arrays[part] = load_array(path)
        elif part != "instance":
            raise InputError(f"{folder} has no {part}.npy; expected coord.npy, color.npy and segment.npy of one room")
    count = arrays["coord"].shape[0] if arrays["coord"].ndim else 0
    for part, array_ in arrays.items():
        shape = (count, 3) if part in ("coord", "color") else (count,)
        if array_.ndim > 2 or array_.size == 0 or array_.size != np.prod(shape) or array_.shape[:1] != (count,):
            raise InputError(f"{folder / part}.npy: expected the shape {shape}, found {array_.shape}")
    xyz = arrays["coord"].astype(np.float64)
    check_extent(xyz, lambda point: f"{folder / 'coord.npy'}, row {point}")
    return room_of(
        name,
        xyz,
        as_rgb(arrays["color"], folder / "color.npy"),
        as_labels(arrays["segment"].reshape(-1), folder / "segment.npy"),
        _as_instances(arrays["instance"].reshape(-1), folder / "instance.npy") if "instance" in arrays else None,
        source=source_label(folder),
    )


def _as_instances(values, where):
    """Numbers of objects of any type. -> (P,) int32; InputError where they are not whole or too large"""
    with np.errstate(invalid="ignore"):
        instances = values.astype(np.int32)
    if (instances != values).any():
        row = int((instances != values).argmax())
        raise InputError(f"{where}: point {row} (from 0) has the instance {values[row]}; expected whole numbers")
    return instances
