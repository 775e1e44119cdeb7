"""k nearest neighbours on the CPU, in kernels compiled by numba (vectors.py says how they are written).

Distances of a few points to all are computed while they fit into the cache; then of each point a limit is guessed from
a sample, the few distances below it are packed, put into equal bins, and the bins that hold a wanted rank are sorted.

Letters: B clouds, N points, C channels, k neighbours. Every result is the same on every run, whatever the number of
threads.
"""

import numpy as np
import torch
from llvmlite import ir
from numba import types

from s3dis_seg.graph.processor import processor
from s3dis_seg.graph.threads import in_threads
from s3dis_seg.graph.vectors import VECTOR_BYTES, instructions, kernel, kernel_of_numbers

_ROWS, _VECTORS = processor().tile
_CHUNK = processor().rows
_BINS = processor().bins
_SAMPLE = 512
_FIRST_BIN = np.int32(0)

# ---------------------------------------------------------------------------------------------------------------------
# Distances


def _write_tile(differences):
    def write(vectors, points, first_point, panels, first_panel, start, first_start, out, first_out, stride, channels):
        """out[r, w] = start[w] + sum_c panels[c, w] * points[c, r], or + sum_c (panels[c, w] - points[c, r])^2

        first_point, first_panel, first_start, first_out: offsets in the four arrays at which the tile begins.
        """
        builder = vectors.builder

        def add_channel(c, sums):
            at = builder.add(first_panel, builder.mul(c, vectors.number(_VECTORS * vectors.lanes)))
            columns = [vectors.load(panels, vectors.plus(at, i * vectors.lanes)) for i in range(_VECTORS)]
            at = builder.add(first_point, builder.mul(c, vectors.number(_ROWS)))
            new = []
            for row in range(_ROWS):
                point = vectors.splat(vectors.scalar(points, vectors.plus(at, row)))
                for i, column in enumerate(columns):
                    factors = [builder.fsub(column, point)] * 2 if differences else [column, point]
                    new.append(vectors.multiply_add(*factors, sums[row * _VECTORS + i]))
            return new

        first = [vectors.load(start, vectors.plus(first_start, i * vectors.lanes)) for i in range(_VECTORS)]
        sums = vectors.repeat(vectors.number(0), channels, first * _ROWS, add_channel)
        for i, total in enumerate(sums):
            row, column = divmod(i, _VECTORS)
            vectors.store(
                total,
                out,
                vectors.plus(builder.add(first_out, builder.mul(stride, vectors.number(row))), column * vectors.lanes),
            )

    return write


_tile_of_products = instructions(_write_tile(differences=False))
_tile_of_differences = instructions(_write_tile(differences=True))


# ---------------------------------------------------------------------------------------------------------------------
# The distances below a limit


def _lane_table():
    """Which lanes of a vector of eight to take, for each of the 256 sets of lanes: those of the set first."""
    sets = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return np.argsort(1 - sets, axis=1, kind="stable").astype(np.int32)


_LANE_TABLE = _lane_table()


def _compressed(vectors, vector, below, lane_table):
    """The lanes of `vector` where `below` is true in front, by the instruction that AVX-512 has for it."""
    name = "i32" if isinstance(vector.type.element, ir.IntType) else f"f{vectors.bits}"
    zeros = ir.Constant(vector.type, None)
    return vectors.call(f"llvm.x86.avx512.mask.compress.v{vectors.lanes}{name}", vector.type, vector, zeros, below)


def _permuted(vectors, vector, below, lane_table):
    """As _compressed, for AVX2 with eight lanes of 32 bits: the order of the lanes comes from a table.

    A lane of 64 bits is moved as two of 32.
    """
    builder, result = vectors.builder, vector.type
    wide, half = ir.VectorType(ir.IntType(32), 8), ir.IntType(32)
    if vectors.lanes == 4:
        twice = ir.Constant(wide, [0, 0, 1, 1, 2, 2, 3, 3])
        below = builder.shuffle_vector(below, ir.Constant(below.type, ir.Undefined), twice)
        if result.element == half:
            vector = builder.zext(vector, ir.VectorType(ir.IntType(64), 4))
    number_of_set = builder.zext(builder.bitcast(below, ir.IntType(8)), ir.IntType(64))
    lanes = builder.load(vectors.address(lane_table, builder.mul(number_of_set, vectors.number(8)), wide))
    lanes.align = 4
    moved = vectors.call("llvm.x86.avx2.permd", wide, builder.bitcast(vector, wide), lanes)
    moved = builder.bitcast(moved, vector.type)
    return moved if moved.type == result else builder.trunc(moved, result)


