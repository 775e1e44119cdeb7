"""LAS and LAZ: everything is kept, and what a damaged header promises is compared with the file first."""

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from s3dis_seg.data.scans import las, read_scan, write_scan
from s3dis_seg.files import InputError

laspy = pytest.importorskip("laspy")


def las_file(path, count=500):
    header = laspy.LasHeader(version="1.2", point_format=3)
    header.scales = np.full(3, 0.001)
    data = laspy.LasData(header)
    data.xyz = np.random.default_rng(0).random((count, 3)) * 3
    data.gps_time = np.arange(count) / 7
    data.write(str(path))
    return path


def columns_of(count=5):
    return {axis: np.arange(count, dtype=np.float64) for axis in "xyz"}


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_attributes_are_read_as_laspy_reads_them(tmp_path, name):
    path = las_file(tmp_path / name)
    columns, _ = las.read(path)
    expected = laspy.read(path)
    np.testing.assert_array_equal(columns["x"], expected.x)
    np.testing.assert_array_equal(columns["gps_time"], expected.gps_time)


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_attributes_named_like_axes_and_bools_survive(tmp_path, name):
    extra = {"xy": np.arange(5) + 0.5, "flag": np.array([True, False, True, True, False])}
    las.write(tmp_path / name, columns_of() | extra)
    columns, _ = las.read(tmp_path / name)
    np.testing.assert_array_equal(columns["xy"], extra["xy"])
    np.testing.assert_array_equal(columns["flag"], extra["flag"])


def test_version_scales_and_records_are_kept(tmp_path):
    columns, source = las.read(las_file(tmp_path / "a.las"))
    source.header.vlrs.append(laspy.VLR("someone", 7, "what", b"1234"))
    las.write(tmp_path / "b.las", columns, source)
    header = laspy.read(tmp_path / "b.las").header
    assert str(header.version) == "1.2" and header.point_format.id == 3 and header.vlrs[-1].record_id == 7
    np.testing.assert_array_equal(header.scales, 0.001)


@pytest.mark.parametrize(("version", "form"), [("1.2", 3), ("1.2", 1), ("1.4", 7), ("1.4", 6)])
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_written_in_parts_every_attribute_is_what_it_was(tmp_path, monkeypatch, version, form, suffix):
    monkeypatch.setattr(las, "_POINTS_AT_ONCE", 70)
    header, rng = laspy.LasHeader(version=version, point_format=form), np.random.default_rng(0)
    header.add_extra_dim(laspy.ExtraBytesParams("height", "f4"))
    given = laspy.LasData(header)
    given.xyz = rng.random((500, 3)) * 3
    for name in given.point_format.dimension_names:
        if name not in "XYZ":
            given[name] = rng.integers(0, 2, 500)
    given.write(str(tmp_path / f"a{suffix}"))
    columns, source = las.read(tmp_path / f"a{suffix}")
    columns |= {"prediction": np.arange(500).astype(np.uint8), "red": np.full(500, 255, np.uint8)}
    las.write(tmp_path / f"b{suffix}", columns, source)
    written = laspy.read(tmp_path / f"b{suffix}")
    for name in set(given.point_format.dimension_names) - {"red"}:
        np.testing.assert_array_equal(written[name], given[name], err_msg=name)
        assert np.asarray(columns[name.lower() if name in "XYZ" else name]).shape == (500,)
    np.testing.assert_array_equal(written["prediction"], columns["prediction"])
    assert (written["red"] == 65535).all() and written.header.point_count == 500
    np.testing.assert_allclose(written.header.maxs, given.xyz.max(axis=0), atol=1e-6)


