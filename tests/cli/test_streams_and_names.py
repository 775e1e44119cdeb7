"""Every command beside odd names and a standard output that fails: one sentence, the right code, the file written."""

import contextlib
import os
import resource
import shutil

import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.models.zoo import create_model

ODD = os.fsdecode(b"b\xfcro \xe2\x88\x9e")  # no UTF-8, and a sign that no ASCII has
LONG = "x" * 250 + ".long.ply"
NETWORK = "--model resgcn7 --blocks 2 --channels 4 --k 2 --num-points 64 --batch-size 2 --epochs 1 --device cpu"
COMMANDS = {  # the words after the name of a command, and the file that it writes
    "prepare": ("{raw} --out {out} --workers 1", "Area_1_office_1.h5"),
    "train": (f"--data {{rooms}} --out {{out}} --workers 0 {NETWORK}", "last.pt"),
    "segment": ("{scan} --checkpoint {checkpoint} --out {out}/o.ply --device cpu", "o.ply"),
    "evaluate": ("--data {rooms} --checkpoint {checkpoint} --out {out} --device cpu", "scores.csv"),
    "score": ("{scan} --out {out}", "scores.csv"),
    "view": ("{scan} --save {out}/o.png --size 60 40", "o.png"),
    "benchmark": ("--stress {rooms} --checkpoint {checkpoint} --json {out}/o.json --device cpu", "o.json"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What the commands read, in a folder of an odd name. -> dict of paths"""
    place = tmp_path_factory.mktemp("place") / ODD
    rng = np.random.default_rng(0)
    xyz, rgb = rng.random((400, 3)) * (1.5, 1.0, 2.5), rng.integers(0, 256, (400, 3)).astype(np.uint8)
    labels = rng.integers(0, 13, 400).astype(np.uint8)
    (place / "raw").mkdir(parents=True)
    (place / "raw" / (ODD + ".txt")).write_text("a stray file")
    np.save(place / "raw" / "Area_1_office_1.npy", np.column_stack([xyz, rgb, labels]))
    write_room(room_of("Area_1_office_1", xyz, rgb, labels), place / "rooms")
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    card = Card("resgcn7", network.config, blocks=BlockSettings(num_points=64, grid=0.0))
    save_checkpoint(place / "c.pt", network, card)
    scan = Scan(xyz, rgb, predictions=labels, confidence=np.ones(400, np.float32))
    scan.columns = {axis: xyz[:, number] for number, axis in enumerate("xyz")} | {"classification": labels}
    write_scan(place / "scan.ply", scan)
    return {"raw": place / "raw", "rooms": place / "rooms", "checkpoint": place / "c.pt", "scan": place / "scan.ply"}


def words_of(command, out, paths):
    """A command line as a list of words."""
    words = COMMANDS[command][0].split()
    return [command, *(word.format(out=out, **paths) for word in words)]


def run_into(descriptor, words, encoding="utf-8"):
    """Run a command with that descriptor as its standard output. -> exit code"""
    with open(descriptor, "w", encoding=encoding) as stdout, contextlib.redirect_stdout(stdout):
        return main(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_names_and_sentences_that_standard_output_cannot_encode_stop_nothing(place, tmp_path, capfd, command):
    reader, writer = os.pipe()
    code = run_into(writer, words_of(command, tmp_path / ODD, place), "ascii")
    with open(reader, "rb") as pipe:
        assert pipe.read()
    assert code == 0, capfd.readouterr().err
    assert (tmp_path / ODD / COMMANDS[command][1]).stat().st_size > 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("ending", ["full disk", "closed pipe"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_standard_output_that_ends_is_one_sentence_and_stops_no_work(place, tmp_path, capfd, command, ending):
    if ending == "closed pipe":
        reader, descriptor = os.pipe()
        os.close(reader)
    else:
        descriptor = os.open("/dev/full", os.O_WRONLY)
    assert run_into(descriptor, words_of(command, tmp_path / "out", place)) == 1
    assert (tmp_path / "out" / COMMANDS[command][1]).stat().st_size > 0
    told = capfd.readouterr().err
    assert told.count("error: standard output ended early") == 1 and "Traceback" not in told


@pytest.mark.parametrize("command", [*COMMANDS, "demo"])
def test_names_that_no_file_system_takes_are_one_sentence(place, tmp_path, capsys, command):
    words = ["--out", "{out}"] if command == "demo" else COMMANDS[command][0].split()
    for number in (number for number, word in enumerate(words) if "{" in word):
        paths = {"out": tmp_path / "out", **place}
        line = [word.format(**paths) for word in words]
        line[number] = str(tmp_path / LONG)
        assert main([command, *line]) == 2, line
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1, told
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "train"])
def test_a_full_disk_is_one_sentence_and_the_old_file_stays(place, tmp_path, capsys, command):
    old = tmp_path / "out" / COMMANDS[command][1]
    old.parent.mkdir()
    old.write_text("before")
    os.utime(old, (0, 0))  # older than its source, so that it is made again
    words = words_of(command, tmp_path / "out", place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))  # bytes that a file may have
    try:
        code = main(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert capsys.readouterr().err.count("error: ") == 1
    assert old.read_text() == "before" and not list(tmp_path.rglob(".writing-*"))


@pytest.mark.parametrize("link", [os.symlink, os.link, lambda scan, out: None], ids=["symlink", "hard link", "path"])
def test_a_scan_is_never_written_over_itself(place, tmp_path, capsys, link):
    scan = tmp_path / "scan.ply"
    shutil.copy(place["scan"], scan)
    out = tmp_path / "other.ply"
    link(scan, out)
    out = out if out.exists() else scan
    before = scan.read_bytes()
    assert main(["segment", str(scan), "--checkpoint", str(place["checkpoint"]), "--out", str(out)]) == 2
    assert "is the scan itself" in capsys.readouterr().err and scan.read_bytes() == before


@pytest.mark.parametrize("command", ["segment", "view", "benchmark"])
def test_a_pipe_as_output_is_refused_and_stays(place, tmp_path, capsys, command):
    pipe = tmp_path / COMMANDS[command][1]
    os.mkfifo(pipe)
    assert main(words_of(command, tmp_path, place)) == 2
    assert "is a pipe or a device" in capsys.readouterr().err and pipe.is_fifo()
