"""Scores as text tables, JSON and CSV files; pictures of confusion and calibration; a whole scan as an HTML page."""

from s3dis_seg.report.calibration import calibration_picture, calibration_table
from s3dis_seg.report.confusion import confusion_picture
from s3dis_seg.report.files import as_dict, write_csv, write_json
from s3dis_seg.report.page import write_page
from s3dis_seg.report.tables import class_table, quality_table, stress_table, summary_table

__all__ = [
    "as_dict",
    "calibration_picture",
    "calibration_table",
    "class_table",
    "confusion_picture",
    "quality_table",
    "stress_table",
    "summary_table",
    "write_csv",
    "write_json",
    "write_page",
]
