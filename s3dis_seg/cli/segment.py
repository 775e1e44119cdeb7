"""Label every point of a scan: no labels needed, everything that is in the file is kept.

Reads .ply, .las, .laz, .npy, .txt, .xyz, .csv, .pcd and prepared rooms (.h5); writes the format of OUT's suffix. The
result has a `prediction` and a `confidence` for every point; class colours are in red, green, blue and the scan's own
in scan_red, scan_green, scan_blue.

Examples:
  s3dis-seg segment scan.ply --out segmented.ply
  s3dis-seg segment scan.ply --out segmented.ply --checkpoint runs/area5/best.pt --stride 1.0
  s3dis-seg segment scans/ --out segmented/
  s3dis-seg segment scan.ply --out segmented.ply --checkpoint official.pth --model densegcn28 --channels 32 --k 8
"""

import argparse
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.cli.options import number
from s3dis_seg.data.scans import READABLE, UNITS, WRITABLE, read_scan, write_scan
from s3dis_seg.files import InputError
from s3dis_seg.models.config import MODELS
from s3dis_seg.segmentation import DEFAULT_CHECKPOINT, Segmenter

OVERRIDES = ("blocks", "channels", "k")
_FEW = 5  # so many windows are done sooner than timed


def add_arguments(parser):
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("scans", metavar="SCAN", nargs="+", type=Path, help="scans, or folders of scans")
    parser.add_argument("--out", metavar="OUT", type=Path, required=True, help="file, or a folder for several scans")
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="file, or name of shipped weights (default: %(default)s)"
    )
    parser.add_argument("--units", choices=UNITS, help="of the coordinates (default: m, and checked)")
    parser.add_argument(
        "--keep-rgb",
        action=yes_or_no,
        default=False,
        help="leave the scan's colours where they are; class colours go to class_red, class_green, class_blue",
    )
    how = parser.add_argument_group("speed and quality")
    how.add_argument(
        "--stride",
        type=float,
        default=0.5,
        help="distance of windows as a part of their width; 1.0 is the fast way (default: %(default)s)",
    )
    how.add_argument("--passes", type=number(int, 1), default=1, help="how often each point is looked at (default: 1)")
    how.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    how.add_argument("--batch-size", metavar="N", type=number(int, 1), help="blocks at a time (default: by the device)")
    how.add_argument("--amp", action=yes_or_no, default=False, help="some products in bfloat16: faster on a GPU")
    how.add_argument("--seed", type=number(int, 0), default=0, help="of the draws of points (default: %(default)s)")
    model = parser.add_argument_group("checkpoints in the official layout, which do not tell their network")
    model.add_argument("--model", choices=MODELS, help="a named network, which the rest changes")
    model.add_argument("--blocks", metavar="N", type=number(int, 1), help="depth, the head included")
    model.add_argument("--channels", metavar="C", type=number(int, 1), help="of every graph convolution")
    model.add_argument("--k", metavar="K", type=number(int, 1), help="neighbours of a point, itself included")


def run(arguments):
    jobs = _jobs(arguments.scans, arguments.out)
    overrides = {name: getattr(arguments, name) for name in OVERRIDES if getattr(arguments, name) is not None}
    if overrides and not arguments.model:
        flags = ", ".join(f"--{name}" for name in overrides)
        raise InputError(f"{flags}: only together with --model, for checkpoints in the official layout")
    segmenter = Segmenter.from_checkpoint(
        arguments.checkpoint,
        arguments.device,
        arguments.model,
        arguments.stride,
        arguments.passes,
        arguments.batch_size,
        arguments.seed,
        arguments.amp,
        **overrides,
    )
    _introduce(segmenter, arguments.checkpoint)
    failed = []
    for path, out in jobs:
        try:
            _segment(segmenter, path, out, arguments)
        except InputError as error:
            if len(jobs) == 1:
                raise
            print(f"error: {error}")
            failed.append(path)
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} scans were not segmented, as said above: {_listed(failed)}")
    outs = [out for _, out in jobs]
    print(f"next: s3dis-seg view {shlex.quote(str(outs[0]))}")


