"""The processes that train together, as torchrun starts them, and the device of each."""

import os
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from s3dis_seg.devices import device_of
from s3dis_seg.files import InputError


@dataclass(frozen=True)
class Team:
    """This process and how many train together. A single process has rank 0, size 1 and no group."""

    device: torch.device
    rank: int = 0
    size: int = 1
    group: object = None

    def sum(self, tensor):
        """Sum a tensor over all processes, in place. -> the tensor"""
        if self.size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def wait(self):
        """Wait until all processes have called this."""
        self.sum(torch.zeros(1, device=self.device))


@contextmanager
def team_of(device="auto"):
    """Join the processes that torchrun started, if it did. Yields a Team; a process group that is there is used.

    device: "auto", "cpu" or "cuda", of which each process takes its own. InputError for one that is not there.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = device_of(device)
    if size == 1:
        yield Team(device)
        return
    if device.type == "cuda":
        device = _own_cuda_device()
        torch.cuda.set_device(device)
    is_ours = not dist.is_initialized()
    if is_ours:
        # The optimizer imports it anyway. Imported after the group, it would keep the group for ever (torch 2.13), and
        # the threads of the group now and then abort a process that exits.
        from torch import _dynamo  # noqa: F401

        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(device, rank, size, dist.group.WORLD)
    finally:
        if is_ours:
            dist.destroy_process_group()


def _own_cuda_device():
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise InputError(
            f"{local + 1} or more processes, but {torch.cuda.device_count()} CUDA devices; start one process for each"
        )
    return torch.device("cuda", local)


@contextmanager
def determinism(wanted):
    """Within it CUDA gives the same result every time, more slowly; a CPU always does."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
