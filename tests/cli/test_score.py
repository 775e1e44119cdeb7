"""The command that scores segmented scans."""

import json

import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.scans import Scan, write_scan


def test_a_segmented_scan_is_scored_against_its_labels(tmp_path, capsys):
    classes = np.array([0, 0, 1, 255], np.int32)
    scan = Scan(np.arange(12.0).reshape(4, 3), predictions=np.array([0, 1, 1, 1], np.uint8))
    scan.confidence = np.ones(4, np.float32)
    scan.columns = {"x": scan.xyz[:, 0], "y": scan.xyz[:, 1], "z": scan.xyz[:, 2], "classification": classes}
    write_scan(tmp_path / "out.ply", scan)
    assert main(["score", str(tmp_path / "out.ply"), "--label-field", "classification", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["all"]["1 scan"]["points"] == 3
    assert content["all"]["1 scan"]["iou"]["floor"] == 0.5
    assert "66.7" in capsys.readouterr().out


@pytest.mark.parametrize(
    "columns, said",
    [({"classification": [0, 1]}, "has no property 'prediction'"), ({"prediction": [0, 1]}, "name the property")],
)
def test_a_scan_without_predictions_or_labels_is_refused(tmp_path, capsys, columns, said):
    axes = {axis: np.array([0.0, 1.0]) for axis in "xyz"}
    scan = Scan(np.zeros((2, 3)), columns=axes | {name: np.array(v, np.int32) for name, v in columns.items()})
    write_scan(tmp_path / "scan.ply", scan)
    assert main(["score", str(tmp_path / "scan.ply")]) == 2
    assert said in capsys.readouterr().err


def test_a_scan_without_a_labelled_point_has_no_scores_and_no_warning(tmp_path, capsys):
    axes = {axis: np.array([0.0, 1.0]) for axis in "xyz"}
    columns = axes | {"prediction": np.array([0, 1], np.uint8), "label": np.array([-1, -1], np.int8)}
    write_scan(tmp_path / "scan.npy", Scan(np.zeros((2, 3)), columns=columns))
    assert main(["score", str(tmp_path / "scan.npy"), "--out", str(tmp_path / "scores")]) == 0
    assert "nan" not in capsys.readouterr().out
    assert not (tmp_path / "scores" / "confusion.png").exists()


def a_scored_scan(path, field, labels):
    axes = {axis: np.array([0.0, 1.0]) for axis in "xyz"}
    columns = axes | {"prediction": np.array([0, 1], np.uint8), field: np.array(labels, np.uint8)}
    write_scan(path, Scan(np.zeros((2, 3)), columns=columns))
    return str(path)


def test_an_output_that_cannot_be_written_is_told_before_a_scan_is_read(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["score", str(tmp_path / "missing.ply"), "--out", str(tmp_path / "file")]) == 2
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--label-field", "label"]])
def test_numbers_that_may_mean_other_classes_are_told_once_and_kept_with_the_scores(tmp_path, capsys, words):
    scan = a_scored_scan(tmp_path / "scan.npy", "label", [0, 1])
    assert main(["score", scan, *words, "--out", str(tmp_path / "scores")]) == 0
    assert capsys.readouterr().out.count("if these numbers mean other classes") == 1
    (warning,) = json.loads((tmp_path / "scores/scores.json").read_text())["warnings"]
    assert "labels 0 to 1 are taken as ceiling, floor" in warning


def test_a_label_field_that_is_named_is_doubted_too(tmp_path, capsys):
    scan = a_scored_scan(tmp_path / "scan.npy", "by_hand", [0, 1])
    assert main(["score", scan, "--label-field", "by_hand"]) == 0
    assert capsys.readouterr().out.count("if these numbers mean other classes") == 1


def test_a_scan_named_twice_is_refused(tmp_path, capsys):
    axes = {axis: np.array([0.0, 1.0]) for axis in "xyz"}
    columns = axes | {"prediction": np.array([0, 1], np.uint8), "label": np.array([0, 1], np.uint8)}
    write_scan(tmp_path / "scan.npy", Scan(np.zeros((2, 3)), columns=columns))
    assert main(["score", str(tmp_path / "scan.npy"), str(tmp_path / "scan.npy")]) == 2
    assert "named twice" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_before_any_scan_is_read(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["score", str(tmp_path / "none.ply"), "--out", str(tmp_path / "file" / "scores")]) == 2
    assert "cannot write to" in capsys.readouterr().err
