"""A prediction and a confidence for every point of a scan: numpy in, numpy out.

    scan -> thinned cloud -> columns with overlap -> blocks -> network -> votes -> back to every point

The columns are visited along the longer side of the scan, so that sums of probabilities exist only for the band of
points that columns still to come can reach.

Letters: P points of a scan, F of them finite, M points left after thinning, N points a block, B blocks, C classes.
"""

import os
import time
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.blocks.block import Block, blocks_of
from s3dis_seg.data.blocks.columns import Cloud, column_corners, column_points, height_tiles
from s3dis_seg.data.scans import colors_as_bytes, likely_units
from s3dis_seg.devices import device_of
from s3dis_seg.files import InputError
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT

_GREY = 127.5  # 0.5 once the features have divided it by 255
_AT_ONCE = 500_000  # points of a scan that are looked at in one go: bounds the temporary memory
_SPARSE = 8  # a column with less than an eighth of the points of a block is unlike what the network was trained on


@dataclass
class Plan:
    """A scan made ready, before the network has run: what there is to do, and what it is done on.

    windows: how many blocks will go through the network. columns: (number, corner, z_range) in the order of the visit.
    finite: (P,) bool, or None where all points are. cloud: None where no point is finite.
    """

    num_points: int
    windows: int
    columns: list
    cloud: Cloud | None
    finite: np.ndarray | None
    has_colors: bool
    axis: int
    seconds: dict
    warnings: list


@dataclass
class SegmentationResult:
    """What the network says about every given point, in the order given.

    predictions: (P,) uint8, 255 where coordinates are not finite. confidence: (P,) float32, the mean probability of
    the predicted class, 0 where there is none. probabilities: (P, C) float32, or None unless asked for.
    seconds: step -> what it took. warnings: sentences.
    """

    predictions: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None
    windows: int
    seconds: dict
    warnings: list


