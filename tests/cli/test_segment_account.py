"""What `segment` tells before and after, to people and to programs, and the field classification of LAS files."""

import json
import re

import numpy as np
import pytest

from s3dis_seg.classes import CLASSES
from s3dis_seg.cli import segment as command
from s3dis_seg.cli.main import main
from s3dis_seg.data.scans import read_scan
from tests.cli.checkpoints import save_small, write_small_scan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("weights") / "c.pt", "S3DIS terms")


@pytest.fixture
def scan(tmp_path):
    return write_small_scan(tmp_path / "scan.ply")


def segment(*words):
    return main(["segment", *map(str, words), "--stride", "1", "--device", "cpu"])


# The document, level by level: name -> type. None is allowed where the documentation says so.
HEAD = {"schema": int, "version": str, "weights": dict, "settings": dict, "scans": list, "next": str}
ENTRY = {"scan": str, "out": str, "before": dict, "after": dict, "warnings": list, "error": type(None)}
BEFORE = {
    "points": int, "usable_points": int, "size_m": list, "units": str, "up": str, "colors": bool,
    "floor_area_m2": float, "points_per_m2": float, "blocks": int, "blocks_without_overlap": (int, type(None)),
    "expected": dict,
}  # fmt: skip
EXPECTED = {
    "network_seconds": (float, type(None)), "writing_seconds": float, "seconds": (float, type(None)),
    "memory_bytes": (int, type(None)), "disk_bytes": int,
}  # fmt: skip
AFTER = {
    "classes": list, "classes_not_found": list, "points_without_prediction": int, "unsure_share": float,
    "places_to_check": list, "seconds": dict, "memory_bytes": int,
}  # fmt: skip
CLASS = {
    "number": int, "name": str, "points": int, "share": float, "floor_area_m2": float, "confidence": float
}  # fmt: skip
PLACE = {"class": str, "center_m": list, "confidence": float}


def check(values, expected):
    assert list(values) == list(expected)
    for name, kind in expected.items():
        assert isinstance(values[name], kind), name


def test_json_is_one_document_of_the_described_form(checkpoint, scan, tmp_path, capsys):
    out = tmp_path / "out.ply"
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--json") == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    check(document, HEAD)
    (entry,) = document["scans"]
    check(entry, ENTRY)
    check(entry["before"], BEFORE)
    check(entry["before"]["expected"], EXPECTED)
    check(entry["after"], AFTER)
    for row in entry["after"]["classes"]:
        check(row, CLASS)
    for place in entry["after"]["places_to_check"]:
        check(place, PLACE)
    assert document["weights"]["classes"] == list(CLASSES) and document["settings"]["dry_run"] is False
    counts = np.bincount(read_scan(out).predictions, minlength=13)
    assert {row["number"]: row["points"] for row in entry["after"]["classes"]} == {
        number: count for number, count in enumerate(counts.tolist()) if count
    }
    assert sum(row["share"] for row in entry["after"]["classes"]) == pytest.approx(1, abs=1e-3)
    assert entry["after"]["seconds"]["all"] > 0 and document["next"] == f"s3dis-seg view {out}"
    assert "class                points" in told.err and f"next: {document['next']}" in told.err


def test_the_description_in_the_documentation_names_every_value(request):
    text = (request.config.rootpath / "docs" / "own-scan.md").read_text()
    for level in (HEAD, ENTRY, BEFORE, EXPECTED, AFTER, CLASS, PLACE):
        for name in level:
            assert f"`{name}`" in text, name


def test_lines_and_document_say_the_same(checkpoint, scan, tmp_path, capsys):
    assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "out.ply", "--json") == 0
    told = capsys.readouterr()
    before, after = (json.loads(told.out)["scans"][0][name] for name in ("before", "after"))
    assert f"floor {before['floor_area_m2']:.1f} m2, {before['points_per_m2']:,.0f} points a m2" in told.err
    assert "read as metres, z upwards" in told.err and re.search(r"^expected: .* [MG]B of memory, .* on the disk$",
                                                                 told.err, re.MULTILINE)  # fmt: skip
    assert f"confidence below 0.5: {after['unsure_share']:.1%}" in told.err
    assert re.search(r"^time: .* of memory at the most$", told.err, re.MULTILINE)


