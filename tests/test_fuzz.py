"""Damaged files of every format that is read: one sentence or a right result."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import fuzz


@pytest.mark.parametrize(("kind", "count"), [
    ("ply", 25), ("pcd", 25), ("las", 25), ("las14", 25), ("laz", 4), ("npy", 25), ("npz", 10), ("txt", 25),
    ("xyz", 25), ("csv", 25), ("asc", 25), ("pts", 25), ("room", 25), ("checkpoint", 10), ("official", 10),
    ("predictions", 10), ("split", 25), ("pointnet", 10), ("pointcept", 8), ("collected", 15), ("release", 15),
    ("run", 12),
])  # fmt: skip
def test_damaged_files_end_in_one_sentence(kind, count):
    pytest.importorskip("laspy")
    results = list(fuzz.fuzz([kind], count, seed=1))
    failures = [(name, cause) for name, _, causes in results for cause in causes if not cause.startswith("suspicious")]
    assert results and not failures


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
