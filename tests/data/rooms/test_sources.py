import re
import sys

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.rooms import release as s3dis
from s3dis_seg.data.rooms.release import find_strays, read_points
from s3dis_seg.data.rooms.room import Repair
from s3dis_seg.data.rooms.sources import find_sources
from s3dis_seg.files import InputError

LINE = b"-15.609 39.505 2.154 111 104 95\n"


def write_room(folder, **objects):
    """Write Annotations of a room: chair_1=b"x y z r g b" and so on. Points are told apart by their first number."""
    annotations = folder / "Annotations"
    annotations.mkdir(parents=True)
    for name, text in objects.items():
        (annotations / f"{name}.txt").write_bytes(text)
    return annotations


def write_lines(path, *lines, end=b"\n"):
    path.write_bytes(b"".join(line + end for line in lines))
    return path


def only_room(folder):
    (source,) = find_sources(folder)
    return source.read()


@pytest.fixture
def release(tmp_path):
    return tmp_path / "Stanford3dDataset_v1.2_Aligned_Version"


@pytest.fixture(params=["polars", "line by line"])
def parser(request, monkeypatch):
    """The fast way, and the careful one as on a machine without polars."""
    if request.param == "line by line":
        monkeypatch.setitem(sys.modules, "polars", None)


# ---- what is read


def test_a_room_is_read_from_its_annotations(release):
    write_room(release / "Area_3/hallway_3", wall_1=LINE + b"1 2 3 4 5 6\n", chair_1=b"0 0 0 0 0 0\n")
    room = only_room(release)
    assert room.name == "Area_3_hallway_3"
    assert room.offset.tolist() == [-15.609, 0, 0]
    assert (room.xyz + room.offset).round(3).tolist() == [[0, 0, 0], [-15.609, 39.505, 2.154], [1, 2, 3]]
    assert room.rgb.tolist() == [[0, 0, 0], [111, 104, 95], [4, 5, 6]]
    assert [CLASSES[label] for label in room.labels] == ["chair", "wall", "wall"]
    assert room.instances.tolist() == [0, 1, 1]
    assert room.source == "Stanford3dDataset_v1.2_Aligned_Version/Area_3/hallway_3"
    assert room.repairs == ()


@pytest.mark.parametrize("given", ["", "Stanford3dDataset_v1.2_Aligned_Version", "{}/Area_1", "{}/Area_1/office_1"])
def test_the_release_its_parent_an_area_or_a_room_may_be_named(tmp_path, release, given):
    write_room(release / "Area_1/office_1", wall_1=LINE)
    assert [source.name for source in find_sources(tmp_path / given.format(release.name))] == ["Area_1_office_1"]


def test_rooms_come_sorted_by_name(release):
    for room in ("Area_2/office_1", "Area_1/office_2", "Area_1/WC_1"):
        write_room(release / room, wall_1=LINE)
    assert [source.name for source in find_sources(release)] == ["Area_1_WC_1", "Area_1_office_2", "Area_2_office_1"]


def test_two_variants_in_one_folder_must_be_told_apart(tmp_path):
    for variant in ("Stanford3dDataset_v1.2", "Stanford3dDataset_v1.2_Aligned_Version"):
        write_room(tmp_path / variant / "Area_1/office_1", wall_1=LINE)
    with pytest.raises(InputError, match=r"more than one release.*Aligned_Version"):
        find_sources(tmp_path)


def test_instances_are_numbered_in_the_order_of_people(release):
    write_room(release / "Area_1/office_1", wall_10=b"10 0 0 0 0 0", wall_2=b"2 0 0 0 0 0", beam_1=b"0 0 0 0 0 0")
    assert only_room(release).xyz[:, 0].tolist() == [0, 2, 10]


@pytest.mark.parametrize(
    "text",
    [
        b"1 2 3 4 5 6\n7 8 9 10 11 12",
        b"1 2 3 4 5 6\r\n7 8 9 10 11 12\r\n",
        b"  1\t2  3 4 5 6 \n\n   \n7 8 9 10 11 12\n\n",
        b"\n1.0e0 +2 3. 4.000000 5.000000 6.000000\n7 .8e1 9 10 11.000 12.0\n",
        b"\xef\xbb\xbf1 2 3 4 5 6\n7 8 9 10 11 12\n",
    ],
    ids=["no last line end", "windows", "tabs, spaces and blank lines", "ways to write numbers", "utf-8 mark"],
)
def test_harmless_differences_are_read_without_a_word(tmp_path, parser, text):
    (tmp_path / "wall_1.txt").write_bytes(text)
    xyz, rgb, mended = read_points(tmp_path / "wall_1.txt")
    assert xyz.tolist() == [[1, 2, 3], [7, 8, 9]]
    assert rgb.tolist() == [[4, 5, 6], [10, 11, 12]]
    assert (rgb.dtype, mended) == (np.uint8, [])


