import numpy as np
import pytest

from s3dis_seg.files import InputError
from s3dis_seg.view.cameras import View, first_view, read_views, turn_around, way_through, write_views

VIEW = View((1.0, 2.0, 3.0), azimuth=30.0, elevation=40.0, distance=5.0)
SIZE = 400, 300


def test_the_target_is_in_the_middle_of_the_picture_at_its_distance():
    column, row, depth = VIEW.camera(SIZE).project(np.array([VIEW.target]))
    assert (column[0], row[0], depth[0]) == pytest.approx((200, 150, 5))


def test_turning_keeps_the_distance_and_stops_straight_above():
    turned = VIEW.turned(400, 90)
    assert turned.azimuth == pytest.approx(70)
    assert turned.elevation == 90
    assert turned.camera(SIZE).project(np.array([VIEW.target]))[2][0] == pytest.approx(5)


def test_what_is_at_the_target_follows_the_mouse():
    column, row, _ = VIEW.moved(30, -20, SIZE).camera(SIZE).project(np.array([VIEW.target]))
    assert (column[0], row[0]) == pytest.approx((230, 130))


def test_zooming_in_and_out_again_changes_nothing_and_never_reaches_the_target():
    assert VIEW.nearer(3).nearer(-3).distance == pytest.approx(5)
    assert VIEW.nearer(1).distance < 5
    assert VIEW.nearer(1000).distance > 0


@pytest.mark.parametrize("azimuth, elevation", [(None, 68.0), (130.0, 10.0), (0.0, 90.0), (-45.0, -30.0)])
def test_the_first_view_has_the_whole_scan_in_the_picture(azimuth, elevation):
    xyz = np.random.default_rng(0).random((500, 3)) * (4, 3, 2) + (1e5, 1e6, 10)
    view = first_view(xyz, np.ones(500, bool), SIZE, azimuth, elevation)
    column, row, depth = view.camera(SIZE).project(xyz)
    assert depth.min() > 0
    assert 0 <= column.min() <= column.max() <= 400
    assert 0 <= row.min() <= row.max() <= 300
    assert max(np.ptp(column) / 400, np.ptp(row) / 300) > 0.9
    assert view.elevation == elevation
    assert azimuth is None or view.azimuth == pytest.approx(azimuth % 360)


def test_a_turn_comes_around_in_equal_steps():
    azimuths = [view.azimuth for view in turn_around(VIEW, 8)]
    assert np.allclose(np.diff(np.unwrap(azimuths, period=360)), 45)
    assert (azimuths[-1] + 45) % 360 == pytest.approx(azimuths[0])


def test_a_way_passes_through_its_views_by_the_shorter_turn_and_without_jumps():
    other = View((4.0, 2.0, 3.0), azimuth=350.0, elevation=80.0, distance=0.5)
    way = way_through([VIEW, other, VIEW], 41)
    assert len(way) == 41
    assert way[0] == way[-1] == VIEW
    assert way[20].target == pytest.approx(other.target)
    assert way[20].distance == pytest.approx(0.5)
    azimuths = np.array([view.azimuth for view in way])
    assert ((azimuths <= 30.001) | (azimuths >= 349.999)).all(), "over 0 degrees"
    steps = np.abs(np.diff([view.elevation for view in way]))
    assert steps.max() < 4
    assert steps[0] < steps.max() / 3, "it starts gently"
    assert way_through([VIEW], 3) == [VIEW] * 3


def test_views_are_kept_in_a_file(tmp_path):
    write_views(tmp_path / "views.json", [VIEW, VIEW.turned(1, 2)])
    assert read_views(tmp_path / "views.json") == [VIEW, VIEW.turned(1, 2)]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"views": []}', '{"views": [{"target": [1, 2]}]}', '{"views": [1]}',
     '{"views": [{"target": [1, 2, 3], "azimuth": 0, "elevation": 0, "distance": -1}]}',
     '{"views": [{"target": [1, 2, 3], "azimuth": NaN, "elevation": 0, "distance": 1}]}',
     '{"views": [{"target": [1, 2, 3], "azimuth": 0, "elevation": 0, "distance": 1, "more": 2}]}'],
)  # fmt: skip
def test_a_file_without_views_is_refused_with_where_such_files_come_from(tmp_path, text):
    (tmp_path / "views.json").write_text(text)
    with pytest.raises(InputError, match="the key V of the window"):
        read_views(tmp_path / "views.json")
    with pytest.raises(InputError, match="cannot read"):
        read_views(tmp_path / "none.json")
