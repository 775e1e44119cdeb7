"""Scan files: what goes in comes out again, colours of every kind, and one sentence about what cannot be read."""

import resource
import sys

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from s3dis_seg.classes import COLORS, UNLABELLED_COLOR
from s3dis_seg.data.scans import READABLE, WRITABLE, Scan, colors_as_bytes, ply, read_scan, write_scan
from s3dis_seg.files import InputError

UTM = np.array([452_345.123456, 5_213_987.654321, 103.5])
OURS = ["prediction", "confidence", "red", "green", "blue"]


def scan_of(count=50, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    scan = Scan(rng.random((count, 3)) * 3 + offset, rng.integers(1, 256, (count, 3)).astype(np.uint8))
    return labelled(scan)


def labelled(scan, seed=1):
    rng = np.random.default_rng(seed)
    scan.predictions = rng.integers(0, 13, len(scan)).astype(np.uint8)
    scan.confidence = rng.random(len(scan)).astype(np.float32)
    return scan


def rich_ply(path, text=False, byte_order="<"):
    """A PLY with everything: comments, 16-bit and double properties, faces of different sizes, another element."""
    rng = np.random.default_rng(3)
    vertices = np.zeros(20, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"),
                             ("intensity", "u2"), ("nx", "f4"), ("curvature", "f8"), ("label", "i4")])  # fmt: skip
    for name in vertices.dtype.names:
        vertices[name] = rng.random(20) * 12
    vertices["x"] += UTM[0]
    vertices["y"] += UTM[1]
    faces = np.empty(3, [("vertex_indices", "O"), ("material", "i4")])
    faces["vertex_indices"] = [np.array([0, 1, 2]), np.array([3, 4, 5, 6]), np.array([7, 8, 9])]
    cameras = np.array([(0.5, 2)], [("focal", "f4"), ("id", "i2")])
    elements = [
        PlyElement.describe(vertices, "vertex", comments=["of the vertices"]),
        PlyElement.describe(faces, "face"),
        PlyElement.describe(cameras, "camera"),
    ]
    PlyData(elements, text, byte_order, ["made by a scanner"], ["num_cols 7"]).write(str(path))
    return path


def write_bytes(path, content):
    path.write_bytes(content)
    return path


# --- PLY --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [{"text": True}, {"byte_order": "<"}, {"byte_order": ">"}], ids=str)
def test_everything_in_a_ply_is_kept(tmp_path, form):
    path = rich_ply(tmp_path / "a.ply", **form)
    scan = labelled(read_scan(path))
    write_scan(tmp_path / "b.ply", scan)
    before, after = PlyData.read(path), PlyData.read(tmp_path / "b.ply")
    assert (after.text, after.byte_order, after.comments, after.obj_info) == (
        before.text, before.byte_order, before.comments, before.obj_info)  # fmt: skip
    moved = {"red": "scan_red", "green": "scan_green", "blue": "scan_blue"}
    for item in before["vertex"].properties:
        kept = after["vertex"][moved.get(item.name, item.name)]
        assert kept.dtype == before["vertex"][item.name].dtype
        np.testing.assert_array_equal(kept, before["vertex"][item.name])
    for mine, theirs in zip(before["face"]["vertex_indices"], after["face"]["vertex_indices"]):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(before["camera"].data, after["camera"].data)
    assert after["vertex"].comments == ["of the vertices"]


def test_a_ply_without_predictions_is_written_byte_for_byte(tmp_path):
    path = rich_ply(tmp_path / "a.ply")
    write_scan(tmp_path / "b.ply", read_scan(path))
    assert (tmp_path / "b.ply").read_bytes() == path.read_bytes()


