"""The command as a whole: exit codes, one-sentence errors, and examples that can be typed as they stand."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from s3dis_seg import __version__
from s3dis_seg.cli.main import COMMANDS, main, parse

ROOT = Path(__file__).resolve().parents[2]


def commands_in(text):
    """Every `s3dis-seg ...` or `python tools/...` line of a text, continued lines joined. -> list of word lists."""
    text = text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        match = re.search(r"(?:^|\s|`)(?:s3dis-seg|python tools/)\s?([a-z].*?)(?:`|#|$)", line.strip())
        if match and line.strip().startswith(("s3dis-seg", "python tools/", "`s3dis-seg", "$ s3dis-seg")):
            words = shlex.split(match.group(1))
            words[0] = words[0].removesuffix(".py")
            found.append(words)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_parses(name):
    examples = commands_in(import_module(f"s3dis_seg.cli.{name}").__doc__)
    assert examples, f"{name} shows no example"
    for words in examples:
        assert words[0] in COMMANDS
        parse(words)


@pytest.mark.parametrize("path", ["README.md", "data/README.md", "checkpoints/README.md", "BENCHMARK.md"])
def test_every_command_in_the_documents_parses(path):
    for words in commands_in((ROOT / path).read_text()):
        assert words[0] in COMMANDS
        parse(words)


def test_an_unknown_option_ends_with_code_2_and_one_sentence(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["segment", "scan.ply", "--out", "out.ply", "--no-such-option"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "--no-such-option" in message and "s3dis-seg segment --help" in message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize("words", ["train --out run", "segment scan.ply --out out.ply", "evaluate", "demo"])
def test_a_seed_that_torch_cannot_take_is_one_sentence(words, capsys):
    parse([*words.split(), "--seed", str(2**64 - 1)])
    for seed in (2**64, 10**30):
        with pytest.raises(SystemExit) as stop:
            main([*words.split(), "--seed", str(seed)])
        assert stop.value.code == 2
        message = capsys.readouterr().err
        assert f"--seed: '{seed}' is more than {2**64 - 1}" in message and message.count("\n") == 1


def test_an_abbreviated_option_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "scan.ply", "--out", "out.ply", "--chec", "c.pt"])
    assert "--chec" in capsys.readouterr().err


def test_bad_input_ends_with_code_2_and_no_traceback(tmp_path, capsys):
    assert main(["segment", str(tmp_path / "absent.ply"), "--out", str(tmp_path / "o.ply")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "absent.ply" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_shown(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert "examples:" in capsys.readouterr().out


# `train --help` takes its defaults from the training package, which needs torch.
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_help_does_not_wait_for_torch(name):
    script = f"""
import sys
from s3dis_seg.cli.main import main
try:
    main([{name!r}, "--help"])
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"s3dis-seg {__version__}\n"
