"""What the engine chose for this processor, and whether something else would be faster here.

Every variant is an entry of the table of processors with one thing changed. It is measured in a process of its own,
because kernels are built for one entry: the first time on a machine they are compiled, half a minute each.
"""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace

import torch

from s3dis_seg.graph import processor as processors
from s3dis_seg.graph.processor import VARIABLE, processor

TOLERATED = 1.3  # times the best variant

_TILES = {64: ((4, 4), (6, 4), (8, 3)), 32: ((6, 2), (4, 2), (4, 3)), 16: ((4, 2), (6, 2), (4, 4))}


def variants(entry):
    """The entry itself and those with one thing changed that this processor can run. -> dict of words to Processor"""
    found = {"the table": entry}
    other = {"onednn": "torch", "torch": "onednn"}[entry.product]
    if other == "torch" or torch.backends.mkldnn.is_available():
        found[f"products of {other}"] = replace(entry, product=other)
    for tile in _TILES[entry.vector_bytes]:
        rows = entry.rows // tile[0] * tile[0]
        found[f"tile of {tile[0]} x {tile[1]}"] = replace(entry, tile=tile, rows=rows)
    for bins in (entry.bins // 2, entry.bins * 2):
        found[f"{bins} bins"] = replace(entry, bins=bins)
    if entry.selection != "single":
        found["selection single"] = replace(entry, selection="single")
    return {words: one for words, one in found.items() if words == "the table" or one != entry}


def check_machine(num_points=4096, repeats=5, told=lambda what: None):
    """Measure every path with every variant, on as many threads as torch takes.

    told(what) is called before each variant. -> dict, ready for JSON: the entry of the table, whether it was forced,
    seconds of each path by variant, and by path the best variant and how many times its time the table takes.
    """
    entry = processor()
    seconds = {}
    for words, one in variants(entry).items():
        told(words)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds[words] = pool.submit(_measure, one, num_points, repeats).result()
    paths = {path: {words: found[path] for words, found in seconds.items()} for path in seconds["the table"]}
    return {
        "table": asdict(entry),
        "forced": bool(os.environ.get(VARIABLE)),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "paths": {path: _judged(times) for path, times in paths.items()},
    }


def _judged(times):
    best = min(times, key=times.get)
    return {"seconds": times, "best": best, "times_the_best": times["the table"] / times[best]}


def _measure(entry, num_points, repeats):
    """In a process of its own: the fastest of several runs of each path, by one entry. -> dict of path to seconds"""
    processors.TABLE[processors.instructions()] = entry
    from s3dis_seg.graph.edge_max import edge_conv
    from s3dis_seg.graph.knn import dilated_knn
    from s3dis_seg.graph.products import linear

    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    blocks, features = random(1, num_points, 64), random(num_points, 896)
    small, large = random(64, 64), random(1024, 896)
    table = dilated_knn(blocks, 16)
    weight, bias, norm = random(64, 128) / 8, torch.zeros(64), torch.nn.BatchNorm1d(64)

    def train():
        edge_conv(blocks.requires_grad_(), table, weight, bias, norm).sum().backward()

    paths = {
        "product, 896 to 1024 channels": lambda: linear(features, large),
        "product, 64 to 64 channels": lambda: linear(blocks[0].detach(), small),
        "k-NN, dilation 1": lambda: dilated_knn(blocks, 16, 1),
        "k-NN, dilation 27": lambda: dilated_knn(blocks, 16, min(27, num_points // 16)),
        "edge convolution, training": train,
    }
    return {path: _fastest(run, repeats) for path, run in paths.items()}


def _fastest(run, repeats):
    run()  # what is compiled, is compiled now
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
