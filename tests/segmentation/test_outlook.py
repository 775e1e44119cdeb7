"""What labelling a scan will take, told before."""

import numpy as np
import pytest

import s3dis_seg as s3
from s3dis_seg.segmentation import outlook as module
from s3dis_seg.segmentation.outlook import outlook_on, shortage_of_memory
from tests.cli.checkpoints import save_small


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return s3.Segmenter.from_checkpoint(save_small(tmp_path_factory.mktemp("weights") / "c.pt", ""), device="cpu")


def room(count=20_000, size=(6.0, 4.0, 2.8)):
    rng = np.random.default_rng(0)
    xyz, side = rng.random((count, 3)), np.arange(count) % 6
    xyz[np.arange(count), side // 2] = side % 2
    return xyz * size


def test_points_floor_blocks_and_time_are_told(segmenter):
    xyz = room()
    xyz[0] = np.nan
    plan = segmenter.plan(xyz)
    outlook = outlook_on(segmenter, plan)
    assert (outlook.points, outlook.usable, outlook.blocks) == (20_000, 19_999, plan.num_blocks)
    assert outlook.floor_area == pytest.approx(24, rel=0.5)
    assert outlook.density == pytest.approx(19_999 / outlook.floor_area)
    assert outlook.blocks_without_overlap == segmenter.num_blocks_at(plan, 1.0) < outlook.blocks
    assert outlook.seconds == outlook.blocks * outlook.seconds_per_block > 0
    assert 1e8 < outlook.memory < 1e11


def test_a_few_blocks_are_timed_only_where_asked(segmenter, monkeypatch):
    plan = segmenter.plan(room(500, (1.2, 1.2, 2.5)))
    assert plan.num_blocks <= module.FEW and outlook_on(segmenter, plan).seconds is None
    assert outlook_on(segmenter, plan, always_timed=True).seconds > 0


def test_a_scan_without_a_usable_point_has_no_blocks(segmenter):
    outlook = outlook_on(segmenter, segmenter.plan(np.full((5, 3), np.nan)), always_timed=True)
    assert (outlook.usable, outlook.blocks, outlook.floor_area, outlook.density) == (0, 0, 0, 0)


def test_too_little_memory_is_a_sentence(segmenter):
    outlook = outlook_on(segmenter, segmenter.plan(room(500)))
    assert shortage_of_memory(outlook) == []
    much = module.Outlook(**vars(outlook) | {"memory": 10**15})
    assert "1000000.0 GB of memory will be needed" in shortage_of_memory(much)[0]
