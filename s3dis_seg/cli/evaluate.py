"""Score a checkpoint on prepared rooms, or scans that were segmented before against labels they bring along.

Rooms are scored by all their points (--protocol all-points) or the way DeepGCN was published, by points drawn into
blocks (--protocol published). Where neither --test-area nor --rooms says which rooms, those that the run of the
checkpoint kept for testing are taken. --folds scores each run on the rooms it kept and pools all of them.
With --out, predictions are kept room by room: after an interruption the same command goes on where it was.

Examples:
  s3dis-seg evaluate --data data/rooms --checkpoint runs/area5/best.pt --test-area 5 --out scores/area5
  s3dis-seg evaluate --data data/rooms --checkpoint runs/area5/best.pt --protocol published --stride 0.5
  s3dis-seg evaluate --data data/rooms --folds runs/area1 runs/area2 runs/area3 --out scores/folds
  s3dis-seg evaluate out.ply --label-field classification
"""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from s3dis_seg import __version__
from s3dis_seg.classes import AREAS, CLASSES
from s3dis_seg.cli.options import number
from s3dis_seg.data.rooms.prepared import RoomFile
from s3dis_seg.data.scans import read_scan
from s3dis_seg.data.scans.labels import labels_of
from s3dis_seg.evaluation import (
    PROTOCOLS,
    STRIDES,
    choose_rooms,
    doubts,
    held_out_rooms,
    levels,
    list_rooms,
    run_checkpoint,
    score_room,
)
from s3dis_seg.files import InputError
from s3dis_seg.metrics import confusion_matrix, scores
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.report import class_table, confusion_picture, summary_table, write_csv, write_json
from s3dis_seg.segmentation import DEFAULT_CHECKPOINT, Segmenter

_MOST_LINES = 60  # longer tables of rooms are only in the CSV


def add_arguments(parser):
    parser.add_argument("scans", metavar="SCAN", nargs="*", type=Path, help="scans with predictions and labels")
    parser.add_argument("--label-field", help="property of the scans that holds their labels (default: looked for)")
    parser.add_argument("--prediction-field", help="property that holds the predictions (default: prediction)")
    rooms = parser.add_argument_group("rooms")
    rooms.add_argument("--data", type=Path, help="folder of prepared rooms, or PointNet's blocks (default: data/rooms)")
    rooms.add_argument("--checkpoint", help=f"file, or name of shipped weights (default: {DEFAULT_CHECKPOINT})")
    rooms.add_argument("--folds", metavar="RUN", nargs="+", type=Path, help="runs, each scored on the rooms it kept")
    rooms.add_argument("--test-area", type=int, choices=AREAS, help="score the rooms of this area")
    rooms.add_argument("--rooms", metavar="NAME", nargs="+", help="score these rooms; * stands for anything")
    rooms.add_argument(
        "--limit-rooms", metavar="N", type=number(int, 1), help="score only N of the rooms, evenly spread"
    )
    how = parser.add_argument_group("how rooms are scored")
    how.add_argument("--protocol", choices=PROTOCOLS, help="which points count (default: all-points)")
    how.add_argument(
        "--stride", type=float, help="distance of windows in their widths (default: 0.5; 1.0 if published)"
    )
    how.add_argument("--passes", type=number(int, 1), help="how often each point is looked at (default: 1)")
    how.add_argument("--seed", type=number(int, 0), help="of the draws of points (default: 0)")
    how.add_argument("--device", help="cpu, cuda or auto (default: auto)")
    how.add_argument("--batch-size", type=number(int, 1), help="blocks at a time; changes no score")
    model = parser.add_argument_group("checkpoints in the official layout, which do not tell their network")
    model.add_argument("--model", help="name of the network, such as resgcn28")
    for name in _NUMBERS:
        model.add_argument(f"--{name}", type=number(int, 1), help=f"its {_NUMBERS[name]}, where not that of the name")
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, help="folder for scores.json, scores.csv, confusion.png and predictions")
    results.add_argument("--predictions", type=Path, help="folder to keep predictions in (default: OUT/predictions)")


_NUMBERS = {"blocks": "graph convolutions", "channels": "channels", "k": "neighbours"}
_FOR_ROOMS = (
    "data", "checkpoint", "folds", "test_area", "rooms", "limit_rooms", "protocol", "stride", "passes", "seed",
    "device", "batch_size", "model", *_NUMBERS, "predictions",
)  # fmt: skip
_FOR_SCANS = ("label_field", "prediction_field")


def run(arguments):
    _refuse_combinations(arguments)
    evaluation = _score_scans(arguments) if arguments.scans else _score_all_rooms(arguments)
    _print(evaluation)
    if arguments.out:
        _write(evaluation, arguments.out)


@dataclass
class _Evaluation:
    """What is reported. levels: as `report` takes them; settings: what they were made with, for the JSON."""

    title: str
    levels: dict
    settings: dict
    warnings: list


def _flag(name):
    return "--" + name.replace("_", "-")


