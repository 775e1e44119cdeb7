"""The page of conclusions, drawn from the numbers alone. Imports no torch.

What textbooks say of deep graph networks is put as a condition on the numbers; where the numbers do not meet it, the
page says "not seen here".
"""

import math
from collections import defaultdict
from statistics import mean, pstdev

from s3dis_seg.depth.results import system_of

FALLEN = 0.1  # a gradient has vanished when it is less than this share of another
GROWN = 1000.0  # a gradient has exploded when it is more than so many times another
UNRELATED = 0.8  # neighbours are unrelated when the relative energy is above this
SMOOTH = 0.5  # features have been smoothed when their relative energy is less than this share of that of layer 1
KEPT_SCALE = 10.0  # a scale is kept when it grows and shrinks by less than this factor
KEPT_RANK = 0.5  # an effective rank is kept when it is at least this share of that of layer 1
LEARNED = 0.02  # a network has learned when its accuracy is so much above that of naming the commonest class
FALL = 0.01  # mIoU has fallen when it is lower by more than this and the deviations over the seeds
STATES = ("start", "trained")
NAMES = {"plain": "plain", "res": "residual", "dense": "dense"}


class Summary:
    """All seeds of one network. Values are means over the seeds: geometric for ratios, which lie on a log axis."""

    def __init__(self, runs):
        self.runs, self.system = runs, system_of(runs[0])
        self.network, self.variant = self.system.network, self.system.variant
        self.label = f"{self.network.block}-{self.network.blocks}"

    def layer(self, measure, state, number):
        """Of layer `number` (-1: the last). -> list of floats, one a seed, without those that are nan"""
        return [value for value in self._of_seeds(measure, state, number) if not math.isnan(value)]

    def _of_seeds(self, measure, state, number):
        """-> list of floats, one a seed, nan where a run has none"""
        place = (state, self.network.blocks if number == -1 else number)
        rows = [{(row["state"], row["layer"]): row[measure] for row in run["layers"]} for run in self.runs]
        return [values.get(place, math.nan) for values in rows]

    def last(self, measure, state):
        """Of the last layer. -> float, nan where no seed has it"""
        return _mean(self.layer(measure, state, -1))

    def ratio(self, measure, state, over_last=False):
        """The last layer's value over that of layer 1, or the other way round. -> float, nan where there is none"""
        first, last = (self._of_seeds(measure, state, number) for number in (1, -1))
        pairs = zip(first, last) if over_last else zip(last, first)
        ratios = [part / whole for part, whole in pairs if whole and not math.isnan(part + whole)]
        if not ratios:
            return math.nan
        return math.exp(mean(map(math.log, ratios))) if min(ratios) > 0 else 0.0

    def score(self, name):
        """-> mean over the seeds, standard deviation; nan without a seed that has it"""
        values = [run[name] for run in self.runs if not math.isnan(run[name])]
        return _mean(values), pstdev(values) if values else math.nan

    @property
    def diverged(self):
        return sum(run["diverged_at"] is not None for run in self.runs)

    @property
    def has_learned(self):
        return self.score("oa")[0] >= self.score("commonest_share")[0] + LEARNED

    def has_vanished(self, state):
        """Whether the gradient of layer 1 is far below that of the last. -> bool, None without a number"""
        return _judged(self.ratio("gradient", state, over_last=True), lambda ratio: ratio < FALLEN)

    def is_smooth(self, state):
        """Whether neighbours are much more alike after the last layer than after the first. -> bool or None"""
        return _judged(self.ratio("relative_energy", state), lambda ratio: ratio < SMOOTH)

    def has_lost_rank(self, state):
        """Whether the points spread in far fewer directions after the last layer. -> bool or None"""
        return _judged(self.ratio("effective_rank", state), lambda ratio: ratio < KEPT_RANK)

    def has_exploded(self, state):
        """Whether the gradient of layer 1 is far above that of the last. -> bool, None without a number"""
        return _judged(self.ratio("gradient", state, over_last=True), lambda ratio: ratio > GROWN)

    def is_unrelated(self, state):
        """Whether neighbours in space are nearly as unlike as any two points after the last layer. -> bool or None"""
        return _judged(self.last("relative_energy", state), lambda energy: energy > UNRELATED)

    def has_kept_scale(self, state):
        """Whether the features after the last layer are about as large as after the first. -> bool or None"""
        return _judged(self.ratio("rms", state), lambda ratio: 1 / KEPT_SCALE < ratio < KEPT_SCALE)


