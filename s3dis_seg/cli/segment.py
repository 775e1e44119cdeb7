"""Label every point of a scan. The result keeps everything that is in the file.

Reads .ply, .las, .laz (also .copc.laz), .e57, .ptx, .pts, .pcd, .npy, .npz, .txt, .xyz, .csv, .asc, meshes (.obj,
.glb, .gltf, .stl, .off) and prepared rooms (.h5). Writes .ply, .las, .laz, .e57, .npy, .npz, .txt, .xyz, .csv or .asc,
by OUT's suffix. The result has a `prediction` and a `confidence` for every point. The colours of the predicted classes
are written to red, green, blue; the scan's own colours are kept in scan_red, scan_green, scan_blue.

Examples:
  s3dis-seg segment scan.ply --out segmented.ply
  s3dis-seg segment scan.ply --out segmented.ply --quality best
  s3dis-seg segment scan.ply --out segmented.ply --checkpoint runs/area5/best.pt
  s3dis-seg segment scans/ --out segmented/
  s3dis-seg segment scan.ply --out segmented.ply --report report.html
  s3dis-seg segment scan.ply --out segmented.ply --checkpoint official.pth --model densegcn28 --channels 32 --k 8
"""

import argparse
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3dis_seg import __version__
from s3dis_seg.classes import S3DIS, UNLABELLED
from s3dis_seg.cli.options import add_network_arguments, network_of, number, require_writable, seed
from s3dis_seg.cli.progress import bar, duration
from s3dis_seg.data.scans import READABLE, UNITS, UP, WRITABLE, open_scan, write_scan
from s3dis_seg.files import InputError
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

# The settings of a Segmenter behind each name; what they are worth is in BENCHMARK.md.
QUALITIES = {
    "fast": {"stride": 1.0, "passes": 1},
    "balanced": {"stride": 0.5, "passes": 1},
    "best": {"stride": 0.5, "passes": 4},
}
_FEW = 12  # the time of so few blocks is not estimated: they would be done sooner
_UNSURE = 0.5  # the share of points with less confidence is printed
_PLACES, _LOOKED_AT = 3, 2_000_000  # places to check that are printed; points from which they are found, at most
_SCRATCH = 35  # bytes a point of scratch files, at most
_SHORTEST = 0.05  # seconds: shorter steps are not listed


def add_arguments(parser):
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("scans", metavar="SCAN", nargs="+", type=Path, help="scans, or folders of scans")
    parser.add_argument("--out", metavar="OUT", type=Path, required=True, help="file, or a folder for several scans")
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="file, or name of shipped weights (default: %(default)s)"
    )
    parser.add_argument("--units", choices=UNITS, help="units of the coordinates (default: judged by the extents)")
    parser.add_argument(
        "--up",
        choices=UP,
        help="axis that points upwards; write --up=-y (default: judged by the points)",
    )
    parser.add_argument(
        "--sample",
        metavar="N",
        type=number(int, 1),
        help="label N points drawn on the faces of a mesh (default: its vertices)",
    )
    parser.add_argument(
        "--keep-rgb",
        action=yes_or_no,
        default=False,
        help="leave the scan's colours where they are; class colours go to class_red, class_green, class_blue",
    )
    parser.add_argument(
        "--report", metavar="PAGE", type=Path, help="also write an HTML page that shows the result in any browser"
    )
    how = parser.add_argument_group("speed and quality")
    how.add_argument(
        "--quality",
        choices=QUALITIES,
        default="balanced",
        help="how often each point is looked at: fast once, balanced about 4 times, best about 16 times, also turned "
        "(default: %(default)s)",
    )
    how.add_argument(
        "--stride",
        type=number(float, 0, above=True),
        help="step between neighbouring columns, as a fraction of their width, at most 1 (default: by --quality, "
        f"{_listed_of('stride')})",
    )
    how.add_argument(
        "--passes",
        type=number(int, 1),
        help="how often each column is predicted, turned by a further 90 degrees each time (default: by --quality, "
        f"{_listed_of('passes')})",
    )
    how.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    how.add_argument(
        "--batch-size", metavar="N", type=number(int, 1), help="blocks at a time (default: 16 on a GPU, 1 on a CPU)"
    )
    how.add_argument(
        "--amp",
        action=yes_or_no,
        default=False,
        help="compute matrix products in bfloat16: faster on a GPU, less exact",
    )
    how.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="random seed of the points drawn into blocks (default: %(default)s)",
    )
    add_network_arguments(parser)


