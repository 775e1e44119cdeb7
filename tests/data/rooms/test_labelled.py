"""Labelled scans as rooms: names, values, classes, and one scan cut into two rooms."""

from types import SimpleNamespace

import numpy as np
import pytest

from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.rooms.labelled import (
    count_values,
    find_scans,
    gap_between,
    labelled_sources,
    names_of,
    read_labelled,
    require_named,
)
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.files import InputError

CLASSES = classes_of_text("ground = 2\ntree #00ff00 = 5, 64-70\nignore = 0", "classes.txt")


def write(path, labels, xyz=None, rgb=True, name="my_label"):
    labels = np.asarray(labels)
    xyz = np.random.default_rng(0).random((len(labels), 3)) * 3 if xyz is None else xyz
    path.parent.mkdir(parents=True, exist_ok=True)
    colors = np.full((len(labels), 3), 90, np.uint8) if rgb else None
    write_scan(path, Scan(np.asarray(xyz, np.float64), colors, {name: labels}))
    return path


@pytest.mark.parametrize("suffix", [".ply", ".las", ".laz", ".txt", ".csv", ".npy"])
def test_a_labelled_scan_of_any_format_becomes_a_room_with_the_classes_of_the_user(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", np.array([2, 5, 66, 0], np.uint8))
    room = read_labelled(path, "a", CLASSES, "my_label")
    assert room.labels.tolist() == [0, 1, 1, 255]
    assert (room.classes, room.class_names, room.xyz.min()) == (CLASSES, ("ground", "tree"), 0)
    assert count_values([path], "my_label") == {0: {path: 1}, 2: {path: 1}, 5: {path: 1}, 66: {path: 1}}


def test_the_classification_of_las_is_found_by_its_usual_name(tmp_path):
    path = write(tmp_path / "a.las", np.array([2, 5, 0], np.uint8), name="classification")
    assert read_labelled(path, "a", CLASSES).labels.tolist() == [0, 1, 255]


def test_scalar_fields_of_cloudcompare_are_floats_with_a_prefix_and_without_values(tmp_path):
    path = write(tmp_path / "a.ply", np.array([2, np.nan, 64], np.float32), name="scalar_My_Label")
    assert read_labelled(path, "a", CLASSES, "my_label").labels.tolist() == [0, 255, 1]
    assert count_values([path], "my_label")[None] == {path: 1}


def test_points_without_coordinates_and_scans_without_colours_are_told(tmp_path):
    xyz = np.array([[0, 0, 0], [np.nan, 0, 0], [1, 1, 1]])
    room = read_labelled(write(tmp_path / "a.ply", np.array([2, 2, 5]), xyz, rgb=False), "a", CLASSES, "my_label")
    assert room.labels.tolist() == [0, 1] and (room.rgb == 128).all()
    assert [repair.what for repair in room.repairs] == [
        "1 points with NaN or infinite coordinates left out", "has no colours: grey is taken",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "field", "words"),
    [
        ([2, 7], "my_label", "holds 7; labels are 2 .ground.; 5, 64-70 .tree.; none: 0"),
        ([2, 5], "other", "has no property 'other'; it has x, y, z"),
        ([2, 5], None, "has no labels that are known by their name.*--label-field"),
        ([0, 0], "my_label", "has no labelled point; leave it out"),
        ([0.5, 2], "my_label", "holds 0.5"),
    ],
)
def test_what_cannot_be_a_room_is_told(tmp_path, labels, field, words):
    path = write(tmp_path / "a.ply", labels)
    with pytest.raises(InputError, match=words):
        read_labelled(path, "a", CLASSES, field)


def test_a_property_that_holds_no_labels_is_told(tmp_path):
    path = write(tmp_path / "a.ply", np.arange(20_000) * 1.0)
    with pytest.raises(InputError, match="holds more than 10,000 different values; labels are integers"):
        count_values([path], "my_label")
    path = write(tmp_path / "b.ply", np.array([0.25, 1]))
    with pytest.raises(InputError, match=r"holds 0\.25; labels are integers"):
        count_values([path], "my_label")


def test_values_that_no_line_names_are_listed_with_their_counts(tmp_path):
    paths = [write(tmp_path / f"{name}.ply", np.array([2, 7, 7, 9])) for name in "ab"]
    with pytest.raises(InputError) as caught:
        require_named(count_values(paths, "my_label"), CLASSES, "classes.txt")
    assert "classes.txt names 2 of the values in the scans: 7 (4 points, in a.ply and 1 more scans), 9 (2" in str(
        caught.value
    )
    require_named({2: {}, None: {}}, CLASSES, "classes.txt")


def test_names_are_made_of_files_and_folders_and_are_safe_and_unique(tmp_path):
    files = ["hall 1.ply", "Hall_1.las", "val/haus*[2].txt", "-.ply", "a.b.csv", "val.haus_2.npy"]
    scans = [tmp_path / file for file in files]
    names = names_of(scans, tmp_path)
    assert names == ["hall_1-ply", "Hall_1-las", "val_haus_2", "scan", "a.b", "val.haus_2"]
    assert names_of([tmp_path / "x y.ply", tmp_path / "x_y.ply"], tmp_path) == ["x_y-ply", "x_y-ply_2"]
    assert names_of([tmp_path / "a b.ply"], tmp_path / "a b.ply") == ["a_b"]
    assert names_of([tmp_path / ("n" * 300 + ".ply")], tmp_path) == ["n" * 100]


def test_scans_are_found_in_folders_and_hidden_ones_are_not(tmp_path):
    for name in ("b.ply", "val/a.las", ".hidden.ply", ".git/c.ply", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert find_scans(tmp_path) == [tmp_path / "b.ply", tmp_path / "val/a.las"]
    assert find_scans(tmp_path / "b.ply") == [tmp_path / "b.ply"]
    with pytest.raises(InputError, match="does not exist"):
        find_scans(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no scans; known formats"):
        find_scans(tmp_path / "empty")


def test_a_cut_makes_a_strip_for_validation_behind_a_gap(tmp_path):
    xyz = np.random.default_rng(0).random((20_000, 3)) * (2, 20, 2)
    labels = np.where(xyz[:, 1] < 3, 5, 2)  # trees at the lower end only: the strip for validation is at the other
    path = write(tmp_path / "street.ply", labels, xyz)
    sources = labelled_sources(path, CLASSES, "my_label", cut=0.2)
    assert [source.name for source in sources] == ["street_train", "street_val"]
    train, val = rooms = [source.read() for source in sources]
    assert [room.source for room in rooms] == [source.label for source in sources]
    assert len(val.labels) == pytest.approx(0.2 * 20_000, abs=2)
    assert set(train.labels) == {0, 1} and set(val.labels) == {0}
    views = [SimpleNamespace(offset=room.offset, hi=room.xyz.max(axis=0)) for room in rooms]
    axis, gap, length = gap_between(*views)
    assert axis == 1 and gap == pytest.approx(0.5, abs=0.02) and length == pytest.approx(4, abs=0.1)


def test_a_cut_that_leaves_one_side_without_labels_is_told(tmp_path):
    xyz = np.random.default_rng(0).random((1000, 3)) * (20, 2, 2)
    path = write(tmp_path / "a.ply", np.where(abs(xyz[:, 0] - 10) < 1, 2, 0), xyz)
    with pytest.raises(InputError, match="no labelled point in the validation part of the cut"):
        read_labelled(path, "a_val", CLASSES, "my_label", cut=0.2)