def _write_keep(pack, skips_empty):
    """skips_empty: jump over vectors of which nothing is kept, which pays where packing takes long."""

    def write(vectors, values, offset, order, limit, kept_values, kept_indices, count, lane_table):
        """Append the values <= limit of one vector, and their indices, at `count`. -> the new count

        A whole vector is stored, of which the part behind the new count is overwritten by the next.
        """
        builder = vectors.builder
        value = vectors.load(values, offset)
        below = builder.fcmp_ordered("<=", value, vectors.splat(limit))
        bits = builder.bitcast(below, ir.IntType(vectors.lanes))

        def append(state):
            vectors.store(pack(vectors, value, below, lane_table), kept_values, count)
            index = vectors.load(order, offset)
            vectors.store(pack(vectors, index, below, lane_table), kept_indices, count)
            number = vectors.call(f"llvm.ctpop.i{vectors.lanes}", bits.type, bits)
            return [builder.add(count, builder.zext(number, count.type))]

        if not skips_empty:
            (new,) = append([count])
            return new
        (new,) = vectors.when(builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), [count], append)
        return new

    return write


_FORMS = {
    "compress": instructions(_write_keep(_compressed, skips_empty=False), types.int64),
    "permute": instructions(_write_keep(_permuted, skips_empty=True), types.int64),
}
_keep_vector = _FORMS.get(processor().selection)


