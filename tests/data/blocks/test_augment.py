"""Augmentation: small, seeded, and one geometry for the points and the room around them."""

import numpy as np
import pytest

from s3dis_seg.data.blocks import augment as module
from s3dis_seg.data.blocks.augment import (
    augment,
    change_light,
    drop_colors,
    heights,
    jitter,
    mirroring,
    scaling,
    shift_colors,
    stretch_contrast,
    turn,
)


def a_block(rng, count=500):
    return rng.normal(size=(count, 3)), rng.integers(30, 200, (count, 3)).astype(np.uint8)


def test_an_augmented_block_is_the_linear_map_and_a_centimetre_of_noise():
    xyz, rgb = a_block(np.random.default_rng(0))
    for seed in range(20):
        moved, colors, linear = augment(xyz, rgb, np.random.default_rng(seed))
        assert np.abs(moved - xyz @ linear.T).max() <= 0.01 + 1e-12
        assert (colors.dtype, colors.shape) == (np.uint8, rgb.shape)
        x, y, z = np.linalg.norm(linear, axis=1)
        assert min(x, y) >= 0.9 and max(x, y) <= 1.1
        # z stays z, and may be scaled once more on its own.
        np.testing.assert_allclose(linear[2], [0, 0, z], atol=1e-12)
        np.testing.assert_allclose(linear[:2, 2], 0, atol=1e-12)
        assert 0.9 * 0.8 <= z <= 1.1 * 1.35


def test_every_other_block_is_scaled_in_height_alone():
    factors = np.array([np.diag(heights(np.random.default_rng(seed))) for seed in range(400)])
    assert (factors[:, :2] == 1).all()
    assert 0.4 < (factors[:, 2] != 1).mean() < 0.6
    assert 0.8 <= factors[:, 2].min() < 0.85 and 1.3 < factors[:, 2].max() <= 1.35


def test_the_same_seed_gives_the_same_block_and_leaves_the_input_alone():
    xyz, rgb = a_block(np.random.default_rng(1))
    before = xyz.copy(), rgb.copy()
    first, again, other = (augment(xyz, rgb, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again))
    assert (first[0] != other[0]).any()
    assert (xyz == before[0]).all()
    assert (rgb == before[1]).all()


def test_quarter_turns_are_exact_and_half_of_all():
    rng = np.random.default_rng(2)
    turns = [turn(rng) for _ in range(400)]
    quarters = [matrix for matrix in turns if set(np.abs(matrix).ravel()) <= {0.0, 1.0}]
    assert 140 < len(quarters) < 260
    assert len({matrix.round(3).tobytes() for matrix in quarters}) >= 4
    assert all(np.linalg.det(matrix) == pytest.approx(1) for matrix in turns)


def test_mirroring_and_scaling():
    rng = np.random.default_rng(3)
    assert {float(np.linalg.det(mirroring(rng))) for _ in range(30)} == {-1.0, 1.0}
    factors = np.array([np.diag(scaling(rng)) for _ in range(200)])
    assert 0.9 <= factors.min() < 0.93 < 1.07 < factors.max() <= 1.1
    assert (np.ptp(factors, axis=1) > 0).all()


def test_jitter_is_millimetres():
    noise = jitter(np.zeros((5000, 3)), np.random.default_rng(4))
    assert np.abs(noise).max() <= 0.01
    assert 0.003 < noise.std() < 0.005


def test_contrast_is_stretched_towards_the_full_range():
    rng = np.random.default_rng(5)
    _, rgb = a_block(rng)
    stretched = stretch_contrast(rgb, rng, probability=1)
    assert stretched.min() < rgb.min()
    assert stretched.max() > rgb.max()
    assert stretch_contrast(rgb, rng, probability=0) is rgb
    grey = np.full((10, 3), 77, np.uint8)
    assert stretch_contrast(grey, rng, probability=1).dtype == np.uint8


def test_half_of_the_blocks_are_seen_in_another_light():
    rgb = np.full((10, 3), 100, np.uint8)
    lights = np.array([change_light(rgb, np.random.default_rng(seed))[0, 0] for seed in range(400)])
    assert 0.4 < (lights != 100).mean() < 0.6
    assert 60 <= lights.min() < 65 and 125 < lights.max() <= 130
    assert change_light(np.full((10, 3), 250, np.uint8), np.random.default_rng(0)).dtype == np.uint8


def test_colours_shift_together_and_stay_in_range():
    rng = np.random.default_rng(6)
    _, rgb = a_block(rng)
    shift = shift_colors(rgb, rng).astype(int) - rgb
    assert shift.std(axis=0).max() < 2
    assert np.abs(shift.mean(axis=0)).max() < 13
    assert shift_colors(np.full((100, 3), 255, np.uint8), rng).max() <= 255
    assert shift_colors(np.zeros((100, 3), np.uint8), rng).max() < 40


def test_a_fifth_of_the_blocks_lose_their_colours():
    rng = np.random.default_rng(7)
    _, rgb = a_block(rng)
    dropped = sum(len(np.unique(drop_colors(rgb, rng))) == 1 for _ in range(500))
    assert 60 < dropped < 140
    assert (drop_colors(rgb, rng, probability=1) == module._GREY).all()
