"""BatchNorm over rows does what torch's own module does."""

import pytest
import torch

from s3dis_seg.graph.batch_norm import batch_norm


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_it_is_batch_norm_1d_in_values_and_statistics(momentum):
    torch.manual_seed(0)
    ours, theirs = (torch.nn.BatchNorm1d(5, momentum=momentum).double() for _ in range(2))
    for _ in range(3):
        rows = torch.randn(40, 5, dtype=torch.float64)
        assert torch.allclose(batch_norm(rows, ours), theirs(rows), rtol=1e-12)
    for name, value in theirs.named_buffers():
        assert torch.allclose(ours.get_buffer(name), value, rtol=1e-12), name
    assert torch.allclose(batch_norm(rows, ours.eval()), theirs.eval()(rows), rtol=1e-12)
    assert ours.num_batches_tracked == 3
