"""The page in a real browser: it loads, draws, and answers to panel, mouse, touch and keys."""

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES, COLORS
from s3dis_seg.data.scans import Scan
from s3dis_seg.report.page import write_page
from s3dis_seg.view.colorings import RIGHT, WRONG, ramp
from tests.report.browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium; on Debian: apt-get install chromium")
CEILING, FLOOR, WALL, TABLE = (CLASSES.index(name) for name in ("ceiling", "floor", "wall", "table"))
PINK = (240, 20, 140)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A box of 4 x 3 x 2 m without its near walls: floor and ceiling right, the wall taken for a table. -> Path"""
    across, deep = (grid.ravel() for grid in np.meshgrid(np.arange(0, 4, 0.02), np.arange(0, 3, 0.02)))
    along, up = (grid.ravel() for grid in np.meshgrid(np.arange(0, 4, 0.02), np.arange(0.1, 1.9, 0.02)))
    parts = [
        np.c_[across, deep, np.zeros(len(across))],
        np.c_[across, deep, np.full(len(across), 2.0)],
        np.c_[along, np.full(len(along), 3.0), up],
    ]
    labels = np.repeat([FLOOR, CEILING, WALL], [len(part) for part in parts]).astype(np.uint8)
    scan = Scan(np.concatenate(parts) + np.array([1000, 2000, 50]), np.tile(np.uint8(PINK), (len(labels), 1)))
    scan.labels, scan.predictions = labels, np.where(labels == WALL, TABLE, labels).astype(np.uint8)
    scan.confidence = np.where(labels == WALL, 0.2, 1.0).astype(np.float32)
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, scan, made=[("Weights", "<script>document.title='taken'</script>")])
    return path


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def shown(browser, page):
    """The page in a window, ready and without shading, so that colours are those of the points. -> Browser"""
    browser.size(1000, 800)
    browser.media(prefers_reduced_motion="reduce")
    browser.open(page)
    browser.wait_for("document.documentElement.dataset.ready === 'yes'")
    browser.click("#shading")
    yield browser
    browser.media()
    assert browser.said == []


def share_of(color, picture):
    """The share of the pixels that have this very colour."""
    return (picture == np.asarray(color)).all(axis=-1).mean()


def settled(browser):
    """The view, once nothing moves and all points are drawn. -> (H, W, 3) uint8"""
    browser.run("new Promise(done => setTimeout(done, 400))")
    return browser.pixels("#canvas")


def differing(one, other):
    """The share of the pixels that differ; the edge with the mark of the focus, and the line of text, do not count."""
    inner = np.s_[20:-80, 20:-20]
    return (np.abs(one[inner].astype(int) - other[inner]) > 30).any(axis=-1).mean()


def choose(browser, coloring):
    browser.click(f"input[value={coloring}]")
    return browser.pixels("#canvas")


def test_it_loads_without_an_error_and_asks_for_nothing(shown, page):
    assert [url for url in shown.asked if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert shown.run("document.title") == "Segmented scan"
    assert shown.run("getComputedStyle(document.getElementById('pictures')).display") == "none"


def test_it_draws_the_points_in_the_colours_of_their_classes(shown):
    picture = shown.pixels("#canvas")
    assert share_of(COLORS[FLOOR], picture) > 0.1 and share_of(COLORS[TABLE], picture) > 0.05
    assert share_of(COLORS[CEILING], picture) == 0  # hidden at first, so that one can look in
    assert "30,000 of 78,000 points are hidden" in shown.run("document.getElementById('status').textContent")


def test_the_switches_show_scan_labels_errors_and_confidence(shown):
    assert share_of(PINK, choose(shown, "scan")) > 0.2
    assert share_of(COLORS[WALL], choose(shown, "truth")) > 0.05
    picture = choose(shown, "errors")
    assert share_of(RIGHT, picture) > 0.1 and share_of(WRONG, picture) > 0.05
    assert shown.run("!document.querySelector('.key[data-coloring=errors]').hidden")
    picture = choose(shown, "confidence")
    assert share_of(ramp(np.array([1.0]))[0], picture) > 0.1 and share_of(ramp(np.array([0.2]))[0], picture) > 0.05


def test_the_checklist_hides_and_shows_classes_by_what_is_looked_at(shown):
    shown.click(f"input[name=label][value='{FLOOR}']")
    picture = shown.pixels("#canvas")
    assert share_of(COLORS[FLOOR], picture) == 0 and share_of(COLORS[TABLE], picture) > 0.05
    assert share_of(COLORS[TABLE], choose(shown, "truth")) == 0
    count = f"document.querySelector('input[name=label][value=\"{WALL}\"]').parentElement.textContent"
    assert "18,000" in shown.run(count)
    shown.click(f"input[name=label][value='{WALL}']")
    assert share_of(COLORS[WALL], shown.pixels("#canvas")) == 0
    shown.click("#all")
    assert share_of(COLORS[CEILING], shown.pixels("#canvas")) > 0.1
    shown.click("#none")
    assert len(np.unique(shown.pixels("#canvas")[10:-60, 10:-10].reshape(-1, 3), axis=0)) == 1


def test_the_size_of_points_can_be_changed(shown):
    shown.run("document.getElementById('size').focus()")
    for _ in range(15):
        shown.key("ArrowLeft")
    few = share_of(COLORS[FLOOR], shown.pixels("#canvas"))
    for _ in range(30):
        shown.key("ArrowRight")
    assert share_of(COLORS[FLOOR], shown.pixels("#canvas")) > 1.5 * few


def test_shading_darkens_edges_and_leaves_the_background(shown):
    plain = shown.pixels("#canvas").astype(int)
    shown.click("#shading")
    shaded = shown.pixels("#canvas").astype(int)
    assert (shaded <= plain).all() and (shaded < plain).any(axis=-1).mean() > 0.001


def test_the_keyboard_turns_moves_zooms_goes_back_and_switches_colours(shown):
    first = settled(shown)
    shown.run("document.getElementById('canvas').focus()")
    for key, shift in (("ArrowLeft", False), ("ArrowUp", False), ("ArrowRight", True), ("+", False), ("-", False)):
        before = settled(shown)
        shown.key(key, shift)
        assert differing(settled(shown), before) > 0.01, key
    shown.key("0")
    assert differing(settled(shown), first) < 0.01
    shown.key("1")
    assert share_of(PINK, shown.pixels("#canvas")) > 0.2
    assert shown.run("document.querySelector('[name=coloring]:checked').value") == "scan"


def test_every_control_can_be_reached_with_the_tab_key(shown):
    shown.run("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(30):
        shown.key("Tab")
        reached.add(shown.run("(({id, name, className}) => id || name || className)(document.activeElement)"))
    assert {"canvas", "coloring", "label", "all", "none", "size", "shading", "reset", "fly"} <= reached


def test_the_mouse_turns_moves_and_zooms(shown):
    shown.run("scrollTo(0, 0)")
    for button, kind in (("left", "drag"), ("right", "drag"), ("none", "wheel")):
        before = settled(shown)
        if kind == "wheel":
            shown.mouse("mouseWheel", 300, 300, "none", deltaX=0, deltaY=-240)
        else:
            shown.mouse("mousePressed", 300, 300, button)
            shown.mouse("mouseMoved", 380, 330, button)
            shown.mouse("mouseReleased", 380, 330, button)
        assert differing(settled(shown), before) > 0.01, (button, kind)
    assert shown.run("scrollY") == 0  # the wheel zooms, and does not scroll the page away


def test_two_fingers_zoom(shown):
    before = share_of(COLORS[FLOOR], settled(shown))
    shown.run("scrollTo(0, 0)")

    def touch(kind, *places):
        points = [{"x": x, "y": 300, "id": number} for number, x in enumerate(places)]
        shown.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", 280, 360)
    for apart in (100, 140, 180):
        touch("touchMove", 320 - apart, 320 + apart)
    touch("touchEnd")
    assert share_of(COLORS[FLOOR], settled(shown)) > 1.3 * before


def test_a_click_flies_to_the_place_and_back(shown):
    first = settled(shown)
    shown.click(".fly")
    there = settled(shown)
    assert "Place 1; the rest is pale." in shown.run("document.getElementById('status').textContent")
    assert share_of(COLORS[TABLE], there) > 0.05 and share_of(COLORS[FLOOR], there) == 0
    shown.click("#reset")
    assert differing(settled(shown), first) < 0.01


def test_a_lost_graphics_card_comes_back(shown):
    before = settled(shown)
    shown.run(
        "new Promise(done => { const canvas = document.getElementById('canvas');"
        "const lose = canvas.getContext('webgl2').getExtension('WEBGL_lose_context');"
        "canvas.addEventListener('webglcontextrestored', () => setTimeout(done, 200));"
        "lose.loseContext(); setTimeout(() => lose.restoreContext(), 200); })"
    )
    assert differing(settled(shown), before) < 0.01


def test_on_a_phone_nothing_is_wider_than_the_screen(shown):
    shown.size(360, 740, scale=2)
    assert shown.run("document.documentElement.scrollWidth <= 360")
    assert share_of(COLORS[FLOOR], settled(shown)) > 0.03
    assert shown.run("document.querySelector('.panel').getBoundingClientRect().top > "
                     "document.querySelector('.stage').getBoundingClientRect().bottom")  # fmt: skip


def test_dark_and_light_follow_the_system(shown):
    colors = set()
    for scheme in ("light", "dark"):
        shown.media(prefers_color_scheme=scheme)
        colors.add(shown.run("getComputedStyle(document.body).backgroundColor"))
    assert len(colors) == 2


def test_paper_shows_pictures_instead_of_the_view(shown):
    shown.media("print")
    assert shown.run("getComputedStyle(document.getElementById('viewer')).display") == "none"
    assert shown.run("[...document.images].every(i => i.naturalWidth > 200 && i.getBoundingClientRect().height > 50)")
    assert shown.run("document.images.length") == 5


def test_without_webgl_the_pictures_are_shown(page):
    browser = Browser("--disable-3d-apis")
    try:
        browser.open(page)
        assert browser.run("document.getElementById('viewer').hidden")
        assert browser.run("document.images[0].getBoundingClientRect().height") > 50
        assert "needs a browser with WebGL 2" in browser.run("document.body.innerText")
    finally:
        browser.close()


def test_a_damaged_page_says_so_and_shows_the_pictures(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    start = text.index('id="data-y">') + len('id="data-y">')
    (tmp_path / "damaged.html").write_text(text[:start] + text[start + 4000 :], encoding="utf-8")
    browser.open(tmp_path / "damaged.html")
    browser.wait_for("document.getElementById('viewer').hidden")
    assert "could not be shown here" in browser.run("document.getElementById('why').textContent")
