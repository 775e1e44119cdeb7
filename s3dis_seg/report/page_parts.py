"""The parts of a page that are text, tables and charts, as HTML. Every name goes through `html.escape`.

Letters: C classes.
"""

import base64
import io
from html import escape

import numpy as np

from s3dis_seg.classes import UNLABELLED_COLOR
from s3dis_seg.data.floor import CELL as FLOOR_CELL
from s3dis_seg.metrics import calibration_error
from s3dis_seg.report.tables import percent
from s3dis_seg.view.colorings import RIGHT, WRONG, ramp

_WIDTH, _HEIGHT = 420, 220  # of a chart, in its own units
_LEFT, _BOTTOM, _TOP, _RIGHT = 46, 40, 12, 12


def swatch(color):
    """A square of a colour. (3,) -> HTML"""
    square = f'<rect width="1" height="1" fill="{_hex(color)}"/>'
    return f'<svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">{square}</svg>'


def _hex(color):
    return "#{:02x}{:02x}{:02x}".format(*map(int, color))


def section(title, content, about=""):
    """A section with its heading. title, about: texts; content: HTML -> HTML"""
    note = f'<p class="note">{escape(about)}</p>' if about else ""
    return f"<section><h2>{escape(title)}</h2>{note}{content}</section>"


def coloring_choice(colorings):
    """Switches between colourings, with the meaning of those that are not classes. list of (name, title) -> HTML"""
    start = next(name for name, _ in colorings if name == "prediction")
    lines = [
        f'<label><input type="radio" name="coloring" value="{name}"{" checked" if name == start else ""}> '
        f'<span class="name">{escape(title.capitalize())}</span></label>{_key_of(name)}'
        for name, title in colorings
    ]
    return "\n".join(lines)


def _key_of(coloring):
    meaning = _meaning(coloring, "panel")
    return f'<p class="key" data-coloring="{coloring}" hidden>{meaning}</p>' if meaning else ""


def _meaning(coloring, place):
    """What the colours of errors and of confidence mean; nothing for the others. place: one word, once each. -> HTML"""
    if coloring == "errors":
        return _legend([("right", RIGHT), ("wrong", WRONG), ("unlabelled", UNLABELLED_COLOR)])
    if coloring == "confidence":
        steps = np.linspace(0, 1, 9)
        stops = "".join(f'<stop offset="{s}" stop-color="{_hex(color)}"/>' for s, color in zip(steps, ramp(steps)))
        return (
            '<svg class="ramp" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><defs>'
            f'<linearGradient id="ramp-{place}">{stops}</linearGradient></defs>'
            f'<rect width="100" height="10" fill="url(#ramp-{place})"/></svg><span>0</span><span class="end">1</span>'
        )
    return ""


def _legend(entries):
    return " ".join(f"<span>{swatch(color)} {escape(name)}</span>" for name, color in entries)


def class_choice(classes):
    """A checklist of classes; page.js writes the number of points beside each. classes: list of dicts -> HTML"""
    return "\n".join(
        f'<label><input type="checkbox" name="label" value="{row["number"]}"{" checked" if row["shown"] else ""}> '
        f'{swatch(row["color"])} <span class="name">{escape(row["name"])}</span> <span class="count"></span></label>'
        for row in classes
    )


def table(head, rows, labels=1):
    """A table of HTML cells that scrolls sideways where it is too wide. labels: how many columns are words."""

    def line(cells, tag):
        kinds = ["" if place < labels else ' class="number"' for place in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells)) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="table"><table><thead>{line(head, "th")}</thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def bar(share):
    """A share from 0 to 1 as a bar. -> HTML"""
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * share:.2f}" height="10"/></svg>'
    )


