"""What tests share: the real rooms and scans where they are, and the mark for a GPU."""

from pathlib import Path

import s3dis_seg  # noqa: F401 - before torch, for it sets how OpenMP waits  # isort: skip
import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def shared():
    """The folder of real rooms, scans and golden outputs that may lie beside the clone."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real rooms and golden outputs is not beside this clone")
    return SHARED
