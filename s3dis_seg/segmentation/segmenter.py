"""Segmenter: plan a scan, run the network over it, give every point its prediction.

Letters: P points of a scan, C classes, N points a block, B blocks.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from s3dis_seg.data.blocks.augment import quarter_turns
from s3dis_seg.data.blocks.block import Block, blocks_of
from s3dis_seg.data.blocks.columns import column_points
from s3dis_seg.data.scans import checked_points
from s3dis_seg.devices import device_of
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT
from s3dis_seg.segmentation.layouts import layouts_of
from s3dis_seg.segmentation.network import batches_of, class_probabilities, outputs_of, stacked
from s3dis_seg.segmentation.notes import notes_on
from s3dis_seg.segmentation.plan import GREY, Placement, ScanPlan, cloud_of, num_blocks, placement_of, sample_of
from s3dis_seg.segmentation.stopwatch import Stopwatch
from s3dis_seg.segmentation.votes import Band, Labelled, carry_back
from s3dis_seg.segmentation.work import InNoFolder, Work

_SAVE_EVERY, _PAUSE = 20.0, 20  # seconds; times as long as saving took
# Blocks timed for the estimate; seconds after which no further block is timed; the share of the blocks to time at most.
_TIMED, _TIMING, _TIMED_SHARE = 5, 4.0, 1 / 20


@dataclass
class SegmentationResult:
    """A prediction and a confidence for every given point, in the order given.

    predictions: (P,) uint8, 255 where coordinates are not finite or far from all others. confidence: (P,) float32, the
    mean probability of the predicted class at the temperature of the checkpoint, 0 where there is none. probabilities:
    (P, C) float32, or None unless asked for. num_blocks: how many went through the network. seconds: step -> what it
    took. warnings: sentences.
    """

    predictions: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None
    num_blocks: int
    seconds: dict[str, float]
    warnings: list[str]


class _Placed(NamedTuple):
    """A block; the place of its column in the layout, and where that begins along the axis of the visit, in metres."""

    block: Block
    column: int
    low: float


class Segmenter:
    """Labels scans with a trained network.

    >>> segmenter = Segmenter.from_checkpoint("c.pt")                              # doctest: +SKIP
    >>> result = segmenter(xyz, rgb)     # (P, 3) metres, (P, 3) uint8             # doctest: +SKIP
    >>> result.predictions, result.confidence                                      # doctest: +SKIP

    stride: step between neighbouring columns, as a fraction of their width; 1.0 is the fast way, without overlap.
    passes: how often every point is predicted, each time among other drawn points and in a turned block. batch_size:
    blocks at a time, None chooses by the device; it changes no prediction. seed: random seed of the draws. amp: matrix
    products in bfloat16, faster on a GPU and less exact.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        card: Card,
        device: str = "auto",
        stride: float = 0.5,
        passes: int = 1,
        batch_size: int | None = None,
        seed: int = 0,
        amp: bool = False,
    ):
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
    def from_checkpoint(
        cls,
        path: str | Path = DEFAULT_CHECKPOINT,
        device: str = "auto",
        model: str | None = None,
        stride: float = 0.5,
        passes: int = 1,
        batch_size: int | None = None,
        seed: int = 0,
        amp: bool = False,
        **overrides,
    ) -> "Segmenter":
        """A Segmenter of a checkpoint: a file, or the name of shipped weights.

        model, overrides: as in `load_checkpoint`, for files in the official layout, which do not tell their network.
        """
        network, card = load_checkpoint(path, model, **overrides)
        return cls(network, card, device, stride, passes, batch_size, seed, amp)

    def __call__(
        self,
        xyz: np.ndarray,
        rgb: np.ndarray | None = None,
        probabilities: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> SegmentationResult:
        """Label every point. xyz: (P, 3) metres; rgb: (P, 3) 0-255 (or floats 0-1) or None.

        probabilities: also return (P, C) float32, 52 bytes a point. progress: called as progress(done, num_blocks).
        Raises InputError where there is nothing to label.
        """
        return self.run(self.plan(xyz, rgb), probabilities, progress)

    def plan(self, xyz: np.ndarray, rgb: np.ndarray | None = None, work: Work | None = None) -> ScanPlan:
        """Thin a scan and lay out its columns, without running the network. Arguments as in a call, arrays or Lazy.

        work: the scratch folder in which the arrays are kept and an interrupted run goes on; None keeps all in memory.
        """
        steps, settings, work = Stopwatch(), self.card.blocks, work or InNoFolder()
        xyz, rgb, warnings = checked_points(xyz, rgb)
        with steps("thinning"):
            placement, cloud = self._thinned(xyz, rgb, work)
        axis = 0 if cloud is None or cloud.hi[0] >= cloud.hi[1] else 1
        with steps("planning"):
            layouts = layouts_of(cloud, settings, self.stride, axis)
            warnings += notes_on(len(xyz), sample_of(xyz, placement), placement, cloud, layouts, settings)
        blocks = num_blocks(layouts, self.passes)
        return ScanPlan(len(xyz), blocks, layouts, cloud, rgb is not None, axis, steps.seconds, warnings, work)

    def _thinned(self, xyz, rgb, work):
        """-> Placement, Cloud or None; those of an interrupted run where there are any"""
        if kept := work.kept_cloud():
            cloud, fields = kept
            return Placement.of(fields), cloud
        placement = placement_of(xyz)
        cloud = cloud_of(xyz, rgb, placement, self.card.blocks.grid, work)
        if cloud is not None:
            work.keep_cloud(cloud, placement.fields())
        return placement, cloud

    def num_blocks_at(self, plan: ScanPlan, stride: float) -> int:
        """How many blocks the scan of a plan would make with another stride."""
        return num_blocks(layouts_of(plan.cloud, self.card.blocks, stride, plan.axis), self.passes)

    def run(
        self, plan: ScanPlan, probabilities: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> SegmentationResult:
        """Run the network over a plan. Other arguments as in a call."""
        steps = Stopwatch(plan.seconds)
        count, kept = (0 if plan.cloud is None else len(plan.cloud.xyz)), plan.work.kept_votes()
        classes, temperature = len(self.card.class_names), self.card.temperature
        thinned = Labelled(count, classes, probabilities, plan.work, kept is not None, temperature)
        self._vote(plan, thinned, kept, steps, progress)
        with steps("carrying back"):
            result = carry_back(thinned, plan)
        return SegmentationResult(*result, plan.num_blocks, dict(steps.seconds), list(plan.warnings))

    def seconds_per_block(self, plan: ScanPlan) -> float:
        """Seconds a block takes on this machine: the median of up to 5 blocks spread over the plan.

        In a small plan of fewer, since what is timed here is computed again later.
        """
        columns = [(layout, place) for layout in plan.layouts for place in range(len(layout.columns))]
        if not columns:
            return 0.0
        count = min(_TIMED, len(columns), max(int(_TIMED_SHARE * plan.num_blocks), 1))
        chosen = [columns[place] for place in np.linspace(0, len(columns) - 1, count).astype(int)]
        first = self._blocks(plan, *chosen[0])[0].block
        # The very first run compiles kernels. On the CPU a small cloud compiles the same ones.
        fewest = getattr(self.model, "points_needed", 1)
        at_once = self.batch_size if self.device.type == "cuda" else 1
        small = first if self.device.type == "cuda" else replace(first, features=first.features[:fewest])
        self.predict(stacked([small] * at_once)).cpu()
        times, began = [], time.perf_counter()
        for layout, place in chosen:
            features = stacked([self._blocks(plan, layout, place)[0].block] * at_once)
            start = time.perf_counter()
            self.predict(features).cpu()
            times.append((time.perf_counter() - start) / at_once)
            if time.perf_counter() - began > _TIMING:
                break
        return float(np.median(times))

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of blocks, 0 for classes that had no point in the training.

        (B, N, 9) float32 on any device -> (B, N, C) float32 on the device of the network
        """
        return class_probabilities(self.model, features.to(self.device), self.card.untrained, self.amp)

    def _vote(self, plan, thinned, kept, steps, progress):
        """All blocks through the network, their probabilities added up into `thinned`, a Labelled.

        kept: how far an interrupted run came, or None.
        """
        workers = min(4, os.cpu_count() or 1) if self.device.type == "cuda" else 1
        first, begin = (int(kept["layout"]), int(kept["column"])) if kept else (0, 0)
        done, saving = int(kept["done"]) if kept else 0, _Saving(plan.work)
        if kept and progress:
            progress(done, plan.num_blocks)
        for number, layout in enumerate(plan.layouts[first:], start=first):
            band = Band(layout, plan.axis, len(self.card.class_names), thinned)
            if kept and begin:
                band.go_on(float(kept["low"]), float(kept["high"]), kept["sums"])
            column, size = begin, layout.settings.block_size
            blocks_of_column = partial(self._blocks, plan, layout)
            batches = batches_of(range(begin, len(layout.columns)), blocks_of_column, self.batch_size, workers, steps)
            for batch, outputs in outputs_of(batches, self._forward, steps):
                with steps("voting"):
                    for placed, output in zip(batch, outputs):
                        if placed.column != column:
                            layout.cloud.release()
                            column = placed.column
                            saving(number, column, done, band)
                        band.move_to(placed.low, placed.low + size)
                        band.add(placed.block.ids[placed.block.votes], output[placed.block.votes])
                        done += 1
                if progress:
                    progress(done, plan.num_blocks)
            band.finish()
            begin = 0
            saving(number + 1, 0, done)

    def _forward(self, batch):
        """Class probabilities of a list of _Placed. -> (B, N, C) float32 tensor on the device"""
        return self.predict(stacked([placed.block for placed in batch]))

    def _blocks(self, plan, layout, place):
        """All blocks of one column of a layout, of every pass. -> list of _Placed"""
        number, corner, z_range, _ = layout.columns[place]
        settings, cloud = layout.settings, layout.cloud
        column = column_points(cloud, corner, settings.block_size, settings.num_points, z_range)
        if not plan.has_colors:
            column = replace(column, rgb=np.full(column.rgb.shape, GREY, np.float32))
        placed = []
        for number_of_pass in range(self.passes):
            rng, view = np.random.default_rng((self.seed, number_of_pass, number)), _view(number_of_pass)
            blocks = blocks_of(column, cloud, corner, settings, rng, z_range, view)
            placed += [_Placed(block, place, corner[plan.axis]) for block in blocks]
        return placed


class _Saving:
    """Keeps how far the votes are, every 20 s. Where that takes long it is done less often."""

    def __init__(self, work):
        self.work, self.next = work, time.monotonic() + _SAVE_EVERY

    def __call__(self, layout, column, done, band=None):
        """All columns of a layout before this one are added up, in `band`; None where a layout begins."""
        began = time.monotonic()
        if began < self.next and band is not None:
            return
        values = {} if band is None else {"low": band.low, "high": band.high, "sums": band.sums}
        self.work.keep_votes(layout=layout, column=column, done=done, **values)
        now = time.monotonic()
        self.next = now + max(_SAVE_EVERY, _PAUSE * (now - began))


def _view(number):
    """How a pass turns the blocks about their centre: the first not at all, the next by 90, 180, 270 degrees, ...

    After four passes the blocks are mirrored, too. -> None, or a function as `blocks_of` takes it
    """
    if number == 0:
        return None
    linear = quarter_turns(number) @ np.diag([-1.0 if number // 4 % 2 else 1.0, 1.0, 1.0])
    return lambda xyz, rgb, rng: (xyz @ linear.T, rgb, linear)
