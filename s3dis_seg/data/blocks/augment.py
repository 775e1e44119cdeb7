"""Data augmentation: blocks are turned, mirrored, scaled, made noisier and recoloured during training.

The published recipe has none of this. `augment` gets the points of a block before their nine channels are computed.
The origin of these coordinates is the centre of the block at the floor of its frame. `augment` also returns its linear
map, which `features.moved_frame` applies to the box of the room. So the channels are those of a block cut from a
turned room; turned x, y never meet unturned places in the room. The square footprint of a block turns with it.

Letters: N points a block.
"""

import numpy as np

_JITTER = 0.005  # metres
_MOST_JITTER = 0.01
_GREY = 128  # what scans without colours get


def augment(xyz, rgb, rng):
    """Augment one block at random.

    xyz: (N, 3) metres from the centre of the block; rgb: (N, 3) uint8. -> xyz (N, 3), rgb (N, 3) uint8,
    and the (3, 3) linear map of the coordinates, without the jitter.
    """
    linear = heights(rng) @ scaling(rng) @ mirroring(rng) @ turn(rng)
    xyz = jitter(xyz @ linear.T, rng)
    rgb = drop_colors(shift_colors(change_light(stretch_contrast(rgb, rng), rng), rng), rng)
    return xyz, rgb, linear


def turn(rng, any_angle=0.5):
    """A turn about z: with probability `any_angle` by any angle, else by a multiple of 90 degrees. -> (3, 3).

    Rooms of S3DIS are aligned with the axes, and multiples of 90 degrees keep this. Other scans are not aligned.
    """
    if rng.random() >= any_angle:
        return quarter_turns(rng.integers(4))
    angle = rng.uniform(0, 2 * np.pi)
    return _about_z(np.cos(angle), np.sin(angle))


def quarter_turns(number):
    """A turn about z by `number` times 90 degrees. -> (3, 3)."""
    # Written out, because np.cos(np.pi / 2) is not exactly 0.
    return _about_z(*[(1, 0), (0, 1), (-1, 0), (0, -1)][number % 4])


def _about_z(cosine, sine):
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def mirroring(rng):
    """x mirrored with probability 0.5. -> (3, 3)."""
    return np.diag([rng.choice((-1.0, 1.0)), 1.0, 1.0])


def scaling(rng, most=0.1):
    """A factor for each axis, 0.9 to 1.1. -> (3, 3)."""
    return np.diag(rng.uniform(1 - most, 1 + most, 3))


def heights(rng, low=0.8, high=1.35, probability=0.5):
    """Heights scaled on their own with probability 0.5, so that a network meets rooms of 2 to 5 m. -> (3, 3)."""
    return np.diag([1.0, 1.0, rng.uniform(low, high) if rng.random() < probability else 1.0])


def jitter(xyz, rng):
    """Noise of 5 mm, at most 1 cm, on every coordinate. (N, 3) -> (N, 3)."""
    return xyz + np.clip(rng.normal(0, _JITTER, xyz.shape), -_MOST_JITTER, _MOST_JITTER)


def stretch_contrast(rgb, rng, probability=0.2):
    """With probability 0.2, colours blended with their stretch to the full range. (N, 3) uint8 -> the same."""
    if rng.random() >= probability:
        return rgb
    low, high = rgb.min(axis=0).astype(np.float32), rgb.max(axis=0).astype(np.float32)
    stretched = (rgb - low) * (255 / np.maximum(high - low, 1))
    share = rng.random()
    return _as_colors((1 - share) * rgb + share * stretched)


def change_light(rgb, rng, low=0.6, high=1.3, probability=0.5):
    """With probability 0.5, colours as in darker or brighter light: times 0.6 to 1.3. (N, 3) uint8 -> the same."""
    return _as_colors(rgb * rng.uniform(low, high)) if rng.random() < probability else rgb


def shift_colors(rgb, rng):
    """One shift of up to 5 % for each colour channel, and noise of 0.5 % for each point. (N, 3) uint8 -> the same."""
    return _as_colors(rgb + rng.uniform(-12.75, 12.75, 3) + rng.normal(0, 1.275, rgb.shape))


def drop_colors(rgb, rng, probability=0.2):
    """Every fifth block becomes grey, so that the network learns to do without colours. (N, 3) uint8 -> the same."""
    return np.full_like(rgb, _GREY) if rng.random() < probability else rgb


def _as_colors(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
