"""Warnings about a scan that make its labels less reliable.

The thresholds of `_unlike_rooms` separate rooms from pieces of walls, floors and furniture. The rooms are the 28 of
Area 6, a corridor and a crop of it; the comment at each threshold gives their closest value.
"""

import numpy as np

from s3dis_seg.classes import UNLABELLED
from s3dis_seg.data.blocks.cloud import parts
from s3dis_seg.data.blocks.columns import height_tiles
from s3dis_seg.data.floor import FloorPlan
from s3dis_seg.data.rooms.cells import CELL
from s3dis_seg.data.scans import likely_units

_SPARSE = 8  # a column with less than an eighth of the points of a block is unlike what the network was trained on
_LOWEST_ROOM = 1.8  # metres; the lowest crop of a room has 2.3
_NARROWEST_ROOM = 0.7  # metres; the narrowest crop of a corridor has 1.06
_FLOOR_SHARE = 0.5  # of the cells; the most furnished office has 0.62
_FLOOR_HEIGHT = 0.3  # metres above the lowest point: a cell whose points begin here has a floor
_CEILING_HEIGHT = 1.8  # metres above the floor: a square with points above has a ceiling, or stands for one
_CEILING_SHARE = 0.7  # of the squares; a corridor with an open hatch has 0.95, a yard with a front and trees 0.2 to 0.5
_COVERED_SHARE = 0.6  # of the cells' area, by squares with points; a metre of a corridor has 0.69, walls alone 0.4
_SQUARES = (0.1, 0.5)  # metres: their side, the larger one for scans with few points
_FEWEST = 8  # points in a square on average, below which squares say nothing


def notes_on(num_points, some, placement, cloud, layouts, settings):
    """some: usable points (n, 3) metres; placement: a Placement; the others as in a ScanPlan. -> list of sentences"""
    usable, num_far = placement.num_usable, placement.num_far
    told = _lost(num_points, num_points - usable - num_far, num_far)
    if cloud is None:
        return told
    too_few, num_sparse = _too_few(cloud, layouts, settings), _num_sparse(cloud, usable, layouts, settings)
    told += too_few or _sparse(num_sparse, usable, layouts, settings)
    told += _layers(layouts[0], settings)
    # With wrong units or too few points, the shape says nothing.
    shapeless = too_few or 2 * num_sparse > usable or likely_units(some)[0] != "m"
    return told if shapeless else told + _unlike_rooms(cloud)


def _lost(num_points, num_not_finite, num_far):
    if num_not_finite == num_points:
        return [f"all {num_points:,} points have NaN or infinite coordinates and get prediction {UNLABELLED}"]
    reasons = {"have NaN or infinite coordinates": num_not_finite, "lie far from all others": num_far}
    return [
        f"{count:,} of {num_points:,} points {reason} and get prediction {UNLABELLED}, confidence 0"
        for reason, count in reasons.items()
        if count
    ]


def _too_few(cloud, layouts, settings):
    num_thinned, needed = len(cloud.xyz), settings.num_points
    if num_thinned < needed:
        place = " all in one place" if not cloud.hi.any() else ""
        kept = f"{num_thinned:,} points{place}" + (f" are left on a grid of {settings.grid} m" if settings.grid else "")
        return [f"{kept}, fewer than the {needed:,} of a block: they are repeated, and predictions are poor"]
    narrow = [column.num_inside for column in layouts[0].columns if layouts[0].settings == settings]
    if narrow and np.median(narrow) < needed / _SPARSE:
        return [
            f"the scan is sparse: half of its columns of {settings.block_size:g} m hold fewer than "
            f"{needed // _SPARSE} points; the network was trained on denser ones"
        ]
    return []


def _num_sparse(cloud, usable, layouts, settings):
    """How many of the usable points are labelled in columns wider than those of the training. -> int"""
    wider = next((layout for layout in layouts if layout.settings != settings), None)
    if wider is None or wider.ids is None:
        return 0 if wider is None else usable
    sparse = np.zeros(len(cloud.xyz) + 1, bool)  # the last is that of points which have no owner, -1
    sparse[wider.ids] = True
    return sum(int(np.count_nonzero(sparse[cloud.owner[part]])) for part in parts(len(cloud.owner)))


