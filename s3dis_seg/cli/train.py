"""Train a DeepGCN on prepared rooms, by default as published: Adam, learning rate 0.001 halved every 20 epochs.

The folder OUT gets last.pt (to go on from), best.pt (the best validation mIoU), metrics.csv and TensorBoard's events.
Validation takes every 8th training room by sorted name, never a test room. Ctrl-C saves and stops; --resume goes on
at the very next step. `torchrun --nproc-per-node 2 tools/train.py ...` trains with two processes as with one.

Examples:
  s3dis-seg train --data data/rooms --model resgcn28 --test-area 5 --out runs/area5
  s3dis-seg train --data data/rooms --model resgcn7 --channels 32 --num-points 1024 --epochs 5 --out runs/small
  s3dis-seg train --data corrected --from resgcn14-s3dis-area6-lovasz --recipe corrections --out runs/corrected
  s3dis-seg train --resume --out runs/area5
  s3dis-seg train --data rooms --from resgcn14-s3dis-area6-lovasz --out runs/mine
  s3dis-seg train --data data/rooms --model resgcn28 --folds --out runs/six
"""

import argparse
import math
import os
import shlex
import signal
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

from s3dis_seg.cli import progress
from s3dis_seg.cli.options import number, seed
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.files import InputError
from s3dis_seg.models.config import BLOCKS, CONVOLUTIONS, GRAPHS, MODELS, NORMS
from s3dis_seg.training.config import AMP, CLASS_WEIGHTS, RECIPES, TrainConfig

SPLIT = ("test_area", "test_rooms", "val_rooms", "train_rooms", "split_file")
OVERRIDES = (
    "channels", "k", "blocks", "conv", "block", "graph", "dilation", "epsilon", "dropout",
    "edge_drop", "norm", "fusion",
)  # fmt: skip
NOT_VALIDATED = ("published", "corrections")  # recipes: the paper validates on nothing, corrections are too few
BLOCKS_OF_A_CHECKPOINT = ("num_points", "block_size", "grid", "frame_size", "normalization")
DEFAULTS = {setting.name: setting.default for setting in fields(TrainConfig)}