def test_class_colors_go_to_rgb_and_the_scans_own_to_scan_rgb(tmp_path):
    scan = scan_of()
    scan.predictions[0] = 255
    assert write_scan(tmp_path / "a.ply", scan) == {}
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    assert vertex["prediction"].dtype == np.uint8 and vertex["confidence"].dtype == np.float32
    np.testing.assert_array_equal(vertex["prediction"], scan.predictions)
    np.testing.assert_array_equal(vertex["confidence"], scan.confidence)
    shown = np.stack([vertex[name] for name in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(shown[1:], COLORS[scan.predictions[1:]])
    np.testing.assert_array_equal(shown[0], UNLABELLED_COLOR)
    np.testing.assert_array_equal(vertex["scan_green"], scan.rgb[:, 1])
    again = read_scan(tmp_path / "a.ply")
    np.testing.assert_array_equal(again.rgb, scan.rgb)
    np.testing.assert_array_equal(again.predictions, scan.predictions)
    np.testing.assert_array_equal(again.confidence, scan.confidence)


def test_keep_rgb_leaves_the_scans_colors_where_they_are(tmp_path):
    scan = scan_of()
    write_scan(tmp_path / "a.ply", scan, keep_rgb=True)
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    np.testing.assert_array_equal(vertex["blue"], scan.rgb[:, 2])
    np.testing.assert_array_equal(vertex["class_blue"], COLORS[scan.predictions, 2])
    np.testing.assert_array_equal(read_scan(tmp_path / "a.ply").rgb, scan.rgb)


@pytest.mark.parametrize("keep_rgb", [False, True])
def test_a_property_with_our_name_becomes_source_and_is_told(tmp_path, keep_rgb):
    first, path = scan_of(), tmp_path / "a.ply"
    assert write_scan(path, first) == {}
    second, third = (labelled(read_scan(path), seed) for seed in (2, 3))
    assert write_scan(path, second, keep_rgb)["prediction"] == "source_prediction"
    third.columns = read_scan(path).columns
    assert write_scan(path, third, keep_rgb)["prediction"] == "source_source_prediction"
    again = read_scan(path)
    np.testing.assert_array_equal(again.rgb, first.rgb)
    np.testing.assert_array_equal(again.predictions, third.predictions)
    np.testing.assert_array_equal(again.columns["source_prediction"], first.predictions)
    np.testing.assert_array_equal(again.columns["source_source_prediction"], second.predictions)


@pytest.mark.parametrize("name", ["a.ply", "a.npy", "a.txt", "a.csv", "a.xyz"])
def test_utm_coordinates_lose_no_bit(tmp_path, name):
    scan = scan_of(offset=UTM)
    write_scan(tmp_path / name, scan)
    np.testing.assert_array_equal(read_scan(tmp_path / name).xyz, scan.xyz)


def test_utm_coordinates_lose_no_bit_in_ascii_and_are_written_shortest(tmp_path):
    path = rich_ply(tmp_path / "a.ply", text=True)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.columns["x"], PlyData.read(path)["vertex"]["x"])
    scan.columns["x"] = np.full(20, 452345.1)
    write_scan(tmp_path / "b.ply", scan)
    body = (tmp_path / "b.ply").read_text().split("end_header\n")[1]
    assert body.startswith("452345.1 ")


def test_a_scan_may_be_written_over_the_file_it_was_read_from(tmp_path):
    path = rich_ply(tmp_path / "a.ply")
    scan = labelled(read_scan(path))
    xyz = scan.xyz.copy()
    write_scan(path, scan)
    np.testing.assert_array_equal(read_scan(path).xyz, xyz)
    np.testing.assert_array_equal(scan.xyz, xyz)


def test_points_of_a_binary_ply_are_not_copied(tmp_path):
    scan = read_scan(rich_ply(tmp_path / "a.ply"))
    assert not scan.xyz.flags.owndata and not scan.rgb.flags.owndata and not scan.xyz.flags.writeable


def test_letters_beyond_ascii_in_comments_are_kept(tmp_path):
    path = rich_ply(tmp_path / "a.ply")
    path.write_bytes(path.read_bytes().replace(b"made by a scanner", "Büro, 2. Stock".encode()))
    write_scan(tmp_path / "b.ply", labelled(read_scan(path)))
    assert "Büro, 2. Stock".encode() in (tmp_path / "b.ply").read_bytes()


def test_line_ends_of_other_systems(tmp_path):
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    for end in ("\r\n", "\n"):
        path = write_bytes(tmp_path / "a.ply", (text + "1 2 3\n4 5 6\n").replace("\n", end).encode())
        np.testing.assert_array_equal(read_scan(path).xyz, [[1, 2, 3], [4, 5, 6]])
        write_scan(tmp_path / "b.ply", labelled(read_scan(path)))
        np.testing.assert_array_equal(PlyData.read(tmp_path / "b.ply")["vertex"]["y"], [2, 5])


def test_elements_before_the_vertices(tmp_path):
    faces = np.empty(2, [("vertex_indices", "O")])
    faces["vertex_indices"] = [np.array([0, 1, 2]), np.array([0, 1, 2])]
    vertices = np.array([(1, 2, 3), (4, 5, 6), (7, 8, 9)], [("x", "f4"), ("y", "f4"), ("z", "f4")])
    for text in (False, True):
        elements = [PlyElement.describe(faces, "face"), PlyElement.describe(vertices, "vertex")]
        PlyData(elements, text).write(str(tmp_path / "a.ply"))
        write_scan(tmp_path / "b.ply", labelled(read_scan(tmp_path / "a.ply")))
        after = PlyData.read(tmp_path / "b.ply")
        np.testing.assert_array_equal(after["vertex"]["z"], [3, 6, 9])
        np.testing.assert_array_equal(after["face"]["vertex_indices"][1], [0, 1, 2])


def test_real_scans_are_read_as_by_plyfile(shared):
    for name, colums in (("Area_4_hallway_5_crop", 7), ("indoor_fragment_115", 9)):
        path = shared / "data" / "scans" / f"{name}.ply"
        scan, vertex = read_scan(path), PlyData.read(path)["vertex"]
        assert len(scan.columns) == colums
        np.testing.assert_array_equal(scan.xyz, np.stack([vertex[axis] for axis in "xyz"], axis=1))
        np.testing.assert_array_equal(scan.rgb, np.stack([vertex[color] for color in ("red", "green", "blue")], axis=1))


# --- other formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_scan_survives_every_format(tmp_path, suffix):
    scan = scan_of(offset=(1000.0, 2000.0, 5.0))
    write_scan(tmp_path / f"a{suffix}", scan)
    again = read_scan(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(again.xyz, scan.xyz, atol=1e-4 if suffix in (".las", ".laz") else 0)
    np.testing.assert_array_equal(again.rgb, scan.rgb)
    np.testing.assert_array_equal(again.predictions, scan.predictions)
    np.testing.assert_array_equal(again.confidence, scan.confidence)
    write_scan(tmp_path / "b.ply", labelled(again, seed=5))
    np.testing.assert_array_equal(read_scan(tmp_path / "b.ply").rgb, scan.rgb)


def test_las_keeps_its_attributes_and_its_form(tmp_path):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(version="1.2", point_format=1)
    header.scales, header.offsets = np.full(3, 0.001), np.floor(UTM)
    las = laspy.LasData(header)
    las.xyz = np.random.default_rng(0).random((30, 3)) * 3 + UTM
    las.gps_time, las.classification = np.arange(30) / 7, np.full(30, 6)
    las.write(tmp_path / "a.las")
    scan = read_scan(tmp_path / "a.las")
    assert scan.rgb is None and scan.labels is None  # 6 is a building in LAS, no door
    write_scan(tmp_path / "b.laz", labelled(scan))
    after = laspy.read(tmp_path / "b.laz")
    np.testing.assert_array_equal(after.xyz, scan.xyz)
    np.testing.assert_array_equal(after.gps_time, np.arange(30) / 7)
    np.testing.assert_array_equal(after.classification, 6)
    np.testing.assert_array_equal(after.prediction, scan.predictions)
    np.testing.assert_array_equal(after.red, COLORS[scan.predictions, 0].astype(np.uint16) * 257)


def test_las_without_laspy_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(InputError, match=r"pip install 'laspy\[lazrs\]'"):
        read_scan(write_bytes(tmp_path / "a.las", b"LASF"))


def test_arrays_of_three_six_and_seven_columns(tmp_path):
    scan = scan_of()
    np.save(tmp_path / "three.npy", scan.xyz.astype(np.float32))
    np.save(tmp_path / "six.npy", np.c_[scan.xyz, scan.rgb])
    np.save(tmp_path / "seven.npy", np.c_[scan.xyz, scan.rgb / 255, scan.predictions])
    assert read_scan(tmp_path / "three.npy").rgb is None
    np.testing.assert_array_equal(read_scan(tmp_path / "six.npy").rgb, scan.rgb)
    seven = read_scan(tmp_path / "seven.npy")
    np.testing.assert_array_equal(seven.rgb, scan.rgb)
    np.testing.assert_array_equal(seven.labels, scan.predictions)


@pytest.mark.parametrize("text", [
    "1 2 3 10 20 30\n4 5 6 40 50 60\n",
    "1,2,3,10,20,30\n4,5,6,40,50,60\n",
    "1;2;3;10;20;30\r\n4;5;6;40;50;60\r\n",
    "x\ty\tz\tred\tgreen\tblue\n1\t2\t3\t10\t20\t30\n4\t5\t6\t40\t50\t60\n",
    "//X Y Z R G B\n1 2 3 10 20 30\n4 5 6 40 50 60",
    "# x y z r g b\n\n1  2  3  10 20 30\n4  5  6  40 50 60\n",
    "r,g,b,x,y,z\n10,20,30,1,2,3\n40,50,60,4,5,6\n",
])  # fmt: skip
def test_tables_of_text(tmp_path, text):
    scan = read_scan(write_bytes(tmp_path / "a.txt", text.encode()))
    np.testing.assert_array_equal(scan.xyz, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(scan.rgb, [[10, 20, 30], [40, 50, 60]])


def test_pcd(tmp_path):
    open3d = pytest.importorskip("open3d")
    scan = scan_of()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(scan.xyz))
    cloud.colors = open3d.utility.Vector3dVector(scan.rgb / 255)
    open3d.io.write_point_cloud(str(tmp_path / "a.pcd"), cloud)
    again = read_scan(tmp_path / "a.pcd")
    np.testing.assert_allclose(again.xyz, scan.xyz, rtol=1e-6)
    np.testing.assert_array_equal(again.rgb, scan.rgb)


def test_a_prepared_room_is_a_scan_with_labels(tmp_path):
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import room_of

    scan = scan_of(offset=UTM)
    write_room(room_of("Area_1_office_1", scan.xyz, scan.rgb, scan.predictions), tmp_path)
    room = read_scan(tmp_path / "Area_1_office_1.h5")
    np.testing.assert_allclose(np.sort(room.xyz, axis=0), np.sort(scan.xyz, axis=0), atol=1e-6)
    np.testing.assert_array_equal(np.bincount(room.labels), np.bincount(scan.predictions))
    write_scan(tmp_path / "room.ply", room)
    np.testing.assert_array_equal(read_scan(tmp_path / "room.ply").labels, room.labels)


# --- colours and units ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "dtype", "expected"), [
    ((0, 100, 255), np.uint8, (0, 100, 255)),
    ((0, 0.5, 1), np.float32, (0, 128, 255)),
    ((0, 100.4, 255), np.float64, (0, 100, 255)),
    ((0, 257 * 100, 65535), np.uint16, (0, 100, 255)),
    ((0, 100, 255), np.uint16, (0, 100, 255)),
    ((0, 100, 255), np.int32, (0, 100, 255)),
    ((np.nan, 0.5, 1), np.float32, (0, 128, 255)),
])  # fmt: skip
def test_colors_of_every_type_become_bytes(values, dtype, expected):
    rgb, _ = colors_as_bytes([np.array([value], dtype) for value in values])
    np.testing.assert_array_equal(rgb, [expected])


