"""The loop, one step of it, validation, the optimizer and its schedule.

Letters: B blocks, N points a block, C classes.
"""

import math
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Subset

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.files import InputError
from s3dis_seg.metrics import confusion_matrix, scores
from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import FAST, Operations
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.training.config import TrainConfig
from s3dis_seg.training.inputs import Data, EpochIndexed, Steps, batches, make_loader, open_data
from s3dis_seg.training.losses import class_weights, cross_entropy, lovasz_softmax, weight_of
from s3dis_seg.training.processes import Team, determinism, team_of
from s3dis_seg.training.run import (
    LOOK_EVERY,
    Progress,
    Record,
    RunOutcome,
    RunPlan,
    RunState,
    Watcher,
    diverged,
    refuse_used,
    run_folder,
    stored_run,
)
from s3dis_seg.training.start import begin_with, told_of_start
from s3dis_seg.training.statistics import norms_of, quieten_silent_channels, renew_statistics
from s3dis_seg.training.stored import restore_optimizer, restore_scaler

HALVING = 20  # epochs between two halvings of the learning rate
WARM_UP = 0.05  # share of the cosine schedule in which the learning rate rises
PRECISION = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # for the names of config.AMP


def train(
    config: TrainConfig,
    out: str | Path,
    resume: bool = False,
    device: str = "auto",
    workers: int | None = None,
    time_limit: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
    watcher: Watcher | None = None,
    operations: Operations = FAST,
) -> RunOutcome:
    """Train a network as `config` says and keep everything about it in the folder `out`.

    resume: go on from out/last.pt; `config` must be the one stored there (see `stored_config`), except for `data`
    and, while the schedule does not depend on them, more `epochs`. On a CPU with as many threads the result is bit
    for bit that of a run which never stopped; on CUDA with `deterministic`.
    device: "auto", "cpu" or "cuda". workers: processes that read blocks, None for a sensible number.
    time_limit: minutes. stopping: asked after each step; once it answers True, or the time is over, the run is saved
    where it stands and ends. operations: see DeepGCN; they do not change what is computed.
    InputError for settings that cannot work, where another process trains into `out`, and when the loss is no longer
    finite.
    """
    out, watcher = Path(out), watcher or Watcher()
    must_stop = _stop_rule(stopping, time_limit)
    with team_of(device) as team, determinism(config.deterministic), explain_out_of_memory(config):
        stored = stored_run(out, config, watcher) if resume else refuse_used(out)
        team.wait()  # no process writes before all have checked the folder
        data = open_data(config)
        batch_size, num_steps = batches(config, len(data.training), team)
        if config.freeze and team.size > 1:
            raise InputError("layers are frozen with one process only; leave torchrun away, or say --freeze 0")
        _require_steps(config, stored, num_steps, out)
        state = first_state(config, data, team, operations, stored, out / "last.pt")
        plan = _plan(config, data, state, batch_size, num_steps, team)
        writes = team.rank == 0
        with run_folder(out, resume) if writes else nullcontext():
            record = Record(out, plan, data, state, watcher, writes)
            watcher.begin(plan)
            if state.origin and not stored:
                watcher.note(told_of_start(state.origin, data.class_names))
            if not stored:
                record.save()  # a full or write-protected disk is found now, not after an epoch
            reason = _epochs(_Run(plan, data, state, team, record, watcher, workers, must_stop))
    return RunOutcome(reason, state.progress.epoch, state.progress.step, state.progress.best)


def _require_steps(config, stored, num_steps, out):
    """InputError where a stored run has done more steps of its epoch than there are."""
    if stored and stored["progress"]["step"] > num_steps:
        raise InputError(
            f"{out} has done {stored['progress']['step']:,} steps of its epoch, but the rooms of {config.data} make "
            f"only {num_steps:,}; name those it began with by --data"
        )


