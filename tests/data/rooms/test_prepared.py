import os
import pickle

import h5py
import numpy as np
import pytest

from s3dis_seg.classes import S3DIS, Classes
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.rooms import prepared as rooms
from s3dis_seg.data.rooms.prepared import RoomFile, find_rooms, write_room
from s3dis_seg.data.rooms.room import Repair, area_of, room_of
from s3dis_seg.data.rooms.sources import find_sources
from s3dis_seg.files import InputError


def make_room(name="Area_3_hallway_3", count=500, seed=0):
    rng = np.random.default_rng(seed)
    return room_of(
        name,
        rng.random((count, 3)) * (4, 3, 2.5) + (-20, 35, 0.5),
        rng.integers(0, 256, (count, 3)),
        rng.integers(0, 13, count),
        instances=rng.integers(-1, 30, count),
        source="a test",
        repairs=[Repair("Area_3/hallway_3/Annotations/wall_1.txt", 7, "'1\\x00' read as '1 '", known=True)],
    )


def rows(room):
    """The points of a room as a sorted table, whatever their order."""
    table = np.c_[room.xyz + room.offset, room.rgb, room.labels, room.instances]
    return table[np.lexsort(table.T)]


def test_a_room_comes_back_as_it_was_written(tmp_path):
    room = make_room()
    back = RoomFile(write_room(room, tmp_path)).room()
    assert np.array_equal(rows(back), rows(room))
    for field in ("name", "source", "class_names", "repairs", "area"):
        assert getattr(back, field) == getattr(room, field)
    assert (back.xyz.dtype, back.rgb.dtype, back.labels.dtype) == (np.float32, np.uint8, np.uint8)
    assert (back.instances.dtype, back.offset.dtype) == (np.int32, np.float64)


def test_classes_of_the_user_travel_with_a_room_and_old_rooms_have_those_they_name(tmp_path):
    room = make_room()
    room.classes = classes_of_text("ground #0a0b0c = 2\nÄste = 5, 64-70\nignore = rest", "x")
    room.labels[:] = np.where(room.labels < 6, 0, 1)
    path = write_room(room, tmp_path)
    assert RoomFile(path).classes == room.classes and RoomFile(path).room().classes == room.classes
    with h5py.File(path, "r+") as file:
        del file["classes"]
    assert RoomFile(path).classes == Classes.named(["ground", "Äste"])
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file["classes"]
    assert RoomFile(path).classes is S3DIS


@pytest.mark.parametrize("value", ["wall = 1", "no class file", 3.0, np.zeros(2)])
def test_damaged_classes_are_one_sentence(tmp_path, value):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file["classes"]
        file["classes"] = value
    with pytest.raises(InputError, match="is damaged"):
        _ = RoomFile(path).classes


def test_a_room_tells_which_cells_have_a_labelled_point(tmp_path):
    xyz = np.array([[0, 0, 0], [0.1, 0, 0], [0.6, 0, 0], [1.2, 0, 0]])
    room = room_of("a", xyz, np.zeros((4, 3)), np.array([255, 3, 255, 4]))
    assert RoomFile(write_room(room, tmp_path)).labelled_cells.tolist() == [True, False, True]
    room.labels[:] = 0
    assert RoomFile(write_room(room, tmp_path)).labelled_cells.all()


def test_a_room_file_tells_its_size_without_reading_points(tmp_path):
    room = make_room()
    file = RoomFile(write_room(room, tmp_path))
    assert (file.name, file.area, file.num_points) == ("Area_3_hallway_3", 3, 500)
    assert np.array_equal(file.hi, room.xyz.max(axis=0))
    assert file.class_counts.tolist() == np.bincount(room.labels, minlength=13).tolist()


def test_points_are_stored_by_cell(tmp_path):
    file = RoomFile(write_room(make_room(), tmp_path))
    for cell, start, stop in zip(file.cells.indices, file.cells.starts, file.cells.starts[1:]):
        xyz, rgb, labels = file.read(start, stop)
        assert (np.floor(xyz[:, :2] / 0.5) == cell).all()
        assert len(xyz) == len(rgb) == len(labels) == stop - start
    assert file.profile.counts.sum() == 500


def test_coordinates_far_away_lose_nothing():
    xyz = np.array([[500000.001, 4649776.002, 100.0], [500000.123, 4649777.456, 101.0]])
    room = room_of("scan", xyz, np.zeros((2, 3)), np.zeros(2))
    assert room.xyz.min() == 0
    assert np.abs(room.xyz + room.offset - xyz).max() < 1e-6


