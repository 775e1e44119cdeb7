"""PCD: every form and type without a change; cut and wrong files are one sentence that names the line."""

import struct

import numpy as np
import pytest

from s3dis_seg.data.scans import pcd
from s3dis_seg.files import InputError

HEADER = "VERSION 0.7\nFIELDS x y z rgb\nSIZE 8 8 8 4\nTYPE F F F U\nWIDTH {0}\nHEIGHT 1\nPOINTS {0}\nDATA {1}\n"
_TYPE = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("rgb", "<u4")]
TABLE = np.array([(1.1, 2, 3, 0x0A141E), (4, 5, 6, 0x28323C)], _TYPE)


def pcd_file(path, form, body, count=2):
    path.write_bytes(HEADER.format(count, form).encode() + body)
    return path


def literals(content):
    """LZF without references back."""
    parts = [content[start : start + 32] for start in range(0, len(content), 32)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def compressed():
    columns = b"".join(TABLE[name].tobytes() for name in TABLE.dtype.names)
    return struct.pack("<II", len(literals(columns)), len(columns)) + literals(columns)


@pytest.mark.parametrize(("form", "body"), [
    ("ascii", b"1.1 2 3 660510\n4 5 6 2634300\n"),
    ("binary", TABLE.tobytes()),
    ("binary_compressed", compressed()),
])  # fmt: skip
def test_every_form_gives_the_same_points_in_double_precision(tmp_path, form, body):
    columns, source = pcd.read(pcd_file(tmp_path / "a.pcd", form, body))
    assert source is None and columns["x"].dtype == np.float64
    np.testing.assert_array_equal(columns["x"], [1.1, 4])
    np.testing.assert_array_equal([columns[name] for name in ("red", "green", "blue")], [[10, 40], [20, 50], [30, 60]])


@pytest.mark.parametrize("form", ["ascii", "binary"])
def test_colors_packed_as_floats_are_bits_and_nan_in_text_is_none(tmp_path, form):
    header = "FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 3\nHEIGHT 1\nPOINTS 3\nDATA {}\n"
    table = np.zeros((3, 4), "<f4")
    table[:, 3] = np.array([0x0A141E, 0xFFC00000, 0xFF810203], "<u4").view("<f4")  # the last two are NaN
    rows = "".join(f"{x} {y} {z} {float(rgb)!r}\n" for x, y, z, rgb in table).encode()
    path = tmp_path / "a.pcd"
    path.write_bytes(header.format(form).encode() + (rows if form == "ascii" else table.tobytes()))
    columns = pcd.read(path)[0]
    lost = [0, 0] if form == "ascii" else [0xC0, 0x81]
    np.testing.assert_array_equal(columns["red"], [10, *lost])
    np.testing.assert_array_equal(columns["green"], [20, *([0, 0] if form == "ascii" else [0, 2])])


def test_a_field_of_a_single_normal_is_read(tmp_path):
    header = "FIELDS x y z normal_x\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA binary\n"
    (tmp_path / "a.pcd").write_bytes(header.encode() + np.arange(4, dtype="<f4").tobytes())
    np.testing.assert_array_equal(pcd.read(tmp_path / "a.pcd")[0]["normal_x"], [3])


@pytest.mark.parametrize(("form", "body", "count", "message"), [
    ("ascii", b"1 2 3 4\n", 2, "promises 2 points, it holds 1"),
    ("ascii", b"1 2 3 4\na b c d\n", 2, "line 10: found 'a b c d'"),
    ("ascii", b"1 2 3 4\n1 2 3\n", 2, "line 10: found '1 2 3'"),
    ("ascii", b"1 2 3 4\n1 2 3 4\n", 1, "more than the 1 points"),
    ("binary", TABLE.tobytes()[:-1], 2, "promises 2 points, it holds 1"),
    ("binary", TABLE.tobytes(), 1, "more than the 1 points"),
    ("binary_compressed", compressed()[:-1], 2, "cut off"),
    ("binary_compressed", struct.pack("<II", 3, 56) + b"\x20\x00\x00", 2, "cannot be decompressed"),
    ("binary_compressed", struct.pack("<II", 3, 28 * 10**6) + b"\x20\x00\x00", 10**6, "damaged"),
    ("ascii", b"", "²", "POINTS|WIDTH"),
    ("ascii", b"", -3, "whole number"),
])  # fmt: skip
def test_damaged_files_are_one_sentence(tmp_path, form, body, count, message):
    with pytest.raises(InputError, match=message) as error:
        pcd.read(pcd_file(tmp_path / "a.pcd", form, body, count))
    assert "\n" not in str(error.value)


def test_lzf_copies_overlap_and_the_compiled_form_agrees():
    packed = np.frombuffer(b"\x00a" + b"\xe0\xff\x00" * 2000, np.uint8)
    size = 1 + 264 * 2000
    assert pcd.decompress(packed, size).tobytes() == b"a" * size
    content = bytearray(size)
    assert pcd._decompress(packed.tobytes(), content) and bytes(content) == b"a" * size
