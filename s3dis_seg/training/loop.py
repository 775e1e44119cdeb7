"""The loop, one step of it, validation, the optimizer and its schedule.

Letters: B blocks, N points a block, C classes.
"""

import math
import time
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
from s3dis_seg.models.convolutions import FAST
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.training.inputs import EpochIndexed, Steps, batches, make_loader, open_data
from s3dis_seg.training.losses import class_weights, cross_entropy, weight_of
from s3dis_seg.training.processes import determinism, team_of
from s3dis_seg.training.run import Progress, Record, TrainConfig, diverged, refuse_used, stored_run
from s3dis_seg.training.statistics import renew_statistics

HALVING = 20  # epochs between two halvings of the learning rate
WARM_UP = 0.05  # share of the cosine schedule in which the learning rate rises
LOOK_EVERY = 10  # steps, or batches of a validation
AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    config,
    out,
    resume=False,
    device="auto",
    workers=None,
    time_limit=None,
    stopping=lambda: False,
    watcher=None,
    operations=FAST,
):
    """Train a network as `config` says and keep everything about it in the folder `out`. -> Outcome

    resume: go on from out/last.pt; `config` must be the one stored there (see `stored_config`), except for `data`
    and, while the schedule does not depend on them, more `epochs`. On a CPU with as many threads the result is bit
    for bit that of a run which never stopped; on CUDA with `deterministic`.
    device: "auto", "cpu" or "cuda". workers: processes that read blocks, None for a sensible number.
    time_limit: minutes. stopping: asked after each step; once it answers True, or the time is over, the run is saved
    where it stands and ends. operations: see DeepGCN; they do not change what is computed.
    InputError for settings that cannot work, and when the loss is no longer a number.
    """
    started, out, watcher = time.monotonic(), Path(out), watcher or Watcher()

    def must_stop():
        """-> whether we were asked to, whether time is over"""
        return bool(stopping()), time_limit is not None and time.monotonic() - started > 60 * time_limit

    with team_of(device) as team, determinism(config.deterministic), explain_out_of_memory(config):
        stored = stored_run(out, config, watcher) if resume else refuse_used(out)
        team.wait()  # nobody writes before everybody has looked
        data = open_data(config)
        batch_size, num_steps = batches(config, len(data.training), team)

        torch.manual_seed(config.seed)
        network = model_config(config.model, num_classes=len(data.class_names), **config.overrides)
        model = DeepGCN(network, operations, team.group)
        _require_points(model, config)
        if stored:
            model.load_state_dict(stored["weights"])
        model.to(team.device)
        optimizer = make_optimizer(model, config)
        scaler = torch.amp.GradScaler(team.device.type, enabled=config.amp == "fp16")
        progress = Progress()
        if stored:
            optimizer.load_state_dict(stored["optimizer"])
            scaler.load_state_dict(stored["scaler"])
            progress = Progress(**stored["progress"])

        weights = class_weights(config.class_weights, data.training.class_counts)
        weights = None if weights is None else weights.to(team.device)
        parallel = _parallel(model, team)
        steps = Steps(len(data.training), batch_size, num_steps, config.seed, progress, team)
        loader = make_loader(EpochIndexed(data.training), team, workers, keep_workers=True, batch_sampler=steps)
        record = Record(out, config, data, num_steps, model, optimizer, scaler, progress, team, watcher)
        watcher.begin(_plan(config, data, model, batch_size, num_steps, progress, team))
        if not stored:
            record.save()  # a full or write-protected disk shows now, not after an epoch
        look_every = watcher.look_every if team.device.type == "cuda" else 1

        while progress.epoch < config.epochs:
            model.train()
            inputs = iter(loader)
            sums, clock = torch.zeros(5, dtype=torch.float64, device=team.device), time.monotonic()
            while progress.step < num_steps:
                lr = learning_rate(config, record.steps, num_steps)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                _seed_step(model, config.seed, record.steps, team)
                features, labels = next(inputs)
                sums[:3] += gradients(parallel, features, labels, config, scaler, team, weights)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                progress.step += 1
                if progress.step % look_every and progress.step < num_steps:
                    continue

                sums[3:] = torch.tensor(must_stop())
                *seen, asked, late = team.sum(sums).tolist()
                loss = seen[0] / max(seen[1], 1)
                if not math.isfinite(loss):
                    raise InputError(diverged(config, progress, out))
                progress.sums = [a + b for a, b in zip(progress.sums, seen)]
                progress.seconds += time.monotonic() - clock
                sums.zero_()
                clock = time.monotonic()
                record.step(loss, lr)
                watcher.looked(progress.epoch, progress.step, loss)
                if asked or late:
                    record.save()
                    return Outcome("stopped" if asked else "time limit", progress.epoch, progress.step, progress.best)
                record.save_now_and_then()

            results, is_last = None, progress.epoch + 1 == config.epochs
            validates = data.validation and (is_last or (progress.epoch + 1) % config.val_every == 0)
            if config.statistics_blocks and (validates or is_last):
                _seed_step(model, config.seed, record.steps, team)  # the same whether or not the run was resumed here
                renew_statistics(model, _statistics_batches(data, config, team, progress.epoch, batch_size))
            if validates:
                record.save()
                results = validate(model, data, config, team, workers, lambda: any(must_stop()), watcher)
                if results is None:
                    asked, _ = must_stop()
                    return Outcome("stopped" if asked else "time limit", progress.epoch, progress.step, progress.best)
            record.epoch(results, num_steps * batch_size)
        return Outcome("finished", progress.epoch, progress.step, progress.best)


