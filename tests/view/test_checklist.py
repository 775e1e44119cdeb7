import numpy as np
import pytest

from s3dis_seg.classes import COLORS
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import Scan
from s3dis_seg.view.checklist import checklist, facts_of_point, not_hidden
from s3dis_seg.view.colorings import COLORINGS, RIGHT, WRONG


@pytest.fixture
def scan():
    return Scan(
        np.arange(15).reshape(5, 3) + 0.5,
        rgb=np.full((5, 3), 7, np.uint8),
        predictions=np.array([1, 1, 2, 14, 8], np.uint8),
        labels=np.array([1, 2, 2, 255, 255], np.uint8),
        confidence=np.array([0.1, 0.5, 0.99, 1.0, np.nan], np.float32),
        columns={"x": np.arange(5), "prediction": np.arange(5), "intensity": np.linspace(0, 1, 5)},
        words={"layer": np.array(list("abcde"))},
    )


def listed(scan, coloring):
    return {entry.key: entry.count for entry in checklist(scan, coloring)}


def test_classes_are_listed_with_their_points_and_colours(scan):
    entries = checklist(scan, "prediction")
    assert [(entry.name, entry.count) for entry in entries] == [
        ("floor", 2),
        ("wall", 1),
        ("chair", 1),
        ("class 14", 1),
    ]
    assert entries[0].color == tuple(COLORS[1].tolist())
    assert listed(scan, "truth") == {("class", "floor"): 1, ("class", "wall"): 2, ("class", "unlabelled"): 2}


def test_errors_and_confidence_have_lines_of_their_own_above_the_classes(scan):
    entries = checklist(scan, "errors")
    counts = [(entry.name, entry.count) for entry in entries[:3]]
    assert counts == [
        ("right", 2),
        ("wrong", 1),
        ("neither: unlabelled", 2),
    ]
    assert [entry.color for entry in entries[:2]] == [tuple(RIGHT.tolist()), tuple(WRONG.tolist())]
    assert ("class", "chair") in listed(scan, "errors")
    bands = {name: count for (sort, name), count in listed(scan, "confidence").items() if sort == "confidence"}
    assert bands == {"0 to 20 % confident": 2, "40 to 60 % confident": 1, "80 to 100 % confident": 2}


def test_hidden_lines_take_their_points_away_in_every_colouring_that_lists_them(scan):
    floor, wrong = ("class", "floor"), ("error", "wrong")
    assert not_hidden(scan, "prediction", {floor}).tolist() == [False, False, True, True, True]
    assert not_hidden(scan, "truth", {floor}).tolist() == [False, True, True, True, True]
    assert not_hidden(scan, "errors", {wrong}).tolist() == [True, False, True, True, True]
    assert not_hidden(scan, "prediction", {wrong}).all()
    assert not not_hidden(scan, "errors", {("error", "right"), wrong, ("error", "neither: unlabelled")}).any()


def test_the_lines_of_every_sort_count_every_point_once(scan):
    for coloring in COLORINGS:
        counts = {}
        for entry in checklist(scan, coloring):
            counts[entry.key[0]] = counts.get(entry.key[0], 0) + entry.count
        assert set(counts.values()) == {5}, coloring


def test_a_bare_scan_has_one_line_or_none():
    assert listed(Scan(np.zeros((3, 3))), "scan") == {("color", "no colour"): 3}
    assert listed(Scan(np.zeros((3, 3)), rgb=np.zeros((3, 3), np.uint8)), "scan") == {}


def test_classes_of_the_user_are_listed_by_their_names(scan):
    scan.classes = classes_of_text("a = 0\nb #010203 = 1\nc = rest", "x")
    assert checklist(scan, "prediction")[0].name == "b"
    assert checklist(scan, "prediction")[0].color == (1, 2, 3)


def test_of_a_point_all_is_told_once(scan):
    facts = facts_of_point(scan, 2)
    assert facts == [
        ("point", "2"), ("prediction", "wall"), ("confidence", "99.0 %"), ("label", "wall"), ("x", "6.500 m"),
        ("y", "7.500 m"), ("z", "8.500 m"), ("colour", "7 7 7"), ("intensity", "0.5"), ("layer", "c"),
    ]  # fmt: skip
    assert facts_of_point(Scan(np.zeros((3, 3))), 1) == [("point", "1"), *((axis, "0.000 m") for axis in "xyz")]