def _listed_of(setting):
    return ", ".join(f"{name} {values[setting]}" for name, values in QUALITIES.items())


def _looks(arguments):
    """Stride and passes: those given, else those of --quality."""
    preset = QUALITIES[arguments.quality]
    return [preset[name] if (given := getattr(arguments, name)) is None else given for name in ("stride", "passes")]


def run(arguments):
    jobs = _jobs(arguments.scans, arguments.out)
    if arguments.report:
        _require_page(arguments.report, jobs)
    model, overrides = network_of(arguments)
    from s3dis_seg.segmentation import Segmenter  # imports torch, which --help should not wait for
    from s3dis_seg.segmentation.work import remove

    segmenter = Segmenter.from_checkpoint(
        arguments.checkpoint,
        arguments.device,
        model,
        *_looks(arguments),
        arguments.batch_size,
        arguments.seed,
        arguments.amp,
        **overrides,
    )
    card = segmenter.card
    print(f"{card.model or 'network'} of {arguments.checkpoint} ({card.sha256[:8]}), {len(card.class_names)} classes")
    failed, started, outs = [], arguments.started, [out for _, out in jobs]
    for place, (path, out) in enumerate(jobs, start=1):
        counter = f"[{place}/{len(jobs)}] " if len(jobs) > 1 else ""
        try:
            _segment(segmenter, path, out, arguments, counter, {"starting": time.perf_counter() - started})
        except InputError as error:
            if len(jobs) == 1:
                raise
            print(f"error: {error}")
            failed.append(path)
        started = time.perf_counter()  # only the first scan counts the time of starting
    if failed:
        raise InputError(
            f"{len(failed)} of {len(jobs)} scans were not segmented, for the reasons above: {_listed(failed)}"
        )
    for out in outs:
        remove(out)
    if licence := _licence_of(card):
        print(f"licence of the weights: {licence}")
    classes = ""
    if card.classes != S3DIS and outs[0].suffix.lower() != ".ply":  # a .ply names its classes
        classes = f" --classes {shlex.quote(str(arguments.checkpoint))}"
    print(f"next: s3dis-seg view {shlex.quote(str(outs[0]))}{classes}")


def _segment(segmenter, path, out, arguments, counter, seconds):
    """Segment one scan, and print what there is to know about it. seconds: step -> time spent on it before."""
    from s3dis_seg.segmentation.work import work_beside

    require_writable(out.parent)
    with work_beside(out, _fingerprint(segmenter, path, arguments)) as work:
        how = {"keep_rgb": arguments.keep_rgb}
        if work.is_finished(out, how):
            print(f"\n{counter}{path}: {out} was finished before the command was interrupted, and stays as it is")
            return
        _tell([work.told] if work.told else [])
        try:
            _segment_in(work, segmenter, path, out, arguments, counter, seconds)
        except KeyboardInterrupt:
            if work.is_begun:
                print("interrupted: the same command goes on from here", file=sys.stderr)
            raise
        work.finish(out, how)


def _segment_in(work, segmenter, path, out, arguments, counter, seconds):
    """The same in a scratch folder, a Work."""
    start = time.perf_counter()
    scan = open_scan(path, arguments.units, arguments.up, arguments.sample)
    _require_room(path, out, len(scan))
    seconds["reading"] = time.perf_counter() - start
    plan = segmenter.plan(scan.xyz, scan.rgb, work)
    size = " x ".join(f"{extent:.1f}" for extent in plan.size)
    print(f"\n{counter}{path}: {len(scan):,} points, {size} m, {'colours' if scan.rgb is not None else 'no colours'}")
    notes = plan.warnings
    _tell(scan.warnings + notes)
    start = time.perf_counter()
    print(f"{_amount(segmenter, plan)} on {segmenter.device}{_expected(segmenter, plan)}", flush=True)
    seconds["estimating"] = time.perf_counter() - start
    with bar(plan.num_blocks, "blocks") as shown:
        result = segmenter.run(plan, progress=lambda done, total: shown.update(done - shown.n))
    del plan

    start = time.perf_counter()
    scan.predictions, scan.confidence, scan.classes = result.predictions, result.confidence, segmenter.card.classes
    if path.suffix.lower() == ".h5":  # the labels of a prepared room are class numbers
        scan.classes = scan.classes.numbered()
    renamed = write_scan(out, scan, arguments.keep_rgb)
    seconds |= result.seconds | {"writing": time.perf_counter() - start}
    _tell([f"its property {name} holds words and is not in the output" for name in scan.words])
    _tell([f"the scan had a property {old} already; it is called {new} now" for old, new in renamed.items()])
    _print_classes(result, segmenter.card.class_names)
    _print_places(scan)
    steps = [f"{step} {duration(spent)}" for step, spent in seconds.items() if spent >= _SHORTEST]
    print("time: " + ", ".join([*steps, f"in all {duration(sum(seconds.values()))}"]))
    print(f"wrote {out}")
    if arguments.report:
        _write_page(segmenter, scan, arguments, [*scan.warnings, *notes])


