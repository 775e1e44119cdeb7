"""The area of the floor plan on which points lie, class by class; points come in pieces of any size."""

import numpy as np

CELL = 0.05  # metres: the side of the squares that are counted
_MOST_CELLS = 1 << 22  # of a floor plan; a larger one is counted in larger squares


class FloorPlan:
    """Counts the squares of a floor plan that hold points.

    low, high: (2,) the smallest and the largest x and y of all points. cell: the side of the squares in metres; it is
    doubled until there are not too many of them.
    """

    def __init__(self, low, high, cell=CELL):
        self.low, extent, self.cell = np.asarray(low, np.float64), np.subtract(high, low, dtype=np.float64), cell
        while np.prod(np.floor(extent / self.cell) + 1) > _MOST_CELLS:
            self.cell *= 2
        self.counts = np.floor(extent / self.cell).astype(np.int64) + 1
        self.occupied = {}  # label -> which squares hold points of it

    def add(self, xy, labels):
        """Take some more points. (n, 2) between the corners, (n,) uint8"""
        places = np.floor((xy - self.low) / self.cell).astype(np.int64)
        squares = np.minimum(places[:, 0], self.counts[0] - 1) * self.counts[1]
        squares += np.minimum(places[:, 1], self.counts[1] - 1)
        for label in np.flatnonzero(np.bincount(labels, minlength=1)).tolist():
            if label not in self.occupied:
                self.occupied[label] = np.zeros(self.counts.prod(), bool)
            self.occupied[label][squares[labels == label]] = True

    def areas(self):
        """Area of each label. -> (256,) m2"""
        areas = np.zeros(256)
        for label, squares in self.occupied.items():
            areas[label] = np.count_nonzero(squares) * self.cell**2
        return areas

    def area(self):
        """Area on which there is any point. -> m2"""
        if not self.occupied:
            return 0.0
        return float(np.count_nonzero(np.any(list(self.occupied.values()), axis=0)) * self.cell**2)
