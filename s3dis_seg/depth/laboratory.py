"""One network of the grid: measured as it starts, trained, measured again, validated.

Letters: B blocks, N points a block, C classes.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.splits import split_rooms
from s3dis_seg.depth.measures import NEIGHBORS, measures_of, places_of
from s3dis_seg.files import InputError
from s3dis_seg.metrics import confusion_matrix, scores
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.training import TrainConfig, open_data
from s3dis_seg.training.losses import cross_entropy
from s3dis_seg.training.statistics import quieten_silent_channels, renew_statistics

GRID = 0.05  # metres; a block has few points, which should fill it evenly
MEASURED_BLOCKS = 4  # of the validation rooms, on which all layers are measured
STATISTICS_BATCHES = 8  # over which BatchNorm's statistics are measured before the validation
RECENT = 0.1  # share of the steps, at the end, whose mean loss is the training loss of a run


@dataclass(frozen=True)
class Budget:
    """What all networks of a comparison share. lr: of Adam, constant. batch_size: blocks a step."""

    steps: int
    batch_size: int
    num_points: int
    lr: float


@dataclass(frozen=True)
class Material:
    """The blocks of a comparison: a dataset to train on, and the validation blocks (V, N, 9), (V, N)."""

    training: Dataset
    features: torch.Tensor
    labels: torch.Tensor
    class_names: tuple

    @property
    def measured(self):
        """The fixed blocks on which layers are measured, spread evenly over the validation. -> (B, N, 9), (B, N)"""
        count = min(MEASURED_BLOCKS, len(self.features))
        chosen = torch.linspace(0, len(self.features) - 1, count).round().long()
        return self.features[chosen], self.labels[chosen]

    @property
    def commonest_share(self):
        """The accuracy of naming the commonest class of the validation everywhere."""
        counts = torch.bincount(self.labels[self.labels != UNLABELLED])
        return float(counts.max() / counts.sum())


def open_material(folder, budget, val_rooms=None):
    """The blocks of a folder of prepared rooms, split as `split_rooms` does. -> Material

    InputError where a room is missing, or no room is left on one side.
    """
    rooms = open_rooms(folder)
    if not rooms[0].has_all_points:
        raise InputError(f"{folder} holds ready-made blocks; name a folder of rooms made by s3dis-seg prepare")
    if budget.num_points <= NEIGHBORS:
        raise InputError(f"blocks of {budget.num_points} points are too small to measure; say more than {NEIGHBORS}")
    split = split_rooms(rooms, val_rooms=val_rooms)
    if not split.val:
        raise InputError(f"{folder} has no room to validate on; it needs two rooms at least")
    config = TrainConfig(
        data=str(folder),
        train_rooms=tuple(room.name for room in split.train),
        val_rooms=tuple(room.name for room in split.val),
        num_points=budget.num_points,
        grid=GRID,
    )
    data = open_data(config)
    if len(data.training) < budget.batch_size:
        raise InputError(
            f"the training rooms of {folder} make {len(data.training)} blocks, fewer than a step takes; "
            "add rooms, or lower --batch-size"
        )
    features, labels = zip(*(data.validation[number] for number in range(len(data.validation))))
    return Material(data.training, torch.stack(features), torch.stack(labels), data.class_names)


def run(system, material, budget, device="cpu", stepped: Callable[[], None] = lambda: None):
    """Measure, train and validate one network. -> dict of numbers for the file of the run

    stepped: called after every step. A loss that is no longer finite ends the training; the number of that step is
    `diverged_at`, and there are no measures of the trained network.
    """
    started = time.monotonic()
    model = fresh(system, device)
    result = {
        "name": system.name,
        "seed": system.seed,
        "network": asdict(system.network),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "commonest_share": material.commonest_share,
        "layers": measured(model, material, "start"),
    }
    losses = train(model, system.seed, material, budget, stepped)
    recent = losses[-max(round(RECENT * budget.steps), 1) :]
    result |= {"diverged_at": None, "train_loss": float(np.mean(recent)), "val_loss": math.nan}
    result |= {"miou": math.nan, "oa": math.nan}
    if math.isfinite(losses[-1]) and all(bool(weight.isfinite().all()) for weight in model.parameters()):
        result["layers"] += measured(model, material, "trained")
        result |= validated(model, system.seed, material, budget)
    else:
        result |= {"diverged_at": len(losses), "train_loss": math.nan}
    return result | {"seconds": time.monotonic() - started}


def require_points(systems, budget):
    """InputError where the blocks of a budget are too small for the neighbourhoods of a network."""
    for system in systems:
        with torch.device("meta"):
            needed = DeepGCN(system.network).train().points_needed
        if budget.num_points < needed:
            raise InputError(
                f"{system.name} needs blocks of at least {needed} points, but --num-points is {budget.num_points}; "
                "raise it, or lower --k or --blocks, or say --dilation off"
            )


def fresh(system, device="cpu"):
    """The network of a system with the weights of its seed. -> DeepGCN in training mode"""
    torch.manual_seed(system.seed)
    model = DeepGCN(system.network)
    model.seed_ranks(system.seed)
    return model.to(device).train()


def batches(seed, material, budget):
    """Training blocks without an end, the same for all networks of a seed. Yields (B, N, 9), (B, N)"""
    count, epoch = len(material.training), 0
    while True:
        material.training.set_epoch(epoch)
        order = np.random.default_rng((seed, epoch)).permutation(count).tolist()
        for start in range(0, count - budget.batch_size + 1, budget.batch_size):
            chosen = order[start : start + budget.batch_size]
            features, labels = zip(*(material.training[number] for number in chosen))
            yield torch.stack(features), torch.stack(labels)
        epoch += 1


def train(model, seed, material, budget, stepped=lambda: None):
    """Train with Adam until the steps of the budget are done or the loss is no longer finite. -> list of the losses"""
    optimizer = torch.optim.Adam(model.parameters(), lr=budget.lr)
    losses = []
    for _, (features, labels) in zip(range(budget.steps), batches(seed, material, budget)):
        loss = mean_loss(model, features, labels)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        stepped()
    return losses


def mean_loss(model, features, labels, watch=None):
    """The cross entropy, mean over the labelled points. (B, N, 9), (B, N) -> scalar"""
    weight = model.fusion.linear.weight
    labels = labels.to(weight.device)
    logits = model(features.to(weight), watch=watch)
    return cross_entropy(logits, labels) / (labels != UNLABELLED).sum().clamp(min=1)


def measured(model, material, state):
    """The measures of every layer on the fixed blocks, mean over the blocks. -> list of dicts, one a layer

    In float64 and as in a step of training (BatchNorm takes the statistics of these blocks), but with regular
    neighbourhoods and no dropped edges. The model is left as it was. state: "start" or "trained", kept in the dicts.
    gradient: |dL/dX| of the features that leave the layer; weight_gradient: |dL/dW| of its product.
    """
    features, labels = material.measured
    probe = copy.deepcopy(model).double().train()
    probe.config = replace(probe.config, epsilon=0.0, edge_drop=0.0)
    seen = []
    mean_loss(probe, features, labels, watch=lambda x: (x.retain_grad(), seen.append(x))).backward()
    places = [places_of(cloud[:, :3]) for cloud in features]
    return [
        {
            "state": state,
            "layer": number,
            "width": x.shape[2],
            "gradient": x.grad.norm().item(),
            "weight_gradient": layer.linear.weight.grad.norm().item(),
            **_mean_over_clouds(x.detach().cpu(), places),
        }
        for number, (x, layer) in enumerate(zip(seen, [probe.head, *probe.backbone]), start=1)
    ]


def _mean_over_clouds(x, places):
    """Each measure, mean over the clouds in which it has a meaning. (B, N, C), list of B Places -> dict"""
    found = [measures_of(cloud, place) for cloud, place in zip(x, places)]
    means = {}
    for name in found[0]:
        values = [measures[name] for measures in found if not math.isnan(measures[name])]
        means[name] = float(np.mean(values)) if values else math.nan
    return means


@torch.no_grad()
def validated(model, seed, material, budget):
    """Scores on the validation blocks, with fresh statistics of BatchNorm. -> dict: val_loss, miou, oa"""
    device = model.fusion.linear.weight.device
    some = zip(range(STATISTICS_BATCHES), batches(seed, material, budget))
    renew_statistics(model, [features.to(device) for _, (features, _) in some])
    quieten_silent_channels(model)
    model.eval()
    confusion = np.zeros((len(material.class_names), len(material.class_names)), np.int64)
    loss = 0.0
    for features, labels in zip(material.features.split(budget.batch_size), material.labels.split(budget.batch_size)):
        logits = model(features.to(device))
        loss += cross_entropy(logits, labels.to(device)).item()
        confusion += confusion_matrix(labels.numpy(), logits.argmax(dim=-1).cpu().numpy(), len(confusion))
    found = scores(confusion, material.class_names)
    return {"val_loss": loss / max(found.points, 1), "miou": found.miou, "oa": found.oa}


def seconds_of_a_run(system, material, budget, device="cpu"):
    """How long a run will take, from one step of it. -> seconds"""
    model = fresh(system, device)
    features, labels = next(batches(system.seed, material, budget))
    for _ in range(2):  # the first one compiles and allocates
        started = time.monotonic()
        mean_loss(model, features, labels).backward()
    step = time.monotonic() - started
    # A pass without gradients takes about a third of a step, measuring layers about two steps of twice the precision.
    passes = STATISTICS_BATCHES + math.ceil(len(material.features) / budget.batch_size)
    return step * (budget.steps + passes / 3 + 8 * MEASURED_BLOCKS / budget.batch_size)
