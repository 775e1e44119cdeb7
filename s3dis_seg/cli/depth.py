"""Compare networks of growing depth: gradients, smoothing and rank of every layer, before and after a short training.

Every combination of the lists below is one network, trained once for each seed. OUT gets a file a run, runs.csv,
layers.csv, results.json, pictures, and findings.md with what the numbers say. A run that is there is not repeated, so
the same command goes on after an interruption, and further networks can be added to a folder. Without --data the rooms
are synthetic.

Examples:
  s3dis-seg depth --out depth
  s3dis-seg depth --data data/rooms --connections plain,res,dense --blocks 7,14,28 --seeds 3 --out depth
  s3dis-seg depth --connections plain --convs gcn --adjacency none,symmetric --norm none --out depth-gcn
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from s3dis_seg.cli import progress
from s3dis_seg.cli.options import number, require_writable
from s3dis_seg.depth.results import RUNS, read_runs, run_path, write_run, write_tables
from s3dis_seg.depth.systems import ADJACENCIES, DEFAULT_CHANNELS, DEFAULT_K, grid
from s3dis_seg.files import locked, remove_unfinished, replacing
from s3dis_seg.models.config import BLOCKS, CONVOLUTIONS, GRAPHS, NORMS

ROOMS = 9  # synthetic ones; the first and the last by name validate
ROOM_DENSITY = 400.0  # points a square metre of surface
ON_OFF = {"on": True, "off": False}


def add_arguments(parser):
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="prepared rooms (default: synthetic ones)")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("depth"), help="folder of the results (default: %(default)s)"
    )
    parser.add_argument(
        "--val-rooms", metavar="ROOM", nargs="+", help="validate on these rooms (default: every 8th by name)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="default: cpu")

    networks = parser.add_argument_group("the networks: lists with commas, of which every combination is taken")
    for flag, kind, default, what in (
        ("--connections", BLOCKS, "plain,res", "how layers are joined"),
        ("--blocks", number(int, 1), "7,14", "numbers of layers, the head included"),
        ("--convs", tuple(name for name in CONVOLUTIONS if not name.startswith("gcn-")), "edge", "graph convolutions"),
        ("--adjacency", ADJACENCIES, "random-walk", "how --convs gcn normalises the adjacency"),
        ("--norm", NORMS, "batch", "what follows every ReLU"),
        ("--fusion", ON_OFF, "on", "predict from the outputs of all layers, or of the last"),
        ("--graph", GRAPHS, "dynamic", "neighbours in the features of every layer, or in space"),
        ("--dilation", ON_OFF, "off", "layer i takes every i-th neighbour"),
        ("--epsilon", number(float, 0), "0", "probabilities of drawing neighbours at random"),
        ("--edge-drop", number(float, 0), "0", "probabilities of dropping an edge in training"),
    ):
        choices = "" if callable(kind) else f": {', '.join(kind)}"
        networks.add_argument(
            flag, metavar="LIST", type=_list(kind), default=default, help=f"{what}{choices} (default: {default})"
        )

    budget = parser.add_argument_group("what all networks share")
    for flag, kind, default, what in (
        ("--seeds", number(int, 1), 1, "trainings of each network"),
        ("--steps", number(int, 1), 100, "steps of a training"),
        ("--channels", number(int, 1), DEFAULT_CHANNELS, "channels of every layer"),
        ("--k", number(int, 1), DEFAULT_K, "neighbours of a point, itself included"),
        ("--num-points", number(int, 1), 512, "points a block"),
        ("--batch-size", number(int, 1), 4, "blocks a step"),
        ("--lr", number(float, 0, above=True), 1e-3, "learning rate of Adam"),
    ):
        budget.add_argument(flag, metavar="N", type=kind, default=default, help=f"{what} (default: {default:g})")


def _list(kind):
    """A type for argparse: values with commas between. kind: a type for each of them, names, or names with values."""

    def parse(text):
        return list(dict.fromkeys(_value(word, kind) for word in text.split(",")))

    return parse


def _value(word, kind):
    if callable(kind):
        return kind(word)
    if word not in kind:
        raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(kind)}")
    return kind[word] if isinstance(kind, dict) else word


def run(arguments):
    from s3dis_seg.depth.laboratory import Budget, open_material, require_points
    from s3dis_seg.devices import device_of

    out, device = arguments.out, device_of(arguments.device)
    systems = _systems(arguments)
    budget = Budget(arguments.steps, arguments.batch_size, arguments.num_points, arguments.lr)
    require_points(systems, budget)
    require_writable(out)
    with locked(out):
        remove_unfinished(out)
        remove_unfinished(out / RUNS)
        rooms = arguments.data or _synthetic_rooms(out / "rooms")
        material = open_material(rooms, budget, arguments.val_rooms)
        conditions = asdict(budget) | {"training_blocks": len(material.training)}
        conditions |= {"validation_blocks": len(material.features)}
        read_runs(out, conditions)  # finds runs of other conditions before the work begins
        missing = [system for system in systems if not run_path(out, system).exists()]
        print(f"{len(systems)} runs, {len(systems) - len(missing)} of them done before")
        if missing:
            _run_all(missing, out, material, budget, device, conditions)
        _report(out, read_runs(out, conditions), conditions)


def _systems(arguments):
    """The networks that the lists name. -> list of System"""
    convs = [conv for conv in arguments.convs if conv != "gcn"]
    convs += arguments.adjacency if "gcn" in arguments.convs else []
    return grid(
        arguments.seeds,
        k=arguments.k,
        channels=arguments.channels,
        conv=convs,
        norm=arguments.norm,
        fusion=arguments.fusion,
        graph=arguments.graph,
        dilation=arguments.dilation,
        epsilon=arguments.epsilon,
        edge_drop=arguments.edge_drop,
        blocks=sorted(arguments.blocks),
        block=arguments.connections,
    )


def _synthetic_rooms(folder):
    """Prepared synthetic rooms, made where they are not there. -> folder"""
    from s3dis_seg.data.rooms.prepared import room_path, write_room
    from s3dis_seg.synthetic.rooms import synthetic_room

    for number_of_room in range(ROOMS):
        name = f"Area_1_office_{number_of_room + 1}"
        if not room_path(name, folder).exists():
            write_room(synthetic_room(number_of_room, ROOM_DENSITY, name), folder)
    return folder


def _run_all(systems, out, material, budget, device, conditions):
    """Do the runs one after another, each with a file of its own."""
    from s3dis_seg.depth.laboratory import run, seconds_of_a_run

    times = {system.name: None for system in systems}
    for system in systems:
        if times[system.name] is None:
            times[system.name] = seconds_of_a_run(system, material, budget, device)
    print(f"expected time: about {progress.duration(sum(times[system.name] for system in systems))}")
    # The work of a step is about that of its layers.
    with progress.bar(budget.steps * sum(system.network.blocks for system in systems), "layers of steps") as bar:
        for system in systems:
            bar.set_description(f"{system.name}, seed {system.seed}")
            before, layers = bar.n, system.network.blocks
            result = run(system, material, budget, device, stepped=lambda layers=layers: bar.update(layers))
            write_run(out, system, result, conditions)
            bar.update(before + budget.steps * layers - bar.n)  # a run that diverged took fewer steps
            progress.say(_told(system, result))


def _told(system, result):
    """What came of a run, in a line."""
    if result["diverged_at"]:
        return f"{system.name}, seed {system.seed}: diverged in step {result['diverged_at']}"
    scores = f"loss {result['val_loss']:.3g}, mIoU {result['miou']:.1%}, accuracy {result['oa']:.1%}"
    return f"{system.name}, seed {system.seed}: validation {scores}, {progress.duration(result['seconds'])}"


def _report(out, runs, conditions):
    """Tables, pictures and the page of all runs in the folder."""
    from s3dis_seg.depth.findings import findings
    from s3dis_seg.depth.plots import write_plots

    write_tables(out, runs)
    pictures = write_plots(out, runs)
    with replacing(out / "findings.md") as temporary:
        temporary.write_text(findings(runs, conditions, pictures), encoding="utf-8")
    print(f"written: {out / 'findings.md'}, {out / 'runs.csv'}, {out / 'layers.csv'}, {out / 'results.json'}, pictures")
