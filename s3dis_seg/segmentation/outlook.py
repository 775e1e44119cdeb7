"""What labelling a scan will take, before it begins: its work is counted, and the network is timed over a few blocks.

Letters: P points of a scan, M points left after thinning, C classes.
"""

from dataclasses import dataclass

import numpy as np

from s3dis_seg.data.blocks.cloud import parts
from s3dis_seg.data.floor import FloorPlan
from s3dis_seg.devices import peak_memory
from s3dis_seg.files import memory_in

FEW = 12  # the time of so few blocks is not measured: they would be done sooner


@dataclass(frozen=True)
class Outlook:
    """points, usable: of the scan, and those that can be labelled. size: (3,) metres. floor_area: m2 of the floor plan
    on which points lie; density: points on a square metre of it. blocks: how many go through the network, and
    blocks_without_overlap at a stride of 1 (None where some columns are wider: these never overlap).
    seconds_per_block: None where it was not measured. memory: bytes of this process at its peak, on a CPU.
    """

    points: int
    usable: int
    size: np.ndarray
    floor_area: float
    density: float
    blocks: int
    blocks_without_overlap: int | None
    seconds_per_block: float | None
    memory: int | None

    @property
    def seconds(self) -> float | None:
        """What the network will take, None where it was not measured."""
        return None if self.seconds_per_block is None else self.blocks * self.seconds_per_block


def outlook_on(segmenter, plan, always_timed=False):
    """What the scan of a plan will take. -> Outlook

    always_timed: measure the network even where there are so few blocks that they would be done sooner.
    """
    usable = _num_usable(plan.cloud)
    area = _floor_area(plan.cloud)
    timed = plan.num_blocks > (0 if always_timed else FEW)
    is_wider = any(layout.settings != segmenter.card.blocks for layout in plan.layouts)
    single = None if is_wider or segmenter.stride == 1 else segmenter.num_blocks_at(plan, 1.0)
    return Outlook(
        points=plan.num_points,
        usable=usable,
        size=plan.size,
        floor_area=area,
        density=usable / area if area else 0.0,
        blocks=plan.num_blocks,
        blocks_without_overlap=single,
        seconds_per_block=segmenter.seconds_per_block(plan) if timed else None,
        memory=_memory(segmenter, plan),
    )


def _num_usable(cloud):
    """How many points have one that represents them. -> int"""
    if cloud is None:
        return 0
    return sum(int(np.count_nonzero(cloud.owner[part] >= 0)) for part in parts(len(cloud.owner)))


def _floor_area(cloud):
    if cloud is None:
        return 0.0
    plan = FloorPlan((0.0, 0.0), cloud.hi[:2])
    for part in parts(len(cloud.xyz)):
        xyz = cloud.xyz[part]
        plan.add(xyz[:, :2], np.zeros(len(xyz), np.uint8))
    return plan.area()


def _memory(segmenter, plan):
    """What is in use at the moment, and the results that are to come; the peak so far, where that is more. -> bytes"""
    if segmenter.device.type == "cuda":
        return None
    thinned, classes = 0 if plan.cloud is None else len(plan.cloud.xyz), len(segmenter.card.class_names)
    across = 0 if plan.cloud is None else float(plan.cloud.hi[plan.axis])
    band = thinned * min(1.0, 2 * segmenter.card.blocks.block_size / max(across, 1e-9))  # points that collect votes
    results = 5 * (thinned + plan.num_points)  # prediction and confidence
    return int(max(peak_memory(segmenter.device), _memory_now() + results + 4 * thinned + 4 * classes * band))


def _memory_now():
    """Bytes of this process that are in memory; 0 where the system does not say."""
    return memory_in("/proc/self/status", "VmRSS") or 0


def shortage_of_memory(outlook):
    """A sentence where the memory that is free will not do. -> list of sentences"""
    free = memory_in("/proc/meminfo", "MemAvailable")
    if free is None or outlook.memory is None:
        return []
    room = free + _memory_now()
    if outlook.memory <= room:
        return []
    return [
        f"about {outlook.memory / 1e9:.1f} GB of memory will be needed, and {room / 1e9:.1f} GB are free: close other "
        "programs, or cut the scan into parts"
    ]
