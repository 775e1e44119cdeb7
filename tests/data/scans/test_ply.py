"""PLY: damaged headers and bodies are one sentence. What goes in and comes out is tested in test_scans.py."""

import pytest

from s3dis_seg.data.scans import ply
from s3dis_seg.files import InputError

XYZ = "property float x\nproperty float y\nproperty float z\n"
START = "ply\nformat {} 1.0\nelement vertex {}\n" + XYZ
FACES = "element face {}\nproperty list {} int vertex_indices\n"
TEXT = START.format("ascii", 1)


def little(count, length, body):
    header = START.format("binary_little_endian", 1) + FACES.format(count, length) + "end_header\n"
    return header.encode() + bytes(12) + body


@pytest.mark.parametrize(("content", "message"), [
    (START.format("ascii", "²") + "end_header\n1 2 3\n", "line 3"),
    (START.format("ascii", "9" * 4400) + "end_header\n1 2 3\n", "line 3"),
    (START.format("ascii", -1) + "end_header\n1 2 3\n", "line 3"),
    (TEXT + "property float x\nend_header\n1 2 3 4\n", "two properties"),
    (TEXT + "comment " + "x" * 10_000_000 + "\nend_header\n1 2 3\n", "end_header"),
    (TEXT + "end_header\n1 2 3\n4 5 6\n", "goes on after the last row"),
    (TEXT + FACES.format(1, "uchar") + "end_header\n1 2 3\n3 0", "cut off in its last line"),
    (TEXT + FACES.format(1, "uchar") + "end_header\n1 2 3\n" + "9" * 400, "cut off in its last line"),
    (little(1, "char", b"\xff" + bytes(8)), "list of -1 values"),
    (little(2, "int", b"\xff\xff\xff\x7f" + bytes(8)), "promises 2 rows of 'face', it holds 0"),
])  # fmt: skip
def test_damaged_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "a.ply"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        ply.read(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("bad", "shown"), [(b"7 8 x\n", "'7 8 x'"), (b"7 8\n", "'7 8'"), (b"7 8 9 10\n", "'7 8 9 10'")]
)
def test_a_line_that_is_no_point_is_named_as_in_an_editor(tmp_path, bad, shown):
    header = b"ply\nformat ascii 1.0\nelement vertex 3001\nproperty float x\nproperty float y\nproperty float z\n"
    body = b"1 2 3\n" * 2000 + b"\n" + bad + b"1 2 3\n" * 1000
    (tmp_path / "a.ply").write_bytes(header + b"end_header\n" + body)
    with pytest.raises(InputError, match=f"line 2009 is {shown}; expected 3 numbers; copy it again"):
        ply.read(tmp_path / "a.ply")
