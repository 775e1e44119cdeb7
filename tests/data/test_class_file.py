"""The class file: what may stand in it, and what is said about mistakes."""

import pytest

from s3dis_seg.classes import CLASSES, S3DIS, Classes
from s3dis_seg.data.class_file import (
    classes_of_text,
    first_class_file,
    read_class_file,
    stored_classes,
    text_of_classes,
)
from s3dis_seg.files import InputError

TEXT = """
# name      colour       values in the scans
ground      #A0784b  =   2
low plants           =   3, 4      # up to the knee
tree#1               =   5, 64 - 70, oak tree
  # another comment
IGNORE               =   0, +1, -1
"""


def test_a_line_is_name_colour_and_values(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\ufeff" + TEXT.replace("\n", "\r\n"), encoding="utf-8")  # as an editor on Windows saves it
    classes = read_class_file(path)
    assert classes.names == ("ground", "low plants", "tree#1")
    assert classes.colors[0] == (0xA0, 0x78, 0x4B) and len(set(classes.colors)) == 3
    assert classes.values == (("2",), ("3", "4"), ("5", "64-70", "oak tree"))
    assert classes.ignored == ("0", "1", "-1")


@pytest.mark.parametrize("classes", [S3DIS, classes_of_text(TEXT, "x"), classes_of_text("a = rest", "x")])
def test_what_rooms_and_checkpoints_keep_reads_back_as_the_same(classes):
    assert classes_of_text(text_of_classes(classes), "x") == classes
    assert stored_classes(classes.names, text_of_classes(classes), "x") == classes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ground 2", "line 1: found 'ground 2' without =; write the name, = and its values"),
        ("\n#123456 = 2", "line 2|names 0 classes"),
        ("= 2", "line 1: there is no name before ="),
        ("a #12345 = 2", "line 1: '#12345' is no colour; write # and six digits"),
        ("a #12345g = 2", "line 1: '#12345g' is no colour"),
        ("a =  # later", "line 1: a has no value; write those that mean it after ="),
        ("a = 3 4", "line 1: '3 4' is neither an integer nor a range; separate values by commas"),
        ("a = 3.5", "line 1: '3.5' is neither"),
        ("a = 70-64", "line 1: the range 70-64 ends before it begins; write 64-70"),
        ("a = 1\nb = 2\nA = 3", "line 3: the class A stands in line 1 already"),
        ("ignore = 1\nb = 2\nIgnore = 3", "line 3: the class ignore stands in line 1 already"),
        ("a = 1, 1", "line 1: the value 1 stands in line 1 already"),
        ("a = rest\nb = rest", "line 2: the value rest stands in line 1 already"),
        ("a = 1-5\n\nb = 5", r"line 3: 1-5 and 5 \(line 1\) both hold 5"),
        ("ignore = 3", "names 0 classes; expected 1 to 255"),
        ("\n".join(f"a{number} = {number}" for number in range(256)), "names 256 classes"),
        ("x" * 41 + " = 1", "more than 40 letters"),
        ("a\x07 = 1", "unprintable"),
        ("x" * 10_000, "without ="),
    ],
)
def test_every_mistake_names_its_line_and_the_remedy(text, words):
    with pytest.raises(InputError, match=words) as caught:
        classes_of_text(text, "classes.txt")
    assert "classes.txt" in str(caught.value) and len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the class file .*none\.txt"):
        read_class_file(tmp_path / "none.txt")
    (tmp_path / "a.las").write_bytes(b"LASF\xff\xfe\x00")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_class_file(tmp_path / "a.las")
    (tmp_path / "big.txt").write_bytes(b" " * (1 << 21))
    with pytest.raises(InputError, match="too many for a class file"):
        read_class_file(tmp_path / "big.txt")


def test_a_file_to_start_from_has_a_class_for_every_value_and_reads_as_it_stands():
    text = first_class_file({7: 10, 2: 1200, -1: 3}, "my_label")
    assert "class 2" in text and "# 1,200 points" in text
    classes = classes_of_text(text, "x")
    assert (classes.names, classes.values, classes.ignored) == (("class 2", "class 7"), (("2",), ("7",)), ("-1",))
    las = classes_of_text(first_class_file({2: 1, 6: 1, 1: 1, 70: 1}, "classification", is_las=True), "x")
    assert (las.names, las.ignored) == (("ground", "building", "class 70"), ("1",))
    with pytest.raises(InputError, match="300 values, too many for classes"):
        first_class_file(dict.fromkeys(range(300), 1), "intensity")


def test_files_from_before_keep_names_alone():
    assert stored_classes(CLASSES, None, "x") is S3DIS
    assert stored_classes(["wall", "roof"], None, "x") == Classes.named(["wall", "roof"])


@pytest.mark.parametrize(
    ("names", "text", "words"),
    [
        (("a",), 3, "no text"),
        (("a",), "a", "cannot be read"),
        (("a",), "b = 1", "names its classes a and b"),
        (("a",), "a = 1" + " " * (1 << 21), "no text"),
    ],
)
def test_stored_classes_that_are_damaged_are_a_value_error(names, text, words):
    with pytest.raises(ValueError, match=words):
        stored_classes(names, text, "x")
