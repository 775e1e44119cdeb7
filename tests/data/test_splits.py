"""Splits of rooms."""

from typing import NamedTuple

import pytest

from s3dis_seg.data.splits import split_rooms
from s3dis_seg.files import InputError


class Room(NamedTuple):
    name: str


KINDS = ("hallway_1", "hallway_2", "office_1", "office_2")
ROOMS = [Room(f"Area_{area}_{kind}") for area in (1, 5, 6) for kind in KINDS]
ROOMS += [Room("Area_6_pantry_1"), Room("Area_6_pantry_10")]


def names(rooms):
    return [room.name for room in rooms]


def test_a_test_area_tests_and_every_eighth_other_room_validates():
    split = split_rooms(reversed(ROOMS), test_area=5)
    assert names(split.test) == ["Area_5_hallway_1", "Area_5_hallway_2", "Area_5_office_1", "Area_5_office_2"]
    assert names(split.val) == ["Area_1_hallway_1", "Area_6_pantry_1"]
    assert len(split.train) == len(ROOMS) - 6
    assert not set(split.train) & set(split.val)
    assert names(split.train) == sorted(names(split.train))


def test_the_paper_recipe_validates_on_no_room():
    split = split_rooms(ROOMS, test_area=6, val_rooms=[])
    assert split.val == []
    assert len(split.train) == 8


def test_rooms_are_named_with_or_without_area_and_by_pattern():
    val_rooms, train_rooms = ["pantry_1", "Area_1/office_2"], ["Area_6_office_1"]
    split = split_rooms(ROOMS, test_rooms=["Area_5*"], val_rooms=val_rooms, train_rooms=train_rooms)
    assert names(split.val) == ["Area_1_office_2", "Area_6_pantry_1"]
    assert names(split.train) == ["Area_6_office_1"]
    assert len(split.test) == 4


def test_one_room_alone_trains():
    split = split_rooms(ROOMS[:1])
    assert (names(split.train), split.val, split.test) == (["Area_1_hallway_1"], [], [])


def test_rooms_without_areas_are_split_like_others():
    rooms = [Room(name) for name in ("garden", "hall", "val_attic", "val_cellar")]
    assert names(split_rooms(rooms).val) == ["garden"]
    split = split_rooms(rooms, val_rooms=["val/*"], test_rooms=["hall"])
    assert (names(split.train), names(split.val), names(split.test)) == (
        ["garden"],
        ["val_attic", "val_cellar"],
        ["hall"],
    )
    assert names(split_rooms(rooms[:2]).train) == ["hall"]


def test_the_parts_of_scans_that_were_cut_off_for_validation_validate():
    rooms = [Room(name) for name in ("hall_train", "hall_val", "yard_train", "yard_val", "shed", "odd_val")]
    split = split_rooms(rooms)
    assert names(split.val) == ["hall_val", "yard_val"]
    assert names(split.train) == ["hall_train", "odd_val", "shed", "yard_train"]


@pytest.mark.parametrize(
    "choice, words",
    [
        ({"val_rooms": ["office_1"]}, "office_1 may be Area_1_office_1 or Area_5_office_1 or Area_6_office_1"),
        ({"val_rooms": ["Area_6_ofice_1"]}, "no room Area_6_ofice_1; near it are Area_6_office_1"),
        ({"test_rooms": ["kitchen*"]}, r"the rooms to test on: there is no room kitchen\*"),
        ({"test_area": 5, "val_rooms": ["Area_5_office_1"]}, "Area_5_office_1 would be a validation and a test room"),
        ({"train_rooms": ["pantry_1"], "test_area": 6}, "Area_6_pantry_1 would be a training and a test room"),
        ({"test_area": 7}, "there is no room of area 7, only rooms of the areas 1, 5, 6"),
        ({"test_area": 5, "test_rooms": ["pantry_1"]}, "either the area or the rooms"),
    ],
)
def test_impossible_splits_are_told(choice, words):
    with pytest.raises(InputError, match=words):
        split_rooms(ROOMS, **choice)


def test_a_room_given_twice_is_told():
    with pytest.raises(InputError, match="Area_1_office_1 is there twice"):
        split_rooms([Room("Area_1_office_1"), Room("Area_1_office_1")])


def test_a_split_file_says_everything(tmp_path):
    file = tmp_path / "split.txt"
    file.write_text("# ours\n[train]\nArea_1_*\npantry_10\n\n[val]\npantry_1  # small\n[test]\nArea_5_office_1\n")
    split = split_rooms(ROOMS, split_file=file)
    assert names(split.train) == [*names(ROOMS[:4]), "Area_6_pantry_10"]
    assert names(split.val) == ["Area_6_pantry_1"]
    assert names(split.test) == ["Area_5_office_1"]
    with pytest.raises(InputError, match="a split file says everything"):
        split_rooms(ROOMS, split_file=file, test_area=5)


@pytest.mark.parametrize(
    "text, words",
    [
        ("Area_1_office_1\n", r"line 1: found 'Area_1_office_1' before any of \[train\]"),
        ("[train]\n[validation]\n", r"line 2: found \[validation\]; expected \[train\], \[val\] or \[test\]"),
        ("[train]\nArea_1_office_1\n[test]\nArea_1_*\n", "Area_1_office_1 would be a training and a test room"),
        ("[train]\nArea_1_closet_1\n", r"split\.txt: there is no room Area_1_closet_1"),
    ],
)
def test_faults_of_a_split_file_are_told(tmp_path, text, words):
    file = tmp_path / "split.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        split_rooms(ROOMS, split_file=file)


def test_a_missing_split_file_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot read the split file"):
        split_rooms(ROOMS, split_file=tmp_path / "none.txt")


@pytest.mark.parametrize("text", ["[train]\n{}\n", "{}\n", "[{}]\n"])
def test_a_name_of_any_length_gives_a_short_sentence(tmp_path, text):
    file = tmp_path / "long.split"
    file.write_text(text.format("x" * 100_000))
    with pytest.raises(InputError) as error:
        split_rooms(ROOMS, split_file=file)
    assert len(str(error.value)) < 600
