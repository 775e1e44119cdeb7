import sys

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES, COLORS, UNLABELLED_COLOR
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import Scan, read_scan
from s3dis_seg.data.scans.labels import labels_of
from s3dis_seg.files import InputError
from s3dis_seg.view.colorings import (
    GREY,
    RIGHT,
    WRONG,
    available_colorings,
    color_points,
    legend,
    points_below_ceiling,
    ramp,
    title_of,
)
from s3dis_seg.view.drawing import BACKGROUND, Camera, fitting_camera, paint, seen_points
from s3dis_seg.view.pictures import look, side_by_side, title_height, write_picture
from s3dis_seg.view.window import check_window
from tests.view.screen import run_on_a_screen

CEILING, FLOOR, WALL, BEAM = (CLASSES.index(name) for name in ("ceiling", "floor", "wall", "beam"))
FAR = np.array([500_000.0, 5_000_000.0, 300.0])


@pytest.fixture
def room():
    """A 4 x 3 x 2.5 m box: floor, ceiling and one wall, on a 6.25 cm grid, far from the origin. -> Scan"""
    across, deep = np.meshgrid(np.arange(0, 4, 0.0625), np.arange(0, 3, 0.0625))
    flat = np.stack([across.ravel(), deep.ravel()], axis=1)
    _, up = np.meshgrid(np.arange(0, 4, 0.0625), np.arange(0, 2.5, 0.0625))
    wall = np.stack([_.ravel(), np.full(up.size, 3.0), up.ravel()], axis=1)
    parts = [np.c_[flat, np.zeros(len(flat))], np.c_[flat, np.full(len(flat), 2.5)], wall]
    labels = np.repeat([FLOOR, CEILING, WALL], [len(part) for part in parts]).astype(np.uint8)
    xyz = np.concatenate(parts) + FAR
    scan = Scan(xyz, rgb=np.random.default_rng(0).integers(0, 255, (len(xyz), 3)).astype(np.uint8))
    scan.labels, scan.predictions = labels, labels.copy()
    scan.predictions[labels == WALL] = CLASSES.index("door")
    scan.confidence = np.linspace(0, 1, len(xyz), dtype=np.float32)
    return scan


def render(scan, coloring, size, ceiling=False):
    """A panel without its title and legend. -> (H, W, 3) uint8"""
    return paint(look(scan, size, ceiling), color_points(scan, coloring))


