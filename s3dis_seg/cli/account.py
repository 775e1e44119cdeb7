"""What `segment` tells about a scan, before and after: as lines for people, and as values for `--json`."""

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.cli.progress import duration
from s3dis_seg.data.scans import UNIT_NAMES
from s3dis_seg.data.tally import UNSURE

SCHEMA = 1  # of the JSON document: grows where a program that reads it would have to change
_LOOKED_AT, _PLACES = 2_000_000, 3  # points from which the places to check are found, at most; places that are told
_SHORTEST = 0.05  # seconds: shorter steps are not listed


# --- before -----------------------------------------------------------------------------------------------------------


def before(scan, outlook, seconds, writing):
    """seconds: step -> what it took so far. writing: bytes and seconds of the output. -> dict for JSON"""
    known = outlook.seconds is not None
    return {
        "points": outlook.points,
        "usable_points": outlook.usable,
        "size_m": _rounded(outlook.size),
        "units": scan.units,
        "up": scan.up,
        "colors": scan.rgb is not None,
        "floor_area_m2": round(outlook.floor_area, 2),
        "points_per_m2": round(outlook.density, 1),
        "blocks": outlook.blocks,
        "blocks_without_overlap": outlook.blocks_without_overlap,
        "expected": {
            "network_seconds": round(outlook.seconds, 2) if known else None,
            "writing_seconds": round(writing[1], 2),
            "seconds": round(sum(seconds.values()) + outlook.seconds + writing[1], 2) if known else None,
            "memory_bytes": outlook.memory,
            "disk_bytes": writing[0],
        },
    }


def lines_before(name, facts, device):
    """facts: of `before` -> lines to print, the notes of the scan apart"""
    size = " x ".join(f"{extent:.1f}" for extent in facts["size_m"])
    yield f"{name}: {facts['points']:,} points, {size} m, {'colours' if facts['colors'] else 'no colours'}"
    yield (
        f"floor {facts['floor_area_m2']:,.1f} m2, {facts['points_per_m2']:,.0f} points a m2; read as "
        f"{UNIT_NAMES[facts['units']]}, {facts['up']} upwards"
    )
    single, expected = facts["blocks_without_overlap"], facts["expected"]
    amount = f"{facts['blocks']:,} blocks" + ("" if single is None else f" ({single:,} with --stride 1.0)")
    network = expected["network_seconds"]
    took = "" if network is None else f", about {duration(network)} ({network / max(facts['blocks'], 1):.3g} s each)"
    yield f"{amount} on {device}{took}"
    whole = [] if expected["seconds"] is None else [f"about {duration(expected['seconds'])} with reading and writing"]
    whole += [] if expected["memory_bytes"] is None else [f"{_amount(expected['memory_bytes'])} of memory"]
    yield f"expected: {', '.join([*whole, _amount(expected['disk_bytes']) + ' on the disk'])}"


# --- afterwards -------------------------------------------------------------------------------------------------------


def after(scan, tally, checked, seconds, memory):
    """tally, checked: what `tally_of` and `places` gave. seconds: step -> what it took. memory: bytes at the peak.

    -> dict for JSON
    """
    total, names = len(scan), scan.classes.names
    found = [number for number in np.argsort(-tally.points[: len(names)], kind="stable") if tally.points[number]]
    return {
        "classes": [
            {
                "number": int(number),
                "name": names[number],
                "points": int(tally.points[number]),
                "share": round(tally.points[number] / total, 4),
                "floor_area_m2": round(tally.areas[number], 2),
                "confidence": round(tally.confidence[number], 3),
            }
            for number in found
        ],
        "classes_not_found": [name for name, points in zip(names, tally.points) if not points],
        "points_without_prediction": int(tally.points[UNLABELLED]),
        "unsure_share": round(tally.unsure, 4),
        "places_to_check": checked,
        "seconds": {step: round(spent, 2) for step, spent in seconds.items()}
        | {"all": round(sum(seconds.values()), 2)},
        "memory_bytes": memory,
    }


def lines_after(facts, total):
    """facts: of `after`; total: points of the scan -> lines to print"""
    width = max([12, *(len(row["name"]) + 1 for row in facts["classes"])])
    yield f"{'class':<{width}}{'points':>15}{'share':>8}{'floor m2':>11}{'confidence':>12}"
    for row in facts["classes"]:
        yield (
            f"{row['name']:<{width}}{row['points']:>15,}{row['share']:>8.1%}{row['floor_area_m2']:>11,.1f}"
            f"{row['confidence']:>12.2f}"
        )
    none = facts["points_without_prediction"]
    if none:
        yield f"{'none':<{width}}{none:>15,}{none / total:>8.1%}"
    if none < total:
        yield f"confidence below {UNSURE}: {facts['unsure_share']:.1%} of the labelled points"
    if facts["classes_not_found"]:
        yield f"not found: {', '.join(facts['classes_not_found'])}"
    for place in facts["places_to_check"]:
        x, y, z = place["center_m"]
        yield (
            f"to check: {place['class']} around x {x:.1f}, y {y:.1f}, z {z:.1f}, mean confidence "
            f"{place['confidence']:.2f}"
        )
    took = facts["seconds"]
    steps = [f"{step} {duration(spent)}" for step, spent in took.items() if spent >= _SHORTEST and step != "all"]
    memory = "" if facts["memory_bytes"] is None else f"; {_amount(facts['memory_bytes'])} of memory at the most"
    yield "time: " + ", ".join([*steps, f"in all {duration(took['all'])}"]) + memory


def places(scan):
    """Where the network is least sure, in metres. -> list of dicts"""
    from s3dis_seg.report.page_facts import doubtful_places

    some = slice(None, None, -(-len(scan) // _LOOKED_AT))
    found = doubtful_places(scan.xyz[some], scan.predictions[some], scan.confidence[some], most=_PLACES)
    return [
        {
            "class": scan.classes.names[place.label],
            "center_m": _rounded((place.low + place.high) / 2),
            "confidence": round(float(place.confidence), 3),
        }
        for place in found
    ]


def _rounded(values):
    return [round(float(value), 2) for value in values]


def _amount(size):
    """-> such as "12 MB" or "1.3 GB\""""
    return f"{size / 1e9:.1f} GB" if size >= 9.95e8 else f"{max(size / 1e6, 0.1):.{0 if size >= 9.5e5 else 1}f} MB"
