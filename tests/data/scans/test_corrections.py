"""Corrections beside a scan: kept, read again, refused for other scans, and put into a copy."""

import numpy as np
import pytest

from s3dis_seg.classes import COLORS, Classes
from s3dis_seg.data.scans import Scan, part_of, read_scan, write_scan
from s3dis_seg.data.scans.corrections import (
    corrected_scan,
    corrections_path,
    is_corrections,
    read_corrections,
    write_corrections,
)
from s3dis_seg.files import InputError

HOSTILE = Classes.named(('<script>alert("x")</script>', "../../etc", "häuser, 'alt'", "\u6f22\u5b57; $(ls)", "tree"))


def segmented(path, count=30, classes=None, **columns):
    rng = np.random.default_rng(count)
    scan = Scan(rng.random((count, 3)) * 4, rng.integers(0, 255, (count, 3)).astype(np.uint8), columns)
    scan.predictions = rng.integers(0, 5, count).astype(np.uint8)
    scan.confidence = rng.random(count).astype(np.float32)
    scan.classes = classes or scan.classes
    write_scan(path, scan)
    return read_scan(path, "m", classes, "z")


def some_labels(scan):
    labels = np.full(len(scan), 255, np.uint8)
    labels[3:9] = 4
    return labels


@pytest.mark.parametrize("suffix", [".ply", ".las", ".npz", ".csv"])
def test_corrections_are_read_as_they_were_written_with_the_classes_of_the_scan(tmp_path, suffix):
    scan = segmented(tmp_path / f"a{suffix}", classes=HOSTILE)
    kept = corrections_path(tmp_path / f"a{suffix}")
    assert kept == tmp_path / "a.labels.npz" and is_corrections(kept) and not is_corrections(tmp_path / "a.npz")
    write_corrections(kept, scan, some_labels(scan))
    labels, classes = read_corrections(kept, read_scan(tmp_path / f"a{suffix}", "mm", HOSTILE, "y"))
    assert (labels == some_labels(scan)).all() and classes == HOSTILE
    with np.load(kept, allow_pickle=False) as content:
        assert content["points"].tolist() == list(range(3, 9))


def test_no_corrections_are_corrections_too(tmp_path):
    scan = segmented(tmp_path / "a.ply")
    write_corrections(tmp_path / "a.labels.npz", scan, np.full(len(scan), 255, np.uint8))
    assert (read_corrections(tmp_path / "a.labels.npz", scan)[0] == 255).all()


@pytest.mark.parametrize("change", ["fewer", "moved", "another order"])
def test_corrections_of_another_scan_are_refused(tmp_path, change):
    scan = segmented(tmp_path / "a.ply")
    write_corrections(tmp_path / "a.labels.npz", scan, some_labels(scan))
    points = np.arange(len(scan))[::-1] if change == "another order" else np.arange(len(scan) - (change == "fewer"))
    other = part_of(scan, points)
    if change == "moved":
        other.columns["x"] = other.columns["x"] + 1
    with pytest.raises(InputError, match="corrections of another scan than"):
        read_corrections(tmp_path / "a.labels.npz", other)


def damaged(content, how):
    """The arrays of a file of corrections with one thing wrong."""
    changes = {
        "no classes": lambda arrays: arrays.pop("classes"),
        "classes are numbers": lambda arrays: arrays.update(classes=np.arange(3)),
        "another format": lambda arrays: arrays.update(format=np.array(7)),
        "labels beyond the classes": lambda arrays: arrays.update(labels=np.full(6, 77, np.uint8)),
        "fewer labels": lambda arrays: arrays.update(labels=np.zeros(2, np.uint8)),
        "points are fractions": lambda arrays: arrays.update(points=np.linspace(0, 1, 6)),
        "points below 0": lambda arrays: arrays.update(points=np.arange(-3, 3)),
        "points beyond the scan": lambda arrays: arrays.update(points=np.arange(6) + 10**12),
        "pickled": lambda arrays: arrays.update(labels=np.array([{}] * 6, object)),
    }
    arrays = dict(content)
    changes[how](arrays)
    return arrays


