"""Score scans that were segmented before, against labels that they bring along.

A scan needs a property `prediction` (`segment` writes it) and one with labels: numbers of classes, 255 or -1 where
there is none. Several scans are scored one by one and all together.

Examples:
  s3dis-seg score segmented.ply
  s3dis-seg score segmented.ply --label-field classification --out scores/scan
"""

from pathlib import Path

from s3dis_seg.cli.options import require_writable
from s3dis_seg.cli.results import print_results, write_results
from s3dis_seg.files import InputError


def add_arguments(parser):
    parser.add_argument("scans", metavar="SCAN", nargs="+", type=Path, help="scans with predictions and labels")
    parser.add_argument("--label-field", metavar="NAME", help="property with the labels (default: looked for)")
    parser.add_argument("--prediction-field", metavar="NAME", help="property with predictions (default: prediction)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder for scores.json, scores.csv, confusion.png")


def run(arguments):
    from s3dis_seg import __version__
    from s3dis_seg.classes import CLASSES
    from s3dis_seg.evaluation.scoring import score_scan
    from s3dis_seg.metrics import scores

    if arguments.out:
        require_writable(arguments.out)
    confusions, warnings = {}, []
    for path in arguments.scans:
        if str(path) in confusions:
            raise InputError(f"{path} is named twice; every point would count twice")
        confusions[str(path)], told = score_scan(path, arguments.label_field, arguments.prediction_field)
        warnings += told
    together = "1 scan" if len(confusions) == 1 else f"{len(confusions)} scans"
    levels = {
        "all": {together: scores(sum(confusions.values()), CLASSES)},
        "scan": {name: scores(confusion, CLASSES) for name, confusion in confusions.items()},
    }
    fields = {
        "label_field": arguments.label_field or "looked for",
        "prediction_field": arguments.prediction_field or "prediction",
    }
    title = f"all points of {', '.join(path.name for path in arguments.scans)}"
    print_results(title, levels, warnings)
    if arguments.out:
        settings = {"version": __version__, "scans": dict.fromkeys(confusions, fields)}
        write_results(arguments.out, title, levels, settings, warnings)
