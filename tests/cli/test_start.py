"""What the first window of `segment` and `evaluate` waits for."""

import numpy as np
import pytest

from s3dis_seg.benchmarks.way import first_window
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.scans import Scan, write_scan
from tests.cli.checkpoints import save_small

# Packages that take from a tenth of a second to several seconds to import, and do nothing for a window.
NEEDLESS = (
    *("torch._dynamo", "torch._inductor", "sympy", "networkx", "open3d", "matplotlib", "plotly", "pandas", "polars"),
    *("tensorboard", "trimesh", "laspy", "pye57", "PIL", "s3dis_seg.report.page", "s3dis_seg.training.loop"),
)


@pytest.mark.parametrize("command", ["segment", "evaluate"])
def test_the_first_window_waits_for_no_package_that_it_does_not_need(command, tmp_path):
    rng = np.random.default_rng(0)
    xyz, rgb = rng.random((600, 3)) * (1.5, 1.0, 2.5), rng.integers(0, 255, (600, 3), np.uint8)
    words = [command, "--device", "cpu", "--checkpoint", save_small(tmp_path / "c.pt", "")]
    if command == "segment":
        write_scan(tmp_path / "scan.ply", Scan(xyz.astype(np.float32), rgb))
        words += [tmp_path / "scan.ply", "--out", tmp_path / "out.ply"]
    else:
        write_room(room_of("Area_1_office_1", xyz, rgb, rng.integers(0, 5, 600)), tmp_path / "rooms")
        words += ["--data", tmp_path / "rooms"]
    seconds, modules = first_window(words)
    assert seconds > 0
    assert "torch" in modules and "s3dis_seg.segmentation.network" in modules
    assert [name for name in NEEDLESS if name in modules] == []
