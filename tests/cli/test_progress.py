"""Progress: a bar on a terminal, rare lines in a log."""

import sys

import pytest
from tqdm import tqdm

from s3dis_seg.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """The time that progress sees; set clock.now."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_log_gets_at_most_one_line_a_minute(clock, capsys):
    with progress.bar(1000, "blocks") as bar:
        bar.set_description("epoch 1/4")
        for _ in range(300):  # 150 seconds
            clock.now += 0.5
            bar.update(1)
            bar.set_postfix_str("loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "epoch 1/4: 120 of 1,000 blocks, 60 s, about 7 min left, loss 0.5",
        "epoch 1/4: 240 of 1,000 blocks, 2 min, about 6 min left, loss 0.5",
    ]
    assert bar.n == 300


def test_short_work_leaves_nothing_in_a_log(capsys):
    with progress.bar(3, "rooms") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_what_was_done_before_does_not_count_for_the_time_left(clock, capsys):
    with progress.bar(200, "blocks", initial=100) as bar:
        clock.now += 60
        bar.update(50)
    assert capsys.readouterr().err == "150 of 200 blocks, 60 s, about 60 s left\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.bar(3, "rooms") as bar:
        assert isinstance(bar, tqdm)


def test_quiet_shows_nothing(capsys):
    with progress.bar(3, "rooms", quiet=True) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "seconds, text",
    [(0.24, "0.2 s"), (9.96, "10 s"), (99, "99 s"), (100, "2 min"), (5400, "90 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_a_job_of_several_files_is_one_bar_in_shares_of_the_expected_time(capsys):
    job = progress.Job([100, 100, 200])
    job.begin(1.0, {"network": 8.0, "writing": 1.0})  # 10 s for the first, so 40 s for all
    assert job.bar.n == pytest.approx(2.5)
    job.at("network", 0.5)
    assert job.bar.n == pytest.approx(12.5)
    job.at("writing", 1.0)
    job.finish(1)
    assert job.bar.n == pytest.approx(25)
    job.finish(2)  # the second could not be read: it took no time
    job.begin(0.0, {"network": 10.0, "writing": 10.0})
    job.at("writing", 0.0)
    job.at("network", 0.0)  # a bar never goes back
    assert job.bar.n == pytest.approx(100 * 20 / 30)
    job.finish(3)
    assert job.bar.n == pytest.approx(100) and capsys.readouterr().err == ""


def test_the_time_left_of_a_job_leaves_out_what_was_done_before_its_bar(clock, capsys):
    job = progress.Job([7])
    job.begin(60.0, {"network": 120.0, "writing": 0.0})
    clock.now += 60
    job.at("network", 0.5)
    assert capsys.readouterr().err == "network: 67 of 100 %, 60 s, about 60 s left\n"


def test_a_job_that_never_began_ends_in_silence(capsys):
    progress.Job([0, 0]).finish(2)
    assert capsys.readouterr() == ("", "")