def class_table(classes):
    """Points, share, floor area and mean confidence of each class. classes: list of dicts -> HTML"""
    sure = any(row["confidence"] is not None for row in classes)
    head = ["Class", "", "Points", "Share", "Floor area, m²"] + (["Mean confidence"] if sure else [])
    rows = []
    for row in classes:
        cells = [
            f"{swatch(row['color'])} {escape(row['name'])}",
            bar(row["share"]),
            f"{row['points']:,}",
            _percent(row["share"]),
            f"{row['area']:.2f}",
        ]
        rows.append(cells + ([_two(row["confidence"])] if sure else []))
    note = (
        "Floor area is the part of the floor plan that has points of the class: its cells of "
        f"{FLOOR_CELL * 100:.0f} cm that hold at least one. Of a wall, that is its footprint. Thin scans leave cells "
        "empty, so their areas are too small."
    )
    return table(head, rows, labels=2) + f'<p class="note">{note}</p>'


def _percent(share):
    return f"{100 * share:.1f} %"


def _two(value):
    return "-" if value is None else f"{value:.2f}"


def histogram_chart(shares, unsure):
    """How many points have which confidence. (bins,) shares; unsure: share below 0.5 -> HTML"""
    top = max(float(shares.max()), 0.01)
    width = (_WIDTH - _LEFT - _RIGHT) / len(shares)
    bars = "".join(
        f'<rect class="fill" x="{_LEFT + i * width + 0.5:.1f}" y="{_down(share / top):.1f}" width="{width - 1:.1f}" '
        f'height="{_down(0) - _down(share / top):.1f}"><title>{i / len(shares):.2f} to {(i + 1) / len(shares):.2f}: '
        f"{_percent(share)} of the points</title></rect>"
        for i, share in enumerate(shares)
    )
    summary = f"{_percent(unsure)} of the points have a confidence below 0.5."
    ticks = [(0, "0 %"), (1, f"{100 * top:.0f} %")]
    chart = _chart(bars, "confidence", "points", ticks, f"Histogram of the confidence. {summary}")
    return f"<figure>{chart}<figcaption>{summary}</figcaption></figure>"


def calibration_chart(counts):
    """How often predictions of a confidence are right. (bins, 3), see `metrics.reliability` -> HTML"""
    width = (_WIDTH - _LEFT - _RIGHT) / len(counts)
    some = [(i, points, sure / points, right / points) for i, (points, right, sure) in enumerate(counts) if points]
    bars = "".join(
        f'<rect class="fill" x="{_LEFT + i * width + 0.5:.1f}" y="{_down(right):.1f}" width="{width - 1:.1f}" '
        f'height="{_down(0) - _down(right):.1f}"><title>mean confidence {sure:.2f}: {_percent(right)} of '
        f"{points:,.0f} points are right</title></rect>"
        f'<circle class="mark" cx="{_across(sure):.1f}" cy="{_down(right):.1f}" r="3"/>'
        for i, points, sure, right in some
    )
    diagonal = f'<path class="diagonal" d="M{_across(0)} {_down(0)}L{_across(1)} {_down(1)}"/>'
    summary = (
        f"Expected calibration error: {percent(calibration_error(counts))} %. That is how far confidence and the share "
        "of right predictions lie apart, on average over the points. On the dashed line they agree; below it the "
        "network is too sure of itself."
    )
    chart = _chart(bars + diagonal, "confidence", "right", [(0, "0 %"), (1, "100 %")], f"Calibration. {summary}")
    return f"<figure>{chart}<figcaption>{summary}</figcaption></figure>"


def _across(value):
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _down(value):
    return _HEIGHT - _BOTTOM - value * (_HEIGHT - _BOTTOM - _TOP)


def _chart(inside, x_title, y_title, y_ticks, description):
    texts = [
        f'<text x="{_across(v):.1f}" y="{_HEIGHT - 23}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    texts += [f'<text x="{_LEFT - 6}" y="{_down(v) + 4:.1f}" text-anchor="end">{text}</text>' for v, text in y_ticks]
    texts.append(f'<text x="{_across(0.5):.1f}" y="{_HEIGHT - 5}" text-anchor="middle">{x_title}</text>')
    texts.append(f'<text x="{_LEFT - 6}" y="{_down(0.5) + 4:.1f}" text-anchor="end">{y_title}</text>')
    axes = f'<path class="axis" d="M{_across(0)} {_down(1)}V{_down(0)}H{_across(1)}"/>'
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(description)}">'
        f"{inside}{axes}{''.join(texts)}</svg>"
    )


