"""Time and peak memory of the graph engine beside the authors' operations ("official"), on this machine, in one run.

Both sides compute the same network on the same points. Beside each other: the k-NN of all layers, one edge convolution
(forward and backward), an evaluation, a training step; then the parts of each, and what the counted operations would
take at the rates measured here. The official side takes minutes on a CPU; --quick only shows that everything works.

--all prints one page in Markdown, to compare machines by: the processor and what was chosen for it, one block and two
blocks beside the official operations, the distance from the floor, the time to the first window of `segment`, and the
shares of reading and bookkeeping in a training step. It says first how long that takes.

--proof trains instead: the first steps of the published recipe on prepared rooms, with the engine and, from the same
seed, with the definition, as it is and with other rounding, then from another seed; and five steps at the same
weights in float64.

--stress scores a checkpoint on labelled rooms as they are, then turned, thinned, without colours, noisy, shifted or
cut, and tells which share of the points is wrong with a confidence of at least 0.9. --quality scores it with fewer and
more looks at every point, and tells what each costs.

--corrections simulates somebody who gives the least sure regions of each room their class (0, 5 and 20 of them), lets
the network learn from it as `train --recipe corrections` does, and scores the corrected rooms and the others.

--machine shows which instructions, products and kernels were chosen for this processor, and measures whether others
would be faster here. Kernels are compiled for each variant: some minutes the first time.

Examples:
  s3dis-seg benchmark
  s3dis-seg benchmark --machine
  s3dis-seg benchmark --device cuda --batch-size 8 --json benchmark.json
  s3dis-seg benchmark --engine-only --model resgcn112 --k 16 --batch-size 8 --repeats 1
  s3dis-seg benchmark --quick
  s3dis-seg benchmark --all
  s3dis-seg benchmark --proof data/rooms --num-points 1024 --batch-size 4
  s3dis-seg benchmark --stress data/rooms --checkpoint runs/area5/best.pt
  s3dis-seg benchmark --quality data/rooms --checkpoint runs/area5/best.pt
  s3dis-seg benchmark --corrections data/rooms --checkpoint runs/area5/best.pt --at-once 3
"""

import argparse
import json
import os
import sys
from pathlib import Path

from s3dis_seg.cli.benchmark_checkpoint import benchmark_checkpoint
from s3dis_seg.cli.options import number
from s3dis_seg.cli.progress import bar as progress_bar
from s3dis_seg.cli.progress import duration
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.config import MODELS
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

MODEL, BLOCKS = "resgcn28", 2  # measured where nothing else is named
SIDES = ("official", "engine")  # as in benchmarks/speed.py, which needs torch


