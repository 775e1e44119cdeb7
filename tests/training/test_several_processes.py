"""Two processes started by torchrun train as one does: in float64, with dropout off."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch was built without torch.distributed"
)
CASES = {"edge": 1, "mr": 2}  # convolution -> parts of a step

# Run by two processes, and by the test itself as one.
SCRIPT = f"""
import torch
import torch._dynamo  # before the group, which it would keep otherwise; see team_of
from s3dis_seg.training import TrainConfig, train


def train_all(rooms, out):
    torch.set_default_dtype(torch.float64)
    for conv, accumulate in {CASES}.items():
        config = TrainConfig(
            data=rooms, train_rooms=("Area_1_office_1", "Area_1_office_2"), val_rooms=("Area_2_office_1",),
            overrides=dict(blocks=3, channels=8, k=4, epsilon=0.5, dropout=0.0, conv=conv),
            num_points=128, epochs=2, batch_size=8, accumulate=accumulate, statistics_blocks=8, class_weights="sqrt",
        )
        train(config, f"{{out}}/{{conv}}", device="cpu", workers=0)


if __name__ == "__main__":
    import sys
    torch.distributed.init_process_group("gloo")  # one for all runs: making several in a row is a race in torch
    train_all(*sys.argv[1:])
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for seed, name in enumerate(("Area_1_office_1", "Area_1_office_2", "Area_2_office_1")):
        rng = np.random.default_rng(seed)
        xyz = rng.uniform(0, 2, (1500, 3))
        labels = rng.integers(0, 13, 1500)
        labels[xyz[:, 0] < 1] = 255  # blocks, and so processes, differ in how many points count
        write_room(room_of(name, xyz, rng.integers(0, 256, (1500, 3)), labels), folder)
    return str(folder)


@pytest.fixture(scope="module")
def runs(rooms, tmp_path_factory):
    """The folders of the same runs by one process and by two."""
    folder = tmp_path_factory.mktemp("runs")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    two = subprocess.Popen(
        [sys.executable, *launcher, str(script), rooms, str(folder / "two")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    before, scope = torch.get_default_dtype(), {"__name__": "script"}
    try:
        exec(SCRIPT, scope)
        scope["train_all"](rooms, folder / "one")
    finally:
        torch.set_default_dtype(before)
        output = _output(two)
    assert two.returncode == 0, output[-4000:]
    return folder / "one", folder / "two"


def _output(process, seconds=120):
    try:
        return process.communicate(timeout=seconds)[0]
    finally:
        process.terminate()  # torchrun takes its children along


@pytest.mark.parametrize("conv", CASES)
def test_two_processes_are_as_good_as_one(runs, conv):
    one, two = (load_checkpoint(folder / conv / "last.pt")[0].state_dict() for folder in runs)
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    one, two = (load_training_state(folder / conv / "last.pt")["progress"]["history"] for folder in runs)
    assert len(one) == len(two) == 2
    for a, b in zip(one, two):
        for key in ("steps", "train_loss", "train_oa", "val_loss", "val_miou", "val_oa"):
            assert a[key] == pytest.approx(b[key], rel=1e-9), key


THREADS = """
import gc, os
import torch
from pathlib import Path
from s3dis_seg.training.processes import team_of

with team_of("cpu") as team:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.sum().backward()
    torch.optim.AdamW([weight]).step()
    team.wait()
    del team
gc.collect()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in names if "gloo" in name], names
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed by Linux only")
def test_no_thread_of_the_process_group_is_left_to_abort_the_exit(tmp_path):
    (tmp_path / "script.py").write_text(THREADS)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "script.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr[-2000:]
