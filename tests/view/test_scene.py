from pathlib import Path

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES, COLORS
from s3dis_seg.data.scans import Scan
from s3dis_seg.files import InputError
from s3dis_seg.view import scene as scene_module
from s3dis_seg.view.cameras import read_views
from s3dis_seg.view.colorings import RIGHT, WRONG
from s3dis_seg.view.lettering import PANEL, TITLE
from s3dis_seg.view.scene import KEYS, Scene, free_name, help_lines, moved_cut, next_budget

FLOOR, WALL, CHAIR, CEILING = (CLASSES.index(name) for name in ("floor", "wall", "chair", "ceiling"))
FAR = np.array([500_000.0, 5_000_000.0, 300.0])
SIZE = 900, 700


def room():
    """A 4 x 3 m floor with a red block of chair points on it and a ceiling above, far from the origin. -> Scan"""
    flat = np.stack(np.meshgrid(np.arange(0, 4, 0.05), np.arange(0, 3, 0.05)), axis=-1).reshape(-1, 2)
    block = np.stack(np.meshgrid(*[np.arange(0, 0.8, 0.05)] * 3), axis=-1).reshape(-1, 3) + np.array([1.6, 1.1, 0.05])
    xyz = np.concatenate([np.c_[flat, np.zeros(len(flat))], block, np.c_[flat, np.full(len(flat), 2.5)]])
    labels = np.repeat([FLOOR, CHAIR, CEILING], [len(flat), len(block), len(flat)]).astype(np.uint8)
    scan = Scan(xyz + FAR, predictions=labels.copy(), labels=labels, path=Path("room.ply"))
    scan.columns = {"intensity": np.arange(len(xyz), dtype=np.float32)}
    return scan


@pytest.fixture
def said():
    return []


@pytest.fixture
def scene(said):
    return Scene([room()], ["prediction"], lambda sentence, entries=(): said.append(sentence), SIZE)


def pane(picture, number=0, of=1):
    """What a picture shows of a pane."""
    width = (SIZE[0] - PANEL) // of
    return picture[TITLE:, PANEL + number * width + 1 : PANEL + (number + 1) * width]


