"""The confusion matrix as a picture."""

import numpy as np

from s3dis_seg.files import InputError, replacing
from s3dis_seg.report.tables import percent


def confusion_picture(path, scores, title):
    """Write the confusion matrix as a PNG: a row is a label, its cells are percentages of its points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if scores.points == 0:
        raise InputError(f"no point has both a label and a prediction, so there is no confusion matrix for {path}")
    count = len(scores.class_names)
    width, height = max(6.5, 3.2 + 0.48 * count), 2.1 + 0.42 * count
    figure = Figure(figsize=(width, height), dpi=140)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((1.9 / width, 0.25 / height, 0.48 * count / width, 0.42 * count / height))
    _draw_cells(axes, scores)
    _draw_names(axes, scores)
    title = title.encode(errors="backslashreplace").decode()  # no font has the bytes of a name that is no UTF-8
    shortened = title if len(title) <= 10 * width else title[: int(10 * width) - 3] + "..."
    figure.text(0.2 / width, 1 - 0.2 / height, shortened, fontsize=12, fontweight="bold", va="top")
    means = (
        f"mIoU {percent(scores.miou)} %    mean class accuracy {percent(scores.macc)} %    "
        f"overall accuracy {percent(scores.oa)} %"
    )
    figure.text(0.2 / width, 1 - 0.52 / height, means, fontsize=10, va="top")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_cells(axes, scores):
    """The cells with their numbers; a class without labels has an empty grey row."""
    labelled = scores.confusion.sum(axis=1, keepdims=True)
    shares = 100 * scores.confusion / np.maximum(labelled, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row in np.flatnonzero(labelled == 0):
        axes.axhspan(row - 0.5, row + 0.5, color="0.93")
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{share:.0f}",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold" if row == column else "normal",
            color="white" if share > 55 else "black",
        )
    for line in np.arange(len(shares) + 1) - 0.5:
        axes.axhline(line, color="white", linewidth=1.5)
        axes.axvline(line, color="white", linewidth=1.5)


def _draw_names(axes, scores):
    """Class names on both sides, points of each label on the left, IoU on the right."""
    count = len(scores.class_names)
    labelled = scores.confusion.sum(axis=1)
    axes.set_xticks(range(count), scores.class_names, rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(count), [f"{name}  {_short(points)}" for name, points in zip(scores.class_names, labelled)])
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axes.set_ylabel("label and its points; cells in percent of them")
    axes.set_xlabel("predicted")
    for row, iou in enumerate(scores.iou):
        axes.text(count - 0.3, row, percent(iou), va="center", fontsize=10)
    axes.text(count - 0.3, -0.8, "IoU %", fontsize=10, fontweight="bold")
    for side in axes.spines.values():
        side.set_visible(False)


def _short(points):
    """12,345,678 -> "12.3M": a number of points in a few characters."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if points >= size:
            return f"{points / size:.3g}{letter}"
    return str(points)
