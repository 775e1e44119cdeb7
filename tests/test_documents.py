"""Every command in the documents can be typed as it stands, and those of the three users do what they say."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s3dis_seg.cli.main import COMMANDS, main, parse
from s3dis_seg.data.rooms.prepared import RoomFile, write_room
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.synthetic.rooms import synthetic_room, write_release

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "data/*.md", "checkpoints/*.md")
    for path in ROOT.glob(pattern)
)
WITH_COMMANDS = {"README.md", "BENCHMARK.md", "data/README.md", "checkpoints/README.md"} | {
    f"docs/{name}.md" for name in ("own-scan", "own-classes", "corrections", "training", "looking", "depth")
}


def commands_in(text):
    """Every `s3dis-seg ...` and `python tools/NAME.py ...` of a text, in blocks of code and within sentences.

    Continued lines are joined, comments cut off. -> list of lists of words, the command first
    """
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in [*lines, *(" ".join(piece.split()) for piece in inline)]:
        match = re.search(r"(?:^|\$ |^torchrun .*)(?:s3dis-seg|(?:python )?tools/(?=\w+\.py)) ?(\S.*)$", line.strip())
        if match:
            words = shlex.split(match[1], comments=True)
            words[0] = words[0].removesuffix(".py")
            found.append(words)
    return found


def is_a_command(words):
    """Not a mere mention such as `s3dis-seg train` or `s3dis-seg --help`, nor the tools that are no commands."""
    return len(words) > 1 and not words[0].startswith("-") and words[0] not in ("fuzz", "fine_tuning")


def test_commands_are_found_wherever_they_stand():
    text = (
        "Say `s3dis-seg view a.ply`, or\n`s3dis-seg train\n--resume --out r`.\n\n"
        "```\ns3dis-seg segment \\\n  a.ply # now\n"
        "$ s3dis-seg demo\ntorchrun --nproc-per-node 2 tools/train.py --data r\n```\n"
    )
    assert commands_in(text) == [
        ["segment", "a.ply"],
        ["demo"],
        ["train", "--data", "r"],
        ["view", "a.ply"],
        ["train", "--resume", "--out", "r"],
    ]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_command_in_the_documents_parses(path):
    commands = [words for words in commands_in((ROOT / path).read_text()) if is_a_command(words)]
    assert commands or path not in WITH_COMMANDS, f"{path} should show commands, and none was found"
    for words in commands:
        assert words[0] in COMMANDS
        parse(words)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_link_to_a_file_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / path).read_text()):
        if "://" not in target:
            assert (ROOT / path).parent.joinpath(target).exists(), target


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder as the documents suppose it: the release under data/ (synthetic), scan.ply, and a folder of scans."""
    folder = tmp_path_factory.mktemp("user")
    release = folder / "data" / "Stanford3dDataset_v1.2_Aligned_Version"
    write_release(release, {f"Area_{area}": 1 for area in range(1, 7)}, seed=3, density=60.0)
    return folder


# What makes a command small enough for a test; a later flag wins over an earlier one.
SMALL = {
    "train": "--model resgcn7 --blocks 2 --channels 8 --k 4 --num-points 64 --epochs 1 --batch-size 4 --seed 1",
    "segment": "--stride 1.0",
    "evaluate": "--stride 1.0",
}


def run(words):
    """Run a command of a document in its small form."""
    words = [*words, *shlex.split(SMALL.get(words[0], ""))]
    if words[0] == "view" and ("--views" in words or (len(words) > 2 and not words[2].startswith("-"))):
        return 0  # two scans, and views kept by a key, need a window; tests/view opens it
    if words[0] == "view" and not {"--save", "--video"} & set(words):
        words += ["--save", "picture.png"]  # no window opens in a test
    assert main(words) == 0, words


