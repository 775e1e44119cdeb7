"""Doubtful regions of a scan, and regions that somebody picks."""

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan
from s3dis_seg.files import InputError
from s3dis_seg.review import Session, doubtful_regions, name_of, region_around, region_in_box, told_region
from s3dis_seg.review.regions import _components


def block(place, count=60, size=0.3, seed=0):
    """Points in a cube with its lowest corner at `place`."""
    return np.random.default_rng(seed).random((count, 3)) * size + place


def scan_of(*parts, **columns):
    """A scan of (points, prediction, confidence)."""
    scan = Scan(np.concatenate([xyz for xyz, _, _ in parts]), columns=columns)
    scan.predictions = np.repeat(
        np.array([label for _, label, _ in parts], np.uint8), [len(xyz) for xyz, _, _ in parts]
    )
    scan.confidence = np.repeat(np.array([sure for *_, sure in parts], np.float32), [len(xyz) for xyz, _, _ in parts])
    return scan


def test_unsure_points_of_one_prediction_that_touch_are_a_region_and_the_largest_comes_first():
    scan = scan_of(
        (block((0, 0, 0), 50), 2, 0.5),
        (block((2, 0, 0), 90), 2, 0.5),  # apart
        (block((0.3, 0, 0), 70), 6, 0.6),  # touches the first, but is another prediction
        (block((4, 0, 0), 99), 2, 0.95),  # sure
        (block((6, 0, 0), 10), 2, 0.5),  # too few
    )
    regions = doubtful_regions(scan)
    assert [(len(region.points), region.label) for region in regions] == [(90, 2), (70, 6), (50, 2)]
    assert regions[0].points.tolist() == list(range(50, 140))
    assert regions[0].confidence == pytest.approx(0.5)
    assert (regions[0].low >= (2, 0, 0)).all() and (regions[0].high <= (2.3, 0.3, 0.3)).all()
    assert doubtful_regions(scan, most=1)[0].points.tolist() == regions[0].points.tolist()
    assert len(doubtful_regions(scan, sure=0.99)) == 4
    assert doubtful_regions(scan, sure=0.4) == []


def test_a_row_of_cubes_along_a_diagonal_is_connected():
    line = np.linspace(0, 3, 600)[:, None] * (1, -1, 1)
    scan = scan_of((line, 0, 0.2))
    assert [len(region.points) for region in doubtful_regions(scan)] == [600]


def test_cubes_at_opposite_ends_of_the_grid_are_not_neighbours():
    scan = scan_of((block((0, 0, 2.9), size=0.05), 0, 0.2), (block((0, 0.1, 0), size=0.05), 0, 0.2))
    assert len(doubtful_regions(scan)) == 2


def test_points_of_a_sparse_scan_are_connected_by_larger_cubes():
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20), [0]), -1).reshape(-1, 3) * 0.5
    assert [len(region.points) for region in doubtful_regions(scan_of((grid, 1, 0.3)))] == [400]


def test_points_without_prediction_or_place_are_in_no_region():
    scan = scan_of((block((0, 0, 0)), 255, 0.0), (block((0, 0, 0)), 1, 0.3))
    scan.xyz[-1] = np.nan
    assert [len(region.points) for region in doubtful_regions(scan)] == [59]
    scan.predictions[:] = 255
    assert doubtful_regions(scan) == []


def test_points_a_world_apart_are_told_apart():
    far = scan_of((block((0, 0, 0)), 1, 0.3), (block((3e7, -3e7, 3e7), 80), 1, 0.3))
    assert [len(region.points) for region in doubtful_regions(far)] == [80, 60]


def test_one_point_and_points_all_in_one_place_do_no_harm():
    assert doubtful_regions(scan_of((np.zeros((1, 3)), 1, 0.1))) == []
    assert len(doubtful_regions(scan_of((np.zeros((50, 3)), 1, 0.1)))) == 1