def _sparse(count, usable, layouts, settings):
    if not count:
        return []
    size, widest = settings.block_size, layouts[-1].settings.block_size
    return [
        f"the scan is sparse: {count:,} of {usable:,} points have fewer than {settings.num_points:,} in "
        f"{3 * size:g} m x {3 * size:g} m about them and are labelled in columns of up to {widest:g} m instead of "
        f"{size:g} m; these predictions are poor"
    ]


def _layers(layout, settings):
    """Tell of layers: those of the narrowest columns. -> list of sentences"""
    layers = height_tiles(layout.cloud, layout.settings.tallest)
    if len(layers) == 1:
        return []
    floor, ceiling = _heights(layout.cloud)
    return [
        f"the scan is {ceiling - floor:.1f} m high, taller than the tallest training room ({settings.tallest:.1f} m), "
        f"and is cut into {len(layers)} layers of {layers[0][1] - floor:.1f} m"
    ]


def _unlike_rooms(cloud):
    """Warn of a shape that no training room has: too low, too narrow, without floor or ceiling. -> list of sentences"""
    floor, ceiling = _heights(cloud)
    width = _narrow_side(cloud)
    begins = cloud.profile.bins[cloud.profile.starts[:-1]] * 0.01  # lowest point of each cell; bins are 1 cm
    share = float((begins < floor + _FLOOR_HEIGHT).mean())
    found = []
    if ceiling - floor < _LOWEST_ROOM:
        found.append(f"it is only {ceiling - floor:.1f} m high")
    if width < _NARROWEST_ROOM:
        found.append(f"it is only {width:.1f} m wide")
    if share < _FLOOR_SHARE:
        found.append(f"only {share:.0%} of its area has a floor")
    found += _open(cloud, floor)
    if not found:
        return []
    return [f"the scan is unlike the rooms of the training ({', '.join(found)}): labels may be wrong and confident"]


def _open(cloud, floor):
    """What is missing above and between the walls, by squares of the floor plan. -> list of phrases"""
    for side in _SQUARES:
        plan = _covered(cloud, floor + _CEILING_HEIGHT, side)
        area = plan.area()
        if len(cloud.xyz) * plan.cell**2 >= _FEWEST * area:
            break
    else:
        return []
    cells = len(cloud.cells.indices) * CELL**2
    if plan.cell == _SQUARES[0] and area < _COVERED_SHARE * cells:
        return [f"it is walls alone, with points on {area / cells:.0%} of its area"]
    share = float(plan.areas()[1] / area)
    if share >= _CEILING_SHARE:
        return []
    return [f"only {share:.0%} of its area has a ceiling, as outdoors or where it was cut off"]


def _covered(cloud, height, side):
    """Squares of the floor plan with points, 1 for those above a height and 0 for others. -> FloorPlan"""
    plan = FloorPlan((0, 0), cloud.hi[:2], side)
    for part in parts(len(cloud.xyz)):
        xyz = cloud.xyz[part]
        plan.add(xyz[:, :2], (xyz[:, 2] > height).astype(np.uint8))
    return plan


def _heights(cloud):
    """Floor and ceiling, without outliers. -> metres, metres"""
    return cloud.profile.range([(0, len(cloud.cells.indices))])


def _narrow_side(cloud):
    """Extent across the direction in which the floor plan is longest, without the outer 0.5 %. -> metres"""
    xy = cloud.xyz[:: max(1, len(cloud.xyz) // 100_000), :2].astype(np.float64)
    xy -= xy.mean(axis=0)
    directions = np.linalg.eigh(xy.T @ xy)[1]  # the first column has the smallest spread
    low, high = np.percentile(xy @ directions[:, 0], (0.5, 99.5))
    return float(high - low)
