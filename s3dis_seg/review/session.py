"""Going through the regions of a scan and giving them classes. Knows neither window nor file. Letters: P points."""

import numpy as np

from s3dis_seg.classes import UNLABELLED


class Session:
    """Regions one after the other, and the classes that were given.

    scan: a segmented Scan. regions: list of Region. labels: (P,) uint8, the class of every corrected point and 255 for
    the others; corrections that were made before may be in it. The first region without a class comes first.
    """

    def __init__(self, scan, regions, labels=None):
        self.scan = scan
        self.labels = np.full(len(scan), UNLABELLED, np.uint8) if labels is None else labels.copy()
        self.regions = regions
        free = [place for place, region in enumerate(regions) if self.given_to(region) == UNLABELLED]
        self.position = free[0] if free else len(regions)
        self._before = []  # what `undo` brings back: position, points, their labels

    @property
    def current(self):
        """The region that is looked at; None behind the last one."""
        return self.regions[self.position] if self.position < len(self.regions) else None

    def given_to(self, region):
        """The class that all points of a region were given; 255 where not all of them were given the same."""
        first, *others = np.unique(self.labels[region.points]).tolist()
        return UNLABELLED if others else first

    def give(self, region, label):
        """Give all points of a region, which need not be one of `regions`, a class."""
        self._before.append((self.position, region.points, self.labels[region.points]))
        self.labels[region.points] = label

    def assign(self, label):
        """Give the present region a class and go on to the next one. Without effect behind the last one."""
        if self.current is not None:
            self.give(self.current, label)
            self.position += 1

    def skip(self):
        """Go on to the next region; its points keep what they have."""
        self.position = min(self.position + 1, len(self.regions))

    def back(self):
        """Go back to the region before."""
        self.position = max(self.position - 1, 0)

    def undo(self):
        """Take the last class back, and look at its region again. -> whether there was one"""
        if not self._before:
            return False
        self.position, points, labels = self._before.pop()
        self.labels[points] = labels
        return True
