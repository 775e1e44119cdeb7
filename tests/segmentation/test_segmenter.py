"""Segmenting scans, mostly with networks whose answer is known: they read the class from a channel of the block."""

import tracemalloc

import numpy as np
import pytest
import torch

import s3dis_seg as s3
from s3dis_seg.data.blocks import cloud as cloud_module
from s3dis_seg.data.blocks.cloud import Cloud
from s3dis_seg.data.blocks.columns import column_corners, column_points, draws
from s3dis_seg.data.blocks.features import block_features, frame_of, moved_frame
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms import cells
from s3dis_seg.files import InputError
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.segmentation import (
    Segmenter,
)
from s3dis_seg.segmentation import (
    network as network_stage,
)
from s3dis_seg.segmentation import (
    segmenter as stages,
)
from s3dis_seg.segmentation import (
    votes as votes_stage,
)


class ByRed(torch.nn.Module):
    """The class of a point is its red value: what comes back must be what each point was given."""

    def forward(self, features):
        red = (features[..., 3] * 255).round().long()
        return 8.0 * torch.nn.functional.one_hot(red.clamp(0, 12), 13)


class ByPlace(torch.nn.Module):
    """An answer that differs from block to block, so that sums over blocks show."""

    def forward(self, features):
        of_block = features.mean(dim=1, keepdim=True)
        return torch.cat(
            [3 * features + torch.sin(9 * features), 20 * of_block[..., 3:7].expand_as(features[..., :4])], -1
        )


