"""The page as a file: what it holds, what it says, and what it refuses."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES, COLORS
from s3dis_seg.data.scans import Scan
from s3dis_seg.files import InputError
from s3dis_seg.report.page import write_page
from s3dis_seg.report.page_facts import doubtful_places, floor_areas, histogram
from s3dis_seg.report.page_points import HANDS, drawing_order, packed, quantized, unpacked

FAR = np.array([500_000.0, 5_000_000.0, 300.0])
FLOOR, WALL, TABLE = (CLASSES.index(name) for name in ("floor", "wall", "table"))
HOSTILE = "</script><script>document.title='taken'</script>\"'&<b>é漢\N{RIGHT-TO-LEFT OVERRIDE}${facts}$css"


@pytest.fixture
def scan():
    """A floor of 4 x 3 m and a wall of 4 x 2 m, far from the origin; a part of it is taken for a table. -> Scan"""
    rng = np.random.default_rng(0)
    floor = np.c_[rng.random((6000, 2)) * (4, 3), np.zeros(6000)]
    wall = np.c_[rng.random(4000) * 4, np.full(4000, 3.0), rng.random(4000) * 2]
    xyz = np.concatenate([floor, wall])
    made = Scan(xyz + FAR, rgb=rng.integers(0, 256, (10_000, 3)).astype(np.uint8), path=Path("scans/hall.ply"))
    made.labels = np.repeat([FLOOR, WALL], [6000, 4000]).astype(np.uint8)
    mistaken = (made.labels == WALL) & (xyz[:, 0] > 3)
    made.predictions = np.where(mistaken, TABLE, made.labels).astype(np.uint8)
    made.confidence = np.where(mistaken, 0.3, 0.95).astype(np.float32)
    return made


class Page(HTMLParser):
    """What a browser makes of a page: its text, its scripts and its tags, without running anything."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.words = [], {}, []
        self._open = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = (tag, dict(attributes).get("id", "program"))

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        tag, name = self._open or ("", "")
        if tag == "script":
            self.scripts[name] = data
        elif tag != "style":
            self.words.append(data)

    def facts(self):
        return json.loads(self.scripts["facts"])

    def column(self, name, dtype=np.uint8):
        return unpacked(self.scripts[f"data-{name}"], dtype)


@pytest.fixture
def page(scan, tmp_path):
    write_page(tmp_path / "page.html", scan)
    return Page(tmp_path / "page.html")


# --- points -----------------------------------------------------------------------------------------------------------


def test_a_column_is_the_same_after_packing_and_unpacking():
    rng = np.random.default_rng(1)
    for dtype in (np.uint8, np.uint16):
        values = rng.integers(0, np.iinfo(dtype).max + 1, 1000).astype(dtype)
        np.testing.assert_array_equal(unpacked(packed(values), dtype), values)


def test_coordinates_are_within_half_a_step_also_far_from_the_origin(scan):
    steps, low, step = quantized(scan.xyz)
    assert step == 0.0005
    assert np.abs(low + steps * step - scan.xyz).max() <= 0.5 * step + 1e-9
    _, _, coarse = quantized(np.array([[0.0, 0, 0], [500.0, 1, 1]]))
    assert coarse == pytest.approx(500 / 65535)


