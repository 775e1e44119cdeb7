"""Blocks go through the network in batches: made ahead by threads, split where memory is short.

Letters: N points a block, B blocks, C classes.
"""

from contextlib import nullcontext

import numpy as np
import torch

from s3dis_seg.data.ahead import ahead
from s3dis_seg.data.blocks.block import Block
from s3dis_seg.files import InputError


@torch.inference_mode()
def class_probabilities(model, features, untrained=(), amp=False):
    """What a network says about blocks; classes numbered in `untrained` get probability 0.

    (B, N, 9) float32 on the device of the network -> (B, N, C) float32 on the same device
    """
    # On a CPU one block at a time is as fast, and the result does not depend on the batch size: matrix products of
    # another shape add up in another order.
    pieces = features.split(1) if features.device.type == "cpu" else [features]
    with torch.autocast(features.device.type, dtype=torch.bfloat16) if amp else nullcontext():
        logits = [in_parts(model, piece) for piece in pieces]
    logits = torch.cat(logits).float()
    logits[..., list(untrained)] = -torch.inf
    return logits.softmax(dim=-1)


def in_parts(model, features):
    """Logits of a batch, which is halved for as long as the device has too little memory. (B, N, 9) -> (B, N, C)"""
    try:
        return model(features)
    except torch.OutOfMemoryError as error:
        if len(features) == 1:
            raise InputError("the device has too little memory for one block; add --device cpu") from error
    return torch.cat([in_parts(model, part) for part in features.split((len(features) + 1) // 2)])


def stacked(blocks: list[Block]) -> torch.Tensor:
    """Features of some blocks. -> (B, N, 9) float32"""
    return torch.from_numpy(np.stack([block.features for block in blocks]))


def batches_of(columns, blocks_of_column, batch_size, workers, steps):
    """Blocks of all columns in order, as lists of `batch_size`; threads prepare the next ones meanwhile."""
    batch = []
    prepared = ahead(blocks_of_column, columns, workers, 4 + 2 * batch_size)
    while True:
        with steps("preparing blocks"):
            blocks = next(prepared, None)
        if blocks is None:
            break
        for block in blocks:
            batch.append(block)
            if len(batch) == batch_size:
                yield batch
                batch = []
    if batch:
        yield batch


def outputs_of(batches, forward, steps):
    """Yields each batch with its outputs (B, N, C) float32. A GPU already computes the next batch meanwhile."""
    waiting = None
    for batch in batches:
        with steps("network"):
            launched = batch, to_host(forward(batch))
            ready = waiting and (waiting[0], waiting[1]())
        if ready:
            yield ready
        waiting = launched
    if waiting:
        with steps("network"):
            ready = waiting[0], waiting[1]()
        yield ready


def to_host(outputs):
    """Start copying from the device. -> function that waits until the copy is complete and returns the array"""
    if outputs.device.type != "cuda":
        return lambda: outputs.cpu().numpy()
    host = torch.empty(outputs.shape, dtype=outputs.dtype, pin_memory=True)
    host.copy_(outputs, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def wait():
        # A plain copy would also wait for the batch that was launched after this one.
        arrived.synchronize()
        return host.numpy()

    return wait