def _segment(segmenter, path, out, arguments):
    """One scan from file to file, with all that is said about it."""
    start = time.perf_counter()
    scan = read_scan(path, arguments.units)
    _require_room(path, out, len(scan))
    seconds = {"reading": time.perf_counter() - start}
    size = " x ".join(f"{extent:.1f}" for extent in _extent(scan.xyz))
    print(f"\n{path}: {len(scan):,} points, {size} m, {'colours' if scan.rgb is not None else 'no colours'}")
    plan = segmenter.plan(scan.xyz, scan.rgb)
    _tell(scan.warnings + plan.warnings)
    print(f"{plan.num_blocks:,} windows on {segmenter.device}{_expected(segmenter, plan)}", flush=True)
    with tqdm(total=plan.num_blocks, unit=" windows", dynamic_ncols=True) as bar:
        result = segmenter.run(plan, progress=lambda done, windows: bar.update(done - bar.n))
    del plan

    start = time.perf_counter()
    scan.predictions, scan.confidence = result.predictions, result.confidence
    renamed = write_scan(out, scan, arguments.keep_rgb)
    seconds |= result.seconds | {"writing": time.perf_counter() - start}
    _tell([f"the property {old} that was there is now {new}" for old, new in renamed.items()])
    _print_classes(result, segmenter.card.class_names)
    print("time: " + ", ".join(f"{step} {_duration(spent)}" for step, spent in seconds.items()))
    print(f"wrote {out}")


# --- before the start -------------------------------------------------------------------------------------------------


def _jobs(inputs, out):
    """Which scan goes where. -> list of (scan, output)"""
    scans = [scan for path in inputs for scan in (_scans_of(path) if path.is_dir() else [path])]
    if len(scans) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        jobs = [(scans[0], out)]
    elif out.suffix.lower() in READABLE and not out.is_dir():
        raise InputError(f"--out {out} names one file, but there are {len(scans)} scans; name a folder")
    else:
        jobs = [(scan, out / f"{scan.stem}.ply") for scan in scans]
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


def _scans_of(folder):
    scans = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE and path.name[0] != ".")
    if not scans:
        raise InputError(f"{folder} holds no scans; known formats: {', '.join(READABLE)}")
    return scans


def _require_room(path, out, num_points):
    """InputError now rather than after the network has run, where the output cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
        needed, free = path.stat().st_size + 8 * num_points, shutil.disk_usage(out.parent).free
    except OSError as error:
        raise InputError(f"cannot write to {out.parent}: {error.strerror}; name another --out") from error
    if out.suffix.lower() == ".ply" and path.suffix.lower() == ".ply" and needed > free:
        raise InputError(
            f"{out} will take {needed / 1e6:,.0f} MB, but {out.parent} has {free / 1e6:,.0f} MB left; "
            "free space or name another --out"
        )


def _introduce(segmenter, checkpoint):
    card = segmenter.card
    print(f"{card.model or 'network'} of {checkpoint} ({card.sha256[:8]}), {len(card.class_names)} classes")
    licence = card.provenance.get("licence") or card.provenance.get("license")
    if licence:
        print(f"licence of the weights: {licence}")


def _expected(segmenter, plan):
    if plan.num_blocks <= _FEW:
        return ""
    each = segmenter.seconds_per_block(plan)
    return f", about {_duration(each * plan.num_blocks)} ({each:.3g} s each)"


def _extent(xyz):
    """Extents along x, y, z of the finite points, without a copy of the scan. -> (3,)"""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for start in range(0, len(xyz), 500_000):
        part = xyz[start : start + 500_000]
        part = part[np.isfinite(part).all(axis=1)]
        low = np.minimum(low, part.min(axis=0, initial=np.inf))
        high = np.maximum(high, part.max(axis=0, initial=-np.inf))
    return np.maximum(high - low, 0)


# --- afterwards -------------------------------------------------------------------------------------------------------


def _tell(sentences):
    for sentence in sentences:
        print(f"note: {sentence}")


def _print_classes(result, class_names):
    total = len(result.predictions)
    counts = np.bincount(result.predictions, minlength=256)
    sums = np.bincount(result.predictions, result.confidence, minlength=256)
    print(f"{'class':<12}{'points':>15}{'share':>8}{'confidence':>12}")
    for index in np.argsort(-counts[: len(class_names)], kind="stable"):
        if counts[index]:
            print(
                f"{class_names[index]:<12}{counts[index]:>15,}{counts[index] / total:>8.1%}"
                f"{sums[index] / counts[index]:>12.2f}"
            )
    if counts[UNLABELLED]:
        print(f"{'none':<12}{counts[UNLABELLED]:>15,}{counts[UNLABELLED] / total:>8.1%}{0:>12.2f}")
    missing = [name for name, count in zip(class_names, counts) if not count]
    if missing:
        print(f"not found: {', '.join(missing)}")


def _duration(seconds):
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _listed(paths):
    shown = ", ".join(str(path) for path in paths[:5])
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
