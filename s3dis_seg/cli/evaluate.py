"""Score a checkpoint on prepared rooms: IoU, accuracies and confusion, by room, area and fold.

Rooms are scored by all their points (--protocol all-points) or the way DeepGCN was published, by points drawn into
blocks (--protocol published). Without --test-area and --rooms, the rooms that the run of the checkpoint kept
for testing are scored. --folds scores each run on the rooms it kept, and adds up their confusion matrices.
With --out, predictions are kept room by room: after an interruption the same command goes on where it was.
Scans that were segmented before are scored by `s3dis-seg score`.

Examples:
  s3dis-seg evaluate --data data/rooms --checkpoint runs/area5/best.pt --test-area 5 --out scores/area5
  s3dis-seg evaluate --data data/rooms --checkpoint runs/area5/best.pt --protocol published --stride 0.5
  s3dis-seg evaluate --data data/rooms --folds runs/area1 runs/area2 runs/area3 --out scores/folds
"""

import argparse
from pathlib import Path

from s3dis_seg.classes import AREAS
from s3dis_seg.cli.options import add_network_arguments, network_of, number, require_writable, seed
from s3dis_seg.cli.progress import bar as progress_bar
from s3dis_seg.cli.results import print_results, write_results
from s3dis_seg.files import InputError
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

STRIDES = {"all-points": 0.5, "published": 1.0}  # by protocol, where none is given


def add_arguments(parser):
    parser.add_argument(
        "scans", nargs="*", help=argparse.SUPPRESS
    )  # accepted only to name the right command in the error
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        default=Path("data/rooms"),
        help="prepared rooms, or PointNet's blocks (default: %(default)s)",
    )
    which = parser.add_argument_group("which checkpoint, on which rooms")
    which.add_argument("--checkpoint", help=f"file, or name of shipped weights (default: {DEFAULT_CHECKPOINT})")
    which.add_argument("--folds", metavar="RUN", nargs="+", type=Path, help="runs, each scored on the rooms it kept")
    which.add_argument("--test-area", type=int, choices=AREAS, help="score the rooms of this area")
    which.add_argument("--rooms", metavar="NAME", nargs="+", help="score these rooms; * stands for any characters")
    which.add_argument("--limit-rooms", metavar="N", type=number(int, 1), help="only N of the rooms, evenly spread")
    how = parser.add_argument_group("how rooms are scored")
    how.add_argument(
        "--protocol",
        choices=STRIDES,
        default="all-points",
        help="score all points, or only points drawn into blocks (default: %(default)s)",
    )
    how.add_argument(
        "--stride", type=float, help="step between columns, as a fraction of their width (default: 0.5; published: 1.0)"
    )
    how.add_argument("--passes", type=number(int, 1), help="how often each point is predicted (default: 1)")
    how.add_argument("--seed", type=seed, help="random seed of the points drawn into blocks (default: 0)")
    how.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    how.add_argument("--batch-size", metavar="N", type=number(int, 1), help="blocks at a time; changes no score")
    add_network_arguments(parser)
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, help="folder for scores.json, scores.csv, confusion.png and predictions")
    results.add_argument("--predictions", type=Path, help="folder to keep predictions in (default: OUT/predictions)")


def run(arguments):
    from s3dis_seg.evaluation.scoring import levels_of_rooms

    _refuse_combinations(arguments)
    folder = arguments.predictions or (arguments.out and arguments.out / "predictions")
    for place in filter(None, (arguments.out, folder)):
        require_writable(place)
    folds, stride, warnings = _folds(arguments)
    for warning in warnings:
        print(f"warning: {warning}")  # before hours of work, and again with the scores
    confusions, more = _score(arguments, folds, stride, folder)
    warnings += more
    names = {fold.name: [room.name for room in fold.rooms] for fold in folds}
    levels = levels_of_rooms(confusions, folds[0].card.class_names, names)
    title = _title(arguments, folds, stride, len(confusions))
    print_results(title, levels, warnings)
    if arguments.out:
        write_results(arguments.out, title, levels, _settings(arguments, folds, stride), warnings)


def _refuse_combinations(arguments):
    """InputError for flags that exclude each other."""

    def given(*names):
        return [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None]

    if arguments.scans:
        raise InputError(
            f"evaluate scores rooms and takes no scan ({arguments.scans[0]}); score segmented scans with: "
            f"s3dis-seg score {' '.join(arguments.scans)}"
        )
    for first, others in (
        ("folds", given("checkpoint", "test_area", "rooms", "model", "blocks", "channels", "k")),
        ("test_area", given("rooms")),
    ):
        if given(first) and others:
            raise InputError(f"{given(first)[0]} and {', '.join(others)} exclude each other; leave one out")
    published = arguments.protocol == "published"
    if published and arguments.passes is not None:
        raise InputError("--passes: only with --protocol all-points; the published protocol predicts each block once")
    if published and arguments.stride not in (None, 0.5, 1.0):
        raise InputError(f"--stride {arguments.stride}: published scores have --stride 1.0 or 0.5")