def colors_in(picture):
    return {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def as_set(*colors):
    return {tuple(np.asarray(color).tolist()) for color in colors}


# --- colourings


def test_errors_are_wrong_right_or_unlabelled():
    scan = Scan(np.zeros((3, 3)), predictions=np.array([1, 2, 2], np.uint8), labels=np.array([1, 1, 255], np.uint8))
    colors = color_points(scan, "errors")
    assert colors.tolist() == [RIGHT.tolist(), WRONG.tolist(), UNLABELLED_COLOR.tolist()]


def test_a_scan_without_colours_is_grey():
    assert color_points(Scan(np.zeros((2, 3))), "scan").tolist() == [[128] * 3] * 2


def test_the_ramp_is_lighter_for_higher_confidence():
    lightness = ramp(np.linspace(0, 1, 50)) @ np.array([0.3, 0.6, 0.1])
    assert (np.diff(lightness) > 0).all()


def test_only_what_the_scan_has_can_be_shown(room):
    assert available_colorings(room) == ["scan", "prediction", "truth", "errors", "confidence"]
    plain = Scan(room.xyz)
    assert available_colorings(plain) == ["scan"]
    for name, word in (("prediction", "segment"), ("truth", "--label-field"), ("confidence", "segment")):
        with pytest.raises(InputError, match=word):
            color_points(plain, name)


def test_the_legend_lists_the_classes_that_occur_in_its_panel_once(room):
    assert [name for name, _ in legend(room, "truth")] == ["ceiling", "floor", "wall"]
    assert [name for name, _ in legend(room, "prediction")] == ["ceiling", "floor", "door"]
    assert [name for name, _ in legend(room, "errors")] == ["right", "wrong"]
    assert legend(room, "scan") == []
    room.labels[0] = 255
    assert [name for name, _ in legend(room, "truth")][-1] == "unlabelled"
    assert [name for name, _ in legend(room, "errors")] == ["right", "wrong", "unlabelled"]


def test_the_title_of_errors_counts_labelled_points_only():
    scan = Scan(np.zeros((4, 3)), predictions=np.array([1, 2, 2, 2], np.uint8), labels=np.array([1, 1, 255, 255]))
    assert title_of(scan, "errors") == "errors: 50.0 % of the points"
    scan.labels[:] = 255
    assert title_of(scan, "errors") == "errors: no point has a label"


def test_a_scan_without_colours_says_so_in_title_and_legend():
    plain = Scan(np.zeros((2, 3)))
    assert title_of(plain, "scan") == "scan (has no colours)"
    assert legend(plain, "scan") == [("no colour", GREY)]


# --- what is shown


def test_labels_decide_before_predictions_what_is_ceiling(room):
    room.predictions[:] = FLOOR
    shown, said = points_below_ceiling(room)
    assert (shown == (room.labels != CEILING)).all()
    assert "labelled ceiling" in said
    room.labels = None
    assert points_below_ceiling(room)[0].all()


def test_a_predicted_ceiling_is_hidden_overhead_and_shown_as_a_mistake_low_down(room):
    low_wall = (room.labels == WALL) & (room.xyz[:, 2] < FAR[2] + 1)
    high_wall = (room.labels == WALL) & (room.xyz[:, 2] > FAR[2] + 2)
    room.predictions[low_wall | high_wall] = CEILING
    shown, said = points_below_ceiling(room)
    assert (shown == ~((room.labels == CEILING) | high_wall)).all()
    assert said == f"{(~shown).sum():,} points labelled or predicted ceiling or beam"
    room.labels = None
    assert (points_below_ceiling(room)[0] == shown).all()


def test_no_panel_shows_a_ceiling_that_another_hides(room):
    room.predictions[(room.labels == WALL) & (room.xyz[:, 2] > FAR[2] + 2)] = CEILING
    picture = side_by_side(room, ["prediction", "truth"], (300, 200))
    assert not as_set(COLORS[CEILING]) & colors_in(picture)


def test_without_classes_the_upper_part_is_hidden(room):
    shown, said = points_below_ceiling(Scan(room.xyz))
    assert not shown[room.labels == CEILING].any()
    assert shown[room.labels == FLOOR].all()
    assert "upper 5 %" in said


def test_classes_of_the_user_have_their_colours_names_and_ceilings(room):
    room.classes = classes_of_text("a #010203 = 0\nb #040506 = 1\nCeiling = 2, rest", "x")
    room.labels, room.predictions = room.labels % 3, None
    assert {name for name, _ in legend(room, "truth")} <= {"a", "b", "Ceiling"}
    assert as_set(*color_points(room, "truth")[room.labels == 0]) == {(1, 2, 3)}
    assert (points_below_ceiling(room)[0] == (room.labels != 2)).all()
    room.classes = classes_of_text("a = 0\nb = 1\nc = rest", "x")
    assert "upper 5 %" in points_below_ceiling(room)[1]


def test_a_number_beyond_the_classes_is_shown_by_its_number():
    scan = Scan(np.eye(3), labels=np.array([0, 14, 255], np.uint8))
    assert [name for name, _ in legend(scan, "truth")] == ["ceiling", "class 14", "unlabelled"]


def test_labels_are_found_by_their_usual_names_but_not_in_las_files(tmp_path):
    classes = np.array([0, 12, 255, -1])
    scan = Scan(np.zeros((4, 3)), columns={"classification": classes}, path=tmp_path / "a.ply")
    assert labels_of(scan).tolist() == [0, 12, 255, 255]
    scan.path = tmp_path / "a.las"
    assert labels_of(scan) is None
    assert labels_of(scan, "classification").tolist() == [0, 12, 255, 255]
    with pytest.raises(InputError, match="no property 'label'; it has classification"):
        labels_of(scan, "label")
    scan.columns["classification"] = np.array([0.0, 1.5])
    with pytest.raises(InputError, match=r"holds 1\.5; labels are 0 \(ceiling\)"):
        labels_of(scan, "classification")


# --- pictures


def test_every_pixel_has_exactly_the_colour_of_a_class_or_of_nothing(room):
    picture = render(room, "truth", (300, 200))
    assert picture.shape[0] <= 200
    assert picture.shape[1] <= 300
    assert colors_in(picture) == as_set(BACKGROUND, COLORS[FLOOR], COLORS[WALL])
    assert colors_in(render(room, "truth", (300, 200), ceiling=True)) == as_set(
        BACKGROUND, *COLORS[[FLOOR, WALL, CEILING]]
    )
    assert colors_in(render(room, "errors", (300, 200))) == as_set(BACKGROUND, RIGHT, WRONG)


def test_a_surface_of_points_has_no_holes_in_the_picture(room):
    picture = render(room, "truth", (300, 200))
    row = picture[picture.shape[0] * 2 // 3]
    floor = np.flatnonzero((row == COLORS[FLOOR]).all(axis=1))
    assert len(floor) > 100
    assert (np.diff(floor) == 1).all()


def test_the_nearer_point_is_seen():
    xyz = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    camera = Camera(np.zeros(3), np.eye(3), np.array([0.0, 0.0, 5.0]), focal=50, size=(11, 11))
    seen = seen_points(xyz, np.ones(2, bool), camera, point_size=1)
    assert seen[5, 5] == 1
    assert (seen >= 0).sum() == 1
    assert seen_points(xyz, np.array([True, False]), camera, point_size=1)[5, 5] == 0


def test_a_point_behind_the_camera_is_not_seen():
    camera = Camera(np.zeros(3), np.eye(3), np.array([0.0, 0.0, -5.0]), focal=50, size=(11, 11))
    assert (seen_points(np.zeros((1, 3)), np.ones(1, bool), camera, point_size=1) == -1).all()


def test_neighbouring_points_share_the_gap_between_them():
    # Two points four pixels apart, as discs of seven pixels: each has the half that is closer to it.
    xyz = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0]])
    camera = Camera(np.zeros(3), np.eye(3), np.array([0.0, 0.0, 5.0]), focal=50, size=(21, 21))
    row = seen_points(xyz, np.ones(2, bool), camera, point_size=7)[10]
    assert row.tolist() == [-1] * 7 + [0] * 5 + [1] * 6 + [-1] * 3