def test_a_scan_that_fails_is_in_the_document_with_the_reason(checkpoint, scan, tmp_path, capsys):
    bad, out = tmp_path / "bad.ply", tmp_path / "out"
    bad.write_text("hello")
    assert segment(bad, scan, "--checkpoint", checkpoint, "--out", out, "--json") == 2
    told = capsys.readouterr()
    first, second = json.loads(told.out)["scans"]
    assert "is not a PLY file" in first["error"] and first["before"] is None and first["after"] is None
    assert second["error"] is None and second["after"] and "1 of 2 scans were not segmented" in told.err
    assert segment(bad, "--checkpoint", checkpoint, "--out", tmp_path / "o.ply", "--json") == 2
    assert "is not a PLY file" in json.loads(capsys.readouterr().out)["scans"][0]["error"]


def test_where_nothing_was_begun_standard_output_is_empty(scan, tmp_path, capsys):
    assert segment(scan, "--checkpoint", "no.pt", "--out", tmp_path / "out.ply", "--json") == 2
    told = capsys.readouterr()
    assert told.out == "" and "no checkpoint no.pt" in told.err


def test_a_dry_run_says_what_it_will_take_and_writes_nothing(checkpoint, scan, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("s3dis_seg.segmentation.Segmenter.run", None)
    before = sorted(tmp_path.rglob("*"))
    words = [scan, "--checkpoint", checkpoint, "--out", tmp_path / "new" / "out.ply", "--dry-run"]
    assert segment(*words, "--report", tmp_path / "new" / "page.html") == 0
    told = capsys.readouterr().out
    assert re.search(r"^\d+ blocks on cpu, about .* s each\)$", told, re.MULTILINE)
    assert re.search(r"^expected: about .* with reading and writing, ", told, re.MULTILINE)
    assert told.endswith("dry run: nothing was written; give the same command without --dry-run\n")
    assert segment(*words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scans"][0]["after"] is None and document["scans"][0]["before"]["expected"]["seconds"] > 0
    assert "next" not in document and document["settings"]["dry_run"] is True
    assert sorted(tmp_path.rglob("*")) == before


def test_up_and_sample_reach_the_reader(checkpoint, tmp_path, capsys):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box((3, 2.5, 2)).export(tmp_path / "box.obj")
    words = ["--checkpoint", checkpoint, "--out", tmp_path / "out.ply", "--json"]
    assert segment(tmp_path / "box.obj", *words, "--up", "y", "--sample", 700) == 0
    before = json.loads(capsys.readouterr().out)["scans"][0]["before"]
    assert (before["points"], before["up"], before["units"]) == (700, "y", "m")
    assert before["size_m"] == pytest.approx([3, 2, 2.5], abs=0.02)


def test_predictions_go_into_the_classification_of_a_las(checkpoint, scan, tmp_path, capsys):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(version="1.2", point_format=2)
    header.scales = np.full(3, 0.001)
    source, given = laspy.LasData(header), read_scan(scan)
    source.xyz = given.xyz.astype(np.float64)
    source.red, source.green, source.blue = given.rgb.T.astype(np.uint16) * 257
    source.classification = np.arange(1500) % 20
    source.write(str(tmp_path / "scan.las"))
    out = tmp_path / "out.laz"
    words = [tmp_path / "scan.las", "--checkpoint", checkpoint, "--out", out, "--write-classification"]
    assert segment(*words) == 0
    told = capsys.readouterr().out
    assert "the field classification holds 64 ceiling, 65 floor," in told
    assert "point format 2 holds no classification codes above 31 and is converted to 7" in told
    assert "a property classification already; it is called source_classification now" in told
    written = laspy.read(out)
    np.testing.assert_array_equal(written.classification, np.asarray(written.prediction) + 64)
    np.testing.assert_array_equal(written.source_classification, source.classification)
    assert written.header.vlrs.get("ClassificationLookupVlr")[0].lookups[76] == "clutter"


def test_in_a_folder_scans_with_that_field_become_las_files(checkpoint, scan, tmp_path):
    out = tmp_path / "out"
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--write-classification") == 0
    assert [path.name for path in out.iterdir()] == ["scan.las"]


def test_a_format_without_that_field_is_refused_before_the_weights_are_read(scan, tmp_path, capsys):
    words = [scan, "--checkpoint", "no.pt", "--out", tmp_path / "out.ply", "--write-classification"]
    assert segment(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "only .las and .laz files have a field classification; leave out --write-classification" in line


def test_too_little_room_on_the_disk_is_told_for_every_format(checkpoint, scan, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "out.csv") == 2
    assert "0 MB left; free space or name another --out" in capsys.readouterr().err
