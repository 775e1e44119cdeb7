"""A scan made ready to be moved on the screen: its points in random order, so that the first n are a thinned cloud.

Letters: P points of a scan, R rows: its points with finite coordinates, in random order.
"""

import dataclasses

import numpy as np

from s3dis_seg.files import InputError
from s3dis_seg.view.checklist import checklist, not_hidden
from s3dis_seg.view.colorings import color_points, points_below_ceiling
from s3dis_seg.view.drawing import BACKGROUND, CLOSING, spacings
from s3dis_seg.view.splats import EMPTY, draw_discs, empty_buffer, paint_discs, point_at

MOST = 20_000_000  # points of a scan that are shown
_SAMPLE = 200_000


class Cloud:
    """The points of a scan in random order, as the window draws them.

    rows: (R,) the point of the scan at each row. xyz: (R, 3) float32, from `origin`. spacing: metres between the points
    of a surface. radius: metres from the origin to the farthest point. below: (P,) bool, False for ceiling and beams.
    Of more than 20 million points a random sample from `seed` is kept.
    """

    def __init__(self, scan, seed=0):
        self.scan = scan
        points = np.flatnonzero(np.isfinite(scan.xyz).all(axis=1))
        if len(points) == 0:
            name = scan.path or "the scan"
            raise InputError(f"{name} has no point with finite coordinates; there is nothing to see")
        np.random.default_rng(seed).shuffle(points)
        self.rows = points[:MOST]
        sample = scan.xyz[self.rows[:_SAMPLE]]
        self.origin = ((sample.min(axis=0) + sample.max(axis=0)) / 2).astype(np.float64)
        self.xyz = np.take((scan.xyz - self.origin).astype(np.float32), self.rows, axis=0)
        spacing, _ = spacings(self.xyz[:_SAMPLE], len(self.rows) / len(sample))
        self.spacing = float(np.quantile(spacing, 0.75))
        self.low, self.high = self.xyz.min(axis=0) + self.origin, self.xyz.max(axis=0) + self.origin
        self.radius = float(np.linalg.norm(np.maximum(self.high - self.origin, self.origin - self.low)))
        self.below, self.overhead = points_below_ceiling(scan)

    def shown(self, coloring, hidden=frozenset(), ceiling=False, heights=(-np.inf, np.inf)):
        """The rows that are shown, in random order. -> (n,) int32

        hidden: keys of entries of the checklist. ceiling: whether ceiling and beams are shown. heights: metres, from
        and to which z.
        """
        shown = not_hidden(self.scan, coloring, hidden)
        if not ceiling:
            shown &= self.below
        if np.isfinite(heights).any():
            shown &= (self.scan.xyz[:, 2] >= heights[0]) & (self.scan.xyz[:, 2] <= heights[1])
        return np.flatnonzero(shown[self.rows]).astype(np.int32)


class Pane:
    """One cloud in one colouring, as it is seen by the camera.

    shift: (3,) metres that are added to the places looked at, for a cloud that lies elsewhere than the first.
    """

    def __init__(self, cloud, coloring, shift=(0, 0, 0)):
        self.cloud, self.shift = cloud, np.array(shift, np.float64)
        self.recolor(coloring)
        self.shown = np.arange(len(cloud.rows), dtype=np.int32)
        self._buffers = {}
        self._seen = None

    def recolor(self, coloring):
        """Show another colouring, or the same again after the scan has changed. InputError where there is no data."""
        self.colors = np.take(color_points(self.cloud.scan, coloring), self.cloud.rows, axis=0)
        self.coloring = coloring
        self.entries = checklist(self.cloud.scan, coloring)

    def camera(self, view, size):
        """The camera of a view for this cloud, from the cloud's origin."""
        camera = view.at(np.array(view.target) + self.shift).camera(size)
        eye = camera.eye + camera.axes @ (camera.origin - self.cloud.origin)
        return dataclasses.replace(camera, origin=self.cloud.origin, eye=eye)

    def drawing(self, view, size, count=None, enlarged=1.0, coarseness=1):
        """Draw in pieces: a generator that yields None after each piece, and in the end sets what is painted.

        count: rows of a thinned cloud; all of them by default. enlarged: the discs. coarseness: screen pixels along the
        side of a pixel that is drawn. size: (W, H) on the screen.
        """
        total = len(self.shown)
        count = total if count is None else min(count, total)
        small = tuple(-(-pixels // coarseness) for pixels in size)
        buffer = self._empty_buffer(small)
        camera = self.camera(view, small)
        diameter = CLOSING * self.cloud.spacing * np.sqrt(total / max(count, 1)) * enlarged
        far = float(np.linalg.norm(camera.eye)) + self.cloud.radius + diameter
        piece = 400_000
        for start in range(0, count, piece):
            rows = self.shown[start : min(start + piece, count)]
            draw_discs(buffer, self.cloud.xyz, rows, camera, diameter, far)
            yield
        self._seen = buffer, coarseness

    def _empty_buffer(self, size):
        """A buffer that is not on the screen."""
        free = [buffer for buffer in self._buffers.get(size, []) if self._seen is None or buffer is not self._seen[0]]
        if not free:
            self._buffers = {key: kept for key, kept in self._buffers.items() if key == size or len(kept) < 3}
            free = [empty_buffer(size)]
            self._buffers.setdefault(size, []).extend(free)
        free[0].fill(EMPTY)
        return free[0]

    def paint(self, picture):
        """Paint what was drawn last. picture: (H, W, 3) uint8, written to"""
        buffer, coarseness = self._seen
        if coarseness == 1:
            paint_discs(buffer, self.colors, BACKGROUND, picture)
            return
        small = np.empty((*buffer.shape, 3), np.uint8)
        paint_discs(buffer, self.colors, BACKGROUND, small)
        height, width = picture.shape[:2]
        picture[...] = small.repeat(coarseness, axis=0)[:height].repeat(coarseness, axis=1)[:, :width]

    def point_at(self, column, row):
        """The point of the scan that is seen at a pixel of the pane. -> its number, or None"""
        buffer, coarseness = self._seen
        seen = point_at(buffer, column // coarseness, row // coarseness)
        return None if seen is None else int(self.cloud.rows[seen])
