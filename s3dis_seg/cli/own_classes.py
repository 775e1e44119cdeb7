"""The part of `prepare` that is about labelled and corrected scans, and the classes of the user."""

import argparse
import math
import shlex
from pathlib import Path

from s3dis_seg.cli.options import number
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.class_file import classes_of_text, first_class_file, read_class_file
from s3dis_seg.data.rooms.labelled import (
    LEARN_FROM,
    TRAIN,
    VAL,
    corrected_sources,
    count_values,
    find_scans,
    gap_between,
    labelled_sources,
    require_named,
)
from s3dis_seg.data.rooms.prepared import room_path
from s3dis_seg.data.scans import UNITS
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

_FLAGS = ("classes", "label_field", "write_classes", "cut", "units", "sure")
_MOST_LINES = 60  # longer tables are cut


def add_arguments(parser):
    scans = parser.add_argument_group("for your own labelled scans")
    scans.add_argument("--classes", metavar="FILE", type=Path, help="class file: names, colours and values, see above")
    scans.add_argument(
        "--label-field", metavar="NAME", help="property that holds the labels (default: the first with a usual name)"
    )
    scans.add_argument(
        "--write-classes", metavar="FILE", type=Path, help="write a class file with the values that are found, and stop"
    )
    scans.add_argument(
        "--cut",
        metavar="SHARE",
        type=number(float, 0, above=True),
        help="make two rooms of each scan: a strip with this share of its points (0.2, say) across its longer side "
        "for validation, and after a gap the rest for training",
    )
    scans.add_argument("--units", choices=UNITS, help="units of the coordinates (default: m, if the height fits)")

    corrected = parser.add_argument_group("for scans that were corrected by s3dis-seg review")
    corrected.add_argument(
        "--corrections",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="the labels are the corrections beside each scan, and predictions elsewhere",
    )
    corrected.add_argument(
        "--sure",
        metavar="0-1",
        type=_sure,
        help="predictions of at least this confidence are labels, too, so that the network does not forget what it "
        f"knows; none for corrections only (default: {LEARN_FROM:g}, all predictions)",
    )


def _sure(text):
    return math.inf if text == "none" else number(float, 0)(text)


def is_about_scans(arguments):
    """Whether RAW is scans, labelled or corrected, and not S3DIS."""
    given = any(getattr(arguments, name) is not None for name in _FLAGS)
    return given or arguments.corrections or arguments.raw.is_file()


def sources_of(arguments):
    """List the values of the labels. -> the rooms to prepare, None where no class file is given"""
    if arguments.corrections:
        return _corrected(arguments)
    if arguments.sure is not None:
        raise InputError("--sure: only with --corrections")
    if arguments.classes and arguments.write_classes:
        raise InputError("--classes and --write-classes exclude each other; leave one out")
    if arguments.write_classes and arguments.write_classes.exists():
        raise InputError(f"{arguments.write_classes} is there already and is not overwritten; name another file")
    if arguments.cut is not None and arguments.cut > 0.5:
        raise InputError(f"--cut {arguments.cut:g}: the part for validation; expected at most 0.5")
    classes = read_class_file(arguments.classes) if arguments.classes else None
    scans = find_scans(arguments.raw)
    print(f"reading the labels of {len(scans)} scan{'s' if len(scans) > 1 else ''}", flush=True)
    counts = count_values(scans, arguments.label_field, arguments.units)
    if classes:
        require_named(counts, classes, arguments.classes)
        _print_values(counts, classes)
        return labelled_sources(arguments.raw, classes, arguments.label_field, arguments.units, arguments.cut)
    _print_values(counts)
    _write_first_class_file(arguments, scans, counts)
    return None


def _corrected(arguments):
    """The rooms of corrected scans; says which scans have no corrections."""
    names = ("classes", "label_field", "write_classes", "cut")
    if given := [name for name in names if getattr(arguments, name) is not None]:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise InputError(f"{flags}: not together with --corrections, which bring labels and classes of their own")
    sure = LEARN_FROM if arguments.sure is None else arguments.sure
    sources, others = corrected_sources(arguments.raw, None if sure == math.inf else sure, arguments.units)
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        print(f"note: left out, without corrections: {', '.join(scan.name for scan in others[:3])}{more}")
    return sources


def check_apart(sources, raw, out):
    """InputError where the rooms would be written among the scans."""
    inside = raw.is_dir() and out.resolve().is_relative_to(raw.resolve())
    over = next((source for source in sources if room_path(source.name, out).resolve() == source.path.resolve()), None)
    if inside or over:
        raise InputError(f"--out {out} lies inside of {raw}, which is never changed; name another folder")


