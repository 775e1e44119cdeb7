"""Scores as text tables for people, in percent."""

import math


def class_table(scores):
    """IoU, accuracy and points of each class, then the means. Scores -> text of several lines."""
    width = max(len(name) for name in (*scores.class_names, "overall accuracy"))
    lines = [f"{'class':<{width}}   IoU %   accuracy %        points"]
    for name, iou, accuracy, points in zip(
        scores.class_names, scores.iou, scores.accuracy, scores.confusion.sum(axis=1)
    ):
        lines.append(f"{name:<{width}}  {percent(iou):>6}   {percent(accuracy):>10}  {points:>12,}")
    lines.append("-" * len(lines[0]))
    lines.append(f"{'mean':<{width}}  {percent(scores.miou):>6}   {percent(scores.macc):>10}  {scores.points:>12,}")
    lines.append(f"{'overall accuracy':<{width}}  {'':>6}   {percent(scores.oa):>10}")
    lines.extend(_left_out(scores))
    return "\n".join(lines)


def _left_out(scores):
    """Remarks below the table: classes that the means leave out, and classes with IoU 0. -> list of lines"""
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
            f"{name:<{width}}    {percent(scores.miou):>6}   {percent(scores.macc):>15}   "
            f"{percent(scores.oa):>18}  {scores.points:>12,}"
        )
    return "\n".join(lines)


def stress_table(rows):
    """One line for each alteration. {name: StressRow} -> text of several lines"""
    width = max(map(len, ("alteration", *rows)))
    lines = [f"{'alteration':<{width}}    mIoU %   overall accuracy %   wrong with confidence >= 0.9, %"]
    for name, row in rows.items():
        lines.append(
            f"{name:<{width}}    {percent(row.scores.miou):>6}   {percent(row.scores.oa):>18}   "
            f"{percent(row.confidently_wrong):>31}"
        )
    return "\n".join(lines)


def quality_table(rows):
    """One line for each way of looking. [QualityRow] -> text of several lines"""
    lines = ["stride   passes   views of a point    mIoU %   overall accuracy %   blocks   seconds"]
    for row in rows:
        looks = row.looks
        lines.append(
            f"{looks.stride:>6}   {looks.passes:>6}   {looks.views:>16.0f}    {percent(row.scores.miou):>6}   "
            f"{percent(row.scores.oa):>18}   {row.blocks:>6,}   {row.seconds:>7,.0f}"
        )
    return "\n".join(lines)


def percent(value):
    """A fraction of 1 as percent with one decimal, or "-" for nan. -> str"""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