def test_coordinates_lie_side_by_side_and_are_not_copied_again(tmp_path):
    scan = read_scan(las_file(tmp_path / "a.las"), units="m", up="z")
    assert np.shares_memory(scan.xyz, scan.columns["x"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks for mapped pages in /proc")
def test_a_mapped_file_stays_out_of_memory_once_it_is_written_back(tmp_path):
    path = las_file(tmp_path / "a.las", 20_000)
    columns, source = las.read(path)
    assert columns["gps_time"][::100].sum() > 0 and resident(path) > 0
    las.write(tmp_path / "b.las", columns, source)
    assert resident(path) == 0


def resident(path):
    """Kilobytes of a mapped file that are in the memory of this process."""
    _, _, mapping = Path("/proc/self/smaps").read_text().partition(f"{path}\n")
    return int(re.search(r"Rss: +(\d+) kB", mapping)[1])


@pytest.mark.parametrize(("place", "kind", "value", "message"), [
    (100, "<I", 2**32 - 1, "4,294,967,295 variable length records"),
    (107, "<I", 2**32 - 1, "promises 4,294,967,295 points, it holds 500"),
    (107, "<I", 400, "holds more than the 400 points"),
    (96, "<I", 10**9, "points start at byte 1,000,000,000"),
    (105, "<H", 5, "5 bytes a point"),
    (131, "<d", float("nan"), "scales or offsets"),
])  # fmt: skip
def test_headers_that_promise_too_much_are_one_sentence(tmp_path, place, kind, value, message):
    path = las_file(tmp_path / "a.las")
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, place, value)
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        las.read(path)
    assert "\n" not in str(error.value)


def test_a_las_cut_between_records_is_refused(tmp_path):
    path = las_file(tmp_path / "a.las")
    path.write_bytes(path.read_bytes()[: -200 * 34])
    with pytest.raises(InputError, match="promises 500 points, it holds 300"):
        las.read(path)


def test_a_cut_laz_is_one_sentence(tmp_path):
    path = las_file(tmp_path / "a.laz")
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError) as error:
        las.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [3, 51_000])
@pytest.mark.parametrize(("version", "form", "place"), [("1.2", 3, 107), ("1.4", 7, 247)])
def test_a_laz_header_that_invents_or_loses_points_is_refused(tmp_path, version, form, place, count):
    data = laspy.LasData(laspy.LasHeader(version=version, point_format=form))
    data.xyz = np.random.default_rng(0).random((count, 3)) * 9
    path = tmp_path / "a.laz"
    data.write(str(path))
    content = path.read_bytes()
    assert len(las.read(path)[0]["x"]) == count
    for wrong in (count - 2, count - 1, count + 1, count + 2):
        path.write_bytes(content[:place] + struct.pack("<I", wrong) + content[place + 4 :])
        with pytest.raises(InputError, match="is damaged: "):
            las.read(path)


def test_copc_is_read_and_comes_out_as_plain_laz(tmp_path):
    path, xyz = tmp_path / "a.copc.laz", np.random.default_rng(0).random((500, 3)).round(3) * 3
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales = np.full(3, 0.001)
    data = laspy.LasData(header)
    data.xyz = xyz
    info = struct.pack("<5d2Q2d11Q", 1.5, 1.5, 1.5, 1.5, 0.1, 0, 0, 0, 1, *[0] * 11)
    data.vlrs.insert(0, laspy.VLR("copc", 1, "", info))
    tree = laspy.VLR("copc", 1000, "", struct.pack("<4iQ2i", 0, 0, 0, 0, 0, 0, 500))
    data.evlrs = laspy.vlrs.vlrlist.VLRList([tree])
    data.write(path)
    scan = read_scan(path)
    np.testing.assert_allclose(scan.xyz, xyz, atol=0.001)
    scan.predictions, scan.confidence = np.zeros(500, np.uint8), np.zeros(500, np.float32)
    write_scan(tmp_path / "b.laz", scan)
    again = laspy.read(tmp_path / "b.laz")
    np.testing.assert_array_equal(again.X, data.X)
    assert not any(record.user_id == "copc" for record in [*again.header.vlrs, *(again.evlrs or [])])
