import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest

from s3dis_seg.cli.main import main
from s3dis_seg.data.rooms.prepared import RoomFile, find_rooms
from s3dis_seg.synthetic.rooms import write_release
from tests.cli.killed import killed_while_it_writes


@pytest.fixture
def release(tmp_path):
    write_release(tmp_path / "release", {"Area_1": 2, "Area_5": 1}, density=30)
    return tmp_path / "release"


def prepare(*words):
    return main(["prepare", *map(str, words)])


def test_a_release_becomes_one_file_a_room(release, tmp_path, capsys):
    assert prepare(release, "--out", tmp_path / "rooms", "--workers", 1) == 0
    rooms = [RoomFile(path) for path in find_rooms(tmp_path / "rooms")]
    assert [room.name for room in rooms] == ["Area_1_conferenceRoom_1", "Area_1_lounge_1", "Area_5_lounge_1"]
    printed = capsys.readouterr().out
    total = sum(room.num_points for room in rooms)
    assert f"{total:,}" in printed
    assert "3 rooms, about 0.0 million points" in printed
    for word in ("Area_1", "Area_5", "ceiling", "clutter", "0 repairs", "next: s3dis-seg train --data"):
        assert word in printed
    assert json.loads((tmp_path / "rooms/repairs.json").read_text()) == []


def test_several_processes_give_the_same_rooms(release, tmp_path):
    assert prepare(release, "--out", tmp_path / "one", "--workers", 1) == 0
    assert prepare(release, "--out", tmp_path / "two", "--workers", 2) == 0
    for path in find_rooms(tmp_path / "one"):
        one, two = RoomFile(path).room(), RoomFile(tmp_path / "two" / path.name).room()
        assert np.array_equal(one.xyz, two.xyz)
        assert np.array_equal(one.instances, two.instances)


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in find_rooms(folder)}


def test_finished_rooms_are_kept_and_stale_ones_prepared_again(release, tmp_path, capsys):
    out = tmp_path / "rooms"
    prepare(release, "--out", out, "--workers", 1)
    first = stamps(out)

    assert prepare(release, "--out", out, "--workers", 1) == 0
    assert stamps(out) == first
    assert "3 rooms are finished already and kept" in capsys.readouterr().out

    names = list(first)
    with h5py.File(out / names[0], "r+") as file:  # another version of the format
        file.attrs["format_version"] = 0
    changed = next((release / "Area_1/lounge_1/Annotations").glob("*.txt"))
    os.utime(changed, (2e9, 2e9))  # a source newer than its room
    second = stamps(out)
    prepare(release, "--out", out, "--workers", 1)
    third = stamps(out)
    assert RoomFile(out / names[0]).num_points > 0
    assert third[names[0]] != second[names[0]]
    assert third["Area_1_lounge_1.h5"] != second["Area_1_lounge_1.h5"]
    assert third["Area_5_lounge_1.h5"] == first["Area_5_lounge_1.h5"]

    prepare(release, "--out", out, "--workers", 1, "--overwrite")
    assert not set(stamps(out).values()) & set(third.values())


def test_rooms_of_another_source_are_not_taken_for_finished_ones(release, tmp_path, capsys):
    prepare(release, "--out", tmp_path / "rooms", "--workers", 1)
    other = tmp_path / "other"
    shutil.copytree(release, other)
    assert prepare(other, "--out", tmp_path / "rooms") == 2
    assert "was prepared from release/Area_1/conferenceRoom_1, not from other/" in capsys.readouterr().err


def test_a_damaged_room_is_named_and_the_others_are_prepared(release, tmp_path, capsys):
    door = release / "Area_1/lounge_1/Annotations/door_1.txt"
    door.write_text(door.read_text() + "1.0 2.0 oops\n")
    line = len(door.read_text().splitlines())
    out = tmp_path / "rooms"
    assert prepare(release, "--out", out, "--workers", 1) == 2
    error = capsys.readouterr().err
    assert "1 of 3 rooms could not be prepared (the other 2 are in" in error
    assert f"{door}, line {line}: expected 'x y z r g b'" in error
    assert "'1.0 2.0 oops'" in error
    assert [path.stem for path in find_rooms(out)] == ["Area_1_conferenceRoom_1", "Area_5_lounge_1"]


def test_repairs_are_listed_with_file_and_line(release, tmp_path, capsys):
    wall = release / "Area_5/lounge_1/Annotations/wall_1.txt"
    wall.write_bytes(b"1.000 2.000 0.500 185\x00187 182\n" + wall.read_bytes())
    (release / "Thumbs.db").write_bytes(b"\x00")
    out = tmp_path / "rooms"
    for _ in range(2):  # kept rooms tell their repairs as well
        assert prepare(release, "--out", out, "--workers", 1) == 0
        printed = capsys.readouterr().out
        assert "2 repairs, listed in" in printed
        assert r"Area_5/lounge_1/Annotations/wall_1.txt:1: '1.000 2.000 0.500 185\x00187 182' read as" in printed
    assert [entry["line"] for entry in json.loads((out / "repairs.json").read_text())] == [None, 1]
    assert (out / "repairs.txt").read_text().startswith("Thumbs.db: stray, left out\nArea_5/lounge_1")