def test_black_colors_and_intensity_alone_are_no_colors(tmp_path):
    write_scan(tmp_path / "black.ply", Scan(np.eye(3), np.zeros((3, 3), np.uint8)))
    scan = read_scan(tmp_path / "black.ply")
    assert scan.rgb is None and "black" in scan.warnings[0]
    write_scan(tmp_path / "grey.ply", Scan(np.eye(3), columns={"intensity": np.arange(3, dtype=np.uint8)}))
    assert read_scan(tmp_path / "grey.ply").rgb is None


@pytest.mark.parametrize("names", [("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue")])
def test_colors_by_other_names(tmp_path, names):
    scan = scan_of()
    columns = dict(zip(names, scan.rgb.T))
    write_scan(tmp_path / "a.ply", Scan(scan.xyz, columns=columns))
    np.testing.assert_array_equal(read_scan(tmp_path / "a.ply").rgb, scan.rgb)


def test_units_change_what_is_segmented_and_not_what_is_written(tmp_path):
    scan = scan_of()
    write_scan(tmp_path / "a.ply", Scan(scan.xyz * 1000, scan.rgb))
    write_scan(tmp_path / "b.ply", labelled(read_scan(tmp_path / "a.ply", units="mm")))
    np.testing.assert_array_equal(PlyData.read(tmp_path / "b.ply")["vertex"]["x"], scan.xyz[:, 0] * 1000)