@pytest.mark.parametrize("name, area", [("Area_3_hallway_3", 3), ("Area_12_x", 12), ("office_1", None)])
def test_the_area_comes_from_the_name(name, area):
    assert area_of(name) == area


def test_rooms_are_found_by_name_and_half_written_ones_are_not(tmp_path):
    for name in ("Area_2_office_1", "Area_1_office_2", "Area_1_office_10"):
        write_room(make_room(name), tmp_path)
    (tmp_path / ".writing-x.h5").write_bytes(b"half")
    assert [path.stem for path in find_rooms(tmp_path)] == ["Area_1_office_10", "Area_1_office_2", "Area_2_office_1"]


def test_a_folder_without_rooms_names_the_remedy(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="s3dis-seg prepare"):
            find_rooms(folder)


def test_a_failed_write_leaves_the_old_room_in_place(tmp_path, monkeypatch):
    path = write_room(make_room(), tmp_path)
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rooms.h5py.Group, "create_dataset", full_disk)
    with pytest.raises(InputError, match="No space left"):
        write_room(make_room(seed=1), tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_stored_is_refused(tmp_path):
    empty = make_room()
    empty.xyz = empty.xyz[:0]
    with pytest.raises(InputError, match="no points"):
        write_room(empty, tmp_path)
    broken = make_room()
    broken.xyz[7] = np.nan
    with pytest.raises(InputError, match=r"1 points with NaN.*point 7"):
        write_room(broken, tmp_path)
    strange = make_room()
    strange.labels[3] = 13
    with pytest.raises(InputError, match="label 13"):
        write_room(strange, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("far", [1e30, 1e300, 1.7e308])
def test_coordinates_beyond_all_bounds_are_one_sentence(tmp_path, far):
    xyz = np.array([[-far, 0, 0], [0, 1, 1], [1, 2, 2]])
    with pytest.raises(InputError, match=r"infinite coordinates|far away"):
        write_room(room_of("Area_1_hall_1", xyz, np.zeros((3, 3)), np.zeros(3)), tmp_path)
    np.save(tmp_path / "Area_1_hall_1.npy", np.c_[xyz, np.zeros((3, 4))])
    with pytest.raises(InputError, match=r"hall_1\.npy, row 0.*m long along x"):
        find_sources(tmp_path)[0].read()


def test_another_format_version_and_other_files_are_refused(tmp_path):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(InputError, match="format version 99"):
        RoomFile(path).name  # noqa: B018
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1]
    with pytest.raises(InputError, match="no prepared room"):
        RoomFile(tmp_path / "other.h5").name  # noqa: B018


def test_a_truncated_file_is_named(tmp_path):
    path = write_room(make_room(count=5000), tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=path.name):
        RoomFile(path).room()


def test_an_open_room_file_can_be_pickled(tmp_path):
    file = RoomFile(write_room(make_room(), tmp_path))
    xyz, _, _ = file.read(0, 100)
    copy = pickle.loads(pickle.dumps(file))
    assert np.array_equal(copy.read(0, 100)[0], xyz)


def test_a_forked_process_opens_the_file_anew(tmp_path, monkeypatch):
    file = RoomFile(write_room(make_room(), tmp_path))
    before = file._file
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert file._file is not before
    assert len(file.read(0, 100)[0]) == 100
    file.close()


def test_only_so_many_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "_MOST_OPEN_FILES", 2)
    files = [RoomFile(write_room(make_room(f"Area_1_office_{i}", seed=i), tmp_path)) for i in range(5)]
    for _ in range(2):
        for file in files:
            assert len(file.read(0, 10)[0]) == 10
            assert len(rooms._open_files) <= 2


def read_all(path):
    file = RoomFile(path)
    return file.name, file.cells, file.profile, file.room()


DATASETS = (
    "xyz", "rgb", "labels", "instances", "cells/indices", "cells/starts",
    "profile/starts", "profile/bins", "profile/counts", "repairs",
)  # fmt: skip


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_or_misshapen_dataset_is_one_sentence(tmp_path, name):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(InputError, match=f"is damaged .*it has no {name}.*prepare again"):
        read_all(path)
    with h5py.File(path, "r+") as file:
        file[name] = np.zeros((7, 5, 2))
    with pytest.raises(InputError, match="is damaged"):
        read_all(path)


