"""Some of the points of a scan as a scan of their own. Letters: P points, n of them chosen."""

from dataclasses import replace

import numpy as np

from s3dis_seg.data.scans import las
from s3dis_seg.data.scans.ply import PlyFile
from s3dis_seg.data.scans.scan import Scan

_KEPT_LINES = ("ply", "format ", "comment ", "obj_info ")


def part_of(scan: Scan, points) -> Scan:
    """The chosen points with all their attributes. points: (n,) numbers, or (P,) bool -> Scan

    What its file holds beside them stays as far as it still fits: comments of a PLY file (no faces), header and records
    of a LAS file.
    """

    def chosen(values):
        return None if values is None else np.asarray(values)[points]

    return replace(
        scan,
        xyz=chosen(scan.xyz),
        rgb=chosen(scan.rgb),
        columns={name: chosen(values) for name, values in scan.columns.items()},
        predictions=chosen(scan.predictions),
        confidence=chosen(scan.confidence),
        labels=chosen(scan.labels),
        words={name: chosen(values) for name, values in scan.words.items()},
        source=_part_of_source(scan, points),
    )


def _part_of_source(scan, points):
    if isinstance(scan.source, PlyFile):
        lines = [line for line in scan.source.lines if line.startswith(_KEPT_LINES)]
        lines += ["element vertex 0", "end_header"]
        return replace(scan.source, lines=lines, columns={}, before=memoryview(b""), after=memoryview(b""))
    if scan.path is not None and scan.path.suffix.lower() in (".las", ".laz"):
        return las.part_of(scan.source, points)
    return None
