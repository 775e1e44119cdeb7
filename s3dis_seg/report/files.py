"""Scores as JSON and CSV files for programs, in fractions of 1.

`levels` holds the scores of several rooms: {"all": {"all rooms": Scores}, "area": {"Area_5": Scores}, "room": {...}}.
"""

import csv
import json
import math

from s3dis_seg.files import replacing


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
    # The name of a file may hold bytes that are no UTF-8.
    options = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with replacing(path) as temporary, open(temporary, "w", **options) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for level, by_name in levels.items():
            for name, scores in by_name.items():
                values = [scores.miou, scores.macc, scores.oa, *scores.iou, *scores.accuracy]
                cells = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
                writer.writerow([level, name, scores.points, *cells, *scores.confusion.sum(axis=1)])
