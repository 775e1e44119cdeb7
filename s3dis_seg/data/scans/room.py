"""Prepared rooms (.h5) as scans. Letters: P points."""

import numpy as np


def read(path):
    """Read a prepared room. -> columns (name -> (P,) array) with its labels as `classification`, its Classes"""
    from s3dis_seg.data.rooms.prepared import RoomFile

    room = RoomFile(path).room()
    columns = dict(zip("xyz", (room.xyz.astype(np.float64) + room.offset).T))
    if room.rgb is not None:
        columns |= dict(zip(("red", "green", "blue"), room.rgb.T))
    return columns | {"classification": room.labels, "instance": room.instances}, room.classes.numbered()
