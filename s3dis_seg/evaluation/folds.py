"""Runs and the rooms that each kept for testing: the folds of a cross-validation."""

from dataclasses import dataclass
from pathlib import Path

from s3dis_seg.evaluation.rooms import choose_rooms, held_out_rooms, overlap_warnings
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.models.shipped import find_checkpoint


@dataclass
class Fold:
    """A checkpoint and the rooms it is scored on. name: as the user wrote it."""

    name: str
    checkpoint: Path
    card: Card
    rooms: list


def run_checkpoint(run):
    """The weights of a run: best.pt of its folder, last.pt where it has no validation; or the file named. -> Path"""
    run = Path(run)
    if not run.is_dir():
        return find_checkpoint(run)
    for name in ("best.pt", "last.pt"):
        if (run / name).is_file():
            return run / name
    raise InputError(f"{run} holds neither best.pt nor last.pt; name the folder of a run, or a checkpoint")


def fold_of_checkpoint(checkpoint, rooms, test_area=None, names=None, model=None, **overrides):
    """One checkpoint on the rooms named, else on those its run kept for testing, else on all. -> Fold, warnings

    rooms: all that are there. model, overrides: as in `load_checkpoint`.
    """
    checkpoint = run_checkpoint(checkpoint)
    _, card = load_checkpoint(checkpoint, model, **overrides)
    if test_area is not None or names is not None:
        return Fold(str(checkpoint), checkpoint, card, choose_rooms(rooms, test_area, names)), []
    kept, missing = held_out_rooms(card, rooms)
    return Fold(str(checkpoint), checkpoint, card, kept or rooms), _missing(checkpoint, missing)


def folds_of_runs(runs, rooms):
    """Several runs, each on the rooms it kept for testing. -> list of Fold, warnings

    InputError where a run kept none of the rooms, where two kept the same one, and where their classes differ.
    """
    folds, warnings, kept_by = [], [], {}
    for run in runs:
        checkpoint = run_checkpoint(run)
        _, card = load_checkpoint(checkpoint)
        kept, missing = held_out_rooms(card, rooms)
        if not kept:
            raise InputError(
                f"{checkpoint} kept no room of {rooms[0].folder} for testing, so --folds cannot use it; "
                "train it with --test-area, or name the right --data"
            )
        warnings += _missing(checkpoint, missing)
        for room in kept:
            if room.name in kept_by:
                raise InputError(
                    f"{room.name} was kept for testing by {kept_by[room.name]} and by {run}, and would count twice; "
                    "leave one of these --folds out"
                )
            kept_by[room.name] = run
        folds.append(Fold(str(run), checkpoint, card, kept))
    for fold in folds:
        if fold.card.class_names != folds[0].card.class_names:
            raise InputError(f"{fold.name} has other classes than {folds[0].name}; pool runs with the same classes")
    return folds, warnings


def limited(fold, limit):
    """Keep `limit` rooms of a fold, evenly spread; None keeps all. -> warnings, also those about seen rooms"""
    whole, warnings = len(fold.rooms), []
    fold.rooms = choose_rooms(fold.rooms, limit=limit)
    if len(fold.rooms) < whole:
        warnings.append(f"--limit-rooms: only {len(fold.rooms)} of {whole} rooms of {fold.name} are scored")
    names = [room.name for room in fold.rooms]
    return warnings + [f"{fold.checkpoint}: {warning}" for warning in overlap_warnings(fold.card, names)]


def _missing(checkpoint, names):
    if not names:
        return []
    return [f"{checkpoint} kept {len(names)} more rooms for testing that are not in the data, such as {names[0]}"]
