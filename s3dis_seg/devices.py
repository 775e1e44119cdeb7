"""The device that a network runs on, CPU or CUDA, and how much memory was taken there."""

import resource
import sys

import torch

from s3dis_seg.files import InputError


def device_of(name):
    """The device with this name. -> torch.device

    name: as torch writes it ("cpu", "cuda:1"), or "auto" for CUDA where there is a GPU and the CPU elsewhere.
    InputError where this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"this machine has no device {str(name)!r} that torch can use; try --device cpu") from error
    return device


def peak_memory(device):
    """The most that this process has used so far: on a GPU, or of the memory of the machine. -> bytes"""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