# --- bad input --------------------------------------------------------------------------------------------------------

HEADER = b"ply\nformat %s 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\nend_header\n"


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.ply", b"", "is empty"),
    ("a.ply", b"hello\n", "is not a PLY file"),
    ("a.ply", b"ply\nformat ascii 1.0\nelement vert", "no 'end_header'"),
    ("a.ply", b"ply\nformat morse 1.0\nend_header\n", "PLY header that cannot be read.*morse"),
    ("a.ply", b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no element 'vertex'"),
    ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "has no y, z"),
    ("a.ply", HEADER % (b"ascii", 0), "no points"),
    ("a.ply", HEADER % (b"binary_little_endian", 0), "no points"),
    ("a.ply", HEADER % (b"binary_little_endian", 3) + bytes(30), "promises 3 rows of 'vertex', it holds 2"),
    ("a.ply", HEADER % (b"ascii", 3) + b"1 2 3\n4 5 6\n", "promises 3 rows of 'vertex', it holds 2"),
    ("a.ply", HEADER % (b"ascii", 2) + b"1 2 3\n4 5\n", "cut off or damaged"),
    ("a.ply", HEADER % (b"ascii", 2) + b"1 2 3\n4 five 6\n", "five"),
    ("a.npy", b"hello", "no .npy array"),
    ("a.las", b"hello", "not a LAS file"),
    ("a.pcd", b"hello", "not a PCD file"),
    ("a.txt", b"hello\nyou\n", "not a table of numbers"),
    ("a.csv", b"x,y,z\n", "no points"),
    ("a.txt", b"1 2\n3 4\n", "2 columns"),
    ("a.csv", b"x,y,z\n1,2\n", "3 names in its first line and 2 numbers"),
    ("a.h5", b"hello", "cannot be read as a prepared room"),
    ("a.fbx", b"Kaydara", r"unknown format '.fbx'; known: .ply, .las"),
])  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message) as error:
        read_scan(write_bytes(tmp_path / name, content))
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", [False, True])
def test_a_ply_that_is_cut_off_anywhere_is_refused(tmp_path, text):
    content = rich_ply(tmp_path / "a.ply", text=text).read_bytes()
    # Without its last number a line of text is still told; a number without its last digits cannot be.
    for length in (*range(0, len(content) - 8, 61), len(content) - 5):
        with pytest.raises(InputError):
            read_scan(write_bytes(tmp_path / "b.ply", content[:length]))