def has_fallen(group):
    """Whether the mIoU of the deepest of some networks is below that of the shallowest.

    -> bool; None with fewer than two depths, and where the shallowest has not learned
    """
    if len(group) < 2 or not group[0].has_learned:
        return None
    if math.isnan(group[-1].score("miou")[0]):
        return True  # it diverged
    (high, spread), (low, other) = group[0].score("miou"), group[-1].score("miou")
    return low < high - spread - other - FALL


def summaries(runs):
    """-> list of Summary, in the order of the runs"""
    by_name = defaultdict(list)
    for run in runs:
        by_name[run["name"]].append(run)
    return [Summary(seeds) for seeds in by_name.values()]


def findings(runs, conditions, pictures=()):
    """The page. runs: as `read_runs` gives them; pictures: file names. -> text in Markdown"""
    found = summaries(runs)
    by_variant = defaultdict(list)
    for summary in found:
        by_variant[summary.variant].append(summary)
    shared = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in conditions.items())
    sections = [
        "# Depth: what was measured",
        f"{len(runs)} runs of {len(found)} networks; {shared}. Every sentence below follows from the numbers in "
        "`layers.csv` and `runs.csv` by the rule that stands with it. *Start* is before the first step of training, "
        "*trained* after the last. Layer 1 is the head. Ratios are geometric means over the seeds.",
        _overview(found),
        _failures(by_variant),
        _gradients(by_variant),
        _smoothing(by_variant),
        _scales(found),
        _ranks(by_variant),
        _dilation(found),
        _accuracy(by_variant),
    ]
    if pictures:
        sections.append("## Pictures\n\n" + "\n".join(f"![{name}]({name})" for name in pictures))
    return "\n\n".join(sections) + "\n"


def _overview(found):
    header = ["network", "variant", "mIoU %", "accuracy %", "training loss", "gradient of layer 1, start",
              "layer 1 / last, start", "relative energy of the last layer, start", "trained",
              "effective rank of the last layer, start", "trained", "remark"]  # fmt: skip
    rows = []
    for s in found:
        scores = [_percent(*s.score("miou")), _percent(*s.score("oa")), _short(s.score("train_loss")[0])]
        gradients = [_mean(s.layer("gradient", "start", 1)), s.ratio("gradient", "start", over_last=True)]
        others = [s.last(name, state) for name in ("relative_energy", "effective_rank") for state in STATES]
        rows.append([s.label, s.variant, *scores, *map(_short, [*gradients, *others]), _remark(s)])
    return "## All networks\n\n" + _table(header, rows)


def _remark(summary):
    if summary.diverged:
        return f"diverged in {summary.diverged} of {len(summary.runs)} runs"
    return "" if summary.has_learned else "no better than the commonest class"


