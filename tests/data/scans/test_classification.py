"""Predictions in the field `classification` of LAS files: which codes, what is converted, and what stays."""

import numpy as np
import pytest

from s3dis_seg.classes import S3DIS, UNLABELLED, Classes
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.data.scans.classification import codes_of, names_of_codes, notes_on_codes
from s3dis_seg.data.scans.write import notes_on_classification
from s3dis_seg.files import InputError

laspy = pytest.importorskip("laspy")

OWN = classes_of_text("ground = 2\ntree = 5, 64-70\nhouse = building\nignore = 0, 1", "classes.txt")


def las_file(path, version, form, given):
    header = laspy.LasHeader(version=version, point_format=form)
    header.scales = np.full(3, 0.001)
    header.vlrs.append(laspy.VLR("someone", 7, "what", b"1234"))
    data, rng = laspy.LasData(header), np.random.default_rng(0)
    data.xyz = rng.random((len(given), 3)) * 3
    for name in data.point_format.dimension_names:
        if name not in "XYZ":
            data[name] = rng.integers(0, 2, len(given))
    data.classification = given
    data.write(str(path))
    return path


def predicted(path, predictions, classes=S3DIS):
    scan = read_scan(path)
    scan.predictions, scan.confidence = np.array(predictions, np.uint8), np.ones(len(predictions), np.float32)
    scan.classes = classes
    return scan


def test_the_first_code_of_a_class_is_taken_and_classes_without_one_follow_from_64():
    table = codes_of(OWN)
    assert table[:3].tolist() == [2, 5, 64] and table[UNLABELLED] == 0
    assert names_of_codes(OWN) == {2: "ground", 5: "tree", 64: "house"}


def test_class_numbers_are_no_codes_of_the_user():
    for classes in (S3DIS, Classes.named(["ground", "tree"])):
        table = codes_of(classes)
        assert table[: len(classes)].tolist() == list(range(64, 64 + len(classes))) and table[UNLABELLED] == 1


def test_codes_that_LAS_cannot_hold_and_those_in_use_are_passed_over():
    classes = classes_of_text("low = -5--2\nwide = 250-400\nfirst = 64\nfree = word\nzero = 0, 1", "classes.txt")
    assert codes_of(classes)[:5].tolist() == [65, 250, 64, 66, 0]
    assert codes_of(classes)[UNLABELLED] == 1


def test_more_classes_than_codes_are_one_sentence():
    with pytest.raises(InputError, match="200 classes need more codes than the 192"):
        codes_of(Classes.named([f"class {number}" for number in range(200)]))


