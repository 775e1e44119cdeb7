"""Correct a segmented scan where the network is least sure, in a window or in the terminal.

The doubtful regions (connected points of one prediction with a mean confidence below --sure) come one after the other,
the largest first. In the window a key gives a region its class; Space skips it, Backspace goes back, U undoes, Q saves
and closes. Without a window, --list prints the regions, and --assign gives them classes by their number. Any other part
of the scan is picked by a place (--at: the connected points of one prediction within --radius of it) or a box.

Corrections are kept beside the scan: those of segmented.ply in segmented.labels.npz. The scan is not changed; --write
writes a copy in which corrected points have their class. `prepare --corrections` makes rooms to learn from.

Examples:
  s3dis-seg review segmented.ply
  s3dis-seg review segmented.ply --list
  s3dis-seg review segmented.ply --assign wall=1,4 chair=3
  s3dis-seg review segmented.ply --at table=1.2,3.4,0.8 --radius 0.5
  s3dis-seg review segmented.ply --box clutter=0,0,0,1.5,2,1
  s3dis-seg review segmented.ply --write corrected.las
"""

import argparse
import math
import os
import shlex
from pathlib import Path

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.cli.options import add_classes_argument, classes_of, number
from s3dis_seg.data.scans import UNITS, UP, WRITABLE, read_scan, write_scan
from s3dis_seg.data.scans.corrections import corrected_scan, corrections_path, read_corrections, write_corrections
from s3dis_seg.files import InputError
from s3dis_seg.review import Session, doubtful_regions, name_of, region_around, region_in_box, told_region
from s3dis_seg.review.regions import SURE

_RADIUS = 0.5


def add_arguments(parser):
    parser.add_argument("scan", metavar="SCAN", type=Path, help="segmented scan, in any format that `segment` writes")
    add_classes_argument(parser)
    parser.add_argument("--units", choices=UNITS, help="units of the coordinates (default: judged by the extents)")
    parser.add_argument("--up", choices=UP, help="axis that points upwards (default: judged by the points)")
    parser.add_argument(
        "--sure", metavar="0-1", type=number(float, 0, above=True), default=SURE,
        help="regions below this mean confidence are doubtful (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--most", metavar="N", type=number(int, 1), default=50, help="no more regions than this (default: %(default)s)"
    )
    terminal = parser.add_argument_group("without a window")
    terminal.add_argument(
        "--list", action=argparse.BooleanOptionalAction, default=False, help="print the regions and stop"
    )
    terminal.add_argument(
        "--assign", metavar="CLASS=N,N", nargs="+", action="extend", default=[],
        help="give regions of the list (of the same --sure) a class",
    )  # fmt: skip
    terminal.add_argument(
        "--at", metavar="CLASS=X,Y,Z", nargs="+", action="extend", default=[],
        help="give the connected points around a place a class, in metres",
    )  # fmt: skip
    terminal.add_argument(
        "--radius", metavar="METRES", type=number(float, 0, above=True),
        help=f"of --at, how far its points may be (default: {_RADIUS})",
    )  # fmt: skip
    terminal.add_argument(
        "--box", metavar="CLASS=X,Y,Z,X,Y,Z", nargs="+", action="extend", default=[],
        help="give all points between two corners a class, in metres",
    )  # fmt: skip
    results = parser.add_argument_group("results")
    results.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        help="file of the corrections (default: SCAN.labels.npz beside it)",
    )
    results.add_argument(
        "--write", metavar="OUT", type=Path, help="write a copy of the scan in which corrected points have their class"
    )


def run(arguments):
    kept = arguments.labels or corrections_path(arguments.scan)
    _refuse_combinations(arguments, kept)
    by_words = bool(arguments.list or arguments.assign or arguments.at or arguments.box or arguments.write)
    if not by_words:
        _require_window()
    scan = read_scan(arguments.scan, arguments.units, classes_of(arguments), arguments.up)
    for warning in dict.fromkeys(scan.warnings):
        print(f"warning: {warning}")
    needs_regions = arguments.list or arguments.assign or not by_words
    regions = doubtful_regions(scan, arguments.sure, arguments.most) if needs_regions else []
    session = Session(scan, regions, _kept_labels(kept, scan))
    picked = [] if not by_words else _picked(arguments, session)
    if arguments.list:
        _print_list(session)
    for region, label in picked:
        session.give(region, label)
        print(f"{name_of(label, scan.classes)} now: {told_region(region, scan.classes)}")
    if picked:
        _save(kept, session)
    if arguments.write:
        _write(arguments.write, session)
    if not by_words:
        _review(session, kept)


def _require_window():
    """InputError that names the way without a window, where none can be opened."""
    from s3dis_seg.view import check_window

    try:
        check_window()
    except InputError as error:
        reason = str(error).partition(";")[0]  # what comes behind it is about pictures
        raise InputError(f"{reason}; use --list, and then --assign CLASS=NUMBER") from error


