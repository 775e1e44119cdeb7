"""Damaged files of every format that is read: one sentence or a right result."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import fuzz


def test_damaged_files_of_every_kind_end_in_one_sentence():
    pytest.importorskip("laspy")
    pytest.importorskip("plyfile")
    results = list(fuzz.fuzz([], 8, seed=1))
    failures = [(name, cause) for name, _, causes in results for cause in causes if not cause.startswith("suspicious")]
    assert len(results) > 35 and not failures


def test_the_files_that_are_damaged_can_be_read_before(tmp_path):
    pytest.importorskip("laspy")
    pytest.importorskip("plyfile")
    for kind, (path, points) in fuzz.valid_files(tmp_path).items():
        if kind != "npz-renamed":  # refused in one sentence also when it is sound
            assert fuzz.read(kind, path) == points


def test_the_same_seed_damages_a_file_in_the_same_way():
    content = b"ply\nformat ascii 1.0\n" * 9
    first, second = (fuzz.damaged(content, random.Random("1 ply 7")) for _ in range(2))
    assert first == second