def test_colors_from_0_to_1_are_stretched(release):
    write_room(release / "Area_1/office_1", wall_1=b"0 0 0 0 0.5 1.0\n1 1 1 1 1 0.2\n")
    assert only_room(release).rgb.tolist() == [[0, 128, 255], [255, 255, 51]]


def test_both_ways_of_parsing_agree_or_the_fast_one_gives_up():
    rng = np.random.default_rng(0)
    good = b"".join(b"%.3f %.3f %.3f %d %d %d\n" % (*rng.normal(size=3), *rng.integers(0, 256, 3)) for _ in range(5))
    seen = 0
    for text in (good, good.replace(b"\n", b"\r\n"), good.replace(b" ", b"\t ")):
        for _ in range(300):
            damaged = bytearray(text)
            damaged[rng.integers(len(text))] = rng.choice(list(b"0123456789.-+eE \t\r\n\x00\x10\x16\x0e,_\xffnaif"))
            fast = s3dis._parse_fast(bytes(damaged)) or s3dis._parse_fast(s3dis._tidy(bytes(damaged)))
            if fast is not None:
                xyz, rgb, _ = s3dis._parse_carefully(bytes(damaged), "a file")
                assert np.array_equal(fast[0], xyz)
                assert np.array_equal(fast[1], rgb)
                seen += 1
    assert seen > 100


# ---- the faults of the release


@pytest.mark.parametrize(
    "file, line, damaged, mended",
    [
        ("Area_5/hallway_6/Annotations/ceiling_1.txt", 180389, b"22.3 6.6 3.1 185\x00187 182", (22.3, 185, 187, 182)),
        (
            "Area_5/office_19/Annotations/ceiling_1.txt",
            323474,
            b"22.3 6.6 3.1 103.0\x100000 7.0 8.0",
            (22.3, 103, 7, 8),
        ),
    ],
)
def test_the_known_damaged_lines_are_mended_and_reported(tmp_path, file, line, damaged, mended):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(LINE * (line - 1) + damaged + b"\n" + LINE)
    room = only_room(tmp_path)
    assert len(room.xyz) == line + 1
    values = (room.xyz[line - 1] + room.offset)[0], *room.rgb[line - 1]
    assert values == pytest.approx(mended)
    (repair,) = room.repairs
    assert (repair.file, repair.line, repair.known) == (file, line, True)
    assert str(repair).startswith(f"{file}:{line}: '22.3 6.6 3.1 1")


@pytest.mark.parametrize(
    "damaged, mended",
    [
        (b"-9.1\x160 2 3 4 5 6", [-9.16, 2, 3, 4, 5, 6]),  # 0x16 was '6'
        (b"1 2\x003 4 5 6", [1, 2, 3, 4, 5, 6]),
        (b"1 \r2 3 4 5 6", [1, -2, 3, 4, 5, 6]),  # a carriage return was '-'
        (b"1\r 2 3 4 5 6", [1, 2, 3, 4, 5, 6]),  # no minus can stand there
        (b"1\x0e5 2 3 4 5 6", [1.5, 2, 3, 4, 5, 6]),  # 0x0e was '.'
        (b"1 2 3 4 5 2\x0755", [1, 2, 3, 4, 5, 255]),  # stands for nothing
        (b"1 2 3 4\x075 6", [1, 2, 3, 4, 5, 6]),  # stands for a space
    ],
)
def test_control_characters_are_read_as_what_they_were(tmp_path, parser, damaged, mended):
    path = write_lines(tmp_path / "wall_1.txt", b"7 8 9 10 11 12", damaged)
    xyz, rgb, repairs = read_points(path)
    assert [*xyz[1], *rgb[1]] == pytest.approx(mended)
    assert [line for line, _ in repairs] == [2]


def test_a_second_copy_is_left_out(release):
    annotations = write_room(release / "Area_5/office_36", wall_3=LINE * 2)
    (annotations / "wall_3 (1).txt").write_bytes(LINE * 2)
    room = only_room(release)
    assert len(room.xyz) == 2
    expected = Repair("Area_5/office_36/Annotations/wall_3 (1).txt", None, "second copy of wall_3.txt, left out", True)
    assert room.repairs == (expected,)


