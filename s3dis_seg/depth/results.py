"""The files of a comparison: one for each run, and the tables of all runs. Imports no torch."""

import csv
import json
import math
from dataclasses import asdict

from s3dis_seg.depth.systems import System
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.config import DeepGCNConfig

RUNS = "runs"  # folder of the files of the runs
SCORES = ("diverged_at", "train_loss", "val_loss", "miou", "oa", "commonest_share", "parameters", "seconds")


def run_path(out, system):
    """Where the result of a run lies."""
    return out / RUNS / f"{system.name}-seed{system.seed}.json"


def write_run(out, system, result, conditions):
    """Keep the result of a run, with the conditions that all runs of a folder share (a dict of numbers and texts)."""
    with replacing(run_path(out, system)) as temporary:
        temporary.write_text(_as_json({"conditions": conditions, **result}), encoding="utf-8")


def read_runs(out, conditions):
    """All results of a folder, sorted by depth, name and seed. -> list of dicts, nan where a number is missing

    InputError for a damaged file, and for a run under other conditions.
    """
    runs = [_read_run(path, conditions) for path in sorted((out / RUNS).glob("*.json")) if path.name[0] != "."]
    return sorted(runs, key=lambda run: (run["network"]["blocks"], run["name"], run["seed"]))


def _read_run(path, conditions):
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        found = run["conditions"]
        system = system_of(run)
        for row in (run, *run["layers"]):
            row |= {name: math.nan if value is None else value for name, value in row.items() if name != "diverged_at"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as the result of a run; delete it, and it is done again") from error
    if found != conditions or run_path(path.parent.parent, system) != path:
        changed = [f"{name} {found.get(name)}" for name in conditions if found.get(name) != conditions[name]]
        raise InputError(
            f"{path} was made under other conditions ({', '.join(changed) or 'it was renamed'}), and runs of a folder "
            "are compared; say the same, or name another --out"
        )
    return run


def system_of(run):
    """The network and the seed of a result. -> System"""
    return System(DeepGCNConfig(**run["network"]), run["seed"])


def write_tables(out, runs):
    """runs.csv (a line a run), layers.csv (a line for each layer of each run) and results.json (everything)."""
    settings = list(asdict(system_of(runs[0]).network))
    scores = [
        {"name": run["name"], "seed": run["seed"], **run["network"], **{name: run[name] for name in SCORES}}
        for run in runs
    ]
    _write_csv(out / "runs.csv", scores, ["name", "seed", *settings, *SCORES])
    layers = [{"name": run["name"], "seed": run["seed"], **row} for run in runs for row in run["layers"]]
    _write_csv(out / "layers.csv", layers, list(layers[0]))
    with replacing(out / "results.json") as temporary:
        temporary.write_text(_as_json({"runs": runs}), encoding="utf-8")


def _write_csv(path, rows, names):
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value is None or value != value else value for name, value in row.items()})


def _as_json(content):
    return json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"


def _without_nan(content):
    """None for every number that is not finite, which JSON does not know."""
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