@pytest.mark.parametrize("left_free", [0, 60])
@pytest.mark.parametrize("azimuth, elevation", [(None, 68), (130, 10), (0, 90), (-45, -30)])
def test_the_whole_scan_fits_into_the_picture_and_fills_it(room, azimuth, elevation, left_free):
    xyz = room.xyz
    everything = np.ones(len(xyz), bool)
    camera = fitting_camera(xyz, everything, (400, 300), azimuth, elevation, left_free=left_free)
    column, row, depth = camera.project(xyz)
    assert depth.min() > 0
    assert left_free <= column.min() <= column.max() <= 400
    assert 0 <= row.min() <= row.max() <= 300
    assert max(np.ptp(column) / (400 - left_free), np.ptp(row) / 300) > 0.9


def test_the_picture_is_the_same_far_from_the_origin(room):
    near = Scan(room.xyz - FAR, labels=room.labels)
    assert (render(near, "truth", (300, 200)) == render(room, "truth", (300, 200))).all()


def test_many_points_are_drawn_in_pieces(room, monkeypatch):
    whole = render(room, "truth", (300, 200))
    monkeypatch.setattr("s3dis_seg.view.drawing._AT_ONCE", 1000)
    assert (render(room, "truth", (300, 200)) == whole).all()


def test_every_panel_keeps_its_pixels_and_stands_above_its_own_legend(room):
    picture = side_by_side(room, ["scan", "prediction", "truth", "errors"], (300, 200))
    panel = render(room, "prediction", (300, 200))
    height, width = panel.shape[:2]
    top = title_height(4 * width)
    assert (picture[top : top + height, width : 2 * width] == panel).all()
    assert picture.shape[1] == 4 * width
    below = [colors_in(part) for part in np.split(picture[top + height :], 4, axis=1)]
    assert below[0] == as_set(BACKGROUND)
    grey = as_set(*(color for color in COLORS if len(set(color)) == 1))  # the edges of letters are grey, too
    keys = as_set(*COLORS, RIGHT, WRONG) - grey
    assert below[1] & keys == as_set(COLORS[FLOOR], COLORS[CLASSES.index("door")])
    assert below[2] & keys == as_set(COLORS[FLOOR], COLORS[WALL])
    assert below[3] & keys == as_set(RIGHT, WRONG)


def test_confidence_has_a_colour_bar_from_dark_to_light(room):
    picture = side_by_side(room, ["confidence"], (300, 200))
    top = title_height(picture.shape[1]) + len(render(room, "confidence", (300, 200)))
    below = picture[top:]
    row = below[(below == ramp(np.ones(1))[0]).all(axis=-1).any(axis=1)][0]
    bar = row[(row != 255).any(axis=1)]
    assert len(bar) > 150
    assert (bar == ramp(np.linspace(0, 1, len(bar)))).all()