def test_points_that_only_the_second_copy_has_are_kept(release):
    annotations = write_room(release / "Area_1/office_1", wall_3=LINE, door_1=LINE)
    (annotations / "wall_3 - Copy.txt").write_bytes(LINE + b"1 2 3 4 5 6\n")
    room = only_room(release)
    assert room.instances.tolist() == [0, 1, 1]
    assert "1 points left out, 1 new ones kept" in str(room.repairs[0])


def test_a_copy_without_its_original_is_an_object(release):
    annotations = write_room(release / "Area_1/office_1", wall_1=LINE)
    (annotations / "chair_2 (1).txt").write_bytes(LINE)
    room = only_room(release)
    assert room.instances.max() == 1
    assert "there is no chair_2.txt" in str(room.repairs[0])


def test_stairs_count_as_clutter(release):
    write_room(release / "Area_1/office_1", stairs_1=LINE)
    room = only_room(release)
    assert CLASSES[room.labels[0]] == "clutter"
    assert str(room.repairs[0]) == "Area_1/office_1/Annotations/stairs_1.txt: stairs counts as clutter"


def test_stray_files_and_misnamed_room_files_are_reported_and_lose_nothing(release):
    room = release / "Area_6/copyRoom_1"
    annotations = write_room(room, wall_1=LINE)
    for stray in (annotations / ".DS_Store", annotations / "._wall_1.txt", annotations / "Icon\r", room / "Thumbs.db"):
        stray.write_bytes(b"\x00\x01")
    (room / "copy_Room_1.txt").write_bytes(LINE)
    (release / "Area_6/.DS_Store").write_bytes(b"\x00")
    (release / "Area_6/Area_6_alignmentAngle.txt").write_text("companion of the release")
    result = only_room(release)
    assert len(result.xyz) == 1
    known = [repair for repair in result.repairs if repair.known]
    assert [repair.file for repair in known] == ["Area_6/copyRoom_1/copy_Room_1.txt"]
    assert len(result.repairs) == 5
    assert [repair.file for repair in find_strays(release)] == ["Area_6/.DS_Store"]


# ---- damage that no rule explains


@pytest.mark.parametrize(
    "damaged",
    [
        b"1 2 3 4 5",
        b"1 2 3 4 5 6 7",
        b"1 2 3 4 5 300",
        b"1 2 3 -1 5 6",
        b"1 nan 3 4 5 6",
        b"1 2,5 3 4 5 6",
        b"1_0 2 3 4 5 6",
    ],
    ids=["short", "long", "too bright", "negative color", "not a number", "comma", "underscore"],
)
def test_unknown_damage_is_an_error_naming_file_line_and_text(tmp_path, parser, damaged):
    path = write_lines(tmp_path / "wall_1.txt", b"1 2 3 4 5 6", b"", damaged, b"1 2 3 4 5 6")
    shown = re.escape(damaged.decode())
    with pytest.raises(InputError, match=rf"wall_1\.txt, line 3: expected 'x y z r g b'.*found '{shown}'"):
        read_points(path)


def test_a_file_with_seven_columns_throughout_is_refused(tmp_path):
    path = write_lines(tmp_path / "wall_1.txt", b"1 2 3 4 5 6 7", b"1 2 3 4 5 6 7")
    with pytest.raises(InputError, match="line 1: expected 'x y z r g b'"):
        read_points(path)


@pytest.mark.parametrize("text", [b"", b"\n \r\n\n"])
def test_an_empty_object_is_an_error(tmp_path, text):
    (tmp_path / "wall_1.txt").write_bytes(text)
    with pytest.raises(InputError, match=r"wall_1\.txt is empty.*delete"):
        read_points(tmp_path / "wall_1.txt")


def test_a_lost_decimal_point_is_found_by_its_file_and_line(release):
    write_room(release / "Area_1/office_1", door_1=LINE, wall_1=b"1 2 3 4 5 6\n\n1 2154 3 4 5 6\n")
    with pytest.raises(InputError, match=r"wall_1\.txt, line 3: 1 2154 3 makes the room 2152 m long along y"):
        only_room(release)


def test_names_that_say_no_class_are_errors(release):
    annotations = write_room(release / "Area_1/office_1", lamp_1=LINE)
    with pytest.raises(InputError, match=r"lamp_1\.txt: 'lamp' is no class of S3DIS; expected one of ceiling, floor"):
        only_room(release)
    (annotations / "lamp_1.txt").rename(annotations / "12.txt")
    with pytest.raises(InputError, match="not named like wall_3"):
        only_room(release)


