"""`s3dis-seg train --folds`: one run for each area that is left out, then the scores of all areas together."""

import time
from pathlib import Path

from s3dis_seg.cli import evaluate, progress
from s3dis_seg.cli.train import StopSignals, config_of, is_first_process, train_and_show
from s3dis_seg.files import InputError


def run_folds(arguments, given):
    """Train every fold that is not finished, as `arguments` of `train` say, and score all of them where none is left.

    given: the arguments that are not None. InputError for flags that choose rooms themselves.
    """
    _refuse_combinations(given)
    areas, chosen = _areas(given)
    configs = {area: config_of(_of_fold(given, area)) for area in chosen}
    epochs = configs[chosen[0]].epochs
    from s3dis_seg.training.processes import team_of

    outcome = None
    with StopSignals() as signals, team_of(arguments.device):  # one team for all runs
        missing = [area for area in chosen if not _is_finished(_folder(arguments, area), epochs)]
        _tell_what_it_takes(configs, missing, arguments)
        deadline = None if arguments.time_limit is None else time.monotonic() + 60 * arguments.time_limit
        for area in missing:
            folder = _folder(arguments, area)
            _say(f"\nArea {area} is left out, in {folder}")
            minutes = None if deadline is None else max((deadline - time.monotonic()) / 60, 0.0)
            resume = (folder / "last.pt").is_file()
            outcome = train_and_show(configs[area], folder, resume, arguments, signals, minutes)
            if outcome.reason != "finished":
                break
    if outcome is not None and outcome.reason != "finished":
        _say("the same command goes on with the folds")
        if outcome.reason == "stopped":
            raise KeyboardInterrupt
        return
    if is_first_process():
        _score(arguments, areas, epochs)


def _refuse_combinations(given):
    others = [name for name in ("test_area", "test_rooms", "split_file", "train_rooms", "val_rooms") if name in given]
    if others or given.get("resume"):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in others or ["resume"])
        raise InputError(
            f"--folds and {names} exclude each other: --folds chooses the rooms of each run, and goes on by itself"
        )
    if "data" not in given:
        raise InputError("name the folder of the rooms by --data (made by s3dis-seg prepare)")


def _areas(given):
    """The areas of the rooms that are there, and those of --folds. -> two lists of numbers"""
    from s3dis_seg.data.rooms.open import open_rooms

    there = sorted({room.area for room in open_rooms(given["data"])} - {None, 0})
    if len(there) < 2:
        raise InputError(f"{given['data']} has rooms of {len(there)} areas; --folds needs two or more")
    unknown = sorted(set(given["folds"]) - set(there))
    if unknown:
        raise InputError(f"--folds {unknown[0]}: {given['data']} has no room of this area, only of {there}")
    return there, sorted(set(given["folds"])) or there


def _of_fold(given, area):
    return {name: value for name, value in given.items() if name != "folds"} | {"test_area": area}


def _folder(arguments, area):
    return Path(arguments.out) / f"area{area}"


def _is_finished(folder, epochs):
    from s3dis_seg.models.checkpoint import load_training_state
    from s3dis_seg.training.stored import require_sound

    last = folder / "last.pt"
    if not last.is_file():
        return False
    state = load_training_state(last)
    require_sound(state, last)
    return state["progress"]["epoch"] >= epochs


def _tell_what_it_takes(configs, missing, arguments):
    """Time and memory of all runs, from the work of each and the speed of the first."""
    from s3dis_seg.training.estimate import count_blocks, estimate

    _say(f"{len(configs)} folds, {len(configs) - len(missing)} of them trained")
    if not missing:
        return
    block = estimate(configs[missing[0]], arguments.device)
    blocks, work = map(sum, zip(*(count_blocks(configs[area]) for area in missing)))
    _say(
        f"about {progress.duration(block.seconds * work)} for {blocks:,} blocks, without what a run has done already; "
        f"{block.memory / 1e9:.1f} GB of memory a process"
    )


def _score(arguments, areas, epochs):
    """Pool the folds of all areas, where all are trained."""
    untrained = [area for area in areas if not _is_finished(_folder(arguments, area), epochs)]
    if untrained:
        _say(f"not trained yet: areas {', '.join(map(str, untrained))}; once they are, all are scored together")
        return
    from s3dis_seg.cli.main import parse

    folders = [str(_folder(arguments, area)) for area in areas]
    words = ["--data", str(arguments.data), "--device", arguments.device, "--out", str(Path(arguments.out) / "scores")]
    _say("\nevery fold on the area it left out:")
    evaluate.run(parse(["evaluate", *words, "--folds", *folders]))


def _say(text):
    if is_first_process():
        progress.say(text)
