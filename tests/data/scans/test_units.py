"""Units and the upright axis: judged by the points, told, applied where sure, and otherwise refused with the flag."""

import numpy as np
import pytest

from s3dis_seg.data.scans import UP, Scan, judged_units, read_scan, write_scan
from s3dis_seg.data.scans.axes import judged_up, turned
from s3dis_seg.files import InputError


def room(size=(5.0, 4.0, 2.8), angle=0.5, num=4000):
    """A room with floor, ceiling and four walls, turned about z so that its walls lie along no axis. -> (P, 3)"""
    rng = np.random.default_rng(0)
    x, y, z = rng.random((3, 6, num)) * np.array(size)[:, None, None]
    z[0], z[1] = 0, size[2]
    y[2], y[3], x[4], x[5] = 0, size[1], 0, size[0]
    xyz = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return xyz @ turn.T + rng.normal(0, 0.005, xyz.shape)


def y_up(xyz):
    return np.stack([xyz[:, 0], xyz[:, 2], -xyz[:, 1]], axis=1)


@pytest.mark.parametrize(("units", "factor", "name"), [
    ("mm", 1000, "millimetres"), ("cm", 100, "centimetres"), ("inch", 1 / 0.0254, "inches"),
])  # fmt: skip
def test_units_of_a_room_are_applied_and_told(tmp_path, units, factor, name):
    write_scan(tmp_path / "a.ply", Scan(room() * factor))
    scan = read_scan(tmp_path / "a.ply")
    np.testing.assert_allclose(scan.xyz, room())
    (told,) = [warning for warning in scan.warnings if name in warning]
    assert "sure" in told and "--units m" in told
    np.testing.assert_array_equal(scan.columns["x"], room()[:, 0] * factor)  # the output stays in the file's units
    np.testing.assert_allclose(read_scan(tmp_path / "a.ply", units="m").xyz, room() * factor)


@pytest.mark.parametrize(("size", "factor", "flag"), [
    ((5, 4, 1.6), 100, "--units inch or --units cm"),  # in inches 4 m
    ((5, 4, 2.8), 1 / 0.3048, "--units ft or --units m"),
    ((20, 15, 9), 1, "--units ft or --units m"),  # a hall in metres
    ((2, 2, 1.2), 1000, "--units cm or --units mm"),
    ((50, 40, 30), 1000, "--units mm"),
    ((900, 900, 2.8), 1000, "--units mm"),  # too wide for a room
    ((5, 4, 0.01), 1000, "--units mm or --units cm"),  # a piece of floor
])  # fmt: skip
def test_units_that_are_not_sure_are_refused_with_the_flags(tmp_path, size, factor, flag):
    write_scan(tmp_path / "a.ply", Scan(room(size) * factor))
    with pytest.raises(InputError, match=f"add {flag}"):
        read_scan(tmp_path / "a.ply")


@pytest.mark.parametrize(("units", "metres"), [("m", 1), ("cm", 0.01), ("mm", 0.001), ("ft", 0.3048), ("inch", 0.0254)])
def test_units_that_are_given_are_taken(tmp_path, units, metres):
    write_scan(tmp_path / "a.ply", Scan(room() / metres))
    np.testing.assert_allclose(read_scan(tmp_path / "a.ply", units=units).xyz, room())


def test_metres_are_the_rule_and_feet_are_mentioned_where_they_may_fit():
    assert judged_units(room()) == ("m", "")
    for other in (room((30, 20, 15)), room((20, 15, 9))[room((20, 15, 9))[:, 2] < 8.5]):  # a hall; without a ceiling
        units, told = judged_units(other)
        assert units == "m" and "not sure; --units ft if these are feet" in told
    assert judged_units(room((20, 15, 9)), refuse=False)[0] == "m"


def test_storeys_show_that_a_building_is_in_metres():
    storey = room((20, 15, 3.0))
    units, _ = judged_units(np.concatenate([storey + np.array([0, 0, level * 3.3]) for level in range(3)]))
    assert units == "m"


