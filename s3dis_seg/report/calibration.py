"""Confidence beside accuracy: a table and a reliability diagram.

counts: (bins, 3) as `metrics.reliability` gives them: points, right ones, sum of confidences.
"""

import numpy as np

from s3dis_seg.files import replacing
from s3dis_seg.metrics import calibration_error
from s3dis_seg.report.tables import percent


def calibration_table(counts):
    """One line for each range of confidence that has points. (bins, 3) -> text of several lines"""
    lines = ["confidence      points   share %   mean confidence %   accuracy %"]
    whole = counts[:, 0].sum()
    for number, (points, right, confidence) in enumerate(counts):
        if points:
            low, high = number / len(counts), (number + 1) / len(counts)
            lines.append(
                f"{low:.1f} to {high:.1f}  {int(points):>10,}   {percent(points / whole):>7}   "
                f"{percent(confidence / points):>17}   {percent(right / points):>10}"
            )
    lines.append(f"expected calibration error: {percent(calibration_error(counts))} %")
    return "\n".join(lines)


def calibration_picture(path, curves, title):
    """Write the reliability diagram as a PNG: accuracy over confidence, above it the diagonal of honest ones.

    curves: dict name -> (bins, 3) counts, such as before and after calibration.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 6.6), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="honest")
    for number, (name, counts) in enumerate(curves.items()):
        some = counts[:, 0] > 0
        points, right, confidence = counts[some].T
        error = percent(calibration_error(counts))
        above.plot(confidence / points, right / points, marker="o", label=f"{name}: error {error} %")
        edges = np.linspace(0, 1, len(counts) + 1)
        width = (edges[1] - edges[0]) / (len(curves) + 0.5)
        below.bar(edges[:-1] + (number + 0.75) * width, counts[:, 0] / counts[:, 0].sum(), width)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of points that are right", title=title)
    above.legend(loc="upper left", frameon=False)
    below.set(xlabel="confidence", ylabel="share of points")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
