"""Time and memory of the graph engine beside the official formulation, in one run on one machine.

The official side repeats the operations of lightaime/deep_gcns_torch (gcn_lib/dense, examples/sem_seg_dense) one for
one, with the same weights, points and ranks. Every figure is taken in a process of its own, so that its peak of memory
is its own. Letters: B blocks, N points, C channels, k neighbours.
"""

import multiprocessing
import os
import platform
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from s3dis_seg.files import InputError, memory_in
from s3dis_seg.graph.edge_max import edge_conv
from s3dis_seg.graph.knn import dilated_knn, wanted_ranks
from s3dis_seg.graph.products import linear
from s3dis_seg.models.config import model_config
from s3dis_seg.models.convolutions import FAST
from s3dis_seg.models.deepgcn import DeepGCN

SIDES = ("official", "engine")
TASKS = ("k-NN", "edge convolution", "evaluation", "training step")


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is measured. k None: the model's; threads 0: as many as torch takes; quick: a small network, for a look at
    whether it works; engine_only: where the official side has too little memory, or too little time.

    One block alone flatters the official side of a CPU: it trains two in more than three times the time of one.
    """

    model: str = "resgcn28"
    k: int | None = None
    num_points: int = 4096
    batch_size: int = 2
    device: str = "cpu"
    repeats: int = 3
    threads: int = 0
    quick: bool = False
    engine_only: bool = False

    @property
    def config(self):
        """The network's numbers. -> DeepGCNConfig"""
        config = replace(model_config(self.model), dropout=0.0)
        if config.conv != "edge" or config.graph != "dynamic":
            raise InputError(f"the benchmark compares dynamic edge convolutions, which {self.model} has not")
        config = replace(config, blocks=4, channels=16, k=4) if self.quick else config
        return config if self.k is None else replace(config, k=self.k)


def surface_blocks(batch_size, num_points, seed=0):
    """Points of furnished columns of rooms, 1 m x 1 m: floor, ceiling, two walls, a table. -> (B, N, 9) float32"""
    generator = torch.Generator().manual_seed(seed)
    u, v, noise = torch.rand(3, batch_size, num_points, generator=generator)
    part = torch.randint(5, (batch_size, num_points), generator=generator)
    zero, one = torch.zeros_like(u), torch.ones_like(u)
    parts = [(u, v, zero), (u, v, 2.7 * one), (zero, u, 2.7 * v), (u, one, 2.7 * v), (0.6 * u, 0.7 * v, 0.75 * one)]
    xyz = torch.stack([torch.stack(axes, dim=-1) for axes in parts]).gather(
        0, part[None, ..., None].expand(1, -1, -1, 3)
    )[0]
    xyz[..., 2] += 0.004 * noise
    rgb = (0.15 * part.unsqueeze(-1) + 0.2 * torch.rand(batch_size, num_points, 3, generator=generator)).clamp(0, 1)
    centred = xyz - torch.tensor([0.5, 0.5, 0.0])
    return torch.cat([centred, rgb, xyz / torch.tensor([4.0, 5.0, 2.7])], dim=-1)


# ---------------------------------------------------------------------------------------------------------------------
# The official formulation: features (B, C, N, 1), edges (2, B, N, k)


def official_neighbors(x, k, dilation, ranks):
    """gcn_lib/dense/torch_edge.py: all N x N distances, the k * dilation nearest, of those the ranks. (B, C, N, 1)"""
    with torch.no_grad():
        points = x.transpose(2, 1).squeeze(-1)
        inner = -2 * torch.matmul(points, points.transpose(2, 1))
        square = torch.sum(torch.mul(points, points), dim=-1, keepdim=True)
        distances = square + inner + square.transpose(2, 1)
        _, nearest = torch.topk(-distances, k=k * dilation)
        B, N, _ = points.shape
        center = torch.arange(N, device=x.device).expand(B, k * dilation, -1).transpose(2, 1)
        return torch.stack([nearest, center])[..., ranks.to(x.device)]


def official_gather(x, index):
    """gcn_lib/dense/torch_nn.py, batched_index_select. (B, C, N, 1), (B, N, k) -> (B, C, N, k)"""
    B, C, N, _ = x.shape
    rows = (index + torch.arange(B, device=x.device).view(-1, 1, 1) * N).contiguous().view(-1)
    gathered = x.transpose(2, 1).contiguous().view(B * N, -1)[rows, :]
    return gathered.view(B, N, index.shape[-1], C).permute(0, 3, 1, 2).contiguous()