def test_the_commands_of_the_three_users_run(user, monkeypatch, capsys):
    monkeypatch.chdir(user)
    commands = [words for words in commands_in((ROOT / "README.md").read_text()) if is_a_command(words)]
    by_name = {name: [words for words in commands if words[0] == name] for name in COMMANDS}

    [prepare] = by_name["prepare"]
    run(prepare)
    room = RoomFile(next(Path("data/rooms").glob("Area_5_*.h5"))).room()
    columns = {"classification": room.labels}
    write_scan("scan.ply", Scan(xyz=room.xyz + room.offset, rgb=room.rgb, columns=columns))

    run(next(words for words in by_name["train"] if "--resume" not in words))
    for name in ("evaluate", "segment", "view"):
        assert by_name[name]
        for words in by_name[name]:
            run(words)
    assert Path("scores/area5/scores.json").is_file() and Path("panels.png").is_file()
    assert len(np.unique(np.fromfile("segmented.ply", np.uint8))) > 1


MY_LABELS = np.array([10, 2, 6, 6, 6, 20, 21, 64, 65, 66, 30, 70, 0])  # what the page's scans have for S3DIS's classes
FINE_TUNED = "--num-points 256 --block-size 2 --grid 0.1 --epochs 1 --epoch-blocks 8 --statistics-blocks 4"


def test_the_commands_about_own_classes_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, path in enumerate(("scans/hall.ply", "scans/office.ply", "new.ply")):
        room = synthetic_room(seed, density=30.0)
        labels = MY_LABELS[room.labels].astype(np.uint8)
        write_scan(path, Scan(xyz=room.xyz + room.offset, rgb=room.rgb, columns={"my_label": labels}))
    text = (ROOT / "docs" / "own-classes.md").read_text()
    [class_file] = [block for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S) if "ignore" in block]
    commands = [words for words in commands_in(text) if is_a_command(words)]
    assert [words[0] for words in commands[:3]] == ["prepare"] * 3 and "score" in [words[0] for words in commands]
    for words in commands:
        if words[0] == "train":
            assert main([*words, *shlex.split(FINE_TUNED)]) == 0
        else:
            run(words)
        if "--write-classes" in words:
            assert "class 64" in Path("classes.txt").read_text()
            Path("classes.txt").write_text(class_file)
    assert "furniture" in capsys.readouterr().out
    assert Path("scores/hall/scores.json").is_file() and Path("rooms-of-hall/hall_val.h5").is_file()


def test_the_commands_about_corrections_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    room = synthetic_room(0, density=30.0)
    write_scan("scan.ply", Scan(xyz=room.xyz.astype(np.float64), rgb=room.rgb))
    write_room(replace(room, name="Area_1_office_1"), "data/rooms")
    commands = [words for words in commands_in((ROOT / "docs" / "corrections.md").read_text()) if is_a_command(words)]
    for words in commands:
        if words[0] == "train":
            assert main([*words, "--num-points", "256", "--block-size", "2", "--grid", "0.1"]) == 0
        elif (words[0] == "review" and len(words) > 2) or words[0] in ("segment", "export", "prepare"):
            run(words)
    printed = capsys.readouterr().out
    assert "wall now: " in printed and "clutter now: " in printed
    assert Path("again.ply").is_file() and Path("corrected.ply").is_file() and Path("parts").is_dir()


def test_the_commands_of_the_other_pages_run(user, monkeypatch, capsys):
    monkeypatch.chdir(user)
    run(["segment", "scan.ply", "--out", "segmented.ply"])
    pages = [(ROOT / "docs" / f"{page}.md").read_text() for page in ("looking", "own-scan", "training")]
    commands = [words for page in pages for words in commands_in(page)]
    assert sum(words[0] == "score" for words in commands) >= 2
    for words in commands:
        if words[0] in ("view", "score", "report") or "--report" in words:
            run(words)
    run(["train", "--resume", "--out", "runs/area5"])
    for name in ("train", "evaluate"):
        [folds] = [words for words in commands if words[0] == name and "--folds" in words]
        run([*folds, "--statistics-blocks", "0"] if name == "train" else folds)
    assert Path("runs/six/scores/scores.csv").is_file() and Path("scores/folds/scores.csv").is_file()
    [calibrate] = [words for words in commands if words[0] == "calibrate"]
    run(calibrate)
    assert Path("calibration.png").is_file()
