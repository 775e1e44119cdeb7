"""Does the engine train a network as the definition does?

The engine is the fast implementation of the graph operations; the definition is the slow, obvious one. Deep dynamic
graphs amplify rounding errors. If rounding exchanges two neighbours of a point, its dilated neighbourhood changes, and
with it the features in which the next block searches. The loss of the first step of a ResGCN-28 moves by some percent.

Therefore two questions are asked. First: at the same weights, in float64, are loss and gradient the same in every step?
Second: do independent trainings in float32 differ by no more than rounding explains, and by less than another seed?
"""

import tempfile
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from s3dis_seg.files import InputError
from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import DEFINITION, FAST
from s3dis_seg.models.deepgcn import DeepGCN
from s3dis_seg.training import Watcher, open_data, train
from s3dis_seg.training.loop import make_optimizer
from s3dis_seg.training.losses import cross_entropy

FIRST = 5  # steps at the same weights; also those whose losses are compared one by one


def _rounded_otherwise(x, *arguments, **options):
    """The definition's neighbours after scaling all features by 1.000001, which changes nothing but rounding."""
    return DEFINITION.dilated_knn(x * (1 + 1e-6), *arguments, **options)


# Name -> operations, and what is added to the seed.
RUNS = {
    "engine": (FAST, 0),
    "definition": (DEFINITION, 0),
    "rounded otherwise": (DEFINITION._replace(dilated_knn=_rounded_otherwise), 0),
    "another seed": (DEFINITION, 1),
}


def prove(config, steps, device="auto", told=lambda run, step: None):
    """Answer both questions for the first steps of a TrainConfig. -> dict, ready for JSON

    at_the_same_weights: see there. losses: of every step of each of RUNS. Then, name of a run -> how far it is from
    "definition". first_steps_differ: the largest relative difference among the first 5 losses; steps_differ: the mean
    difference of the losses of the same step; means_differ: the difference of the means over all steps, which two
    seeds may have nearly the same of by chance. told(run, step) is called after each step.
    """
    if steps < FIRST:
        raise InputError(f"a proof takes at least {FIRST} steps; found --steps {steps}")
    report = {"losses": {}}
    for name, (operations, seed) in RUNS.items():
        record = _Losses(steps, lambda step, name=name: told(name, step))
        # The run ends with its steps, whatever the number of epochs they make.
        settings = replace(config, seed=config.seed + seed, val_rooms=(), epochs=steps)
        with tempfile.TemporaryDirectory() as folder:
            train(settings, folder, device=device, stopping=record.is_full, watcher=record, operations=operations)
        report["losses"][name] = record.losses
    report["at_the_same_weights"] = at_the_same_weights(config, lambda step: told("same weights", step))
    losses = {name: np.array(run) for name, run in report["losses"].items()}
    definition = losses.pop("definition")
    report["first_steps_differ"] = {k: float(np.abs(run / definition - 1)[:FIRST].max()) for k, run in losses.items()}
    report["steps_differ"] = {k: float(np.abs(run - definition).mean()) for k, run in losses.items()}
    report["means_differ"] = {k: float(abs(run.mean() - definition.mean())) for k, run in losses.items()}
    return report


def at_the_same_weights(config, told=lambda step: None):
    """Five steps of training with the definition in float64; at each the engine computes the same once more.

    -> dict: relative differences of the loss, and of the gradient (norm of the difference over norm), of every step.
    told(step) is called after each. On the CPU, with dropout and draws as in training.
    """
    data = open_data(config).training
    network = model_config(config.model, num_classes=len(data.classes), **config.overrides)
    engine = DeepGCN(network, FAST).double().train()
    torch.manual_seed(config.seed)
    definition = DeepGCN(network, DEFINITION).double().train()
    optimizer = make_optimizer(definition, config)
    differences = {"loss": [], "gradient": []}
    drawn = RandomSampler(data, replacement=True, num_samples=FIRST * config.batch_size)
    for step, (blocks, labels) in enumerate(DataLoader(data, config.batch_size, sampler=drawn), start=1):
        engine.load_state_dict(definition.state_dict())
        ours, our_gradient = _loss_and_gradient(engine, blocks, labels, step)
        loss, gradient = _loss_and_gradient(definition, blocks, labels, step)
        optimizer.step()
        differences["loss"].append(abs(ours / loss - 1))
        differences["gradient"].append(((our_gradient - gradient).norm() / gradient.norm()).item())
        told(step)
    return differences


def _loss_and_gradient(model, blocks, labels, seed):
    """The loss of a batch and its gradient, which also stays in the model. (B, N, 9), (B, N) -> float, (parameters,)

    seed: of the stochastic ranks and of dropout.
    """
    model.seed_ranks(seed)
    torch.manual_seed(seed)
    model.zero_grad()
    loss = cross_entropy(model(blocks.double()), labels) / labels.numel()
    loss.backward()
    return loss.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


class _Losses(Watcher):
    """The loss of every step."""

    look_every = 1

    def __init__(self, steps, told):
        self.steps, self.told, self.losses = steps, told, []

    def looked(self, epoch, step, loss):
        self.losses.append(loss)
        self.told(len(self.losses))

    def is_full(self):
        # Asked before the step it ends with is told.
        return len(self.losses) >= self.steps - 1
