"""Write single classes of a segmented scan to files of their own, with all attributes of their points.

Each class becomes a file in the folder OUT, named after the scan and the class, such as parts/segmented_chair.ply. The
format is that of the scan, or --format. Corrections of `review` that lie beside the scan count with --corrected.

Examples:
  s3dis-seg export segmented.ply --only chair table --out parts
  s3dis-seg export segmented.ply --out parts --format las
  s3dis-seg export segmented.ply --only chair --corrected --out parts
"""

import argparse
import os
from pathlib import Path

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.cli.options import add_classes_argument, classes_of, require_writable
from s3dis_seg.data.scans import WRITABLE, part_of, read_scan, write_scan
from s3dis_seg.data.scans.corrections import corrected_scan, corrections_path, read_corrections
from s3dis_seg.files import InputError, numbered_names, safe_name


def add_arguments(parser):
    parser.add_argument("scan", metavar="SCAN", type=Path, help="segmented scan, in any format that `segment` writes")
    parser.add_argument(
        "--only", metavar="CLASS", nargs="+", help="these classes (default: each that is predicted anywhere)"
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--format", metavar="SUFFIX", choices=[suffix[1:] for suffix in WRITABLE],
        help=f"of the files: {', '.join(suffix[1:] for suffix in WRITABLE)} (default: that of the scan)",
    )  # fmt: skip
    parser.add_argument(
        "--corrected", action=argparse.BooleanOptionalAction, default=False,
        help="take the corrections beside the scan into account",
    )  # fmt: skip
    add_classes_argument(parser)


def run(arguments):
    suffix = f".{arguments.format}" if arguments.format else arguments.scan.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"{arguments.scan.suffix} cannot be written; name another --format: {', '.join(WRITABLE)}")
    # Coordinates are written as the file has them, so units and upright axis do not matter.
    scan = read_scan(arguments.scan, "m", classes_of(arguments), "z")
    if scan.predictions is None:
        raise InputError(f"{arguments.scan} has no predictions; s3dis-seg segment makes them")
    predictions = scan.predictions
    if arguments.corrected:
        labels, classes = read_corrections(corrections_path(arguments.scan), scan)
        scan.classes, predictions = classes, np.where(labels == UNLABELLED, predictions, labels)
        scan = corrected_scan(scan, labels)
    else:
        scan.predictions = scan.confidence = None  # their columns are written as they are
    chosen = _chosen(arguments.only, predictions, scan.classes)
    require_writable(arguments.out)
    stem = safe_name(arguments.scan.stem, "scan")
    names = numbered_names([safe_name(f"{stem}_{scan.classes.names[label]}", stem) for label in chosen])
    outs = [arguments.out / f"{name}{suffix}" for name in names]
    for out in outs:
        if out.exists() and os.path.samefile(out, arguments.scan):
            raise InputError(f"{out} is the scan itself; name another --out")
    for word in scan.words:
        print(f"note: its property {word} holds words and is not in the output")
    for label, out in zip(chosen, outs):
        points = np.flatnonzero(predictions == label)
        if len(points) == 0:
            print(f"note: no point is predicted to be {scan.classes.names[label]}; no file is written for it")
            continue
        write_scan(out, part_of(scan, points))
        print(f"wrote {out}: {len(points):,} points of {scan.classes.names[label]}")


def _chosen(names, predictions, classes):
    """The classes to write. -> list of class numbers; InputError for an unknown name, and where there is nothing"""
    there = np.flatnonzero(np.bincount(predictions, minlength=256)[: len(classes)]).tolist()
    if names is None:
        chosen = there
    else:
        numbers = {name.lower(): label for label, name in enumerate(classes.names)}
        for name in names:
            if name.lower() not in numbers:
                raise InputError(f"--only {name}: there is no such class; there are {', '.join(classes.names)}")
        chosen = sorted({numbers[name.lower()] for name in names})
    if not set(chosen) & set(there):
        said = ", ".join(classes.names[label] for label in chosen) or "any of the classes"
        raise InputError(f"no point is predicted to be {said}; there is nothing to write")
    return chosen
