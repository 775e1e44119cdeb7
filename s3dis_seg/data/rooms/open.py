"""A folder of rooms of any kind, opened once."""

import numpy as np

from s3dis_seg.data.rooms.pointnet import PointNetFiles, PointNetRoom, is_pointnet_folder
from s3dis_seg.data.rooms.prepared import RoomFile, find_rooms


def open_rooms(folder):
    """The rooms of a folder, sorted by name: prepared ones, or those of PointNet's block files.

    -> list of RoomFile or PointNetRoom. Both have name, area, classes, class_names, source, num_points, folder,
    fingerprint() and has_all_points; where the latter is False, only drawn blocks are at hand. InputError without any
    room.
    """
    if is_pointnet_folder(folder):
        files = PointNetFiles(folder)
        return [PointNetRoom(files, str(name)) for name in np.unique(files.room)]
    return [RoomFile(path) for path in find_rooms(folder)]
