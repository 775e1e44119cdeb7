"""The scratch folder of a segmentation: its large arrays, and how far it came, so that it can go on after a kill -9.

The folder `.NAME.work` lies beside the output NAME:

    work.json      the scan, weights and settings that it belongs to; what is done
    *.raw          arrays: thinned points, owners, predictions
    tables.npz     cells and height profile of the thinned points
    votes.npz      how many columns are done, and the sums of probabilities that later columns add to

A step is done once its name is in work.json, or in votes.npz, which are replaced as a whole. Whatever was written
after that is written again, with the same numbers.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from s3dis_seg.data.blocks.cloud import Cloud, unlabelled
from s3dis_seg.data.rooms.cells import CellTable, HeightProfile
from s3dis_seg.data.store import InFolder, InMemory
from s3dis_seg.files import InputError, locked, replacing

_VERSION = 1  # of the files in the folder
_TABLES = {"cells": (CellTable, ("indices", "starts")), "profile": (HeightProfile, ("starts", "bins", "counts"))}


class InNoFolder:
    """The arrays of a segmentation in memory, which begins anew each time. The methods are those of `Work`."""

    def __init__(self):
        self.store = InMemory()

    def kept_cloud(self):
        return None

    def keep_cloud(self, cloud, placement):
        pass

    def opened(self, name, shape, dtype):
        return self.store.new(name, shape, dtype)

    def kept_votes(self):
        return None

    def keep_votes(self, **values):
        pass


class Work:
    """The scratch folder of one output, for as long as `work_beside` holds it.

    store: where the large arrays are. told: a sentence about what was found in the folder, or "".
    """

    def __init__(self, folder, fingerprint):
        self.folder, self.store, self.told = Path(folder), InFolder(folder), ""
        found = self._read()
        if found.get("fingerprint") == fingerprint:
            self._state = found
            self.told = f"{folder} holds an interrupted run of this scan, which goes on" if "points" in found else ""
            return
        if found:
            self.told = f"{folder} belongs to {_other(found.get('fingerprint'), fingerprint)} and is begun anew"
        self._clear()
        self._state = {"fingerprint": fingerprint}
        self._write()

    @property
    def is_begun(self):
        """Whether there is something to go on with."""
        return "points" in self._state or "written" in self._state

    def kept_cloud(self):
        """-> Cloud and the fields of its Placement as they were kept, or None"""
        points = self._state.get("points")
        if points is None:
            return None
        with np.load(self.folder / "tables.npz") as file:
            cells, profile = (
                kind(*(file[f"{name}_{part}"] for part in parts)) for name, (kind, parts) in _TABLES.items()
            )
        count = points["thinned"]
        xyz, rgb = (self.store.opened(name, (count, 3), kind) for name, kind in (("xyz", "f4"), ("rgb", "u1")))
        owner = self.store.opened("owner", points["given"], np.int32)
        hi = np.array(points["hi"])
        cloud = Cloud(xyz, rgb, unlabelled(count), cells, profile, hi, owner, self.store.release)
        return cloud, points["placement"]

    def keep_cloud(self, cloud, placement):
        """cloud: a Cloud whose arrays are in the store. placement: a dictionary that goes with it."""
        tables = {f"{name}_{part}": getattr(getattr(cloud, name), part)
                  for name, (_, parts) in _TABLES.items() for part in parts}  # fmt: skip
        self.store.flush()
        self._replace("tables.npz", lambda file: np.savez(file, **tables))
        sizes = {"given": len(cloud.owner), "thinned": len(cloud.xyz), "hi": cloud.hi.tolist()}
        self._state["points"] = sizes | {"placement": placement}
        self._write()

    def opened(self, name, shape, dtype):
        """The array of that name, with what an interrupted run wrote into it."""
        path = self.folder / f"{name}.raw"
        whole = int(np.prod(shape)) * np.dtype(dtype).itemsize
        there = path.exists() and path.stat().st_size == whole
        return self.store.opened(name, shape, dtype) if there else self.store.new(name, shape, dtype)

    def kept_votes(self):
        """-> what `keep_votes` got last, or None"""
        path = self.folder / "votes.npz"
        if not path.exists():
            return None
        with np.load(path) as file:
            return dict(file)

    def keep_votes(self, **values):
        """Keep numbers and arrays by name, once all that was written to the store before is on the disk."""
        self.store.flush()
        self._replace("votes.npz", lambda file: np.savez(file, **values))

    def is_finished(self, out, how):
        """Whether the output was written by this run, in the same way, and was not changed since."""
        return out.exists() and self._state.get("written") == _stamp(out) | how

    def finish(self, out, how):
        """The output is written: only the note of it stays, until `remove`. how: settings of the writing, by name."""
        self._state = {"fingerprint": self._state["fingerprint"], "written": _stamp(out) | how}
        self._write()
        self.store = InFolder(self.folder)
        self._clear(but=("work.json", ".lock"))

    def _read(self):
        try:
            found = json.loads((self.folder / "work.json").read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return {"fingerprint": None}
        return found if isinstance(found, dict) else {"fingerprint": None}

    def _write(self):
        self._replace("work.json", lambda file: file.write(json.dumps(self._state, indent=1).encode()))

    def _replace(self, name, write):
        with replacing(self.folder / name) as temporary, open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    def _clear(self, but=(".lock",)):
        for path in self.folder.iterdir():
            if path.name not in but:
                path.unlink()


def folder_of(out):
    """Where the scratch folder of an output lies."""
    return out.parent / f".{out.name}.work"


@contextmanager
def work_beside(out, fingerprint):
    """The scratch folder of an output, which no other process may use meanwhile. Yields Work

    fingerprint: what the result depends on, as texts and numbers by name. A folder that belongs to something else is
    begun anew. It stays until `remove`, unless there is nothing in it to go on with.
    """
    with locked(folder_of(out)):
        work = Work(folder_of(out), json.loads(json.dumps({"version": _VERSION} | fingerprint)))
        try:
            yield work
        finally:
            if not work.is_begun:
                remove(out)


def remove(out):
    """Remove the scratch folder of an output, if there is one."""
    folder = folder_of(out)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from error


def scan_stamp(path):
    """What tells one state of a file from another. -> dictionary"""
    return {"name": path.name} | _stamp(path)


def _stamp(path):
    stat = path.stat()
    return {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _other(found, fingerprint):
    """What differs between two fingerprints, in words."""
    if not isinstance(found, dict):
        return "a run whose notes cannot be read"
    differing = [name for name in fingerprint if found.get(name) != fingerprint[name]]
    return "a run with another " + " and another ".join(differing or ["version"])
