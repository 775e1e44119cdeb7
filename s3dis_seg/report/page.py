"""A segmented scan as one HTML page that shows itself: no server, no network, nothing to install.

page_view.py    the points and facts of the 3-D view
page_points.py  which points, in which order, and packed as text
page_facts.py   floor areas, histogram, places to check first
page_parts.py   tables and charts as HTML
page.html, page.css, page.js   the template, and the program of the 3-D view

Letters: P points of a scan, C classes.
"""

import base64
import hashlib
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from s3dis_seg.classes import CLASSES, COLORS, UNLABELLED, UNLABELLED_COLOR
from s3dis_seg.files import InputError, replacing
from s3dis_seg.metrics import confusion_matrix, reliability, scores
from s3dis_seg.report import page_facts, page_parts
from s3dis_seg.report.page_points import HANDS
from s3dis_seg.report.page_view import view_of
from s3dis_seg.view import available_colorings
from s3dis_seg.view.colorings import TITLES, color_points
from s3dis_seg.view.drawing import paint
from s3dis_seg.view.pictures import look

MOST_POINTS = 3_000_000
_WIDEST = 100_000.0  # metres; no building is wider, so a point out there is a mistake of the file
_PICTURE = 640, 480  # pixels
_IN_PICTURE = 1_000_000  # points
_OVERHEAD = "ceiling", "beam"  # not shown at first, so that one looks into the rooms from above


@dataclass(frozen=True)
class _Classes:
    """Names and colours of all 256 numbers that a label can have. names: 256 texts; colors: (256, 3) uint8; count: C"""

    names: list
    colors: np.ndarray
    count: int

    @classmethod
    def of(cls, names, colors):
        palette = np.tile(UNLABELLED_COLOR, (256, 1))
        palette[: len(names)] = colors
        unknown = [""] * (UNLABELLED - len(names))
        return cls([*names, *unknown, "unlabelled"], palette, len(names))


def write_page(path, scan, class_names=CLASSES, colors=COLORS, made=(), notes=(), most_points=MOST_POINTS):
    """Write a segmented scan as a self-contained HTML page. -> number of points in its 3-D view

    scan: a Scan with predictions; its colours, confidence and labels are shown where it has them. class_names, colors:
    of the C classes, (C, 3) uint8. made: pairs of texts, how the predictions were made. notes: sentences for the top of
    the page. most_points: larger scans are thinned evenly in the 3-D view; all figures are of all points.
    InputError where the scan cannot be shown or the file cannot be written.
    """
    require_page_name(path)
    _require_predictions(scan, len(class_names))
    notes = list(notes)
    scan = _usable(scan, notes)
    classes = _Classes.of(class_names, colors)
    places = [] if scan.confidence is None else _doubtful_places(scan)
    columns, facts, order = view_of(scan, classes.colors, places, most_points)
    if len(order) < len(scan):
        notes.append(
            f"The 3-D view shows {len(order):,} of {len(scan):,} points, evenly thinned; all figures are of all points."
        )
    colorings = [name for name in available_colorings(scan) if name != "scan" or scan.rgb is not None]
    template = files("s3dis_seg.report")
    script = template.joinpath("page.js").read_text(encoding="utf-8")
    content = {
        "title": escape(scan.path.name if scan.path else "Segmented scan"),
        "summary": escape(_summary(scan)),
        "notes": page_parts.sentences(notes),
        "css": template.joinpath("page.css").read_text(encoding="utf-8"),
        "script": script,
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "colorings": page_parts.coloring_choice([(name, TITLES[name]) for name in colorings]),
        "num_colorings": str(len(colorings)),
        "classes": page_parts.class_choice(_choice(scan, classes)),
        "pictures": _pictures(scan, order, colorings, classes),
        "sections": "\n".join(_sections(scan, classes, places, made)),
        "facts": facts.replace("<", "\\u003c"),
        "data": "\n".join(page_parts.data_block(name, text) for name, text in columns.items()),
    }
    page = Template(template.joinpath("page.html").read_text(encoding="utf-8")).substitute(content)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return len(order)


# --- what can be shown ------------------------------------------------------------------------------------------------


def require_page_name(path):
    """InputError where a page cannot be written under this name."""
    if not str(path).lower().endswith((".html", ".htm")):
        raise InputError(f"cannot write a page as {path}; name a .html file")


def _require_predictions(scan, num_classes):
    name = scan.path or "the scan"
    if scan.predictions is None:
        raise InputError(
            f"{name} has no predictions to report on; segment it first: s3dis-seg segment {name} --out segmented.ply"
        )
    for what, labels in (("prediction", scan.predictions), ("label", scan.labels)):
        if labels is not None and (odd := labels[(labels >= num_classes) & (labels != UNLABELLED)]).size:
            raise InputError(
                f"{name} has the {what} {odd[0]}, but there are {num_classes} classes, numbered from 0; "
                "name another property"
            )


def _usable(scan, notes):
    """The scan with its finite points only and a confidence from 0 to 1; what is left out is added to notes. -> Scan"""
    finite = np.isfinite(scan.xyz).all(axis=1)
    if not finite.any():
        raise InputError(f"{scan.path or 'the scan'} has no point with finite coordinates; there is nothing to see")
    if not finite.all():
        notes.append(f"Points left out, because their coordinates are not finite numbers: {(~finite).sum():,}.")
        scan = _part(scan, finite)
    low, high = scan.xyz.min(axis=0).astype(np.float64), scan.xyz.max(axis=0).astype(np.float64)
    across = float((high - low).max())
    if across > _WIDEST:
        raise InputError(
            f"the points of {scan.path or 'the scan'} lie {across / 1000:.3g} km apart, which no building does; "
            "remove the stray points, or name the units with --units"
        )
    if scan.confidence is None:
        return scan
    confidence = np.nan_to_num(scan.confidence, nan=0.0)
    if confidence.min() < 0 or confidence.max() > 1:
        notes.append("The confidence in the file is left out, because it is not from 0 to 1.")
        confidence = None
    return replace(scan, confidence=confidence)