def place_list(places, class_names, colors):
    """The places to check first, as buttons that the page makes fly there. -> HTML"""
    if not places:
        return "<p>There is none: everywhere the mean confidence is high.</p>"
    rows = []
    for number, place in enumerate(places, start=1):
        middle, size = (place.low + place.high) / 2, place.high - place.low
        rows.append(
            [
                f'<button type="button" class="fly" data-place="{number - 1}">Place {number}</button>',
                f"{swatch(colors[place.label])} {escape(class_names[place.label])}",
                f"{place.confidence:.2f}",
                f"{place.points:,}",
                ", ".join(f"{value:.1f}" for value in middle),
                " \N{MULTIPLICATION SIGN} ".join(f"{value:.1f}" for value in size),
            ]
        )
    head = ["", "Mostly predicted", "Mean confidence", "Points", "Middle (x, y, z), m", "Size, m"]
    return table(head, rows, labels=2)


def score_tables(scores, colors):
    """Scores of the classes and the confusion matrix. Scores -> HTML"""
    labelled = scores.confusion.sum(axis=1)
    names = [f"{swatch(color)} {escape(name)}" for name, color in zip(scores.class_names, colors)]
    rows = [
        [name, percent(iou), percent(accuracy), f"{points:,}"]
        for name, iou, accuracy, points in zip(names, scores.iou, scores.accuracy, labelled)
        if not np.isnan(iou)
    ]
    means = (
        f"<dl class='figures'>{figure('mIoU', percent(scores.miou) + ' %')}"
        f"{figure('overall accuracy', percent(scores.oa) + ' %')}"
        f"{figure('mean class accuracy', percent(scores.macc) + ' %')}"
        f"{figure('points scored', f'{scores.points:,}')}</dl>"
    )
    classes = table(["Class", "IoU, %", "Accuracy, %", "Labelled points"], rows)
    return f"{means}{classes}<h3>Confusion</h3>{_confusion(scores, names)}"


def figure(name, value):
    """A number with its name, for a list of figures. Both are text. -> HTML"""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _confusion(scores, names):
    """The classes that occur: a row is a label, its cells are percentages of its points."""
    shown = np.flatnonzero(~np.isnan(scores.iou))
    head = "".join(f"<th><span>{escape(scores.class_names[column])}</span></th>" for column in shown)
    lines = []
    for row in shown:
        labelled = scores.confusion[row].sum()
        cells = []
        for column in shown:
            share = scores.confusion[row, column] / labelled if labelled else 0.0
            text = f"{100 * share:.0f}" if share >= 0.005 else ""
            cells.append(f'<td class="{"right" if row == column else "wrong"}" style="--share:{share:.3f}">{text}</td>')
        lines.append(f"<tr><th>{names[row]}</th>{''.join(cells)}</tr>")
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="confusion matrix"><table class="confusion"><thead><tr>'
        f"<th>labelled as ↓ predicted as →</th>{head}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="note">Cells are percentages of the points with the label of the row; empty ones are below half a '
        "percent.</p>"
    )


def pairs(entries):
    """Names with their values. list of (text, text) -> HTML"""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries) + "</dl>"


def sentences(texts):
    """A list of sentences, or nothing where there is none. -> HTML"""
    if not texts:
        return ""
    return '<ul class="notes">' + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def picture(coloring, title, pixels, legend):
    """A picture as part of the page. title: text; pixels: (H, W, 3) uint8; legend: list of (name, color) -> HTML"""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, pixels, format="png", pil_kwargs={"optimize": True})
    content = base64.b64encode(file.getvalue()).decode("ascii")
    height, width = pixels.shape[:2]
    return (
        f'<figure><img src="data:image/png;base64,{content}" width="{width}" height="{height}" '
        f'alt="{escape(title)}" decoding="async"><figcaption><b>{escape(title.capitalize())}</b>'
        f'<span class="key">{_legend(legend) or _meaning(coloring, "picture")}</span></figcaption></figure>'
    )


def data_block(name, text):
    """A packed column for page.js. -> HTML"""
    return f'<script type="application/octet-stream" id="data-{name}">{text}</script>'