def test_a_room_without_annotations_is_an_error_and_not_left_out(release):
    write_room(release / "Area_1/office_1", wall_1=LINE)
    (release / "Area_1/office_2").mkdir()
    (release / "Area_1/office_2/office_2.txt").write_bytes(LINE)
    sources = find_sources(release)
    assert [source.name for source in sources] == ["Area_1_office_1", "Area_1_office_2"]
    with pytest.raises(InputError, match="office_2 has no folder Annotations"):
        sources[1].read()
    write_room(release / "Area_1/office_3")
    with pytest.raises(InputError, match="holds no files like"):
        find_sources(release)[2].read()


def test_folders_without_rooms_say_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"holds no rooms; expected Area_1/office_1/Annotations"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "missing")
    (tmp_path / "Stanford3dDataset_v1.2.zip").write_bytes(b"")
    with pytest.raises(InputError, match="unpack it"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="is a file; unpack it"):
        find_sources(tmp_path / "Stanford3dDataset_v1.2.zip")


def test_pointnets_blocks_are_recognised(tmp_path):
    blocks = tmp_path / "indoor3d_sem_seg_hdf5_data"
    blocks.mkdir()
    (blocks / "ply_data_all_0.h5").write_bytes(b"")
    for folder in (tmp_path, blocks):
        with pytest.raises(InputError, match=r"need no preparing: s3dis-seg train --data .*hdf5_data"):
            find_sources(folder)


# ---- the other forms


TABLE = np.array([[3, 2, 1, 255, 0, 7, 12], [4, 4, 1.5, 1, 2, 3, 0]])


def test_a_collected_room_is_read(tmp_path):
    np.save(tmp_path / "Area_6_office_1.npy", TABLE.astype(np.float32))
    room = only_room(tmp_path)
    assert (room.name, room.area) == ("Area_6_office_1", 6)
    assert room.offset.tolist() == [3, 2, 1]
    assert room.xyz.tolist() == [[0, 0, 0], [1, 2, 0.5]]
    assert room.rgb.tolist() == [[255, 0, 7], [1, 2, 3]]
    assert room.labels.tolist() == [12, 0]
    assert room.instances.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda table: table[:, :6], r"expected numbers of shape \(P, 7\).*found float64 \(2, 6\)"),
        (lambda table: np.add(table, [0] * 6 + [0.5]), r"label 12\.5; expected a class id from 0 to 12"),
        (lambda table: table * [1, 1, np.nan, 1, 1, 1, 1], r"row 0: NaN or infinite coordinate \(2 such points"),
        (lambda table: np.add(table, [0, 0, 0, 1, 0, 0, 0]), r"colour \[256.0, 0.0, 7.0\]"),
        (lambda table: table * [1000, 1000, 1000, 1, 1, 1, 1], "convert millimetres to metres"),
        (lambda table: table[:0], "has no points"),
        (lambda table: table.astype(str), "found <U"),
    ],
)
def test_a_wrong_collected_room_is_an_error(tmp_path, change, message):
    np.save(tmp_path / "Area_6_office_1.npy", change(TABLE))
    with pytest.raises(InputError, match=rf"office_1\.npy.*{message}"):
        only_room(tmp_path)


def test_a_truncated_array_is_an_error(tmp_path):
    np.save(tmp_path / "Area_6_office_1.npy", TABLE)
    path = tmp_path / "Area_6_office_1.npy"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"office_1\.npy is damaged or no .npy array of numbers"):
        only_room(tmp_path)


def write_pointcept(folder, **arrays):
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def test_a_room_of_pointcept_is_read(tmp_path):
    write_pointcept(
        tmp_path / "Area_1/office_1",
        coord=TABLE[:, :3].astype(np.float32),
        color=TABLE[:, 3:6].astype(np.uint8),
        segment=np.array([[-1], [3]], np.int64),
        instance=np.array([5, 6], np.int64),
    )
    room = only_room(tmp_path)
    assert room.name == "Area_1_office_1"
    assert room.rgb.tolist() == [[255, 0, 7], [1, 2, 3]]
    assert room.labels.tolist() == [255, 3]
    assert room.instances.tolist() == [5, 6]
    assert only_room(tmp_path / "Area_1/office_1").name == "Area_1_office_1"


