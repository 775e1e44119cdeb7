"""What a folder of labelled rooms is: the raw release, collected .npy files, or Pointcept's folders."""

from pathlib import Path

from s3dis_seg.data.rooms.collected import find_npy_rooms
from s3dis_seg.data.rooms.pointcept import find_pointcept_rooms
from s3dis_seg.data.rooms.release import find_raw_rooms
from s3dis_seg.data.scans import READABLE
from s3dis_seg.files import InputError


def find_sources(folder):
    """Rooms below `folder`, in whichever of the three forms lies there. -> list of RoomSource, sorted by name"""
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file; unpack it and name the folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {found}; expected the folder of the S3DIS release")
    try:
        for find in (find_raw_rooms, find_pointcept_rooms, find_npy_rooms):
            if sources := find(folder):
                return sorted(sources, key=lambda source: source.name)
        raise InputError(_nothing_found(folder))
    except OSError as error:
        raise InputError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error


def _nothing_found(folder):
    """What to say about a folder without rooms."""
    if blocks := _pointnet_blocks(folder):
        return f"{blocks} holds PointNet's ready-made blocks, which need no preparing: s3dis-seg train --data {blocks}"
    if next(folder.glob("*.h5"), None):
        return f"{folder} holds rooms that are prepared already: s3dis-seg train --data {folder}"
    if scan := next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in READABLE), None):
        return (
            f"{folder} holds no rooms of S3DIS but scans, such as {scan.name}; with labels of your own, name their "
            "property with --label-field and their classes with --classes"
        )
    hint = "; it holds an archive: unpack it first" if next(folder.glob("*.zip"), None) else ""
    return (
        f"{folder} holds no rooms{hint}; expected Area_1/office_1/Annotations/*.txt (the raw release), "
        "Area_1_office_1.npy with 7 columns, or Area_1/office_1/coord.npy (Pointcept)"
    )


def _pointnet_blocks(folder):
    """The folder of PointNet's indoor3d_sem_seg_hdf5_data, given itself or its parent; None if it is not there."""
    for place in (folder, folder / "indoor3d_sem_seg_hdf5_data"):
        if next(place.glob("ply_data_all_*.h5"), None):
            return place
    return None
