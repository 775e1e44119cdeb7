"""Points, floor area and confidence of every class, whatever the pieces in which points come."""

import numpy as np
import pytest

from s3dis_seg.data import floor, tally
from s3dis_seg.data.blocks import cloud
from s3dis_seg.data.floor import FloorPlan


def test_four_points_by_hand():
    xyz = np.array([[0.01, 0.01, 0], [0.02, 0.02, 2], [0.26, 0.01, 0], [np.nan, 0, 0]])
    found = tally.tally_of(xyz, np.array([3, 3, 1, 255], np.uint8), np.array([0.4, 0.8, 0.3, 0], np.float32))
    assert found.points[[1, 3, 255]].tolist() == [1, 2, 1]
    assert found.areas[[1, 3, 255]] == pytest.approx([0.05**2, 0.05**2, 0])
    assert found.confidence[[1, 3]] == pytest.approx([0.3, 0.6]) and found.unsure == pytest.approx(2 / 3)


def test_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    xyz, labels = rng.random((5000, 3)) * (4, 3, 2), rng.integers(0, 5, 5000).astype(np.uint8)
    confidence = rng.random(5000).astype(np.float32)
    whole = tally.tally_of(xyz, labels, confidence)
    monkeypatch.setattr(cloud, "_AT_ONCE", 70)
    pieces = tally.tally_of(xyz, labels, confidence)
    for name in ("points", "areas", "confidence", "unsure"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name))


def test_where_nothing_has_a_prediction_all_is_zero():
    found = tally.tally_of(np.full((3, 3), np.nan), np.full(3, 255, np.uint8), np.zeros(3, np.float32))
    assert found.points[255] == 3 and not found.areas.any() and found.unsure == 0


def test_a_room_has_the_area_of_its_floor():
    rng = np.random.default_rng(0)
    plan = FloorPlan((0, 0), (6, 4))
    plan.add(rng.random((60_000, 2)) * (6, 4), np.zeros(60_000, np.uint8))
    plan.add(rng.random((1000, 2)) * (1, 1), np.full(1000, 7, np.uint8))
    assert plan.areas()[0] == pytest.approx(24, rel=0.01) and plan.area() == pytest.approx(24, rel=0.01)
    assert 0.9 < plan.areas()[7] <= 1.2


def test_a_site_of_kilometres_is_counted_in_larger_squares(monkeypatch):
    monkeypatch.setattr(floor, "_MOST_CELLS", 10_000)
    plan = FloorPlan((0, 0), (3000, 2000))
    assert plan.counts.prod() <= 10_000 and plan.cell > 10
