"""A command that is killed in the middle of its work."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, signal, sys
from s3dis_seg.cli.main import main

rename, left = os.replace, [int(sys.argv[1])]

def killed(*paths):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*paths)

os.replace = killed
main(sys.argv[2:])
"""


def killed_while_it_writes(words, at_file):
    """Run a command that is killed by kill -9 before it gives the file of that number, from 1, its name."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(at_file), *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
