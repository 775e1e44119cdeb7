"""Pictures of a comparison: a line a network, the mean over its seeds, and a band from the least to the greatest.

A colour stands for a kind of network, a style of line for a depth. What all networks share stands in the title.
"""

import math
from contextlib import contextmanager

from s3dis_seg.depth.findings import STATES, summaries
from s3dis_seg.files import replacing

# Measure -> label of its axis, whether that is logarithmic.
MEASURED = {
    "gradient": ("gradient |dL/dX|", True),
    "weight_gradient": ("gradient |dL/dW|", True),
    "rms": ("root mean square of the features", True),
    "energy": ("Dirichlet energy", True),
    "relative_energy": ("relative energy", True),
    "mad": ("MAD", True),
    "mad_gap": ("MADGap", False),
    "effective_rank": ("effective rank", True),
    "numerical_rank": ("numerical rank", True),
    "pair_distance": ("mean distance of two points", True),
}
TITLES = {"start": "at the start", "trained": "after the training"}
_STYLES = ("-", "--", ":", "-.")
_COLORS = 10  # of matplotlib's cycle
_FEW_DECADES = 3  # a logarithmic axis that spans less is labelled with plain numbers


def write_plots(out, runs):
    """A PNG for each measure, by layer, and one of the scores, by depth. -> list of file names in `out`"""
    found = summaries(runs)
    kinds, shared = _kinds(found)
    colors = {kind: {"color": f"C{n % _COLORS}"} for n, kind in enumerate(dict.fromkeys(kinds))}
    depths = sorted({s.network.blocks for s in found})
    styles = {depth: {"linestyle": _STYLES[n % len(_STYLES)]} for n, depth in enumerate(depths)}
    of_depths = {f"{depth} layers": style | {"color": "black"} for depth, style in styles.items()}
    if len(depths) == 1:
        shared, of_depths = [*of_depths, *shared], {}
    lines = [(s, colors[kind] | styles[s.network.blocks]) for s, kind in zip(found, kinds)]
    groups = [([s for s, own in zip(found, kinds) if own == kind], color) for kind, color in colors.items()]

    names = []
    for measure, (label, is_log) in MEASURED.items():
        names.append(f"{measure}.png")
        with _panels(out / names[-1], shared, colors | of_depths, sharey=True) as panels:
            _by_layer(panels, lines, measure, label, is_log)
    names.append("scores.png")
    with _panels(out / names[-1], shared, colors) as panels:
        _by_depth(panels, groups)
    return names


def _kinds(found):
    """What tells each network from the others but for its depth, and what all share. -> list of texts, list of words"""
    words = [s.system.words for s in found]
    shared = [word for word in words[0] if all(word in others for others in words)]
    own = [[s.network.block, *(word for word in of_it if word not in shared)] for s, of_it in zip(found, words)]
    return [" ".join(of_it) for of_it in own], shared


@contextmanager
def _panels(path, shared, legend, **options):
    """Two panels side by side, written as a PNG when they are drawn.

    shared: what stands in the title; legend: text -> style of its line.
    """
    # A figure of its own, because pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(10.5, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(", ".join(shared), fontsize="medium")
    yield figure.subplots(1, 2, **options)
    handles = [Line2D([], [], **style) for style in legend.values()]
    figure.legend(handles, list(legend), loc="outside right center", fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _by_layer(panels, lines, measure, label, is_log):
    for panel, state in zip(panels, STATES):
        for s, style in lines:
            layers = range(1, s.network.blocks + 1)
            _line(panel, [(layer, s.layer(measure, state, layer)) for layer in layers], style, is_log)
        panel.set(xlabel="layer", title=TITLES[state])
    panels[0].set_ylabel(label)
    if is_log:
        _make_logarithmic(panels[0])


def _make_logarithmic(panel):
    """The panels share their axis."""
    from matplotlib.ticker import LogLocator

    panel.set_yscale("log")
    low, high = panel.get_ylim()
    if high / low < 10**_FEW_DECADES:
        panel.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("{x:g}")


def _by_depth(panels, groups):
    for panel, (name, label) in zip(panels, (("miou", "mIoU %"), ("oa", "accuracy %"))):
        for group, style in groups:
            _line(panel, [(s.network.blocks, _percents(s, name)) for s in group], style | {"marker": "o"}, False)
        depths = sorted({s.network.blocks for group, _ in groups for s in group})
        panel.set_xscale("log")
        panel.set_xticks(depths, map(str, depths))
        panel.set_xticks([], minor=True)
        panel.set(xlabel="layers", ylabel=label)


def _percents(summary, name):
    return [100 * run[name] for run in summary.runs if not math.isnan(run[name])]


def _line(panel, points, style, is_log):
    """points: list of (place, values over the seeds)."""
    points = [(place, [value for value in values if not is_log or value > 0]) for place, values in points]
    points = [(place, values) for place, values in points if values]
    places = [place for place, _ in points]
    panel.plot(places, [_middle(values, is_log) for _, values in points], linewidth=1.2, **style)
    low, high = ([most(values) for _, values in points] for most in (min, max))
    panel.fill_between(places, low, high, alpha=0.2, color=style["color"], linewidth=0)


def _middle(values, is_log):
    if is_log:
        return math.exp(sum(map(math.log, values)) / len(values))
    return sum(values) / len(values)