def _refuse_combinations(arguments):
    """InputError, in the words of the flags, for what cannot be meant together."""

    def given(names):
        return [_flag(name) for name in names if getattr(arguments, name) is not None]

    if arguments.scans and given(_FOR_ROOMS):
        raise InputError(
            f"{', '.join(given(_FOR_ROOMS))}: for rooms only, while {arguments.scans[0]} is scored by the predictions "
            "it holds; leave out one or the other"
        )
    if not arguments.scans and given(_FOR_SCANS):
        raise InputError(f"{', '.join(given(_FOR_SCANS))}: for scans only; name a scan, or leave it out")
    for first, others in (
        ("folds", ("checkpoint", "test_area", "rooms", "model", *_NUMBERS)),
        ("test_area", ("rooms",)),
    ):
        if getattr(arguments, first) is not None and given(others):
            raise InputError(f"{_flag(first)} and {', '.join(given(others))} exclude each other; leave one out")
    if not arguments.model and given(_NUMBERS):
        raise InputError(f"{', '.join(given(_NUMBERS))}: only together with --model")
    published = arguments.protocol == "published"
    if published and arguments.passes is not None:
        raise InputError("--passes: only with --protocol all-points; the published protocol looks once")
    if published and arguments.stride not in (None, 0.5, 1.0):
        raise InputError(f"--stride {arguments.stride}: published scores have --stride 1.0 or 0.5")


# --- scans ------------------------------------------------------------------------------------------------------------


def _score_scans(arguments):
    """Scans against their own labels. -> _Evaluation"""
    field = arguments.prediction_field or "prediction"
    confusions, used = {}, {}
    for path in arguments.scans:
        scan = read_scan(path, units="m")
        if field not in scan.columns:
            remedy = "name another with --prediction-field" if arguments.prediction_field else "segment it first"
            raise InputError(
                f"{path} has no property {field!r}, only {', '.join(scan.columns)}; {remedy}: "
                f"s3dis-seg segment {path} --out segmented.ply"
            )
        labels = labels_of(scan, arguments.label_field)
        if labels is None:
            raise InputError(
                f"{path} has no labels that are known by their name, only {', '.join(scan.columns)}; "
                "name the property that holds them with --label-field"
            )
        name = str(path)
        if name in confusions:
            raise InputError(f"{path} is named twice; every point would count twice")
        confusions[name] = confusion_matrix(labels, labels_of(scan, field), len(CLASSES))
        used[name] = {"label_field": arguments.label_field or "looked for", "prediction_field": field}
    title = f"all points of {', '.join(path.name for path in arguments.scans)}"
    found = {
        "all": {
            f"{len(confusions)} scans" if len(confusions) > 1 else "1 scan": scores(sum(confusions.values()), CLASSES)
        },
        "scan": {name: scores(confusion, CLASSES) for name, confusion in confusions.items()},
    }
    return _Evaluation(title, found, {"version": __version__, "scans": used}, [])


# --- rooms ------------------------------------------------------------------------------------------------------------


@dataclass
class _Fold:
    """A checkpoint and the rooms it is scored on."""

    name: str
    checkpoint: Path
    card: Card
    rooms: list


def _score_all_rooms(arguments):
    """Checkpoints on rooms. -> _Evaluation"""
    protocol = arguments.protocol or PROTOCOLS[0]
    data = arguments.data or Path("data/rooms")
    paths = list_rooms(data, protocol)
    stride = STRIDES[protocol] if arguments.stride is None else arguments.stride
    if not paths[0].is_file():
        if arguments.stride == 1.0:
            raise InputError(f"the blocks of {data} were drawn with --stride 0.5; leave --stride away")
        stride = 0.5
    folds, warnings = _folds(arguments, paths)
    for warning in warnings:
        print(f"warning: {warning}")  # before hours of work, and again with the scores
    folder = arguments.predictions or (arguments.out and arguments.out / "predictions")
    confusions, more = _score_folds(arguments, folds, protocol, stride, folder)
    warnings += more
    settings = {
        "version": __version__,
        "protocol": protocol,
        "stride": stride,
        "passes": arguments.passes or 1,
        "seed": arguments.seed or 0,
        "data": str(data),
        "checkpoints": [
            {
                "fold": fold.name,
                "file": str(fold.checkpoint),
                "sha256": fold.card.sha256,
                "rooms": [path.stem for path in fold.rooms],
            }
            for fold in folds
        ],
    }
    by_fold = {fold.name: [path.stem for path in fold.rooms] for fold in folds}
    points = "all points" if protocol == "all-points" else f"points drawn into blocks every {stride:g} m"
    rooms = "1 room" if len(confusions) == 1 else f"{len(confusions)} rooms"
    checkpoint = f"{len(folds)} folds" if len(folds) > 1 else str(folds[0].checkpoint)
    return _Evaluation(
        f"{points} of {rooms}, {checkpoint}", levels(confusions, folds[0].card.class_names, by_fold), settings, warnings
    )