def test_the_class_that_comes_second_is_told_where_the_scan_has_it():
    second = np.array([4] * 40 + [5] * 20 + [255] * 60, np.uint8)
    scan = scan_of((block((0, 0, 0)), 2, 0.5), (block((5, 0, 0)), 3, 0.5), runner_up=second)
    first, other = sorted(doubtful_regions(scan), key=lambda region: region.label)
    assert (first.runner_up, other.runner_up) == (4, None)
    assert told_region(first, scan.classes).startswith("wall, then column: 60 points, 0.3 x 0.3 x 0.3 m around 0.1")
    assert [name_of(label, scan.classes) for label in (0, 255, 77)] == ["ceiling", "nothing", "class 77"]


def test_a_place_picks_the_connected_points_of_the_prediction_that_is_nearest_to_it():
    scan = scan_of((block((0, 0, 0)), 2, 0.9), (block((0.3, 0, 0)), 3, 0.9), (block((0, 0, 0.8)), 2, 0.9))
    region = region_around(scan, (0.1, 0.1, 0.1), 1.0)
    assert region.points.tolist() == list(range(60))
    assert len(region_around(scan, (0.1, 0.1, 0.1), 0.1).points) < 60
    with pytest.raises(InputError, match=r"within 0\.5 m of 9, 9, 9; the scan reaches from"):
        region_around(scan, (9, 9, 9), 0.5)


def test_a_box_takes_all_points_in_it_whatever_their_prediction():
    scan = scan_of((block((0, 0, 0)), 2, 0.9), (block((0.3, 0, 0)), 3, 0.9), (block((5, 0, 0)), 2, 0.9))
    region = region_in_box(scan, (1, 1, 1), (-1, -1, -1))
    assert region.points.tolist() == list(range(120))
    with pytest.raises(InputError, match="in the box from 7, 7, 7 to 8, 8, 8"):
        region_in_box(scan, (7, 7, 7), (8, 8, 8))


def test_a_scan_without_predictions_or_confidence_is_told():
    scan = Scan(np.zeros((9, 3)))
    with pytest.raises(InputError, match="no predictions"):
        doubtful_regions(scan)
    scan.predictions = np.zeros(9, np.uint8)
    with pytest.raises(InputError, match="no confidence"):
        doubtful_regions(scan)
    assert np.isnan(region_around(scan, (0, 0, 0), 1).confidence)


def test_groups_are_found_however_long_their_chains_are():
    rng = np.random.default_rng(0)
    order = rng.permutation(1000)
    first, second = order[:-1], order[1:]
    assert (_components(1001, first, second)[:1000] == 0).all()
    assert _components(1001, first, second)[1000] == 1000


# --- a session


@pytest.fixture
def session():
    parts = [(block((2 * place, 0, 0), 50 - place), place, 0.5) for place in range(3)]
    scan = scan_of(*parts)
    return Session(scan, doubtful_regions(scan))


def test_regions_are_given_classes_skipped_gone_back_to_and_undone(session):
    session.assign(7)
    session.skip()
    session.assign(8)
    assert session.current is None
    session.assign(9)  # behind the last one: nothing
    assert np.bincount(session.labels).tolist()[7:9] == [50, 48] and (session.labels == 255).sum() == 49
    assert session.undo() and session.position == 2
    session.back()
    session.assign(3)
    session.back(), session.back(), session.back()
    assert session.position == 0
    session.assign(4)  # again, another class
    assert session.given_to(session.regions[0]) == 4
    assert session.undo() and session.given_to(session.regions[0]) == 7
    assert session.undo() and session.undo() and not session.undo()
    assert (session.labels == 255).all()


def test_a_session_goes_on_at_the_first_region_without_a_class(session):
    session.assign(7)
    again = Session(session.scan, session.regions, session.labels)
    assert again.position == 1
    again.labels[:] = 3
    assert Session(session.scan, session.regions, again.labels).current is None
    assert (session.labels != 3).all(), "a session changes no labels but its own"
