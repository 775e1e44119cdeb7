"""Look at a scan or a prepared room in a window, or save a picture or a video of it.

The points are coloured by one of
  scan         the colours of the scanner
  prediction   the classes that `s3dis-seg segment` predicted
  truth        the classes the points were labelled with
  errors       where prediction and label differ
  confidence   the probability that the network gave to its prediction
where the file has them. Ceiling and beams are hidden, so that one can look into the room from above; --ceiling
shows them.

The window shows one scan, two colourings of it, or two scans side by side under one camera. Its legend counts the
classes, and shows and hides them; a click on a point tells its class, its place and its attributes, a second click the
distance. The key H lists all keys. --save and --video need no screen.

Examples:
  s3dis-seg view segmented.ply
  s3dis-seg view segmented.ply --color scan prediction
  s3dis-seg view one-network.ply another-network.ply
  s3dis-seg view segmented.ply --slice 0.5 1.5
  s3dis-seg view segmented.ply --save picture.png
  s3dis-seg view segmented.ply --color scan prediction truth --label-field classification --save panels.png
  s3dis-seg view segmented.ply --video turn.gif
  s3dis-seg view segmented.ply --video tour.mp4 --views segmented-views-1.json --seconds 20
  s3dis-seg view data/rooms/Area_5_office_1.h5 --color truth
"""

import argparse
import math
import sys
import time
from pathlib import Path

from s3dis_seg.cli.options import add_classes_argument, classes_of, number
from s3dis_seg.data.scans import UNITS, UP, read_scan
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of
from s3dis_seg.files import InputError
from s3dis_seg.view import (
    COLORINGS,
    RATE,
    Scene,
    Window,
    available_colorings,
    check_video,
    check_window,
    points_below_ceiling,
    read_views,
    side_by_side,
    turn_around,
    way_through,
    write_picture,
    write_video,
)