def _print_values(counts, classes=None):
    """Every value of the labels with its points, and the class that it means."""
    rows = [(value, sum(by_scan.values()), len(by_scan)) for value, by_scan in counts.items()]
    rows.sort(key=lambda row: (row[0] is None, isinstance(row[0], str), row[0]))
    texts = ["none (NaN)" if value is None else str(value)[:40] for value, _, _ in rows]
    width = max(map(len, ("value", *texts)))
    print(f"\n{'value':<{width}}{'points':>15}{'scans':>8}" + ("   class" if classes else ""))
    for text, (value, points, scans) in list(zip(texts, rows))[:_MOST_LINES]:
        print(f"{text:<{width}}{points:>15,}{scans:>8}" + (f"   {_class_name(value, classes)}" if classes else ""))
    if len(rows) > _MOST_LINES:
        print(f"... and {len(rows) - _MOST_LINES} more values")


def _class_name(value, classes):
    label = None if value is None else classes.label_of(value)
    return "-" if label is None or label >= len(classes) else classes.names[label]


def _write_first_class_file(arguments, scans, counts):
    field = arguments.label_field or "the labels"
    flags = f" --label-field {shlex.quote(arguments.label_field)}" if arguments.label_field else ""
    flags += f" --units {arguments.units}" if arguments.units else ""
    command = f"s3dis-seg prepare {shlex.quote(str(arguments.raw))}{flags}"
    if not arguments.write_classes:
        print(f"\nnext: {command} --write-classes classes.txt")
        return
    is_standard = arguments.label_field in (None, "classification")
    is_las = is_standard and all(scan.suffix.lower() in (".las", ".laz") for scan in scans)
    totals = {value: sum(by_scan.values()) for value, by_scan in counts.items() if value is not None}
    text = first_class_file(totals, field, is_las)
    classes_of_text(text, "the values found")  # words that no class file can hold are told now
    with replacing(arguments.write_classes) as temporary:
        temporary.write_text(text, encoding="utf-8")
    written = shlex.quote(str(arguments.write_classes))
    print(f"\nwrote {written}: give the classes their names in it, then")
    print(f"next: {command} --classes {written} --out rooms")


def report(rooms, kept):
    """Print the rooms, the classes, what was odd in the scans, and how they were cut."""
    if not rooms:
        return
    width = max(len(room.name) for room in rooms)
    print(f"\n{'room':<{width}}{'points':>15}{'labelled':>10}")
    for room in rooms[:_MOST_LINES]:
        labelled = room.class_counts.sum() / room.num_points
        print(f"{room.name:<{width}}{room.num_points:>15,}{labelled:>10.1%}" + ("   kept" if room.name in kept else ""))
    if len(rooms) > _MOST_LINES:
        print(f"... and {len(rooms) - _MOST_LINES} more rooms")
    print_classes(rooms)
    for repair in dict.fromkeys(str(repair) for room in rooms for repair in room.repairs):
        print(f"note: {repair}")
    _tell_cuts(rooms)


def _tell_cuts(rooms):
    by_name = {room.name: room for room in rooms}
    for name, val in by_name.items():
        train = by_name.get(name.removesuffix(VAL) + TRAIN)
        if not name.endswith(VAL) or train is None:
            continue
        axis, gap, length = gap_between(train, val)
        share = val.num_points / (val.num_points + train.num_points)
        print(
            f"{name}: {length:.1f} m along {'xy'[axis]}, {share:.1%} of the points, for validation; the {gap:.2f} m "
            f"between it and {train.name} are left out"
        )
        if length < BlockSettings.block_size:
            print(
                f"note: a strip of {length:.1f} m is narrower than a block of {BlockSettings.block_size:g} m, and its "
                "scores say little; choose a larger --cut, or label another scan for validation"
            )
        for counts, others, side in ((train, val, "training"), (val, train, "validation")):
            lacking = (counts.class_counts == 0) & (others.class_counts > 0)
            if names := [name for name, lacks in zip(val.class_names, lacking) if lacks]:
                print(f"note: the {side} part has no {', '.join(names)}; another --cut may have some")


def print_classes(rooms):
    """Points, share and rooms of every class."""
    counts = sum(room.class_counts for room in rooms)
    total = sum(room.num_points for room in rooms)
    unlabelled = total - counts.sum()
    names = rooms[0].class_names
    width = max(12, *(len(name) + 1 for name in names))
    print(f"\n{'class':<{width}}{'points':>15}{'share':>9}{'rooms':>8}")
    for index, name in enumerate(names):
        having = sum(1 for room in rooms if room.class_counts[index])
        print(f"{name:<{width}}{counts[index]:>15,}{counts[index] / total:>8.1%}{having:>9}")
    if unlabelled:
        print(f"{'unlabelled':<{width}}{unlabelled:>15,}{unlabelled / total:>8.1%}")


def next_command(out, corrections=False):
    """The command that teaches the shipped network these classes, or corrections. -> text"""
    train = f"s3dis-seg train --data {shlex.quote(str(out))} --from {DEFAULT_CHECKPOINT}"
    return f"{train} --recipe corrections --out runs/corrected" if corrections else f"{train} --out runs/mine"
