"""The whole pipeline in about three minutes on two cores, on furnished rooms made from a seed.

Writes rooms in the layout of a raw S3DIS release, prepares them, trains a small ResGCN, segments a room it has not
seen, scores the result, and draws it: scan, prediction and ground truth side by side. Every step is one of the other
commands and is printed as one would type it.

Examples:
  s3dis-seg demo
  s3dis-seg demo --out runs/demo --seed 7
"""

import shlex
import shutil
import time
from pathlib import Path

from tqdm import tqdm

from s3dis_seg.cli import main as command_line
from s3dis_seg.data.rooms.prepared import RoomFile, find_rooms
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.files import InputError
from s3dis_seg.synthetic.rooms import write_release

ROOMS = {"Area_1": 15, "Area_3": 1}
UNSEEN = "Area_3"
DENSITY = 1200.0  # points a square metre of surface
# Half of the usual width and neighbours, blocks of a quarter of the points: a step takes a fifth of a second.
NETWORK = "--model resgcn7 --channels 32 --k 8 --num-points 512 --grid 0.05"
SCHEDULE = "--epochs 2 --batch-size 8 --lr 0.004 --val-every 2"


def add_arguments(parser):
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for all that is made (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the rooms and of the training (default: %(default)s)")


def run(arguments):
    start = time.perf_counter()
    out = _empty_folder(arguments.out)
    raw, rooms, run_folder = out / "synthetic", out / "rooms", out / "run"
    scan, segmented, picture = out / "scan.ply", out / "segmented.ply", out / "picture.png"

    print(f"Furnishing {sum(ROOMS.values())} rooms in {raw}", flush=True)
    with tqdm(total=sum(ROOMS.values()), unit=" rooms") as bar:
        write_release(raw, ROOMS, arguments.seed, DENSITY, progress=lambda name: bar.update())

    _command(f"prepare {_quoted(raw)} --out {_quoted(rooms)}")
    _command(
        f"train --data {_quoted(rooms)} --test-area {UNSEEN[-1]} {NETWORK} {SCHEDULE} "
        f"--seed {arguments.seed} --out {_quoted(run_folder)}"
    )
    _write_unseen_room(rooms, scan)
    checkpoint = _quoted(run_folder / "best.pt")
    _command(f"segment {_quoted(scan)} --checkpoint {checkpoint} --out {_quoted(segmented)}")
    _command(f"evaluate {_quoted(segmented)} --label-field classification --out {_quoted(out / 'scores')}")
    _command(f"view {_quoted(segmented)} --color scan prediction truth --save {_quoted(picture)}")
    _farewell(out, segmented, picture, time.perf_counter() - start)


def _quoted(path):
    return shlex.quote(str(path))


def _empty_folder(out):
    """The demo's folder, empty: what an earlier demo left there goes, what is not a demo's stays. -> out"""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder by --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / "made-by-demo").exists():
            raise InputError(f"{out} holds files that are not of an earlier demo; name a new folder by --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "made-by-demo").touch()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; name another folder by --out") from error
    return out


def _command(line):
    """Print a command as one would type it, and run it."""
    print(f"\n$ s3dis-seg {line}", flush=True)
    words = shlex.split(line)
    command = command_line.parse(words)
    command.run(command)


def _write_unseen_room(rooms, path):
    """The room that took no part in the training, as a scanner would deliver it, with its labels to score by."""
    unseen = next(room for room in find_rooms(rooms) if room.stem.startswith(UNSEEN))
    room = RoomFile(unseen).room()
    scan = Scan(xyz=room.xyz + room.offset, rgb=room.rgb, columns={"classification": room.labels})
    write_scan(path, scan)


def _farewell(out, segmented, picture, seconds):
    print(f"\nDone in {seconds:.0f} s. Look at")
    print(f"  {picture}   scan, prediction and ground truth")
    print(f"  {segmented}   every point with its prediction and confidence (s3dis-seg view {_quoted(segmented)})")
    print(f"  {out / 'scores'}   IoU of each class, confusion matrix")
    print("For your own data:")
    print("  s3dis-seg segment scan.ply --out segmented.ply     label a scan with the weights that come along")
    print("  s3dis-seg prepare S3DIS_FOLDER --out data/rooms    prepare the S3DIS release, then train on it:")
    print("  s3dis-seg train --data data/rooms --model resgcn28 --test-area 5 --out runs/area5")