def test_a_disk_too_small_is_told_before_the_start(release, tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    assert prepare(release, "--out", tmp_path / "rooms") == 2
    assert "its disk has 0.0 MB left; free space, or name a folder on another disk" in capsys.readouterr().err
    assert not (tmp_path / "rooms").exists()


def test_the_rooms_may_lie_beside_the_release(release, tmp_path):
    assert prepare(tmp_path, "--out", tmp_path / "rooms", "--workers", 1) == 0
    assert len(find_rooms(tmp_path / "rooms")) == 3


@pytest.mark.parametrize("raw", ["data", "data/Area_1"])
def test_the_default_output_may_lie_beside_the_areas(release, tmp_path, capsys, monkeypatch, raw):
    release.rename(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time the folder of the rooms is there
        assert prepare(raw, "--workers", 1) == 0
        assert "0 repairs" in capsys.readouterr().out  # it is no stray either
    assert len(find_rooms(tmp_path / "data/rooms")) == (3 if raw == "data" else 2)


def test_the_hint_names_an_area_that_is_there(tmp_path, capsys):
    for number, (areas, hint) in enumerate(
        [
            ({"Area_1": 1, "Area_5": 1}, "--test-area 5 --out runs/area5"),
            ({"Area_1": 1, "Area_3": 1}, "--test-area 3 --out runs/area3"),
            ({"Area_1": 1}, "resgcn28 --out runs/first"),
        ]
    ):
        write_release(tmp_path / f"release{number}", areas, density=30)
        assert prepare(tmp_path / f"release{number}", "--out", tmp_path / f"rooms{number}", "--workers", 1) == 0
        assert capsys.readouterr().out.strip().endswith(hint)


def test_a_log_file_gets_no_progress_bar(release, tmp_path, capsys):
    prepare(release, "--out", tmp_path / "rooms", "--workers", 1)
    assert capsys.readouterr().err == ""


def test_what_a_killed_process_left_is_removed(release, tmp_path):
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms/.writing-abc.h5").write_text("half")
    prepare(release, "--out", tmp_path / "rooms", "--workers", 1)
    assert not list((tmp_path / "rooms").glob(".writing-*"))


def test_a_killed_preparation_goes_on(release, tmp_path, capsys):
    words = ["prepare", str(release), "--workers", "1", "--out"]
    killed_while_it_writes([*words, str(tmp_path / "killed")], at_file=2)
    assert len(find_rooms(tmp_path / "killed")) == 1 and list((tmp_path / "killed").glob(".writing-*"))
    assert main([*words, str(tmp_path / "killed")]) == 0
    assert "1 rooms are finished already and kept" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "whole")]) == 0
    killed, whole = ({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.h5")}
                     for name in ("killed", "whole"))  # fmt: skip
    assert killed == whole and not list((tmp_path / "killed").glob(".writing-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path, number):
    script = f"""
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
from s3dis_seg.cli.prepare import _begin_worker

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _begin_worker)
    for slept in [pool.submit(time.sleep, 1) for _ in range(2)]:  # until both processes are there
        slept.result()
    pids = list(pool._processes)
    for _ in pids:
        pool.submit(time.sleep, 60)
    open({str(tmp_path / "pids")!r}, "w").write(" ".join(map(str, pids)))
    os.kill(os.getpid(), {int(number)})
"""
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], env=environment, timeout=60)
    assert done.returncode == -number
    pids, end = (tmp_path / "pids").read_text().split(), time.monotonic() + 10
    assert len(pids) == 2
    while time.monotonic() < end and any(map(_is_alive, pids)):
        time.sleep(0.05)
    assert not any(map(_is_alive, pids))


def _is_alive(pid):
    status = Path("/proc") / pid / "stat"
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_other_rooms_in_the_folder_are_pointed_out(release, tmp_path, capsys):
    prepare(release, "--out", tmp_path / "rooms", "--workers", 1)
    assert prepare(release / "Area_5", "--out", tmp_path / "rooms", "--workers", 1) == 0
    assert "also holds 2 rooms that are not part of" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["missing"], "missing does not exist"),
        (["{release}", "--workers", "0"], "--workers 0: expected 1 or more"),
        (["{release}", "--out", "{release}/rooms"], "which is never changed"),
        (["{release}", "--out", "{release}/Area_1/lounge_1/Annotations/door_1.txt/x"], "which is never changed"),
        (["{empty}"], "holds no rooms"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(release, tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    assert prepare(*(word.format(release=release, empty=tmp_path / "empty") for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_number_of_workers_that_is_none_is_told_in_words(capsys):
    with pytest.raises(SystemExit):
        prepare("release", "--workers", "foo")
    assert "'foo' is not an integer" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_an_error(release, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert prepare(release, "--out", tmp_path / "file/rooms", "--workers", 1) == 2
    assert "cannot write" in capsys.readouterr().err
