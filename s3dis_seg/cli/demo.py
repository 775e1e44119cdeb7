"""The whole pipeline in about three minutes on two cores, on synthetic furnished rooms.

  1. writes rooms in the layout of the raw S3DIS release
  2. prepares them for training
  3. trains a small DeepGCN on them
  4. segments a room that it has not seen
  5. scores the result against the labels of that room
  6. draws scan, prediction and ground truth side by side
  7. makes a page that shows the scan in 3-D in any browser

Steps 2 to 7 are the other commands, printed as you would type them. The network is small and the rooms are simple: the
scores say that all parts work together, not how well the networks do on real rooms.

Examples:
  s3dis-seg demo
  s3dis-seg demo --out runs/demo --seed 7
"""

import shlex
import shutil
import time
from pathlib import Path

from s3dis_seg.cli import main as command_line
from s3dis_seg.cli.options import require_writable, seed
from s3dis_seg.files import InputError

ROOMS = {"Area_1": 15, "Area_3": 1}
UNSEEN = "Area_3"
DENSITY = 1200.0  # points a square metre of surface
# Half the usual width and number of neighbours, and blocks of few points: two minutes of training on two cores.
NETWORK = "--model resgcn7 --channels 32 --k 8 --num-points 512 --grid 0.05"
SCHEDULE = "--epochs 2 --batch-size 8 --lr 0.004 --val-every 2"


def add_arguments(parser):
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo"),
        metavar="FOLDER",
        help="folder for all files of the demo (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=seed, default=0,
        help="random seed of the rooms and of the training (default: %(default)s)",
    )  # fmt: skip


def run(arguments):
    start = time.perf_counter()
    out = _empty_folder(arguments.out)
    raw, rooms, run_folder = out / "synthetic", out / "rooms", out / "run"
    scan, segmented = out / "scan.ply", out / "segmented.ply"
    picture, page = out / "picture.png", out / "report.html"

    _step(1, "write rooms in the layout of the raw S3DIS release")
    _write_rooms(raw, arguments.seed)
    _step(2, "prepare them for training")
    _command(f"prepare {_quoted(raw)} --out {_quoted(rooms)}")
    _step(3, f"train a small DeepGCN; Area {UNSEEN[-1]} is kept for the test")
    _command(
        f"train --data {_quoted(rooms)} --test-area {UNSEEN[-1]} {NETWORK} {SCHEDULE} "
        f"--seed {arguments.seed} --out {_quoted(run_folder)}"
    )
    _write_unseen_room(rooms, scan)
    checkpoint = _quoted(run_folder / "best.pt")
    _step(4, f"segment the room of Area {UNSEEN[-1]}, which the network has not seen")
    _command(f"segment {_quoted(scan)} --checkpoint {checkpoint} --out {_quoted(segmented)}")
    _step(5, "score it against its labels")
    _command(f"score {_quoted(segmented)} --label-field classification --out {_quoted(out / 'scores')}")
    _step(6, "draw it")
    _command(f"view {_quoted(segmented)} --color scan prediction truth --save {_quoted(picture)}")
    _step(7, "make a page of it")
    _command(f"report {_quoted(segmented)} --label-field classification --out {_quoted(page)}")
    _farewell(out, segmented, picture, page, time.perf_counter() - start)


def _step(number_of_step, what):
    print(f"\nStep {number_of_step} of 7: {what}", flush=True)


def _write_rooms(folder, seed):
    from s3dis_seg.cli.progress import bar as progress_bar
    from s3dis_seg.synthetic.rooms import write_release

    count = sum(ROOMS.values())
    with progress_bar(count, "rooms") as bar:
        write_release(folder, ROOMS, seed, DENSITY, progress=lambda name: bar.update())
    print(f"wrote {count} rooms to {folder}")


def _quoted(path):
    return shlex.quote(str(path))


def _empty_folder(out):
    """Make the demo's folder, or empty the one of an earlier demo. -> out; InputError where other files are in it"""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder with --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / "made-by-demo").exists():
            raise InputError(f"{out} holds files that are not of an earlier demo; name a new folder with --out")
        shutil.rmtree(out)
    require_writable(out)
    (out / "made-by-demo").touch()
    return out


def _command(line):
    """Print a command as the user would type it, and run it."""
    print(f"$ s3dis-seg {line}", flush=True)
    words = shlex.split(line)
    command = command_line.parse(words)
    command.run(command)


def _write_unseen_room(rooms, path):
    """Write the room that took no part in the training as a scan, with its labels as an attribute for the scores."""
    from s3dis_seg.data.rooms.prepared import RoomFile, find_rooms
    from s3dis_seg.data.scans import Scan, write_scan

    unseen = next(room for room in find_rooms(rooms) if room.stem.startswith(UNSEEN))
    room = RoomFile(unseen).room()
    scan = Scan(xyz=room.xyz + room.offset, rgb=room.rgb, columns={"classification": room.labels})
    write_scan(path, scan)


def _farewell(out, segmented, picture, page, seconds):
    print(f"\nDone in {seconds:.0f} s. Look at")
    print(f"  {picture}   scan, prediction and ground truth")
    print(f"  {page}   the scan in 3-D, classes, places to check and scores: open it in a browser")
    print(f"  {segmented}   every point with its prediction and confidence (s3dis-seg view {_quoted(segmented)})")
    print(f"  {out / 'scores'}   IoU of each class, confusion matrix")
    print("With your own data:")
    print(
        "  s3dis-seg segment scan.ply --out segmented.ply     label a scan with the weights shipped with this package"
    )
    print("  s3dis-seg prepare S3DIS_FOLDER --out data/rooms    prepare the S3DIS release, then train on it:")
    print("  s3dis-seg train --data data/rooms --model resgcn28 --test-area 5 --out runs/area5")
