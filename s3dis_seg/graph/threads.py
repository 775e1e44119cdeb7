"""Plain threads for work that releases the GIL: all cores, no further processes."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _pool(workers, process):
    """The threads beside the calling one. A forked child, another `process`, starts its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="s3dis_seg.graph")


def in_threads(work, pieces):
    """Call work(*piece) for every piece, on as many threads as torch uses (torch.set_num_threads)."""
    pieces = deque(pieces)

    def work_off():
        while True:
            try:
                piece = pieces.popleft()
            except IndexError:
                return
            work(*piece)

    workers = torch.get_num_threads() - 1
    helpers = min(workers, len(pieces) - 1)
    waiting = [_pool(workers, os.getpid()).submit(work_off) for _ in range(helpers)]
    work_off()
    for one in waiting:
        one.result()