def _refuse_combinations(arguments, kept):
    if arguments.radius is not None and not arguments.at:
        raise InputError("--radius: only with --at")
    if arguments.write:
        if arguments.write.suffix.lower() not in WRITABLE:
            known = ", ".join(WRITABLE)
            raise InputError(f"--write {arguments.write}: cannot write {arguments.write.suffix!r}; known: {known}")
        if arguments.write.exists() and os.path.samefile(arguments.write, arguments.scan):
            raise InputError(f"--write {arguments.write} is the scan itself; name another file, so that it is kept")
    if kept.suffix.lower() != ".npz":
        raise InputError(f"--labels {kept}: corrections are kept in a .npz file; name one")
    if kept.exists() and arguments.scan.exists() and os.path.samefile(kept, arguments.scan):
        raise InputError(f"--labels {kept} is the scan itself; name another file")


def _kept_labels(path, scan):
    """Corrections that were made before. -> (P,) uint8, or None; InputError where they are of other classes"""
    if not path.exists():
        return None
    labels, classes = read_corrections(path, scan)
    if classes.names != scan.classes.names:
        raise InputError(
            f"{path} has the classes {', '.join(classes.names)[:200]}, the scan has "
            f"{', '.join(scan.classes.names)[:200]}; name its classes with --classes, or another file with --labels"
        )
    return labels


def _picked(arguments, session):
    """What --assign, --at and --box mean. -> list of (Region, class number); InputError before anything is given"""
    scan = session.scan
    picked = []
    for words in arguments.assign:
        label, numbers = _parsed(words, "--assign", "CLASS=NUMBER,NUMBER", scan.classes)
        for text in numbers:
            place = int(text) if text.isascii() and text.isdigit() else 0
            if not 1 <= place <= len(session.regions):
                raise InputError(
                    f"--assign {words}: {text!r} is none of the {len(session.regions)} regions that --list shows"
                )
            picked.append((session.regions[place - 1], label))
    for words in arguments.at:
        label, numbers = _parsed(words, "--at", "CLASS=X,Y,Z", scan.classes)
        place = _coordinates(numbers, 3, words, "--at", "CLASS=X,Y,Z")
        picked.append((region_around(scan, place, arguments.radius or _RADIUS), label))
    for words in arguments.box:
        label, numbers = _parsed(words, "--box", "CLASS=X,Y,Z,X,Y,Z", scan.classes)
        corners = _coordinates(numbers, 6, words, "--box", "CLASS=X,Y,Z,X,Y,Z")
        picked.append((region_in_box(scan, corners[:3], corners[3:]), label))
    return picked


def _parsed(words, flag, form, classes):
    """A class and what it is given to. "chair=1,2" -> class number, ["1", "2"]; InputError"""
    name, equals, rest = words.rpartition("=")
    if not equals:
        raise InputError(f"{flag} {words}: expected {form}, such as {classes.names[0]}=...")
    matching = [label for label, known in enumerate(classes.names) if known.lower() == name.strip().lower()]
    if not matching:
        raise InputError(f"{flag} {words}: there is no class {name.strip()!r}; there are {', '.join(classes.names)}")
    return matching[0], [text.strip() for text in rest.split(",")]


def _coordinates(texts, count, words, flag, form):
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(f"{flag} {words}: expected {form}, {count} numbers in metres")
    return np.array(values)


def _print_list(session):
    scan, regions = session.scan, session.regions
    if not regions:
        print("no region is doubtful; --sure 0.9 shows more")
        return
    print(f"{'':>4}{'x':>10}{'y':>10}{'z':>8}   {'size in m':<17}{'points':>10}{'confidence':>12}   prediction")
    for place, region in enumerate(regions, start=1):
        x, y, z = region.middle
        size = " x ".join(f"{extent:.1f}" for extent in region.high - region.low)
        name = name_of(region.label, scan.classes)
        second = "" if region.runner_up is None else f", then {name_of(region.runner_up, scan.classes)}"
        given = session.given_to(region)
        done = "" if given == UNLABELLED else f"   corrected: {name_of(given, scan.classes)}"
        print(
            f"{place:>4}{x:>10.2f}{y:>10.2f}{z:>8.2f}   {size:<17}{len(region.points):>10,}{region.confidence:>12.2f}"
            f"   {name}{second}{done}"
        )
    share = sum(len(region.points) for region in regions) / len(scan)
    print(f"{len(regions)} regions hold {share:.1%} of the points; --assign CLASS=NUMBER gives one its class")


def _save(path, session):
    write_corrections(path, session.scan, session.labels)
    share = (session.labels != UNLABELLED).mean()
    scan = shlex.quote(str(session.scan.path))
    print(f"wrote {path}: {share:.1%} of the points have a class of yours")
    print(f"next: s3dis-seg prepare {scan} --corrections --out corrected")


def _write(out, session):
    scan = session.scan
    if scan.predictions is None:
        raise InputError(f"{scan.path} has no predictions; s3dis-seg segment makes them")
    renamed = write_scan(out, corrected_scan(scan, session.labels))
    assert not renamed, "columns are written as they are"
    print(f"wrote {out}: {(session.labels != UNLABELLED).sum():,} of {len(scan):,} points corrected")


def _review(session, kept):
    """Show the regions in a window. Whatever was given is kept, however the window is closed."""
    from s3dis_seg.view.review_window import HELP, ReviewWindow

    if not session.regions:
        print("no region is doubtful; --sure 0.9 shows more")
        return
    saved = session.labels.copy()

    def save():
        if not np.array_equal(saved, session.labels):
            _save(kept, session)
            saved[:] = session.labels

    window = ReviewWindow(session, lambda sentence: print(sentence, flush=True), save)
    print(HELP)
    window.run()
