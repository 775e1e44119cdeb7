"""Labelled or corrected scans of any format as rooms, with the classes of the user; and one scan cut into two rooms.

Letters: P points.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from s3dis_seg.classes import UNLABELLED, Classes
from s3dis_seg.data.rooms.room import Repair, room_of
from s3dis_seg.data.rooms.room_source import RoomSource, is_stray
from s3dis_seg.data.scans import READABLE, labels_of, read_scan
from s3dis_seg.data.scans.corrections import (
    classes_of_corrections,
    corrections_path,
    is_corrections,
    read_corrections,
)
from s3dis_seg.data.scans.labels import field_of, values_of
from s3dis_seg.files import InputError, numbered_names, safe_name

TRAIN, VAL = "_train", "_val"  # how the names of the two rooms of a cut scan end; `split_rooms` knows them
GAP = 0.5  # metres between them, or less where the scan is short
_GAP_SHARE = 0.05  # the most of the length that the gap takes
LEARN_FROM = 0.0  # confidence from which predictions are labels beside corrections; see docs/corrections.md
_GREY = 128  # of scans without colours
_BYTES_A_POINT = 20  # of a scan, for estimates


def find_scans(path):
    """Scans of a folder and of the folders in it, or the one that is named. -> list of paths, sorted"""
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name a labelled scan, or a folder of them")
    found = [scan for scan in path.rglob("*") if scan.suffix.lower() in READABLE and scan.is_file()]
    found = [scan for scan in found if not is_corrections(scan)]
    scans = sorted(scan for scan in found if not any(map(is_stray, [scan, *scan.relative_to(path).parents])))
    if not scans:
        raise InputError(f"{path} holds no scans; known formats: {', '.join(READABLE)}")
    return scans


def names_of(scans, folder):
    """A name for the room of each scan: that of its file, with the folders above it up to `folder`. -> list of texts

    Unique whatever the capitals, and safe in file names and patterns: letters, digits and . _ - only.
    """
    inside = [scan.relative_to(folder) if Path(folder).is_dir() else Path(scan.name) for scan in scans]
    names = [safe_name("_".join([*path.parts[:-1], path.stem]), "scan") for path in inside]
    alone = Counter(map(str.lower, names))
    # hall.las beside hall.csv
    names = [name if alone[name.lower()] == 1 else f"{name}-{path.suffix[1:]}" for name, path in zip(names, inside)]
    return numbered_names(names)


def count_values(scans, field=None, units=None, progress=None):
    """Which values the labels of some scans have. -> dict value (integer, word; None for NaN) -> {path: points}

    field: the property that holds the labels; None looks for a usual name. progress(path) is called after each scan.
    """
    counts = {}
    for path in scans:
        scan = read_scan(path, units)
        for value, points in values_of(scan, field_of(scan, field)).items():
            counts.setdefault(value, {})[path] = points
        if progress:
            progress(path)
    return counts


def require_named(counts, classes, class_file):
    """InputError that lists the values which no line of the class file names. counts: as `count_values` gives them"""
    unknown = [value for value in counts if value is not None and classes.label_of(value) is None]
    if not unknown:
        return
    listed = [
        f"{value} ({sum(counts[value].values()):,} points, in {next(iter(counts[value])).name}"
        f"{f' and {len(counts[value]) - 1} more scans' if len(counts[value]) > 1 else ''})"
        for value in unknown[:20]
    ]
    more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
    raise InputError(
        f"no line of {class_file} names {len(unknown)} of the values in the scans: {', '.join(listed)}{more}; add them "
        "to a class or to 'ignore', or write 'ignore = rest' to ignore whatever is not named"
    )


def labelled_sources(path, classes, field=None, units=None, cut=None):
    """The rooms that labelled scans become. -> list of RoomSource, sorted by name

    cut: None for one room a scan; otherwise the share of the points that a strip for validation gets, and each scan
    becomes two rooms, name_train and name_val.
    """
    scans = find_scans(path)
    sources = []
    for scan, name in zip(scans, names_of(scans, path)):
        stat = scan.stat()
        ends, how = [""] if cut is None else [TRAIN, VAL], (field, units, cut)
        for end in ends:
            reader = partial(read_labelled, classes=classes, field=field, units=units, cut=cut)
            points = stat.st_size // _BYTES_A_POINT // len(ends)
            sources.append(RoomSource(name + end, scan, reader, points, stat.st_mtime, classes, _how(*how)))
    return sorted(sources, key=lambda source: source.name)


def _how(field, units, cut):
    """How a scan is read, as the `how` of a RoomSource. -> text"""
    told = {f"labels from {field}": field, f"in {units}": units, f"cut at {cut}": cut}
    return ", ".join(text for text, given in told.items() if given)


def read_labelled(path, name, classes: Classes, field=None, units=None, cut=None):
    """One labelled scan as a room; with `cut`, the part of it that its name ends in. -> Room; InputError"""
    scan = read_scan(path, units, classes)
    labels = labels_of(scan, field_of(scan, field))
    return _room(name, scan, labels, classes, _how(field, units, cut), cut)


def _room(name, scan, labels, classes, how, cut=None):
    """A scan with these labels as a room. labels: (P,) uint8; how: as in RoomSource -> Room; InputError"""
    path = scan.path
    xyz, told = np.asarray(scan.xyz, np.float64), [warning.removeprefix(f"{path}: ") for warning in scan.warnings]
    usable = np.isfinite(xyz).all(axis=1)
    if not usable.any():
        raise InputError(f"{path} has no point with finite coordinates; leave it out")
    if not usable.all():
        told.append(f"{(~usable).sum():,} points with NaN or infinite coordinates left out")
    if scan.rgb is None:
        told.append("has no colours: grey is taken")
    if (labels[usable] == UNLABELLED).all():
        raise InputError(f"{path} has no labelled point; leave it out, or see which values the class file ignores")
    if cut is not None:
        usable &= _part(path, xyz, labels, usable, cut)[name.endswith(VAL)]
    rgb = np.full((len(xyz), 3), _GREY, np.uint8) if scan.rgb is None else scan.rgb
    source = RoomSource(name, path, read_labelled, 0, 0.0, how=how)
    repairs = [Repair(Path(path).name, None, what) for what in told]
    return room_of(name, xyz[usable], rgb[usable], labels[usable], None, source.label, repairs, classes)


def _part(path, xyz, labels, usable, share):
    """Cut a scan across its longer horizontal side. -> (P,) bool of the training part, (P,) bool of the other

    The strip for validation is at the end that leaves the training the most classes, then at the one with the most
    classes itself. InputError where one of the parts gets no labelled point.
    """
    axis = int(np.ptp(xyz[usable, :2], axis=0).argmax())
    along = xyz[:, axis]
    low, high = along[usable].min(), along[usable].max()
    gap = min(GAP, _GAP_SHARE * (high - low))
    upper, lower = np.quantile(along[usable], (1 - share, share))
    parts = [(along < upper - gap, along >= upper), (along > lower + gap, along <= lower)]

    def classes_in(part):
        return len(set(np.unique(labels[part & usable]).tolist()) - {UNLABELLED})

    train, val = max(parts, key=lambda both: tuple(map(classes_in, both)))
    for part, what in ((train, "training"), (val, "validation")):
        if not classes_in(part):
            raise InputError(
                f"{path} has no labelled point in the {what} part of the cut; choose another --cut, or leave it away"
            )
    return train, val


def gap_between(train, val):
    """How two rooms of a cut scan lie. -> axis 0 or 1, metres between them, metres of the validation strip"""
    low = [np.asarray(room.offset) for room in (train, val)]
    high = [start + room.hi for start, room in zip(low, (train, val))]
    gaps = np.maximum(low[1] - high[0], low[0] - high[1])[:2]
    axis = int(gaps.argmax())
    return axis, float(gaps[axis]), float(val.hi[axis])


def corrected_sources(path, sure=None, units=None):
    """The rooms that corrected scans become, and the scans that nobody has corrected. -> list of RoomSource, of paths

    path: a segmented scan with corrections beside it (scan.labels.npz), or a folder of them. sure: as `labels_to_learn`
    takes it. InputError where there are no corrections, or where their classes differ.
    """
    scans = find_scans(path)
    names = dict(zip(scans, names_of(scans, path)))
    corrected = [scan for scan in scans if corrections_path(scan).is_file()]
    if not corrected:
        raise InputError(f"there are no corrections beside the scans of {path}; make them with s3dis-seg review")
    classes = classes_of_corrections(corrections_path(corrected[0]))
    for scan in corrected:
        if (other := classes_of_corrections(corrections_path(scan))).names != classes.names:
            raise InputError(
                f"{corrections_path(scan)} has the classes {', '.join(other.names)[:200]}, "
                f"{corrections_path(corrected[0])} has {', '.join(classes.names)[:200]}; prepare them one by one"
            )
    reader = partial(read_corrected, classes=classes, sure=sure, units=units)
    sources = []
    for scan in corrected:
        points = scan.stat().st_size // _BYTES_A_POINT
        modified = max(file.stat().st_mtime for file in (scan, corrections_path(scan)))
        how = _how_corrected(sure, units)
        sources.append(RoomSource(names[scan], scan, reader, points, modified, classes, how))
    return sorted(sources, key=lambda source: source.name), [scan for scan in scans if scan not in corrected]


def _how_corrected(sure, units):
    predictions = "without predictions" if sure is None else f"with predictions from {sure:g} confidence"
    return f"corrected, {predictions}" + (f", in {units}" if units else "")


def read_corrected(path, name, classes: Classes, sure=None, units=None):
    """One corrected scan as a room. -> Room; InputError"""
    scan = read_scan(path, units, classes)
    corrections, _ = read_corrections(corrections_path(path), scan)
    return _room(name, scan, labels_to_learn(scan, corrections, sure), classes, _how_corrected(sure, units))


def labels_to_learn(scan, corrections, sure=None):
    """What a network can learn from a corrected scan. (P,) classes, 255 where not corrected -> (P,) uint8

    Corrected points have the class that they were given. sure: points with at least this confidence have the class
    that they are predicted to be, so that the network does not forget what it knows; None for no such points.
    InputError where the scan has none of what `sure` needs.
    """
    labels = np.array(corrections, np.uint8)
    if sure is not None:
        if scan.predictions is None or scan.confidence is None:
            raise InputError(f"{scan.path} has no predictions with a confidence; segment it again, or say --sure none")
        certain = (labels == UNLABELLED) & (scan.confidence >= sure)
        labels[certain] = scan.predictions[certain]
    return labels
