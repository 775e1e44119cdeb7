"""Native code that a damaged file may crash runs in a process of its own, with a limit on its memory."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from s3dis_seg.files import InputError

_CALL = f"from {__name__} import _run; _run()"
_MEMORY = 2 << 30  # bytes that it may take beyond what it has at the start


def run_apart(function, path, *words):
    """Call `function(path, *words)`, a function of a module of ours, in a process of its own.

    Raises InputError where it fails or ends the process, with the last line that it wrote to standard error.
    """
    if reason := failure_apart(function, path, *words):
        raise InputError(f"{path} is damaged or cannot be read: {reason}; copy it again")


def failure_apart(function, path, *words):
    """The same for whoever words the error. -> what it wrote last before it failed, or \"\" where all went well"""
    command = [sys.executable, "-c", _CALL, function.__module__, function.__name__, os.path.abspath(path)]
    root = Path(__file__).resolve().parents[3]  # so that the process finds this very copy of the package
    done = subprocess.run([*command, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, cwd=root)  # fmt: skip
    if not done.returncode:
        return ""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").split("\n") if line.strip()]
    said = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)] or lines[-1:]
    return said[-1][:200] if said else f"its reader ended with code {done.returncode}"


def _run():
    import importlib

    module, name, path, *words = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    statm = Path("/proc/self/statm")
    size = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, size + _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    function(path, *words)