@pytest.mark.parametrize(("version", "form", "converted"), [
    ("1.2", 0, 7), ("1.2", 1, 7), ("1.2", 2, 7), ("1.2", 3, 7), ("1.4", 6, 7), ("1.4", 7, 7), ("1.4", 8, 8),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_predictions_go_into_the_field_and_what_was_there_stays(tmp_path, version, form, converted, suffix):
    given = np.arange(20) % 7
    path = las_file(tmp_path / f"a{suffix}", version, form, given)
    scan = predicted(path, [0, 1, 2, UNLABELLED] * 5, OWN)
    renamed = write_scan(tmp_path / f"b{suffix}", scan, classification=OWN)
    assert renamed == {"classification": "source_classification"}
    before, after = laspy.read(path), laspy.read(tmp_path / f"b{suffix}")
    assert after.header.point_format.id == converted and str(after.header.version) == "1.4"
    np.testing.assert_array_equal(after.classification, [2, 5, 64, 0] * 5)
    np.testing.assert_array_equal(after.source_classification, given)
    np.testing.assert_array_equal(after.prediction, [0, 1, 2, UNLABELLED] * 5)
    for name in set(before.point_format.dimension_names) - {
        "classification", "scan_angle_rank", "red", "green", "blue",
    }:  # fmt: skip
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    if "red" in before.point_format.dimension_names:
        np.testing.assert_array_equal(after.scan_red, before.red)
    lookup, other = after.header.vlrs.get("ClassificationLookupVlr")[0].lookups, after.header.vlrs[0]
    assert (lookup[2], lookup[5], lookup[64], len(lookup)) == ("ground", "tree", "house", 256)
    assert (other.user_id, other.record_data) == ("someone", b"1234")
    note = notes_on_classification(scan, OWN)[-1]
    assert (f"point format {form} holds no" in note and f"converted to {converted}" in note) == (form < 6)


def test_whole_degrees_become_the_finer_angles_of_the_newer_formats(tmp_path):
    path = las_file(tmp_path / "a.las", "1.2", 3, np.zeros(4, int))
    data = laspy.read(path)
    data.scan_angle_rank = [-90, -1, 0, 30]
    data.write(str(path))
    write_scan(tmp_path / "b.las", predicted(path, [0, 0, 0, 0]), classification=S3DIS)
    after = laspy.read(tmp_path / "b.las")
    np.testing.assert_array_equal(after.scan_angle, [-15000, -167, 0, 5000])
    assert "scan_angle_rank" not in after.point_format.dimension_names


def test_names_of_other_codes_stay_in_the_record(tmp_path):
    path = las_file(tmp_path / "a.las", "1.4", 7, np.zeros(2, int))
    data, lookup = laspy.read(path), laspy.vlrs.known.ClassificationLookupVlr()
    lookup[100], lookup[64] = "lamp", "old"
    data.header.vlrs.append(lookup)
    data.write(str(path))
    write_scan(tmp_path / "b.las", predicted(path, [0, 1]), classification=S3DIS)
    records = laspy.read(tmp_path / "b.las").header.vlrs.get("ClassificationLookupVlr")
    assert len(records) == 1 and (records[0].lookups[100], records[0].lookups[64]) == ("lamp", "ceiling")


def test_a_scan_of_another_format_gets_a_new_file_with_the_codes(tmp_path):
    xyz = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    labels = np.array([1, 2, 3], np.uint8)
    scan = Scan(xyz, labels=labels, predictions=np.array([12, 0, 255], np.uint8), confidence=np.ones(3, np.float32))
    assert write_scan(tmp_path / "a.laz", scan, classification=S3DIS) == {"classification": "source_classification"}
    after = laspy.read(tmp_path / "a.laz")
    np.testing.assert_array_equal(after.classification, [76, 64, 1])
    np.testing.assert_array_equal(after.source_classification, labels)


def test_without_the_flag_the_field_is_left_alone(tmp_path):
    path = las_file(tmp_path / "a.las", "1.2", 3, [2, 5])
    write_scan(tmp_path / "b.las", predicted(path, [0, 1]))
    after = laspy.read(tmp_path / "b.las")
    np.testing.assert_array_equal(after.classification, [2, 5])
    assert after.header.point_format.id == 3 and not after.header.vlrs.get("ClassificationLookupVlr")


def test_long_and_foreign_names_are_shortened_and_told():
    classes = classes_of_text("a very long name of a class = 2\nTür = 3", "classes.txt")
    assert names_of_codes(classes) == {2: "a very long nam", 3: "T?r"}
    assert "a very long name of a class is a very long nam, Tür is T?r there" in notes_on_codes(classes)[1]


def test_other_formats_and_missing_predictions_are_refused(tmp_path):
    scan = Scan(np.zeros((2, 3)), predictions=np.zeros(2, np.uint8))
    with pytest.raises(InputError, match=r"only .las and .laz files have a field classification"):
        write_scan(tmp_path / "a.ply", scan, classification=S3DIS)
    scan.predictions = None
    with pytest.raises(InputError, match="there are no predictions"):
        write_scan(tmp_path / "a.las", scan, classification=S3DIS)
    assert not list(tmp_path.iterdir())
