"""A run: its plan, its progress, and the files of its folder."""

import csv
import platform
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

import s3dis_seg
from s3dis_seg.files import InputError, locked, remove_unfinished, replacing
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from s3dis_seg.models.config import model_config
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.training.config import RECIPES, TrainConfig
from s3dis_seg.training.events import Events
from s3dis_seg.training.stored import config_of, require_sound

SAVE_EVERY = 600  # seconds between two saves within an epoch
LOOK_EVERY = 10  # steps, or batches of a validation, between two reports to the watcher


@dataclass(frozen=True)
class RunPlan:
    """What a run is going to do. epoch and step: what is done already, as in Progress. batch_size: blocks a step."""

    config: TrainConfig
    device: str
    processes: int
    parameters: int
    blocks: int
    val_blocks: int
    batch_size: int
    steps_per_epoch: int
    epoch: int
    step: int


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. reason: "finished", "stopped" or "time limit"; epoch, step: what is done, as in Progress.

    best: the best mean IoU of a validation, None without one.
    """

    reason: str
    epoch: int
    step: int
    best: float | None


class Watcher:
    """Receives what `train` reports while it runs. Subclasses override the methods they need.

    look_every: steps between two readings of the loss on a GPU, because each reading waits for the GPU. On a CPU the
    loss is read at every step.
    """

    look_every = LOOK_EVERY

    def begin(self, plan: RunPlan) -> None:
        """Once, before the first step."""

    def looked(self, epoch: int, step: int, loss: float) -> None:
        """Every few steps: epochs and steps done, as in Progress, and the mean loss since the last call."""

    def validating(self, done: int, batches: int) -> None:
        """Every few batches of a validation."""

    def epoch_ended(self, row: dict, is_best: bool) -> None:
        """row: a line of metrics.csv as a dict. is_best: these are the best weights so far."""

    def note(self, sentence: str) -> None:
        """A remark; the run goes on."""


@dataclass
class Progress:
    """How far a run has come. epoch: epochs done; step: steps done of the next one; history: lines of metrics.csv.

    sums: loss times points, points, and points predicted rightly, over the steps of the unfinished epoch;
    seconds: the time of these steps; reading: how much of it they waited for blocks; computing: how much went into the
    network, its gradients and the optimizer. The rest is bookkeeping: reports, curves and saves.
    best: the best validation mIoU. validation: the last scores, for the card.
    """

    epoch: int = 0
    step: int = 0
    sums: list = field(default_factory=lambda: [0.0, 0.0, 0.0])
    seconds: float = 0.0
    reading: float = 0.0
    computing: float = 0.0
    best: float | None = None
    validation: dict = field(default_factory=dict)
    history: list = field(default_factory=list)


@dataclass
class RunState:
    """All that changes during a run, and so all that is needed to resume it.

    origin: what the weights were before the run, see `begin_with`; empty where they were random.
    """

    model: DeepGCN
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress
    origin: dict


class Record:
    """Writes the folder of a run. writes: False for all processes of a run but the first."""

    def __init__(self, out, plan, data, state, watcher, writes):
        self.out, self.plan, self.data, self.state, self.watcher = out, plan, data, state, watcher
        self.writes, self.saved, self.done_before = writes, time.monotonic(), self.steps

    @cached_property
    def events(self):
        """The curves of this run for TensorBoard, or None where the package is missing."""
        try:
            return Events(self.out, first_step=self.done_before + 1 if self.done_before else None)
        except ImportError:
            self.watcher.note("tensorboard is not installed; the curves are in metrics.csv only")
            return None

    @property
    def steps(self):
        """Steps done since the beginning of the run."""
        return self.state.progress.epoch * self.plan.steps_per_epoch + self.state.progress.step

    def save(self):
        """last.pt, from which the run can go on."""
        if self.writes:
            self._require_finite()
            save_checkpoint(self.out / "last.pt", self.state.model, self._card(), self._state())
        self.saved = time.monotonic()

    def save_now_and_then(self):
        """Save every 10 minutes, so that a failure of the machine costs minutes and not an epoch."""
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def step(self, loss, lr):
        """loss: the mean since the last call."""
        if self.writes and self.events:
            self.events.add("step/loss", loss, self.steps)
            self.events.add("step/learning_rate", lr, self.steps)

    def epoch(self, results):
        """Close an epoch. results: what `validate` returned, None without a validation."""
        progress, blocks = self.state.progress, self.plan.steps_per_epoch * self.plan.batch_size
        progress.epoch, progress.step = progress.epoch + 1, 0
        loss, points, right = progress.sums
        row = {
            "epoch": progress.epoch,
            "steps": self.steps,
            "learning_rate": self.state.optimizer.param_groups[0]["lr"],
            "train_loss": loss / max(points, 1),
            "train_oa": right / max(points, 1),
            "blocks_per_second": blocks / max(progress.seconds, 1e-9),
            **_shares(progress),
        }
        is_best = False
        if results is not None:
            val_loss, val = results
            row |= {"val_loss": val_loss, "val_miou": val.miou, "val_macc": val.macc, "val_oa": val.oa}
            row |= {f"val_iou_{name}": float(iou) for name, iou in zip(val.class_names, val.iou)}
            is_best = progress.best is None or val.miou > progress.best
            progress.validation = {key: value for key, value in row.items() if key == "epoch" or key.startswith("val_")}
        progress.history.append(row)
        progress.sums = [0.0, 0.0, 0.0]
        progress.seconds = progress.reading = progress.computing = 0.0
        if is_best:
            progress.best = row["val_miou"]
        if self.writes:
            if is_best:
                self._require_finite()
                save_checkpoint(self.out / "best.pt", self.state.model, self._card())
            self._write_metrics()
        self.save()
        self.watcher.epoch_ended(row, is_best)

    def _write_metrics(self):
        names = list(dict.fromkeys(name for row in self.state.progress.history for name in row))
        with replacing(self.out / "metrics.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            for row in self.state.progress.history:
                writer.writerow({name: "" if value != value else value for name, value in row.items()})
        for name, value in self.state.progress.history[-1].items() if self.events else ():
            if value == value and name != "steps":
                self.events.add(f"epoch/{name}", value, self.steps)

    def _require_finite(self):
        """InputError where a weight is not finite, so that no bad checkpoint replaces the last good one."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.state.model.parameters()):
            raise InputError(diverged(self.plan.config, self.state.progress, self.out))

    def _card(self):
        return Card(
            self.plan.config.model,
            self.state.model.config,
            self.data.classes,
            self.data.settings,
            self._provenance(),
        )

    def _provenance(self):
        config, progress = self.plan.config, self.state.progress
        return {
            "recipe": config.recipe,
            "train_rooms": list(config.train_rooms),
            "val_rooms": list(config.val_rooms),
            "test_rooms": list(config.test_rooms),
            "test_area": config.test_area,
            "untrained_classes": [self.data.class_names[number] for number in self.data.untrained],
            "epochs": progress.epoch,
            "steps": self.steps,
            "seed": config.seed,
            "validation": dict(progress.validation),
            "versions": {
                "s3dis_seg": s3dis_seg.__version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "licence": self.data.licence or self.state.origin.get("licence", ""),
            "origin": self.state.origin,
        }

    def _state(self):
        return {
            "config": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.plan.config).items()},
            "progress": asdict(self.state.progress),
            "optimizer": self.state.optimizer.state_dict(),
            "scaler": self.state.scaler.state_dict(),
            "origin": self.state.origin,
            "threads": torch.get_num_threads(),
        }


