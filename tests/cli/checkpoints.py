"""A checkpoint and a scan that the tests of several commands segment."""

import numpy as np
import torch

import s3dis_seg as s3
from s3dis_seg.data.scans import Scan, write_scan
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint


def save_small(path, licence):
    """Write a tiny network with blocks of 256 points under that licence. -> path"""
    torch.manual_seed(0)
    model = s3.create_model("resgcn7", blocks=2, channels=8, k=4)
    settings = s3.BlockSettings(num_points=256, grid=0.02, tallest=3.0)
    save_checkpoint(path, model, Card("resgcn7", model.config, blocks=settings, provenance={"licence": licence}))
    return path


def write_small_scan(path):
    """Write a box of 1,500 coloured points, which `save_small` labels in a moment. -> path"""
    rng = np.random.default_rng(0)
    xyz = (rng.random((1500, 3)) * (2.2, 1.4, 2.5)).astype(np.float32)
    write_scan(path, Scan(xyz, rng.integers(1, 256, (1500, 3)).astype(np.uint8)))
    return path
