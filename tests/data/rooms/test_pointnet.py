"""PointNet's block files: what is damaged in them is one sentence that names the file."""

import zlib

import h5py
import numpy as np
import pytest

from s3dis_seg.data.blocks.datasets import PointNetBlocks
from s3dis_seg.data.rooms.pointnet import PointNetFiles
from s3dis_seg.files import InputError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "blocks_0.h5", "w") as file:
        file["data"] = rng.random((4, 20, 9), np.float32)
        file["label"] = rng.integers(0, 13, (4, 20)).astype(np.uint8)
    (tmp_path / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/blocks_0.h5\n")
    (tmp_path / "room_filelist.txt").write_text("Area_1_office_1\n" * 4)
    return tmp_path


def read_everything(folder):
    files = PointNetFiles(folder)
    blocks = PointNetBlocks(files)
    files.fingerprint(files.rows_of())
    return blocks.class_counts.sum() + sum(len(blocks[place][0]) for place in range(len(blocks)))


def test_a_sound_folder_is_read(folder):
    assert read_everything(folder) == 160


@pytest.mark.parametrize(("name", "content", "message"), [
    ("all_files.txt", b"", "all_files.txt is empty"),
    ("all_files.txt", b"\xff\xfe\n", "all_files.txt cannot be read"),
    ("all_files.txt", b"x\n" * 3_000_000, "is longer than"),
    ("all_files.txt", b"a\0b.h5\n", "is no name"),
    ("all_files.txt", b"absent.h5\n", "absent.h5 is missing, damaged or no block file"),
    ("all_files.txt", b"../..\n", "is no block file"),
    ("room_filelist.txt", b"../../x\n" * 4, "is no name of a room"),
    ("room_filelist.txt", b"Area_1_office_1\n" * 3, "names the rooms of 3 blocks"),
    ("blocks_0.h5", b"no HDF5", "blocks_0.h5 is missing, damaged"),
])  # fmt: skip
def test_damaged_lists_and_files_are_one_sentence(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_everything(folder)
    assert "\n" not in str(error.value)


def _replace(file, name, values):
    del file[name]
    if values is not None:
        file[name] = values


@pytest.mark.parametrize(("change", "message"), [
    (lambda file: _replace(file, "label", None), "it has no label"),
    (lambda file: _replace(file, "label", h5py.SoftLink("/data")), "its label is a link"),
    (lambda file: _replace(file, "label", h5py.ExternalLink("/etc/passwd", "x")), "its label is a link"),
    (lambda file: _replace(file, "label", np.full((4, 20), 13, np.uint8)), "labels of no class"),
    (lambda file: _replace(file, "label", np.full((4, 20), "x", "S1")), "its labels"),
    (lambda file: _replace(file, "data", np.full((4, 20, 9), np.nan, np.float32)), "numbers that are not finite"),
    (lambda file: _replace(file, "data", np.zeros((4, 20, 8), np.float32)), r"its data are \(4, 20, 8\)"),
    (lambda file: _replace(file, "data", np.zeros((0, 20, 9), np.float32)), r"its data are \(0, 20, 9\)"),
])  # fmt: skip
def test_blocks_that_no_network_can_learn_are_one_sentence(folder, change, message):
    with h5py.File(folder / "blocks_0.h5", "r+") as file:
        change(file)
    with pytest.raises(InputError, match=message) as error:
        read_everything(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("chunks", [None, (1, 1 << 30, 9), (1 << 12, 1 << 12, 9)])
def test_blocks_that_would_unpack_to_more_than_memory_are_refused_before(folder, chunks):
    shape = (4, 1 << 30, 9) if chunks is None or chunks[1] == 1 << 30 else (1 << 12, 1 << 12, 9)
    with h5py.File(folder / "blocks_0.h5", "w") as file:
        packed = {} if chunks is None or np.prod(chunks) >= 1 << 30 else {"compression": "gzip", "chunks": chunks}
        data = file.create_dataset("data", shape, np.float32, **packed)
        if packed:
            data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(1000)))
        file.create_dataset("label", shape[:2], np.uint8)
    with pytest.raises(InputError, match=r"declares more numbers|is packed in chunks"):
        PointNetFiles(folder)
