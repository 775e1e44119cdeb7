"""Lists of classes: colours, and which value of a scan means which class."""

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES, COLORS, S3DIS, UNLABELLED, UNLABELLED_COLOR, Classes, default_colors, range_of


def test_the_classes_of_s3dis_are_the_default_and_their_values_are_their_numbers():
    assert S3DIS.names == CLASSES and len(S3DIS) == 13
    assert [S3DIS.label_of(number) for number in (0, 12, 13, -1, 255)] == [0, 12, None, UNLABELLED, UNLABELLED]
    np.testing.assert_array_equal(S3DIS.colors_of(np.array([1, 255], np.uint8)), [COLORS[1], UNLABELLED_COLOR])


@pytest.mark.parametrize(
    ("text", "ends"),
    [("7", (7, 7)), ("64-70", (64, 70)), ("-1", (-1, -1)), ("-5--1", (-5, -1)), ("3 - 5", (3, 5)),
     ("tree", None), ("3.5", None), ("1-2-3", None), ("", None)],
)  # fmt: skip
def test_a_value_is_an_integer_a_range_or_a_word(text, ends):
    assert range_of(text) == ends


def test_a_value_means_the_class_that_names_it():
    classes = Classes(("ground", "tree"), ((1, 2, 3), (4, 5, 6)), (("2",), ("64-70", "oak")), ("0", "-1"))
    assert [classes.label_of(value) for value in (2, 64, 70, 71, 0, -1)] == [0, 1, 1, None, UNLABELLED, UNLABELLED]
    assert [classes.label_of(word) for word in ("oak", "2", "elm")] == [1, 0, None]


@pytest.mark.parametrize(("ignored", "label"), [(("0",), 1), (("rest",), UNLABELLED)])
def test_rest_takes_what_no_line_names(ignored, label):
    others = "9" if "rest" in ignored else "rest"
    classes = Classes(("ground", "other"), ((1, 2, 3), (4, 5, 6)), (("2",), (others,)), ignored)
    assert [classes.label_of(value) for value in (2, 77, "elm")] == [0, label, label]


def test_default_colours_differ_from_each_other_from_those_given_and_from_unlabelled():
    colors = default_colors([None] * 255)
    assert len(set(colors)) == 255 and tuple(UNLABELLED_COLOR.tolist()) not in colors
    assert all(0 <= channel <= 255 for color in colors for channel in color)
    given = default_colors([None, colors[0], None])
    assert given == (colors[1], colors[0], colors[2])


def test_classes_known_by_name_alone_have_their_numbers_as_values():
    classes = Classes.named(["wall", "roof"])
    assert (classes.label_of(1), classes.label_of(255), classes.label_of(2)) == (1, UNLABELLED, None)
