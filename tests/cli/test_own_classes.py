"""`s3dis-seg prepare` with labelled scans, and what the other commands make of their classes."""

import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.data.rooms.prepared import RoomFile
from s3dis_seg.data.scans import Scan, read_scan, write_scan

FILE = "ground #0a0b0c = 2\ntree = 5, 64-70\nignore = 0\n"


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        rng = np.random.default_rng(number)
        xyz = rng.random((1500, 3)) * (3, 2, 2.5)
        labels = np.where(xyz[:, 2] < 1, 2, 66).astype(np.int32)
        labels[::10] = 0
        write_scan(f"scans/my scan {number}.ply", Scan(xyz, np.full((1500, 3), 90, np.uint8), {"my_label": labels}))
    (tmp_path / "classes.txt").write_text(FILE)
    return tmp_path


def prepare(*words):
    return main(["prepare", *words, "--workers", "1"])


OWN = ("--label-field", "my_label", "--classes", "classes.txt", "--out", "rooms")


def test_without_a_class_file_the_values_are_listed_and_a_class_file_can_be_written(scans, capsys):
    assert prepare("scans", "--label-field", "my_label") == 0
    printed = capsys.readouterr().out
    assert "66" in printed and "300" in printed
    assert "next: s3dis-seg prepare scans --label-field my_label --write-classes classes.txt" in printed
    assert not (scans / "rooms").exists()

    assert prepare("scans", "--label-field", "my_label", "--write-classes", "new.txt") == 0
    assert "class 66" in (scans / "new.txt").read_text()
    assert prepare("scans", "--label-field", "my_label", "--classes", "new.txt", "--out", "rooms") == 0
    assert RoomFile("rooms/my_scan_0.h5").class_names == ("class 0", "class 2", "class 66")


def test_the_numbers_of_a_las_file_get_the_names_of_the_standard(scans, capsys):
    labels = np.array([2, 6, 1, 70], np.uint8)
    write_scan("lidar/a.las", Scan(np.eye(4)[:, :3], columns={"classification": labels}))
    assert prepare("lidar", "--write-classes", "las.txt", "--units", "m") == 0
    assert "--units m --classes las.txt" in capsys.readouterr().out
    text = (scans / "las.txt").read_text()
    assert "ground" in text and "building" in text and "class 70" in text and "ignore = 1 " in text


def test_labelled_scans_become_rooms_and_the_rooms_tell_their_classes(scans, capsys):
    assert prepare("scans", *OWN) == 0
    printed = capsys.readouterr().out
    for word in ("my_scan_0", "90.0%", "ground", "unlabelled", "next: s3dis-seg train --data rooms --from"):
        assert word in printed
    room = RoomFile("rooms/my_scan_1.h5")
    assert room.class_names == ("ground", "tree") and room.classes.colors[0] == (10, 11, 12)
    assert room.classes.values == (("2",), ("5", "64-70")) and room.classes.ignored == ("0",)
    assert prepare("scans", *OWN) == 0
    assert "2 rooms are finished already and kept" in capsys.readouterr().out
    (scans / "classes.txt").write_text(FILE.replace("0a0b0c", "ffffff"))
    assert prepare("scans", *OWN) == 0
    assert RoomFile("rooms/my_scan_1.h5").classes.colors[0] == (255, 255, 255)


