"""The nine channels of a block."""

import math

import numpy as np
import pytest
import torch

from s3dis_seg.data.blocks.cloud import Cloud, RoomPoints
from s3dis_seg.data.blocks.columns import column_corners, column_points
from s3dis_seg.data.blocks.datasets import BlockDataset
from s3dis_seg.data.blocks.features import Frame, block_features, frame_of, moved_frame, normalize
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import RoomFile, write_room
from s3dis_seg.data.rooms.room import room_of


def cloud_of(xyz, grid=0):
    xyz = np.asarray(xyz, np.float32)
    return Cloud.of(xyz, np.zeros((len(xyz), 3), np.uint8), grid)


def box_of_points(rng, size, count=4000):
    """Points on multiples of 1/1024 m that reach both ends of the box."""
    size = np.asarray(size)
    xyz = np.floor(rng.random((count, 3)) * size * 1024) / 1024
    return np.concatenate([xyz, [(0, 0, 0)], [size]]).astype(np.float32)


def test_nine_channels_of_one_point():
    frame = Frame(np.array([1.0, 0.0, 0.5]), np.array([4.0, 2.0, 2.0]))
    (row,) = block_features(np.array([[2.0, 1.5, 1.0]]), np.array([[255, 0, 51]], np.uint8), (1.5, 1.0), frame)
    np.testing.assert_allclose(row, [0.5, 0.5, 0.5, 1, 0, 0.2, 0.25, 0.75, 0.25], atol=1e-7)
    assert row.dtype == np.float32


def test_places_in_the_frame_stay_between_0_and_1_and_a_flat_axis_is_0():
    frame = Frame(np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.005]))
    features = block_features(np.array([[-1.0, 2.0, 0.003]]), np.zeros((1, 3), np.uint8), (0, 0), frame)
    assert features[0, 6:].tolist() == [0, 1, 0]
    assert features[0, 2] == pytest.approx(0.003)


def test_a_small_room_is_its_own_frame():
    cloud = cloud_of(box_of_points(np.random.default_rng(0), (4, 3, 2.5)))
    frame = frame_of(cloud, (0.5, 0.5), 8.0)
    assert frame.origin[:2].tolist() == [0, 0]
    assert frame.extent[:2].tolist() == [4, 3]
    assert frame.origin[2] == pytest.approx(0, abs=0.02)
    assert frame.extent[2] == pytest.approx(2.5, abs=0.03)


@pytest.mark.parametrize("center, origin", [((10, 1), 6), ((0.5, 1), 0), ((19.5, 1), 12)])
def test_in_a_long_hall_the_frame_moves_with_the_block_and_stays_inside(center, origin):
    cloud = cloud_of(box_of_points(np.random.default_rng(1), (20, 2, 2.5)))
    frame = frame_of(cloud, center, 8.0)
    assert frame.origin[:2].tolist() == [origin, 0]
    assert frame.extent[:2].tolist() == [8, 2]


def test_floor_and_ceiling_are_those_under_the_frame_and_ignore_strays():
    rng = np.random.default_rng(2)
    low, high = box_of_points(rng, (20, 2, 1)), box_of_points(rng, (20, 2, 1)) + np.float32([100, 0, 4])
    cloud = cloud_of(np.concatenate([low, high, [(5, 1, 9)]]))
    frame = frame_of(cloud, (5, 1), 8.0)
    assert (frame.origin[2], frame.extent[2]) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.03))
    frame = frame_of(cloud, (110, 1), 8.0)
    assert (frame.origin[2], frame.extent[2]) == (pytest.approx(4, abs=0.02), pytest.approx(1, abs=0.03))


def test_an_infinite_frame_is_the_plain_box_as_in_deepgcn():
    cloud = cloud_of(np.concatenate([box_of_points(np.random.default_rng(3), (20, 2, 2.5)), [(5, 1, 9)]]))
    frame = frame_of(cloud, (3, 1), math.inf)
    assert frame.origin.tolist() == [0, 0, 0]
    assert frame.extent.tolist() == cloud.hi.tolist() == [20, 2, 9]


def test_a_height_range_has_its_own_floor_and_ceiling():
    cloud = cloud_of(box_of_points(np.random.default_rng(4), (4, 4, 9), 50_000))
    frame = frame_of(cloud, (2, 2), 8.0, z_range=(3.0, 6.0))
    assert (frame.origin[2], frame.extent[2]) == (pytest.approx(3, abs=0.03), pytest.approx(3, abs=0.05))
    frame = frame_of(cloud, (2, 2), math.inf, z_range=(3.0, math.inf))
    assert (frame.origin[2], frame.extent[2]) == (3, 6)


def channels(source, corner, settings):
    column = column_points(source, corner, settings.block_size, settings.num_points)
    frame = frame_of(source, corner + settings.block_size / 2, settings.frame_size)
    return block_features(column.xyz, column.rgb, corner + settings.block_size / 2, frame)