class Recorder(torch.nn.Module):
    """Keeps the blocks that it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, features):
        self.shown.append(features.clone())
        return torch.zeros(*features.shape[:2], 13)


def segmenter_of(model, num_points=256, grid=0.0, tallest=None, frame_size=8.0, normalization="none", **options):
    settings = BlockSettings(num_points, 1.0, grid, frame_size, tallest, normalization)
    return Segmenter(model, Card(None, None, blocks=settings), device="cpu", **options)


def scan_of(count=6000, size=(3.3, 2.2, 2.5), seed=0):
    rng = np.random.default_rng(seed)
    xyz = np.round(rng.random((count, 3)) * size, 4)  # as the segmenter rounds them
    rgb = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    rgb[:, 0] = rng.integers(0, 13, count)
    return xyz, rgb


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = s3.create_model("resgcn7", blocks=3, channels=8, k=4)
    return model, Card("resgcn7", model.config, blocks=BlockSettings(num_points=256, grid=0.02, tallest=3.0))


# --- every point ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"stride": 1.0}, {"passes": 3}, {"batch_size": 7}, {"seed": 5}], ids=str)
def test_every_point_gets_what_the_network_says_about_it(options):
    xyz, rgb = scan_of()
    result = segmenter_of(ByRed(), **options)(xyz, rgb, probabilities=True)
    np.testing.assert_array_equal(result.predictions, rgb[:, 0])
    assert result.predictions.dtype == np.uint8 and result.confidence.dtype == np.float32
    assert (result.confidence > 0.99).all() and (result.confidence <= 1).all()
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert result.warnings == []


def test_thinned_points_lend_their_label_to_the_points_beside_them():
    xyz, rgb = scan_of(500)
    crowded = np.concatenate([xyz, xyz + 0.001, xyz - 0.001])
    result = segmenter_of(ByRed(), num_points=64, grid=0.25)(crowded, np.tile(rgb, (3, 1)))
    cloud = Cloud.of((crowded - crowded.min(axis=0)).astype(np.float32), np.tile(rgb, (3, 1)), 0.25)
    assert len(cloud.xyz) < 500
    np.testing.assert_array_equal(result.predictions, cloud.rgb[cloud.owner, 0])


def test_each_point_votes_once_a_pass_in_every_column_it_lies_in(monkeypatch):
    xyz, rgb = scan_of(size=(3.0, 2.0, 2.5))
    votes = []
    monkeypatch.setattr(votes_stage.Band, "add", lambda band, ids, probabilities: votes.append(ids))
    segmenter = segmenter_of(ByRed(), stride=1.0, passes=2)
    plan = segmenter.plan(xyz, rgb)
    segmenter.run(plan)
    counts = np.bincount(np.concatenate(votes), minlength=len(xyz))
    corners = column_corners(plan.cloud.cells, plan.cloud.hi, 1.0, 1.0)
    times = sum(
        ((plan.cloud.xyz[:, :2] >= low) & (plan.cloud.xyz[:, :2] <= low + 1 + 1e-6)).all(axis=1) for low in corners
    )
    np.testing.assert_array_equal(counts, 2 * times)
    assert (times >= 1).all()


@pytest.mark.parametrize("size", [(9.0, 1.5, 2.0), (1.5, 9.0, 2.0)], ids=["along x", "along y"])
def test_bands_give_what_sums_over_the_whole_scan_give(size):
    xyz, rgb = scan_of(size=size)
    segmenter = segmenter_of(ByPlace(), passes=2)
    result = segmenter(xyz, rgb, probabilities=True)

    cloud = Cloud.of((xyz - xyz.min(axis=0)).astype(np.float32), rgb, 0)
    sums = np.zeros((len(xyz), 13))
    for number, corner in enumerate(column_corners(cloud.cells, cloud.hi, 1.0, 0.5)):
        points, center = column_points(cloud, corner, 1.0, 256), corner + 0.5
        for turn in range(2):
            for places, votes in zip(*draws(points.num_inside, 256, np.random.default_rng((0, turn, number)))):
                xyz_, frame = points.xyz[places], frame_of(cloud, center, 8.0)
                if turn == 1:  # the second pass sees the block turned by 90 degrees: (x, y) -> (-y, x)
                    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
                    xyz_ = (xyz_ - [*center, frame.origin[2]]) @ quarter.T
                    frame = moved_frame(frame, center, cloud.hi, 8.0, quarter)
                features = block_features(xyz_, points.rgb[places], (0, 0) if turn else center, frame)
                said = segmenter.model(torch.from_numpy(features)[None])[0].softmax(dim=-1).numpy()
                np.add.at(sums, points.ids[places[votes]], said[votes])
    mean = (sums / sums.sum(axis=1, keepdims=True))[cloud.owner]
    np.testing.assert_allclose(result.probabilities, mean, atol=1e-6)
    np.testing.assert_array_equal(result.predictions, result.probabilities.argmax(axis=1))
    np.testing.assert_allclose(result.confidence, mean.max(axis=1), atol=1e-6)


def test_a_band_never_holds_more_than_a_column_needs(monkeypatch):
    most = []
    move_to = votes_stage.Band.move_to

    def watched(band, low, high):
        move_to(band, low, high)
        most.append(len(band.ids))

    monkeypatch.setattr(votes_stage.Band, "move_to", watched)
    segmenter_of(ByRed())(*scan_of(size=(20.0, 1.0, 2.0)))
    assert max(most) < 6000 * 1.5 / 20


# --- determinism ------------------------------------------------------------------------------------------------------


def test_no_bit_depends_on_the_batch_size(network):
    model, card = network
    xyz, rgb = scan_of(1500)
    results = [Segmenter(model, card, "cpu", batch_size=size)(xyz, rgb, probabilities=True) for size in (1, 5)]
    for other in results[1:]:
        np.testing.assert_array_equal(other.probabilities, results[0].probabilities)
        np.testing.assert_array_equal(other.confidence, results[0].confidence)


def test_sparse_points_are_labelled_alike_whatever_the_batch_size():
    (xyz, rgb), (far, colors) = scan_of(), scan_of(300, size=(400.0, 200.0, 2.5), seed=1)
    xyz, rgb = np.concatenate([xyz, far + np.array([5, 5, 0])]), np.concatenate([rgb, colors])
    assert segmenter_of(ByPlace()).plan(xyz, rgb).num_blocks < 150
    results = [segmenter_of(ByPlace(), batch_size=size)(xyz, rgb, probabilities=True) for size in (1, 7)]
    np.testing.assert_array_equal(results[0].probabilities, results[1].probabilities)
    np.testing.assert_array_equal(segmenter_of(ByRed())(xyz, rgb).predictions, rgb[:, 0])


def test_the_seed_and_the_pass_change_the_draws():
    xyz, rgb = scan_of()
    one, other = (segmenter_of(ByPlace(), seed=seed)(xyz, rgb).confidence for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - segmenter_of(ByPlace(), passes=2)(xyz, rgb).confidence).max() > 1e-3


def test_far_from_the_origin_nothing_changes():
    xyz, rgb = scan_of()
    xyz = np.round(xyz * 1024) / 1024  # so that adding the offset is exact
    near = segmenter_of(ByPlace())(xyz, rgb)
    far = segmenter_of(ByPlace())(xyz + np.array([450_000.5, 5_200_000.25, -300.0]), rgb)
    np.testing.assert_array_equal(near.confidence, far.confidence)


def test_blocks_are_those_that_training_sees(tmp_path):
    from s3dis_seg.data.blocks.datasets import BlockDataset
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import room_of

    xyz, rgb = scan_of(size=(3.3, 2.2, 2.5))
    path = write_room(room_of("Area_1_office_1", xyz, rgb, np.zeros(len(xyz), np.uint8)), tmp_path)
    settings = BlockSettings(num_points=256, grid=0.05)
    trained = BlockDataset([path], settings, stride=0.5, training=False)
    recorder = Recorder()
    Segmenter(recorder, Card(None, None, blocks=settings), "cpu", stride=0.5)(xyz, rgb)
    shown = {row.tobytes() for row in torch.cat(recorder.shown).flatten(0, 1).numpy()}
    # Draws differ, but all rows of channels that training sees are among those that segmentation sees.
    assert {row.tobytes() for i in range(len(trained)) for row in np.asarray(trained[i][0])} <= shown


# --- odd scans --------------------------------------------------------------------------------------------------------


def test_points_without_a_place_get_255_and_are_told():
    xyz, rgb = scan_of()
    xyz[[3, 4, 5999], [0, 1, 2]] = np.nan, np.inf, -np.inf
    result = segmenter_of(ByRed())(xyz, rgb, probabilities=True)
    bad = np.isin(np.arange(6000), [3, 4, 5999])
    assert (result.predictions[bad] == 255).all() and (result.confidence[bad] == 0).all()
    assert (result.probabilities[bad] == 0).all()
    np.testing.assert_array_equal(result.predictions[~bad], rgb[~bad, 0])
    assert result.warnings[0].startswith("3 of 6,000 points have NaN or infinite coordinates")


def test_nothing_but_points_without_a_place():
    result = segmenter_of(ByRed())(np.full((5, 3), np.nan), np.zeros((5, 3), np.uint8), probabilities=True)
    assert (result.predictions == 255).all() and result.num_blocks == 0 and result.probabilities.shape == (5, 13)
    assert "all 5 points" in result.warnings[0]


@pytest.mark.parametrize("xyz", [np.ones((1, 3)), scan_of(300)[0], np.ones((5000, 3))], ids=["one", "300", "all equal"])
@pytest.mark.parametrize("grid", [0.0, 0.02])
def test_tiny_scans_are_handled_and_told(xyz, grid):
    rgb = np.full(xyz.shape, 7, np.uint8)
    for normalization in ("none", "official"):
        result = segmenter_of(ByRed(), 4096, grid, normalization=normalization)(xyz, rgb)
        assert (result.predictions == 7).all() and (result.confidence > 0.99).all()
    assert ("fewer than the 4,096 of a block" in " ".join(result.warnings)) == (len(xyz) < 5000 or grid > 0)


@pytest.mark.parametrize("count", [1, 100])
def test_a_network_gets_its_fill_from_a_tiny_scan(network, count):
    model, card = network
    result = Segmenter(model, card, "cpu")(*scan_of(count))
    assert (result.predictions < 13).all() and np.isfinite(result.confidence).all()


def test_without_colors_half_grey_is_taken_and_told():
    xyz, _ = scan_of()
    recorder = Recorder()
    result = segmenter_of(recorder)(xyz)
    assert all((features[..., 3:6] == 0.5).all() for features in recorder.shown)
    assert "no colours: 0.5 grey" in result.warnings[0]
    assert segmenter_of(recorder)(xyz, np.zeros((6000, 3), np.uint16)).warnings[0].startswith("its colours are all")


def test_colors_as_floats_are_those_of_bytes():
    xyz, rgb = scan_of()
    bytes_, floats = (segmenter_of(ByPlace())(xyz, colors).confidence for colors in (rgb, rgb / np.float32(255)))
    np.testing.assert_array_equal(bytes_, floats)


def test_a_tall_scan_is_cut_into_layers_and_this_is_told():
    xyz, rgb = scan_of(size=(2.0, 2.0, 7.0))
    recorder = Recorder()
    result = segmenter_of(recorder, tallest=3.0)(xyz, rgb)
    assert "cut into 3 layers" in result.warnings[0]
    heights = [float(features[..., 2].max() - features[..., 2].min()) for features in recorder.shown]
    assert max(heights) < 3.1
    np.testing.assert_array_equal(segmenter_of(ByRed(), tallest=3.0)(xyz, rgb).predictions, rgb[:, 0])


def test_a_sparse_scan_and_wrong_units_are_told():
    xyz, rgb = scan_of(600, size=(12.0, 12.0, 2.5))
    assert "is sparse" in " ".join(segmenter_of(ByRed())(xyz, rgb).warnings)
    xyz, rgb = scan_of(300)
    assert "looks like centimetres" in " ".join(segmenter_of(ByRed()).plan(xyz * 100, rgb).warnings)


# --- the plan and what is told ----------------------------------------------------------------------------------------


def test_the_plan_says_how_many_blocks_there_will_be():
    xyz, rgb = scan_of()
    recorder, done = Recorder(), []
    segmenter = segmenter_of(recorder, passes=2, batch_size=4)
    plan = segmenter.plan(xyz, rgb)
    assert recorder.shown == []
    result = segmenter.run(plan, progress=lambda *numbers: done.append(numbers))
    assert plan.num_blocks == result.num_blocks == sum(len(features) for features in recorder.shown)
    assert done[-1] == (plan.num_blocks, plan.num_blocks) and all(total == plan.num_blocks for _, total in done)
    assert list(result.seconds) == ["thinning", "planning", "preparing blocks", "network", "voting", "carrying back"]
    assert segmenter.seconds_per_block(plan) > 0
    fast = segmenter_of(recorder, stride=1.0).plan(xyz, rgb)
    assert fast.num_blocks < plan.num_blocks / 2


def test_what_is_given_is_not_changed():
    xyz, rgb = scan_of()
    before = xyz.copy(), rgb.copy()
    xyz.flags.writeable = rgb.flags.writeable = False
    segmenter_of(ByRed(), grid=0.02)(xyz, rgb)
    np.testing.assert_array_equal(xyz, before[0])
    np.testing.assert_array_equal(rgb, before[1])


def test_a_checkpoint_becomes_a_segmenter(network, tmp_path):
    model, card = network
    save_checkpoint(tmp_path / "c.pt", model, card)
    segmenter = s3.Segmenter.from_checkpoint(tmp_path / "c.pt", device="cpu", stride=1.0, seed=3)
    assert (segmenter.stride, segmenter.seed, segmenter.card.blocks) == (1.0, 3, card.blocks)
    xyz, rgb = scan_of(1000)
    expected = Segmenter(model, card, "cpu", stride=1.0, seed=3)(xyz, rgb)
    np.testing.assert_array_equal(segmenter(xyz, rgb).confidence, expected.confidence)


@pytest.mark.parametrize(("options", "message"), [
    ({"stride": 0}, "stride of 0"),
    ({"stride": 1.5}, "stride of 1.5"),
    ({"passes": 0}, "at least 1"),
    ({"batch_size": 0}, "at least 1"),
])  # fmt: skip
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        segmenter_of(ByRed(), **options)


def test_an_unknown_device_and_too_small_blocks_are_refused(network):
    model, card = network
    with pytest.raises(InputError, match="no device 'toaster'"):
        Segmenter(model, card, "toaster")
    with pytest.raises(InputError, match="blocks of 4 points, but its network needs"):
        Segmenter(model, Card(None, model.config, blocks=BlockSettings(num_points=4)), "cpu")


@pytest.mark.parametrize(("xyz", "rgb", "message"), [
    (np.zeros((0, 3)), None, "no points"),
    (np.zeros((3, 2)), None, "expected numbers of shape"),
    (np.zeros((3, 3), complex), None, "expected numbers of shape"),
    (np.zeros((3, 3)), np.zeros((2, 3), np.uint8), "rgb has shape"),
])  # fmt: skip
def test_arrays_of_the_wrong_shape_are_refused(xyz, rgb, message):
    with pytest.raises(InputError, match=message):
        segmenter_of(ByRed())(xyz, rgb)


def test_a_device_that_is_full_gets_smaller_batches():
    class Small(ByRed):
        most = 2

        def forward(self, features):
            if len(features) > self.most:
                raise torch.OutOfMemoryError("full")
            return super().forward(features)

    segmenter = segmenter_of(Small())
    features = torch.arange(7.0)[:, None, None].expand(7, 4, 9) / 255
    assert network_stage.in_parts(segmenter.model, features).argmax(dim=-1)[:, 0].tolist() == list(range(7))
    segmenter.model.most = 0
    with pytest.raises(InputError, match="too little memory"):
        network_stage.in_parts(segmenter.model, features)


def test_an_error_while_blocks_are_prepared_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(stages, "blocks_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segmenter_of(ByRed())(*scan_of())


def test_memory_stays_under_100_bytes_a_point(monkeypatch):
    # Chunks as small beside this scan as the real ones are beside one of 30 million points.
    for module, name in ((cloud_module, "_AT_ONCE"), (cells, "_AT_ONCE"), (cloud_module, "_CHUNK")):
        monkeypatch.setattr(module, name, 20_000)
    xyz, rgb = scan_of(600_000, size=(20.0, 12.0, 3.0))
    xyz = xyz.astype(np.float32)  # 12 + 3 bytes a point that the caller holds
    segmenter = segmenter_of(ByRed(), num_points=4096, grid=0.02, stride=1.0)
    tracemalloc.start()
    try:
        result = segmenter(xyz, rgb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (peak + xyz.nbytes + rgb.nbytes) / len(xyz) < 100
    assert (result.predictions < 13).all()


@pytest.mark.parametrize("place", [-1e6, 1e30, 1e300])
def test_a_far_point_gets_255_and_changes_no_other(place):
    xyz, rgb = scan_of()
    xyz[5, 0] = place
    result, others = (segmenter_of(ByPlace())(*arrays) for arrays in
                      ((xyz, rgb), (np.delete(xyz, 5, axis=0), np.delete(rgb, 5, axis=0))))  # fmt: skip
    assert result.predictions[5] == 255 and result.confidence[5] == 0
    np.testing.assert_array_equal(np.delete(result.confidence, 5), others.confidence)
    assert "1 of 6,000 points lie far from all others" in result.warnings[0]


def timed_columns(monkeypatch, segmenter, plan):
    """Numbers of the columns whose blocks are timed for the estimate."""
    seen, blocks_of_column = [], segmenter._blocks
    monkeypatch.setattr(segmenter, "_blocks", lambda *words: seen.append(words[2]) or blocks_of_column(*words))
    segmenter.seconds_per_block(plan)
    return set(seen)


def test_the_time_is_estimated_from_several_blocks(monkeypatch):
    segmenter = segmenter_of(ByRed(), stride=0.25)
    plan = segmenter.plan(*scan_of())
    (layout,) = plan.layouts
    timed = timed_columns(monkeypatch, segmenter, plan)
    assert len(timed) == 5 and {0, len(layout.columns) - 1} <= timed


def test_the_estimate_of_a_small_plan_computes_few_blocks_twice(monkeypatch):
    segmenter = segmenter_of(ByRed())
    plan = segmenter.plan(*scan_of(size=(2.2, 2.2, 2.5)))
    assert 20 < plan.num_blocks < 100
    assert len(timed_columns(monkeypatch, segmenter, plan)) <= plan.num_blocks / 20


def test_a_plan_counts_the_blocks_of_another_stride():
    segmenter, fast = segmenter_of(ByRed()), segmenter_of(ByRed(), stride=1.0)
    xyz, rgb = scan_of()
    assert segmenter.num_blocks_at(segmenter.plan(xyz, rgb), 1.0) == fast.plan(xyz, rgb).num_blocks