@pytest.mark.parametrize("attribute", ["name", "source", "class_names", "class_counts", "offset", "hi"])
def test_a_missing_or_senseless_attribute_is_one_sentence(tmp_path, attribute):
    path = write_room(make_room(), tmp_path)
    for value in (np.float64(np.nan), "../elsewhere" if attribute == "name" else np.zeros(2)):
        with h5py.File(path, "r+") as file:
            file.attrs[attribute] = value
        with pytest.raises(InputError, match="is damaged"):
            read_all(path)
    with h5py.File(path, "r+") as file:
        del file.attrs[attribute]
    with pytest.raises(InputError, match="is damaged"):
        read_all(path)


@pytest.mark.parametrize("table", ["cells/starts", "profile/starts"])
def test_a_table_that_does_not_ascend_is_refused(tmp_path, table):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        file[table][1] = 10**9
    with pytest.raises(InputError, match=f"{table} do not ascend"):
        read_all(path)


def external(file, name, other):
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(other), 0, int(np.prod(shape)) * dtype.itemsize)])


def external_link(file, name, other):
    del file[name]
    file[name] = h5py.ExternalLink(str(other), name)


def soft_link(file, name, other):
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def virtual(file, name, other):
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[:] = h5py.VirtualSource(str(other), name, file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("way", [external, external_link, soft_link, virtual])
@pytest.mark.parametrize("name", ["labels", "xyz", "instances", "cells/indices", "profile/counts"])
def test_a_room_that_takes_its_data_from_another_file_is_refused(tmp_path, way, name):
    path = write_room(make_room(), tmp_path)
    other = write_room(make_room("Area_1_office_1"), tmp_path)
    with h5py.File(path, "r+") as file:
        way(file, name, other)
    with pytest.raises(InputError, match=r"is a link|kept in another file"):
        RoomFile(path).name  # noqa: B018


def test_a_group_that_is_a_link_is_refused(tmp_path):
    path = write_room(make_room(), tmp_path)
    other = write_room(make_room("Area_1_office_1"), tmp_path)
    with h5py.File(path, "r+") as file:
        external_link(file, "cells", other)
    with pytest.raises(InputError, match="its cells is a link"):
        RoomFile(path).name  # noqa: B018


def test_a_file_without_a_sound_root_is_one_sentence(tmp_path, monkeypatch):
    def no_root(self, name):
        raise KeyError("unable to determine object type")

    path = write_room(make_room(), tmp_path)
    monkeypatch.setattr(h5py.Group, "__getitem__", no_root)
    with pytest.raises(InputError, match=r"is damaged .*object type.*prepare again"):
        _ = RoomFile(path).name


@pytest.mark.parametrize("name", ["xyz", "instances"])
def test_numbers_that_are_declared_and_not_stored_are_refused(tmp_path, name):
    path = write_room(make_room(), tmp_path)
    for chunks in (None, True):
        with h5py.File(path, "r+") as file:
            shape, kind = file[name].shape, file[name].dtype
            del file[name]
            file.create_dataset(name, shape, kind, chunks=chunks)
        with pytest.raises(InputError, match=f"its {name} declares more numbers than the file holds"):
            read_all(path)


def test_a_room_of_a_size_beyond_all_memory_is_refused_at_once(tmp_path):
    path, many = write_room(make_room(), tmp_path), 2**40
    with h5py.File(path, "r+") as file:
        for name, shape in (("xyz", (many, 3)), ("rgb", (many, 3)), ("labels", (many,)), ("instances", (many,))):
            kind = file[name].dtype
            del file[name]
            file.create_dataset(name, shape, kind)
    with pytest.raises(InputError, match="declares more numbers than the file holds"):
        read_all(path)


@pytest.mark.parametrize("name, place, value, message", [
    ("xyz", 3, np.nan, "outside of its own box"),
    ("xyz", 3, 1e30, "outside of its own box"),
    ("labels", 3, 77, "labels beyond its 13 classes"),
    ("profile/counts", 0, 0, "does not count each point once"),
    ("profile/counts", 0, 10**6, "does not count each point once"),
    ("profile/bins", 0, -5, "does not count each point once"),
    ("cells/indices", 0, -1, "out of order"),
    ("cells/indices", 0, 10**6, "out of order"),
])  # fmt: skip
def test_odd_numbers_inside_a_room_are_told(tmp_path, name, place, value, message):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        values.reshape(-1)[place] = value
        file[name][:] = values
    with pytest.raises(InputError, match=message):
        read_all(path)


def test_errors_about_damaged_rooms_stay_short(tmp_path):
    path = write_room(make_room(), tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["name"] = "a/\n" * 10_000
    with pytest.raises(InputError, match="its name is") as error:
        read_all(path)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)