def _part(scan, which):
    """A scan of some of the points. which: (P,) bool or indices -> Scan"""
    given = {name: getattr(scan, name) for name in ("xyz", "rgb", "predictions", "confidence", "labels")}
    return replace(scan, columns={}, **{name: None if of is None else of[which] for name, of in given.items()})


def _doubtful_places(scan):
    return page_facts.doubtful_places(scan.xyz, scan.predictions, scan.confidence)


# --- the parts of the page --------------------------------------------------------------------------------------------


def _summary(scan):
    size = " \N{MULTIPLICATION SIGN} ".join(f"{extent:.1f}" for extent in np.ptp(scan.xyz, axis=0))
    found = len(np.setdiff1d(scan.predictions, [UNLABELLED]))
    parts = [f"{len(scan):,} points", f"{size} m", f"{found} {'class' if found == 1 else 'classes'} found"]
    if scan.labels is not None and (score := _right(scan)) is not None:
        parts.append(f"{100 * score:.1f} % right")
    return " · ".join(parts)


def _right(scan):
    """The share of right predictions among the points that have a label; None where no point has one."""
    counted = (scan.labels != UNLABELLED) & (scan.predictions != UNLABELLED)
    return float((scan.labels == scan.predictions)[counted].mean()) if counted.any() else None


def _choice(scan, classes):
    """The classes of the checklist: those that are predicted or labelled. -> list of dicts"""
    found = np.bincount(scan.predictions, minlength=256)
    if scan.labels is not None:
        found = found + np.bincount(scan.labels, minlength=256)
    present = np.flatnonzero(found).tolist()
    names = {classes.names[number] for number in present}
    return [
        {
            "number": number,
            "name": classes.names[number],
            "color": classes.colors[number],
            "shown": classes.names[number] not in _OVERHEAD or names <= set(_OVERHEAD),
        }
        for number in present
    ]


def _pictures(scan, order, colorings, classes):
    """Still pictures of a part of the points, spread evenly: for paper, and where there is no WebGL 2. -> HTML"""
    hand = -(-len(order) // HANDS)
    some = _part(scan, order[: max(_IN_PICTURE // hand, 1) * hand])
    # Ceilings are cut away by the numbers that they have among the classes of S3DIS.
    seen = look(some, _PICTURE, ceiling=tuple(classes.names[: classes.count]) != CLASSES)
    figures = []
    for name in colorings:
        labels = {"prediction": some.predictions, "truth": some.labels}.get(name)
        colors = color_points(some, name) if labels is None else classes.colors[labels]
        visible = [] if labels is None else np.unique(labels[seen[seen >= 0]])
        legend = [(classes.names[number], classes.colors[number]) for number in visible]
        figures.append(page_parts.picture(name, TITLES[name], paint(seen, colors), legend))
    return "\n".join(figures)


def _sections(scan, classes, places, made):
    """The sections below the view. -> yields HTML"""
    names, colors = classes.names, classes.colors
    yield page_parts.section("Classes", page_parts.class_table(_class_rows(scan, classes)))
    if scan.confidence is not None:
        yield page_parts.section("Confidence", _confidence_charts(scan))
        about = (
            "The scan is cut into cubes of half a metre. These are the cubes in which the mean confidence is lowest, a "
            "tenth of the points in all; cubes that touch make one place, and the largest comes first."
        )
        yield page_parts.section("Places to check first", page_parts.place_list(places, names, colors), about)
    if scan.labels is not None:
        confusion = confusion_matrix(scan.labels, scan.predictions, classes.count)
        if confusion.sum():
            found = scores(confusion, names[: classes.count])
            yield page_parts.section("Scores", page_parts.score_tables(found, colors))
    yield page_parts.section("How it was made", page_parts.pairs(made) if made else "<p>Nothing is known about it.</p>")


def _class_rows(scan, classes):
    """Points, share, floor area and mean confidence of the predicted classes, most points first. -> list of dicts"""
    points = np.bincount(scan.predictions, minlength=256)
    areas = page_facts.floor_areas(scan.xyz, scan.predictions)
    sums = None if scan.confidence is None else np.bincount(scan.predictions, scan.confidence, minlength=256)
    return [
        {
            "name": classes.names[number],
            "color": classes.colors[number],
            "points": int(points[number]),
            "share": points[number] / len(scan),
            "area": areas[number],
            "confidence": None if sums is None else sums[number] / points[number],
        }
        for number in np.argsort(-points, kind="stable")
        if points[number]
    ]


def _confidence_charts(scan):
    predicted = scan.predictions != UNLABELLED
    sure = scan.confidence[predicted]
    charts = page_parts.histogram_chart(page_facts.histogram(sure), float((sure < 0.5).mean()) if len(sure) else 0.0)
    if scan.labels is not None:
        counts = reliability(scan.labels, scan.predictions, scan.confidence)
        charts += page_parts.calibration_chart(counts) if counts.any() else ""
    return f'<div class="charts">{charts}</div>'