def test_every_number_of_hands_is_spread_over_the_scan(scan):
    steps, _, _ = quantized(scan.xyz)
    order, hands = drawing_order(steps, 10**9)
    assert sorted(order) == list(range(10_000)) and len(hands) == HANDS and hands[-1] == 10_000
    tile = (steps[:, 0] // 2000) * 10 + steps[:, 1] // 2000
    everywhere = np.bincount(tile)
    for count in hands:
        share = np.bincount(tile[order[:count]], minlength=len(everywhere)) * 10_000 / count
        assert np.abs(share - everywhere)[everywhere > 0].max() < 0.4 * everywhere.max()


def test_thinning_keeps_every_part_of_the_scan(scan):
    steps, _, _ = quantized(scan.xyz)
    order, hands = drawing_order(steps, 1000)
    assert len(order) == hands[-1] == 1000 == len(set(order.tolist()))
    assert np.bincount(scan.labels[order])[[FLOOR, WALL]] == pytest.approx([600, 400], abs=10)


def test_one_point_has_an_order():
    order, hands = drawing_order(np.zeros((1, 3), np.uint16), 5)
    assert order.tolist() == [0] and hands == [1] * HANDS


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_floor_covers_its_area_and_a_wall_its_footprint(scan):
    areas = floor_areas(scan.xyz, scan.labels)
    assert areas[FLOOR] == pytest.approx(12, rel=0.35) and areas[WALL] == pytest.approx(4 * 0.05, rel=0.1)
    assert areas[TABLE] == 0


def test_areas_count_cells_once():
    xyz = np.array([[0.0, 0, 0], [0.01, 0.01, 5], [0.3, 0, 0]])
    assert floor_areas(xyz, np.array([1, 1, 1])).tolist()[1] == pytest.approx(2 * 0.05**2)


def test_the_histogram_takes_both_ends():
    assert histogram(np.array([0.0, 0.49, 0.5, 1.0]), bins=2).tolist() == [0.5, 0.5]
    assert histogram(np.zeros(0), bins=2).tolist() == [0, 0]


def test_the_place_to_check_is_where_the_confidence_is_low(scan):
    first, *_ = doubtful_places(scan.xyz, scan.predictions, scan.confidence)
    assert first.label == TABLE and first.confidence < 0.5
    inside = ((scan.xyz >= first.low) & (scan.xyz <= first.high)).all(axis=1)
    assert (scan.predictions[inside] == TABLE).mean() > 0.8


def test_cubes_join_only_where_they_touch_and_the_largest_place_is_first():
    corners = np.array([[0, 0, 0], [0.5, 0, 0], [1.5, 0, 0], [3, 1.9, 1.9]])
    xyz = np.repeat(corners + 0.1, [3, 3, 4, 100], axis=0)
    confidence = np.repeat([0.1, 0.1, 0.2, 0.95], [3, 3, 4, 100]).astype(np.float32)
    places = doubtful_places(xyz, np.zeros(len(xyz), np.uint8), confidence)
    assert [place.points for place in places] == [6, 4]
    np.testing.assert_allclose(places[0].high - places[0].low, [1.0, 0.5, 0.5])


def test_a_sure_scan_has_no_place_to_check(scan, tmp_path):
    scan.confidence[:] = 0.97
    assert doubtful_places(scan.xyz, scan.predictions, scan.confidence) == []
    write_page(tmp_path / "page.html", scan)
    assert "There is none" in Page(tmp_path / "page.html").text


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_points(scan, page):
    facts = page.facts()
    order, hands = drawing_order(quantized(scan.xyz)[0], 10**9)
    assert facts["points"] == facts["allPoints"] == 10_000 and facts["hands"] == hands
    xyz = np.stack([page.column(axis, np.uint16) for axis in "xyz"], axis=1) * facts["step"]
    assert np.abs(xyz + scan.xyz.min(axis=0) - scan.xyz[order]).max() < 0.001
    colors = np.stack([page.column(name) for name in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors, scan.rgb[order])
    np.testing.assert_array_equal(page.column("prediction"), scan.predictions[order])
    np.testing.assert_array_equal(page.column("truth"), scan.labels[order])
    np.testing.assert_allclose(page.column("confidence") / 255, scan.confidence[order], atol=0.002)
    assert facts["classColors"][TABLE] == COLORS[TABLE].tolist()
    assert facts["predictionCounts"][WALL] == (scan.predictions == WALL).sum()


def test_the_page_asks_nothing_of_the_network(page):
    outside = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset") and not value.startswith("data:image/png;base64,")
    ]
    assert outside == [] and "url(" not in page.source.replace("url(#ramp-", "") and "@import" not in page.source
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_the_page_tells_scores_places_and_areas(page):
    assert re.search(r"hall.ply 10,000 points · 4.0 . 3.0 . 2.0 m · 3 classes found", page.text)
    for words in ("Floor area, m²", "overall accuracy", "Expected calibration error", "Place 1", "Confusion"):
        assert words in page.text, words


def test_a_bare_scan_has_only_what_it_has(scan, tmp_path):
    scan.rgb = scan.labels = scan.confidence = None
    write_page(tmp_path / "page.html", scan)
    page = Page(tmp_path / "page.html")
    values = [attributes["value"] for _, attributes in page.tags if attributes.get("name") == "coloring"]
    assert values == ["prediction"]
    assert {name for name in page.scripts if name.startswith("data-")} == {
        "data-x", "data-y", "data-z", "data-prediction",
    }  # fmt: skip
    for words in ("Scores", "Confidence", "Places to check"):
        assert words not in page.text


def test_hostile_names_are_text(scan, tmp_path):
    scan.path = Path("scans") / HOSTILE.replace("/", "\N{FRACTION SLASH}")
    names = [*CLASSES[:FLOOR], HOSTILE, *CLASSES[FLOOR + 1 :]]
    made = [(HOSTILE, HOSTILE)]
    write_page(tmp_path / "page.html", scan, class_names=names, made=made, notes=[HOSTILE])
    page = Page(tmp_path / "page.html")
    assert [tag for tag, _ in page.tags].count("script") == 11
    assert page.text.count(HOSTILE) >= 5
    assert html.escape(HOSTILE) in page.source and HOSTILE not in page.source
    assert scan.path.name in page.text


def test_classes_other_than_those_of_s3dis_have_their_own_names_and_colours(scan, tmp_path):
    names = [f"part {number}" for number in range(40)]
    colors = np.tile(np.arange(40, dtype=np.uint8)[:, None] * 6, (1, 3))
    scan.predictions = np.where(scan.predictions == FLOOR, 33, 39).astype(np.uint8)
    scan.labels = None
    write_page(tmp_path / "page.html", scan, class_names=names, colors=colors)
    page = Page(tmp_path / "page.html")
    assert page.text.count("part 33") >= 2 and "wall" not in page.text.replace("Of a wall", "")
    assert page.facts()["classColors"][39] == [234, 234, 234]


def test_thinning_is_told_and_the_figures_are_of_all_points(scan, tmp_path):
    assert write_page(tmp_path / "page.html", scan, most_points=1000) == 1000
    page = Page(tmp_path / "page.html")
    assert "shows 1,000 of 10,000 points, evenly thinned; all figures are of all points" in page.text
    assert page.facts()["points"] == len(page.column("red")) == 1000
    assert re.search(r"wall [23],\d\d\d [23]\d\.\d % ", page.text) and sum(page.facts()["predictionCounts"]) == 10_000


def test_points_without_finite_coordinates_are_left_out_and_told(scan, tmp_path):
    scan.xyz[7] = np.nan
    scan.predictions[7] = 255
    assert write_page(tmp_path / "page.html", scan) == 9999
    assert "left out, because their coordinates are not finite numbers: 1." in Page(tmp_path / "page.html").text


def test_a_confidence_of_another_range_is_left_out_and_told(scan, tmp_path):
    scan.confidence *= 100
    write_page(tmp_path / "page.html", scan)
    page = Page(tmp_path / "page.html")
    assert "not from 0 to 1" in page.text and "data-confidence" not in page.scripts


def test_two_pages_of_the_same_scan_are_the_same(scan, tmp_path):
    write_page(tmp_path / "a.html", scan)
    write_page(tmp_path / "b.html", scan)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_two_million_points_take_less_than_thirty_megabytes():
    """Points as noisy as a scanner's, and noise for colours and confidence, which compress worst."""
    rng = np.random.default_rng(0)
    xyz = np.concatenate([rng.random((40_000, 3)) * size for size in ((2, 1.5, 0.01), (2, 0.01, 1.2))])
    steps, _, _ = quantized(xyz)
    order, _ = drawing_order(steps, 10**9)
    base = (np.sin(xyz * 3) * 60 + 128)[order] + rng.normal(0, 12, xyz.shape)
    columns = [*steps[order].T, *base.astype(np.uint8).T, rng.integers(0, 256, len(xyz)).astype(np.uint8)]
    columns += [(steps[order, 0] // 500).astype(np.uint8)] * 2
    a_point = sum(len(packed(column)) for column in columns) / len(xyz)
    assert 2_000_000 * a_point < 30e6


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_scan_without_predictions_is_refused_with_the_remedy(scan, tmp_path):
    scan.predictions = None
    with pytest.raises(InputError, match=r"hall.ply has no predictions .*s3dis-seg segment scans.hall.ply --out"):
        write_page(tmp_path / "page.html", scan)
    assert not (tmp_path / "page.html").exists()


def test_numbers_that_are_no_class_are_refused(scan, tmp_path):
    scan.predictions[3] = 77
    with pytest.raises(InputError, match="has the prediction 77, but there are 13 classes"):
        write_page(tmp_path / "page.html", scan)


def test_a_point_at_the_end_of_the_world_is_refused(scan, tmp_path):
    scan.xyz[0, 0] = 1e30
    with pytest.raises(InputError, match="km apart"):
        write_page(tmp_path / "page.html", scan)


def test_a_scan_without_a_finite_point_is_refused(scan, tmp_path):
    scan.xyz[:] = np.inf
    with pytest.raises(InputError, match="no point with finite coordinates"):
        write_page(tmp_path / "page.html", scan)


def test_a_page_is_an_html_file(scan, tmp_path):
    with pytest.raises(InputError, match=r"name a \.html file"):
        write_page(tmp_path / "page.png", scan)