@pytest.mark.parametrize("frame_size", [1.5, 8.0, math.inf])
def test_the_same_points_have_the_same_channels_from_disk_and_from_memory(tmp_path, frame_size):
    rng = np.random.default_rng(5)
    settings = BlockSettings(num_points=256, grid=0.05, frame_size=frame_size)
    xyz = rng.random((5000, 3)) * (3.3, 2.7, 2.5) + (100_000, -7, 3)
    room = room_of("Area_1_office_1", xyz, rng.integers(0, 256, (5000, 3)), rng.integers(0, 13, 5000))
    disk = RoomPoints(RoomFile(write_room(room, tmp_path)), settings.grid)
    memory = Cloud.of(room.xyz, room.rgb, settings.grid)
    for corner in column_corners(disk.cells, disk.hi, 1.0, 0.5):
        assert (channels(disk, corner, settings) == channels(memory, corner, settings)).all()


@pytest.mark.parametrize("name", ["none", "official"])
def test_blocks_of_the_dataset_are_blocks_of_the_cloud(tmp_path, name):
    rng = np.random.default_rng(6)
    settings = BlockSettings(num_points=256, grid=0.05, normalization=name)
    room = room_of(
        "Area_1_office_1",
        rng.random((3000, 3)) * (3.3, 2.7, 2.5),
        rng.integers(0, 256, (3000, 3)),
        rng.integers(0, 13, 3000),
    )
    path = write_room(room, tmp_path)
    dataset = BlockDataset([path], settings, stride=1.0, training=False)
    memory = Cloud.of(room.xyz, room.rgb, settings.grid)
    corners = column_corners(memory.cells, memory.hi, 1.0, 1.0)
    assert len(dataset) == len(corners)
    for (features, _), corner in zip(dataset, corners):
        center = corner + 0.5
        column = column_points(memory, corner, 1.0, 256)
        wanted = block_features(column.xyz, column.rgb, center, frame_of(memory, center, 8.0))
        # The draw orders the points of a full column at random: compare them as sets of rows.
        rows = {row.tobytes() for row in (wanted if name == "none" else wanted[:, 3:])}
        assert {row.tobytes() for row in (features if name == "none" else features[:, 3:]).contiguous().numpy()} <= rows


def test_official_normalization_centres_and_scales_each_block_alike_on_all_axes():
    blocks = torch.rand(3, 50, 9) * 4
    official = normalize(blocks, "official")
    xyz = official[..., :3]
    assert xyz.mean(dim=1).abs().max() < 1e-6
    np.testing.assert_allclose(xyz.abs().amax(dim=(1, 2)), 0.999999, atol=1e-6)
    assert (official[..., 3:] == blocks[..., 3:]).all()
    ratio = xyz.std(dim=1) / blocks[..., :3].std(dim=1)
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 2], rtol=1e-4)
    np.testing.assert_allclose(normalize(blocks.numpy(), "official"), official, atol=1e-7)
    assert normalize(blocks, "none") is blocks


def test_equal_points_normalize_to_zero():
    assert (normalize(torch.ones(1, 4, 9), "official")[..., :3] == 0).all()


def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="unknown normalization 'other'"):
        normalize(torch.ones(1, 4, 9), "other")


@pytest.mark.parametrize("frame_size, channels_compared", [(8.0, 9), (math.inf, 9), (2.5, 8)])
def test_moving_a_block_is_cutting_it_from_the_moved_room(frame_size, channels_compared):
    rng = np.random.default_rng(7)
    xyz, size = box_of_points(rng, (5, 4, 2.5)), np.array([5, 4, 2.5])
    rgb = np.zeros(xyz.shape, np.uint8)
    center = np.array([1.25, 3.25])
    x, y, z = xyz.T
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for linear, turned, moved_center in [
        (quarter, np.stack([size[1] - y, x, z], axis=1), (0.75, 1.25)),
        (np.diag([-1.0, 1, 1]), np.stack([size[0] - x, y, z], axis=1), (3.75, 3.25)),
        (np.eye(3) * 2, xyz * 2, (2.5, 6.5)),
    ]:
        window = frame_size * linear[2, 2]
        frame = frame_of(cloud_of(xyz), center, frame_size)
        about_block = (xyz - [*center, frame.origin[2]]) @ linear.T
        ours = block_features(about_block, rgb, (0, 0), moved_frame(frame, center, size, window, linear))
        cut = block_features(turned, rgb, moved_center, frame_of(cloud_of(turned), moved_center, window))
        # 1 cm steps of floor and ceiling are not scaled along, and a small frame meets other cells in a turned room.
        np.testing.assert_allclose(ours[:, :channels_compared], cut[:, :channels_compared], atol=0.02)
        np.testing.assert_allclose(np.delete(ours, (2, 8), 1), np.delete(cut, (2, 8), 1), atol=1e-6)
