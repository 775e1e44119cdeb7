"""Files appear whole or not at all, and only where a file may be."""

import os

import pytest

from s3dis_seg.files import InputError, replacing


def write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to(tmp_path / "file.txt")
    write(tmp_path / "link.txt", "after")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file.txt").read_text() == "after"


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="is a pipe or a device"):
        write(tmp_path / "pipe.txt", "text")
    assert (tmp_path / "pipe.txt").is_fifo()


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    (tmp_path / "file.txt").write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "before"
