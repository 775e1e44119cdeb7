"""A run: its settings, how far it has come, and the folder it is kept in."""

import csv
import math
import platform
import time
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

import s3dis_seg
from s3dis_seg.files import InputError, replacing
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint

SAVE_EVERY = 600  # seconds between two saves within an epoch

# What the name of a recipe changes in a TrainConfig. "standard": the published optimisation, on blocks of even density
# that suit a hall as well. "published": DeepGCN's own blocks too, and no validation: the last weights are the result.
# "modern": what later networks on S3DIS train with.
RECIPES = {
    "standard": {},
    "published": {"grid": 0.0, "frame_size": math.inf, "published_blocks": True},
    "modern": {
        "augment": True,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "statistics_blocks": 96,
    },
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes; its checkpoints keep it. The defaults are DeepGCN's recipe.

    data: folder of the rooms. train_rooms, val_rooms, test_rooms: names; those to test on are only remembered.
    overrides: of the model's numbers. block_size, grid and frame_size: metres, see BlockSettings; published_blocks:
    PointNet's. class_weights: "none", or "sqrt" for one over the square root of the share of each class.
    statistics_blocks: training blocks over which BatchNorm's statistics are measured again before each validation and
    at the end, 0: the running ones are kept.
    batch_size: blocks a step of the optimizer, over all processes. accumulate: in how many parts a process computes
    its share of them, to save memory; the loss is the same mean, but BatchNorm sees one part at a time.
    schedule: "halving" (every 20 epochs) or "cosine" (a warm-up, then down to zero at the end of the last epoch).
    amp: "off", "bf16" or "fp16". val_every: epochs between two validations. deterministic: on CUDA as well.
    """

    data: str
    train_rooms: tuple
    val_rooms: tuple = ()
    test_rooms: tuple = ()
    test_area: int | None = None
    recipe: str = "standard"
    model: str = "resgcn28"
    overrides: dict = field(default_factory=dict)
    num_points: int = 4096
    block_size: float = 1.0
    grid: float = 0.02
    frame_size: float = 8.0
    published_blocks: bool = False
    augment: bool = False
    epochs: int = 100
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    schedule: str = "halving"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    statistics_blocks: int = 0
    amp: str = "off"
    seed: int = 0
    val_every: int = 1
    deterministic: bool = False


@dataclass
class Progress:
    """How far a run has come. epoch: epochs done; step: steps done of the next one; history: lines of metrics.csv.

    sums: loss times points, points, and points predicted rightly, over the steps of the unfinished epoch;
    seconds: the time these took. best: the best validation mIoU. validation: the last scores, for the card.
    """

    epoch: int = 0
    step: int = 0
    sums: list = field(default_factory=lambda: [0.0, 0.0, 0.0])
    seconds: float = 0.0
    best: float | None = None
    validation: dict = field(default_factory=dict)
    history: list = field(default_factory=list)


class Record:
    """Writes the folder of a run; of several processes only the first does."""

    def __init__(self, out, config, data, num_steps, model, optimizer, scaler, progress, team, watcher):
        self.out, self.config, self.data, self.num_steps, self.watcher = out, config, data, num_steps, watcher
        self.model, self.optimizer, self.scaler, self.progress = model, optimizer, scaler, progress
        self.writes, self.saved = team.rank == 0, time.monotonic()

    @cached_property
    def events(self):
        """A writer of TensorBoard's events, or None where the package is missing."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.watcher.note("tensorboard is not installed; the curves are in metrics.csv only")
            return None
        # What a run wrote after the checkpoint from which it goes on is written again.
        return SummaryWriter(self.out, purge_step=self.steps + 1 if self.steps else None)

    @property
    def steps(self):
        """Done since the beginning."""
        return self.progress.epoch * self.num_steps + self.progress.step

    def save(self):
        """last.pt, from which the run can go on."""
        if self.writes:
            self._require_finite()
            save_checkpoint(self.out / "last.pt", self.model, self._card(), self._state())
            if self.events:
                self.events.flush()
        self.saved = time.monotonic()

    def save_now_and_then(self):
        """Should the machine fail, some minutes are lost and not an epoch."""
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def step(self, loss, lr):
        """loss: the mean since the last call."""
        if self.writes and self.events:
            self.events.add_scalar("step/loss", loss, self.steps)
            self.events.add_scalar("step/learning_rate", lr, self.steps)

    def epoch(self, results, blocks):
        """Close an epoch. results: what `validate` returned, None without a validation; blocks: of this epoch."""
        progress = self.progress
        progress.epoch, progress.step = progress.epoch + 1, 0
        loss, points, right = progress.sums
        row = {
            "epoch": progress.epoch,
            "steps": self.steps,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss / max(points, 1),
            "train_oa": right / max(points, 1),
            "blocks_per_second": blocks / max(progress.seconds, 1e-9),
        }
        is_best = False
        if results is not None:
            val_loss, val = results
            row |= {"val_loss": val_loss, "val_miou": val.miou, "val_macc": val.macc, "val_oa": val.oa}
            row |= {f"val_iou_{name}": float(iou) for name, iou in zip(val.class_names, val.iou)}
            is_best = progress.best is None or val.miou > progress.best
            progress.validation = {key: value for key, value in row.items() if key == "epoch" or key.startswith("val_")}
        progress.history.append(row)
        progress.sums, progress.seconds = [0.0, 0.0, 0.0], 0.0
        if is_best:
            progress.best = row["val_miou"]
        if self.writes:
            if is_best:
                self._require_finite()
                save_checkpoint(self.out / "best.pt", self.model, self._card())
            self._write_metrics()
        self.save()
        self.watcher.epoch_ended(row, is_best)

    def _write_metrics(self):
        names = list(dict.fromkeys(name for row in self.progress.history for name in row))
        with replacing(self.out / "metrics.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            for row in self.progress.history:
                writer.writerow({name: "" if value != value else value for name, value in row.items()})
        for name, value in self.progress.history[-1].items() if self.events else ():
            if value == value and name != "steps":
                self.events.add_scalar(f"epoch/{name}", value, self.steps)

    def _require_finite(self):
        """The last good checkpoint must not be replaced by a bad one."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise InputError(diverged(self.config, self.progress, self.out))

    def _card(self):
        return Card(self.config.model, self.model.config, self.data.class_names, self.data.settings, self._provenance())

    def _provenance(self):
        config, progress = self.config, self.progress
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
            "licence": self.data.licence,
        }

    def _state(self):
        return {
            "config": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.config).items()},
            "progress": asdict(self.progress),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "threads": torch.get_num_threads(),
        }


def stored_config(out):
    """The settings of the run in the folder `out`. -> TrainConfig; InputError where there is none to go on with."""
    path = Path(out) / "last.pt"
    if not path.is_file():
        raise InputError(f"{out} holds no run to go on with (no last.pt); leave --resume away to start one there")
    return _config_of(load_training_state(path), path)


def _config_of(state, path):
    try:
        stored = state["config"]
        return TrainConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} was written by another version of s3dis_seg and cannot be resumed ({error})"
        ) from error


def stored_run(out, config, watcher):
    """What last.pt holds: weights, optimizer, scaler, progress. InputError where it belongs to other settings."""
    before = stored_config(out)
    state = load_training_state(out / "last.pt")
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
    model, _ = load_checkpoint(out / "last.pt")
    return {**state, "weights": model.state_dict()}


def _differences(before, now, may_change=()):
    """Settings in which two runs differ, in the words of the flags."""
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
            found.append(f"{_flag(name)} {new} (was {old})")
    return found


def _flag(name):
    return "--" + name.replace("_", "-")


def refuse_used(out):
    """InputError where the folder of a new run holds something already."""
    if out.is_dir() and any(out.iterdir()):
        there = "a run; go on with it by --resume, or" if (out / "last.pt").exists() else "files already;"
        raise InputError(f"{out} holds {there} name another folder by --out")


def diverged(config, progress, out):
    """What to say when the loss or the weights are not finite. -> text"""
    remedy = "lower --lr" if config.amp == "off" else f"lower --lr or leave --amp {config.amp} away"
    return (
        f"the loss is no longer a number in epoch {progress.epoch + 1}, step {progress.step}; {out / 'last.pt'} keeps "
        f"the last good weights: {remedy} and start again in another folder"
    )
