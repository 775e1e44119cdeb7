"""Correcting a segmented scan: its doubtful regions, and the classes that somebody gives them.

regions.py  doubtful regions, and regions around a place or in a box
session.py  one region after the other: assign, skip, back, undo
"""

from s3dis_seg.review.regions import (
    Region,
    doubtful_regions,
    name_of,
    region_around,
    region_in_box,
    told_region,
)
from s3dis_seg.review.session import Session

__all__ = ["Region", "Session", "doubtful_regions", "name_of", "region_around", "region_in_box", "told_region"]
