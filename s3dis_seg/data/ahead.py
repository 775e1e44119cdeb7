"""Work that threads do ahead of whoever needs its results."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def ahead(function, items, workers, lead):
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
