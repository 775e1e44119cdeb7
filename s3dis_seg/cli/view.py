"""Look at a scan or a prepared room in a window, or save a picture of it.

The points are coloured by one of
  scan         the colours of the scanner
  prediction   the classes that `s3dis-seg segment` predicted
  truth        the classes the points were labelled with
  errors       where prediction and label differ
  confidence   the probability that the network gave to its prediction
where the file has them. Ceiling and beams are hidden, so that one can look into the room from above; --ceiling
shows them. --save needs no screen; several colourings after --color become panels side by side.

Examples:
  s3dis-seg view segmented.ply
  s3dis-seg view segmented.ply --save picture.png
  s3dis-seg view segmented.ply --color scan prediction truth --label-field classification --save panels.png
  s3dis-seg view data/rooms/Area_5_office_1.h5 --color truth
"""

import argparse
import math
import sys
from pathlib import Path

from s3dis_seg.cli.options import add_classes_argument, classes_of, number
from s3dis_seg.data.scans import UNITS, UP, read_scan
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of
from s3dis_seg.files import InputError
from s3dis_seg.view import (
    COLORINGS,
    Window,
    available_colorings,
    check_window,
    points_below_ceiling,
    side_by_side,
    write_picture,
)


def add_arguments(parser):
    parser.add_argument(
        "scan", metavar="SCAN", type=Path, help="scan in any format that `segment` reads, or a prepared room (.h5)"
    )
    parser.add_argument(
        "--color", nargs="+", choices=COLORINGS, metavar="WHAT",
        help="one or more of the above (default: the first of prediction, truth and scan that the file has)",
    )  # fmt: skip
    parser.add_argument("--save", metavar="PNG", type=Path, help="write a picture instead of opening a window")
    parser.add_argument(
        "--label-field", metavar="NAME", help="property that holds the labels (default: the first with a usual name)"
    )
    add_classes_argument(parser)
    parser.add_argument(
        "--ceiling", action=argparse.BooleanOptionalAction, default=False, help="show ceiling and beams, too"
    )
    parser.add_argument("--units", choices=UNITS, help="units of the coordinates (default: judged by the extents)")
    parser.add_argument("--up", choices=UP, help="axis that points upwards (default: judged by the points)")
    camera = parser.add_argument_group("where to look from")
    camera.add_argument(
        "--azimuth", metavar="DEGREES", type=_degrees,
        help="direction of the eye, from +x towards +y (default: in front of a long side)",
    )  # fmt: skip
    camera.add_argument(
        "--elevation", metavar="DEGREES", type=_degrees, default=68.0,
        help="height of the eye above the horizon; 90 is straight above (default: 68)",
    )  # fmt: skip
    picture = parser.add_argument_group("pictures (only with --save)")
    picture.add_argument(
        "--zoom", metavar="FACTOR", type=number(float, 0, above=True), help="2 shows the middle half (default: 1)"
    )
    picture.add_argument(
        "--size", type=_pixels, nargs=2, metavar=("W", "H"),
        help="largest width and height of a panel in pixels (default: 1280 960; of several panels 800 600)",
    )  # fmt: skip
    picture.add_argument(
        "--point-size", metavar="PIXELS", type=_pixels,
        help="diameter of a point (default: just large enough to close the gaps in surfaces)",
    )  # fmt: skip


def run(arguments):
    _refuse_combinations(arguments)
    if not arguments.save:
        check_window()
    scan = read_scan(arguments.scan, arguments.units, classes_of(arguments), arguments.up)
    warnings = list(scan.warnings)
    if arguments.label_field:
        scan.labels = labels_of(scan, arguments.label_field)
        if doubt := doubt_about_labels(scan.labels, scan.classes):
            warnings.append(f"{arguments.scan}: {doubt}")
    for warning in dict.fromkeys(warnings):
        print(f"warning: {warning}")
    colorings = arguments.color or [_default(scan)]
    if "scan" in colorings and scan.rgb is None:
        print(f"note: {arguments.scan} has no colours of its own; its points are drawn grey")
    if arguments.save:
        _save(arguments, scan, colorings)
    else:
        window = Window(scan, colorings[0], _tell, arguments.ceiling, arguments.azimuth, arguments.elevation)
        print(Window.HELP)
        window.run()


_ONLY_SAVED = ("zoom", "size", "point_size")


def _refuse_combinations(arguments):
    if arguments.save:
        return
    given = ["--" + name.replace("_", "-") for name in _ONLY_SAVED if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"{', '.join(given)}: only with --save; in the window, use mouse and keys")
    if arguments.color and len(arguments.color) > 1:
        raise InputError("several colourings after --color: only with --save; in the window, use the keys 1 to 5")


def _default(scan):
    there = available_colorings(scan)
    return next(name for name in ("prediction", "truth", "scan") if name in there)


def _save(arguments, scan, colorings):
    picture = side_by_side(
        scan,
        colorings,
        arguments.size or ((1280, 960) if len(colorings) == 1 else (800, 600)),
        arguments.ceiling,
        azimuth=arguments.azimuth,
        elevation=arguments.elevation,
        zoom=arguments.zoom or 1.0,
        point_size=arguments.point_size,
    )
    write_picture(arguments.save, picture)
    if not arguments.ceiling:
        hidden = points_below_ceiling(scan)[1]
        if hidden:
            print(f"not shown: {hidden} (--ceiling shows them)")
    print(f"written: {arguments.save}")


def _tell(sentence, entries=()):
    """Print a sentence and a legend; in a terminal, with a square of its colour before each name."""
    print(sentence)
    if entries:
        print("  ".join(f"{_square(color)}{name}" for name, color in entries))


def _square(color):
    red, green, blue = color
    return f"\033[48;2;{red};{green};{blue}m  \033[0m " if sys.stdout.isatty() else ""


def _pixels(text):
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= value <= 20_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of pixels from 1 to 20000")
    return value


def _degrees(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of degrees")
    return value