def _failures(by_variant):
    header = ["deepest network", "variant", "mIoU falls", "gradient: layer 1 / last, start", "trained",
              "relative energy: last / layer 1, start", "trained", "effective rank: last / layer 1, start",
              "trained"]  # fmt: skip
    rows = []
    for variant, group in by_variant.items():
        for block in NAMES:
            chosen = _of_block(group, block)
            if not chosen:
                continue
            s, falls = chosen[-1], has_fallen(chosen)
            row = [s.label, variant, "-" if falls is None else "yes" if falls else "no"]
            for measure, is_first_over_last, signs in (
                ("gradient", True, {"vanished": s.has_vanished, "exploded": s.has_exploded}),
                ("relative_energy", False, {"smooth": s.is_smooth, "unrelated": s.is_unrelated}),
                ("effective_rank", False, {"lost": s.has_lost_rank}),
            ):
                for state in STATES:
                    words = [word for word, is_so in signs.items() if is_so(state)]
                    row.append(" ".join([_short(s.ratio(measure, state, is_first_over_last)), *words]))
            rows.append(row)
    rule = (
        f"*Exploded*: the gradient of layer 1 is more than {GROWN:g} times that of the last layer. *Unrelated*: the "
        f"relative energy of the last layer is above {UNRELATED:g}, so neighbours in space are nearly as unlike as any "
        "two points, the opposite of smoothing. *Vanished*, *smooth*, *lost* and the fall: the rules of the sections "
        "below."
    )
    return "## What goes with a fall of the score\n\n" + rule + "\n\n" + _table(header, rows)


def _gradients(by_variant):
    lines = []
    for variant, group in by_variant.items():
        depths = [{s.network.blocks: s for s in group if s.network.block == block} for block in ("plain", "res")]
        common = set.intersection(*map(set, depths))
        if not common:
            lines.append(f"- {variant}: not tested, for want of a plain and a residual network of one depth.")
            continue
        plain, res = (of[max(common)] for of in depths)
        for state in STATES:
            x, w = (
                [_short(s.ratio(measure, state, over_last=True)) for s in (plain, res)]
                for measure in ("gradient", "weight_gradient")
            )
            vanished = plain.has_vanished(state), res.has_vanished(state)
            claim = None if None in vanished else vanished == (True, False)
            lines.append(
                f"- {variant}, {state}: the gradient of layer 1 is {x[0]} times that of layer {max(common)} in "
                f"{plain.label}, and {x[1]} times in {res.label} (of the weights: {w[0]} and {w[1]}). {_verdict(claim)}"
            )
    return _section(
        "Gradients vanish in plain but not in residual networks",
        f"the gradient |dL/dX| of layer 1 is less than {FALLEN:g} times that of the last layer in the deepest plain "
        "network, and is not in the residual network of the same depth.",
        lines,
        "no network",
    )


def _smoothing(by_variant):
    lines = []
    for variant, s in _deepest_of_each(by_variant):
        for state in STATES:
            ratio = s.ratio("relative_energy", state)
            first, last = (_mean(s.layer("mad", state, number)) for number in (1, -1))
            lines.append(
                f"- {variant}, {state}: the relative energy of the last layer of {s.label} is {_short(ratio)} times "
                f"that of layer 1; MAD goes from {_short(first)} to {_short(last)}. {_verdict(s.is_smooth(state))}"
            )
    return _section(
        "Features smooth out with depth",
        f"the relative energy of the last layer is less than {SMOOTH:g} times that of layer 1, in the deepest network "
        "of its kind. The energy is that of the fixed graph in space.",
        lines,
        "no network",
    )


def _scales(found):
    lines = []
    by_kind = defaultdict(list)
    for s in found:
        if s.network.conv.startswith("gcn"):
            by_kind[s.network.block, s.variant].append(s)
    for s in (kind[-1] for kind in by_kind.values()):
        for state in STATES:
            kept = s.has_kept_scale(state)
            claim = None if kept is None else kept != (s.network.conv == "gcn-none")
            lines.append(
                f"- {s.label}, {s.variant}, {state}: the features of the last layer are "
                f"{_short(s.ratio('rms', state))} times as large as those of layer 1; the gradient of layer 1 is "
                f"{_short(s.ratio('gradient', state, over_last=True))} times that of the last. {_verdict(claim)}"
            )
    return _section(
        "Random-walk and symmetric normalisation keep the scale, no normalisation does not",
        f"the root mean square of the features of the last layer is within a factor of {KEPT_SCALE:g} of that of "
        "layer 1 (`gcn-random-walk`, `gcn-symmetric`, `gcn-diagonal`), or is not (`gcn-none`), in the deepest network "
        "of its kind.",
        lines,
        "no GCN is among the networks",
    )


