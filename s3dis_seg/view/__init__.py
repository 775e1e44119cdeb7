"""Looking at a scan: colourings, pictures without a screen, and an Open3D window.

colorings.py  what a scan can be coloured by, and the legend
drawing.py    which point is visible at each pixel
pictures.py   pictures with titles and legend
window.py     the window
"""

from s3dis_seg.view.colorings import COLORINGS, available_colorings, points_below_ceiling
from s3dis_seg.view.pictures import side_by_side, write_picture
from s3dis_seg.view.window import Window, check_window

__all__ = [
    "COLORINGS",
    "Window",
    "available_colorings",
    "check_window",
    "points_below_ceiling",
    "side_by_side",
    "write_picture",
]
