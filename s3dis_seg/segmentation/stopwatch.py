"""How long each step takes."""

import time
from collections import defaultdict
from contextlib import contextmanager


class Stopwatch:
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