def add_arguments(parser):
    parser.add_argument(
        "scan", metavar="SCAN", type=Path, help="scan in any format that `segment` reads, or a prepared room (.h5)"
    )
    parser.add_argument("other", metavar="OTHER", type=Path, nargs="?", help="a second scan, shown beside the first")
    parser.add_argument(
        "--color", nargs="+", choices=COLORINGS, metavar="WHAT",
        help="one or more of the above (default: the first of prediction, truth and scan that the file has)",
    )  # fmt: skip
    parser.add_argument("--save", metavar="PNG", type=Path, help="write a picture instead of opening a window")
    parser.add_argument(
        "--video",
        metavar="FILE",
        type=Path,
        help="write a video, .gif or (with ffmpeg) .mp4, instead",
    )
    parser.add_argument(
        "--label-field", metavar="NAME", help="property that holds the labels (default: the first with a usual name)"
    )
    add_classes_argument(parser)
    parser.add_argument(
        "--ceiling", action=argparse.BooleanOptionalAction, default=False, help="show ceiling and beams, too"
    )
    parser.add_argument(
        "--slice", metavar=("LOW", "HIGH"), type=_metres, nargs=2, help="show what lies so many metres above the floor"
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
    video = parser.add_argument_group("videos (only with --video)")
    video.add_argument(
        "--views", metavar="JSON", type=Path,
        help="views to lead the camera through, as the key V of the window keeps them (default: once around the scan)",
    )  # fmt: skip
    video.add_argument(
        "--seconds", type=number(float, 0.2), metavar="S", help=f"length, at {RATE} pictures a second (default: 6)"
    )
    picture = parser.add_argument_group("pictures (only with --save; --size also with --video)")
    picture.add_argument(
        "--zoom", metavar="FACTOR", type=number(float, 0, above=True), help="2 shows the middle half (default: 1)"
    )
    picture.add_argument(
        "--size", type=_pixels, nargs=2, metavar=("W", "H"),
        help="largest width and height of a panel in pixels (default: 1280 960; of several panels 800 600), or "
        "width and height of a video (default: 960 720)",
    )  # fmt: skip
    picture.add_argument(
        "--point-size", metavar="PIXELS", type=_pixels,
        help="diameter of a point (default: just large enough to close the gaps in surfaces)",
    )  # fmt: skip


def run(arguments):
    _refuse_combinations(arguments)
    if arguments.video:
        check_video(arguments.video)
    elif not arguments.save:
        check_window()
    views = read_views(arguments.views) if arguments.views else None
    scans = [_read(path, arguments) for path in (arguments.scan, arguments.other) if path]
    colorings = _colorings(arguments, scans)
    for scan in scans:
        if "scan" in colorings and scan.rgb is None:
            print(f"note: {scan.path} has no colours of its own; its points are drawn grey")
    if arguments.save:
        _save(arguments, scans[0], colorings)
    elif arguments.video:
        _film(arguments, scans, colorings, views)
    else:
        _open_window(arguments, scans, colorings)


_ONLY_WITH = {
    "save": ("zoom", "point_size"),
    "save or --video": ("size",),
    "video": ("views", "seconds"),
}


def _refuse_combinations(arguments):
    if arguments.save and arguments.video:
        raise InputError("--save and --video: one of them at a time")
    for needed, names in _ONLY_WITH.items():
        there = any(getattr(arguments, name) for name in needed.split(" or --"))
        given = ["--" + name.replace("_", "-") for name in names if getattr(arguments, name) is not None]
        if given and not there:
            raise InputError(f"{', '.join(given)}: only with --{needed}; in the window, use mouse and keys")
    if arguments.save and arguments.other:
        raise InputError("--save: only of one scan; leave --save out, or name a --video, to see two side by side")
    if not arguments.save and arguments.color and len(arguments.color) > 2:
        raise InputError("more than two colourings after --color: only with --save")
    if arguments.slice and not arguments.slice[0] < arguments.slice[1]:
        raise InputError(f"--slice {arguments.slice[0]:g} {arguments.slice[1]:g}: the lower end comes first")


def _read(path, arguments):
    scan = read_scan(path, arguments.units, classes_of(arguments), arguments.up)
    warnings = list(scan.warnings)
    if arguments.label_field:
        scan.labels = labels_of(scan, arguments.label_field)
        if doubt := doubt_about_labels(scan.labels, scan.classes):
            warnings.append(f"{path}: {doubt}")
    for warning in dict.fromkeys(warnings):
        print(f"warning: {warning}")
    return scan


def _colorings(arguments, scans):
    """The colourings that are asked for, or that the scans have: one for each scan, or several of one scan."""
    given = arguments.color or [_default(scan) for scan in scans]
    return given * 2 if len(given) < len(scans) else given


def _open_window(arguments, scans, colorings):
    import open3d  # noqa: F401 - so that the seconds below are those of the window alone

    start = time.perf_counter()
    scene = _scene(arguments, scans, colorings, (1280, 960))
    title = " | ".join(str(scan.path) for scan in scans)
    window = Window(scene, f"s3dis-seg: {title}")
    seconds = time.perf_counter() - start
    slow = ""
    if seconds > 2:
        points = sum(len(scan) for scan in scans)
        slow = f" ({points:,} points were sorted; and the first time on a machine, the drawing is compiled)"
    print(f"opened in {seconds:.1f} s{slow}; the key H shows what keys and mouse do", flush=True)
    scene.tell_state()
    window.run()


def _film(arguments, scans, colorings, views):
    scene = _scene(arguments, scans, colorings, arguments.size or (960, 720))
    frames = max(round(RATE * (arguments.seconds or 6.0)), 1)
    way = turn_around(scene.view, frames) if views is None else way_through(views, frames)

    def pictures():
        for view in way:
            scene.look(view)
            yield scene.picture()

    write_video(arguments.video, pictures())
    print(f"written: {arguments.video}, {frames} pictures, {frames / RATE:.1f} s")


def _scene(arguments, scans, colorings, size):
    return Scene(
        scans, colorings, _tell, size, arguments.ceiling, arguments.slice, arguments.azimuth, arguments.elevation
    )  # fmt: skip


def _default(scan):
    there = available_colorings(scan)
    return next(name for name in ("prediction", "truth", "scan") if name in there)


def _save(arguments, scan, colorings):
    picture = side_by_side(
        scan,
        colorings,
        arguments.size or ((1280, 960) if len(colorings) == 1 else (800, 600)),
        arguments.ceiling,
        heights=arguments.slice,
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
    return _finite(text, "degrees")


def _metres(text):
    return _finite(text, "metres")


def _finite(text, unit):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}")
    return value
