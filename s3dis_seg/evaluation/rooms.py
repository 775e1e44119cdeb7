"""The rooms of an evaluation, and whether the training has seen them. Rooms are as `open_rooms` gives them."""

import numpy as np

from s3dis_seg.data.splits import split_rooms
from s3dis_seg.files import InputError


def choose_rooms(rooms, test_area=None, names=None, limit=None):
    """The rooms of an area, or those named (as in `split_rooms`), or all; of these `limit`, evenly spread. -> rooms"""
    if test_area is not None or names is not None:
        rooms = split_rooms(rooms, test_area=test_area, test_rooms=names, val_rooms=[]).test
    if limit is not None and limit < len(rooms):
        rooms = [rooms[place] for place in np.linspace(0, len(rooms) - 1, limit).round().astype(int)]
    return rooms


def held_out_rooms(card, rooms):
    """The rooms that a run kept for testing. -> the rooms that are there, the names of those missing;
    both empty where the run kept none.

    card: of one of its checkpoints, whose provenance has `test_rooms` (names) or `test_area`.
    """
    names = list(card.provenance.get("test_rooms") or [])
    if names:
        found = [room for room in rooms if room.name in names]
        return found, sorted(set(names) - {room.name for room in found})
    area = card.provenance.get("test_area")
    return [room for room in rooms if area is not None and room.area == area], []


def require_whole_rooms(rooms):
    """InputError where the data are drawn blocks, so that not every point can be scored."""
    if not rooms[0].has_all_points:
        raise InputError(
            f"{rooms[0].folder} holds drawn blocks and not whole rooms; score them with --protocol published"
        )


def overlap_warnings(card, names):
    """Warnings about overlap with the rooms of the training. -> list of sentences, empty for unseen rooms"""
    told = []
    seen = sorted(set(names) & set(card.provenance.get("train_rooms") or []))
    if seen:
        told.append(
            f"{_listed(seen)} of the {len(names)} scored rooms were TRAINED ON: these scores do not tell how well "
            "unseen rooms are labelled"
        )
    chosen = sorted(set(names) & set(card.provenance.get("val_rooms") or []))
    if chosen:
        told.append(f"{_listed(chosen)} of the {len(names)} scored rooms served to choose the best weights")
    if "train_rooms" not in card.provenance:
        told.append("the checkpoint does not say which rooms it was trained on; they may be among those scored")
    return told


def _listed(names):
    """["a", "b", "c", "d"] -> "4 (a, b, c ...)" """
    return f"{len(names)} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
