"""What writing a scan will take: a few of its points are written to a temporary file, the rest is counted."""

import tempfile
import time
from pathlib import Path

import numpy as np

from s3dis_seg.data.scans.scan import Scan
from s3dis_seg.data.scans.write import write_scan

_FEW, _MANY = 2_000, 20_000  # points that are written: the difference leaves out what does not grow with the points


def cost_of_writing(path, scan, keep_rgb=False, classification=None):
    """Bytes and seconds of `write_scan` for a scan that is still to be labelled. Arguments as there. -> int, float"""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted({min(_FEW, len(scan)), min(_MANY, len(scan))}):
            file, start = Path(folder) / f"sample{path.suffix.lower()}", time.perf_counter()
            write_scan(file, _first_points(scan, count), keep_rgb, classification)
            measured.append((count, file.stat().st_size, time.perf_counter() - start))
    (few, *first), (many, *last) = measured[0], measured[-1]
    size, seconds = (
        value + (len(scan) - many) * max(value - before, 0) / max(many - few, 1) for before, value in zip(first, last)
    )
    if scan.path is not None and scan.path.suffix.lower() == path.suffix.lower():
        size = max(size, scan.path.stat().st_size)  # which may hold more than points: faces, pictures
    return int(size), seconds


def _first_points(scan, count):
    """Some points of a scan, with predictions and confidences that compress as badly as real ones. -> Scan"""
    rng = np.random.default_rng(0)
    return Scan(
        np.array(scan.xyz[:count]),
        None if scan.rgb is None else np.array(scan.rgb[:count]),
        {name: np.array(values[:count]) for name, values in scan.columns.items()},
        rng.integers(0, len(scan.classes), count // 50 + 1).astype(np.uint8).repeat(50)[:count],
        rng.random(count, np.float32),
        classes=scan.classes,
    )
