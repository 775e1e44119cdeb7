"""Columns of the width of the training where points are dense, and wider ones where they are sparse.

A block costs the same whether its column holds two thousand points or one. So a scan of 20,000 points over a square
kilometre would cost 80,000 blocks, each of them filled up with points from far away. Therefore a column is visited only
where it holds a *crowded* point: one about which three by three squares of a column's width hold the points of a block.
With fewer, a block would reach farther than these squares, and it would show the network something that no training
block did. The points that no visited column holds are laid out again, as a cloud of their own, in columns twice as wide
(and layers twice as high) without overlap, until every point is in a column. So the number of blocks depends on the
number of points, and not on the space between them. In a room all points are crowded.

Three rooms of S3DIS were thinned to two densities each below this limit (227 points a square metre of floor, with
blocks of 2,048 points). With the wider columns five of the six scans had 2 to 15 % of their points more right than in
columns of 1 m that overlap by half, and one had 0.6 % less, for a sixth to an eleventh of the blocks. Above the limit
columns of 1 m were better.

Letters: M points of a cloud, K occupied cells, B occupied boxes.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from s3dis_seg.data.blocks.cloud import Cloud, cell_chunks
from s3dis_seg.data.blocks.columns import column_corners, height_tiles, members_by_layer
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.rooms.cells import CELL, CellTable


class PlannedColumn(NamedTuple):
    """A column to visit. number: seeds its draws; corner: (x, y); z_range: heights of its layer, or None for all;
    num_inside: how many points it has."""

    number: int
    corner: np.ndarray
    z_range: tuple | None
    num_inside: int


@dataclass
class Layout:
    """Columns of one width over a cloud.

    ids: (M,) int64, which points of the whole thinned cloud these are; None where they are all of it. settings: how
    blocks are cut, with the width of these columns. columns: list of PlannedColumn in the order of the visit.
    """

    cloud: Cloud
    ids: np.ndarray | None
    settings: BlockSettings
    columns: list


def layouts_of(cloud, settings, stride, axis):
    """Columns that hold every point of a cloud, in the order of the visit along an axis. -> list of Layout

    stride: step between neighbouring columns of the given width, as a fraction of it. cloud: None has no layouts.
    """
    layouts, ids = [], None
    while cloud is not None:
        layers = height_tiles(cloud, settings.tallest)
        crowded = crowded_points(cloud, settings, layers != [None])
        columns, seen = _visited(cloud, settings, stride, axis, layers, crowded)
        if columns:
            layouts.append(Layout(cloud, ids, settings, columns))
            cloud, ids = _rest(cloud, ids, seen)
        settings, stride = _twice_as_wide(settings), 1.0
    return layouts


def crowded_points(cloud, settings, layered):
    """Which points have a block's worth of points about them (or the whole cloud, where that has fewer).

    Counted are the points in three by three squares of `block_size`, in the middle one of which the point lies; with
    `layered`, in three by three by three cubes. -> (M,) bool, or None where all points are crowded
    """
    side = max(settings.block_size, CELL)
    squares = ((cloud.cells.indices + 0.5) * (CELL / side)).astype(np.int64)
    columns, column = np.unique((squares[:, 0] << 32) | squares[:, 1], return_inverse=True)
    height = side if layered else None
    found = [np.unique(boxes, return_counts=True) for _, boxes in _boxes(cloud, column, height)]
    boxes, inverse = np.unique(np.concatenate([part for part, _ in found]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([part for _, part in found]))
    crowded = _counted_about(boxes, counts, columns) >= min(settings.num_points, len(cloud.xyz))
    if crowded.all():
        return None
    points = np.empty(len(cloud.xyz), bool)
    for part, boxes_of_points in _boxes(cloud, column, height):
        points[part] = crowded[np.searchsorted(boxes, boxes_of_points)]
    return points


def _boxes(cloud, column, height):
    """The box of each point, for some cells at a time. column: (K,) number of the square of each cell. height: metres
    of a box, None without limit. Yields a slice of points and their boxes (n,) int64: square << 32 | number upwards."""
    starts = cloud.cells.starts
    for first, last in cell_chunks(cloud.cells):
        part = slice(starts[first], starts[last])
        boxes = np.repeat(column[first:last].astype(np.int64) << 32, np.diff(starts[first : last + 1]))
        yield part, boxes if height is None else boxes | (cloud.xyz[part, 2] / height).astype(np.int64)
        cloud.release()


def _counted_about(boxes, counts, columns):
    """How many points lie in a box and the up to 26 about it. boxes, counts: (B,), boxes ascending. -> (B,)

    columns: x << 32 | y of every occupied square, ascending.
    """
    until = np.concatenate([[0], np.cumsum(counts)])
    square, up = columns[boxes >> 32], boxes & 0xFFFFFFFF
    about = np.zeros(len(boxes))
    for step in [(x << 32) + y for x in (-1, 0, 1) for y in (-1, 0, 1)]:
        place = np.minimum(np.searchsorted(columns, square + step), len(columns) - 1)
        first = np.searchsorted(boxes, (place << 32) + up - 1, side="left")
        last = np.searchsorted(boxes, (place << 32) + up + 1, side="right")
        about += np.where(columns[place] == square + step, until[last] - until[first], 0)
    return about


def _visited(cloud, settings, stride, axis, layers, crowded):
    """Columns that hold a crowded point. -> list of PlannedColumn, (M,) bool: which points they hold (None: all)"""
    size = settings.block_size
    corners = column_corners(cloud.cells, cloud.hi, size, stride * size)
    order = np.lexsort((corners[:, 1 - axis], corners[:, axis]))
    if crowded is not None:
        order = order[_beside(cloud, crowded, corners, size, stride)[order]]
    columns, seen = [], None if crowded is None else np.zeros(len(cloud.xyz), bool)
    for place in order:
        ids, firsts, lasts = members_by_layer(cloud, corners[place], size, layers)
        wanted = lasts > firsts
        if crowded is not None:
            until = np.concatenate([[0], np.cumsum(crowded[ids])])
            wanted &= until[lasts] > until[firsts]
        for layer in np.flatnonzero(wanted).tolist():
            members = ids[firsts[layer] : lasts[layer]]
            # The number seeds the draws, so it must depend neither on the order of the visit nor on what is left out.
            number = int(place) * len(layers) + layer
            columns.append(PlannedColumn(number, corners[place], layers[layer], len(members)))
            if seen is not None:
                seen[members] = True
        cloud.release()
    return columns, seen


def _beside(cloud, crowded, corners, size, stride):
    """Which columns touch a cell with a crowded point. -> (n,) bool"""
    cells = cloud.cells.indices[np.add.reduceat(crowded, cloud.cells.starts[:-1], dtype=np.int64) > 0]
    if len(cells) == 0:
        return np.zeros(len(corners), bool)
    near = column_corners(CellTable(cells, np.zeros(0, np.int64)), cloud.hi, size, stride * size)
    return np.isin(_numbered(corners, corners), _numbered(near, corners))


def _numbered(some, corners):
    """Some of the corners as one number each: the places of their x and y among those of all. (n, 2) -> (n,) int64"""
    x, y = (np.searchsorted(np.unique(corners[:, axis]), some[:, axis]) for axis in (0, 1))
    return (x << 32) | y


def _rest(cloud, ids, seen):
    """The points that no column holds, as a cloud of their own. -> Cloud, ids (M,); None, None where there are none"""
    if seen is None or seen.all():
        return None, None
    left = np.flatnonzero(~seen)
    # The order stays, because the points are sorted by cell already.
    return Cloud.of(cloud.xyz[left], cloud.rgb[left], grid=0), left if ids is None else ids[left]


def _twice_as_wide(settings):
    tallest = None if settings.tallest is None else 2 * settings.tallest
    return replace(settings, block_size=2 * settings.block_size, tallest=tallest)
