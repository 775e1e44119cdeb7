"""Looking at a scan: colourings, pictures without a screen, a window, and videos.

colorings.py  what a scan can be coloured by, and the legend
drawing.py    which point is visible at each pixel
pictures.py   pictures with titles and legend
splats.py     the same as drawing.py, fast enough to move
cameras.py    where one looks from, and ways of the camera
checklist.py  classes with counts, what is hidden, what is known of a point
clouds.py     a scan made ready to be moved, thinned while it moves
lettering.py  legend, titles and marks as pictures
scene.py      what the window shows, and what keys and mouse do
window.py     puts the pictures of a scene on the screen
video.py      pictures one after the other as a file
"""

from s3dis_seg.view.cameras import read_views, turn_around, way_through
from s3dis_seg.view.colorings import COLORINGS, available_colorings, points_below_ceiling
from s3dis_seg.view.pictures import side_by_side, write_picture
from s3dis_seg.view.scene import Scene, help_lines
from s3dis_seg.view.video import RATE, check_video, write_video
from s3dis_seg.view.window import Window, check_window

__all__ = [
    "COLORINGS",
    "RATE",
    "Scene",
    "Window",
    "available_colorings",
    "check_video",
    "check_window",
    "help_lines",
    "points_below_ceiling",
    "read_views",
    "side_by_side",
    "turn_around",
    "way_through",
    "write_picture",
    "write_video",
]
