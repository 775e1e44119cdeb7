"""Scores as a table, JSON, CSV and a picture of the confusion matrix.

Tables are for people and in percent; files are for programs and in fractions of 1. `levels` below is how scores of
several rooms are passed around: {"all": {"all rooms": Scores}, "area": {"Area_5": Scores}, "room": {...}, ...}.
"""

import csv
import json
import math

import numpy as np

from s3dis_seg.files import InputError, replacing


def class_table(scores):
    """IoU, accuracy and points of each class, then the means. Scores -> text of several lines."""
    width = max(len(name) for name in (*scores.class_names, "overall accuracy"))
    lines = [f"{'class':<{width}}   IoU %   accuracy %        points"]
    for name, iou, accuracy, points in zip(
        scores.class_names, scores.iou, scores.accuracy, scores.confusion.sum(axis=1)
    ):
        lines.append(f"{name:<{width}}  {_percent(iou):>6}   {_percent(accuracy):>10}  {points:>12,}")
    lines.append("-" * len(lines[0]))
    lines.append(f"{'mean':<{width}}  {_percent(scores.miou):>6}   {_percent(scores.macc):>10}  {scores.points:>12,}")
    lines.append(f"{'overall accuracy':<{width}}  {'':>6}   {_percent(scores.oa):>10}")
    lines.extend(_left_out(scores))
    return "\n".join(lines)


def _left_out(scores):
    """What the means do not count, in words. -> list of lines."""
    lines = []
    if scores.absent:
        lines.append(f"left out, in neither labels nor predictions: {', '.join(scores.absent)}")
    unseen = [
        name
        for name, iou, accuracy in zip(scores.class_names, scores.iou, scores.accuracy)
        if iou == 0 and accuracy != 0
    ]
    if unseen:
        lines.append(f"IoU 0 because predicted where no label has it: {', '.join(unseen)}")
    return lines


def summary_table(level, by_name):
    """One line for each room, area or fold. "room", {name: Scores} -> text of several lines."""
    width = max(len(name) for name in (level, *by_name))
    lines = [f"{level:<{width}}    mIoU %   mean accuracy %   overall accuracy %        points"]
    for name, scores in by_name.items():
        lines.append(
            f"{name:<{width}}    {_percent(scores.miou):>6}   {_percent(scores.macc):>15}   "
            f"{_percent(scores.oa):>18}  {scores.points:>12,}"
        )
    return "\n".join(lines)


def _percent(value):
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def as_dict(scores):
    """Scores as plain dicts and lists for JSON; None where a class is absent. -> dict"""
    return {
        "miou": _or_none(scores.miou),
        "mean_class_accuracy": _or_none(scores.macc),
        "overall_accuracy": _or_none(scores.oa),
        "points": scores.points,
        "absent": list(scores.absent),
        "iou": {name: _or_none(value) for name, value in zip(scores.class_names, scores.iou)},
        "accuracy": {name: _or_none(value) for name, value in zip(scores.class_names, scores.accuracy)},
        "confusion": scores.confusion.tolist(),
    }


def _or_none(value):
    return None if math.isnan(value) else float(value)


def write_json(path, levels, settings, warnings=()):
    """Everything in one file: settings, warnings, class names, and each level by name; rows of confusions = labels."""
    names = next(iter(next(iter(levels.values())).values())).class_names
    content = {"settings": settings, "warnings": list(warnings), "class_names": list(names)}
    for level, by_name in levels.items():
        content[level] = {name: as_dict(scores) for name, scores in by_name.items()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_csv(path, levels):
    """One line for each room, area, fold and all of them: scores, then IoU, accuracy and points of every class."""
    names = next(iter(next(iter(levels.values())).values())).class_names
    header = ["level", "name", "points", "miou", "mean_class_accuracy", "overall_accuracy"]
    header += [f"{what}_{name}" for what in ("iou", "accuracy", "points") for name in names]
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for level, by_name in levels.items():
            for name, scores in by_name.items():
                values = [scores.miou, scores.macc, scores.oa, *scores.iou, *scores.accuracy]
                cells = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
                writer.writerow([level, name, scores.points, *cells, *scores.confusion.sum(axis=1)])


def confusion_picture(path, scores, title):
    """Write the confusion matrix as a PNG: a row is a label, its cells the percent of its points by prediction."""
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
    shortened = title if len(title) <= 10 * width else title[: int(10 * width) - 3] + "..."
    figure.text(0.2 / width, 1 - 0.2 / height, shortened, fontsize=12, fontweight="bold", va="top")
    means = (
        f"mIoU {_percent(scores.miou)} %    mean class accuracy {_percent(scores.macc)} %    "
        f"overall accuracy {_percent(scores.oa)} %"
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
        axes.text(count - 0.3, row, _percent(iou), va="center", fontsize=10)
    axes.text(count - 0.3, -0.8, "IoU %", fontsize=10, fontweight="bold")
    for side in axes.spines.values():
        side.set_visible(False)


def _short(points):
    """12,345,678 -> "12.3M": a number of points in a few characters."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if points >= size:
            return f"{points / size:.3g}{letter}"
    return str(points)
