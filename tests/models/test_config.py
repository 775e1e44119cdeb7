"""The numbers of the networks can be read without torch, so that `--help` answers at once."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "import s3dis_seg.models.config",
        "import argparse, s3dis_seg.cli.benchmark as command; "
        "parser = argparse.ArgumentParser(); command.add_arguments(parser); parser.format_help()",
    ],
    ids=["config", "help of benchmark"],
)
def test_it_needs_no_torch(statement):
    script = f"import sys; {statement}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
