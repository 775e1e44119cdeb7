"""The nine channels of a block: the one definition that training and segmentation share.

Letters: B blocks, N points a block.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

_THINNEST = 0.01  # metres: an extent under this says nothing about where in the room a point lies


@dataclass(frozen=True)
class Frame:
    """The box that stands for "the room" in the last three channels. origin, extent: (3,) float64, metres."""

    origin: np.ndarray
    extent: np.ndarray


def frame_of(source, center_xy, frame_size, z_range=None):
    """The frame of a block whose centre is `center_xy`. source: a Cloud or RoomPoints. -> Frame.

    On x and y it is a square of side `frame_size` about the centre, moved and shortened to stay within the cloud. On z
    it reaches from floor to ceiling (0.1 and 99.9 percentile) of the cells that touch this square, counting only the
    points in `z_range` where that is given. So a room smaller than `frame_size` has its own box, as published, and a
    large hall still gets numbers that the network has seen. frame_size = math.inf takes the plain minimum and maximum
    of the cloud, DeepGCN's definition.
    """
    hi = np.asarray(source.hi, np.float64)
    origin, side = _frame_square(np.asarray(center_xy, np.float64), frame_size, np.zeros(2), hi[:2])
    low, high = (-math.inf, math.inf) if z_range is None else z_range
    if math.isinf(frame_size):
        floor, ceiling = max(low, 0.0), min(high, hi[2])
    else:
        floor, ceiling = source.profile.range(source.cells.runs(origin, origin + side), low, high)
    return Frame(np.array([*origin, floor]), np.array([*side, ceiling - floor]))


def moved_frame(frame, center_xy, hi, frame_size, linear):
    """The frame of a block whose room was turned, mirrored or scaled about the block's centre and the frame's floor.

    linear: (3, 3), what was done to the coordinates; hi: (3,), the corner of the room opposite to (0, 0, 0).
    -> Frame in coordinates whose origin is the centre of the block at the frame's floor. Exact for a room that fills
    its box: the box of the turned room is the box of its turned corners.
    """
    corners = np.array([(0.0, 0.0), (hi[0], 0.0), (0.0, hi[1]), (hi[0], hi[1])]) - center_xy
    corners = corners @ linear[:2, :2].T
    origin, side = _frame_square(np.zeros(2), frame_size, corners.min(axis=0), corners.max(axis=0))
    return Frame(np.array([*origin, 0.0]), np.array([*side, frame.extent[2] * linear[2, 2]]))


def _frame_square(center, frame_size, low, high):
    """A square of side `frame_size` about a centre, kept within low..high. -> origin (2,), side (2,)."""
    side = np.minimum(frame_size, high - low)
    return np.clip(center - frame_size / 2, low, high - side), side


def block_features(xyz, rgb, center_xy, frame):
    """(N, 3) metres, (N, 3) uint8 -> (N, 9) float32.

    0, 1: x, y from the centre of the block; 2: z from the floor of the frame; 3:6: colour in 0..1;
    6:9: place within the frame in 0..1, 0 along an axis on which the frame is under 1 cm.
    """
    xyz = np.asarray(xyz, np.float64)
    features = np.empty((*xyz.shape[:-1], 9), np.float32)
    features[..., :3] = xyz - np.array([*center_xy, frame.origin[2]])
    features[..., 3:6] = np.asarray(rgb, np.float32) / np.float32(255)
    thick = frame.extent >= _THINNEST
    features[..., 6:] = np.clip((xyz - frame.origin) / np.where(thick, frame.extent, 1.0), 0.0, 1.0) * thick
    return features


def normalize(blocks, name):
    """What a checkpoint asks for on top of `block_features`. (..., N, 9) tensor or array -> the same shape and kind.

    "none": nothing. "official": xyz of each block minus their mean, divided by the largest absolute value and
    multiplied by 0.999999 (NormalizeScale in the authors' PyTorch code), the other channels as they are.
    """
    if name == "none":
        return blocks
    if name != "official":
        raise ValueError(f"unknown normalization {name!r}; there are 'none' and 'official'")
    if isinstance(blocks, np.ndarray):
        return normalize(torch.from_numpy(blocks), name).numpy()
    xyz = blocks[..., :3] - blocks[..., :3].mean(dim=-2, keepdim=True)
    largest = xyz.abs().amax(dim=(-2, -1), keepdim=True)
    # All points equal: nothing to scale.
    scale = torch.where(largest > 0, 0.999999 / largest, torch.ones_like(largest))
    return torch.cat([xyz * scale, blocks[..., 3:]], dim=-1)
