import numpy as np
import pytest

from s3dis_seg.metrics import confusion_matrix, scores

NAMES = ["ceiling", "floor", "wall"]


def test_rows_are_labels_and_columns_are_predictions():
    assert confusion_matrix([0, 0, 1], [0, 2, 1], 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_255_on_either_side_is_left_out():
    labels, predictions = np.array([0, 255, 1, 1], np.uint8), np.array([0, 1, 255, 1], np.uint8)
    assert confusion_matrix(labels, predictions, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_many_points_are_counted_in_pieces(monkeypatch):
    labels, predictions = np.random.default_rng(0).integers(0, 13, (2, 1000))
    whole = confusion_matrix(labels, predictions, 13)
    monkeypatch.setattr("s3dis_seg.metrics._AT_ONCE", 7)
    assert (confusion_matrix(labels, predictions, 13) == whole).all()
    assert whole.sum() == 1000


@pytest.mark.parametrize("labels, predictions", [([13], [0]), ([0], [-1])])
def test_a_class_that_does_not_exist_is_an_error(labels, predictions):
    with pytest.raises(ValueError, match="expected 0 to 12, or 255"):
        confusion_matrix(labels, predictions, 13)


def test_unequal_lengths_are_an_error():
    with pytest.raises(ValueError, match="2 labels but 1 predictions"):
        confusion_matrix([0, 1], [0], 3)


def test_scores_of_four_points():
    # ceiling: 1 right, 1 called floor; floor: 2 right.
    result = scores(confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2), NAMES[:2])
    assert result.iou.tolist() == [1 / 2, 2 / 3]
    assert result.accuracy.tolist() == [1 / 2, 1]
    assert result.miou == pytest.approx(7 / 12)
    assert (result.macc, result.oa, result.points) == (0.75, 0.75, 4)


def test_a_class_absent_from_labels_and_predictions_is_left_out_and_named():
    result = scores(confusion_matrix([0, 1], [0, 1], 3), NAMES)
    assert result.absent == ["wall"]
    assert np.isnan(result.iou[2])
    assert (result.miou, result.macc) == (1, 1)


def test_a_class_predicted_but_absent_counts_as_iou_0_and_not_in_the_accuracy():
    result = scores(confusion_matrix([0, 0], [0, 2], 3), NAMES)
    assert result.absent == ["floor"]
    assert result.iou[2] == 0
    assert result.miou == 0.25
    assert result.macc == 0.5


def test_nothing_to_score_is_nan_without_a_warning():
    result = scores(np.zeros((3, 3), int), NAMES)
    assert np.isnan([result.miou, result.macc, result.oa]).all()
    assert result.absent == NAMES


def test_folds_add_up_to_the_confusion_of_all_points():
    labels, predictions = np.random.default_rng(1).integers(0, 13, (2, 600))
    folds = [confusion_matrix(labels[part], predictions[part], 13) for part in np.split(np.arange(600), [100, 350])]
    assert (sum(folds) == confusion_matrix(labels, predictions, 13)).all()


def test_scores_refuse_a_confusion_of_another_number_of_classes():
    with pytest.raises(ValueError, match="2 classes"):
        scores(np.zeros((3, 3)), NAMES[:2])