def _ranks(by_variant):
    lines = []
    for variant, s in _deepest_of_each(by_variant):
        for state in STATES:
            lost = s.has_lost_rank(state)
            claim = None if lost is None else lost == (s.network.block == "plain")
            lines.append(
                f"- {variant}, {state}, {NAMES[s.network.block]}: the effective rank of the last layer of {s.label} is "
                f"{_short(s.last('effective_rank', state))} of {s.network.widths[-1]} channels, "
                f"{_short(s.ratio('effective_rank', state))} times that of layer 1. {_verdict(claim)}"
            )
    return _section(
        "Residual and dense connections keep the effective rank, plain ones lose it",
        f"the effective rank of the last layer is at least {KEPT_RANK:g} times that of layer 1 (residual, dense), or "
        "is less (plain), in the deepest network of its kind. A dense network adds channels in every layer.",
        lines,
        "no network",
    )


def _dilation(found):
    lines = []
    for s in (s for s in found if not s.network.dilation):
        dilated = [o for o in found if o.network.dilation and s.system.differs_only_in(o.system, "dilation")]
        for other in dilated:
            for state in STATES:
                without, with_it = s.last("effective_rank", state), other.last("effective_rank", state)
                claim = None if math.isnan(without + with_it) else with_it > without
                lines.append(
                    f"- {s.label}, {s.variant}, {state}: the effective rank of the last layer is {_short(with_it)} "
                    f"with and {_short(without)} without dilation. {_verdict(claim)}"
                )
    return _section(
        "Dilation raises the effective rank",
        "the effective rank of the last layer is larger with dilation than without.",
        lines,
        "no two networks differ in dilation only",
    )


def _accuracy(by_variant):
    lines = []
    for variant, group in by_variant.items():
        for block, connections in NAMES.items():
            chosen = _of_block(group, block)
            if len(chosen) < 2:
                continue
            told = ", ".join(f"{s.network.blocks} layers {_percent(*s.score('miou'))}" for s in chosen)
            fallen = has_fallen(chosen)
            claim = None if fallen is None else fallen == (block == "plain")
            why = "" if chosen[0].has_learned else " The shallowest has not learned."
            lines.append(f"- {variant}, {connections}: mIoU % {told}.{why} {_verdict(claim)}")
    return _section(
        "Accuracy falls with depth for plain networks only",
        f"the mIoU of the deepest network is below that of the shallowest by more than {100 * FALL:g} point and the "
        "standard deviations of both over the seeds (plain), or is not (residual, dense). With one seed the deviation "
        "is 0. A network that diverged has fallen. A network has learned when its accuracy is "
        f"{100 * LEARNED:g} points above that of naming the commonest class everywhere.",
        lines,
        "no kind of network has two depths",
    )


def _section(title, rule, lines, missing):
    return f"## {title}\n\nRule: {rule}\n\n" + ("\n".join(lines) or f"Not tested: {missing}.")


def _of_block(group, block):
    """The networks with these connections, the shallowest first. -> list of Summary"""
    return sorted((s for s in group if s.network.block == block), key=lambda s: s.network.blocks)


def _deepest_of_each(by_variant):
    """-> list of (variant, Summary of the deepest network), for all connections that are there"""
    groups = [(variant, _of_block(group, block)) for variant, group in by_variant.items() for block in NAMES]
    return [(variant, chosen[-1]) for variant, chosen in groups if chosen]


def _judged(number, rule):
    return None if math.isnan(number) else rule(number)


def _verdict(claim):
    """claim: whether the numbers show it, None without numbers."""
    return "**No number to judge by.**" if claim is None else "**Seen.**" if claim else "**Not seen here.**"


def _mean(values):
    return mean(values) if values else math.nan


def _short(value):
    return "-" if math.isnan(value) else f"{value:.2g}" if abs(value) < 100 else f"{value:.3g}"


def _percent(value, spread):
    return "-" if math.isnan(value) else f"{100 * value:.1f} ± {100 * spread:.1f}"


def _table(header, rows):
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
