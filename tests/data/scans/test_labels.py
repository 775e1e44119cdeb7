"""Labels that a scan brings along: what is taken as a class number, and what is said about it."""

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan, doubt_about_labels, labels_of, read_scan, write_scan
from s3dis_seg.files import InputError


def scan_with(values, name="label"):
    return Scan(np.zeros((len(values), 3)), columns={name: np.asarray(values)})


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "f4", "f8", ">i2"])
def test_minus_one_is_unlabelled_in_every_signed_type(kind):
    scan = scan_with(np.array([-1, 0, 12], kind))
    for labels in (labels_of(scan), labels_of(scan, "label")):
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, [255, 0, 12])


def test_int8_labels_with_minus_one_survive_a_file(tmp_path):
    path = tmp_path / "a.npy"
    write_scan(path, Scan(np.eye(3), columns={"label": np.array([-1, 0, 12], np.int8)}))
    np.testing.assert_array_equal(read_scan(path).labels, [255, 0, 12])


@pytest.mark.parametrize(("values", "found"), [
    ([0, 13], "13"), ([0, -2], "-2"), ([0.5, 1.0], "0.5"), ([np.inf, 1.0], "inf"), (["a", "b"], "a"), ([1j], "complex"),
])  # fmt: skip
def test_other_values_are_refused_where_the_property_was_named(values, found):
    assert labels_of(scan_with(values)) is None
    with pytest.raises(InputError, match=f"holds {found}.*0 .ceiling. to 12 .clutter., and 255 or -1"):
        labels_of(scan_with(values), "label")


def test_numbers_that_may_mean_other_classes_are_told(tmp_path):
    path = tmp_path / "a.ply"
    write_scan(path, Scan(np.eye(4)[:, :3], columns={"label": np.arange(4, dtype=np.uint8)}))
    (warning,) = read_scan(path).warnings
    assert "labels 0 to 3 are taken as ceiling, floor, wall, beam; if these numbers mean other classes" in warning
    assert str(path) in warning


@pytest.mark.parametrize(("labels", "beginning"), [
    ([2, 2], "label 2 is taken as wall"),
    ([1, 8, 255], "labels 1 to 8 are taken as floor, chair"),
    ([0, 12], ""),  # clutter: what nearly every room of S3DIS has
    ([255, 255], ""),
    ([], ""),
])  # fmt: skip
def test_what_is_said_depends_on_the_highest_number(labels, beginning):
    said = doubt_about_labels(np.array(labels, np.uint8))
    assert said.startswith(beginning) and bool(said) == bool(beginning)


def test_nothing_is_said_about_prepared_rooms(tmp_path):
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import room_of

    labels = np.array([0, 1, 2], np.uint8)
    write_room(room_of("Area_1_office_1", np.eye(3), np.full((3, 3), 9, np.uint8), labels), tmp_path)
    scan = read_scan(tmp_path / "Area_1_office_1.h5")
    assert sorted(scan.labels) == [0, 1, 2] and scan.warnings == []