def _folds(arguments):
    """Checkpoints with the rooms each is scored on, and the step between columns. -> list of Fold, stride, warnings"""
    from s3dis_seg.data.rooms.open import open_rooms
    from s3dis_seg.evaluation.folds import fold_of_checkpoint, folds_of_runs, limited
    from s3dis_seg.evaluation.rooms import require_whole_rooms

    model, overrides = network_of(arguments)
    rooms = open_rooms(arguments.data)
    stride = arguments.stride if arguments.stride is not None else STRIDES[arguments.protocol]
    if arguments.protocol == "all-points":
        require_whole_rooms(rooms)
    elif not rooms[0].has_all_points:
        if arguments.stride == 1.0:
            raise InputError(f"the blocks of {arguments.data} were drawn with --stride 0.5; leave --stride away")
        if arguments.seed is not None:
            raise InputError(f"the blocks of {arguments.data} were drawn once and for all; leave --seed away")
        stride = 0.5
    if arguments.folds:
        folds, warnings = folds_of_runs(arguments.folds, rooms)
    else:
        checkpoint = arguments.checkpoint or DEFAULT_CHECKPOINT
        fold, warnings = fold_of_checkpoint(checkpoint, rooms, arguments.test_area, arguments.rooms, model, **overrides)
        folds = [fold]
    for fold in folds:
        warnings = warnings + limited(fold, arguments.limit_rooms)
    return folds, stride, warnings


def _score(arguments, folds, stride, folder):
    """-> dict room -> confusion, list of warnings"""
    from s3dis_seg.evaluation.scoring import score_room
    from s3dis_seg.segmentation import Segmenter

    model, overrides = network_of(arguments)
    rooms = [room for fold in folds for room in fold.rooms]
    print(f"scoring {len(rooms)} rooms" + (f", predictions are kept in {folder}" if folder else ""))
    confusions, said, reused, finished = {}, {}, 0, 0
    try:
        with progress_bar(sum(room.num_points for room in rooms), "points") as bar:
            for fold in folds:
                segmenter = Segmenter.from_checkpoint(
                    fold.checkpoint, arguments.device, model, stride, arguments.passes or 1, arguments.batch_size,
                    arguments.seed or 0, **overrides,
                )  # fmt: skip
                for room in fold.rooms:
                    bar.set_description(room.name)

                    def progress(done, blocks, finished=finished, points=room.num_points):
                        bar.update(finished + points * done // blocks - bar.n)

                    result = score_room(segmenter, room, arguments.protocol, folder, progress)
                    progress(1, 1)
                    finished += room.num_points
                    confusions[result.name] = result.confusion
                    reused += result.reused
                    for warning in result.warnings:
                        said.setdefault(warning, []).append(result.name)
    except KeyboardInterrupt:
        if folder:
            print(f"\n{len(confusions)} rooms are finished and kept in {folder}; the same command goes on from there")
        raise
    if reused:
        print(f"{reused} rooms had been predicted before, with the same checkpoint and settings")
    return confusions, [_in_rooms(warning, names) for warning, names in said.items()]


def _in_rooms(warning, names):
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more rooms' if len(names) > 3 else ''}: {warning}"


def _title(arguments, folds, stride, num_rooms):
    whole = arguments.protocol == "all-points"
    points = "all points" if whole else f"points drawn into blocks every {stride:g} m"
    rooms = "1 room" if num_rooms == 1 else f"{num_rooms} rooms"
    return f"{points} of {rooms}, {f'{len(folds)} folds' if len(folds) > 1 else folds[0].checkpoint}"


def _settings(arguments, folds, stride):
    """The settings of the scores, for the JSON file."""
    from s3dis_seg import __version__

    return {
        "version": __version__,
        "protocol": arguments.protocol,
        "stride": stride,
        "passes": arguments.passes or 1,
        "seed": arguments.seed or 0,
        "data": str(arguments.data),
        "checkpoints": [
            {
                "fold": fold.name,
                "file": str(fold.checkpoint),
                "sha256": fold.card.sha256,
                "rooms": [room.name for room in fold.rooms],
            }
            for fold in folds
        ],
    }
