"""Pictures of a comparison: a line a network, the mean over its seeds, and a band from the least to the greatest."""

import math
from itertools import cycle

from s3dis_seg.depth.findings import STATES, summaries
from s3dis_seg.files import replacing

# Measure -> label of its axis, whether that is logarithmic.
MEASURED = {
    "gradient": ("|dL/dX|", True),
    "weight_gradient": ("|dL/dW|", True),
    "rms": ("root mean square of the features", True),
    "energy": ("Dirichlet energy", True),
    "relative_energy": ("Dirichlet energy / that of unrelated points", True),
    "mad": ("MAD", True),
    "mad_gap": ("MADGap", False),
    "effective_rank": ("effective rank", True),
    "numerical_rank": ("numerical rank", True),
    "pair_distance": ("mean distance of two points", True),
}
_STYLES = ("-", "--", ":", "-.")  # by depth
_MOST_COLORS = 10


def write_plots(out, runs):
    """A PNG for each measure, by layer, and one of the scores, by depth. -> list of file names in `out`"""
    found = summaries(runs)
    names = []
    for measure, (label, is_log) in MEASURED.items():
        names.append(f"{measure}.png")
        _save(out / names[-1], lambda axes, m=measure, y=label, log=is_log: _by_layer(axes, found, m, y, log))
    names.append("scores.png")
    _save(out / names[-1], lambda axes: _by_depth(axes, found))
    return names


def _save(path, draw):
    # A figure of its own, because pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, gridspec_kw={"left": 0.07, "right": 0.77, "wspace": 0.25})
    draw(axes)
    lines, labels = axes[0].get_legend_handles_labels()
    if lines:
        figure.legend(lines, labels, loc="center left", bbox_to_anchor=(0.78, 0.5), fontsize=6)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _by_layer(axes, found, measure, label, is_log):
    for axis, state in zip(axes, STATES):
        for s, style in zip(found, _styles(found)):
            layers = range(1, s.network.blocks + 1)
            points = [(layer, values) for layer in layers if (values := s.layer(measure, state, layer))]
            _line(axis, points, f"{s.label} {s.variant}", style, is_log)
        axis.set(xlabel="layer", ylabel=label, title=state)
        if is_log:
            axis.set_yscale("log")


def _by_depth(axes, found):
    kinds = {}
    for s in found:
        kinds.setdefault(f"{s.network.block} {s.variant}", []).append(s)
    colors = cycle(range(_MOST_COLORS))
    for (kind, group), color in zip(kinds.items(), colors):
        for axis, (name, label) in zip(axes, (("miou", "mIoU"), ("oa", "overall accuracy"))):
            points = [(s.network.blocks, _scores(s, name)) for s in group if _scores(s, name)]
            _line(axis, points, kind, {"color": f"C{color}", "marker": "o"}, is_log=False)
            axis.set(xlabel="layers", ylabel=label)


def _scores(summary, name):
    return [run[name] for run in summary.runs if not math.isnan(run[name])]


def _line(axis, points, label, style, is_log):
    """points: list of (place, values over the seeds)."""
    points = [(place, [value for value in values if not is_log or value > 0]) for place, values in points]
    points = [(place, values) for place, values in points if values]
    places = [place for place, _ in points]
    middle = [_middle(values, is_log) for _, values in points]
    axis.plot(places, middle, label=label, linewidth=1, **style)
    low, high = ([most(values) for _, values in points] for most in (min, max))
    axis.fill_between(places, low, high, alpha=0.15, color=style["color"], linewidth=0)


def _middle(values, is_log):
    if is_log:
        return math.exp(sum(map(math.log, values)) / len(values))
    return sum(values) / len(values)


def _styles(found):
    """A colour for each kind of network, a line style for each depth. -> list of dicts"""
    kinds = list(dict.fromkeys((s.network.block, s.variant) for s in found))
    depths = sorted({s.network.blocks for s in found})
    return [
        {
            "color": f"C{kinds.index((s.network.block, s.variant)) % _MOST_COLORS}",
            "linestyle": _STYLES[depths.index(s.network.blocks) % len(_STYLES)],
        }
        for s in found
    ]
