"""Scores as text tables, JSON and CSV files, a picture of the confusion matrix, and a whole scan as an HTML page."""

from s3dis_seg.report.confusion import confusion_picture
from s3dis_seg.report.files import as_dict, write_csv, write_json
from s3dis_seg.report.page import write_page
from s3dis_seg.report.tables import class_table, stress_table, summary_table

__all__ = [
    "as_dict",
    "class_table",
    "confusion_picture",
    "stress_table",
    "summary_table",
    "write_csv",
    "write_json",
    "write_page",
]
