"""Columns are as wide as in the training where points are dense, and wider only where a block would reach far."""

import numpy as np
import pytest

from s3dis_seg.data.blocks import cloud as cloud_module
from s3dis_seg.data.blocks.cloud import Cloud
from s3dis_seg.data.blocks.columns import column_corners, column_points, height_tiles
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.segmentation.layouts import crowded_points, layouts_of
from s3dis_seg.segmentation.plan import num_blocks
from s3dis_seg.synthetic.rooms import synthetic_room

SETTINGS = BlockSettings(num_points=256, grid=0.0, tallest=3.0)


def cloud_of(xyz):
    xyz = (xyz - xyz.min(axis=0)).astype(np.float32)
    return Cloud.of(xyz, np.zeros(xyz.shape, np.uint8), 0)


def spread(count, size, seed=0):
    return np.random.default_rng(seed).random((count, 3)) * size


def members(layouts):
    """How many columns of each layout hold each point. -> list of (M,) counts, by the numbers of the whole cloud"""
    total = len(layouts[0].cloud.xyz) if layouts[0].ids is None else None
    counts = []
    for layout in layouts:
        count = np.zeros(total, int)
        for _, corner, z_range, inside in layout.columns:
            ids = column_points(layout.cloud, corner, layout.settings.block_size, 1, z_range).ids
            assert len(ids) == inside > 0
            count[ids if layout.ids is None else layout.ids[ids]] += 1
        counts.append(count)
    return counts


@pytest.mark.parametrize("size", [(6, 4, 2.5), (6, 4, 8)], ids=["room", "in layers"])
@pytest.mark.parametrize("stride", [0.5, 1.0])
def test_a_dense_scan_has_every_column_that_touches_it(size, stride):
    cloud = cloud_of(spread(40_000, size))
    (layout,) = layouts_of(cloud, SETTINGS, stride, 1)
    layers, numbers = height_tiles(cloud, 3.0), {}
    for place, corner in enumerate(column_corners(cloud.cells, cloud.hi, 1.0, stride)):
        for layer, z_range in enumerate(layers):
            inside = column_points(cloud, corner, 1.0, 1, z_range).num_inside
            numbers |= {place * len(layers) + layer: (*corner, z_range, inside)} if inside else {}
    assert {column[0]: (*column[1], *column[2:]) for column in layout.columns} == numbers
    lows = [(column.corner[1], column.corner[0]) for column in layout.columns]
    assert layout.cloud is cloud and layout.ids is None and lows == sorted(lows)


def definition(xyz, needed, side, axes):
    square = np.floor(xyz[:, :axes] / side)
    return np.array([(np.abs(square - one).max(axis=1) <= 1).sum() >= needed for one in square])


@pytest.mark.parametrize(("layered", "axes"), [(False, 2), (True, 3)])
def test_crowded_points_have_a_block_of_points_about_them(layered, axes, monkeypatch):
    monkeypatch.setattr(cloud_module, "_CHUNK", 100)
    xyz = np.concatenate([spread(600, (3, 3, 9)), spread(600, (30, 30, 9), 1)])
    cloud = cloud_of(xyz)
    expected = definition(cloud.xyz, 150, 1.0, axes)
    assert 0 < expected.sum() < len(xyz)
    settings = BlockSettings(num_points=150, grid=0.0)
    np.testing.assert_array_equal(crowded_points(cloud, settings, layered), expected)


def test_beside_a_dense_room_the_strays_alone_get_wide_columns():
    dense, strays = spread(8000, (4, 4, 2.5)), spread(60, (200, 200, 2.5), 1) + np.array([8, 8, 0])
    beside = np.array([[4.9, 2.0, 1.0]])  # within a column's width of the room
    cloud = cloud_of(np.concatenate([dense, beside, strays]))
    alone = cloud_of(np.concatenate([dense, beside]))
    layouts = layouts_of(cloud, SETTINGS, 0.5, 0)
    in_room = (cloud.xyz[:, :2] < 5.5).all(axis=1)
    counts = members(layouts)
    assert (counts[0] > 0).tolist() == in_room.tolist()
    assert (sum(np.minimum(count, 1) for count in counts) == 1).all(), "every point is labelled in one layout"
    (expected,) = members(layouts_of(alone, SETTINGS, 0.5, 0))
    assert counts[0][in_room].sum() >= expected.sum() and len(layouts[0].columns) >= 64
    widths = [layout.settings.block_size for layout in layouts]
    assert widths[0] == 1.0 and widths == sorted(widths) and widths[-1] > 8


@pytest.mark.parametrize("size", [
    (1000, 1000, 3), (10_000, 1, 3), (1, 1, 1000), (6, 6, 1000), (5000, 4000, 2800), (53, 53, 3), (20, 20, 3),
])  # fmt: skip
def test_the_number_of_blocks_follows_the_points_and_not_the_space_between_them(size):
    cloud = cloud_of(spread(4000, size))
    layouts = layouts_of(cloud, SETTINGS, 0.5, 0)
    assert (sum(np.minimum(count, 1) for count in members(layouts)) == 1).all()
    assert num_blocks(layouts, 1) <= 30 * 4000 / 256


@pytest.mark.parametrize("count", [1, 2, 200])
@pytest.mark.parametrize("tallest", [None, 3.0])
def test_scans_of_fewer_points_than_a_block_end_in_few_columns(count, tallest):
    cloud = cloud_of(spread(count, (30, 2, 50)))
    layouts = layouts_of(cloud, BlockSettings(256, grid=0.0, tallest=tallest), 0.5, 0)
    assert (sum(np.minimum(count, 1) for count in members(layouts)) == 1).all()
    assert num_blocks(layouts, 1) <= 40


def test_without_points_there_are_no_columns():
    assert layouts_of(None, SETTINGS, 0.5, 0) == []


@pytest.mark.parametrize("kind", ["office", "lounge", "conferenceRoom"])
def test_an_ordinary_room_has_no_wider_columns(kind):
    room, settings = synthetic_room(0, name=f"Area_1_{kind}_1"), BlockSettings(tallest=2.9)
    cloud = Cloud.of(room.xyz - room.xyz.min(axis=0), room.rgb, settings.grid)
    (layout,) = layouts_of(cloud, settings, 0.5, 0)
    assert layout.settings == settings and layout.ids is None
