"""Damaged files of every scan format that this package parses itself: one sentence or a right result."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import fuzz


@pytest.mark.parametrize("kind", ["ply", "pcd", "las"])
def test_damaged_files_end_in_one_sentence(kind):
    pytest.importorskip("laspy")
    results = list(fuzz.fuzz([kind], 25, seed=1))
    failures = [(name, cause) for name, _, causes in results for cause in causes if not cause.startswith("suspicious")]
    assert results and not failures


def test_the_same_seed_damages_a_file_in_the_same_way():
    content = b"ply\nformat ascii 1.0\n" * 9
    first, second = (fuzz.damaged(content, random.Random("1 ply 7")) for _ in range(2))
    assert first == second