def official_layer(layer):
    """The weights of a layer of ours (linear, norm) as Conv2d -> ReLU -> BatchNorm2d."""
    outputs, inputs = layer.linear.weight.shape
    conv, norm = nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs)
    conv.load_state_dict({"weight": layer.linear.weight[..., None, None], "bias": layer.linear.bias})
    norm.load_state_dict(layer.norm.state_dict())
    return nn.Sequential(conv, nn.ReLU(inplace=True), norm)


def official_edge_conv(layer, x, edges):
    """gcn_lib/dense/torch_vertex.py, EdgeConv2d."""
    x_i, x_j = official_gather(x, edges[1]), official_gather(x, edges[0])
    return layer(torch.cat([x_i, x_j - x_i], dim=1)).max(-1, keepdim=True)[0]


class Official(nn.Module):
    """DenseDeepGCN of examples/sem_seg_dense/architecture.py, with the weights of a network of ours."""

    def __init__(self, network):
        super().__init__()
        self.config = network.config
        self.convs = nn.ModuleList(official_layer(conv) for conv in [network.head, *network.backbone])
        self.fusion = official_layer(network.fusion)
        first, second, last = network.prediction
        final = nn.Conv2d(last.in_features, last.out_features, 1)
        final.load_state_dict({"weight": last.weight[..., None, None], "bias": last.bias})
        dropout = nn.Dropout(network.config.dropout)
        self.prediction = nn.Sequential(official_layer(first), official_layer(second), dropout, final)

    def forward(self, blocks, ranks, watch):
        """(B, N, 9) -> (B, N, num_classes)"""
        inputs = blocks.transpose(1, 2).unsqueeze(-1).contiguous()
        x, features = inputs, []
        for i, (conv, dilation) in enumerate(zip(self.convs, self.config.dilations)):
            with watch("k-NN"):
                edges = official_neighbors(x if i else inputs[:, :3], self.config.k, dilation, ranks[i])
            with watch("edge convolutions"):
                new = official_edge_conv(conv, x, edges)
            if i and self.config.block == "res":
                new = new + x
            x = torch.cat([x, new], dim=1) if i and self.config.block == "dense" else new
            features.append(x)
        features = torch.cat(features, dim=1)
        cloud = torch.max_pool2d(self.fusion(features), kernel_size=[features.shape[2], features.shape[3]])
        cloud = torch.repeat_interleave(cloud, repeats=features.shape[2], dim=2)
        return self.prediction(torch.cat([cloud, features], dim=1)).squeeze(-1).transpose(1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# One side of one task, in its own process


class Stopwatch:
    """Seconds by name. A GPU is waited for at both ends of a stretch."""

    def __init__(self, device):
        self.device = device
        self.seconds = defaultdict(float)

    def now(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def __call__(self, name):
        begin = self.now()
        yield
        self.seconds[name] += self.now() - begin

    def timed(self, name, function):
        def call(*arguments, **options):
            with self(name):
                return function(*arguments, **options)

        return call


def _network(settings, side, state, watch):
    """The network of one side. -> module, function of (blocks, ranks) to logits"""
    timed = FAST._replace(
        dilated_knn=watch.timed("k-NN", FAST.dilated_knn), edge_conv=watch.timed("edge convolutions", FAST.edge_conv)
    )
    network = DeepGCN(settings.config, timed)
    network.load_state_dict(state)
    if side == "official":
        official = Official(network).to(settings.device)
        return official, lambda blocks, ranks: official(blocks, ranks, watch)
    network = network.to(settings.device)
    return network, lambda blocks, ranks: network(blocks, ranks=ranks)


def _evaluation(settings, side, case, watch):
    network, forward = _network(settings, side, case["state"], watch)
    network.eval()
    blocks = case["blocks"].to(settings.device)
    ranks = [wanted_ranks(settings.config.k, dilation) for dilation in settings.config.dilations]

    def step():
        with torch.no_grad():
            return forward(blocks, ranks)

    return step


def _training_step(settings, side, case, watch):
    network, forward = _network(settings, side, case["state"], watch)
    network.train()
    blocks, labels = case["blocks"].to(settings.device), case["labels"].to(settings.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        with watch("forward"):
            loss = nn.functional.cross_entropy(forward(blocks, case["ranks"]).flatten(0, 1), labels.flatten())
        with watch("backward"):
            loss.backward()
        with watch("optimizer"):
            optimizer.step()
        return loss.detach()

    return step


def _neighbors(settings, side, case, watch):
    """The k-NN of every layer, on the features that come into it."""
    k = settings.config.k
    features = [x.to(settings.device) for x in case["features"]]
    if side == "official":
        features = [x.transpose(1, 2).unsqueeze(-1).contiguous() for x in features]

    def step():
        found = []
        for i, (x, dilation) in enumerate(zip(features, settings.config.dilations)):
            ranks = wanted_ranks(k, dilation)
            with watch(f"layer {i}, dilation {dilation}"):
                if side == "official":
                    table = official_neighbors(x, k, dilation, ranks)[0]
                else:
                    table = dilated_knn(x, k, ranks=ranks)
            found.append(table.int())
        return torch.stack(found)

    return step


def _convolution(settings, side, case, watch):
    """The last edge convolution, in training, forward and backward."""
    network = DeepGCN(settings.config)
    network.load_state_dict(case["state"])
    layer = network.backbone[-1].to(settings.device)
    x = case["features"][-1].to(settings.device)
    neighbors = dilated_knn(x, settings.config.k, settings.config.dilations[-1])
    if side == "official":
        layer = official_layer(layer).to(settings.device)
        center = torch.arange(x.shape[1], device=x.device)[:, None].expand(neighbors.shape)
        edges = torch.stack([neighbors, center])
        x = x.transpose(1, 2).unsqueeze(-1).contiguous()
    layer.train()
    x.requires_grad_()

    def step():
        with watch("forward"):
            if side == "official":
                y = official_edge_conv(layer, x, edges)
            else:
                y = edge_conv(x, neighbors, layer.linear.weight, layer.linear.bias, layer.norm)
        with watch("backward"):
            y.sum().backward()

    return step


_STEPS = dict(zip(TASKS, (_neighbors, _convolution, _evaluation, _training_step)))


def _load_kernels(device):
    """Two tiny steps, after which the engine's code is in memory: it belongs to the idle process, as torch's does."""
    for channels in (3, 8):
        x = torch.rand(1, 16, channels, device=device, requires_grad=True)
        norm = nn.BatchNorm1d(8, device=device)
        weight, bias = torch.rand(8, 2 * channels, device=device), torch.zeros(8, device=device)
        edge_conv(x, dilated_knn(x, 2), weight, bias, norm).sum().backward()


def _begin_peak(device):
    """Forget the peak of memory so far. -> bytes in use now, None where it cannot be told"""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return memory_in("/proc/self/status", "VmRSS")


def _measure(settings, side, task, path):
    """Runs in a process of its own. -> dict: seconds of each repeat, parts, memory in bytes, what came out first"""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    watch = Stopwatch(settings.device)
    step = _STEPS[task](settings, side, torch.load(path, weights_only=True), watch)
    _load_kernels(settings.device)
    before = _begin_peak(settings.device)
    try:
        first = step()  # what is compiled, is compiled now
        runs = []
        for _ in range(settings.repeats):
            watch.seconds.clear()
            begin, processor = watch.now(), time.process_time()
            step()
            runs.append((watch.now() - begin, time.process_time() - processor, dict(watch.seconds)))
    except torch.cuda.OutOfMemoryError:
        return {"out_of_memory": True}
    peak = torch.cuda.max_memory_allocated() if settings.device == "cuda" else memory_in("/proc/self/status", "VmHWM")
    seconds, processor, parts = min(runs, key=lambda run: run[0])
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "all_seconds": [run[0] for run in runs],
        "parts": parts,
        "memory_above_idle": None if peak is None else peak - before,
        "memory_idle": before,
        "neighbors": first.cpu().numpy() if task == "k-NN" else None,
        "first_loss": first.item() if task == "training step" else None,
    }


# ---------------------------------------------------------------------------------------------------------------------
# All of it


def _prepare(settings, path):
    """Weights with running statistics that fit the blocks, the features of every layer, labels, ranks: one file."""
    torch.manual_seed(0)
    config = settings.config
    features = []

    def search(x, k, dilation=1, ranks=None):
        features.append(x.detach().cpu())
        return dilated_knn(x, k, ranks=ranks)

    network = DeepGCN(config, FAST._replace(dilated_knn=search))
    blocks = surface_blocks(settings.batch_size, settings.num_points)
    ranks = network.train().draw_ranks()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
    with torch.no_grad():
        network.to(settings.device)(blocks.to(settings.device), ranks=ranks)
    case = {
        "state": {name: value.cpu() for name, value in network.state_dict().items()},
        "blocks": blocks,
        "labels": torch.randint(config.num_classes, blocks.shape[:2]),
        "ranks": ranks,
        "features": features,
    }
    torch.save(case, path)


def operations(config, batch_size, num_points):
    """Multiplications and additions, and bytes gathered, that the engine cannot do without. -> dict of kind -> pair"""
    points, k = batch_size * num_points, config.k
    inputs = [config.in_channels, *config.widths[:-1]]
    searched = [3, *config.widths[:-1]]
    D, width = config.channels, config.widths[-1] if config.block == "dense" else sum(config.widths)
    products = 2 * points * (width * 1024 + width * 512 + 512 * 256 + 256 * config.num_classes)
    return {
        "k-NN": (sum(2 * points * num_points * C for C in searched), 0),
        "edge convolutions": (sum(2 * points * 2 * C * D for C in inputs), len(inputs) * points * k * D * 4),
        "fusion and prediction": (products, 0),
    }


def floor(config, batch_size, num_points, training, flops, copied):
    """Seconds at the measured rates (operations and bytes a second). -> dict of kind -> seconds

    A training step has three products for every one of an evaluation, and three gathers over edges more.
    """
    seconds = {}
    for kind, (products, gathered) in operations(config, batch_size, num_points).items():
        again = 3 if training and kind != "k-NN" else 1
        seconds[kind] = again * products / flops + (4 if training else 1) * gathered / copied
    return seconds


def rates(device, repeats=5):
    """Of float32 products and of copies, the best of several. -> operations a second, bytes a second"""
    watch = Stopwatch(device)
    size = 8192 if device == "cuda" else 2048
    x, y = torch.randn(2, size, size, device=device)
    source = torch.empty((1 << 30 if device == "cuda" else 1 << 26) // 4, device=device)
    target = torch.empty_like(source)

    def best(function):
        seconds = []
        for _ in range(repeats):
            begin = watch.now()
            function()
            seconds.append(watch.now() - begin)
        return min(seconds)

    product = min(best(lambda: linear(x, y)), best(lambda: torch.mm(x, y)))
    return 2 * size**3 / product, source.nbytes / best(lambda: target.copy_(source))


def _machine(settings):
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    machine = {"processor": name, "cores": os.cpu_count(), "threads": settings.threads or torch.get_num_threads()}
    if settings.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return {**machine, "torch": torch.__version__, "python": platform.python_version()}


def benchmark(settings, told=lambda what: None):
    """Measure every task on both sides, side by side. -> dict, ready for JSON

    told(what) is called with a line before each of the measurements.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here; leave --device out, or say --device cpu")
    config = settings.config
    needed = config.k * max(config.dilations)
    if settings.num_points < needed:
        raise InputError(
            f"{settings.model} needs at least {needed} points a block; found --num-points {settings.num_points}"
        )
    report = {"machine": _machine(settings), "settings": asdict(settings), "tasks": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.pt"
        told("weights and features")
        _prepare(settings, path)
        for task in TASKS:
            sides = {}
            for side in SIDES[1:] if settings.engine_only else SIDES:
                told(f"{task}, {side}")
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    sides[side] = pool.submit(_measure, settings, side, task, path).result()
            report["tasks"][task] = _compared(sides)
    told("rates of products and copies")
    flops, copied = rates(settings.device)
    report["rates"] = {"operations_per_second": flops, "bytes_copied_per_second": copied}
    report["floor"] = {
        task: floor(config, settings.batch_size, settings.num_points, task == "training step", flops, copied)
        for task in ("evaluation", "training step")
    }
    return report


def _compared(sides):
    """The figures of the sides that were measured, and the ratios where both could be. -> dict"""
    compared = dict(sides)
    neighbors = [side.pop("neighbors", None) for side in sides.values()]
    if len(sides) < len(SIDES) or any(side.get("out_of_memory") for side in sides.values()):
        return compared
    official, engine = (sides[side] for side in SIDES)
    compared["times_faster"] = official["seconds"] / engine["seconds"]
    if engine["memory_above_idle"]:
        compared["memory_ratio"] = engine["memory_above_idle"] / official["memory_above_idle"]
    if neighbors[0] is not None:
        compared["same_neighbors"] = float((neighbors[0] == neighbors[1]).mean())
    return compared
