"""What a user waits for beside the network: the start of a command, and what training does between two steps."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from s3dis_seg.benchmarks.speed import surface_blocks
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.files import InputError
from s3dis_seg.models.shipped import shipped_names
from s3dis_seg.training import TrainConfig, Watcher, train

_ROOMS, _POINTS = 4, 40_000  # rooms of the training, and points in each: of 2 m x 1 m
_STARTS = 2  # the first one may compile kernels

# Runs a command until the first window has gone through the network; then prints the time and the modules in use.
_FIRST_WINDOW = """
import sys, time
from s3dis_seg.cli.main import main
from s3dis_seg.segmentation.segmenter import Segmenter
predict = Segmenter.predict
def first(*words):
    predict(*words).cpu()
    print("first window:", time.time(), *sys.modules)
    sys.exit()
Segmenter.predict = first
sys.exit(main(sys.argv[1:]))
"""


def first_window(words):
    """From the start of Python to the first window that a command has put through the network.

    words: of the command line, such as ["segment", "scan.ply", "--out", "out.ply"]. -> seconds, names of all modules
    that were imported by then; InputError where the command fails.
    """
    here = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_WINDOW, *map(str, words)], capture_output=True, text=True, env=environment
    )
    _, found, told = done.stdout.partition("first window:")
    if not found:
        raise InputError(f"s3dis-seg {words[0]} came to no window; it said: {done.stderr.strip()[-500:]}")
    ended, *modules = told.split()
    return float(ended) - began, modules


def start(device):
    """`s3dis-seg segment` on a small scan with the shipped weights, if any. -> seconds to the first window, or None"""
    if not shipped_names():
        return None
    with tempfile.TemporaryDirectory() as folder:
        scan, out = Path(folder) / "scan.ply", Path(folder) / "out.ply"
        xyz, rgb = _small_room(0)
        write_scan(scan, Scan(xyz, rgb))
        return min(first_window(["segment", scan, "--out", out, "--device", device])[0] for _ in range(_STARTS))


def training_shares(settings):
    """Two short epochs of training on rooms read from disk, with augmentation, of which the second is looked at.

    settings: a BenchmarkSettings. -> dict: reading_share and bookkeeping_share of the time of the steps, and
    blocks_per_second, as in metrics.csv
    """
    network, rows = settings.config, []
    names = [f"Area_1_office_{number}" for number in range(1, _ROOMS + 1)]

    class Kept(Watcher):
        def epoch_ended(self, row, is_best):
            rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            xyz, rgb = _small_room(number)
            labels = np.random.default_rng(number).integers(0, network.num_classes, len(xyz))
            write_room(room_of(name, xyz, rgb, labels, source="synthetic"), Path(folder) / "rooms")
        config = TrainConfig(
            data=str(Path(folder) / "rooms"),
            train_rooms=tuple(names),
            model=settings.model,
            overrides={"blocks": network.blocks, "channels": network.channels, "k": network.k},
            num_points=settings.num_points,
            batch_size=settings.batch_size,
            augment=True,
            epochs=2,
        )
        train(config, Path(folder) / "run", device=settings.device, watcher=Kept())
    return {name: rows[-1][name] for name in ("reading_share", "bookkeeping_share", "blocks_per_second")}


def _small_room(seed):
    """Two furnished columns side by side. -> (P, 3) float32 metres, (P, 3) uint8"""
    columns = surface_blocks(2, _POINTS // 2, seed).numpy()
    columns[1, :, 0] += 1.0
    points = columns.reshape(-1, columns.shape[-1])
    return np.ascontiguousarray(points[:, :3]), (255 * points[:, 3:6]).astype(np.uint8)
