"""Look at a scan or a prepared room in a window, or save a picture of it.

Shows the scan's own colours, what `segment` predicted, labels, errors and confidence, as far as the file has them.
So that one can look into rooms from above, ceilings and beams are not shown (--ceiling shows them).
--save needs no screen. Several colourings after --color are saved side by side.

Examples:
  s3dis-seg view out.ply
  s3dis-seg view out.ply --save picture.png
  s3dis-seg view out.ply --color scan prediction truth --label-field classification --save panels.png
  s3dis-seg view data/rooms/Area_5_office_1.h5 --color truth
"""

import argparse
import sys
from pathlib import Path

from s3dis_seg.cli.options import number
from s3dis_seg.data.scans import UNITS, read_scan
from s3dis_seg.data.scans.labels import labels_of
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
    parser.add_argument("scan", metavar="SCAN", type=Path, help="scan of any known format, or a prepared room")
    parser.add_argument(
        "--color", nargs="+", choices=COLORINGS, metavar="WHAT",
        help=f"{', '.join(COLORINGS)} (default: the prediction, else labels, else the scan's colours)",
    )  # fmt: skip
    parser.add_argument("--save", metavar="PNG", type=Path, help="write a picture instead of opening a window")
    parser.add_argument("--label-field", help="property that holds the labels (default: looked for)")
    parser.add_argument(
        "--ceiling", action=argparse.BooleanOptionalAction, default=False, help="show ceilings and beams, too"
    )
    parser.add_argument(
        "--azimuth", type=float, help="where to look from, in degrees from +x to +y (default: over a long side)"
    )
    parser.add_argument("--elevation", type=float, default=68.0, help="degrees above the ground (default: 68)")
    parser.add_argument(
        "--zoom", type=number(float, 0, above=True), help="2 shows the middle half of the picture (default: 1)"
    )
    parser.add_argument(
        "--size",
        type=_whole,
        nargs=2,
        metavar=("W", "H"),
        help="most pixels of a panel (default: 1280 960, of several 800 600)",
    )
    parser.add_argument("--point-size", type=_whole, help="diameter of a point in pixels (default: as the gaps need)")
    parser.add_argument("--units", choices=UNITS, help="of the coordinates (default: metres, checked)")


def run(arguments):
    _refuse_combinations(arguments)
    if not arguments.save:
        check_window()
    scan = read_scan(arguments.scan, arguments.units)
    for warning in scan.warnings:
        print(f"warning: {warning}")
    if arguments.label_field:
        scan.labels = labels_of(scan, arguments.label_field)
    colorings = arguments.color or [_default(scan)]
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
        raise InputError(f"{', '.join(given)}: only with --save; in the window, mouse and keys do this")
    if arguments.color and len(arguments.color) > 1:
        raise InputError("several colourings after --color: only with --save; in the window, keys switch between them")


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
    """Print a sentence and a legend, with coloured squares where the output is a terminal."""
    print(sentence)
    if entries:
        print("  ".join(f"{_square(color)}{name}" for name, color in entries))


def _square(color):
    red, green, blue = color
    return f"\033[48;2;{red};{green};{blue}m  \033[0m " if sys.stdout.isatty() else ""


def _whole(text):
    value = int(text)
    if not 1 <= value <= 20_000:
        raise argparse.ArgumentTypeError(f"expected 1 to 20000, not {text}")
    return value