@pytest.mark.parametrize(
    "how",
    ["no classes", "classes are numbers", "another format", "labels beyond the classes", "fewer labels",
     "points are fractions", "points below 0", "points beyond the scan", "pickled", "cut off", "no archive", "empty"],
)  # fmt: skip
def test_a_damaged_file_of_corrections_is_told_in_a_sentence(tmp_path, how):
    scan, kept = segmented(tmp_path / "a.ply"), tmp_path / "a.labels.npz"
    write_corrections(kept, scan, some_labels(scan))
    if how == "cut off":
        kept.write_bytes(kept.read_bytes()[:200])
    elif how in ("no archive", "empty"):
        kept.write_bytes(b"" if how == "empty" else b"labels")
    else:
        with np.load(kept) as content:
            arrays = damaged(content, how)
        np.savez(kept, **arrays)
    with pytest.raises(InputError, match="remove it to begin anew"):
        read_corrections(kept, scan)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    scan = segmented(tmp_path / "a.ply")
    for path in (tmp_path / "none.labels.npz", tmp_path):
        with pytest.raises(InputError, match="there are no corrections"):
            read_corrections(path, scan)


@pytest.mark.parametrize("suffix", [".ply", ".las"])
@pytest.mark.parametrize("keep_rgb", [False, True])
def test_a_copy_has_the_corrected_classes_and_all_else_as_it_was(tmp_path, suffix, keep_rgb):
    scan = segmented(tmp_path / "a.ply", intensity=np.arange(30, dtype=np.uint16), prediction=np.full(30, 99, np.uint8))
    scan.columns.pop("source_prediction")
    if keep_rgb:
        scan.predictions, before = None, scan
        names = {"scan_red": "red", "red": "class_red", "scan_green": "green", "green": "class_green",
                 "scan_blue": "blue", "blue": "class_blue"}  # fmt: skip
        before.columns = {names.get(name, name): values for name, values in before.columns.items()}
        write_scan(tmp_path / "b.ply", before)
        scan = read_scan(tmp_path / "b.ply", "m", None, "z")
    labels = some_labels(scan)
    out = tmp_path / f"out{suffix}"
    assert write_scan(out, corrected_scan(scan, labels)) == {}
    copy = read_scan(out, "m", None, "z")
    assert set(copy.columns) >= set(scan.columns) and "source_prediction" not in copy.columns
    assert (copy.predictions == np.where(labels == 255, scan.predictions, labels)).all()
    assert (copy.confidence[3:9] == 1).all() and (copy.confidence[9:] == scan.confidence[9:]).all()
    assert (copy.rgb == scan.rgb).all() and (copy.columns["intensity"] == np.arange(30)).all()
    red = copy.columns["class_red" if keep_rgb else "red"].astype(int) // (
        257 if suffix == ".las" and not keep_rgb else 1
    )
    assert (red == COLORS[copy.predictions][:, 0]).all()


def test_a_part_of_a_scan_has_all_attributes_of_its_points(tmp_path):
    scan = segmented(tmp_path / "a.ply", intensity=np.arange(30, dtype=np.uint16), classes=HOSTILE)
    part = part_of(scan, scan.predictions == 2)
    assert (part.predictions == 2).all() and len(part) == (scan.predictions == 2).sum()
    assert part.columns.keys() == scan.columns.keys()
    part.predictions = part.confidence = None
    write_scan(tmp_path / "b.ply", part)
    again = read_scan(tmp_path / "b.ply", "m", None, "z")
    assert again.classes == HOSTILE, "the comments of the file are kept"
    assert (again.columns["intensity"] == np.arange(30)[scan.predictions == 2]).all()


def test_a_part_of_a_las_file_keeps_its_header(tmp_path):
    scan = segmented(tmp_path / "a.las", classification=np.arange(30, dtype=np.uint8))
    part = part_of(scan, np.array([5, 2]))
    part.predictions = None
    write_scan(tmp_path / "b.las", part)
    again = read_scan(tmp_path / "b.las", "m", None, "z")
    assert again.columns["classification"].tolist() == [5, 2]
    assert (again.xyz == scan.xyz[[5, 2]]).all()
    assert (again.source.header.scales == scan.source.header.scales).all()
    assert (again.source.header.offsets == scan.source.header.offsets).all()


def test_a_part_of_a_mesh_has_no_faces(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(
        "ply\nformat ascii 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nproperty uchar prediction\nelement face 1\nproperty list uchar int vertex_indices\n"
        "end_header\n0 0 0 1\n1 0 0 2\n0 1 0 1\n0 0 1 2\n3 0 1 2\n"
    )
    part = part_of(read_scan(path, "m", None, "z"), [1, 3])
    part.predictions = None
    write_scan(tmp_path / "part.ply", part)
    text = (tmp_path / "part.ply").read_text()
    assert "element vertex 2" in text and "face" not in text and "comment made by hand" in text
    assert read_scan(tmp_path / "part.ply", "m", None, "z").predictions.tolist() == [2, 2]