def _stop_rule(stopping, time_limit):
    """-> function that says whether we were asked to stop, and whether the time is over"""
    started = time.monotonic()
    return lambda: (bool(stopping()), time_limit is not None and time.monotonic() - started > 60 * time_limit)


def _reason(asked, late):
    """Why a run ends early; None where it goes on."""
    return "stopped" if asked else "time limit" if late else None


def first_state(config, data, team, operations=FAST, stored=None, path=None):
    """Network, optimizer, scaler and progress, fresh or as `stored` in the file `path`. -> RunState"""
    torch.manual_seed(config.seed)
    network = model_config(config.model, num_classes=len(data.class_names), **config.overrides)
    model = DeepGCN(network, operations, team.group)
    _require_points(model, config)
    if stored:
        model.load_state_dict(stored["weights"])
        origin = stored.get("origin", {})
    else:
        named = config.model, config.overrides
        origin = begin_with(config.start, model, data.class_names, *named) if config.start else {}
    model.to(team.device)
    scaler = torch.amp.GradScaler(team.device.type, enabled=config.amp == "fp16")
    state = RunState(model, make_optimizer(model, config), scaler, Progress(), origin)
    if stored:
        restore_optimizer(state.optimizer, stored.get("optimizer"), path, partly=config.freeze > 0)
        restore_scaler(state.scaler, stored.get("scaler"), path)
        state.progress = Progress(**stored["progress"])
    return state


@dataclass(frozen=True)
class _Run:
    """What the loop works with."""

    plan: RunPlan
    data: Data
    state: RunState
    team: Team
    record: Record
    watcher: Watcher
    workers: int | None
    must_stop: Callable


def _epochs(run):
    """Train epoch by epoch until the last one is done. -> the reason of a RunOutcome"""
    plan, config, data, state = run.plan, run.plan.config, run.data, run.state
    weights = class_weights(config.class_weights, data.training.class_counts)
    weights = None if weights is None else weights.to(run.team.device)
    parallel = _parallel(state.model, run.team)
    in_turn = config.epoch_blocks > 0
    steps = Steps(plan.blocks, plan.batch_size, plan.steps_per_epoch, config.seed, state.progress, run.team, in_turn)
    loader = make_loader(EpochIndexed(data.training), run.team, run.workers, keep_workers=True, batch_sampler=steps)
    while state.progress.epoch < config.epochs:
        reason = _steps_of_epoch(run, parallel, loader, weights)
        if reason:
            run.record.save()
            return reason
        number = state.progress.epoch + 1
        validates = data.validation and (number == config.epochs or number % config.val_every == 0)
        if config.statistics_blocks and (validates or number == config.epochs):
            # Seeded, so that a run resumed here draws the same numbers.
            _seed_step(state.model, config.seed, run.record.steps, run.team)
            blocks = _statistics_batches(data, config, run.team, state.progress.epoch, plan.batch_size)
            frozen = (state.model.head, state.model.backbone) if run.record.steps <= config.freeze else ()
            renew_statistics(state.model, blocks, frozen)
            quieten_silent_channels(state.model, frozen)
        results = None
        if validates:
            run.record.save()
            stopping = lambda: any(run.must_stop())  # noqa: E731
            results = validate(state.model, data, config, run.team, run.workers, stopping, run.watcher)
            if results is None:
                return _reason(*run.must_stop()) or "stopped"
        run.record.epoch(results)
    return "finished"


