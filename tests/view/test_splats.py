import numpy as np
import pytest

from s3dis_seg.view import splats
from s3dis_seg.view.drawing import Camera
from s3dis_seg.view.splats import EMPTY, draw_discs, empty_buffer, paint_discs, point_at

WHITE = np.array((255, 255, 255), np.uint8)


def camera(size=(21, 15), distance=5.0):
    """Straight down from above the origin, 50 pixels a metre at 1 m."""
    return Camera(np.zeros(3), np.eye(3), np.array((0, 0, distance)), 50.0, size)


def drawn(xyz, diameter=0.01, rows=None, of=None, far=20.0):
    """The point at each pixel, -1 for none. -> (H, W)"""
    of = of or camera()
    buffer = empty_buffer(of.size)
    rows = np.arange(len(xyz), dtype=np.int32) if rows is None else np.array(rows, np.int32)
    draw_discs(buffer, np.array(xyz, np.float32), rows, of, diameter, far)
    return np.where(buffer == EMPTY, -1, (buffer & np.uint64(0xFFFFFFFF)).astype(np.int64))


def test_a_point_is_seen_where_the_camera_projects_it():
    seen = drawn([(0, 0, 0), (0.5, 0.2, 0)])
    assert seen[7, 10] == 0  # the middle of 21 x 15 pixels
    assert seen[5, 15] == 1  # 10 pixels a metre at 5 m: 5 to the right and 2 up
    assert (seen >= 0).sum() == 2


def test_the_nearer_point_hides_the_farther_one():
    assert drawn([(0, 0, 0), (0, 0, 1)])[7, 10] == 1
    assert drawn([(0, 0, 0), (0, 0, 1)], rows=[0])[7, 10] == 0


def test_discs_are_larger_the_nearer_they_are_and_share_the_gap_between_them():
    assert (drawn([(0, 0, 0)], diameter=0.5) == 0).sum() > (drawn([(0, 0, -10)], diameter=0.5) == 0).sum()
    row = drawn([(-0.25, 0, 0), (0.25, 0, 0)], diameter=0.8)[7]
    assert row.tolist() == [-1] * 4 + [0] * 6 + [row[10]] + [1] * 6 + [-1] * 4


@pytest.mark.parametrize("place", [(0, 0, 5.1), (0, 0, 5.0), (9, 0, 0), (0, -9, 0), (1e9, 1e9, 0)])
def test_what_lies_behind_the_eye_or_beside_the_picture_is_not_seen(place):
    assert (drawn([place], far=1e10) == -1).all()


def test_a_point_at_the_edge_of_the_picture_is_cut():
    seen = drawn([(1.04, 0.74, 0)], diameter=0.5)
    assert seen[0, 20] == 0
    assert (seen[:, 0] == -1).all()


def test_the_compiled_form_draws_and_paints_what_the_slow_one_does(monkeypatch):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    xyz = (rng.normal(size=(3000, 3)) * (1, 1, 3)).astype(np.float32)
    colors = rng.integers(0, 255, (3000, 3)).astype(np.uint8)
    turned = Camera(np.zeros(3), np.linalg.qr(rng.normal(size=(3, 3)))[0], np.array((0.1, 0.2, 6.0)), 90.0, (80, 60))
    pictures, buffers = [], []
    for compiled in (splats._compiled_or, lambda slow: slow):
        monkeypatch.setattr(splats, "_compiled_or", compiled)
        buffer, picture = empty_buffer(turned.size), np.zeros((60, 80, 3), np.uint8)
        draw_discs(buffer, xyz, np.arange(0, 3000, 2, dtype=np.int32), turned, 0.06, 30.0)
        paint_discs(buffer, colors, WHITE, picture)
        pictures.append(picture)
        buffers.append(buffer)
    # Rounding decides where two discs are equally far: hardly ever.
    assert (pictures[0] != pictures[1]).any(axis=-1).mean() < 0.002
    assert ((buffers[0] == EMPTY) == (buffers[1] == EMPTY)).mean() > 0.998


def test_the_point_nearest_to_a_click_is_found_within_some_pixels():
    buffer = empty_buffer((21, 15))
    buffer[7, 10] = np.uint64(3)
    buffer[7, 13] = (np.uint64(9) << np.uint64(32)) | np.uint64(4)
    assert point_at(buffer, 10, 7) == 3
    assert point_at(buffer, 12, 7) == 4
    assert point_at(buffer, 10, 2) is None
    assert point_at(buffer, 20, 14) is None