def test_a_room_of_pointcept_with_missing_parts_is_an_error(tmp_path):
    write_pointcept(tmp_path / "Area_1/office_1", coord=TABLE[:, :3], color=TABLE[:, 3:6])
    with pytest.raises(InputError, match=r"office_1 has no segment\.npy"):
        only_room(tmp_path)
    np.save(tmp_path / "Area_1/office_1/segment.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"segment\.npy: expected the shape \(2,\), found \(3,\)"):
        only_room(tmp_path)


# ---- real rooms


def test_the_real_raw_room_is_read_whole(shared):
    room = only_room(shared / "data/s3dis/raw")
    assert (room.name, len(room.xyz), room.instances.max() + 1, room.repairs) == ("Area_3_hallway_3", 175_075, 12, ())
    assert sorted({CLASSES[label] for label in room.labels}) == ["ceiling", "clutter", "door", "floor", "wall"]


def test_the_real_collected_rooms_have_the_published_class_counts(shared):
    sources = find_sources(shared / "data/s3dis/rooms")
    counts = sum(np.bincount(source.read().labels, minlength=13) for source in sources)
    expected = "318268 262048 427719 71707 11366 53241 116696 118011 79076 2757 85355 35366 220630"
    assert counts.tolist() == [int(count) for count in expected.split()]


@pytest.mark.parametrize(
    "colors, read",
    [
        (np.array([0, 100, 200], np.uint16), [0, 100, 200]),  # 8-bit colours in a wider type
        (np.array([0, 257 * 100, 65535], np.uint16), [0, 100, 255]),
        (np.array([0, 0.4, 1.0], np.float32), [0, 102, 255]),
    ],
)
def test_colours_of_every_type_of_npy_and_pointcept_rooms(tmp_path, colors, read):
    if colors.dtype == np.uint16:
        table = np.array([[0, 0, 0, *colors, 2], [1, 1, 1, *colors, 2]], np.uint16)
        np.save(tmp_path / "Area_1_office_1.npy", table)
        assert find_sources(tmp_path)[0].read().rgb.tolist() == [read, read]
    room = tmp_path / "pointcept" / "Area_1" / "office_1"
    room.mkdir(parents=True)
    np.save(room / "coord.npy", np.eye(3, dtype=np.float32)[:2])
    np.save(room / "color.npy", np.stack([colors, colors]))
    np.save(room / "segment.npy", np.zeros(2, np.int64))
    assert find_sources(tmp_path / "pointcept")[0].read().rgb.tolist() == [read, read]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int64, np.float32])
def test_minus_one_is_unlabelled_in_every_type(tmp_path, kind):
    room = tmp_path / "Area_1" / "office_1"
    room.mkdir(parents=True)
    np.save(room / "coord.npy", np.eye(3, dtype=np.float32))
    np.save(room / "color.npy", np.zeros((3, 3), np.uint8))
    np.save(room / "segment.npy", np.array([-1, 0, 12], kind))
    assert find_sources(tmp_path)[0].read().labels.tolist() == [255, 0, 12]


@pytest.mark.parametrize(("part", "values", "message"), [
    ("coord", np.float32(1), "expected the shape"), ("coord", np.full((3, 3), "x"), "expected an array of numbers"),
    ("segment", np.full(3, "x"), "expected an array of numbers"),
    ("segment", np.zeros((3, 1, 1)), "expected the shape"),
    ("instance", np.full(3, 2.5), "has the instance 2.5"), ("instance", np.full(3, 2**40), "has the instance"),
    ("instance", np.full(3, np.nan), "has the instance nan"), ("color", np.zeros((3, 3), "c8"), "an array of numbers"),
])  # fmt: skip
def test_odd_arrays_of_pointcept_are_one_sentence(tmp_path, part, values, message):
    room = tmp_path / "Area_1" / "office_1"
    room.mkdir(parents=True)
    good = {"coord": np.eye(3), "color": np.ones((3, 3)), "segment": np.ones(3), "instance": np.ones(3)}
    for name, array in (good | {part: values}).items():
        np.save(room / f"{name}.npy", array)
    with pytest.raises(InputError, match=message) as error:
        find_sources(tmp_path)[0].read()
    assert "\n" not in str(error.value)


def test_an_array_that_claims_more_than_its_file_is_refused_before_memory_is_taken(tmp_path):
    np.save(tmp_path / "Area_1_office_1.npy", np.ones((4, 7)))
    content = (tmp_path / "Area_1_office_1.npy").read_bytes()
    (tmp_path / "Area_1_office_1.npy").write_bytes(content.replace(b"(4, 7), }       ", b"(4000000000, 7)}"))
    with pytest.raises(InputError, match="is damaged"):
        find_sources(tmp_path)[0].read()


def test_a_line_of_the_release_without_end_is_refused(tmp_path):
    path = tmp_path / "chair_1.txt"
    path.write_bytes(b"1 2 3 4 5 6\n" * 2 + b"1 " * 100_000 + b"\n")
    with pytest.raises(InputError, match=r"chair_1.txt, line 3: .* more than 65,536 bytes"):
        read_points(path)