def _steps_of_epoch(run, parallel, loader, weights):
    """The remaining steps of an epoch. -> None, or why the run is to end"""
    config, state, team = run.plan.config, run.state, run.team
    progress, num_steps = state.progress, run.plan.steps_per_epoch
    look_every = run.watcher.look_every if team.device.type == "cuda" else 1
    inputs = iter(loader)
    sums, clock = torch.zeros(5, dtype=torch.float64, device=team.device), time.monotonic()
    while progress.step < num_steps:
        lr = learning_rate(config, run.record.steps, num_steps)
        sums[:3] += _step(state, parallel, next(inputs), lr, run.record.steps, config, team, weights)
        progress.step += 1
        if progress.step % look_every and progress.step < num_steps:
            continue

        sums[3:] = torch.tensor(run.must_stop())
        *seen, asked, late = team.sum(sums).tolist()
        loss = seen[0] / max(seen[1], 1)
        if not math.isfinite(loss):
            raise InputError(diverged(config, progress, run.record.out))
        progress.sums = [a + b for a, b in zip(progress.sums, seen)]
        progress.seconds += time.monotonic() - clock
        sums.zero_()
        clock = time.monotonic()
        run.record.step(loss, lr)
        run.watcher.looked(progress.epoch, progress.step, loss)
        if asked or late:
            return _reason(asked, late)
        run.record.save_now_and_then()
    return None


def _step(state, parallel, batch, lr, number, config, team, weights):
    """One step of the optimizer. number: of the step, counted from 0 over all epochs. -> as `gradients`"""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    set_training(state.model, number < config.freeze, config.keep_statistics)
    _seed_step(state.model, config.seed, number, team)
    sums = gradients(parallel, *batch, config, state.scaler, team, weights)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    return sums


def set_training(model, frozen=False, keep_statistics=False):
    """Training mode. frozen: head and backbone get no gradients and keep their BatchNorm statistics.

    keep_statistics: every BatchNorm normalises with the running statistics it has, which stay as they are.
    """
    model.train()
    for part in (model.head, model.backbone):
        part.train(not frozen)
        part.requires_grad_(not frozen)
    for norm in norms_of(model) if keep_statistics else ():
        norm.eval()


def gradients(model, features, labels, config, scaler, team, weights=None):
    """Add the gradients of a step to the parameters. (B, N, 9), (B, N) int64: the blocks of this process.

    The loss is the mean of the cross entropy over the labelled points of all processes, weighted by class, which does
    not depend on the number of parts and processes; plus the mean of the Lovász losses of these parts, which does.
    -> (3,) float64 on the device,
    of this process alone: sum of the losses, points, and points predicted rightly.
    """
    features = features.to(team.device, non_blocking=True)
    labels = labels.to(team.device, non_blocking=True)
    points = (labels != UNLABELLED).sum()
    whole = team.sum(weight_of(labels, weights).double()).clamp(min=1e-9)
    sums = torch.stack([points * 0, points, points * 0]).double()
    parts = list(zip(features.chunk(config.accumulate), labels.chunk(config.accumulate)))
    for number, (blocks, wanted) in enumerate(parts, start=1):
        # Processes exchange gradients once, in the backward pass of the last part.
        waiting = model.no_sync() if team.size > 1 and number < len(parts) else nullcontext()
        with waiting:
            with _autocast(config, team):
                logits = model(blocks)
            loss = cross_entropy(logits, wanted, config.label_smoothing, weights)
            # DistributedDataParallel takes the mean over the processes; of the cross entropy, the sum is wanted.
            total = loss * team.size / whole
            if config.lovasz:
                total = total + config.lovasz * lovasz_softmax(logits, wanted) / len(parts)
            scaler.scale(total).backward()
        sums[0] += loss.detach()
        sums[2] += (logits.argmax(dim=-1) == wanted).sum()
    return sums