def _fingerprint(segmenter, path, arguments):
    """What the predictions depend on, by name. -> dictionary of texts and numbers"""
    from s3dis_seg.segmentation.work import scan_stamp

    card = segmenter.card
    settings = {name: getattr(segmenter, name) for name in ("stride", "passes", "seed", "amp")}
    reading = {name: getattr(arguments, name) for name in ("units", "up", "sample")}
    return {
        "scan": scan_stamp(path),
        "network": [card.sha256, str(card.config), str(card.blocks), card.temperature],
        "settings": settings | reading | {"device": segmenter.device.type},
        "program": __version__,
    }


# --- before the start -------------------------------------------------------------------------------------------------


def _jobs(inputs, out):
    """Where the result of each scan goes. -> list of (scan, output)"""
    scans = [scan for path in inputs for scan in (_scans_of(path) if path.is_dir() else [path])]
    if len(scans) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        jobs = [(scans[0], out)]
    elif out.suffix.lower() in READABLE and not out.is_dir():
        raise InputError(f"--out {out} names one file, but there are {len(scans)} scans; name a folder")
    else:
        jobs = list(zip(scans, _targets(scans, out)))
    for scan, target in jobs:
        if not scan.exists():
            raise InputError(f"there is no scan {scan}; check the path")
        if target.suffix.lower() not in WRITABLE:
            raise InputError(f"--out {target}: cannot write {target.suffix!r}; known: {', '.join(WRITABLE)}")
        if target.exists() and os.path.samefile(scan, target):
            raise InputError(f"--out {target} is the scan itself; name another file, so that the scan is kept")
    targets = [target for _, target in jobs]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        names = [str(scan) for scan, target in jobs if target == twice]
        raise InputError(f"{' and '.join(names)} would both become {twice}; segment them one by one")
    return jobs


def _targets(scans, folder):
    """Outputs in a folder: hall.las becomes hall.ply, or hall-las.ply if there is a hall.csv too. -> list of paths"""
    # In lower case, because some file systems ignore case.
    stems = Counter(scan.stem.lower() for scan in scans)
    alone = [stems[scan.stem.lower()] == 1 for scan in scans]
    names = [scan.stem if one else f"{scan.stem}-{scan.suffix[1:]}" for scan, one in zip(scans, alone)]
    return [folder / f"{name}.ply" for name in names]


def _scans_of(folder):
    scans = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE and path.name[0] != ".")
    if not scans:
        raise InputError(f"{folder} holds no scans; known formats: {', '.join(READABLE)}")
    return scans


def _require_room(path, out, num_points):
    """InputError where the output and the scratch files cannot be written: before the network runs, not after."""
    from s3dis_seg.segmentation.work import folder_of

    size = path.stat().st_size if path.suffix.lower() == out.suffix.lower() else 0
    needed, free = size + (8 + _SCRATCH) * num_points, shutil.disk_usage(out.parent).free
    scratch = (file.stat().st_size for file in folder_of(out).iterdir())  # of an interrupted run
    if needed > free + sum(scratch):
        raise InputError(
            f"{out} and its scratch files will take {needed / 1e6:,.0f} MB, but {out.parent} has {free / 1e6:,.0f} MB "
            "left; free space or name another --out"
        )


