"""Confidences: how they are counted, and the temperature that makes them honest."""

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.evaluation.calibration import best_temperature, probabilities_of_rooms, reliability_at
from s3dis_seg.metrics import calibration_error, reliability
from s3dis_seg.models.card import Card
from s3dis_seg.report import calibration_table
from s3dis_seg.segmentation import Segmenter
from s3dis_seg.segmentation.votes import tempered


def honest(count, rng):
    """Labels drawn with the very probabilities that are given. -> labels (P,), probabilities (P, 3)"""
    probabilities = rng.dirichlet((0.5, 0.5, 0.5), count)
    return (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=2), probabilities


def test_the_temperature_undoes_what_made_honest_probabilities_too_sure():
    labels, probabilities = honest(50_000, np.random.default_rng(0))
    too_sure = tempered(probabilities, 1 / 2.5)
    assert best_temperature(labels, too_sure) == pytest.approx(2.5, rel=0.03)
    assert best_temperature(labels, tempered(probabilities, 2.0)) == pytest.approx(0.5, rel=0.03)
    before, after = (calibration_error(reliability_at(labels, too_sure, at)) for at in (1.0, 2.5))
    assert before > 0.1 and after < 0.01


def test_a_temperature_changes_no_prediction_and_keeps_rows_that_sum_to_one():
    probabilities = np.random.default_rng(0).dirichlet(np.full(13, 0.05), 1000).astype(np.float32)
    for temperature in (0.05, 0.7, 3.0, 20.0):
        at = tempered(probabilities, temperature)
        assert (at.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        np.testing.assert_allclose(at.sum(axis=1), 1, rtol=1e-5)
    assert tempered(probabilities, 1.0) is probabilities


def test_points_are_counted_by_confidence_without_unlabelled_ones():
    counts = reliability([0, 1, 1, 255, 0], [0, 1, 0, 0, 255], [0.95, 1.0, 0.31, 0.9, 0.9])
    assert counts[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert counts[9].tolist() == [2, 2, pytest.approx(1.95)]
    # (|2 - 1.95| + |0 - 0.31|) over three points
    assert calibration_error(counts) == pytest.approx(0.12)
    assert np.isnan(calibration_error(np.zeros((10, 3))))


def test_the_table_names_only_ranges_that_have_points():
    table = calibration_table(reliability([0, 1], [0, 0], [0.95, 0.92]))
    assert "0.9 to 1.0" in table and "0.3 to 0.4" not in table
    assert "expected calibration error: 43.5 %" in table


class Sure(torch.nn.Module):
    """Says of every point that it is ceiling, with the same logits everywhere."""

    def forward(self, blocks):
        logits = torch.zeros((*blocks.shape[:2], len(CLASSES)))
        logits[..., 0] = 4.0
        return logits


def segmenter(temperature):
    card = Card(None, None, blocks=BlockSettings(num_points=64, grid=0.0), provenance={"temperature": temperature})
    return Segmenter(Sure(), card, device="cpu")


def test_segmenting_takes_the_temperature_of_the_card_and_measuring_undoes_it(tmp_path):
    xyz = np.random.default_rng(0).random((200, 3)) * (1.0, 1.0, 2.5)
    labels = np.zeros(200, int)
    labels[:10] = 255
    write_room(room_of("Area_1_office_1", xyz, np.full((200, 3), 90), labels), tmp_path)
    at_one, at_two = (segmenter(temperature)(xyz) for temperature in (1.0, 2.0))
    assert at_one.confidence == pytest.approx(np.exp(4) / (np.exp(4) + 12), rel=1e-5)
    assert at_two.confidence == pytest.approx(np.exp(2) / (np.exp(2) + 12), rel=1e-5)
    (one, of_one), (two, of_two) = (
        probabilities_of_rooms(segmenter(temperature), open_rooms(tmp_path)) for temperature in (1.0, 2.0)
    )
    assert len(one) == 190 and (one == two).all()
    np.testing.assert_allclose(of_one, of_two, rtol=1e-5)