def test_a_narrow_scan_has_a_panel_as_wide_as_its_text(room):
    room.xyz = room.xyz * (0.05, 0.05, 1)
    assert side_by_side(room, ["truth"], (800, 600)).shape[1] >= 280


def test_all_points_unlabelled_make_a_picture_without_a_warning(room):
    room.labels[:] = 255
    picture = side_by_side(room, ["truth", "errors"], (300, 200), ceiling=True)
    assert as_set(UNLABELLED_COLOR) <= colors_in(picture)


def test_a_saved_picture_has_the_same_pixels(room, tmp_path):
    from matplotlib.image import imread

    picture = render(room, "prediction", (300, 200))
    write_picture(tmp_path / "picture.png", picture)
    read = (imread(tmp_path / "picture.png")[..., :3] * 255).round().astype(np.uint8)
    assert (read == picture).all()
    with pytest.raises(InputError, match=r"name a \.png file"):
        write_picture(tmp_path / "picture.jpg", picture)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_a_few_points_make_a_picture_too(count):
    xyz = np.random.default_rng(0).random((count, 3))
    assert (render(Scan(xyz), "scan", (200, 150)) == 128).all(axis=-1).any()


def test_points_all_in_one_place_make_a_picture():
    assert (render(Scan(np.ones((5, 3))), "scan", (200, 150)) == 128).any()


def test_points_that_are_not_finite_are_left_out():
    xyz = np.array([[0.0, 0, 0], [1, 1, 1], [np.nan, 0, 0], [0, np.inf, 0]])
    assert (render(Scan(xyz), "scan", (200, 150)) == 128).any()
    with pytest.raises(InputError, match="no point with finite coordinates"):
        render(Scan(xyz[2:]), "scan", (200, 150))


def test_the_real_crop_shows_nothing_but_its_classes(shared):
    scan = read_scan(shared / "data/scans/Area_4_hallway_5_crop.ply")
    picture = render(scan, "truth", (400, 300))
    assert colors_in(picture) == as_set(BACKGROUND, *COLORS[sorted(set(scan.labels.tolist()) - {CEILING, BEAM})])


# --- the window


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no DISPLAY")
@pytest.mark.parametrize("display, found", [(None, "DISPLAY is not set"), (":987", "':987' does not answer")])
def test_a_missing_screen_is_said_with_the_way_out(monkeypatch, display, found):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(InputError, match=found) as error:
        check_window()
    assert "--save picture.png" in str(error.value)


WINDOW = """
import numpy as np
from s3dis_seg.data.scans import Scan
from s3dis_seg.view import Scene, Window

grid = np.stack(np.meshgrid(np.arange(40), np.arange(90), [0, 20]), -1).reshape(-1, 3) / 10.0 + 1e6
labels = np.where(grid[:, 2] > 1e6 + 1, 0, 1).astype(np.uint8)
scan = Scan(grid, predictions=np.where(labels == 1, 8, labels).astype(np.uint8), labels=labels)
scene = Scene([scan], ["prediction"], lambda *_: None)
window = Window(scene)

def picture():
    while not scene.at_rest:
        assert window.poll()
    return (np.asarray(window.visualizer.capture_screen_float_buffer(True)) * 255).round().astype(np.uint8)

assert picture().shape == (960, 1280, 3)
assert (picture() == scene.picture()).all(), "the window shows the scene, pixel by pixel"
assert {(255, 255, 255), (255, 0, 0)} <= set(map(tuple, picture()[30:, 300:].reshape(-1, 3).tolist()))

def key(name, mods=0, action=1):
    window._key(name, None, action, mods)

key("3")
assert scene.panes[0].coloring == "truth"
key("3", action=0)
assert (picture() == scene.picture()).all()
window._move(None, 700, 500)
window._button(None, 0, 1, 0)
window._button(None, 0, 0, 0)
assert len(scene.picks) == 1
view = scene.view
window._button(None, 0, 1, 0)
window._move(None, 740, 500)
window._button(None, 0, 0, 0)
assert scene.view.azimuth != view.azimuth
window._scroll(None, 0, 1)
assert scene.view.distance < view.distance
scene.resize((800, 600))
window._show(scene.picture())
key("TAB", mods=1)
assert scene.chosen == 1
key("Q")
window.run()
"""


def test_a_window_shows_its_scene_pixel_by_pixel_and_hands_over_keys_and_mouse():
    run_on_a_screen(WINDOW)
