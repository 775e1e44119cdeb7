"""Where networks run: the choice between CPU and CUDA."""

import torch

from s3dis_seg.files import InputError


def device_of(name):
    """The device of a name, "auto" being CUDA where there is one. -> torch.device; InputError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"this machine has no device {str(name)!r} that torch can use; take --device cpu") from error
    return device