def colors(picture):
    """The colours of classes and errors in a picture, by name."""
    names = {name: COLORS[number] for number, name in enumerate(CLASSES)} | {"right": RIGHT, "wrong": WRONG}
    there = {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    return {name for name, color in names.items() if tuple(color.tolist()) in there}


def settle(scene):
    """What the window shows once it is at rest."""
    picture = None
    while not scene.at_rest:
        new = scene.step()
        picture = picture if new is None else new
    return picture


def middle_of(scene, place):
    """Where a place is in the picture."""
    (column,), (row,), _ = scene.panes[0].camera(scene.view, scene._pane_sizes()[0]).project(np.array([place]))
    return column + PANEL, row + TITLE


def click(scene, x, y, shift=False):
    scene.mouse_down("left", x, y, shift)
    scene.mouse_up()


CHAIR_TOP = FAR + np.array([2.0, 1.5, 0.8])


def test_the_scan_stands_beside_its_legend_without_its_ceiling(scene):
    picture = scene.picture()
    assert picture.shape == (700, 900, 3)
    assert colors(pane(picture)) == {"floor", "chair"}
    assert (pane(picture)[[0, -1]] == 255).all(), "nothing is cut off"
    assert {"floor", "chair", "ceiling"} <= colors(picture[:, :PANEL])
    scene.press("T")
    assert "ceiling" in colors(pane(scene.picture()))


def test_keys_switch_the_colouring_and_what_the_scan_lacks_is_told(scene, said):
    scene.panes[0].cloud.scan.predictions[:50] = WALL
    scene.press("E")
    assert colors(pane(scene.picture())) == {"right", "wrong"}
    assert said[-1].startswith("errors: 0.4 % of the points; ")
    scene.press("5")
    assert "no confidence" in said[-1]
    assert colors(pane(scene.picture())) == {"right", "wrong"}


def test_classes_are_hidden_and_shown_by_keys(scene):
    assert [key for key, _, _ in scene.entries()] == [("class", name) for name in ("ceiling", "floor", "chair")]
    scene.press("TAB")
    scene.press("SPACE")
    assert colors(pane(scene.picture())) == {"chair"}
    scene.press("3")
    assert colors(pane(scene.picture())) == {"chair"}, "the labels of the same name are hidden as well"
    scene.press("SPACE")
    scene.press("ENTER")
    assert colors(pane(scene.picture())) == {"floor"}
    scene.press("ENTER")
    assert colors(pane(scene.picture())) == {"floor", "chair"}
    scene.press("TAB", shift=True)
    scene.press("TAB", shift=True)
    assert scene.chosen == 2, "around the end"


def test_classes_are_hidden_and_shown_by_clicks_in_the_legend(scene):
    click(scene, 60, 40.5)
    assert scene.hidden == {("class", "floor")}
    click(scene, 60, 62, shift=True)
    assert scene.hidden == {("class", "floor"), ("class", "ceiling")}
    click(scene, 60, 690)
    assert len(scene.hidden) == 2, "no line there"


def test_all_may_be_hidden(scene):
    for key, _, _ in scene.entries():
        scene.hidden.add(key)
    scene.refresh()
    assert colors(pane(scene.picture())) == set()
    scene.press("R")
    scene.press("2")


def test_a_click_tells_of_a_point_and_two_clicks_the_distance(scene, said):
    scene.picture()
    click(scene, *middle_of(scene, CHAIR_TOP))
    assert "prediction chair" in said[-1]
    assert "intensity" in said[-1]
    first = scene.picks[0]
    assert np.linalg.norm(first.place - CHAIR_TOP) < 0.1
    assert (scene.panes[0].cloud.scan.xyz[first.point] == first.place).all()
    click(scene, *middle_of(scene, FAR + np.array([0.5, 0.5, 0])))
    distance = np.linalg.norm(scene.picks[0].place - scene.picks[1].place)
    assert f"distance {distance:.3f} m" in said[-1]
    picture = scene.picture()
    column, row = middle_of(scene, scene.picks[1].place)
    around = picture[int(row) - 9 : int(row) + 9, int(column) - 9 : int(column) + 9]
    assert (around == 0).all(axis=-1).any(), "a ring is drawn around the point"
    scene.press("F")
    assert scene.view.target == tuple(scene.picks[1].place.tolist())
    scene.press("X")
    assert scene.picks == []
    scene.press("F")
    assert "no point is picked" in said[-1]


def test_a_click_beside_the_points_picks_nothing(scene):
    scene.picture()
    click(scene, PANEL + 3, 690)
    click(scene, PANEL + 50, 5)
    assert scene.picks == []


def test_the_mouse_turns_moves_and_zooms(scene):
    view = scene.view
    scene.mouse_down("left", 500, 300)
    scene.mouse_move(501, 300)
    assert scene.view == view, "a hand that trembles while it clicks turns nothing"
    scene.mouse_move(540, 320)
    scene.mouse_up()
    assert scene.view.azimuth != view.azimuth
    assert scene.view.target == view.target
    assert scene.picks == []
    turned = scene.view
    scene.mouse_down("right", 500, 300)
    scene.mouse_move(540, 320)
    scene.mouse_up()
    assert scene.view.azimuth == turned.azimuth
    assert scene.view.target != turned.target
    scene.scroll(2)
    assert scene.view.distance < view.distance
    scene.press("0")
    assert scene.view == view


def test_every_arrow_turns_and_with_shift_moves(scene):
    for key in ("LEFT", "RIGHT", "UP", "DOWN"):
        view = scene.view
        scene.press(key)
        assert scene.view.target == view.target
        assert (scene.view.azimuth, scene.view.elevation) != (view.azimuth, view.elevation)
        scene.press(key, shift=True)
        assert scene.view.target != view.target
    distance = scene.view.distance
    scene.press("+")
    assert scene.view.distance < distance
    scene.press("-")
    assert scene.view.distance == pytest.approx(distance)


def test_a_slice_shows_what_lies_between_two_heights(scene):
    scene.press("PAGE_UP", shift=True)
    scene.press("PAGE_UP", shift=True)
    assert colors(pane(scene.picture())) == {"chair"}
    scene.press("HOME")
    for _ in range(38):
        scene.press("PAGE_DOWN")
    low, high = scene.heights
    assert low == -np.inf
    assert high == pytest.approx(300.125)
    assert colors(pane(scene.picture())) == {"floor", "chair"}
    sliced = Scene([room()], ["truth"], print, SIZE, heights=(0.3, 0.6))
    z = sliced.panes[0].cloud.scan.xyz[sliced.panes[0].cloud.rows[sliced.panes[0].shown], 2] - 300
    assert 0.29 < z.min() < z.max() < 0.61
    with pytest.raises(InputError, match=r"no point from 5 to 6 m above its floor; it is 2\.50 m high"):
        Scene([room()], ["truth"], print, SIZE, heights=(5, 6))


def test_the_ends_of_a_slice_stay_apart_and_within_the_room():
    heights = (-np.inf, np.inf)
    for _ in range(100):
        heights = moved_cut(heights, 0.0, 4.0, -1, lower_end=False)
    assert heights == (-np.inf, pytest.approx(0.1))
    assert moved_cut(heights, 0.0, 4.0, 1, lower_end=True) == heights
    for _ in range(39):
        heights = moved_cut(heights, 0.0, 4.0, 1, lower_end=False)
    assert heights == (-np.inf, np.inf)
    low, high = moved_cut((1.0, 1.1), 0.0, 4.0, 1, lower_end=True)
    assert low == pytest.approx(1.0)
    assert high == 1.1


def test_two_colourings_stand_side_by_side_under_one_camera():
    scan = room()
    scan.predictions[scan.labels == CHAIR] = WALL
    scene = Scene([scan], ["truth", "prediction"], lambda *_: None, SIZE)
    assert scene.panes[0].cloud is scene.panes[1].cloud
    picture = scene.picture()
    assert colors(pane(picture, 0, of=2)) == {"floor", "chair"}
    assert colors(pane(picture, 1, of=2)) == {"floor", "wall"}
    places = [np.argwhere((pane(picture, i, of=2) != 255).any(axis=-1)).mean(axis=0) for i in (0, 1)]
    assert np.abs(places[0] - places[1]).max() < 1
    counts = {key[1]: counts for key, _, counts in scene.entries()}
    assert counts["chair"] == [4096, 0]
    assert counts["wall"] == [0, 4096]
    scene.mouse_move(SIZE[0] - 50, 300)
    scene.press("4")
    assert [pane.coloring for pane in scene.panes] == ["truth", "errors"]


def test_two_scans_stand_side_by_side_and_points_are_measured_across():
    one, other = room(), room()
    other.path = Path("other.ply")
    other.xyz = other.xyz + np.array([0, 0, 0.25])
    told = []
    scene = Scene([one, other], ["truth", "truth"], lambda sentence, *_: told.append(sentence), SIZE)
    assert told == []
    scene.picture()
    column, row = (int(value) for value in middle_of(scene, CHAIR_TOP))
    scene.pick(0, column - PANEL, row - TITLE)
    scene.pick(1, column - PANEL, row - TITLE)
    assert [pick.pane for pick in scene.picks] == [0, 1]
    scene.picture()


def test_scans_that_lie_apart_are_each_shown_and_this_is_told():
    one, other = room(), room()
    other.xyz = other.xyz + np.array([1000, 0, 0])
    told = []
    scene = Scene([one, other], ["truth", "truth"], lambda sentence, *_: told.append(sentence), SIZE)
    assert told[0].startswith("the two scans lie apart")
    picture = scene.picture()
    assert colors(pane(picture, 1, of=2)) == {"floor", "chair"}


def test_many_points_are_thinned_while_moving_and_whole_at_rest(scene, monkeypatch):
    whole = scene.picture()
    monkeypatch.setattr(scene_module, "_ALWAYS_WHOLE", 1000)
    scene.look(scene.view.turned(0, 0))
    scene._budget = 2000
    coarse = scene.step()
    assert not scene.at_rest
    assert colors(pane(coarse)) == colors(pane(whole))
    assert (coarse != whole).any()
    assert (coarse[:, :PANEL] == whole[:, :PANEL]).all(), "letters stay sharp"
    column, row = middle_of(scene, CHAIR_TOP)
    assert scene.pick(0, int(column) - PANEL, int(row) - TITLE) is not None
    scene.press("X")
    assert (settle(scene) == whole).all()
    assert scene.step() is None


def test_the_thinned_cloud_is_as_large_as_there_is_time_for():
    assert next_budget(300_000, 0.04) == 150_000
    assert next_budget(300_000, 0.016) == 375_000
    assert next_budget(30_000, 10.0) == 30_000
    assert next_budget(2_000_000, 0.0) == 2_000_000


def test_the_picture_follows_the_size_of_the_window(scene):
    for size in ((1300, 500), (400, 300), (60, 40), (900, 700)):
        scene.resize(size)
        assert settle(scene).shape == (size[1], size[0], 3)
    scene.resize((0, 0))
    assert scene.size == (900, 700), "a window that is iconified has no size"


def test_legend_and_help_come_and_go(scene):
    whole = scene.picture()
    scene.press("L")
    assert "ceiling" not in colors(scene.picture())
    scene.press("L")
    scene.press("H")
    assert (scene.picture() != whole).any()
    scene.press("H")
    assert (scene.picture() == whole).all()


def test_pictures_and_views_are_written_under_names_that_are_free(scene, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "room-1.png").write_text("mine")
    scene.press("W")
    assert said[-1] == "written: room-2.png"
    assert (tmp_path / "room-1.png").read_text() == "mine"
    scene.press("V")
    view = scene.view
    scene.press("LEFT")
    scene.press("V")
    assert read_views(tmp_path / "room-views-1.json") == [view, scene.view]
    assert "--views room-views-1.json" in said[-1]
    assert free_name("room", ".png") == Path("room-3.png")


def test_a_folder_that_cannot_be_written_to_is_told(scene, said, monkeypatch):
    monkeypatch.setattr(scene_module, "free_name", lambda stem, suffix: Path("/dev/null/x") / f"{stem}{suffix}")
    scene.press("W")
    assert "/dev/null" in said[-1]
    scene.press("V")
    assert "/dev/null" in said[-1]


def test_a_scan_of_nothing_but_ceiling_is_shown():
    scan = room()
    scan.predictions[:] = scan.labels[:] = CEILING
    scene = Scene([scan], ["prediction"], lambda *_: None, SIZE)
    assert colors(pane(scene.picture())) == {"ceiling"}


def test_points_that_are_not_finite_are_left_out():
    scan = room()
    scan.xyz[0] = np.nan
    scene = Scene([scan], ["prediction"], lambda *_: None, SIZE)
    assert len(scene.panes[0].cloud.rows) == len(scan) - 1
    scan.xyz[:] = np.nan
    with pytest.raises(InputError, match="no point with finite coordinates"):
        Scene([scan], ["prediction"], lambda *_: None, SIZE)


def test_one_point_and_points_in_one_place_are_shown():
    for count in (1, 5):
        scene = Scene([Scan(np.ones((count, 3)))], ["scan"], lambda *_: None, SIZE)
        assert (pane(scene.picture()) == 128).all(axis=-1).any()


def test_of_very_many_points_a_sample_is_shown_and_this_is_told(said, monkeypatch):
    monkeypatch.setattr("s3dis_seg.view.clouds.MOST", 1000)
    scene = Scene([room()], ["prediction"], lambda sentence, *_: said.append(sentence), SIZE)
    assert said[0].startswith("showing 1,000 of ")
    assert colors(pane(scene.picture())) == {"floor", "chair"}


def test_every_key_does_something_and_is_listed_in_the_help(scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for keys, (_, method) in KEYS.items():
        for key in keys:
            scene.press(key)
            scene.press(key, shift=True)
            assert scene.actions[key] == getattr(scene, method)
    assert scene.closed
    assert sum(keys.count(",") + 1 for keys, _ in help_lines()[: -len(scene_module.MOUSE)]) == len(scene.actions)
    scene.press("NO SUCH KEY")
    settle(scene)


def test_the_document_lists_every_key():
    document = (Path(__file__).parents[2] / "docs" / "looking.md").read_text().split("| mouse | |")[0]
    for keys in KEYS:
        name = keys[0].replace("_", " ").capitalize()
        listed = {"Left": "arrows", "Right": "arrows", "Up": "arrows", "Down": "arrows"}.get(name, name)
        assert listed in document or name in "12345", name