class Segmenter:
    """Labels scans with a trained network.

    >>> segmenter = Segmenter.from_checkpoint("c.pt")                              # doctest: +SKIP
    >>> result = segmenter(xyz, rgb)     # (P, 3) metres, (P, 3) uint8             # doctest: +SKIP
    >>> result.predictions, result.confidence                                      # doctest: +SKIP

    stride: distance of neighbouring columns as a fraction of their width; 1.0 is the fast way, without overlap.
    passes: how often every point is looked at, each time among other points. batch_size: None takes what suits the
    device; it changes no prediction. seed: of the draws. amp: products in bfloat16, faster on a GPU, less exact.
    """

    def __init__(self, model, card, device="auto", stride=0.5, passes=1, batch_size=None, seed=0, amp=False):
        if not 0 < stride <= 1:
            raise InputError(f"a stride of {stride} of a block is not possible; take more than 0 and at most 1")
        if passes < 1 or (batch_size is not None and batch_size < 1):
            raise InputError(f"passes ({passes}) and batch size ({batch_size}) must be at least 1")
        self.device = device_of(device)
        self.model = model.to(self.device).eval()
        self.card, self.stride, self.passes, self.seed, self.amp = card, stride, passes, seed, amp
        self.batch_size = batch_size or (16 if self.device.type == "cuda" else 1)
        needed = getattr(model, "points_needed", 1)
        if card.blocks.num_points < needed:
            raise InputError(
                f"the checkpoint cuts blocks of {card.blocks.num_points} points, but its network needs {needed}; "
                "train with more points a block, or a smaller k"
            )

    @classmethod
    def from_checkpoint(cls, path=DEFAULT_CHECKPOINT, device="auto", model=None, stride=0.5, passes=1,
                        batch_size=None, seed=0, amp=False, **overrides):  # fmt: skip
        """A Segmenter of a checkpoint: a file, or the name of shipped weights. -> Segmenter

        model, overrides: as in `load_checkpoint`, for files in the official layout, which do not tell their network.
        """
        network, card = load_checkpoint(path, model, **overrides)
        return cls(network, card, device, stride, passes, batch_size, seed, amp)

    def __call__(self, xyz, rgb=None, probabilities=False, progress=None):
        """Label every point. xyz: (P, 3) metres; rgb: (P, 3) 0-255 (or floats 0-1) or None. -> SegmentationResult

        probabilities: also return (P, C) float32, 52 bytes a point. progress: called as progress(done, windows).
        Raises InputError where there is nothing to label.
        """
        return self.run(self.plan(xyz, rgb), probabilities, progress)

    def plan(self, xyz, rgb=None):
        """Thin a scan and lay out its windows, without running the network. Arguments as in a call. -> Plan"""
        steps = _Stopwatch()
        xyz, rgb, warnings = _checked(xyz, rgb)
        settings = self.card.blocks
        with steps("thinning"):
            relative, finite = _from_corner(xyz)
            if len(relative) == 0:
                cloud = None
            else:
                colors = np.broadcast_to(np.uint8(_GREY), (len(relative), 3)) if rgb is None else _selected(rgb, finite)
                cloud = Cloud.of(relative, colors, settings.grid)
            del relative
        axis = 0 if cloud is None or cloud.hi[0] >= cloud.hi[1] else 1
        with steps("planning"):
            columns, counts = ([], np.zeros(0)) if cloud is None else self._columns(cloud, axis)
        warnings += _oddities(xyz, finite, cloud, counts, settings)
        windows = self.passes * int(np.ceil(counts / settings.num_points).sum())
        return Plan(len(xyz), windows, columns, cloud, finite, rgb is not None, axis, steps.seconds, warnings)

    def run(self, plan, probabilities=False, progress=None):
        """Run the network over a plan. -> SegmentationResult. Other arguments as in a call."""
        steps = _Stopwatch(plan.seconds)
        num_classes = len(self.card.class_names)
        if plan.cloud is None:
            thinned = _Labelled(0, num_classes, probabilities)
        else:
            band = _Band(plan.cloud, plan.axis, num_classes, probabilities)
            done = 0
            for batch, outputs in self._outputs(self._batches(plan, steps), steps):
                with steps("voting"):
                    for (block, low), output in zip(batch, outputs):
                        band.move_to(low, low + self.card.blocks.block_size)
                        band.add(block.ids[block.votes], output[block.votes])
                done += len(batch)
                if progress:
                    progress(done, plan.windows)
            thinned = band.finish()
        with steps("carrying back"):
            result = _carry_back(thinned, plan)
        return SegmentationResult(*result, plan.windows, dict(steps.seconds), list(plan.warnings))

    def seconds_per_window(self, plan):
        """What a block takes on this machine, measured on the first batch of the plan. -> seconds"""
        batch = next(self._batches(plan, _Stopwatch()), None)
        if batch is None:
            return 0.0
        # The first run of all compiles kernels: on the CPU the same ones for a small cloud.
        fewest = getattr(self.model, "points_needed", 1)
        first = batch[0].block
        small = [_Placed(replace(first, features=first.features[:fewest]), 0.0)]
        self._forward(batch if self.device.type == "cuda" else small).cpu()
        start = time.perf_counter()
        self._forward(batch).cpu()
        return (time.perf_counter() - start) / len(batch)

    def _columns(self, cloud, axis):
        """Columns (and tiles of height) in the order of the visit, and how many points lie in each."""
        size = self.card.blocks.block_size
        corners = column_corners(cloud.cells, cloud.hi, size, self.stride * size)
        tiles = height_tiles(cloud, self.card.blocks.tallest)
        order = np.lexsort((corners[:, 1 - axis], corners[:, axis]))
        # The number seeds the draws, so it belongs to the column and not to the order of the visit.
        columns = [
            (int(place) * len(tiles) + tile, corners[place], z_range)
            for place in order
            for tile, z_range in enumerate(tiles)
        ]
        counts = [column_points(cloud, corner, size, 1, z_range).num_inside for _, corner, z_range in columns]
        return columns, np.array(counts)

    def _blocks(self, plan, column):
        """All blocks of one column, of every pass. -> list of _Placed"""
        number, corner, z_range = column
        settings, cloud = self.card.blocks, plan.cloud
        column = column_points(cloud, corner, settings.block_size, settings.num_points, z_range)
        if column.num_inside == 0:
            return []
        if not plan.has_colors:
            column = replace(column, rgb=np.full(column.rgb.shape, _GREY, np.float32))
        return [
            _Placed(block, corner[plan.axis])
            for number_of_pass in range(self.passes)
            for block in blocks_of(
                column,
                cloud,
                corner,
                settings,
                np.random.default_rng((self.seed, number_of_pass, number)),
                z_range,
                _view(number_of_pass),
            )
        ]

    def _batches(self, plan, steps):
        """Blocks in the order of the visit, `batch_size` at a time; threads prepare what comes next."""
        workers = min(4, os.cpu_count() or 1) if self.device.type == "cuda" else 1
        batch = []
        prepared = _ahead(lambda column: self._blocks(plan, column), plan.columns, workers, 4 + 2 * self.batch_size)
        while True:
            with steps("preparing blocks"):
                blocks = next(prepared, None)
            if blocks is None:
                break
            for block in blocks:
                batch.append(block)
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _outputs(self, batches, steps):
        """Batches and what the network says about them, (B, N, C) float32; a GPU is one batch ahead of what is read."""
        waiting = None
        for batch in batches:
            with steps("network"):
                launched = batch, _to_host(self._forward(batch))
                ready = waiting and (waiting[0], waiting[1]())
            if ready:
                yield ready
            waiting = launched
        if waiting:
            with steps("network"):
                ready = waiting[0], waiting[1]()
            yield ready

    def _forward(self, batch):
        """Class probabilities of a list of _Placed. -> (B, N, C) float32 tensor on the device"""
        return self.predict(torch.from_numpy(np.stack([placed.block.features for placed in batch])))

    @torch.inference_mode()
    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of blocks, 0 for classes that training never showed.

        (B, N, 9) float32 on any device -> (B, N, C) float32 on the device of the network
        """
        features = features.to(self.device)
        # One by one is as fast on a CPU, and keeps every bit: products of other shapes add up in another order.
        parts = features.split(1) if self.device.type == "cpu" else [features]
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if self.amp else nullcontext():
            logits = [self._in_parts(part) for part in parts]
        logits = torch.cat(logits).float()
        logits[..., self.card.untrained] = -torch.inf
        return logits.softmax(dim=-1)

    def _in_parts(self, features):
        """Logits, in as many parts as the memory of the device asks for. (B, N, 9) -> (B, N, C)"""
        try:
            return self.model(features)
        except torch.OutOfMemoryError as error:
            if len(features) == 1:
                raise InputError("the device has too little memory for one block; add --device cpu") from error
        return torch.cat([self._in_parts(part) for part in features.split((len(features) + 1) // 2)])


# --- before the network -----------------------------------------------------------------------------------------------


def _checked(xyz, rgb):
    """Arrays of the right shape, colours as bytes. -> xyz, rgb or None, list of warnings"""
    xyz = np.asanyarray(xyz)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or xyz.dtype.kind not in "fiu":
        raise InputError(f"xyz has shape {xyz.shape} of {xyz.dtype}; expected numbers of shape (P, 3), in metres")
    if len(xyz) == 0:
        raise InputError("there are no points to label (0 rows)")
    if rgb is None:
        return xyz, None, ["no colours: 0.5 grey is taken for all points, and predictions are worse"]
    rgb = np.asanyarray(rgb)
    if rgb.shape != xyz.shape:
        raise InputError(f"rgb has shape {rgb.shape}; expected that of xyz, {xyz.shape}")
    if rgb.dtype == np.uint8:
        return xyz, rgb, []
    return xyz, *colors_as_bytes(list(rgb.T))


def _from_corner(xyz):
    """Coordinates from the minimum corner, rounded only after the difference. -> (F, 3) float32, finite (P,) or None"""
    finite = np.empty(len(xyz), bool)
    low = np.full(3, np.inf)
    for part in _parts(len(xyz)):
        finite[part] = np.isfinite(xyz[part]).all(axis=1)
        low = np.minimum(low, xyz[part][finite[part]].min(axis=0, initial=np.inf))
    relative = np.empty((int(finite.sum()), 3), np.float32)
    end = 0
    for part in _parts(len(xyz)):
        rows = xyz[part][finite[part]].astype(np.float64) - low
        relative[end : end + len(rows)] = rows
        end += len(rows)
    return relative, None if finite.all() else finite


def _selected(rgb, finite):
    return rgb if finite is None else rgb[finite]


def _oddities(xyz, finite, cloud, counts, settings):
    """What the user should know about a scan before believing its labels. -> list of sentences"""
    if cloud is None:
        return [f"all {len(xyz):,} points have NaN or infinite coordinates and get prediction {UNLABELLED}"]
    told = []
    if finite is not None:
        bad = len(finite) - int(finite.sum())
        told.append(
            f"{bad:,} of {len(finite):,} points have NaN or infinite coordinates and get prediction {UNLABELLED}, "
            "confidence 0"
        )
    units, height = likely_units(xyz)
    if units != "m":
        told.append(f"the scan is {height:,.0f} m high, which looks like {units}; coordinates must be metres")
    num_thinned, needed = len(cloud.xyz), settings.num_points
    if num_thinned < needed:
        place = " all in one place" if not cloud.hi.any() else ""
        kept = f"{num_thinned:,} points{place}" + (f" are left on a grid of {settings.grid} m" if settings.grid else "")
        told.append(f"{kept}, fewer than the {needed:,} of a block: they are repeated, and predictions are poor")
    elif np.median(counts[counts > 0]) < needed / _SPARSE:
        told.append(
            f"the scan is sparse: half of its columns of {settings.block_size:g} m hold fewer than "
            f"{needed // _SPARSE} points; the network was trained on denser ones"
        )
    tiles = len(height_tiles(cloud, settings.tallest))
    if tiles > 1:
        told.append(
            f"the scan is taller than the tallest training room ({settings.tallest:.1f} m) and is cut into {tiles} "
            "layers of that height"
        )
    return told


# --- beside the network -----------------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    """A Block, and where its column begins along the visit, in metres."""

    block: Block
    low: float


def _view(number):
    """How a pass turns the blocks about their centre: the first not at all, the next by 90, 180, 270 degrees, ...

    After four passes the blocks are mirrored, too. -> None, or a function as `blocks_of` takes it
    """
    if number == 0:
        return None
    cosine, sine = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][number % 4]
    linear = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    linear = linear @ np.diag([-1.0 if number // 4 % 2 else 1.0, 1.0, 1.0])
    return lambda xyz, rgb, rng: (xyz @ linear.T, rgb, linear)


def _ahead(function, items, workers, lead):
    """function(item) for every item, in order; threads work up to `lead` items ahead of the reader."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > lead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _to_host(outputs):
    """Start the way back from the device. -> function that waits for the end of it and returns the array"""
    if outputs.device.type != "cuda":
        return lambda: outputs.cpu().numpy()
    host = torch.empty(outputs.shape, dtype=outputs.dtype, pin_memory=True)
    host.copy_(outputs, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def wait():
        # Not for the batch that was launched after this one, as a plain copy would.
        arrived.synchronize()
        return host.numpy()

    return wait


class _Stopwatch:
    """Seconds by step: `with steps("network"): ...`"""

    def __init__(self, seconds=()):
        self.seconds = defaultdict(float, seconds)

    @contextmanager
    def __call__(self, step):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - start


class _Labelled:
    """Predictions (M,), confidence (M,) and, where asked for, probabilities (M, C) of the thinned points."""

    def __init__(self, count, num_classes, keep_probabilities):
        self.predictions = np.full(count, UNLABELLED, np.uint8)
        self.confidence = np.zeros(count, np.float32)
        self.probabilities = np.zeros((count, num_classes), np.float32) if keep_probabilities else None

    def settle(self, ids, sums):
        """Sums of probabilities over all votes of these points, (n, C), become what is said about them."""
        voted = sums.sum(axis=1) > 0
        ids, sums = ids[voted], sums[voted]
        mean = sums / sums.sum(axis=1, keepdims=True)
        self.predictions[ids] = mean.argmax(axis=1)
        self.confidence[ids] = mean.max(axis=1)
        if self.probabilities is not None:
            self.probabilities[ids] = mean


class _Band:
    """Sums of probabilities for the points between the column visited now and the last one that could still vote."""

    def __init__(self, cloud, axis, num_classes, keep_probabilities):
        self.cloud, self.axis = cloud, axis
        self.labelled = _Labelled(len(cloud.xyz), num_classes, keep_probabilities)
        self.ids = np.zeros(0, np.int64)
        self.rows = np.zeros(len(cloud.xyz), np.int32)  # where in `ids` and `sums` a point of the band is
        self.sums = np.zeros((0, num_classes), np.float32)
        self.low = -np.inf

    def move_to(self, low, high):
        """From now on columns begin at `low` or later; those that begin there end at `high`."""
        if low <= self.low:
            return
        self.low = low
        finished = self.cloud.xyz[self.ids, self.axis] < low
        self.labelled.settle(self.ids[finished], self.sums[finished])
        kept, sums = self.ids[~finished], self.sums[~finished]
        start, stop = np.full(2, -np.inf), np.full(2, np.inf)
        start[self.axis], stop[self.axis] = low, high + 1e-3
        self.ids = self.cloud.window(start, stop)[0]  # has all that are kept
        self.rows[self.ids] = np.arange(len(self.ids), dtype=np.int32)
        self.sums = np.zeros((len(self.ids), sums.shape[1]), np.float32)
        self.sums[self.rows[kept]] = sums

    def add(self, ids, probabilities):
        """Votes of different points of one block. (n,), (n, C)"""
        self.sums[self.rows[ids]] += probabilities

    def finish(self):
        """No more votes. -> _Labelled, complete"""
        self.labelled.settle(self.ids, self.sums)
        return self.labelled


# --- after the network ------------------------------------------------------------------------------------------------


def _carry_back(thinned, plan):
    """Every given point gets what its thinned point got. -> predictions (P,), confidence (P,), probabilities or None"""
    count, finite = plan.num_points, plan.finite
    result = _Labelled(count, 0, False)
    if thinned.probabilities is not None:
        result.probabilities = np.zeros((count, thinned.probabilities.shape[1]), np.float32)
    owner = np.zeros(0, np.int32) if plan.cloud is None else plan.cloud.owner
    end = 0
    for part in _parts(count):
        rows = np.arange(part.start, part.stop) if finite is None else part.start + np.flatnonzero(finite[part])
        owners = owner[end : end + len(rows)]
        end += len(rows)
        result.predictions[rows] = thinned.predictions[owners]
        result.confidence[rows] = thinned.confidence[owners]
        if result.probabilities is not None:
            result.probabilities[rows] = thinned.probabilities[owners]
    return result.predictions, result.confidence, result.probabilities


def _parts(count):
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
