"""Tables of text: the dialects of other programs, and one sentence about what is none."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.data.scans.text import read, write
from s3dis_seg.files import InputError

XYZ = [[1, 2, 3], [4, 5, 6]]
RGB = [[10, 20, 30], [40, 50, 60]]


def written(tmp_path, text, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", [
    "# exported by CloudCompare\n1 2 3 10 20 30\n4 5 6 40 50 60\n",
    "# exported by CloudCompare v2 on Monday\n1 2 3 10 20 30\n4 5 6 40 50 60\n",  # six words are no names
    "# exported by CloudCompare\nx,y,z,red,green,blue\n1,2,3,10,20,30\n4,5,6,40,50,60\n",
    "\n\nx,y,z,red,green,blue\n\n1,2,3,10,20,30\n\n4,5,6,40,50,60\n",
    "// first comment\n//X Y Z R G B\n# last comment\n1 2 3 10 20 30\n4 5 6 40 50 60\n",
    "//X;Y;Z;Rf;Gf;Bf\n1;2;3;0.0392157;0.0784314;0.117647\n4;5;6;0.156863;0.196078;0.235294\n",
    '"X","Y","Z","Red","Green","Blue"\n1,2,3,10,20,30\n4,5,6,40,50,60\n',
    "X\tY\tZ\tR\tG\tB\n1,0\t2,0\t3,0\t10\t20\t30\n4,0\t5,0\t6,0\t40\t50\t60\n",
    "x;y;z;r;g;b\n1;2;3;10;20;30\n4,0;5,0;6,0;40;50;60\n",  # the comma comes after the first point
    "1,0 2,0 3,0 10 20 30\n4,0 5,0 6,0 40 50 60\n",
    "2\n1 2 3 10 20 30\n4 5 6 40 50 60\n",
    "1 2 3 10 20 30\n// half time\n4 5 6 40 50 60\n",
    "1 2 3 10 20 30  # a door\n4 5 6 40 50 60\n",
    "x y z red green blue nx ny nz\n1 2 3 10 20 30 0 0 -1\n4 5 6 40 50 60 0 0 1\n",
    "1 2 3 10 20 30 0 0 -1\n4 5 6 40 50 60 0 0 1\n",
    "1 2 3 10 20 30 0.5 0 0 -1\n4 5 6 40 50 60 0.25 0 0 1\n",  # CloudCompare without a line of names
    "//X Y Z R G B Scalar_field Nx Ny Nz\n2\n1 2 3 10 20 30 nan 0 0 1\n4 5 6 40 50 60 0.25 0 0 1\n",
    "X [m];Y [m];Z [m];R;G;B\n1,0;2,0;3,0;10;20;30\n4,0;5,0;6,0;40;50;60\n",
    "// B\xfcro\n1 2 3 10 20 30\n4 5 6 40 50 60\n".encode("latin-1"),
    "// Büro\n1 2 3 10 20 30\n4 5 6 40 50 60\n".encode("utf-16"),
    "\ufeff1 2 3 10 20 30\n4 5 6 40 50 60\n",
    "x y z r g b\r1 2 3 10 20 30\r4 5 6 40 50 60\r",
])  # fmt: skip
def test_dialects_of_other_programs(tmp_path, text):
    scan = read_scan(written(tmp_path, text))
    np.testing.assert_array_equal(scan.xyz, XYZ)
    np.testing.assert_array_equal(scan.rgb, RGB)


def words_as_numbers(text, separator, decimal):
    """A table the slow way: word by word."""
    lines = (line.split("#")[0].split("//")[0] for line in text.splitlines())
    words = ([word for word in line.split(separator) if word.strip()] for line in lines)
    return [[float(word.replace(decimal, ".")) for word in row] for row in words if row]


@pytest.mark.parametrize(("separator", "decimal"), [
    (",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), (" ", "."), (" ", ","), ("   ", "."), (" ; ", ","),
])  # fmt: skip
@pytest.mark.parametrize("comment", ["# a word, or two\n", "// a word, or two\n", "\n", ""])
def test_every_dialect_holds_the_numbers_that_its_words_say(tmp_path, separator, decimal, comment):
    rng = np.random.default_rng(0)
    numbers = np.c_[rng.random((40, 3)) * [1e6, -1e-6, 3] + 0.5, rng.integers(0, 256, (40, 3))]
    rows = [separator.join(f"{number:.17g}".replace(".", decimal) for number in row) + "\n" for row in numbers]
    text = comment + "".join(rows[:20]) + comment + "".join(rows[20:])
    columns = read(written(tmp_path, text))[0]
    expected = words_as_numbers(text, separator.strip() or None if separator != "\t" else "\t", decimal)
    np.testing.assert_array_equal(np.stack(list(columns.values()), axis=1), expected)
    np.testing.assert_array_equal(expected, numbers)


@pytest.mark.parametrize("text", ["2\n1 2 3 -9 10 20 30\n4 5 6 7 40 50 60\n", "1 2 3 -9 10 20 30\n4 5 6 7 40 50 60"])
def test_pts_files_have_the_intensity_before_the_colors(tmp_path, text):
    scan = read_scan(written(tmp_path, text, "a.pts"))
    np.testing.assert_array_equal(scan.rgb, RGB)
    np.testing.assert_array_equal(scan.columns["intensity"], [-9, 7])
    assert scan.labels is None


def test_several_scans_of_leica_each_have_their_count(tmp_path):
    scan = read_scan(written(tmp_path, "1\n1 2 3 -9 10 20 30\n1\n4 5 6 7 40 50 60\n", "a.pts"))
    np.testing.assert_array_equal(scan.xyz, XYZ)
    with pytest.raises(InputError, match="promises 3 points, it holds 2"):
        read_scan(written(tmp_path, "1\n1 2 3 -9 10 20 30\n2\n4 5 6 7 40 50 60\n", "a.pts"))


def test_six_columns_with_negative_numbers_are_normals_and_no_colors(tmp_path):
    scan = read_scan(written(tmp_path, "1 2 3 0 0 -1\n4 5 6 0.6 0.8 0\n", "a.xyz"))
    assert scan.rgb is None and list(scan.columns) == ["x", "y", "z", "nx", "ny", "nz"]


def test_names_that_come_twice_keep_both_columns(tmp_path):
    scan = read_scan(written(tmp_path, "x y z scalar scalar scalar_2\n1 2 3 7 8 9\n"))
    assert list(scan.columns) == ["x", "y", "z", "scalar", "scalar_3", "scalar_2"]
    assert [int(scan.columns[name][0]) for name in ("scalar", "scalar_3", "scalar_2")] == [7, 8, 9]


def test_a_column_called_xy_is_an_attribute_like_others(tmp_path):
    columns = read(written(tmp_path, "x y z xy\n1 2 3 10\n4 5 6 20\n"))[0]
    assert columns["x"].dtype == np.float64 and columns["xy"].dtype == np.int32


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".npy"])
def test_attributes_of_every_type_can_be_read_again(tmp_path, suffix):
    kinds = ["?", "u1", "i1", "u2", ">i2", "u4", "i8", "f2", ">f4", "f8"]
    columns = {f"as {kind}": np.array([0, 1, 1], kind) for kind in kinds}
    path = tmp_path / f"a{suffix}"
    write_scan(path, Scan(np.eye(3), columns=columns))
    again = list(read_scan(path).columns.values())[3:]
    assert len(again) == len(kinds)
    for values in again:
        np.testing.assert_array_equal(np.asarray(values, float), [0, 1, 1])


def test_names_cannot_break_the_table(tmp_path):
    hostile = ["a b", "a,b", 'say "hi"', "two\nlines", "# no comment", "\u00fc" * 300, "\ud800", ""]
    for suffix in (".txt", ".csv"):
        path = tmp_path / f"a{suffix}"
        columns = dict(zip("xyz", np.eye(3))) | {name: np.arange(3) for name in hostile}
        write(path, columns)
        again = read(path)[0]
        assert len(again) == 3 + len(hostile)
        for values in list(again.values())[3:]:
            np.testing.assert_array_equal(values, [0, 1, 2])


@pytest.mark.parametrize(("text", "message"), [
    ("5\n1 2 3\n4 5 6\n", "promises 5 points, it holds 2"),
    ("1\n1 2 3\n4 5 6\n", "promises 1 points, it holds 2"),
    ("1 2 3\n4 5\n", "not a table of numbers"),
    ("1 2 3\n4 five 6\n", "five"),
    ("1 2 3\n4 5 6 // no\n7 8 nine", "nine"),
    ("points of a room\n1 2 3 4 5 6\n", "4 names in its first line and 6 numbers"),
    ("lon lat h\n1 2 3\n", "has no x, y, z"),
    ("# x y z\n1 2x\n4 5 6\n", "'1 2x' between the names"),
    ("x,y,z\n1,,\n4,5,6\n", "between the names|has no x"),
    ("1 2 3 4 5\n", "5 columns"),
    ("1\n2\n3\n", "not a table"),
    ("7\n", "no points"),
    ("# nothing else\n\n", "no points"),
    ("//X Y Z\n", "no points"),
    (b"\x00\x01\x02\xff" * 50, "not a table"),
    (b"\xff\xfe\x00", "not a table|no points"),
    ("1 " * 50_000, "line of more than"),
    ("a" * 100_000, "line of more than"),
    ("1 2 3\n" + "1 " * 50_000 + "\n1 2 3\n", "line of more than"),
    ("1 2 3\r" * 20_000 + "1 2\r", "not a table"),
    ("# " + "-" * 60 + "\n" + "# about\n" * 10_000 + "1 2 3\n", "no point in its first 65,536 bytes"),
    ("1 2 3\n" + "9" * 5000 + "x 5 6\n", "not a table"),
    ("1 2 3\n\u0663 2 3\n", "not a table"),
])  # fmt: skip
def test_what_is_no_table_is_one_sentence(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        read_scan(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def test_damaged_tables_give_a_scan_or_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    good = b"# by hand\n//X Y Z R G B\n" + b"".join(b"%d.5 2 3 10 20 30\n" % number for number in range(20))
    for _ in range(200):
        bad = bytearray(good[: rng.integers(1, len(good))])
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.integers(0, 256)
        try:
            read_scan(written(tmp_path, bytes(bad)))
        except InputError as error:
            assert "\n" not in str(error)


def test_a_table_takes_at_most_three_times_its_file(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.txt"
    rows = np.c_[rng.random((100_000, 3)).round(4), rng.integers(1, 256, (100_000, 3))]
    write(path, dict(zip(("x", "y", "z", "red", "green", "blue"), rows.T)))
    path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\n", 1)[1] * 9)
    script = (
        "import resource, sys; from s3dis_seg.data.scans import read_scan\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"assert len(read_scan({str(path)!r})) == 1_000_000\n"
        "print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 3 * path.stat().st_size


def test_a_full_disk_leaves_no_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write"):
            write_scan(tmp_path / "a.asc", Scan(np.random.default_rng(0).random((500, 3))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