def add_arguments(parser):
    parser.add_argument("--model", choices=MODELS, help=f"a named network (default: {MODEL})")
    parser.add_argument("--k", type=number(int, 1), help="neighbours of a point (default: the network's)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument("--batch-size", metavar="B", type=number(int, 1), help=f"blocks at a time (default: {BLOCKS})")
    parser.add_argument("--num-points", metavar="N", type=number(int, 1), help="points of a block (default: 4096)")
    parser.add_argument("--repeats", type=number(int, 1), help="repetitions; the fastest is reported (default: 3)")
    parser.add_argument(
        "--quick", action=argparse.BooleanOptionalAction, default=False, help="a tiny network, in seconds"
    )
    parser.add_argument(
        "--engine-only",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="without the official side, for networks that it has no memory for",
    )
    parser.add_argument(
        "--all",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="one page of figures, to compare machines",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there too")
    parser.add_argument(
        "--machine",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="check the choice of instructions, products and kernels for this processor",
    )
    parser.add_argument("--proof", metavar="ROOMS", type=Path, help="compare trainings on these prepared rooms")
    parser.add_argument("--steps", metavar="N", type=number(int, 1), help="of a proof (default: 50)")
    parser.add_argument("--stress", metavar="ROOMS", type=Path, help="score a checkpoint on these rooms, altered")
    parser.add_argument("--quality", metavar="ROOMS", type=Path, help="score a checkpoint with fewer and more looks")
    parser.add_argument("--corrections", metavar="ROOMS", type=Path, help="correct these rooms, learn from it, score")
    parser.add_argument("--at-once", metavar="N", type=number(int, 1), help="rooms corrected together (default: 1)")
    parser.add_argument(
        "--checkpoint", help=f"of --stress, --quality and --corrections (default: {DEFAULT_CHECKPOINT})"
    )


def run(arguments):
    _refuse_what_is_ignored(arguments)
    if arguments.stress or arguments.quality or arguments.corrections:
        report, lines = benchmark_checkpoint(arguments)
    elif arguments.machine:
        report, lines = _check_machine(arguments)
    else:
        report, lines = (_proof if arguments.proof else _page if arguments.all else _benchmark)(arguments)
    print("\n".join(lines))
    if arguments.json:
        with replacing(arguments.json) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written to {arguments.json}")


def _refuse_what_is_ignored(arguments):
    """InputError for flags that mean nothing beside the others, and would silently be ignored."""
    measuring = {"--quick": arguments.quick, "--engine-only": arguments.engine_only, "--repeats": arguments.repeats}
    network = {
        f"--{name.replace('_', '-')}": getattr(arguments, name) for name in ("model", "k", "batch_size", "num_points")
    }
    more = {"--quick": arguments.quick, "--engine-only": arguments.engine_only, "--all": arguments.all}
    beside_machine = {
        **_tables(arguments),
        **more,
        **{flag: network[flag] for flag in network if flag != "--num-points"},
    }
    cases = (
        (arguments.machine, beside_machine, "--machine, which checks the choice for this processor"),
        (arguments.all, _tables(arguments) | network | {"--engine-only": arguments.engine_only}, "--all"),
        (arguments.proof, {"--stress": arguments.stress, "--quality": arguments.quality}, "--proof"),
        (arguments.stress, {"--quality": arguments.quality}, "--stress"),
        (arguments.corrections, _tables(arguments), "--corrections"),
        (arguments.proof, measuring, "--proof, which trains instead of measuring"),
        (arguments.stress, measuring | network, "--stress, which scores a checkpoint"),
        (arguments.quality, measuring | network, "--quality, which scores a checkpoint"),
        (arguments.corrections, measuring | network, "--corrections, which scores a checkpoint"),
    )
    for applies, flags, beside in cases:
        given = [flag for flag, value in flags.items() if value]
        if applies and given:
            raise InputError(f"{', '.join(given)}: not together with {beside}")
    if arguments.steps and not arguments.proof:
        raise InputError("--steps: only with --proof")
    if arguments.at_once and not arguments.corrections:
        raise InputError("--at-once: only with --corrections")
    if arguments.checkpoint and not (arguments.stress or arguments.quality or arguments.corrections):
        raise InputError("--checkpoint: only with --stress, --quality or --corrections")


def _tables(arguments):
    return {"--proof": arguments.proof, "--stress": arguments.stress, "--quality": arguments.quality}


def _check_machine(arguments):
    """Measure the variants of the kernels. -> report, lines to print"""
    from s3dis_seg.benchmarks.machine import check_machine
    from s3dis_seg.graph.dispatch import numba_kernels
    from s3dis_seg.graph.processor import FORCED, VARIABLE

    if arguments.device == "cuda":
        raise InputError("--machine is about processors; leave --device cuda out")
    if os.environ.get(VARIABLE) not in (None, "", *FORCED):
        raise InputError(f"{VARIABLE} is {os.environ[VARIABLE]!r}; set it to {' or '.join(FORCED)}, or not at all")
    if numba_kernels() is None:
        raise InputError("--machine checks kernels compiled by numba, which is not installed: pip install numba")
    report = check_machine(
        num_points=arguments.num_points or 4096,
        repeats=arguments.repeats or 5,
        told=lambda what: print(f"... {what}", file=sys.stderr, flush=True),
    )
    return report, _machine_lines(report)


def _machine_lines(report):
    from s3dis_seg.benchmarks.machine import TOLERATED

    table, paths = report["table"], report["paths"]
    yield f"{table['instructions']}{' (forced)' if report['forced'] else ''}; torch uses {report['capability']}"
    yield (
        f"products of {table['product']}, vectors of {table['vector_bytes']} bytes, "
        f"tile of {table['tile'][0]} points x {table['tile'][1]} vectors, {table['rows']} rows at a time, "
        f"{table['bins']} bins, selection {table['selection']}"
    )
    yield ""
    yield f"{'ms':32}{'the table':>12}{'the best':>12}{'times':>8}  which"
    for path, found in paths.items():
        best, times = found["best"], found["times_the_best"]
        mine, theirs = (1e3 * found["seconds"][words] for words in ("the table", best))
        yield f"{path:32}{mine:12.2f}{theirs:12.2f}{times:8.2f}  {best}"
    wrong = [path for path, found in paths.items() if found["times_the_best"] > TOLERATED]
    yield ""
    if wrong:
        yield f"The table is wrong here, by more than {TOLERATED} times the best: {'; '.join(wrong)}."
    else:
        yield f"The table is right here: nothing takes more than {TOLERATED} times its best variant."


def _proof(arguments):
    """Compare trainings. -> report, lines to print"""
    from s3dis_seg.benchmarks.proof import FIRST, RUNS, prove
    from s3dis_seg.data.rooms.open import open_rooms
    from s3dis_seg.training import RECIPES, TrainConfig

    steps = arguments.steps or 50
    config = TrainConfig(
        data=str(arguments.proof),
        train_rooms=tuple(room.name for room in open_rooms(arguments.proof)),
        recipe="published",
        model=arguments.model or MODEL,
        num_points=arguments.num_points or 4096,
        batch_size=arguments.batch_size or BLOCKS,
        overrides={} if arguments.k is None else {"k": arguments.k},
        **RECIPES["published"],
    )
    with progress_bar(FIRST + len(RUNS) * steps, "steps") as bar:

        def told(run, step):
            bar.set_description(run, refresh=False)
            bar.update()

        report = prove(config, steps, arguments.device, told)
    return report, _proof_lines(config, report)


def _proof_lines(config, report):
    from s3dis_seg.benchmarks.proof import FIRST

    losses, exact = report["losses"], report["at_the_same_weights"]
    yield (
        f"{config.model}, recipe published, {config.batch_size} x {config.num_points} points a step, "
        f"{len(config.train_rooms)} rooms"
    )
    yield ""
    yield f"{FIRST} steps at the same weights, in float64, engine beside definition: losses differ by at most"
    yield f"{max(exact['loss']):.1e}, gradients by {max(exact['gradient']):.1e} (relative)"
    yield ""
    yield "loss of step" + "".join(f"{name:>20}" for name in losses)
    for step, row in enumerate(zip(*losses.values()), start=1):
        if step <= FIRST or step % 5 == 0:
            yield f"{step:12}" + "".join(f"{loss:20.4f}" for loss in row)
    yield f"{'mean':>12}" + "".join(f"{sum(run) / len(run):20.4f}" for run in losses.values())
    yield ""
    yield f"{'how far from definition':24}{f'first {FIRST}, at most':>20}{'mean over steps':>20}{'of the means':>20}"
    for name, first in report["first_steps_differ"].items():
        yield f"{name:24}{first:20.2%}{report['steps_differ'][name]:20.4f}{report['means_differ'][name]:20.4f}"


def _page(arguments):
    """Measure everything. -> report, lines to print"""
    from s3dis_seg.benchmarks.page import measure, page, within_bounds

    settings, seconds = within_bounds(_settings(arguments))
    again = f"repeated {settings.repeats} times" if settings.repeats > 1 else "measured once"
    _told(f"about {duration(seconds)} on an idle machine, {again}")
    report = measure(settings, _told)
    return report, page(report)


def _benchmark(arguments):
    """Measure. -> report, lines to print"""
    from s3dis_seg.benchmarks.speed import benchmark

    report = benchmark(_settings(arguments), _told)
    return report, _lines(report)


def _told(what):
    print(f"... {what}", file=sys.stderr, flush=True)


def _settings(arguments):
    """What is measured. -> BenchmarkSettings"""
    import torch

    from s3dis_seg.benchmarks.speed import BenchmarkSettings

    device = ("cuda" if torch.cuda.is_available() else "cpu") if arguments.device == "auto" else arguments.device
    return BenchmarkSettings(
        model=arguments.model or MODEL,
        k=arguments.k,
        num_points=arguments.num_points or (256 if arguments.quick else 4096),
        batch_size=arguments.batch_size or BLOCKS,
        device=device,
        repeats=arguments.repeats or 3,
        quick=arguments.quick,
        engine_only=arguments.engine_only,
    )


def _lines(report):
    settings, machine = report["settings"], report["machine"]
    name = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads"
    quick = " (quick: a tiny one)" if settings["quick"] else ""
    yield f"{settings['model']}{quick}, {settings['batch_size']} x {settings['num_points']} points, on {name}"
    yield ""
    yield f"{'seconds a block':24}{'official':>12}{'engine':>12}{'faster':>9}{'memory in all, MB':>20}"
    for task, sides in report["tasks"].items():
        yield _row(task, sides, settings["batch_size"])
    same = report["tasks"]["k-NN"].get("same_neighbors")
    if same is not None:
        yield f"{100 * same:.2f} % of the neighbours are the same"
    for task, sides in report["tasks"].items():
        yield from ("", f"{task}: its parts, ms for all {settings['batch_size']} blocks")
        yield from _parts(task, sides, report["floor"].get(task))
    rates = report["rates"]
    yield ""
    yield (
        f"floor: the counted operations at {rates['operations_per_second'] / 1e9:,.0f} GFLOP/s and the gathered bytes "
        f"at {rates['bytes_copied_per_second'] / 1e9:,.1f} GB/s, the rates of products and copies measured here"
    )


def _row(task, sides, blocks):
    """One task: both times, their ratio, both peaks of memory above the idle process, their ratio."""
    cells = [f"{task:24}"]
    cells += [_seconds(sides.get(side), blocks) for side in SIDES]
    cells.append(f"{sides['times_faster']:8.1f}x" if "times_faster" in sides else " " * 9)
    memory = [sides.get(side, {}).get("memory_above_idle") for side in SIDES]
    cells.append(f"{_megabytes(memory[0])} /{_megabytes(memory[1])}")
    if "memory_ratio" in sides:
        cells.append(f"{100 * sides['memory_ratio']:7.0f} %")
    return "".join(cells).rstrip()


def _seconds(side, blocks):
    if side is None:
        return f"{'-':>12}"
    return f"{'no memory':>12}" if side.get("out_of_memory") else f"{side['seconds'] / blocks:12.4f}"


def _megabytes(size):
    return f"{'-':>9}" if size is None else f"{size / 1e6:9,.0f}"


def _parts(task, sides, floor):
    """The parts of a task with their share of its time, and under an evaluation what the operations would take."""
    parts = {side: _whole(sides.get(side, {})) for side in SIDES}
    for name in parts[SIDES[1]]:
        cells = [f"  {name:22}"]
        for side in SIDES:
            value, total = parts[side].get(name), sides.get(side, {}).get("seconds")
            cells.append(f"{'-':>18}" if value is None else f"{1e3 * value:10,.1f} ({100 * value / total:3.0f} %)")
        yield "".join(cells)
    if floor:
        yield f"  {'floor':22}{'':18}{1e3 * sum(floor.values()):10,.1f}  " + ", ".join(
            f"{name} {1e3 * value:,.1f}" for name, value in floor.items()
        )


def _whole(side):
    """The parts and what they leave, which in an evaluation is fusion and prediction."""
    parts = dict(side.get("parts", {}))
    if "k-NN" in parts and "forward" in parts:
        parts["rest of forward"] = parts.pop("forward") - parts["k-NN"] - parts["edge convolutions"]
        order = ("k-NN", "edge convolutions", "rest of forward", "backward", "optimizer")
        return {name: parts[name] for name in order}
    if "k-NN" in parts:
        parts["fusion and prediction"] = side["seconds"] - sum(parts.values())
    return parts