def _folds(arguments, paths):
    """Who is scored on what. -> list of _Fold, list of warnings"""
    if arguments.folds:
        folds, warnings = _runs(arguments.folds, paths)
    else:
        checkpoint = run_checkpoint(arguments.checkpoint or DEFAULT_CHECKPOINT)
        _, card = load_checkpoint(checkpoint, arguments.model, **_overrides(arguments))
        warnings = []
        if arguments.test_area is None and arguments.rooms is None:
            rooms, missing = held_out_rooms(card, paths)
            rooms = rooms or paths
            warnings += _missing(checkpoint, missing)
        else:
            rooms = choose_rooms(paths, arguments.test_area, arguments.rooms)
        folds = [_Fold(str(checkpoint), checkpoint, card, rooms)]
    for fold in folds:
        whole = len(fold.rooms)
        fold.rooms = choose_rooms(fold.rooms, limit=arguments.limit_rooms)
        if len(fold.rooms) < whole:
            warnings.append(f"--limit-rooms: only {len(fold.rooms)} of {whole} rooms of {fold.name} are scored")
        warnings += [f"{fold.checkpoint}: {doubt}" for doubt in doubts(fold.card, [path.stem for path in fold.rooms])]
    return folds, warnings


def _runs(runs, paths):
    """The folds of several runs. -> list of _Fold, list of warnings"""
    folds, warnings, fold_of = [], [], {}
    for run in runs:
        checkpoint = run_checkpoint(run)
        _, card = load_checkpoint(checkpoint)
        rooms, missing = held_out_rooms(card, paths)
        if not rooms:
            raise InputError(
                f"{checkpoint} kept no room of {paths[0].parent} for testing, so --folds cannot use it; "
                "train it with --test-area, or name the right --data"
            )
        warnings += _missing(checkpoint, missing)
        for path in rooms:
            if path in fold_of:
                raise InputError(
                    f"{path.stem} was kept for testing by {fold_of[path]} and by {run}, and would count twice; "
                    "leave one of these --folds out"
                )
            fold_of[path] = run
        folds.append(_Fold(str(run), checkpoint, card, rooms))
    for fold in folds:
        if fold.card.class_names != folds[0].card.class_names:
            raise InputError(f"{fold.name} has other classes than {folds[0].name}; pool runs with the same classes")
    return folds, warnings


def _missing(checkpoint, names):
    if not names:
        return []
    return [f"{checkpoint} kept {len(names)} more rooms for testing that are not in the data, such as {names[0]}"]


def _overrides(arguments):
    return {name: getattr(arguments, name) for name in _NUMBERS if getattr(arguments, name) is not None}


def _score_folds(arguments, folds, protocol, stride, folder):
    """-> dict room -> confusion, list of warnings"""
    confusions, said, reused = {}, {}, 0
    weights = {path: RoomFile(path).num_points if path.is_file() else 1 for fold in folds for path in fold.rooms}
    unit = " points" if all(path.is_file() for path in weights) else " rooms"
    print(f"scoring {len(weights)} rooms" + (f", predictions are kept in {folder}" if folder else ""))
    bar = tqdm(total=sum(weights.values()), unit=unit, unit_scale=True, dynamic_ncols=True)
    try:
        with bar:
            for fold in folds:
                segmenter = _segmenter(arguments, fold, stride)
                for path in fold.rooms:
                    bar.set_description(path.stem)
                    finished = sum(weights[done] for done in weights if done.stem in confusions)

                    def progress(done, windows, finished=finished, weight=weights[path]):
                        bar.update(finished + weight * done // windows - bar.n)

                    result = score_room(segmenter, path, protocol, folder, progress)
                    progress(1, 1)
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
    return confusions, [_in_rooms(warning, rooms) for warning, rooms in said.items()]


def _in_rooms(warning, rooms):
    return f"{', '.join(rooms[:3])}{f' and {len(rooms) - 3} more rooms' if len(rooms) > 3 else ''}: {warning}"


def _segmenter(arguments, fold, stride):
    return Segmenter.from_checkpoint(
        fold.checkpoint,
        arguments.device or "auto",
        arguments.model,
        stride,
        arguments.passes or 1,
        arguments.batch_size,
        arguments.seed or 0,
        **_overrides(arguments),
    )


# --- results ----------------------------------------------------------------------------------------------------------


def _print(evaluation):
    together = next(iter(evaluation.levels["all"].values()))
    for level, by_name in evaluation.levels.items():
        if level == "all" or (level != "fold" and len(by_name) == 1):
            continue
        if len(by_name) > _MOST_LINES:
            print(f"\n{len(by_name)} {level}s: by {level} in the files of --out only")
            continue
        print("\n" + summary_table(level, by_name))
    print(f"\n{evaluation.title}\n")
    print(class_table(together))
    for warning in evaluation.warnings:
        print(f"warning: {warning}")


def _write(evaluation, out):
    together = next(iter(evaluation.levels["all"].values()))
    write_json(out / "scores.json", evaluation.levels, evaluation.settings, evaluation.warnings)
    write_csv(out / "scores.csv", evaluation.levels)
    written = [out / "scores.json", out / "scores.csv"]
    if together.points:
        confusion_picture(out / "confusion.png", together, evaluation.title)
        written.append(out / "confusion.png")
    print(f"written: {', '.join(map(str, written))}")
