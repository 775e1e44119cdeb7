"""Classes in the comments of a PLY file."""

import numpy as np
import pytest

from s3dis_seg.classes import S3DIS
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.scans import Scan, read_scan, write_scan

OWN = classes_of_text("low plants #0a0b0c = 2\nÄste 木 = 5, 64-70\nignore = rest", "x")


def segmented(classes, path=None):
    scan = read_scan(path) if path else Scan(np.eye(3), columns={"my_label": np.array([2, 66, 9])})
    scan.predictions, scan.confidence = np.array([0, 1, 255], np.uint8), np.ones(3, np.float32)
    scan.classes = classes
    return scan


def test_a_segmented_ply_names_its_classes(tmp_path):
    write_scan(tmp_path / "a.ply", segmented(OWN))
    scan = read_scan(tmp_path / "a.ply")
    assert scan.classes == OWN
    np.testing.assert_array_equal(scan.columns["red"], [10, OWN.colors[1][0], 128])
    assert read_scan(tmp_path / "a.ply", classes=S3DIS).classes is S3DIS


@pytest.mark.parametrize("later", [S3DIS, classes_of_text("one = 1\ntwo = 2", "x")])
def test_a_file_that_is_segmented_again_names_the_new_classes_alone(tmp_path, later):
    write_scan(tmp_path / "a.ply", segmented(OWN))
    write_scan(tmp_path / "b.ply", segmented(later, tmp_path / "a.ply"))
    assert read_scan(tmp_path / "b.ply").classes == later
    assert b"plants" not in (tmp_path / "b.ply").read_bytes()


def test_classes_of_s3dis_leave_the_header_as_it_was(tmp_path):
    write_scan(tmp_path / "a.ply", segmented(S3DIS))
    assert b"comment" not in (tmp_path / "a.ply").read_bytes()


def test_comments_that_cannot_be_read_are_told_and_the_scan_is_read(tmp_path):
    write_scan(tmp_path / "a.ply", segmented(OWN))
    data = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(data.replace(b" = 2", b" ? 2"))
    scan = read_scan(tmp_path / "a.ply")
    assert scan.classes is S3DIS and len(scan) == 3
    assert any("its comments name classes that cannot be read" in warning for warning in scan.warnings)
