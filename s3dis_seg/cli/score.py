"""Compare the predictions of segmented scans with labels in the same files: IoU, accuracies and confusion.

A scan needs a property `prediction`, which `segment` writes, and a property with labels: class numbers, and 255 or -1
where a point has none; or, where the network was taught your own classes, the values that your class file names.
Several scans are scored one by one and all together.

Examples:
  s3dis-seg score segmented.ply
  s3dis-seg score segmented.ply --label-field classification --out scores/scan
"""

from pathlib import Path

from s3dis_seg.cli.options import add_classes_argument, classes_of, require_writable
from s3dis_seg.cli.results import print_results, write_results
from s3dis_seg.files import InputError


def add_arguments(parser):
    parser.add_argument("scans", metavar="SCAN", nargs="+", type=Path, help="scans with predictions and labels")
    parser.add_argument(
        "--label-field", metavar="NAME", help="property that holds the labels (default: the first with a usual name)"
    )
    parser.add_argument(
        "--prediction-field", metavar="NAME", help="property that holds the predictions (default: prediction)"
    )
    add_classes_argument(parser)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder for scores.json, scores.csv, confusion.png")


def run(arguments):
    from s3dis_seg import __version__
    from s3dis_seg.evaluation.scoring import score_scan
    from s3dis_seg.metrics import scores

    if arguments.out:
        require_writable(arguments.out)
    given, confusions, names, warnings = classes_of(arguments), {}, None, []
    for path in arguments.scans:
        if str(path) in confusions:
            raise InputError(f"{path} is named twice; every point would count twice")
        confusions[str(path)], of_scan, told = score_scan(
            path, arguments.label_field, arguments.prediction_field, given
        )
        names = of_scan if names is None else names
        if of_scan != names:
            raise InputError(
                f"{path} has the classes {', '.join(of_scan)}, {arguments.scans[0]} has {', '.join(names)}; "
                "score them one by one"
            )
        warnings += told
    together = "1 scan" if len(confusions) == 1 else f"{len(confusions)} scans"
    levels = {
        "all": {together: scores(sum(confusions.values()), names)},
        "scan": {name: scores(confusion, names) for name, confusion in confusions.items()},
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