def add_arguments(parser):
    # Flags that are not given stay None, so that --resume knows which were given.
    yes_or_no = argparse.BooleanOptionalAction

    run = parser.add_argument_group("the run")
    run.add_argument("--data", metavar="FOLDER", help="prepared rooms, or PointNet's indoor3d_sem_seg_hdf5_data")
    run.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="a new folder, or a run to resume")
    run.add_argument(
        "--from",
        metavar="CHECKPOINT",
        dest="start",
        help="begin with these weights instead of random ones: a file (one of the authors' code needs --model), or the "
        "name of shipped weights; network and blocks are then those of the checkpoint unless flags say otherwise",
    )
    run.add_argument(
        "--resume", action=yes_or_no, default=False, help="go on with the run in OUT, with its own settings"
    )
    run.add_argument(
        "--time-limit",
        metavar="MINUTES",
        type=number(float, 0, above=True),
        help="stop after this time and save; --resume goes on",
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it is there")
    run.add_argument(
        "--workers",
        metavar="N",
        type=number(int, 0),
        help="processes that read blocks (default: chosen by the machine)",
    )
    run.add_argument("--seed", metavar="N", type=seed, help="random seed (default: 0)")
    run.add_argument("--deterministic", action=yes_or_no, help="the same result every time on CUDA too, but slower")

    rooms = parser.add_argument_group("which rooms")
    rooms.add_argument(
        "--folds",
        metavar="AREA",
        nargs="*",
        type=number(int, 1),
        help="one run for each of these areas (none given: all), which leaves it out, in OUT/area1, OUT/area2 ...; "
        "once all are trained, the scores of all areas together. The same command goes on after an interruption",
    )
    rooms.add_argument("--test-area", metavar="AREA", type=number(int, 1), help="leave this area out, for testing")
    names = {"metavar": "ROOM", "nargs": "*"}
    rooms.add_argument("--test-rooms", **names, help="leave these rooms out instead; `*` stands for any characters")
    rooms.add_argument("--val-rooms", **names, help="validate on these (none given: no validation)")
    rooms.add_argument("--train-rooms", **names, help="train on these only")
    rooms.add_argument("--split-file", metavar="FILE", type=Path, help="lists of rooms under [train], [val] and [test]")

    recipe = parser.add_argument_group("how to train")
    recipe.add_argument(
        "--recipe",
        choices=RECIPES,
        help="standard: published optimisation, 2 cm grid, frame of 8 m (default); published: also the published "
        "blocks, no thinning, no validation, last weights; modern: augmentation, cosine schedule with warm-up, weight "
        "decay 0.01, label smoothing 0.1, fresh statistics over 96 blocks; fine-tune (default with --from): as modern, "
        f"for a few scans: {_told_fine_tune()}; corrections: scans corrected by s3dis-seg review, once through them, "
        "only the layers after the backbone learn, no validation",
    )
    recipe.add_argument(
        "--epochs", metavar="N", type=number(int, 1), help=_help("passes over the training blocks", "epochs")
    )
    recipe.add_argument(
        "--epoch-blocks",
        metavar="N",
        type=number(int, 0),
        help="blocks of an epoch, after which there is a validation, whatever the number of rooms (default: 0, every "
        "block once)",
    )
    recipe.add_argument("--batch-size", metavar="B", type=number(int, 1), help=_help("blocks a step", "batch_size"))
    recipe.add_argument(
        "--accumulate",
        metavar="PARTS",
        type=number(int, 1),
        help="compute a step in parts, which needs less memory; BatchNorm normalises each part on its own (default: 1)",
    )
    recipe.add_argument(
        "--freeze",
        metavar="STEPS",
        type=number(int, 0),
        help="with --from: for so many steps only the layers after the backbone learn (default: 0, "
        "recipe fine-tune: 20)",
    )
    recipe.add_argument(
        "--lr", metavar="RATE", type=number(float, 0, above=True), help=_help("learning rate at the start", "lr")
    )
    recipe.add_argument("--augment", action=yes_or_no, help="turn, mirror, scale and recolour blocks")
    recipe.add_argument("--amp", choices=AMP, help="precision of matrix products (default: off, that is float32)")
    recipe.add_argument(
        "--val-every", metavar="EPOCHS", type=number(int, 1), help=_help("epochs between validations", "val_every")
    )
    recipe.add_argument("--num-points", metavar="N", type=number(int, 1), help=_help("points a block", "num_points"))
    recipe.add_argument(
        "--block-size", metavar="METRES", type=number(float, 0, above=True), help=_help("width of blocks", "block_size")
    )
    recipe.add_argument(
        "--class-weights",
        choices=CLASS_WEIGHTS,
        help="sqrt: weight classes by 1 / sqrt(share of the points) (default: none)",
    )
    recipe.add_argument(
        "--lovasz",
        metavar="WEIGHT",
        type=number(float, 0),
        help="add the Lovász loss, which aims at the IoU, with this weight (default: 0)",
    )
    recipe.add_argument(
        "--mix",
        metavar="SHARE",
        type=number(float, 0, most=1),
        help="this share of the training blocks is mixed with another block, half of the points from each (default: 0)",
    )
    recipe.add_argument(
        "--statistics-blocks",
        metavar="N",
        type=number(int, 0),
        help="measure BatchNorm's statistics again over N training blocks before each validation (default: 0, "
        "keep the running ones; recipe modern: 96)",
    )
    recipe.add_argument(
        "--keep-statistics",
        action=yes_or_no,
        help="with --from: BatchNorm takes the mean and variance of the checkpoint in training too, and keeps them "
        "(default: those of the blocks, measured again before each validation)",
    )
    recipe.add_argument(
        "--grid",
        metavar="METRES",
        type=number(float, 0),
        help="keep one point a grid cell of this size; 0 keeps all (default: 0.02)",
    )

    network = parser.add_argument_group("the network")
    network.add_argument(
        "--model", choices=MODELS, help=_help("a named network, which the flags below change", "model")
    )
    network.add_argument(
        "--blocks", metavar="N", type=number(int, 1), help="depth: number of graph convolutions, the head included"
    )
    network.add_argument("--channels", metavar="C", type=number(int, 1), help="channels of every graph convolution")
    network.add_argument("--k", metavar="K", type=number(int, 1), help="neighbours of a point, itself included")
    network.add_argument("--block", choices=BLOCKS, help="how convolutions are joined: residual, dense or plain")
    network.add_argument("--conv", choices=CONVOLUTIONS, help="kind of graph convolution")
    network.add_argument(
        "--graph",
        choices=GRAPHS,
        help="dynamic: search neighbours again in the features of each layer; fixed: once, in xyz",
    )
    network.add_argument("--dilation", action=yes_or_no, help="layer i takes every i-th neighbour")
    network.add_argument(
        "--epsilon",
        metavar="0-1",
        type=number(float, 0),
        help="probability of drawing neighbours at random (stochastic dilation)",
    )
    network.add_argument(
        "--dropout", metavar="0-1", type=number(float, 0), help="dropout probability before the last layer"
    )
    network.add_argument(
        "--edge-drop",
        metavar="0-1",
        type=number(float, 0),
        help="probability, in training, that an edge to a neighbour leads back to the point itself",
    )
    network.add_argument("--norm", choices=NORMS, help="what follows every ReLU (default: batch)")
    network.add_argument(
        "--fusion", action=yes_or_no, help="predict from the outputs of all blocks (default), or of the last one only"
    )


def _help(what, setting):
    return f"{what + ' ' if what else ''}(default: {DEFAULTS[setting]})"


def _told_fine_tune():
    settings = RECIPES["fine-tune"]
    return (
        f"{settings['epochs']} epochs of {settings['epoch_blocks']} blocks of {settings['num_points']} points, batch "
        f"{settings['batch_size']}, backbone frozen for {settings['freeze']} steps, fresh statistics over "
        f"{settings['statistics_blocks']} blocks"
    )


def run(arguments):
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    if "folds" in given:
        from s3dis_seg.cli.folds import run_folds

        return run_folds(arguments, given)
    with StopSignals() as signals:
        config = _resumed_config(given) if arguments.resume else config_of(given)
        notes = () if arguments.resume else _about_validation(config, given)
        limit = arguments.time_limit
        outcome = train_and_show(config, arguments.out, arguments.resume, arguments, signals, limit, notes)
    if outcome.reason == "stopped":
        raise KeyboardInterrupt


def train_and_show(config, out, resume, arguments, signals, time_limit, notes=()):
    """Train, with a progress bar and a line an epoch. arguments: device and workers; notes: sentences. -> RunOutcome"""
    from s3dis_seg.training import train

    with _Display(out, quiet=not is_first_process()) as display:
        for sentence in notes:
            display.note(sentence)
        outcome = train(
            config,
            out,
            resume=resume,
            device=arguments.device,
            workers=arguments.workers,
            time_limit=time_limit,
            stopping=signals,
            watcher=display,
        )
        display.end(outcome)
    return outcome


def is_first_process():
    """Whether this is the process of torchrun that prints and writes; true where there is only one."""
    return int(os.environ.get("RANK", 0)) == 0


def config_of(given):
    """The settings of a new run. -> TrainConfig"""
    if "data" not in given:
        raise InputError("name the folder of the rooms by --data (made by s3dis-seg prepare)")
    recipe = given.get("recipe", "fine-tune" if given.get("start") else DEFAULTS["recipe"])
    settings = RECIPES[recipe] | {name: given[name] for name in DEFAULTS if name in given} | {"recipe": recipe}
    overrides = _overrides(given)
    if given.get("start"):
        before, changes = _settings_of(given["start"], given.get("model"), overrides)
        settings, overrides = before | settings, (changes if "model" not in given else {}) | overrides
    elif recipe in ("fine-tune", "corrections"):
        raise InputError(f"--recipe {recipe} begins with a checkpoint; name one by --from, or take another recipe")
    elif settings.get("freeze"):
        raise InputError("--freeze keeps layers of a checkpoint as they are; name one by --from, or leave it away")
    elif settings.get("keep_statistics"):
        raise InputError("--keep-statistics keeps those of a checkpoint; name one by --from, or leave it away")
    if settings.get("keep_statistics"):
        if given.get("statistics_blocks"):
            raise InputError("BatchNorm's statistics are kept or measured; leave --statistics-blocks away")
        settings["statistics_blocks"] = 0
    if settings.get("published_blocks") and settings["grid"]:
        raise InputError("--recipe published takes blocks that are not thinned; leave --grid away")
    if settings.get("published_blocks") and settings.get("block_size", 1.0) != 1.0:
        raise InputError("--recipe published takes blocks of 1 m; leave --block-size away")
    if settings.get("published_blocks") and settings.get("augment"):
        raise InputError("--recipe published draws its blocks once and does not change them; leave --augment away")
    return TrainConfig(**settings | _rooms(given, recipe) | {"overrides": overrides})


def _settings_of(checkpoint, model, overrides):
    """Network and blocks of a checkpoint. -> settings of a TrainConfig, overrides of the named network

    model, overrides: the network that the flags name, which a file in the official layout does not know itself.
    """
    from s3dis_seg.models.config import model_config
    from s3dis_seg.training.start import load_start

    _, card = load_start(checkpoint, model, overrides)
    name = card.model or DEFAULTS["model"]
    found, named = asdict(card.config), asdict(model_config(name))
    overrides = {key: found[key] for key in OVERRIDES if found[key] != named[key]}
    blocks = {key: getattr(card.blocks, key) for key in BLOCKS_OF_A_CHECKPOINT}
    return {"model": name} | blocks, overrides


def _resumed_config(given):
    """The settings of the run in --out, with those that are given; `train` refuses to change what must not change."""
    from s3dis_seg.training import stored_config

    config = stored_config(given["out"])
    settings = {name: getattr(config, name) for name in DEFAULTS}
    if given.get("recipe", config.recipe) != config.recipe:
        settings |= RECIPES[given["recipe"]]
    settings |= {name: given[name] for name in DEFAULTS if name in given}
    if any(name in given for name in SPLIT):
        settings |= _rooms({"data": config.data} | given, settings["recipe"])
    settings["overrides"] = config.overrides | _overrides(given)
    return TrainConfig(**settings)


def _rooms(given, recipe):
    """Which rooms train, validate and test. -> settings of a TrainConfig"""
    from s3dis_seg.data.rooms.open import open_rooms
    from s3dis_seg.data.splits import split_rooms

    choices = {name: given[name] for name in SPLIT if name in given}
    if recipe in NOT_VALIDATED and "split_file" not in choices:
        choices.setdefault("val_rooms", [])
    split = split_rooms(open_rooms(given["data"]), **choices)
    return {
        "train_rooms": tuple(room.name for room in split.train),
        "val_rooms": tuple(room.name for room in split.val),
        "test_rooms": tuple(room.name for room in split.test),
        "test_area": given.get("test_area"),
    }


def _about_validation(config, given):
    """What to say where nobody has chosen the rooms for validation. Yields sentences."""
    if config.recipe in NOT_VALIDATED or any(name in given for name in ("val_rooms", "split_file")):
        return
    if not config.val_rooms:
        yield (
            "there is one room to train on and none to validate: the last weights are the result, and nothing says how "
            "good they are; cut the scan with s3dis-seg prepare --cut 0.2"
        )
    elif all(area_of(name) is None for name in config.train_rooms):
        yield f"for validation: {_listed(config.val_rooms)} (--val-rooms names others)"
    if len(config.train_rooms) == 1 and config.val_rooms and not config.val_rooms[0].endswith("_val"):
        yield (
            f"only {config.train_rooms[0]} is left to train on; to train on every scan, cut each of them with "
            "s3dis-seg prepare --cut 0.2"
        )


def _listed(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more rooms" if len(names) > 3 else "")


def _overrides(given):
    return {name: given[name] for name in OVERRIDES if name in given}


class StopSignals:
    """Ctrl-C, SIGTERM and SIGHUP (the terminal has gone) end the run after the present step; a second one at once."""

    def __init__(self):
        self.asked = False

    def __call__(self):
        return self.asked

    def __enter__(self):
        numbers = [signal.SIGINT, signal.SIGTERM]
        # Under nohup a hangup is ignored and must stay so: the run is meant to outlive its terminal. What a shell
        # starts in the background ignores SIGINT, too, but whoever sends one all the same wants the run to stop.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self.before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, *error):
        for which, handler in self.before.items():
            signal.signal(which, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Straight to the descriptor: print might be interrupted in the middle of its own writing.
        with suppress(OSError):
            os.write(2, b"\nstopping after this step and saving; once more to stop at once\n")


class _Display:
    """A training.Watcher that shows progress over all blocks of the run, and a line an epoch.

    quiet: print nothing, in all processes but the first.
    """

    look_every = 10  # steps

    def __init__(self, out, quiet):
        self.out, self.quiet, self.bar = out, quiet, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.bar:
            self.bar.close()

    def say(self, text):
        if self.quiet:
            return
        try:
            progress.say(text)
        except OSError:
            self.quiet = True  # standard output is closed; the training goes on

    note = say

    def begin(self, plan):
        self.plan, config, batch = plan, plan.config, plan.batch_size
        self.say(
            f"{config.model}: {plan.parameters:,} parameters; {len(config.train_rooms)} rooms train, "
            f"{len(config.val_rooms)} validate, {len(config.test_rooms)} are left out\n"
            f"{_told_epoch(plan)} in {plan.steps_per_epoch:,} steps of {batch}, {config.epochs} epochs, "
            f"on {plan.device}" + (f" with {plan.processes} processes" if plan.processes > 1 else "")
        )
        total = plan.config.epochs * plan.steps_per_epoch * batch
        done = (plan.epoch * plan.steps_per_epoch + plan.step) * batch
        self.bar = progress.bar(total, "blocks", initial=done, quiet=self.quiet)
        self.bar.set_description(f"epoch {min(plan.epoch + 1, plan.config.epochs)}/{plan.config.epochs}", refresh=False)

    def looked(self, epoch, step, loss):
        plan = self.plan
        self.bar.set_description(f"epoch {epoch + 1}/{plan.config.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self.bar.update((epoch * plan.steps_per_epoch + step) * plan.batch_size - self.bar.n)

    def validating(self, done, batches):
        self.bar.set_postfix_str(f"validating {done / batches:.0%}")

    def epoch_ended(self, row, is_best):
        line = f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, {row['blocks_per_second']:.1f} blocks/s"
        if not math.isnan(row.get("val_miou", math.nan)):
            line += (
                f", validation: loss {row['val_loss']:.3f}, mIoU {row['val_miou']:.1%}, accuracy {row['val_oa']:.1%}"
            )
            line += ", the best so far" if is_best else ""
        self.say(line)

    def end(self, outcome):
        self.bar.close()
        out = shlex.quote(str(self.out))
        if outcome.reason == "finished":
            weights = "last.pt" if outcome.best is None else "best.pt"
            best = "" if outcome.best is None else f", validation mIoU {outcome.best:.1%}"
            self.say(f"finished: {self.out / weights}{best}; curves in {self.out / 'metrics.csv'}")
            self.say(f"next: s3dis-seg segment SCAN --checkpoint {out}/{weights} --out segmented.ply")
        else:
            done = _done(outcome, self.plan.steps_per_epoch)
            self.say(f"{outcome.reason} {done}, all of it saved; go on with: s3dis-seg train --resume --out {out}")


def _told_epoch(plan):
    if not plan.config.epoch_blocks:
        return f"{plan.blocks:,} blocks an epoch"
    return f"{plan.blocks:,} blocks, of which each epoch takes the next {plan.steps_per_epoch * plan.batch_size:,},"


def _done(outcome, steps_per_epoch):
    """How far a stopped run has come. -> such as "after 3 epochs and 20 of 100 steps\""""
    if outcome.step == steps_per_epoch:
        return f"in the validation after epoch {outcome.epoch + 1}"
    return f"after {outcome.epoch} epochs and {outcome.step} of {steps_per_epoch} steps"