def gradients(model, features, labels, config, scaler, team, weights=None):
    """Add the gradients of a step to the parameters. (B, N, 9), (B, N) int64: the blocks of this process.

    The loss is the mean of the cross entropy over the labelled points of the blocks of all processes, each with the
    weight of its class, whatever the number of parts and processes it is computed in. -> (3,) float64 on the device,
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
            # DistributedDataParallel takes the mean over the processes; wanted is the sum.
            scaler.scale(loss * team.size / whole).backward()
        sums[0] += loss.detach()
        sums[2] += (logits.argmax(dim=-1) == wanted).sum()
    return sums


def _statistics_batches(data, config, team, epoch, batch_size):
    """Blocks of training over which statistics are measured, other ones each time, dealt out to the team."""
    order = np.random.default_rng((config.seed, epoch, len(data.training))).permutation(len(data.training))
    data.training.set_epoch(epoch)
    share = max(batch_size // team.size // config.accumulate, 1)
    batches = max(math.ceil(min(config.statistics_blocks, len(order)) / (share * team.size)), 1)
    for number in range(batches):
        batch = np.resize(order, batches * share * team.size)[number * share * team.size :][: share * team.size]
        chosen = batch[team.rank :: team.size].tolist()
        yield torch.stack([data.training[index][0] for index in chosen]).to(team.device)


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
    return torch.autocast(team.device.type, dtype=AMP[config.amp], enabled=config.amp != "off")


def _seed_step(model, seed, number, team):
    """Stochastic dilation draws the same ranks in all processes, dropout other masks in each."""
    ranks, dropout = np.random.SeedSequence((seed, number)).generate_state(2).tolist()
    model.generator.manual_seed(ranks)
    torch.manual_seed(dropout + team.rank)


@contextmanager
def explain_out_of_memory(config):
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


@dataclass(frozen=True)
class Plan:
    """What is about to run, for whoever shows it. epoch and step: what is done already, as in Progress."""

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


class Watcher:
    """What `train` tells while it runs. Every method may be left as it is.

    look_every: steps between two looks at the loss on a GPU, each of which waits for it; a CPU looks at each step.
    """

    look_every = LOOK_EVERY

    def begin(self, plan):
        """Once, before the first step."""

    def looked(self, epoch, step, loss):
        """Every few steps: epochs and steps done, as in Progress, and the mean loss since the last call."""

    def validating(self, done, batches):
        """After each batch of a validation."""

    def epoch_ended(self, row, is_best):
        """row: a line of metrics.csv as a dict. is_best: these are the best weights so far."""

    def note(self, sentence):
        """Something worth knowing that stops nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. reason: "finished", "stopped" or "time limit"; epoch, step: what is done, as in Progress."""

    reason: str
    epoch: int
    step: int
    best: float | None


def _plan(config, data, model, batch_size, num_steps, progress, team):
    return Plan(
        config=config,
        device=torch.cuda.get_device_name(team.device) if team.device.type == "cuda" else "CPU",
        processes=team.size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        blocks=len(data.training),
        val_blocks=len(data.validation) if data.validation else 0,
        batch_size=batch_size,
        steps_per_epoch=num_steps,
        epoch=progress.epoch,
        step=progress.step,
    )
