"""Datasets of blocks."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from s3dis_seg.data.blocks.augment import augment
from s3dis_seg.data.blocks.datasets import BlockDataset, PointNetBlocks, PublishedDataset, tallest
from s3dis_seg.data.blocks.published import published_corners
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.pointnet import PointNetFiles
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.files import InputError

SMALL = BlockSettings(num_points=128, grid=0.05)


def a_room(seed, name, size=(3.3, 2.4, 2.6), count=4000):
    rng = np.random.default_rng(seed)
    return room_of(name, rng.random((count, 3)) * size, rng.integers(0, 256, (count, 3)), rng.integers(0, 13, count))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    names = ["Area_1_office_1", "Area_1_office_2", "Area_6_hallway_1"]
    return [write_room(a_room(seed, name), folder) for seed, name in enumerate(names)]


def same(one, other):
    return all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(one, other))


def test_items_are_features_and_labels(paths):
    dataset = BlockDataset(paths, SMALL)
    features, labels = dataset[0]
    assert (features.shape, features.dtype) == ((128, 9), torch.float32)
    assert (labels.shape, labels.dtype) == ((128,), torch.int64)
    # 3.3 m: columns at 0, 0.5, ... 2.0, 2.3; 2.4 m: 0, 0.5, 1.0, 1.4.
    assert len(dataset) == len(list(dataset)) == 3 * 6 * 4
    assert (dataset[-1][0] == dataset[len(dataset) - 1][0]).all()


def test_unlabelled_points_are_255(tmp_path):
    room = a_room(0, "Area_1_office_1")
    room.labels[:] = 255
    _, labels = BlockDataset([write_room(room, tmp_path)], SMALL)[0]
    assert (labels == 255).all()


def test_training_is_fresh_each_epoch_and_seeded(paths):
    dataset, again, other = (BlockDataset(paths, SMALL, seed=seed) for seed in (1, 1, 2))
    first = [dataset[number] for number in range(6)]
    assert same(first, [again[number] for number in range(6)])
    assert not same(first, [other[number] for number in range(6)])
    dataset.set_epoch(1)
    assert not same(first, [dataset[number] for number in range(6)])
    dataset.set_epoch(0)
    assert same(first, [dataset[number] for number in range(6)])


def test_columns_are_moved_within_the_room_when_training(paths):
    dataset = BlockDataset(paths[:1], SMALL, stride=0.5)
    corners = dataset._parts[0][2]
    hi = dataset.sources[0].hi[:2]
    for number, corner in enumerate(corners):
        _, moved, _, _ = dataset._column(number, np.random.default_rng(number))
        assert (np.abs(moved - corner) <= 0.25).all()
        assert (moved >= 0).all()
        assert (moved <= hi - 1).all()


def test_testing_is_the_same_in_every_epoch_and_seeded(paths):
    dataset = BlockDataset(paths, SMALL, stride=1.0, training=False)
    before = list(dataset)
    dataset.set_epoch(7)
    assert same(before, list(dataset))


def test_a_copy_gives_the_same_items(paths):
    dataset = BlockDataset(paths, SMALL)
    first = [dataset[number] for number in range(5)]
    copy = pickle.loads(pickle.dumps(dataset))
    assert same(first, [copy[number] for number in range(5)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_items_do_not_depend_on_the_number_of_workers(paths):
    dataset = BlockDataset(paths[:1], SMALL, augment=augment)
    dataset.set_epoch(3)
    dataset[0]  # an open file in the parent must not disturb the workers
    alone, shared_out = (list(DataLoader(dataset, batch_size=5, num_workers=number)) for number in (0, 2))
    assert len(alone) == len(shared_out)
    assert same(alone, shared_out)


def test_augmented_blocks_are_valid_blocks(paths):
    plain, augmented = BlockDataset(paths, SMALL), BlockDataset(paths, SMALL, augment=augment)
    for number in range(20):
        (features, labels), (before, same_labels) = augmented[number], plain[number]
        assert (labels == same_labels).all()
        assert (features != before).any()
        assert features[:, 3:].min() >= 0
        assert features[:, 3:].max() <= 1
        # A block of 1 m, turned and scaled by at most 1.1, reaches at most 0.78 m from its centre.
        assert features[:, :2].abs().max() < 0.8
        assert features[:, 2].min() > -0.1
        # Scaled by 1.1 as a whole and by 1.35 in height.
        assert features[:, 2].max() < 2.6 * 1.1 * 1.35 + 0.1


def test_no_augmentation_is_the_default_and_the_identity_changes_nothing(paths):
    def nothing(xyz, rgb, rng):
        return xyz, rgb, np.eye(3)

    plain, identity = BlockDataset(paths, SMALL), BlockDataset(paths, SMALL, augment=nothing)
    for number in range(10):
        np.testing.assert_allclose(identity[number][0], plain[number][0], atol=1e-6)


def test_a_room_too_tall_is_cut_in_height(tmp_path):
    tall = write_room(a_room(5, "Area_1_hall_1", size=(2.5, 1.5, 7.0), count=9000), tmp_path)
    low = write_room(a_room(6, "Area_1_office_1", size=(2.5, 1.5, 3.0)), tmp_path)
    assert tallest([low, tall]) == pytest.approx(7, abs=0.05)
    height = tallest([low])
    assert height == pytest.approx(3, abs=0.05)
    settings = BlockSettings(num_points=128, grid=0.05, tallest=height)
    dataset = BlockDataset([low, tall], settings, stride=1.0, training=False)
    assert len(dataset) == (1 + 3) * 6
    assert max(float(features[:, 2].max()) for features, _ in dataset) <= height + 0.05
    assert tallest([]) is None


def test_a_column_that_misses_all_points_gives_its_turn_to_the_next(tmp_path):
    # The cell 1.0-1.5 is occupied, but only at its far end; columns of 0.2 m mostly miss it.
    xyz = np.array([(0, 0, 0), (0.1, 0.1, 1), (1.45, 0, 0), (1.48, 0.1, 2)])
    room = room_of("Area_1_office_1", xyz, np.zeros((4, 3)), np.arange(4))
    settings = BlockSettings(num_points=2, block_size=0.2, grid=0)
    dataset = BlockDataset([write_room(room, tmp_path)], settings, stride=0.2, training=False)
    blocks = list(dataset)
    assert len(blocks) == len(dataset) > 4
    assert all(set(labels.tolist()) in ({0, 1}, {2, 3}) for _, labels in blocks)


def test_rooms_of_other_classes_are_refused_together(tmp_path):
    one, other = a_room(0, "Area_1_office_1"), a_room(1, "Area_1_office_2")
    other.class_names = tuple(reversed(other.class_names))
    with pytest.raises(InputError, match="has the classes"):
        BlockDataset([write_room(one, tmp_path), write_room(other, tmp_path)], SMALL)


@pytest.mark.parametrize("stride", [1.0, 0.5])
def test_published_blocks_of_prepared_rooms(tmp_path, stride):
    xyz = np.random.default_rng(0).random((3000, 3)) * (3.3, 2.4, 2.6)
    # Most points in one half: columns of the other are under 100 points, and dropped.
    xyz = xyz[(xyz[:, 0] < 2) | (np.arange(3000) % 5 == 0)]
    room = room_of("Area_5_office_1", xyz, np.full(xyz.shape, 51), np.arange(len(xyz)) % 13)
    dataset = PublishedDataset([write_room(room, tmp_path)], stride, num_points=200)
    x, y, _ = room.xyz.T
    hi = room.xyz.max(axis=0)
    counts = [int(((x >= a) & (x <= a + 1) & (y >= b) & (y <= b + 1)).sum()) for a, b in published_corners(hi, stride)]
    assert 0 < len(dataset) == sum(count >= 100 for count in counts) < len(counts)
    assert set(dataset.room) == {"Area_5_office_1"}
    assert set(dataset.area) == {5}
    features, labels = dataset[0]
    assert (features.shape, features.dtype, labels.dtype) == ((200, 9), torch.float32, torch.int64)
    assert features[:, :2].amin(dim=0).tolist() == pytest.approx([-0.5, -0.5])
    # Channels 6:9 times the room are its coordinates; z is the third channel as it is.
    np.testing.assert_allclose(features[:, 8] * hi[2], features[:, 2], atol=1e-6)
    np.testing.assert_allclose(features[:, 3:6], 0.2, atol=1e-6)
    assert same(list(dataset), list(dataset))
    centered = PublishedDataset([tmp_path / "Area_5_office_1.h5"], stride, num_points=200, normalization="official")
    assert centered[0][0][:, :3].abs().max() == pytest.approx(0.999999, abs=1e-6)


@pytest.fixture
def pointnet(tmp_path):
    """A small indoor3d_sem_seg_hdf5_data: five blocks of three rooms in two files."""
    folder = tmp_path / "indoor3d_sem_seg_hdf5_data"
    folder.mkdir()
    data = np.random.default_rng(0).random((5, 16, 9)).astype(np.float32)
    labels = (np.arange(80).reshape(5, 16) % 13).astype(np.uint8)
    for number, rows in enumerate((slice(0, 3), slice(3, 5))):
        with h5py.File(folder / f"ply_data_all_{number}.h5", "w") as file:
            file.create_dataset("data", data=data[rows], compression="gzip", chunks=(2, 8, 1))
            file.create_dataset("label", data=labels[rows], compression="gzip")
    lines = [f"indoor3d_sem_seg_hdf5_data/ply_data_all_{number}.h5" for number in range(2)]
    (folder / "all_files.txt").write_text("\n".join(lines) + "\n")
    rooms = ["Area_1_conferenceRoom_1"] * 2 + ["Area_1_office_1"] * 2 + ["Area_5_office_1"]
    (folder / "room_filelist.txt").write_text("\n".join(rooms) + "\n")
    return folder, data, labels


def test_pointnets_block_files_are_read_as_they_are(pointnet):
    folder, data, labels = pointnet
    blocks = PointNetBlocks(PointNetFiles(folder))
    assert len(blocks) == 5
    assert blocks.room[2] == "Area_1_office_1"
    assert blocks.area.tolist() == [1, 1, 1, 1, 5]
    for number in (4, 0, 2, 1, 3):
        features, classes = blocks[number]
        assert (features.numpy() == data[number]).all()
        assert (classes.numpy() == labels[number]).all()
        assert (features.dtype, classes.dtype) == (torch.float32, torch.int64)
    copy = pickle.loads(pickle.dumps(blocks))
    assert same([blocks[3]], [copy[3]])


def test_pointnets_blocks_by_room(pointnet):
    folder, data, _ = pointnet
    offices = PointNetBlocks(PointNetFiles(folder), rooms=["Area_1_office_1"])
    assert [(features.numpy() == data[row]).all() for row, (features, _) in enumerate(offices, start=2)] == [True, True]
    with pytest.raises(InputError, match=r"no room Area_1_ofice_1; near it are Area_1_office_1"):
        PointNetBlocks(PointNetFiles(folder), rooms=["Area_1_ofice_1"])


def test_pointnets_rooms_have_blocks_but_no_points(pointnet):
    folder, _, _ = pointnet
    room = open_rooms(folder)[0]
    assert not room.has_all_points
    with pytest.raises(InputError, match=rf"holds only drawn blocks of {room.name}, not its points"):
        room.room()


def test_damaged_block_folders_are_told(pointnet, tmp_path):
    folder, _, _ = pointnet
    with pytest.raises(InputError, match=r"there is no .*all_files\.txt"):
        PointNetFiles(tmp_path)
    (folder / "room_filelist.txt").write_text("Area_1_office_1\n")
    with pytest.raises(InputError, match=r"names the rooms of 1 blocks, but the files .* hold 5"):
        PointNetBlocks(PointNetFiles(folder))
    (folder / "ply_data_all_1.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"ply_data_all_1\.h5 is missing, damaged or no block file"):
        PointNetBlocks(PointNetFiles(folder))
