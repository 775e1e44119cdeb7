"""Two processes that share their BatchNorm statistics compute what one computes."""

import subprocess
import sys

# Each process takes half of the clouds; the first compares with all of them on its own.
SCRIPT = """
import sys, torch, torch.distributed as dist
from s3dis_seg.models.convolutions import DEFINITION, FAST
from s3dis_seg.models.zoo import create_model

def two_steps(operations, conv, x, group):
    torch.manual_seed(1)
    model = create_model("resgcn28", blocks=4, channels=6, k=3, dropout=0.0, epsilon=0.5, conv=conv).double()
    model.operations, model.process_group = operations, group
    torch.nn.init.normal_(model.backbone[1].norm.weight)
    for step in range(2):
        model.zero_grad()
        logits = model(x)
        logits.square().mean().backward()
    results = {"logits of " + str(i): cloud for i, cloud in enumerate(logits.detach())}
    results |= dict(model.named_buffers())
    results |= {"gradient of " + key: parameter.grad for key, parameter in model.named_parameters()}
    return results

rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
x = torch.rand(4, 30, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
for name, operations in (("fast", FAST), ("definition", DEFINITION)):
    for conv in ("edge", "mr"):
        found = two_steps(operations, conv, x.chunk(2)[rank], dist.group.WORLD)
        for key, value in found.items():
            if key.startswith("gradient"):
                dist.all_reduce(value)
                value /= 2
        if rank == 0:
            wanted = two_steps(operations, conv, x, None)
            for key, value in found.items():
                torch.testing.assert_close(
                    value, wanted[key], rtol=1e-9, atol=1e-9, msg=lambda text: f"{name} {conv} {key}: {text}"
                )
# The first to leave must not tear down what the other still uses.
dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes_equal_one_in_values_gradients_and_statistics(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    processes = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")]) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
