"""What the engine does on which processor: one fixed table of instruction sets.

The choice is never made by measuring at run time. Another product rounds differently, and a deep network with dynamic
graphs amplifies that: two runs that have to be equal to the bit would part. `s3dis-seg benchmark --machine` shows what
was chosen and measures whether something else would be faster here.

S3DIS_SEG_INSTRUCTIONS=avx2 (or sse2) makes a processor that has more behave as if it had only those instructions, and
so do torch, oneDNN, MKL and numba: `force` sets their own variables, before they are imported.
"""

import os
import platform
from dataclasses import dataclass
from functools import lru_cache

VARIABLE = "S3DIS_SEG_INSTRUCTIONS"


@dataclass(frozen=True)
class Processor:
    """How the kernels are built and which library multiplies matrices.

    product: "onednn" or "torch", which takes MKL on x86; vector_bytes: width of a register; tile: so many points by so
    many vectors of others, whose distances are summed in registers at once; rows: points whose distances are in the
    cache until their neighbours are chosen; bins: at most, for the order of one point's candidates; selection: how the
    distances below a limit are packed, "compress" (AVX-512), "permute" (AVX2) or "single" (any processor).
    """

    instructions: str
    product: str
    vector_bytes: int
    tile: tuple[int, int]
    rows: int
    bins: int
    selection: str


TABLE = {
    entry.instructions: entry
    for entry in (
        Processor("avx512", "onednn", 64, (4, 4), 32, 512, "compress"),
        Processor("avx2", "torch", 32, (6, 2), 24, 512, "permute"),
        Processor("sse2", "torch", 16, (4, 2), 32, 512, "single"),
        Processor("neon", "torch", 16, (4, 4), 32, 512, "single"),
        Processor("other", "torch", 16, (4, 2), 32, 512, "single"),
    )
}

# What makes the libraries behave like a lesser processor. The empty list of features means: those of that name alone.
FORCED = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "sse2": {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}


def force(environment):
    """Set the variables of the libraries where S3DIS_SEG_INSTRUCTIONS asks for it. environment: as os.environ"""
    environment.update(FORCED.get(environment.get(VARIABLE), {}))


def instructions():
    """The best instruction set of this processor that the table knows, or the one that is forced. -> a key of TABLE

    ValueError for another one than can be forced.
    """
    forced = os.environ.get(VARIABLE)
    if forced:
        if forced not in FORCED:
            raise ValueError(f"{VARIABLE} is {forced!r}; set it to {' or '.join(FORCED)}, or not at all")
        return forced
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return "neon"
    if machine not in ("x86_64", "amd64"):
        return "other"
    if os.environ.get("NUMBA_CPU_NAME"):
        return "sse2"  # a processor named by hand may have less than this one
    import torch

    return {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "sse2")


@lru_cache(maxsize=1)
def processor():
    """The entry of the table for this processor; the same for the whole life of the process. -> Processor"""
    return TABLE[instructions()]