def _require_page(page, jobs):
    """InputError where the page of --report cannot be written: before the network runs, not after."""
    from s3dis_seg.report.page import require_page_name

    require_page_name(page)
    if len(jobs) > 1:
        raise InputError(
            f"--report {page} shows one scan, but there are {len(jobs)}; segment them first, and then run "
            "s3dis-seg report on each result"
        )
    require_writable(page.parent)


def _amount(segmenter, plan):
    """The number of blocks, and that without overlap. -> text

    Left away where some columns are wider: the scan would be laid out from the start, and wider ones never overlap.
    """
    amount = f"{plan.num_blocks:,} blocks"
    is_wider = any(layout.settings != segmenter.card.blocks for layout in plan.layouts)
    if is_wider or segmenter.stride == 1:
        return amount
    return f"{amount} ({segmenter.num_blocks_at(plan, 1.0):,} with --stride 1.0)"


def _expected(segmenter, plan):
    if plan.num_blocks <= _FEW:
        return ""
    each = segmenter.seconds_per_block(plan)
    return f", about {duration(each * plan.num_blocks)} ({each:.3g} s each)"


# --- afterwards -------------------------------------------------------------------------------------------------------


def _tell(sentences):
    for sentence in sentences:
        print(f"note: {sentence}")


def _print_places(scan):
    """Where the network is least sure, in metres."""
    from s3dis_seg.report.page_facts import doubtful_places

    some = slice(None, None, -(-len(scan) // _LOOKED_AT))
    places = doubtful_places(scan.xyz[some], scan.predictions[some], scan.confidence[some], most=_PLACES)
    for place in places:
        x, y, z = (place.low + place.high) / 2
        name = scan.classes.names[place.label]
        print(f"to check: {name} around x {x:.1f}, y {y:.1f}, z {z:.1f}, mean confidence {place.confidence:.2f}")


def _write_page(segmenter, scan, arguments, notes):
    """The page of --report, with the weights and settings that made it."""
    from s3dis_seg.cli.report import make_page

    card, scan = segmenter.card, replace(scan, xyz=np.asarray(scan.xyz))
    made = [
        ("Scan", scan.path.name),
        ("Weights", f"{arguments.checkpoint} ({card.sha256[:8]}), {card.model or 'network'}"),
        ("Settings", f"stride {segmenter.stride:g}, passes {segmenter.passes}, seed {segmenter.seed}"),
        ("Blocks", f"{card.blocks.num_points:,} points of {card.blocks.block_size:g} m, grid {card.blocks.grid:g} m"),
        ("Program", f"s3dis_seg {__version__} on {segmenter.device}"),
    ]
    if licence := _licence_of(card):
        made.append(("Licence of the weights", licence))
    make_page(arguments.report, scan, notes, made)


def _licence_of(card):
    return card.provenance.get("licence") or card.provenance.get("license")


def _print_classes(result, class_names):
    total, counts, sums, unsure = len(result.predictions), np.zeros(256, np.int64), np.zeros(256), 0
    for start in range(0, total, _LOOKED_AT):
        part = slice(start, start + _LOOKED_AT)
        counts += np.bincount(result.predictions[part], minlength=256)
        sums += np.bincount(result.predictions[part], result.confidence[part], minlength=256)
        unsure += int((result.confidence[part] < _UNSURE).sum())
    width = max(12, *(len(name) + 1 for name in class_names))
    print(f"{'class':<{width}}{'points':>15}{'share':>8}{'confidence':>12}")
    for index in np.argsort(-counts[: len(class_names)], kind="stable"):
        if counts[index]:
            print(
                f"{class_names[index]:<{width}}{counts[index]:>15,}{counts[index] / total:>8.1%}"
                f"{sums[index] / counts[index]:>12.2f}"
            )
    if counts[UNLABELLED]:
        print(f"{'none':<{width}}{counts[UNLABELLED]:>15,}{counts[UNLABELLED] / total:>8.1%}{0:>12.2f}")
    labelled = total - counts[UNLABELLED]
    if labelled:
        unsure -= counts[UNLABELLED]
        print(f"confidence below {_UNSURE}: {unsure / labelled:.1%} of the labelled points")
    missing = [name for name, count in zip(class_names, counts) if not count]
    if missing:
        print(f"not found: {', '.join(missing)}")


def _listed(paths):
    shown = ", ".join(str(path) for path in paths[:5])
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