def _shares(progress):
    """Which shares of the time of its steps an epoch waited for blocks and kept books. -> dict, 0 to 1 each"""
    seconds = max(progress.seconds, 1e-9)
    bookkeeping = max(progress.seconds - progress.reading - progress.computing, 0.0)
    return {"reading_share": progress.reading / seconds, "bookkeeping_share": bookkeeping / seconds}


def stored_config(out):
    """The settings of the run in the folder `out`. -> TrainConfig; InputError where there is none to go on with."""
    path = Path(out) / "last.pt"
    if not path.is_file():
        raise InputError(f"{out} holds no run to go on with (no last.pt); leave --resume away to start one there")
    return config_of(load_training_state(path), path)


def stored_run(out, config, watcher):
    """What last.pt holds: weights, optimizer, scaler, progress. InputError where it belongs to other settings."""
    before, path = stored_config(out), out / "last.pt"
    state = load_training_state(path)
    require_sound(state, path)
    may_change = {"data"} | ({"epochs"} if config.schedule == "halving" else set())
    changed = _differences(before, config, may_change)
    if changed:
        raise InputError(f"{out} was started with other settings: {'; '.join(changed)}; resume without these flags")
    if config.epochs < state["progress"]["epoch"]:
        raise InputError(f"{out} has done {state['progress']['epoch']} epochs; --epochs {config.epochs} is less")
    if state["threads"] != torch.get_num_threads():
        watcher.note(
            f"started with {state['threads']} threads, going on with {torch.get_num_threads()}: "
            "rounding, and so the result, will differ slightly from that of one run"
        )
    model, card = load_checkpoint(path)
    if card.config != model_config(config.model, num_classes=len(card.class_names), **config.overrides):
        raise InputError(f"{path} is damaged: its weights are of another network than its settings; start again")
    return {**state, "weights": model.state_dict()}


