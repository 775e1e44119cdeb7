"""The package as it is installed: a wheel in an empty folder, and what a clone finds without an installation."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import s3dis_seg
from s3dis_seg.files import InputError
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT, find_checkpoint

CLONE = Path(__file__).resolve().parents[1]
SHIPPED = DEFAULT_CHECKPOINT


def python(script, folder, search):
    """Run Python in a folder with one entry before all others in its search path. -> what it prints"""
    environment = os.environ | {"PYTHONPATH": str(search)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built without network from a copy, so that the clone gets no build folder. -> Path"""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CLONE / name, source)
    for name in ("s3dis_seg", "checkpoints", "tests"):
        shutil.copytree(CLONE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def test_a_wheel_installed_into_an_empty_folder_finds_its_weights(wheel, tmp_path):
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    script = (
        "from s3dis_seg.models.shipped import find_checkpoint\n"
        f"print(find_checkpoint({SHIPPED!r}), find_checkpoint({SHIPPED + '.pt'!r}))"
    )
    found = target / "s3dis_seg" / "checkpoints" / f"{SHIPPED}.pt"
    assert python(script, elsewhere, target) == f"{found} {found}"
    assert found.read_bytes() == (CLONE / "checkpoints" / f"{SHIPPED}.pt").read_bytes()
    assert (target / "s3dis_seg" / "checkpoints" / "README.md").is_file()
    assert (target / "s3dis_seg" / "py.typed").is_file()
    assert not (target / "tests").exists()


def test_a_wheel_holds_every_module_and_nothing_of_the_tests(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(CLONE)) for path in (CLONE / "s3dis_seg").rglob("*.py")}
    assert modules <= inside
    assert {f"s3dis_seg/report/page.{kind}" for kind in ("html", "css", "js")} <= inside
    assert {name.split("/")[0] for name in inside} == {"s3dis_seg", f"s3dis_seg-{s3dis_seg.__version__}.dist-info"}


def test_the_version_is_written_down_once(wheel):
    assert wheel.name.startswith(f"s3dis_seg-{s3dis_seg.__version__}-")
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "CITATION.cff"):
        assert s3dis_seg.__version__ not in (CLONE / name).read_text().replace("cff-version: 1.2.0", "")


def test_a_clone_finds_its_weights_without_an_installation(tmp_path):
    script = f"from s3dis_seg.models.shipped import find_checkpoint; print(find_checkpoint({SHIPPED!r}))"
    assert python(script, tmp_path, CLONE) == str(CLONE / "checkpoints" / f"{SHIPPED}.pt")


def test_a_file_of_the_user_comes_before_shipped_weights_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(SHIPPED).touch()
    assert find_checkpoint(SHIPPED) == Path(SHIPPED)


def test_an_unknown_checkpoint_is_refused_with_the_names_of_those_shipped(tmp_path):
    with pytest.raises(InputError, match=f"there is no checkpoint nothing; .*{SHIPPED}"):
        find_checkpoint("nothing")
    with pytest.raises(InputError, match=r"is a folder; .*best\.pt"):
        find_checkpoint(tmp_path)


def test_type_checkers_see_the_same_names_as_the_program():
    """The imports under TYPE_CHECKING name each public name once, from the module that it comes from at run time."""
    tree = ast.parse(Path(s3dis_seg.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    assert typed == {name: f"s3dis_seg.{module}" for name, module in s3dis_seg._PUBLIC.items()}


def test_reading_las_files_needs_no_extra():
    settings = ConfigParser()
    settings.read(CLONE / "setup.cfg")
    assert "laspy[lazrs]" in settings["options"]["install_requires"]
    assert set(settings["options.extras_require"]) == {"cluster", "test"}
