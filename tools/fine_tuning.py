#!/usr/bin/env python
"""Measure what it saves to begin with a checkpoint: mIoU against minutes, from scratch and fine-tuned, by rooms.

`measure` trains networks on the first 1, 3 and 10 of the rooms, each once with random weights (recipe modern) and once
beginning with a checkpoint (recipe fine-tune, a fifth of the blocks), and validates all of them on the same other
rooms. Every run is a folder of `s3dis-seg train`: what is finished is not done again, and an interrupted run goes on.
Without --data the rooms are synthetic, and their plants are a class of their own, which S3DIS has not.
`plot` draws the results, a panel a folder, and prints them as a table.

Minutes are computed blocks times the time of a block, which `measure` takes once at its beginning, while nothing else
runs; so neither a busy machine nor an interruption changes a curve. Validations, which both need, are not counted.

Examples:
  python tools/fine_tuning.py measure --data rooms --val-rooms hall yard --out fine-tuning/own
  python tools/fine_tuning.py measure --out fine-tuning/synthetic
  python tools/fine_tuning.py plot fine-tuning/own fine-tuning/synthetic --save fine-tuning.png
"""

import argparse
import csv
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from s3dis_seg.cli.train import StopSignals
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import room_path, write_room
from s3dis_seg.data.splits import split_rooms
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT
from s3dis_seg.synthetic.rooms import synthetic_room
from s3dis_seg.training import RECIPES, TrainConfig, Watcher, train
from s3dis_seg.training.estimate import estimate

RESULTS, SPEED = "results.json", "speed.json"
SCRATCH, TUNED = "scratch", "fine-tuned"
LONGER = 5  # times as many blocks from scratch as fine-tuned
VALIDATIONS = {TUNED: 4, SCRATCH: 8}
SCRATCH_LR = 2e-3  # with which the shipped weights were trained from scratch
WITHOUT_GRADIENTS = 0.4  # what a block costs whose statistics are measured, as a share of one that is trained on

# The class file of the synthetic rooms: names of S3DIS where the meaning is the same, two of its own, and plants.
SYNTHETIC_CLASSES = """
ceiling = 0
floor = 1
wall = 2-4
window = 5
door = 6
furniture = 7-10
plant = 13
rest = 11, 12
"""
SYNTHETIC_ROOMS, SYNTHETIC_VAL = 10, 2
DENSITY = 600.0  # points a square metre of surface


