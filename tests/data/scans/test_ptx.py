"""PTX: scans with a pose, rays that met nothing, and one sentence about what is none."""

import numpy as np
import pytest

from s3dis_seg.data.scans import read_scan
from s3dis_seg.files import InputError

POINTS = "1 2 3 0.5 10 20 30\n0 0 0 0.5 0 0 0\n4 5 6 0.25 40 50 60\n1 1 1 0.125 1 2 3\n"


def header(columns=2, rows=2, turned=False, place=(0, 0, 0)):
    axes = "0 1 0 0\n-1 0 0 0\n" if turned else "1 0 0 0\n0 1 0 0\n"
    place = " ".join(map(str, place))
    return f"{columns}\n{rows}\n{place}\n1 0 0\n0 1 0\n0 0 1\n{axes}0 0 1 0\n{place} 1\n"


def written(tmp_path, text):
    path = tmp_path / "a.ptx"
    path.write_text(text)
    return path


def test_points_are_put_where_the_pose_says_and_empty_rays_left_out(tmp_path):
    scan = read_scan(written(tmp_path, header(turned=True, place=(10, 20, 30)) + POINTS))
    # x of the scanner points to y, and y to -x
    np.testing.assert_array_equal(scan.xyz, [[8, 21, 33], [5, 24, 36], [9, 21, 31]])
    np.testing.assert_array_equal(scan.rgb, [[10, 20, 30], [40, 50, 60], [1, 2, 3]])
    np.testing.assert_array_equal(scan.columns["intensity"], [0.5, 0.25, 0.125])
    assert "1 rays that met nothing" in scan.warnings[0] and "scan" not in scan.columns


def test_several_scans_are_numbered_and_may_lack_colors(tmp_path):
    grey = "".join(" ".join(line.split()[:4]) + "\n" for line in POINTS.splitlines())
    scan = read_scan(written(tmp_path, header() + POINTS + header(place=(0, 0, 1)) + grey + header(0, 0)))
    np.testing.assert_array_equal(scan.columns["scan"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(scan.xyz[3:, 2], [4, 7, 2])
    np.testing.assert_array_equal(scan.rgb[3:], 0)
    assert any("1 of its 2 scans with points have no colours" in warning for warning in scan.warnings)


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", " \n"),
    lambda text: text.replace(" ", "   "),
    lambda text: text.replace(" ", "\t"),
    lambda text: text + "\n\n",
    lambda text: text.rstrip("\n"),
])  # fmt: skip
def test_line_ends_and_spaces_of_any_kind(tmp_path, change):
    expected = read_scan(written(tmp_path, header() + POINTS))
    np.testing.assert_array_equal(read_scan(written(tmp_path, change(header() + POINTS))).xyz, expected.xyz)


@pytest.mark.parametrize(("text", "message"), [
    ("1 2 3\n4 5 6\n", "line 1: expected the ten lines"),
    (header(3, 2) + POINTS, "promises 6 points, it holds 4"),
    (header() + POINTS + POINTS, "line 15: expected the ten lines"),
    (header() + POINTS.replace("0.25", "five"), "damaged after line 10.*five"),
    (header() + POINTS.replace(" 0.25", ""), "damaged after line 10"),
    (header() + "1 2 3\n" * 4, "line 11: 3 numbers; expected 'x y z intensity'"),
    (header().replace("0 0 1 0\n", "0 0 nan 0\n") + POINTS, "line 1: expected"),
    (header(0, 0), "no points"),
])  # fmt: skip
def test_what_is_no_ptx_is_one_sentence(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read_scan(written(tmp_path, text))
    assert "\n" not in str(error.value)
