"""The scratch folder: disk and memory give the same bytes, and a killed run goes on where it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dis_seg.data.blocks import cloud as cloud_stage
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.scans import Scan, open_scan, read_scan, write_scan
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.models.zoo import create_model
from s3dis_seg.segmentation import Segmenter
from s3dis_seg.segmentation import segmenter as stages
from s3dis_seg.segmentation.work import folder_of, remove, scan_stamp, work_beside

ROOT = Path(__file__).resolve().parents[2]
FINGERPRINT = {"scan": "this one"}


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    model = create_model("resgcn7", blocks=2, channels=4, k=3)
    return Segmenter(model, Card("resgcn7", model.config, blocks=BlockSettings(64, 1.0, 0.1, tallest=3.0)), "cpu")


def scan_of(count=4000, size=(4.3, 2.2, 2.5)):
    """Points in and beside a room: some far apart, which get wider columns, and some of no use."""
    rng = np.random.default_rng(0)
    xyz = np.concatenate([rng.random((count, 3)) * size, rng.random((40, 3)) * (60, 60, 2) + (9, 9, 0)])
    xyz[5], xyz[70] = np.nan, 1e9
    origin = np.array([4000.0, -2000.0, 7.0])
    return xyz + origin, rng.integers(0, 256, xyz.shape).astype(np.uint8)


def same(result, other):
    np.testing.assert_array_equal(result.predictions, other.predictions)
    np.testing.assert_array_equal(result.confidence, other.confidence)


@pytest.mark.parametrize("at_once", [500_000, 37])
def test_memory_and_disk_give_the_same_bytes_whatever_the_parts(segmenter, tmp_path, monkeypatch, at_once):
    expected = segmenter(*scan_of())
    assert (expected.predictions[[5, 70]] == 255).all() and len(np.unique(expected.confidence)) > 1000
    monkeypatch.setattr(cloud_stage, "_AT_ONCE", at_once)
    monkeypatch.setattr(cloud_stage, "_CHUNK", 2 * at_once)
    with work_beside(tmp_path / "out.ply", FINGERPRINT) as work:
        same(segmenter.run(segmenter.plan(*scan_of(), work)), expected)
        assert {"xyz.raw", "owner.raw", "votes.npz"} <= {path.name for path in work.folder.iterdir()}
    same(segmenter(*scan_of()), expected)


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 9, 30])
def test_a_run_goes_on_where_it_was(segmenter, tmp_path, monkeypatch, after):
    monkeypatch.setattr(stages, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(stages, "_PAUSE", 0)
    expected, out = segmenter(*scan_of()), tmp_path / "out.ply"

    def stop(done, total):
        if done == after:
            raise Killed

    with pytest.raises(Killed), work_beside(out, FINGERPRINT) as work:
        segmenter.run(segmenter.plan(*scan_of(), work), progress=stop)
    seen = []
    with work_beside(out, FINGERPRINT) as work:
        assert "goes on" in work.told
        same(segmenter.run(segmenter.plan(*scan_of(), work), progress=lambda done, total: seen.append(done)), expected)
    assert seen[0] >= after - 5 and seen[-1] == expected.num_blocks


def test_what_belongs_to_something_else_is_begun_anew(segmenter, tmp_path):
    out = tmp_path / "out.ply"
    with work_beside(out, FINGERPRINT) as work:
        segmenter.plan(*scan_of(), work)
    with work_beside(out, {"scan": "another"}) as work:
        assert work.told.endswith("belongs to a run with another scan and is begun anew")
        assert work.kept_cloud() is None and not list(folder_of(out).glob("*.raw"))
    assert not folder_of(out).exists(), "a folder with nothing to go on with does not stay"


def test_notes_that_cannot_be_read_are_begun_anew(segmenter, tmp_path):
    out = tmp_path / "out.ply"
    with work_beside(out, FINGERPRINT) as work:
        segmenter.plan(*scan_of(), work)
    (folder_of(out) / "work.json").write_text("{")
    with work_beside(out, FINGERPRINT) as work:
        assert "cannot be read" in work.told and work.kept_cloud() is None


def test_two_processes_do_not_use_one_folder(tmp_path):
    script = (
        "import sys; from pathlib import Path; from s3dis_seg.segmentation.work import work_beside\n"
        "with work_beside(Path(sys.argv[1]), {}): pass"
    )
    with work_beside(tmp_path / "out.ply", {}):
        done = subprocess.run([sys.executable, "-c", script, tmp_path / "out.ply"], cwd=ROOT, capture_output=True)
    assert b"another process is writing" in done.stderr


def test_a_finished_result_is_known_until_it_changes(tmp_path):
    out = tmp_path / "out.ply"
    out.write_text("labels")
    with work_beside(out, FINGERPRINT) as work:
        work.finish(out, {"keep_rgb": False})
    with work_beside(out, FINGERPRINT) as work:
        assert work.is_finished(out, {"keep_rgb": False}) and not work.is_finished(out, {"keep_rgb": True})
        out.write_text("others")
        os.utime(out, ns=(0, 0))
        assert not work.is_finished(out, {"keep_rgb": False})
    remove(out)
    remove(out)
    assert not folder_of(out).exists() and scan_stamp(out)["name"] == "out.ply"


def test_a_full_disk_is_told(segmenter, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="No space left on device"), work_beside(tmp_path / "o.ply", {}) as work:
        segmenter.plan(*scan_of(), work)


# --- kill -9 ----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from s3dis_seg.segmentation import segmenter, work
from s3dis_seg.cli.main import main

stage, segmenter._SAVE_EVERY, segmenter._PAUSE = sys.argv[1], 0.0, 0
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
left = [12]

def counted(self, **values):
    keep(self, **values)
    left[0] -= 1
    if not left[0]:
        kill()

keep = work.Work.keep_votes
if stage == "votes":
    work.Work.keep_votes = counted
elif stage == "writing":
    from s3dis_seg.cli import segment
    segment.write_scan = kill
elif stage == "end":
    work.Work.finish = kill
main(sys.argv[2:])
"""


