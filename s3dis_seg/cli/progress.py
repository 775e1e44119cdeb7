"""Progress of long work: a bar on a terminal, at most one plain line a minute in a log file. Both on standard error."""

import sys
import time

from tqdm import tqdm

LINE_EVERY = 60  # seconds between two lines of a log


def bar(total: float, unit: str, initial: float = 0, quiet: bool = False) -> "tqdm | Log":
    """Progress towards `total`. -> a context manager

    It has what commands use of tqdm: `n`, `total`, `update(amount)`, `set_description(text)`, `set_postfix_str(text)`
    and `close()`. unit: a plural such as "points". initial: what was done before. quiet: shows nothing.
    """
    if quiet or sys.stderr.isatty():
        # A thousand and more is shown as 1.0k.
        options = {"unit_scale": total >= 1e5, "dynamic_ncols": True, "smoothing": 0.05, "disable": quiet}
        return tqdm(total=total, initial=initial, unit=f" {unit}", **options)
    return Log(total, unit, initial)


def say(text: str) -> None:
    """Print a line on standard output; a bar that is shown stays whole."""
    tqdm.write(text)


def duration(seconds: float) -> str:
    """-> such as "0.8 s", "12 s", "3 min" or "2 h 5 min\""""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Log:
    """Progress as lines of a log file. The methods are those of tqdm."""

    def __init__(self, total, unit, initial=0):
        self.total, self.unit, self.n, self.initial = total, unit, initial, initial
        self.started = self.written = time.monotonic()
        self.description = self.postfix = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def update(self, amount=1):
        self.n += amount
        self._write_now_and_then()

    def set_description(self, text="", refresh=True):
        self.description = text
        self._write_now_and_then()

    def set_postfix_str(self, text="", refresh=True):
        self.postfix = text
        self._write_now_and_then()

    def close(self):
        pass  # the command itself says how the work ended

    def _write_now_and_then(self):
        now = time.monotonic()
        if now - self.written < LINE_EVERY:
            return
        self.written = now
        done, spent = self.n - self.initial, now - self.started
        line = f"{self.n:,} of {self.total:,} {self.unit}, {duration(spent)}"
        if done > 0 and self.n < self.total:
            line += f", about {duration(spent / done * (self.total - self.n))} left"
        line = f"{self.description}: {line}" if self.description else line
        print(f"{line}, {self.postfix}" if self.postfix else line, file=sys.stderr, flush=True)