def test_real_rooms_in_inches_are_sure_and_in_feet_refused(shared):
    for path in sorted((shared / "data" / "s3dis" / "rooms").glob("*.npy")):
        xyz = np.load(path)[:, :3].astype(np.float64)
        units, told = judged_units(xyz / 0.0254)
        assert units == "inch" and "(sure;" in told, path.stem
        with pytest.raises(InputError, match="high from floor to ceiling, like a room in feet"):
            judged_units(xyz / 0.3048)


def test_a_stray_point_and_nan_do_not_change_the_units():
    xyz = room()
    xyz[0], xyz[1] = 1e5, np.nan
    for given in (xyz, np.full((3, 3), np.nan), np.ones((1, 3)) * 1e6):
        assert judged_units(given)[0] == "m"


def test_y_is_taken_as_upwards_where_floor_and_ceiling_lie_along_it(tmp_path):
    write_scan(tmp_path / "a.ply", Scan(y_up(room()) * 1000))
    scan = read_scan(tmp_path / "a.ply")
    np.testing.assert_allclose(scan.xyz, room(), atol=1e-9)
    assert "y is taken as upwards" in scan.warnings[0] and "--up z" in scan.warnings[0]
    np.testing.assert_array_equal(scan.columns["y"], y_up(room())[:, 1] * 1000)
    np.testing.assert_allclose(read_scan(tmp_path / "a.ply", up="z", units="mm").xyz, y_up(room()))


def test_rooms_along_the_axes_have_z_upwards():
    for size in ((5, 4, 2.8), (12, 1.6, 2.7), (3, 3, 3), (20, 15, 3)):
        assert judged_up(room(size, angle=0)) == ("z", "")


def test_an_upright_axis_that_is_not_sure_is_refused_with_the_flags():
    floor = y_up(room())[:4000]  # no ceiling, no walls
    rest = np.random.default_rng(1).random((6000, 3)) * (5, 2.5, 4)
    with pytest.raises(InputError, match="add --up y, or --up z"):
        judged_up(np.concatenate([floor, rest]))
    assert judged_up(np.concatenate([floor, rest]), refuse=False) == ("z", "")


def test_a_format_that_names_its_axis_is_believed_unless_the_points_say_otherwise():
    assert judged_up(y_up(room()), by_format="y")[0] == "y"
    assert judged_up(np.eye(3), by_format="y")[0] == "y"
    up, told = judged_up(room(), by_format="y")
    assert up == "z" and "--up y" in told


@pytest.mark.parametrize("up", UP)
def test_every_upright_axis_is_turned_to_z_and_nothing_mirrored(up):
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    np.testing.assert_array_equal(turned(axis[None], up), [[0, 0, 1]])
    assert np.linalg.det(turned(np.eye(3), up)) == pytest.approx(1)


def test_a_scan_that_was_segmented_is_not_refused(tmp_path):
    scan = Scan(room((2, 2, 1.2)) * 1000, columns={}, predictions=np.zeros(24_000, np.uint8))
    scan.confidence = np.ones(24_000, np.float32)
    write_scan(tmp_path / "a.ply", scan)
    assert any("not sure" in warning for warning in read_scan(tmp_path / "a.ply").warnings)


def test_intensity_is_no_color_and_grey_is_told(tmp_path):
    grey = np.repeat(np.random.default_rng(0).integers(1, 256, (24_000, 1)), 3, axis=1).astype(np.uint8)
    write_scan(tmp_path / "a.ply", Scan(room(), columns={"intensity": grey[:, 0]}))
    scan = read_scan(tmp_path / "a.ply")
    assert scan.rgb is None and "intensity but no colours" in scan.warnings[0]
    write_scan(tmp_path / "a.ply", Scan(room(), grey))
    assert "all grey" in read_scan(tmp_path / "a.ply").warnings[0]