def _statistics_batches(data, config, team, epoch, batch_size):
    """Blocks over which BatchNorm's statistics are measured: other ones each epoch, dealt out to the team.

    They are training blocks without augmentation, since no scan looks like an augmented block. With it, the same
    weights had a validation loss of 15.8 instead of 0.63.
    """
    order = np.random.default_rng((config.seed, epoch, len(data.unchanged))).permutation(len(data.unchanged))
    data.unchanged.set_epoch(epoch)
    share = max(batch_size // team.size // config.accumulate, 1)
    batches = max(math.ceil(min(config.statistics_blocks, len(order)) / (share * team.size)), 1)
    for batch in np.resize(order, (batches, share * team.size)):  # begins again where there are too few
        chosen = batch[team.rank :: team.size].tolist()
        yield torch.stack([data.unchanged[index][0] for index in chosen]).to(team.device)


@torch.no_grad()
def validate(model, data, config, team, workers=None, stopping=lambda: False, watcher=None):
    """Scores of the points of the validation blocks. -> (mean loss, Scores), or None where it was stopped."""
    model.eval()
    share = Subset(data.validation, range(team.rank, len(data.validation), team.size))
    loader = make_loader(share, team, workers, batch_size=max(config.batch_size // (team.size * config.accumulate), 1))
    confusion = np.zeros((len(data.class_names), len(data.class_names)), np.int64)
    loss = torch.zeros((), dtype=torch.float64, device=team.device)
    for number, (features, labels) in enumerate(loader, start=1):
        with _autocast(config, team):
            logits = model(features.to(team.device, non_blocking=True))
        loss += cross_entropy(logits, labels.to(team.device, non_blocking=True))
        logits[..., data.untrained] = -math.inf
        confusion += confusion_matrix(labels.numpy(), logits.argmax(dim=-1).cpu().numpy(), len(confusion))
        if watcher and number % LOOK_EVERY == 0:
            watcher.validating(number, len(loader))
        if team.size == 1 and stopping():
            return None
    confusion = team.sum(torch.from_numpy(confusion).to(team.device)).cpu().numpy()
    return float(team.sum(loss)) / max(int(confusion.sum()), 1), scores(confusion, data.class_names)


def make_optimizer(model, config):
    """Adam; with weight decay as AdamW has it (decoupled), on matrices only. -> optimizer"""
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, fused=next(model.parameters()).is_cuda)


def learning_rate(config, number, num_steps):
    """The learning rate of step `number`, counted from 0 over all epochs; num_steps of them make an epoch."""
    if config.schedule == "halving":
        return config.lr * 0.5 ** (number // num_steps // HALVING)
    total = config.epochs * num_steps
    warm = max(int(total * WARM_UP), 1)
    if number < warm:
        return config.lr * (number + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (number - warm) / max(total - warm, 1)))


def _parallel(model, team):
    if team.size == 1:
        return model
    devices = [team.device] if team.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, process_group=team.group)


def _autocast(config, team):
    return torch.autocast(team.device.type, dtype=PRECISION[config.amp], enabled=config.amp != "off")


def _seed_step(model, seed, number, team):
    """Seed a step: all processes draw the same ranks for stochastic dilation, but each its own dropout masks."""
    ranks, dropout = np.random.SeedSequence((seed, number)).generate_state(2).tolist()
    model.seed_ranks(ranks)
    torch.manual_seed(dropout + team.rank)


@contextmanager
def explain_out_of_memory(config):
    """Within it, a GPU without enough memory is an InputError that names the flags which need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU has too little memory for a part of a step; say --accumulate {2 * config.accumulate} to compute "
            "it in more parts, or lower --batch-size or --num-points"
        ) from error


def _require_points(model, config):
    needed = model.train().points_needed
    if config.num_points < needed:
        raise InputError(
            f"{config.model} with k={model.config.k} and dilations up to {max(model.config.dilations)} needs blocks of "
            f"at least {needed} points, but --num-points is {config.num_points}; "
            "raise it, or lower --k or --blocks, or say --epsilon 0 or --no-dilation"
        )


def _plan(config, data, state, batch_size, num_steps, team):
    return RunPlan(
        config=config,
        device=torch.cuda.get_device_name(team.device) if team.device.type == "cuda" else "CPU",
        processes=team.size,
        parameters=sum(parameter.numel() for parameter in state.model.parameters()),
        blocks=len(data.training),
        val_blocks=len(data.validation) if data.validation else 0,
        batch_size=batch_size,
        steps_per_epoch=num_steps,
        epoch=state.progress.epoch,
        step=state.progress.step,
    )
