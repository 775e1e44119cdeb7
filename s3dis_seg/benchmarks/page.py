"""One page of figures, made by one command, for others to run and to send: measured here, written as Markdown."""

import os
import platform
import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version

import torch

import s3dis_seg
from s3dis_seg.benchmarks.speed import SIDES, Stopwatch, benchmark, official_neighbors
from s3dis_seg.benchmarks.way import start, training_shares
from s3dis_seg.graph.dispatch import kernels_for
from s3dis_seg.graph.knn import wanted_ranks
from s3dis_seg.graph.processor import VARIABLE, processor

NUMBERS = {"one block": 1, "two blocks": 2}  # of blocks at a time: title -> number
LONGEST = 20 * 60  # seconds; where several repetitions would take more, there is one
_VERSIONS = ("torch", "numpy", "numba", "triton")
# Each makes a library take other instructions than it would choose.
_FORCING = (VARIABLE, "NUMBA_CPU_NAME", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
# All measurements of the official side together, in units of one k-NN of its last layer of one block: about 28 layers
# of a ResGCN-28, 14 times as much in all tasks of one and of two blocks. And what does not depend on the processor.
_UNITS, _OTHER_SECONDS, _QUICK_SECONDS = 28 * 14, 100, 60


def expected_seconds(settings):
    """About how long `measure` takes, from a look at how long the official side takes for one layer. -> seconds"""
    if settings.quick:
        return _QUICK_SECONDS
    watch, config = Stopwatch(settings.device), settings.config
    x = torch.randn(1, config.channels, settings.num_points, 1, device=settings.device)
    dilation = config.dilations[len(config.dilations) // 2]
    began = watch.now()
    official_neighbors(x, config.k, dilation, wanted_ranks(config.k, dilation))
    return _OTHER_SECONDS + (settings.repeats + 1) * _UNITS * (watch.now() - began)


def within_bounds(settings):
    """The settings, with one repetition where more would take too long, and the time they take. -> settings, seconds"""
    seconds = expected_seconds(settings)
    if seconds <= LONGEST or settings.repeats == 1:
        return settings, seconds
    settings = replace(settings, repeats=1)
    return settings, expected_seconds(settings)


def measure(settings, told=lambda what: None):
    """Every figure of the page. -> dict, ready for JSON

    settings: a BenchmarkSettings; of its number of blocks nothing is taken. told: as in `benchmark`.
    """
    began = time.perf_counter()
    report = {"versions": _versions(), "variants": variants(settings.device)}
    for title, number in NUMBERS.items():
        report[title] = benchmark(replace(settings, batch_size=number), lambda what, of=title: told(f"{of}: {what}"))
    told("from the command to the first window")
    report["first_window_seconds"] = start(settings.device)
    told("reading and bookkeeping of a training")
    report["training"] = training_shares(replace(settings, batch_size=max(NUMBERS.values())))
    return report | {"seconds": time.perf_counter() - began}


def variants(device):
    """What was chosen for this processor. -> dict of what -> text"""
    forced = [f"{name}={os.environ[name]}" for name in _FORCING if name in os.environ]
    return {
        "instruction set, as torch sees it": torch.backends.cpu.get_cpu_capability(),
        "forced by the environment": ", ".join(forced) or "nothing",
        "kernels": kernels_for(torch.zeros(1, device=device)).__name__.rpartition(".")[2],
        **{name.replace("_", " "): str(value) for name, value in asdict(processor()).items()},
    }


def _versions():
    found = {"s3dis_seg": s3dis_seg.__version__, "python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The page


def page(report):
    """The figures as Markdown. report: of `measure`. -> lines"""
    settings, machine = (report["one block"][name] for name in ("settings", "machine"))
    yield f"## {machine.get('gpu') or machine['processor']}"
    yield ""
    if settings["quick"]:
        yield "**Quick: a tiny network. These figures only show that everything works.**"
        yield ""
    yield (
        f"`s3dis-seg benchmark --all`: {settings['model']}, blocks of {settings['num_points']:,} points, fastest of "
        f"{settings['repeats']}, {report['seconds'] / 60:.1f} minutes in all. Seconds are for one block; memory is the "
        "peak above the idle process, for all blocks. The floor is what the counted products and gathered bytes take "
        "at the rates measured in the same run."
    )
    yield from _machine(report, machine)
    for title in NUMBERS:
        yield from _tasks(title, report[title])
    yield from _parts(report)
    yield from _whole_way(report)


def _table(head, rows):
    """A table after an empty line. head: texts; rows: lists of as many texts. Yields lines."""
    yield ""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _machine(report, machine):
    rates = report["one block"]["rates"]
    rows = [
        ["processor", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"],
        ["system", f"{platform.system()} on {platform.machine()}"],
        ["versions", ", ".join(f"{name} {number}" for name, number in report["versions"].items())],
        *([what, chosen] for what, chosen in report["variants"].items()),
        ["rate of products", f"{rates['operations_per_second'] / 1e9:,.0f} GFLOP/s"],
        ["rate of copies", f"{rates['bytes_copied_per_second'] / 1e9:,.1f} GB/s"],
    ]
    yield from _table(["machine", ""], rows)


def _tasks(title, report):
    """Both sides of every task beside each other."""
    blocks, rows = report["settings"]["batch_size"], []
    for task, sides in report["tasks"].items():
        times = [_or_dash(sides[side].get("seconds"), lambda value: f"{value / blocks:.4g} s") for side in SIDES]
        faster = _or_dash(sides.get("times_faster"), lambda value: f"**{value:.1f}**")
        memory = [_or_dash(sides[side].get("memory_above_idle"), _megabytes) for side in SIDES]
        rows.append(
            [task, *times, faster, *memory, _or_dash(sides.get("memory_ratio"), lambda value: f"{100 * value:.0f} %")]
        )
    yield from _table([title, "official", "engine", "times faster", "memory, official", "engine", ""], rows)


def _parts(report):
    """Where the engine's time goes, and how far it is from the floor."""
    title = list(NUMBERS)[-1]
    found, rows = report[title], []
    for task, floor in found["floor"].items():
        engine = found["tasks"][task][SIDES[1]]
        parts = ", ".join(f"{name} {1e3 * seconds:,.0f}" for name, seconds in engine.get("parts", {}).items())
        least = sum(floor.values())
        ratio = _or_dash(engine.get("seconds"), lambda value, least=least: f"**{value / least:.2f}**")
        rows.append([task, parts, _or_dash(engine.get("seconds"), _milliseconds), _milliseconds(least), ratio])
    yield from _table([f"engine, {title}, ms", "of this", "in all", "floor", "times the floor"], rows)


def _megabytes(size):
    return f"{size / 1e6:,.0f} MB"


def _milliseconds(seconds):
    return f"{1e3 * seconds:,.0f}"


def _whole_way(report):
    training = report["training"]
    rows = [
        ["`segment`, from the command to the first window",
         _or_dash(report["first_window_seconds"], lambda value: f"{value:.1f} s")],
        ["training, reading and augmenting blocks", f"{100 * training['reading_share']:.2f} % of a step"],
        ["training, bookkeeping", f"{100 * training['bookkeeping_share']:.2f} % of a step"],
        ["training, as it runs", f"{training['blocks_per_second']:.2f} blocks/s"],
    ]  # fmt: skip
    yield from _table(["the whole way", ""], rows)


def _or_dash(value, text):
    return "-" if value is None else text(value)