def test_a_scan_is_cut_for_validation_and_told(scans, capsys):
    assert prepare("scans/my scan 0.ply", *OWN, "--cut", "0.25") == 0
    printed = capsys.readouterr().out
    assert "my_scan_0_val: 0.7 m along x, 2" in printed and "0.15 m between it and my_scan_0_train" in printed
    assert "a strip of 0.7 m is narrower than a block of 1 m" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scans"], "holds no rooms of S3DIS but scans, such as my scan 0.ply; with labels of your own, name"),
        (["scans", *OWN, "--write-classes", "x.txt"], "exclude each other"),
        (["scans", "--label-field", "my_label", "--write-classes", "classes.txt"], "is there already"),
        (["scans", *OWN, "--cut", "0.6"], "expected at most 0.5"),
        (["scans", *OWN, "--out", "scans/rooms"], "which is never changed"),
        (["scans", *OWN[2:]], "has no labels that are known by their name"),
        (["scans", "--classes", "none.txt"], "cannot read the class file none.txt"),
        (["none.ply", *OWN], "none.ply does not exist"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(scans, capsys, words, message):
    assert prepare(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_values_without_a_class_are_an_error_before_anything_is_written(scans, capsys):
    (scans / "classes.txt").write_text("ground = 2\nignore = 0")
    assert prepare("scans", *OWN) == 2
    assert "classes.txt names 1 of the values in the scans: 66 (" in capsys.readouterr().err
    assert not (scans / "rooms").exists()
    (scans / "classes.txt").write_text("ground = 2\nignore = rest")
    assert prepare("scans", *OWN) == 0


SMALL = "--model resgcn7 --blocks 2 --channels 8 --k 4 --num-points 64 --batch-size 4 --workers 0 --device cpu"


def test_train_segment_score_and_view_speak_the_classes(scans, capsys):
    assert prepare("scans", *OWN) == 0
    assert main(["train", "--data", "rooms", "--epochs", "1", "--out", "run", *SMALL.split()]) == 0
    printed = capsys.readouterr().out
    assert "for validation: my_scan_0 (--val-rooms names others)" in printed
    assert "only my_scan_1 is left to train on" in printed
    assert "val_iou_tree" in (scans / "run/metrics.csv").read_text()

    segment = ["segment", "scans/my scan 0.ply", "--checkpoint", "run/best.pt", "--stride", "1.0", "--device", "cpu"]
    assert main([*segment, "--out", "out.ply"]) == 0
    scan = read_scan("out.ply")
    assert scan.classes.names == ("ground", "tree") and scan.warnings == []
    assert main(["score", "out.ply", "--label-field", "my_label", "--out", "scores"]) == 0
    printed = capsys.readouterr().out
    assert "tree" in printed and "ceiling" not in printed and "1,350" in printed
    assert main(["view", "out.ply", "--color", "prediction", "--save", "p.png"]) == 0

    assert main([*segment, "--out", "out.las"]) == 0
    assert "next: s3dis-seg view out.las --classes run/best.pt" in capsys.readouterr().out
    las = ["score", "out.las", "--label-field", "my_label"]
    assert main(las) == 2  # 66 is no class of S3DIS
    for named in ("run/best.pt", "classes.txt", "rooms/my_scan_0.h5"):
        assert main([*las, "--classes", named]) == 0
    assert main(["evaluate", "--data", "rooms", "--checkpoint", "run/best.pt", "--stride", "1.0"]) == 0


def test_a_segmented_room_keeps_class_numbers_as_labels(scans, capsys):
    assert prepare("scans", *OWN) == 0
    assert main(["train", "--data", "rooms", "--epochs", "1", "--out", "run", *SMALL.split()]) == 0
    room = "rooms/my_scan_0.h5"
    assert main(["segment", room, "--checkpoint", "run/best.pt", "--out", "out.ply", "--stride", "1.0"]) == 0
    capsys.readouterr()
    assert main(["score", "out.ply", "--label-field", "classification"]) == 0
    assert "1,350" in capsys.readouterr().out
    assert main(["view", room, "--label-field", "classification", "--color", "truth", "--save", "p.png"]) == 0


def test_scans_with_different_classes_are_not_scored_together(scans, capsys):
    for name, text in (("a", "one = 1\ntwo = 2"), ("b", "one = 1\nthree = 2")):
        scan = Scan(np.eye(3), columns={"my_label": np.array([1, 2, 2])}, classes=classes_of_text(text, "x"))
        scan.predictions = np.array([0, 1, 1], np.uint8)
        write_scan(f"{name}.ply", scan)
    assert main(["score", "a.ply", "b.ply", "--label-field", "my_label"]) == 2
    assert "b.ply has the classes one, three, a.ply has one, two; score them one by one" in capsys.readouterr().err
