"""The window of a review: it marks a region, its keys give classes, and what was given is saved when it is closed."""

import numpy as np

from s3dis_seg.view.pictures import lines_picture
from tests.view.screen import run_on_a_screen

SCRIPT = """
import numpy as np
from s3dis_seg.data.scans import Scan
from s3dis_seg.review import Session, doubtful_regions
from s3dis_seg.view.review_window import ReviewWindow

grid = np.stack(np.meshgrid(np.arange(90), np.arange(90), [0]), -1).reshape(-1, 3) / 30.0 + 1e6
scan = Scan(grid, predictions=np.ones(len(grid), np.uint8), confidence=np.full(len(grid), 0.95, np.float32))
for x, size in ((0, 20), (60, 12)):
    scan.confidence.reshape(90, 90)[x : x + size, :size] = 0.3
session = Session(scan, doubtful_regions(scan))
said, saved = [], []
window = ReviewWindow(session, said.append, lambda: saved.append((session.labels != 255).sum()))

def colors():
    for _ in range(3):
        window.poll()
    picture = (np.asarray(window.visualizer.capture_screen_float_buffer(True)) * 255).round().astype(int)
    return {tuple(color) for color in np.unique(picture[:, 300:].reshape(-1, 3), axis=0).tolist()}

white, mark, floor, table = (255, 255, 255), (255, 128, 0), (140, 140, 255), (216, 194, 230)
assert said[-1].startswith("1 of 2: floor: "), said
assert colors() == {white, mark, floor}, colors()
window.actions[ord("8")]()  # a table
assert said[-1].startswith("2 of 2: floor: "), said
first = len(session.regions[0].points)
assert (session.labels == 7).sum() == first
window.actions[32]()
assert said[-1].startswith("that was the last of 2 regions"), said
window.actions[259]()
window.actions[259]()
assert said[-1].startswith("1 of 2"), said
window.actions[ord("V")]()
window.actions[32]()
window.actions[ord("W")]()
assert saved == [first]
window.actions[ord("U")]()
assert (session.labels == 255).all()
window.actions[ord("1")]()
window.actions[ord("H")]()
assert said[-1].startswith("keys:")
window.actions[ord("Q")]()
window.run()
assert saved == [first, first]
"""


def test_keys_give_regions_classes_and_closing_saves():
    run_on_a_screen(SCRIPT)


def test_a_list_has_a_square_of_its_colour_before_each_line():
    red, blue = np.array((255, 0, 0), np.uint8), np.array((0, 0, 255), np.uint8)
    picture = lines_picture([("1  <b>chair</b>", red), ("2  table", blue), ("Space skips", None)], 200)
    assert picture.shape[1] == 200 and picture.dtype == np.uint8
    red_rows = np.flatnonzero((picture == red).all(axis=-1).any(axis=1))
    blue_rows = np.flatnonzero((picture == blue).all(axis=-1).any(axis=1))
    assert len(red_rows) == len(blue_rows) == 16 and red_rows.max() < blue_rows.min()