def main(words=None):
    arguments = _parsed(words)
    try:
        arguments.do(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parsed(words):
    text, _, examples = __doc__.partition("Examples:")
    parser = argparse.ArgumentParser(
        description=text, epilog=f"examples:{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="measure | plot")
    one = commands.add_parser("measure", help="train and validate")
    one.set_defaults(do=measure)
    one.add_argument("--data", type=Path, help="prepared rooms with your classes (default: synthetic ones)")
    one.add_argument("--val-rooms", nargs="+", help="validate on these; required with --data")
    one.add_argument("--train-rooms", nargs="+", help="train on the first of these (default: all others by name)")
    one.add_argument("--sizes", nargs="+", type=int, default=[1, 3, 10], help="numbers of rooms (default: 1 3 10)")
    one.add_argument("--from", dest="start", default=DEFAULT_CHECKPOINT, help="checkpoint (default: %(default)s)")
    one.add_argument("--blocks", type=int, default=160, help="of fine-tuning; from scratch 5 times as many (160)")
    one.add_argument("--num-points", type=int, default=RECIPES["fine-tune"]["num_points"], help="points a block")
    one.add_argument("--kinds", nargs="+", choices=(TUNED, SCRATCH), default=[TUNED, SCRATCH], help="default: both")
    one.add_argument("--seed", type=int, default=0, help="of the trainings and of synthetic rooms")
    one.add_argument("--only-speed", action="store_true", help="measure the time of a block, and stop")
    one.add_argument("--out", type=Path, required=True, help="folder of the runs, to go on with as well")
    other = commands.add_parser("plot", help="draw results and print them")
    other.set_defaults(do=plot)
    other.add_argument("folders", nargs="+", type=Path, help="of `measure`")
    other.add_argument("--titles", nargs="+", help="of the panels (default: names of the folders)")
    other.add_argument("--save", type=Path, required=True, help="picture to write")
    return parser.parse_args(words)


def measure(arguments):
    """Do every run that is not finished, and write results.json."""
    rooms = arguments.data or synthetic_rooms(arguments.out / "rooms", arguments.seed)
    val, order = _split(rooms, arguments)
    if max(arguments.sizes) > len(order):
        most = max(arguments.sizes)
        raise InputError(f"{rooms} has {len(order)} rooms to train on, fewer than {most}; name others by --sizes")
    seconds = _seconds_a_block(arguments, rooms, val, order)
    if arguments.only_speed:
        return
    runs = []
    for size in arguments.sizes:
        for kind in arguments.kinds:
            config = config_of(kind, str(rooms), order[:size], val, arguments)
            folder = arguments.out / "runs" / f"{kind}-{size}-seed{arguments.seed}"
            _train(config, folder)
            runs.append(result_of(folder, kind, size, config))
            _write(arguments.out / RESULTS, {"seconds_a_block": seconds, "val_rooms": val, "runs": runs})


def _train(config, folder):
    """Begin a run or go on with it; one that is finished stays as it is."""
    resume, watcher = (folder / "last.pt").is_file(), _Said(folder.name)
    with StopSignals() as signals:
        outcome = train(config, folder, resume=resume, device="cpu", stopping=signals, watcher=watcher)
    if outcome.reason != "finished":
        raise KeyboardInterrupt


def _write(path, content):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _split(folder, arguments):
    """Which rooms validate, and in which order the others train. -> two lists of names"""
    if arguments.data and not arguments.val_rooms:
        raise InputError("--val-rooms: name the rooms to validate on")
    rooms = open_rooms(folder)
    split = split_rooms(rooms, val_rooms=arguments.val_rooms or ["val_*"])
    order = [room.name for room in split.train]
    if arguments.train_rooms:
        order = [split_rooms(rooms, val_rooms=[], train_rooms=[name]).train[0].name for name in arguments.train_rooms]
    return [room.name for room in split.val], order


def _seconds_a_block(arguments, rooms, val, order):
    """The time of a training block, measured once for a folder of results."""
    path = arguments.out / SPEED
    if not path.is_file():
        seconds = estimate(config_of(TUNED, str(rooms), order, val, arguments), "cpu").seconds
        _write(path, {"seconds_a_block": seconds})
    return json.loads(path.read_text())["seconds_a_block"]


def config_of(kind, rooms, train_rooms, val_rooms, arguments):
    """The settings of a run: those of the recipe fine-tune, or of modern with steps of the same size."""
    _, card = load_checkpoint(arguments.start)
    tuned = RECIPES["fine-tune"]
    own = {name: value for name, value in asdict(card.config).items() if name != "num_classes"}
    config = TrainConfig(
        data=rooms,
        train_rooms=tuple(train_rooms),
        val_rooms=tuple(val_rooms),
        start=str(arguments.start),
        recipe="fine-tune",
        model=card.model,
        overrides=own,
        block_size=card.blocks.block_size,
        grid=card.blocks.grid,
        frame_size=card.blocks.frame_size,
        seed=arguments.seed,
        **tuned | {"num_points": arguments.num_points} | _length(kind, arguments.blocks, tuned["batch_size"]),
    )
    if kind == TUNED:
        return config
    modern = RECIPES["modern"] | {"statistics_blocks": tuned["statistics_blocks"], "lr": SCRATCH_LR}
    return replace(config, start="", recipe="modern", freeze=0, **modern)


def _length(kind, blocks, batch_size):
    """How long a run is, and how often it validates. -> settings of a TrainConfig"""
    steps = max((blocks if kind == TUNED else LONGER * blocks) // batch_size // VALIDATIONS[kind], 1)
    return {"epochs": VALIDATIONS[kind], "epoch_blocks": steps * batch_size}


def result_of(folder, kind, size, config):
    """What a run says about itself. -> dict: kind, rooms, seed, and a point an epoch"""
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    blocks = config.epoch_blocks + WITHOUT_GRADIENTS * config.statistics_blocks
    points = [
        {
            "blocks": float(row["epoch"]) * blocks,
            "miou": float(row["val_miou"]),
            "oa": float(row["val_oa"]),
            "iou": {name.removeprefix("val_iou_"): _number(row[name]) for name in row if name.startswith("val_iou_")},
        }
        for row in rows
    ]
    return {"kind": kind, "rooms": size, "seed": config.seed, "points": points}


def _number(text):
    return float(text) if text else None


class _Said(Watcher):
    """A line an epoch."""

    def __init__(self, name):
        self.name = name

    def epoch_ended(self, row, is_best):
        print(f"{self.name}, epoch {row['epoch']}: validation mIoU {row['val_miou']:.1%}", flush=True)


def synthetic_rooms(folder, seed=0):
    """Prepared synthetic rooms with the classes above, each with a plant. -> folder; nothing where they are there

    SYNTHETIC_ROOMS named train_01 and so on, and SYNTHETIC_VAL named val_1 and so on.
    """
    names = [f"train_{number + 1:02}" for number in range(SYNTHETIC_ROOMS)]
    names += [f"val_{number + 1}" for number in range(SYNTHETIC_VAL)]
    if all(room_path(name, folder).exists() for name in names):
        return folder
    classes = classes_of_text(SYNTHETIC_CLASSES, "the classes of the synthetic rooms")
    number = 0
    for name in names:
        while True:
            room = synthetic_room((seed, number), DENSITY, own_classes=("plant",))
            number += 1
            if "plant" in {room.class_names[label] for label in set(room.labels.tolist())}:
                break
        write_room(with_classes(room, name, classes), folder)
    return folder


def with_classes(room, name, classes):
    """A room with classes of one's own, which a class file makes of its class numbers. -> Room"""
    labels = [classes.label_of(number) for number in range(len(room.class_names))]
    return replace(room, name=name, labels=np.array(labels, np.uint8)[room.labels], classes=classes)


def plot(arguments):
    """Draw the results of some folders side by side, and print a table of each."""
    found = [_read(folder) for folder in arguments.folders]
    titles = arguments.titles or [folder.name for folder in arguments.folders]
    if len(titles) != len(found):
        raise InputError(f"--titles: {len(titles)} for {len(found)} folders; name one for each")
    for title, results in zip(titles, found):
        print(f"\n{title}\n" + "\n".join(table(results)))
    _draw(found, titles, arguments.save)


def _read(folder):
    path = folder / RESULTS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}; make it by measure --out {folder}") from error


def table(results):
    """What each number of rooms led to, in Markdown. Yields lines"""
    yield "| rooms | from scratch: mIoU | minutes | fine-tuned: mIoU | minutes | reaches the former after |"
    yield "|---|---|---|---|---|---|"
    runs = {(run["kind"], run["rooms"]): run["points"] for run in results["runs"]}
    for size in sorted({size for _, size in runs}):
        if (SCRATCH, size) not in runs or (TUNED, size) not in runs:
            continue
        scratch, tuned = runs[SCRATCH, size], runs[TUNED, size]
        minutes = [f"{_minutes(points[-1], results):.2f}" for points in (scratch, tuned)]
        scores = [f"{100 * best(points):.0f} %" for points in (scratch, tuned)]
        equal = next((point for point in tuned if point["miou"] >= best(scratch)), None)
        reached = "-" if equal is None else f"{_minutes(equal, results):.2f}"
        yield f"| {size} | {scores[0]} | {minutes[0]} | {scores[1]} | {minutes[1]} | {reached} |"


def best(points):
    """The best validation of a run, whose weights `train` keeps."""
    return max(point["miou"] for point in points)


def _minutes(point, results):
    return point["blocks"] * results["seconds_a_block"] / 60


def _draw(found, titles, path):
    # A figure of its own, because pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(found), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, results, title in zip(panels, found, titles):
        sizes = sorted({run["rooms"] for run in results["runs"]})
        for run in results["runs"]:
            style = {"marker": "o", "markersize": 3} if run["kind"] == TUNED else {"linestyle": "--"}
            axis.plot(
                [_minutes(point, results) for point in run["points"]],
                [100 * point["miou"] for point in run["points"]],
                color=f"C{sizes.index(run['rooms'])}",
                label=f"{run['rooms']} room{'s' if run['rooms'] > 1 else ''}, {run['kind']}",
                **style,
            )
        axis.set(xlabel="minutes of computing on two cores", ylabel="validation mIoU, %", title=title)
        axis.set_xlim(left=0)
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
