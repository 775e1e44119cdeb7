"""Progress of long work: a bar on a terminal, at most one plain line a minute in a log file. Both on standard error."""

import sys
import time

from tqdm import tqdm

LINE_EVERY = 60  # seconds between two lines of a log


_SHARES = "{desc}{percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left"  # how a bar of shares is drawn


def bar(total: float, unit: str, initial: float = 0, quiet: bool = False) -> "tqdm | Log":
    """Progress towards `total`. -> a context manager

    It has the attributes and methods of tqdm that the commands use: `n`, `total`, `update(amount)`,
    `set_description(text)`, `set_postfix_str(text)` and `close()`. unit: a plural such as "points", or "%" for shares.
    initial: what was done before. quiet: show nothing.
    """
    if quiet or sys.stderr.isatty():
        # A thousand and more is shown as 1.0k.
        options = {"unit_scale": total >= 1e5, "dynamic_ncols": True, "smoothing": 0.05, "disable": quiet}
        options |= {"bar_format": _SHARES} if unit == "%" else {}
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
        line = f"{self.n:,.0f} of {self.total:,.0f} {self.unit}, {duration(spent)}"
        if done > 0 and self.n < self.total:
            line += f", about {duration(spent / done * (self.total - self.n))} left"
        line = f"{self.description}: {line}" if self.description else line
        print(f"{line}, {self.postfix}" if self.postfix else line, file=sys.stderr, flush=True)


class Job:
    """One bar for several files that go through the same steps, in shares of the time that they are expected to take.

    sizes: bytes of each file. What a file takes is known once `begin` is called with it; those that follow are
    expected to take as long for each byte. The bar appears with the first file.
    """

    def __init__(self, sizes, quiet=False):
        self.sizes, self.quiet = [max(size, 1) for size in sizes], quiet
        self.bar, self.known, self.before, self.expected, self.total = None, [], 0.0, {}, 1.0

    def begin(self, spent, expected):
        """The next file is known. spent: seconds for it so far; expected: step -> seconds, in their order"""
        self.before = sum(self.known) + spent
        self.expected = expected
        self.known.append(spent + sum(expected.values()))
        rate = sum(self.known) / sum(self.sizes[: len(self.known)])
        self.total = max(sum(self.known) + rate * sum(self.sizes[len(self.known) :]), 1e-9)
        if self.bar is None:
            self.bar = bar(100, "%", 100 * self.before / self.total, self.quiet)
        self.at(next(iter(expected)), 0.0)

    def at(self, step, share):
        """A share of a step of the present file is done, and all steps before it."""
        steps = list(self.expected)
        done = self.before + sum(self.expected[name] for name in steps[: steps.index(step)])
        reached = 100 * (done + share * self.expected[step]) / self.total
        self.bar.update(max(min(reached, 100) - self.bar.n, 0))
        self.bar.set_description(step)

    def finish(self, count):
        """So many files are done with, also those that `begin` never saw. The bar ends with the last one."""
        self.known += [0.0] * (count - len(self.known))
        if self.bar is not None:
            self.bar.update(max(100 * sum(self.known) / self.total - self.bar.n, 0))
            if count == len(self.sizes):
                self.bar.close()