def test_a_killed_command_gives_the_bytes_of_one_that_was_not(segmenter, tmp_path):
    checkpoint, scan = tmp_path / "c.pt", tmp_path / "scan.ply"
    save_checkpoint(checkpoint, segmenter.model, segmenter.card)
    xyz, rgb = scan_of()
    write_scan(scan, Scan(xyz[100:], rgb[100:]))
    whole, out = tmp_path / "whole.ply", tmp_path / "out.ply"
    words = ["segment", scan, "--checkpoint", checkpoint, "--units", "m", "--up", "z", "--device", "cpu", "--out"]

    def run(stage, target):
        command = [sys.executable, "-c", KILLED, stage, *map(str, words), str(target)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert run("none", whole).returncode == 0
    for stage in ("votes", "writing", "end"):
        assert run(stage, out).returncode == -signal.SIGKILL
        assert out.exists() == (stage == "end") and folder_of(out).exists()
    done = run("none", out)
    assert done.returncode == 0 and "interrupted run of this scan, which goes on" in done.stdout
    assert out.read_bytes() == whole.read_bytes()
    assert not folder_of(out).exists() and not folder_of(whole).exists()


# --- reading by parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ply", ".las", ".laz"])
@pytest.mark.parametrize("options", [{}, {"up": "y", "units": "mm"}], ids=str)
def test_a_scan_read_by_parts_is_the_scan_read_at_once(tmp_path, suffix, options):
    xyz, rgb = scan_of()
    write_scan(tmp_path / f"a{suffix}", Scan(xyz[100:], rgb[100:]))
    options = {"up": "z", "units": "m"} | options
    whole, parts = (read(tmp_path / f"a{suffix}", **options) for read in (read_scan, open_scan))
    assert isinstance(whole.xyz, np.ndarray) and not isinstance(parts.xyz, np.ndarray)
    for name in ("xyz", "rgb"):
        array, lazy = getattr(whole, name), getattr(parts, name)
        assert (lazy.shape, lazy.dtype, lazy.ndim) == (array.shape, array.dtype, array.ndim)
        np.testing.assert_array_equal(lazy[7:99:3], array[7:99:3])
        np.testing.assert_array_equal(np.asarray(lazy), array)
        np.testing.assert_array_equal(lazy[:, 1], array[:, 1])
    assert whole.warnings == parts.warnings and list(whole.columns) == list(parts.columns)
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(np.asarray(parts.columns[name]), np.asarray(values))