@pytest.mark.parametrize("faces", [([0, 1, 2], [0, 1, 2]), ([0, 1, 2], [0, 1, 2, 0])], ids=["triangles", "mixed"])
@pytest.mark.parametrize("text", [False, True])
def test_faces_at_the_end_that_are_cut_off_are_missed(tmp_path, faces, text):
    table = np.empty(2, [("vertex_indices", "O")])
    table["vertex_indices"] = [np.array(face) for face in faces]
    vertices = np.array([(1, 2, 3), (4, 5, 6), (7, 8, 9)], [("x", "f4"), ("y", "f4"), ("z", "f4")])
    path = tmp_path / "a.ply"
    PlyData([PlyElement.describe(vertices, "vertex"), PlyElement.describe(table, "face")], text).write(str(path))
    content = path.read_bytes()
    assert len(read_scan(path)) == 3
    for cut in (3, 5, 14):
        with pytest.raises(InputError, match="cut off"):
            read_scan(write_bytes(path, content[:-cut]))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_scan(tmp_path / "a.ply")
    with pytest.raises(InputError, match="is a folder"):
        read_scan(tmp_path)
    with pytest.raises(InputError, match="unknown units"):
        read_scan(tmp_path / "a.ply", units="yard")
    with pytest.raises(InputError, match="unknown up"):
        read_scan(tmp_path / "a.ply", up="w")


def test_points_with_lists_are_refused(tmp_path):
    header = HEADER.replace(b"end_header", b"property list uchar int neighbours\nend_header")
    with pytest.raises(InputError, match="list property 'neighbours'"):
        read_scan(write_bytes(tmp_path / "a.ply", header % (b"ascii", 1) + b"1 2 3 0\n"))


def test_formats_that_cannot_be_written_are_listed(tmp_path):
    assert set(WRITABLE) <= set(READABLE)
    with pytest.raises(InputError, match=r"cannot write '.pcd'; known: .ply"):
        write_scan(tmp_path / "a.pcd", scan_of())
    scan = scan_of()
    scan.xyz[0] = np.nan
    with pytest.raises(InputError, match="LAS cannot hold NaN"):
        write_scan(tmp_path / "a.las", scan)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_full_disk_is_told_and_leaves_the_old_file_alone(tmp_path, suffix):
    path = write_bytes(tmp_path / f"a{suffix}", b"good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write"):
            write_scan(path, scan_of(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"good" and list(tmp_path.iterdir()) == [path]


def test_reading_changes_nothing_in_the_file(tmp_path):
    path = rich_ply(tmp_path / "a.ply")
    before = path.read_bytes()
    scan = read_scan(path)
    with pytest.raises(ValueError, match="read-only"):
        scan.xyz[0] = 0
    assert path.read_bytes() == before
    assert ply.read(path)[1].byte_order == "<"
