"""A checkpoint that the tests of several commands segment with."""

import torch

import s3dis_seg as s3
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint


def save_small(path, licence):
    """Write a tiny network with blocks of 256 points under that licence. -> path"""
    torch.manual_seed(0)
    model = s3.create_model("resgcn7", blocks=2, channels=8, k=4)
    settings = s3.BlockSettings(num_points=256, grid=0.02, tallest=3.0)
    save_checkpoint(path, model, Card("resgcn7", model.config, blocks=settings, provenance={"licence": licence}))
    return path
