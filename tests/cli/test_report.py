"""The command that makes a page, and `segment --report`, which makes it in one go."""

import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from tests.cli.checkpoints import save_small


def report(*words):
    return main(["report", *map(str, words)])


@pytest.fixture
def segmented(tmp_path):
    """A segmented scan with labels under an unusual name. -> Path"""
    rng = np.random.default_rng(0)
    xyz = rng.random((500, 3)) * (3, 2, 2.5)
    axes = {axis: xyz[:, place] for place, axis in enumerate("xyz")}
    scan = Scan(xyz, columns=axes | {"by_hand": np.repeat([0, 12], 250).astype(np.uint8)})
    scan.predictions, scan.confidence = np.ones(500, np.uint8), np.full(500, 0.5, np.float32)
    write_scan(tmp_path / "segmented.ply", scan)
    return tmp_path / "segmented.ply"


@pytest.mark.parametrize("suffix", [".ply", ".csv", ".npy"])
def test_a_page_is_made_of_every_format_that_holds_predictions(segmented, tmp_path, capsys, suffix):
    scan = read_scan(segmented)
    write_scan(tmp_path / f"again{suffix}", scan)
    page = tmp_path / "new" / "page.html"
    assert report(tmp_path / f"again{suffix}", "--out", page) == 0
    assert f"wrote {page}: 500 points, 0." in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert f"<h1>again{suffix}</h1>" in text and "Scores" not in text and "Not told by the file" in text


def test_comments_in_the_file_are_told(segmented, tmp_path):
    content = segmented.read_bytes().replace(b"element vertex", b"comment scanned in <hall> 5\nelement vertex", 1)
    segmented.write_bytes(content)
    assert report(segmented, "--out", tmp_path / "page.html") == 0
    assert "scanned in &lt;hall&gt; 5" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_named_properties_hold_labels_and_predictions(segmented, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert report(segmented, "--out", page, "--label-field", "by_hand", "--points", 100) == 0
    assert "100 points, of 500" in capsys.readouterr().out
    assert "<h2>Scores</h2>" in page.read_text(encoding="utf-8")
    assert report(segmented, "--out", page, "--label-field", "prediction", "--prediction-field", "by_hand") == 0
    assert "2 classes found" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--out", "page.png"], "name a .html file"),
        (["--out", "page.html", "--label-field", "nothing"], "has no property 'nothing'"),
        (["--out", "page.html", "--prediction-field", "confidence"], "holds 0.5"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_sentence(segmented, tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert report(segmented, *words) == 2
    message = capsys.readouterr().err
    assert said in message and len(message.strip().splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


def test_a_scan_that_is_not_segmented_is_refused_with_what_to_do(tmp_path, capsys):
    write_scan(tmp_path / "scan.ply", Scan(np.random.default_rng(0).random((10, 3))))
    assert report(tmp_path / "scan.ply", "--out", tmp_path / "page.html") == 2
    assert f"segment it first: s3dis-seg segment {tmp_path / 'scan.ply'} --out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("weights") / "c.pt", "ours, <all>")


def test_segment_makes_the_page_and_tells_weights_settings_and_licence(checkpoint, tmp_path, capsys):
    rng = np.random.default_rng(0)
    scan = Scan(rng.random((400, 3)) * (2, 1, 2.5), rng.integers(0, 256, (400, 3)).astype(np.uint8))
    write_scan(tmp_path / "scan.ply", scan)
    words = ["segment", tmp_path / "scan.ply", "--out", tmp_path / "out.ply", "--checkpoint", checkpoint, "--stride", 1]
    assert main([*map(str, words), "--report", str(tmp_path / "page.html")]) == 0
    assert f"wrote {tmp_path / 'page.html'}: 400 points" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for told in (str(checkpoint), "stride 1, passes 1, seed 0", "256 points", "ours, &lt;all&gt;", "<h1>scan.ply</h1>"):
        assert told in text, told


@pytest.mark.parametrize(
    "scans, page, said", [(1, "page.txt", "name a .html file"), (2, "page.html", "shows one scan, but there are 2")]
)
def test_segment_refuses_a_page_that_cannot_be_made_before_it_begins(tmp_path, capsys, scans, page, said):
    paths = [tmp_path / f"{number}.ply" for number in range(scans)]
    for path in paths:
        path.touch()
    out = tmp_path / ("out.ply" if scans == 1 else "out")
    assert main(["segment", *map(str, paths), "--out", str(out), "--report", str(tmp_path / page)]) == 2
    assert said in capsys.readouterr().err