@kernel
def _keep_vectors(distances, order, limit, values, indices):
    """The distances <= limit, and which points they lead to, in front of values and indices. -> how many"""
    count = 0
    for j in range(0, distances.size, VECTOR_BYTES // distances.itemsize):
        count = _keep_vector(distances, j, order, limit, values, indices, count, _LANE_TABLE)
    return count


@kernel
def _keep_singly(distances, order, limit, values, indices):
    """As _keep_vectors, for any processor."""
    count = 0
    for j in range(distances.size):
        values[count] = distances[j]
        indices[count] = order[j]
        count += distances[j] <= limit
    return count


@kernel_of_numbers
def _likely_limit(distances, sample, wanted, largest):
    """A limit that `wanted` or a few more of the first `sample` distances do not exceed."""
    if wanted > sample:
        return largest
    low, high, half = largest, -largest, distances.dtype.type(0.5)
    for j in range(sample):
        low = min(low, distances[j])
        high = max(high, distances[j] if distances[j] < largest else -largest)
    # Ordinary features need a few halvings. 48 are for features with far outliers, where `high` starts much too high.
    for _ in range(48):
        middle = low + half * (high - low)
        below = np.int32(0)
        for j in range(sample):
            below += np.int32(distances[j] <= middle)
        if below < wanted:
            low = middle
        else:
            high = middle
            if below <= wanted + wanted // 16:
                break
    return high


@kernel
def _sort(values, indices, n, gap):
    """Shell sort of the first n by (value, index). gap: about a third of how far an element may be from its place."""
    while gap > 0:
        for i in range(gap, n):
            value, index, j = values[i], indices[i], i - gap
            while j >= 0 and (values[j] > value or (values[j] == value and indices[j] > index)):
                values[j + gap] = values[j]
                indices[j + gap] = indices[j]
                j -= gap
            values[j + gap] = value
            indices[j + gap] = index
        gap //= 3


@kernel_of_numbers
def _pick(values, indices, n, ranks, out, bins, counts, places, kept, near_values, near_indices):
    """out = the indices of `ranks` among the first n (value, index). Sorts only the bins that hold a wanted rank."""
    low = high = values[0]
    for i in range(n):
        low = min(low, values[i])
        high = max(high, values[i])
    used = min(_BINS, n)
    last_bin = np.int32(used - 1)
    scale = values.dtype.type(used - 1)
    if high > low:
        scale /= high - low
    for i in range(n):
        # If this overflows, it does so for all values but the lowest: they share one bin, which is slower but right.
        bins[i] = min(max(np.int32((values[i] - low) * scale), _FIRST_BIN), last_bin)
    counts[:used] = 0
    places[:used] = -1
    for i in range(n):
        counts[bins[i]] += 1
    b = before = size = largest = 0
    for w in range(ranks.size):
        while before + counts[b] <= ranks[w]:
            before += counts[b]
            b += 1
        if places[b] < 0:
            places[b] = size
            size += counts[b]
            largest = max(largest, counts[b])
        out[w] = places[b] + ranks[w] - before
    m = 0
    for i in range(n):
        kept[m] = i
        m += places[bins[i]] >= 0
    for i in kept[:m]:
        b = bins[i]
        near_values[places[b]] = values[i]
        near_indices[places[b]] = indices[i]
        places[b] += 1
    gap = 1
    while 3 * gap + 1 < largest:
        gap = 3 * gap + 1
    _sort(near_values, near_indices, m, gap)
    for w in range(ranks.size):
        out[w] = near_indices[out[w]]


_keep = _keep_singly if _keep_vector is None else _keep_vectors


@kernel
def _search(differences, points, panels, start, order, places, ranks, sample, largest, first, last, out):
    """out[first:last, w] = the neighbour at rank ranks[w], where ranks leave the point itself out.

    points (N / ROWS, C, ROWS), panels (P, C, W), start (P W,): distances begin there, order (P W,): which point a
    column stands for, places (N,): its inverse, sample: so many columns in front are a fair sample, out (N, k).
    """
    channels, width = panels.shape[1:]
    columns, needed = order.size, ranks[-1] + 1
    expected = needed * sample / len(places)
    rows = max(_ROWS, min(_CHUNK, (1 << 19) // columns // _ROWS * _ROWS))
    distances = np.empty(rows * columns, start.dtype)
    values, near_values = np.empty((2, columns + width), start.dtype)
    indices, near_indices, bins, kept = np.empty((4, columns + width), np.int32)
    counts, bin_places = np.empty((2, _BINS), np.int32)
    for row in range(first, last, rows):
        stop = min(row + rows, last)
        for panel in range(len(panels)):
            for r in range(row, stop, _ROWS):
                to = (r - row) * columns + panel * width
                at = panel * width
                if differences:
                    _tile_of_differences(
                        points=points, first_point=r * channels, panels=panels, first_panel=at * channels,
                        start=start, first_start=at, out=distances, first_out=to, stride=columns, channels=channels,
                    )  # fmt: skip
                else:
                    _tile_of_products(
                        points=points, first_point=r * channels, panels=panels, first_panel=at * channels,
                        start=start, first_start=at, out=distances, first_out=to, stride=columns, channels=channels,
                    )  # fmt: skip
        for i in range(row, stop):
            own = distances[(i - row) * columns : (i - row + 1) * columns]
            own[places[i]] = np.inf
            count, aim, limit = 0, int(expected + 1.5 * np.sqrt(expected) + 2), -largest
            while count < needed and limit < largest:
                limit = _likely_limit(own, sample, aim, largest)
                count = _keep(own, order, limit, values, indices)
                aim *= 2
            if count < needed:
                # Points whose distance overflows or is NaN come last, in the order of their indices.
                for j in range(len(places)):
                    if j != i and not own[places[j]] <= limit:
                        values[count], indices[count] = largest, j
                        count += 1
            _pick(values, indices, count, ranks, out[i], bins, counts, bin_places, kept, near_values, near_indices)


def _panels(rows, width):
    """`width` points at a time, channels first, filled up with zeros. (N, C) -> (N / width, C, width) numpy"""
    rows = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % width))
    return rows.view(-1, width, rows.shape[1]).transpose(1, 2).contiguous().numpy()


def knn(x, ranks):
    """Neighbours of the wanted ranks, the point itself at rank 0, the others by (distance, index).

    x (B, N, C) float32 or float64 on the CPU, ranks (k,) ascending -> (B, N, k) int64. Distances are direct
    differences in float64 and up to 4 channels; else |x_j|^2 - 2 <x_i, x_j> of features centred on their cloud.
    """
    B, N, C = x.shape
    out = torch.arange(N).view(1, N, 1).repeat(B, 1, len(ranks))
    others = (ranks[ranks > 0] - 1).numpy()
    if others.size == 0:
        return out
    differences = C <= 4 or x.dtype == torch.float64
    largest = np.finfo(x.numpy().dtype).max
    width = _VECTORS * VECTOR_BYTES // x.element_size()
    # Every step-th point goes to the front: a fair sample, however the points of a cloud are sorted.
    step = max(1, N // _SAMPLE)
    sample = -(-N // step)
    order = torch.cat([torch.arange(o, N, step) for o in range(step)])
    places = torch.argsort(order).numpy()
    columns = torch.nn.functional.pad(order.int(), (0, -N % width)).numpy()
    rows = max(_CHUNK, N // 32 // _CHUNK * _CHUNK)
    for cloud, found in zip(x, out[..., len(ranks) - others.size :].numpy()):
        start = cloud.new_full(columns.shape, torch.inf)
        start[:N] = 0
        factors = cloud
        if not differences:
            cloud = cloud - cloud.mean(0)
            factors = -2 * cloud
            start[:N] = cloud.square().sum(1)[order]
        tables = (_panels(factors, _ROWS), _panels(cloud[order], width), start.numpy(), columns, places)

        def work(first, tables=tables, found=found):
            _search(differences, *tables, others, sample, largest, first, min(first + rows, N), found)

        in_threads(work, [(first,) for first in range(0, N, rows)])
    return out
