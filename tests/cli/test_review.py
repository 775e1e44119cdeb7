"""`s3dis-seg review` and `export` without a window, and rooms made of corrections."""

import numpy as np
import pytest

from s3dis_seg.classes import Classes
from s3dis_seg.cli.main import main
from s3dis_seg.data.rooms.prepared import RoomFile
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.data.scans.corrections import read_corrections

WALL, TABLE, CHAIR, CLUTTER = 2, 7, 8, 12


@pytest.fixture
def segmented(tmp_path, monkeypatch):
    """scan.ply: a sure wall (points 0 to 199), an unsure clutter (200 to 299) and an unsure, smaller table (to 359)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return write(tmp_path / "scan.ply")


def write(path, classes=None):
    rng = np.random.default_rng(0)
    xyz = rng.random((360, 3)) * (0.4, 0.4, 2.5)
    xyz[200:300] += (-2, 0, 0)
    xyz[300:] += (2, 0, 0)
    scan = Scan(xyz, rng.integers(0, 255, (360, 3)).astype(np.uint8), {"intensity": np.arange(360, dtype=np.uint16)})
    scan.predictions = np.repeat(np.array([WALL, CLUTTER, TABLE], np.uint8), [200, 100, 60])
    if classes:
        scan.classes, scan.predictions = classes, np.repeat(np.array([0, 1, 2], np.uint8), [200, 100, 60])
    scan.confidence = np.repeat(np.array([0.95, 0.4, 0.6], np.float32), [200, 100, 60])
    write_scan(path, scan)
    return path


def labels_of(path):
    return read_corrections(path.with_suffix(".labels.npz"), read_scan(path))[0]


def test_the_list_names_every_doubtful_region_the_largest_first(segmented, capsys):
    assert main(["review", "scan.ply", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "1" and lines[1].split()[-3:] == ["100", "0.40", "clutter"]
    assert lines[2].split()[0] == "2" and lines[2].split()[-3:] == ["60", "0.60", "table"]
    assert "2 regions hold 44.4% of the points" in lines[3]
    assert main(["review", "scan.ply", "--list", "--sure", "0.5", "--most", "1"]) == 0
    assert "1 regions hold 27.8%" in capsys.readouterr().out
    assert not segmented.with_suffix(".labels.npz").exists(), "a list keeps nothing"


def test_regions_places_and_boxes_get_classes_which_are_kept_beside_the_scan(segmented, capsys):
    before = segmented.read_bytes()
    assert main(["review", "scan.ply", "--assign", "chair=1"]) == 0
    assert "chair now: clutter: 100 points" in capsys.readouterr().out
    assert main(["review", "scan.ply", "--at", "Wall=2.2,0.2,1", "--radius", "9", "--box", "board=0,0,0,.4,.4,1"]) == 0
    labels = labels_of(segmented)
    assert (labels[200:300] == CHAIR).all() and (labels[300:] == WALL).all()
    xyz = read_scan(segmented).xyz[:200]
    assert (labels[:200] == np.where(xyz[:, 2] <= 1, 11, 255)).all()
    assert segmented.read_bytes() == before
    capsys.readouterr()
    assert main(["review", "scan.ply", "--list"]) == 0
    assert "clutter   corrected: chair" in capsys.readouterr().out


def test_a_copy_has_the_corrections_in_it(segmented, capsys):
    assert main(["review", "scan.ply", "--assign", "chair=1", "table=2", "--write", "out/copy.las"]) == 0
    assert "wrote out/copy.las: 160 of 360 points corrected" in capsys.readouterr().out
    copy = read_scan("out/copy.las")
    assert (copy.predictions == np.repeat([WALL, CHAIR, TABLE], [200, 100, 60])).all()
    assert (copy.columns["intensity"] == np.arange(360)).all() and (copy.confidence[200:] == 1).all()
    assert main(["review", "out/copy.las", "--list"]) == 0
    assert "no region is doubtful" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--assign", "chair=3"], "'3' is none of the 2 regions that --list shows"),
        (["--assign", "chair=0"], "'0' is none of the 2"),
        (["--assign", "chair="], "'' is none of the 2"),
        (["--assign", "chair"], "expected CLASS=NUMBER,NUMBER, such as ceiling=..."),
        (["--assign", "stool=1"], "there is no class 'stool'; there are ceiling"),
        (["--at", "chair=1,2"], "expected CLASS=X,Y,Z, 3 numbers in metres"),
        (["--at", "chair=1,2,nan"], "3 numbers in metres"),
        (["--at", "chair=90,2,3"], "no point with a prediction is within 0.5 m of 90, 2, 3"),
        (["--box", "chair=1,2,3,4,5"], "6 numbers in metres"),
        (["--box", "chair=9,9,9,10,10,10"], "in the box from 9, 9, 9 to 10, 10, 10"),
        (["--radius", "1"], "--radius: only with --at"),
        (["--list", "--write", "a.stl"], "cannot write '.stl'"),
        (["--write", "scan.ply"], "is the scan itself"),
        (["--list", "--labels", "scan.ply"], "corrections are kept in a .npz file"),
        ([], "no window can be opened: DISPLAY is not set, so there is no screen; use --list"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_and_nothing_is_kept(segmented, capsys, words, said):
    assert main(["review", "scan.ply", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not segmented.with_suffix(".labels.npz").exists()


def test_labels_of_another_scan_or_of_other_classes_and_damaged_ones_are_refused(segmented, tmp_path, capsys):
    main(["review", "scan.ply", "--assign", "chair=1"])
    write_scan("other.ply", Scan(np.random.default_rng(1).random((50, 3)), predictions=np.ones(50, np.uint8),
                                 confidence=np.ones(50, np.float32)))  # fmt: skip
    assert main(["review", "other.ply", "--list", "--labels", "scan.labels.npz"]) == 2
    assert "corrections of another scan than other.ply" in capsys.readouterr().err
    (tmp_path / "classes.txt").write_text("\n".join(f"class {n} = {n}" for n in range(13)))
    assert main(["review", "scan.ply", "--list", "--classes", "classes.txt"]) == 2
    assert "name its classes with --classes" in capsys.readouterr().err
    segmented.with_suffix(".labels.npz").write_bytes(b"PK\x03\x04")
    for words in (["review", "scan.ply", "--list"], ["export", "scan.ply", "--corrected", "--out", "parts"],
                  ["prepare", "scan.ply", "--corrections", "--out", "rooms"]):  # fmt: skip
        assert main(words) == 2
        error = capsys.readouterr().err
        assert "holds no corrections or is damaged" in error and error.count("\n") == 1


def test_a_scan_that_was_not_segmented_is_refused(tmp_path, capsys):
    write_scan(tmp_path / "raw.ply", Scan(np.random.default_rng(0).random((9, 3))))
    for words in (["review", "--list"], ["export", "--out", str(tmp_path / "parts")]):
        assert main([words[0], str(tmp_path / "raw.ply"), *words[1:]]) == 2
        assert "has no predictions; s3dis-seg segment makes them" in capsys.readouterr().err


def test_a_scan_without_confidence_has_no_list_but_places_and_boxes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scan("plain.ply", Scan(np.random.default_rng(0).random((50, 3)), predictions=np.ones(50, np.uint8)))
    assert main(["review", "plain.ply", "--list"]) == 2
    assert "plain.ply has no confidence; s3dis-seg segment writes it" in capsys.readouterr().err
    assert main(["review", "plain.ply", "--box", "chair=0,0,0,1,1,1", "--write", "copy.ply"]) == 0
    assert (read_scan("copy.ply").predictions == CHAIR).all()


# --- rooms of corrections


def test_corrections_become_a_room_with_the_sure_predictions_as_labels(segmented, capsys):
    main(["review", "scan.ply", "--assign", "chair=1"])
    assert main(["prepare", "scan.ply", "--corrections", "--sure", "0.9", "--out", "rooms"]) == 0
    out = capsys.readouterr().out
    assert "next: s3dis-seg train --data rooms --from resgcn14-s3dis-area6-lovasz --recipe corrections" in out
    room = RoomFile("rooms/scan.h5")
    assert {n: c for n, c in enumerate(room.class_counts) if c} == {CHAIR: 100, WALL: 200}
    room.close()
    for sure, counted in (("none", {CHAIR: 100}), ("0.5", {CHAIR: 100, WALL: 200, TABLE: 60})):
        assert main(["prepare", "scan.ply", "--corrections", "--sure", sure, "--overwrite", "--out", "rooms"]) == 0
        room = RoomFile("rooms/scan.h5")
        assert counted == {n: c for n, c in enumerate(room.class_counts) if c}
        room.close()


def test_a_folder_takes_the_corrected_scans_and_names_the_others(segmented, tmp_path, capsys):
    write(tmp_path / "scans" / "a.ply")
    write(tmp_path / "scans" / "b.ply")
    assert main(["prepare", "scans", "--corrections", "--out", "rooms"]) == 2
    assert "there are no corrections beside the scans of scans" in capsys.readouterr().err
    main(["review", "scans/a.ply", "--assign", "chair=1"])
    assert main(["prepare", "scans", "--corrections", "--out", "rooms"]) == 0
    assert "note: left out, without corrections: b.ply" in capsys.readouterr().out
    assert [path.name for path in sorted((tmp_path / "rooms").glob("*.h5"))] == ["a.h5"]
    assert main(["prepare", "scans", "--corrections", "--out", "rooms"]) == 0
    assert "1 rooms are finished already" in capsys.readouterr().out
    main(["review", "scans/a.ply", "--assign", "table=2"])
    assert main(["prepare", "scans", "--corrections", "--out", "rooms"]) == 0
    assert "finished already" not in capsys.readouterr().out, "corrected again, prepared again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--corrections", "--label-field", "a"], "--label-field: not together with --corrections"),
        (["--sure", "0.5", "--label-field", "a"], "--sure: only with --corrections"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(segmented, capsys, words, said):
    assert main(["prepare", "scan.ply", *words, "--out", "rooms"]) == 2
    assert said in capsys.readouterr().err


def test_own_classes_go_through_correction_room_and_export(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    classes = Classes(("<script>alert(1)</script>", "../../stuhl", "tür"), ((1, 2, 3),) * 3, (("1",), ("2",), ("3",)))
    write(tmp_path / "scan.ply", classes)
    assert main(["review", "scan.ply", "--assign", "<script>alert(1)</script>=1", "../../stuhl=2"]) == 0
    assert main(["prepare", "scan.ply", "--corrections", "--out", "rooms"]) == 0
    room = RoomFile("rooms/scan.h5")
    assert room.classes == classes
    room.close()
    assert main(["export", "scan.ply", "--corrected", "--out", "parts"]) == 0
    names = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert names == ["scan_.._.._stuhl.ply", "scan__script_alert_1_script.ply"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "rooms", "scan.labels.npz", "scan.ply"]
    assert read_scan("parts/scan_.._.._stuhl.ply").classes == classes


# --- export


def test_single_classes_go_to_files_of_their_own_with_all_attributes(segmented, capsys):
    assert main(["export", "scan.ply", "--only", "Table", "clutter", "chair", "--out", "parts"]) == 0
    out = capsys.readouterr().out
    assert "no point is predicted to be chair" in out and "wrote parts/scan_table.ply: 60 points of table" in out
    part, whole = read_scan("parts/scan_clutter.ply"), read_scan(segmented)
    assert list(part.columns) == list(whole.columns)
    assert (part.columns["intensity"] == np.arange(200, 300)).all() and (part.rgb == whole.rgb[200:300]).all()


@pytest.mark.parametrize("suffix", ["las", "laz", "csv", "npy", "npz", "e57"])
def test_parts_are_written_in_any_format(segmented, suffix):
    assert main(["export", "scan.ply", "--format", suffix, "--out", "parts"]) == 0
    part = read_scan(f"parts/scan_wall.{suffix}")
    assert len(part) == 200 and (part.columns["intensity"] == np.arange(200)).all()
    assert (part.predictions == WALL).all()
    assert main(["export", f"parts/scan_wall.{suffix}", "--out", "again"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "stool"], "--only stool: there is no such class; there are ceiling"),
        (["--only", "chair", "door"], "no point is predicted to be door, chair; there is nothing to write"),
        (["--corrected"], "there are no corrections scan.labels.npz"),
    ],
)
def test_what_cannot_be_exported_is_said(segmented, capsys, words, said):
    assert main(["export", "scan.ply", *words, "--out", "parts"]) == 2
    assert said in capsys.readouterr().err
