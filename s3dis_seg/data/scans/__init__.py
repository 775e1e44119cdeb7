"""What a user brings, checked and converted in one place: scan files of every format, and points as arrays.

    file -> columns (one module a format: ply, las, e57, mesh, text, ...) -> Scan (read) -> file (write)

The names below are what other parts use.
"""

from s3dis_seg.data.scans.axes import UP
from s3dis_seg.data.scans.colors import colors_as_bytes
from s3dis_seg.data.scans.labels import doubt_about_labels, labels_of
from s3dis_seg.data.scans.part import part_of
from s3dis_seg.data.scans.points import checked_points
from s3dis_seg.data.scans.read import READABLE, open_scan, read_scan
from s3dis_seg.data.scans.scan import Scan
from s3dis_seg.data.scans.units import UNIT_NAMES, UNITS, judged_units, likely_units
from s3dis_seg.data.scans.write import WRITABLE, write_scan

__all__ = [
    "READABLE", "UNITS", "UNIT_NAMES", "UP", "WRITABLE", "Scan", "checked_points", "colors_as_bytes",
    "doubt_about_labels", "judged_units", "labels_of", "likely_units", "open_scan", "part_of", "read_scan",
    "write_scan",
]  # fmt: skip
