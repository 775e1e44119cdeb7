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
  s3dis-seg segment scan.ply --out segmented.ply --dry-run
  s3dis-seg segment scan.las --out segmented.las --write-classification
  s3dis-seg segment scan.ply --out segmented.ply --json
  s3dis-seg segment scan.ply --out segmented.ply --checkpoint official.pth --model densegcn28 --channels 32 --k 8
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3dis_seg import __version__
from s3dis_seg.classes import S3DIS
from s3dis_seg.cli import account
from s3dis_seg.cli.options import add_network_arguments, network_of, number, require_writable, seed
from s3dis_seg.cli.progress import Job, say
from s3dis_seg.data.scans import READABLE, UNITS, UP, WRITABLE, open_scan, write_scan
from s3dis_seg.data.scans.corrections import is_corrections
from s3dis_seg.data.scans.cost import cost_of_writing
from s3dis_seg.data.scans.write import notes_on_classification, require_classification
from s3dis_seg.data.tally import tally_of
from s3dis_seg.files import InputError
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

# The settings of a Segmenter behind each name; what they are worth is in BENCHMARK.md.
QUALITIES = {
    "fast": {"stride": 1.0, "passes": 1},
    "balanced": {"stride": 0.5, "passes": 1},
    "best": {"stride": 0.5, "passes": 4},
}
_SECONDS = 0.2  # taken for a block where none was timed
_SCRATCH = 35  # bytes a point of scratch files, at most


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
    parser.add_argument(
        "--write-classification",
        action=yes_or_no,
        default=False,
        help="also put the predictions into the field classification of a .las or .laz file: the codes of your own "
        "classes, else 64 (the first class) and upwards",
    )
    parser.add_argument(
        "--dry-run",
        action=yes_or_no,
        default=False,
        help="read the scan, say what labelling it will take, and stop; nothing is written",
    )
    parser.add_argument(
        "--json",
        action=yes_or_no,
        default=False,
        help="print one JSON document about the scans on standard output, and everything else on standard error",
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
    if not arguments.json:
        _run(arguments, {})
        return
    document, output = {}, sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            _run(arguments, document)
    finally:
        if document.get("scans"):
            print(json.dumps(document, indent=2, allow_nan=False), file=output)


def _run(arguments, document):
    """Segment all scans. document: gets what --json prints"""
    jobs = _jobs(arguments.scans, arguments.out, ".las" if arguments.write_classification else ".ply")
    if arguments.write_classification:
        for _, out in jobs:
            require_classification(out)
    if arguments.report:
        _require_page(arguments.report, jobs, arguments.dry_run)
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
    document |= _described(segmenter, arguments)
    card = segmenter.card
    print(f"{card.model or 'network'} of {arguments.checkpoint} ({card.sha256[:8]}), {len(card.class_names)} classes")
    failed, started, job = [], arguments.started, Job([path.stat().st_size for path, _ in jobs])
    for place, (path, out) in enumerate(jobs, start=1):
        name = f"[{place}/{len(jobs)}] {path}" if len(jobs) > 1 else str(path)
        entry = {"scan": str(path), "out": str(out), "before": None, "after": None, "warnings": [], "error": None}
        document["scans"].append(entry)
        try:
            _segment(segmenter, path, out, arguments, name, {"starting": time.perf_counter() - started}, job, entry)
        except InputError as error:
            entry["error"] = str(error)
            if len(jobs) == 1:
                raise
            say(f"error: {error}")
            failed.append(path)
        finally:
            job.finish(place)
        started = time.perf_counter()  # only the first scan counts the time of starting
    if failed:
        raise InputError(
            f"{len(failed)} of {len(jobs)} scans were not segmented, for the reasons above: {_listed(failed)}"
        )
    if arguments.dry_run:
        print("dry run: nothing was written; give the same command without --dry-run")
        return
    for _, out in jobs:
        remove(out)
    if licence := _licence_of(card):
        print(f"licence of the weights: {licence}")
    document["next"] = _next_command(jobs[0][1], card, arguments)
    print(f"next: {document['next']}")


def _described(segmenter, arguments):
    """The head of the document of --json."""
    card = segmenter.card
    return {
        "schema": account.SCHEMA,
        "version": __version__,
        "weights": {
            "checkpoint": str(arguments.checkpoint),
            "sha256": card.sha256,
            "model": card.model,
            "licence": _licence_of(card),
            "classes": list(card.class_names),
        },
        "settings": {
            "device": str(segmenter.device),
            "stride": segmenter.stride,
            "passes": segmenter.passes,
            "seed": segmenter.seed,
            "dry_run": arguments.dry_run,
        },
        "scans": [],
    }


def _next_command(out, card, arguments):
    classes = ""
    if card.classes != S3DIS and out.suffix.lower() != ".ply":  # a .ply names its classes
        classes = f" --classes {shlex.quote(str(arguments.checkpoint))}"
    return f"s3dis-seg view {shlex.quote(str(out))}{classes}"


def _segment(segmenter, path, out, arguments, name, seconds, job, entry):
    """Segment one scan, and tell what there is to know about it.

    seconds: step -> time spent on it before. job: a Job that shows the progress. entry: of the scan, for --json
    """
    from s3dis_seg.segmentation.work import work_beside

    if arguments.dry_run:
        _plan(None, segmenter, path, out, arguments, name, seconds, entry)
        return
    require_writable(out.parent)
    with work_beside(out, _fingerprint(segmenter, path, arguments)) as work:
        how = {"keep_rgb": arguments.keep_rgb, "write_classification": arguments.write_classification}
        if work.is_finished(out, how):
            say(f"\n{name}: {out} was finished before the command was interrupted, and stays as it is")
            return
        entry["warnings"] += [work.told] if work.told else []
        try:
            _segment_in(work, segmenter, path, out, arguments, name, seconds, job, entry)
        except KeyboardInterrupt:
            if work.is_begun:
                print("interrupted: the same command goes on from here", file=sys.stderr)
            raise
        work.finish(out, how)


def _plan(work, segmenter, path, out, arguments, name, seconds, entry):
    """Read a scan and tell what labelling it will take. work: None for no scratch folder
    -> Scan, ScanPlan, seconds that writing will take"""
    start = time.perf_counter()
    scan = open_scan(path, arguments.units, arguments.up, arguments.sample)
    seconds["reading"] = time.perf_counter() - start
    plan = segmenter.plan(scan.xyz, scan.rgb, work)
    return scan, plan, _tell_before(segmenter, scan, plan, out, arguments, name, seconds, entry)


def _segment_in(work, segmenter, path, out, arguments, name, seconds, job, entry):
    """The same in a scratch folder, a Work."""
    scan, plan, writing = _plan(work, segmenter, path, out, arguments, name, seconds, entry)
    each = entry["before"]["expected"]["network_seconds"]
    expected = {"network": plan.num_blocks * _SECONDS if each is None else each, "writing": writing}
    job.begin(sum(seconds.values()), expected)
    result = segmenter.run(plan, progress=lambda done, total: job.at("network", done / total))
    del plan

    start = time.perf_counter()
    job.at("writing", 0.0)
    scan.predictions, scan.confidence, scan.classes = result.predictions, result.confidence, segmenter.card.classes
    if path.suffix.lower() == ".h5":  # the labels of a prepared room are class numbers
        scan.classes = scan.classes.numbered()
    renamed = write_scan(out, scan, arguments.keep_rgb, _classification(segmenter, arguments))
    job.at("writing", 1.0)
    seconds |= result.seconds | {"writing": time.perf_counter() - start}
    notes = [f"its property {name} holds words and is not in the output" for name in scan.words]
    notes += [f"the scan had a property {old} already; it is called {new} now" for old, new in renamed.items()]
    _tell_after(segmenter, scan, notes, seconds, entry)
    say(f"wrote {out}")
    if arguments.report:
        job.finish(1)
        _write_page(segmenter, scan, arguments, entry["warnings"])


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


def _classification(segmenter, arguments):
    return segmenter.card.classes if arguments.write_classification else None


# --- before the start -------------------------------------------------------------------------------------------------


def _jobs(inputs, out, suffix):
    """Where the result of each scan goes. suffix: of results in a folder -> list of (scan, output)"""
    scans = [scan for path in inputs for scan in (_scans_of(path) if path.is_dir() else [path])]
    if len(scans) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        jobs = [(scans[0], out)]
    elif out.suffix.lower() in READABLE and not out.is_dir():
        raise InputError(f"--out {out} names one file, but there are {len(scans)} scans; name a folder")
    else:
        jobs = list(zip(scans, _targets(scans, out, suffix)))
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


def _targets(scans, folder, suffix):
    """Outputs in a folder: hall.las becomes hall.ply, or hall-las.ply if there is a hall.csv too. -> list of paths"""
    # In lower case, because some file systems ignore case.
    stems = Counter(scan.stem.lower() for scan in scans)
    alone = [stems[scan.stem.lower()] == 1 for scan in scans]
    names = [scan.stem if one else f"{scan.stem}-{scan.suffix[1:]}" for scan, one in zip(scans, alone)]
    return [folder / f"{name}{suffix}" for name in names]


def _scans_of(folder):
    scans = sorted(path for path in folder.iterdir() if _is_scan(path))
    if not scans:
        raise InputError(f"{folder} holds no scans; known formats: {', '.join(READABLE)}")
    return scans


def _is_scan(path):
    return path.suffix.lower() in READABLE and path.name[0] != "." and not is_corrections(path)


def _require_room(out, needed, is_dry):
    """InputError where output and scratch files cannot be written: before the network runs, not after. needed: bytes"""
    from s3dis_seg.segmentation.work import folder_of

    folder = next(parent for parent in out.absolute().parents if parent.exists())
    scratch = 0 if is_dry else sum(file.stat().st_size for file in folder_of(out).iterdir())
    free = shutil.disk_usage(folder).free + scratch
    if needed > free:
        raise InputError(
            f"{out} and its scratch files will take {needed / 1e6:,.0f} MB, but {folder} has {free / 1e6:,.0f} MB "
            "left; free space or name another --out"
        )


def _require_page(page, jobs, is_dry):
    """InputError where the page of --report cannot be written: before the network runs, not after."""
    from s3dis_seg.report.page import require_page_name

    require_page_name(page)
    if len(jobs) > 1:
        raise InputError(
            f"--report {page} shows one scan, but there are {len(jobs)}; segment them first, and then run "
            "s3dis-seg report on each result"
        )
    if not is_dry:
        require_writable(page.parent)


# --- what is told -----------------------------------------------------------------------------------------------------


def _tell_before(segmenter, scan, plan, out, arguments, name, seconds, entry):
    """What the scan is and what it will take, printed and put into its entry. -> seconds that writing will take"""
    from s3dis_seg.segmentation.outlook import outlook_on, shortage_of_memory

    start = time.perf_counter()
    classification = _classification(segmenter, arguments)
    writing = cost_of_writing(out, scan, arguments.keep_rgb, classification)
    _require_room(out, writing[0] + _SCRATCH * len(scan), arguments.dry_run)
    outlook = outlook_on(segmenter, plan, always_timed=arguments.dry_run)
    seconds["estimating"] = time.perf_counter() - start
    entry["before"] = facts = account.before(scan, outlook, {**seconds, **plan.seconds}, writing)
    entry["warnings"] += [*scan.warnings, *plan.warnings, *shortage_of_memory(outlook)]
    if classification is not None:
        entry["warnings"] += notes_on_classification(scan, classification)
    first, *others = account.lines_before(name, facts, segmenter.device)
    say(f"\n{first}")
    _tell(entry["warnings"])
    for line in others:
        say(line)
    sys.stdout.flush()
    return writing[1]


def _tell_after(segmenter, scan, notes, seconds, entry):
    """What was found and what it took, printed and put into the entry of the scan."""
    from s3dis_seg.devices import peak_memory

    start = time.perf_counter()
    _tell(notes)
    entry["warnings"] += notes
    tally = tally_of(scan.xyz, scan.predictions, scan.confidence)
    places = account.places(scan)
    seconds["counting"] = time.perf_counter() - start
    entry["after"] = facts = account.after(scan, tally, places, seconds, peak_memory(segmenter.device))
    for line in account.lines_after(facts, len(scan)):
        say(line)
    if told := len(entry["warnings"]) - len(notes):
        say(f"notes: {told}, printed above")


def _tell(sentences):
    for sentence in sentences:
        say(f"note: {sentence}")


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


def _listed(paths):
    shown = ", ".join(str(path) for path in paths[:5])
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
