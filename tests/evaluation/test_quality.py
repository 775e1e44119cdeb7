"""What more looks are worth: the table of strides and passes."""

import numpy as np

from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.open import open_rooms
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.evaluation.quality import LOOKS, Looks, run
from s3dis_seg.evaluation.scoring import score_room
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import save_checkpoint
from s3dis_seg.models.zoo import create_model
from s3dis_seg.report import quality_table
from s3dis_seg.segmentation import Segmenter


def test_every_row_has_the_scores_of_an_evaluation_with_these_looks(tmp_path):
    rng = np.random.default_rng(0)
    xyz = rng.random((600, 3)) * (2.0, 1.0, 2.5)
    room = room_of("Area_1_office_1", xyz, rng.integers(0, 255, (600, 3)), rng.integers(0, 3, 600))
    write_room(room, tmp_path / "rooms")
    network = create_model("resgcn7", blocks=2, channels=4, k=2)
    save_checkpoint(tmp_path / "c.pt", network, Card("resgcn7", network.config, blocks=BlockSettings(64, grid=0.0)))

    heard = []
    rows = run(tmp_path / "rooms", tmp_path / "c.pt", "cpu", lambda looks, name: heard.append((looks, name)))
    assert [row.looks for row in rows] == list(LOOKS) and heard[0] == (LOOKS[0], "Area_1_office_1")
    [opened] = open_rooms(tmp_path / "rooms")
    for row in (rows[1], rows[3]):
        segmenter = Segmenter.from_checkpoint(tmp_path / "c.pt", "cpu", None, row.looks.stride, row.looks.passes)
        assert (row.scores.confusion == score_room(segmenter, opened).confusion).all()
    assert rows[1].blocks == 2 * rows[0].blocks
    assert len(quality_table(rows).splitlines()) == 1 + len(LOOKS)


def test_views_are_passes_times_overlapping_columns():
    assert [Looks(1.0, 2).views, Looks(0.5, 1).views, Looks(0.5, 4).views] == [2, 4, 16]
