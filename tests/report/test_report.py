import csv
import json

import numpy as np
import pytest

from s3dis_seg.files import InputError
from s3dis_seg.metrics import confusion_matrix, scores
from s3dis_seg.report import class_table, confusion_picture, summary_table, write_csv, write_json

NAMES = ("ceiling", "floor", "wall", "sofa")


@pytest.fixture
def some():
    """ceiling: half right, half called floor; floor right; wall in neither; sofa predicted only."""
    return scores(confusion_matrix([0, 0, 1, 1, 1], [0, 1, 1, 1, 3], 4), NAMES)


@pytest.fixture
def levels(some):
    return {"all": {"2 rooms": some}, "room": {"Area_1_office_1": some, "Area_1_office_2": some}}


def test_the_class_table_is_in_percent_and_names_what_the_means_leave_out(some):
    lines = class_table(some).splitlines()
    assert lines[1].split() == ["ceiling", "50.0", "50.0", "2"]
    assert lines[3].split() == ["wall", "-", "-", "0"]
    assert lines[6].split() == ["mean", f"{100 * some.miou:.1f}", f"{100 * some.macc:.1f}", "5"]
    assert lines[8] == "left out, in neither labels nor predictions: wall"
    assert lines[9] == "IoU 0 because predicted where no label has it: sofa"


def test_a_class_that_is_never_found_is_not_called_unlabelled():
    never = scores(np.array([[0, 2], [0, 2]]), NAMES[:2])
    assert "IoU 0" not in class_table(never)


def test_the_summary_has_a_line_for_each_room(some):
    lines = summary_table("room", {"Area_1_office_1": some}).splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["Area_1_office_1", f"{100 * some.miou:.1f}", f"{100 * some.macc:.1f}", "60.0", "5"]


def test_json_has_fractions_null_for_absent_classes_and_the_settings(tmp_path, some, levels):
    write_json(tmp_path / "scores.json", levels, {"protocol": "published"}, ["careful"])
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["settings"] == {"protocol": "published"}
    assert content["warnings"] == ["careful"]
    assert content["room"]["Area_1_office_2"]["iou"] == {"ceiling": 0.5, "floor": 0.5, "wall": None, "sofa": 0.0}
    assert content["all"]["2 rooms"]["confusion"] == some.confusion.tolist()
    assert content["all"]["2 rooms"]["absent"] == ["wall"]


def test_csv_has_a_line_for_each_room_and_a_column_for_each_class(tmp_path, levels):
    write_csv(tmp_path / "scores.csv", levels)
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["name"]) for row in rows] == [
        ("all", "2 rooms"),
        ("room", "Area_1_office_1"),
        ("room", "Area_1_office_2"),
    ]
    assert float(rows[1]["iou_ceiling"]) == 0.5
    assert rows[1]["iou_wall"] == ""
    assert rows[1]["points_floor"] == "3"


def test_the_confusion_picture_is_dark_where_a_row_is_sure(tmp_path, some):
    from matplotlib.image import imread

    confusion_picture(tmp_path / "confusion.png", some, "some points")
    picture = imread(tmp_path / "confusion.png")
    assert picture.shape[0] > 400
    assert (picture[..., 2] - picture[..., 0] > 0.2).mean() > 0.02  # blue cells
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.png"]


def test_no_points_make_no_picture(tmp_path):
    nothing = scores(np.zeros((4, 4)), NAMES)
    with pytest.raises(InputError, match="no point has both"):
        confusion_picture(tmp_path / "confusion.png", nothing, "nothing")
