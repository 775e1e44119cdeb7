import subprocess
import sys

import pytest

from s3dis_seg.cli import demo
from s3dis_seg.cli.main import main, parse


@pytest.fixture
def commands(monkeypatch):
    """The demo with few points and without running its commands: they are parsed. -> list that they are added to"""
    lines = []
    monkeypatch.setattr(demo, "DENSITY", 30.0)
    monkeypatch.setattr(demo, "_command", lambda line: lines.append(parse(demo.shlex.split(line))))
    monkeypatch.setattr(demo, "_write_unseen_room", lambda rooms, path: None)
    return lines


def test_the_demo_runs_six_commands_and_says_what_each_is_for(commands, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo in a folder")]) == 0
    assert len(commands) == 6
    said = capsys.readouterr().out
    assert [f"Step {number} of 7:" in said for number in range(1, 8)] == [True] * 7
    assert len(list((tmp_path / "demo in a folder" / "synthetic").glob("Area_*/*"))) == sum(demo.ROOMS.values())


def test_a_second_demo_replaces_the_first_but_no_other_folder(commands, tmp_path, capsys):
    for _ in range(2):
        assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for name, said in (("mine", "files that are not of an earlier demo"), ("file", "is a file")):
        assert main(["demo", "--out", str(tmp_path / name)]) == 2
        message = capsys.readouterr().err
        assert said in message
        assert message.rstrip().endswith("name a new folder with --out")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_help_imports_nothing_that_takes_long():
    script = (
        "import sys; from s3dis_seg.cli.main import main\n"
        "try: main(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'h5py', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
