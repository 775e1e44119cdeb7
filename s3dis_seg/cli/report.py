"""One HTML page of a segmented scan, to show to somebody who has nothing installed.

The page holds the points themselves: it turns in any browser of today with WebGL 2, without a server or a network. It
shows the colours of the scan, the prediction, and labels, errors and confidence where the file has them; a table of the
classes with their floor area; the places where the network is least sure; and scores where there are labels.

A scan needs a property `prediction`, which `segment` writes. `segment --report page.html` makes the page in one go and
adds the weights and settings, which a segmented file does not tell.

Examples:
  s3dis-seg report segmented.ply --out report.html
  s3dis-seg report segmented.ply --out report.html --label-field classification --points 1000000
"""

from dataclasses import replace
from pathlib import Path

from s3dis_seg import __version__
from s3dis_seg.cli.options import add_classes_argument, classes_of, number, require_writable
from s3dis_seg.data.scans import UNITS, UP

_MOST_COMMENTS = 20


def add_arguments(parser):
    parser.add_argument("scan", metavar="SCAN", type=Path, help="segmented scan, in any format that `segment` writes")
    parser.add_argument("--out", metavar="PAGE", type=Path, required=True, help="page to write, a .html file")
    parser.add_argument(
        "--label-field", metavar="NAME", help="property that holds the labels (default: the first with a usual name)"
    )
    parser.add_argument(
        "--prediction-field", metavar="NAME", help="property that holds the predictions (default: prediction)"
    )
    add_classes_argument(parser)
    parser.add_argument("--units", choices=UNITS, help="units of the coordinates (default: judged by the extents)")
    parser.add_argument("--up", choices=UP, help="axis that points upwards (default: judged by the points)")
    parser.add_argument(
        "--points", metavar="N", type=number(int, 1), default=3_000_000,
        help="most points in the 3-D view; larger scans are thinned evenly (default: %(default)s)",
    )  # fmt: skip


def run(arguments):
    from s3dis_seg.report.page import require_page_name

    require_page_name(arguments.out)
    require_writable(arguments.out.parent)
    scan, warnings = _segmented(arguments)
    for warning in warnings:
        print(f"warning: {warning}")
    make_page(arguments.out, scan, warnings, _origin(scan), arguments.points)


def make_page(out, scan, notes, made, most_points=None):
    """Write the page of a segmented scan and say what it holds. made, notes: as `write_page` takes them."""
    from s3dis_seg.report.page import MOST_POINTS, write_page

    shown = write_page(out, scan, made=made, notes=notes, most_points=most_points or MOST_POINTS)
    thinned = "" if shown == len(scan) else f", of {len(scan):,}"
    print(f"wrote {out}: {shown:,} points{thinned}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")


def _segmented(arguments):
    """The scan with its predictions and labels. -> Scan, list of warnings"""
    from s3dis_seg.data.scans import doubt_about_labels, labels_of, read_scan
    from s3dis_seg.data.scans.labels import predictions_of

    scan = read_scan(arguments.scan, arguments.units, classes_of(arguments), arguments.up)
    warnings = list(scan.warnings)
    if arguments.prediction_field or scan.predictions is not None:
        scan = replace(scan, predictions=predictions_of(scan, arguments.prediction_field or "prediction"))
    if arguments.label_field:
        scan = replace(scan, labels=labels_of(scan, arguments.label_field))
        if doubt := doubt_about_labels(scan.labels, scan.classes):
            warnings.append(f"{arguments.scan}: {doubt}")
    return scan, list(dict.fromkeys(warnings))


def _origin(scan):
    """What a segmented file tells about how it was made. -> pairs of texts"""
    made = [("File", scan.path.name), ("Properties of a point", ", ".join(scan.columns))]
    lines = getattr(scan.source, "lines", [])
    comments = [line.partition(" ")[2] for line in lines if line.startswith(("comment ", "obj_info "))]
    if comments:
        made.append(("Comments in the file", "\n".join(comments[:_MOST_COMMENTS])))
    made.append(("Weights and settings", "Not told by the file; a page made by s3dis-seg segment --report tells them."))
    made.append(("Page made by", f"s3dis_seg {__version__}"))
    return made