def _differences(before, now, may_change=()):
    """Settings in which two runs differ, named by their flags."""
    if before.recipe != now.recipe:
        may_change = {*may_change, *RECIPES[before.recipe], *RECIPES[now.recipe]}  # the recipe's name says it all
    found = []
    for name in (setting.name for setting in fields(TrainConfig) if setting.name not in may_change):
        old, new = getattr(before, name), getattr(now, name)
        if name == "overrides":
            for key in sorted(set(old) | set(new)):
                if old.get(key) != new.get(key):
                    found.append(f"{_flag(key)} {new.get(key, 'not given')} (was {old.get(key, 'not given')})")
        elif isinstance(old, tuple) and set(old) != set(new):
            found.append(f"{_flag(name)} ({len(set(old) ^ set(new))} rooms differ)")
        elif old != new and not isinstance(old, tuple):
            found.append(_difference(name, old, new))
    return found


def _difference(name, old, new):
    """A setting that was `old` and is `new`, in the words of its flag."""
    if isinstance(old, bool) and isinstance(new, bool):
        new, old = (_flag(name if value else f"no_{name}") for value in (new, old))
        return f"{new} (was {old})"
    return f"{_flag(name)} {new} (was {old})"


def _flag(name):
    return "--from" if name == "start" else "--" + name.replace("_", "-")


def refuse_used(out):
    """InputError where the folder of a new run holds something already."""
    # Files left by a process that was killed before it wrote anything do not count.
    if out.is_dir() and any(not path.name.startswith((".lock", ".writing-")) for path in out.iterdir()):
        there = "a run; go on with it by --resume, or" if (out / "last.pt").exists() else "files already;"
        raise InputError(f"{out} holds {there} name another folder by --out")


@contextmanager
def run_folder(out, resume):
    """Within it the folder belongs to this process. InputError where another process has it."""
    with locked(out):
        if not resume:
            refuse_used(out)
        remove_unfinished(out)
        yield


def diverged(config, progress, out):
    """What to say when the loss or the weights are not finite. -> text"""
    remedy = "lower --lr" if config.amp == "off" else f"lower --lr or leave --amp {config.amp} away"
    return (
        f"the loss is no longer a number in epoch {progress.epoch + 1}, step {progress.step}; {out / 'last.pt'} keeps "
        f"the last good weights: {remedy} and start again in another folder"
    )
