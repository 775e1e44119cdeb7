"""`s3dis-seg segment`: scans in, labelled scans out, and refusals in the words of the flags."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from plyfile import PlyData

import s3dis_seg as s3
from s3dis_seg.cli.main import main, parse
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from tests.cli.checkpoints import save_small, write_small_scan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("weights") / "c.pt", "S3DIS terms")


@pytest.fixture
def scan(tmp_path):
    return write_small_scan(tmp_path / "scan.ply")


def segment(*words):
    return main(["segment", *map(str, words)])


def test_a_scan_becomes_a_labelled_scan(checkpoint, scan, tmp_path, capsys):
    out = tmp_path / "new" / "out.ply"
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--device", "cpu") == 0
    vertex, source = PlyData.read(out)["vertex"], read_scan(scan)
    np.testing.assert_array_equal(vertex["x"], source.columns["x"])
    np.testing.assert_array_equal(vertex["scan_red"], source.rgb[:, 0])
    expected = s3.Segmenter.from_checkpoint(checkpoint, device="cpu")(source.xyz, source.rgb)
    np.testing.assert_array_equal(vertex["prediction"], expected.predictions)
    np.testing.assert_array_equal(vertex["confidence"], expected.confidence)

    told = capsys.readouterr().out
    assert "1,500 points, 2.2 x 1.4 x 2.5 m, colours" in told
    assert re.search(rf"\n{expected.num_blocks} blocks \(\d+ with --stride 1.0\) on cpu, about ", told)
    assert (
        "class                points   share   floor m2  confidence" in told
        and "\ntime: " in told
        and ", in all " in told
    )
    assert told.count("licence") == 1 and "confidence below 0.5: " in told
    assert told.endswith(f"wrote {out}\nlicence of the weights: S3DIS terms\nnext: s3dis-seg view {out}\n")


def test_several_scans_and_folders_go_to_a_folder(checkpoint, scan, tmp_path):
    array = tmp_path / "array.npy"
    np.save(array, read_scan(scan).xyz[:300])
    out = tmp_path / "out"
    assert segment(tmp_path, "--checkpoint", checkpoint, "--out", out, "--stride", 1) == 0
    assert sorted(path.name for path in out.iterdir()) == ["array.ply", "scan.ply"]
    assert len(read_scan(out / "array.ply").predictions) == 300
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--keep-rgb") == 0
    np.testing.assert_array_equal(PlyData.read(out / "scan.ply")["vertex"]["red"], read_scan(scan).rgb[:, 0])


def test_one_bad_scan_does_not_stop_the_others(checkpoint, scan, tmp_path, capsys):
    bad, out = tmp_path / "bad.ply", tmp_path / "out"
    bad.write_text("hello")
    assert segment(bad, scan, "--checkpoint", checkpoint, "--out", out, "--stride", 1) == 2
    assert (out / "scan.ply").exists() and not (out / "bad.ply").exists()
    told = capsys.readouterr()
    assert "is not a PLY file" in told.out
    assert f"1 of 2 scans were not segmented, for the reasons above: {bad}" in told.err


def test_oddities_of_a_scan_are_told(checkpoint, scan, tmp_path, capsys):
    source = read_scan(scan)
    xyz = source.xyz * 500  # 1.25 m in millimetres, or 12.5 m in centimetres
    xyz[0] = np.nan
    columns = {"prediction": np.zeros(len(xyz), np.float32), **dict(zip("xyz", xyz.T))}
    write_scan(scan, Scan(xyz, columns=columns))
    out = tmp_path / "out.ply"
    assert segment(scan, "--checkpoint", checkpoint, "--out", out) == 2
    assert "add --units cm or --units mm" in capsys.readouterr().err and not out.exists()
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--units", "mm") == 0
    told = capsys.readouterr().out
    assert "no colours" in told and "1 of 1,500 points have NaN" in told and "none" in told
    assert "the scan had a property prediction already; it is called source_prediction now" in told
    assert PlyData.read(out)["vertex"]["prediction"][0] == 255


def test_a_checkpoint_in_the_official_layout(shared, scan, tmp_path, capsys):
    checkpoint = shared / "parity" / "official-res-edge-7.pth"
    out = tmp_path / "out.ply"
    assert segment(scan, "--checkpoint", checkpoint, "--out", out) == 2
    assert "--model" in capsys.readouterr().err
    network = ["--model", "resgcn28", "--blocks", "7", "--channels", "16", "--k", "4"]
    assert segment(scan, "--checkpoint", checkpoint, "--out", out, "--stride", 1, *network) == 0
    assert (read_scan(out).predictions < 13).all()


@pytest.mark.parametrize(("words", "message"), [
    (["--k", "4"], "--k: only together with --model"),
    (["--stride", "2"], "a stride of 2.0"),
    (["--device", "toaster"], "no device 'toaster'"),
    (["--checkpoint", "nothing.pt"], "no checkpoint nothing.pt"),
    (["--model", "resgcn28"], "knows its own network"),
])  # fmt: skip
def test_refusals_in_the_words_of_the_flags(checkpoint, scan, tmp_path, capsys, words, message):
    assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "out.ply", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.ply").exists()


@pytest.mark.parametrize("words", [["--passes", "0"], ["--batch-size", "x"], ["--units", "yard"], ["--seed", "-1"]])
def test_impossible_numbers_are_refused_by_the_parser(scan, tmp_path, capsys, words):
    with pytest.raises(SystemExit) as end:
        segment(scan, "--out", tmp_path / "out.ply", *words)
    assert end.value.code == 2 and words[0] in capsys.readouterr().err


def test_outputs_that_cannot_be_meant_are_refused(scan, tmp_path, capsys):
    other = tmp_path / "scan.npy"
    np.save(other, np.eye(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for words, message in (
        ([scan, "--out", scan], "is the scan itself"),
        ([scan, other, "--out", tmp_path / "out.ply"], "names one file, but there are 2 scans"),
        ([scan, scan, "--out", tmp_path / "out"], "would both become"),
        ([scan, "--out", tmp_path / "out.obj"], "cannot write '.obj'"),
        ([tmp_path / "empty", "--out", tmp_path / "out"], "holds no scans"),
    ):
        assert segment(*words) == 2
        assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_before_the_network_runs(checkpoint, scan, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "file" / "out.ply") == 2
    told = capsys.readouterr()
    assert "cannot write to" in told.err and "blocks" not in told.out
    usage = type("Usage", (), {"free": 100})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: usage)
        assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "out.ply") == 2
    assert "0 MB left; free space" in capsys.readouterr().err


def test_scans_of_one_stem_get_names_of_their_own_and_a_counter(checkpoint, scan, tmp_path, capsys):
    folder, out = tmp_path / "scans", tmp_path / "out"
    folder.mkdir()
    source = read_scan(scan)
    for name in ("hall.ply", "HALL.csv", "alone.npy"):
        if name.endswith("npy"):
            np.save(folder / name, source.xyz)
        else:
            write_scan(folder / name, Scan(source.xyz[:400], source.rgb[:400]))
    assert segment(folder, "--checkpoint", checkpoint, "--out", out, "--stride", 1) == 0
    assert sorted(path.name for path in out.iterdir()) == ["HALL-csv.ply", "alone.ply", "hall-ply.ply"]
    told = capsys.readouterr().out
    assert all(f"[{place}/3] " in told for place in (1, 2, 3)) and told.count("licence") == 1


def test_short_steps_are_left_out_of_the_times_and_the_start_is_counted(checkpoint, scan, tmp_path, capsys):
    command = parse(["segment", str(scan), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out.ply")])
    command.started -= 6
    command.run(command)
    (line,) = re.findall(r"^time: .*$", capsys.readouterr().out, re.MULTILINE)
    assert line.startswith("time: starting 6.") and " 0.0 s" not in line


def test_the_blocks_without_overlap_are_counted_too(checkpoint, scan, tmp_path, capsys):
    for stride in (0.5, 1.0):
        assert segment(scan, "--checkpoint", checkpoint, "--out", tmp_path / "out.ply", "--stride", stride) == 0
    told = re.findall(r"^(\d+) blocks( \((\d+) with --stride 1.0\))? on", capsys.readouterr().out, re.MULTILINE)
    (overlapping, _, fast), (fast_too, _, nothing) = told
    assert fast == fast_too and nothing == "" and int(fast) < int(overlapping)


def test_a_scan_with_wider_columns_is_laid_out_once(checkpoint, tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).random((600, 3)) * (80, 80, 3))
    monkeypatch.setattr(s3.Segmenter, "num_blocks_at", None)
    assert segment(tmp_path / "wide.npy", "--checkpoint", checkpoint, "--out", tmp_path / "out.ply") == 0
    assert re.search(r"^\d+ blocks on cpu", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("ending", ["closed pipe", "full disk"])
def test_the_scan_is_written_though_standard_output_ends(checkpoint, scan, tmp_path, ending):
    out = tmp_path / "out.ply"
    if ending == "full disk":
        if not os.path.exists("/dev/full"):
            pytest.skip("this system has no /dev/full")
        stdout = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stdout = os.pipe()
        os.close(reader)
    words = [sys.executable, "-m", "s3dis_seg.cli.main", "segment", scan, "--checkpoint", checkpoint, "--out", out]
    done = subprocess.run(words, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(stdout)
    assert done.returncode == 1 and len(read_scan(out).predictions) == 1500
    assert "standard output ended early" in done.stderr and "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_names_that_standard_output_cannot_encode_are_escaped(checkpoint, scan, tmp_path):
    odd = scan.rename(tmp_path / "b\u00fcro.ply")
    words = [sys.executable, "-m", "s3dis_seg.cli.main", "segment", odd, "--checkpoint", checkpoint]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*words, "--out", tmp_path / "o.ply"], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0 and b"b\\xfcro.ply" in done.stdout
