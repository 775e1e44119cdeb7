"""CPU kernels of the graph engine, compiled by numba. The functions are those of torch_backend.py.

Letters: B clouds, N points, R = B * N rows, C channels, k neighbours. Every result is the same on every run, whatever
the number of threads.

What to know of numba before changing a kernel:

- A function under `@njit` is compiled when it is first called with arrays of some types, and kept in `__pycache__` for
  the next process. The cache is keyed by the file that the kernel stands in, not by what that file imports: hence one
  file, since a change in an imported one would leave old kernels in use.
- LLVM, to which numba hands its code, does not find by itself how to keep a tile of distances, or the running maxima of
  a point, in vector registers. The inner loops are therefore written as vector instructions: a function `_write_...`
  gets a `_Vectors` object, whose methods (load, store, multiply_add, ...) append LLVM instructions, and `_instructions`
  makes of it an intrinsic that a kernel calls like any function. The vectors are as wide as the registers of the
  processor at hand (`_VECTOR_BYTES`).
- An intrinsic sees arrays as pointers. Nothing checks its indices: try a change under the tests of tests/graph, which
  hold every kernel to the definition.
"""

import inspect

import numba
import numpy as np
import torch
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from s3dis_seg.graph.threads import in_threads

# A processor named by NUMBA_CPU_NAME may have less than this one.
_FEATURES = {} if numba.config.CPU_NAME else binding.get_host_cpu_features()
_AVX512 = bool(_FEATURES.get("avx512f") and _FEATURES.get("avx512vl"))
_VECTOR_BYTES = 64 if _AVX512 else 32 if _FEATURES.get("avx") else 16
# A tile of distances: this many points by this many vectors of others. It has to fit into the registers.
_ROWS, _VECTORS = (4, 4) if _AVX512 else (4, 2)
_CHUNK = 32  # rows whose distances stay in cache until their neighbours are chosen
_SAMPLE = 512
_BINS = 512
_FIRST_BIN = np.int32(0)


def _kernel(function, flags=("contract", "nsz")):
    """Compiled, with the GIL released; kept on disk where there is a folder to write to."""
    options = {"nogil": True, "boundscheck": False, "fastmath": set(flags)}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)


def _kernel_of_numbers(function):
    """As _kernel, but LLVM may assume that there is no NaN (`nnan`), so that min and max vectorise."""
    return _kernel(function, flags=("contract", "nsz", "nnan"))


# ---------------------------------------------------------------------------------------------------------------------
# Vector instructions


class _Vectors:
    """Writes instructions on vectors of one element type. Offsets count elements, from the start of an array."""

    def __init__(self, context, builder, element):
        self.builder = builder
        self.bits = element.bitwidth
        self.lanes = 8 * _VECTOR_BYTES // self.bits
        self.type = ir.VectorType(context.get_value_type(element), self.lanes)
        self.zero = ir.Constant(self.type, None)
        self.one = ir.Constant(self.type, [1.0] * self.lanes)
        self.context = context

    def number(self, value):
        return ir.Constant(ir.IntType(64), value)

    def plus(self, offset, value):
        return self.builder.add(offset, self.number(value))

    def address(self, array, offset, kind=None):
        """array: (numba type, value); kind: read there as that type."""
        data = cgutils.create_struct_proxy(array[0])(self.context, self.builder, value=array[1]).data
        pointer = self.builder.gep(data, [offset])
        return pointer if kind is None else self.builder.bitcast(pointer, kind.as_pointer())

    def vector_of(self, array):
        return ir.VectorType(self.context.get_value_type(array[0].dtype), self.lanes)

    def load(self, array, offset):
        loaded = self.builder.load(self.address(array, offset, self.vector_of(array)))
        loaded.align = array[0].dtype.bitwidth // 8
        return loaded

    def scalar(self, array, offset):
        """One element; whole numbers come as int64."""
        loaded = self.builder.load(self.address(array, offset))
        if isinstance(array[0].dtype, types.Integer) and array[0].dtype.bitwidth < 64:
            loaded = self.builder.sext(loaded, ir.IntType(64))
        return loaded

    def store(self, value, array, offset):
        stored = self.builder.store(value, self.address(array, offset, value.type))
        stored.align = array[0].dtype.bitwidth // 8

    def splat(self, value):
        vector = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)

    def call(self, name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def multiply_add(self, x, y, z):
        return self.call(f"llvm.fmuladd.v{self.lanes}f{self.bits}", self.type, x, y, z)

    def positive(self, x):
        return self.builder.fcmp_ordered(">", x, self.zero)

    def repeat(self, first, last, state, body):
        """state = body(i, state) for i in first ... last - 1. -> state, a list of values"""
        builder, before = self.builder, self.builder.block
        test, inside, after = (builder.append_basic_block(name) for name in ("test", "inside", "after"))
        builder.branch(test)
        builder.position_at_end(test)
        i, *phis = [builder.phi(value.type) for value in (first, *state)]
        builder.cbranch(builder.icmp_signed("<", i, last), inside, after)
        builder.position_at_end(inside)
        news = [self.plus(i, 1), *body(i, phis)]
        for phi, old, new in zip((i, *phis), (first, *state), news):
            phi.add_incoming(old, before)
            phi.add_incoming(new, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return phis


def _instructions(write, result=types.void):
    """write(vectors, *arguments) -> a function for kernels, which may return what `write` does, of type `result`.

    Vectors have the element type of the first argument. Arrays arrive as (numba type, value), whole numbers as int64.
    """

    def define(typing, *arguments):
        numbers = {types.Integer: types.int64, types.Float: arguments[0].dtype}
        arguments = [numbers.get(type(kind), kind) for kind in map(types.unliteral, arguments)]

        def generate(context, builder, signature, values):
            vectors = _Vectors(context, builder, arguments[0].dtype)
            pairs = zip(arguments, values)
            returned = write(vectors, *[pair if isinstance(pair[0], types.Array) else pair[1] for pair in pairs])
            return context.get_dummy_value() if returned is None else returned

        return result(*arguments), generate

    typing, *_ = inspect.signature(define).parameters.values()
    _, *parameters = inspect.signature(write).parameters.values()
    define.__signature__ = inspect.Signature([typing, *parameters])
    return intrinsic(define)


# ---------------------------------------------------------------------------------------------------------------------
# k nearest neighbours: distances of _CHUNK points to all, then of each point a limit guessed from a sample, the few
# below it, equal bins of those, and the order within the bins that hold a wanted rank.


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


def _write_keep(vectors, values, offset, order, limit, kept_values, kept_indices, count):
    """Append the values <= limit of one vector, and their indices, at `count`. -> the new count"""
    builder = vectors.builder
    value, index = vectors.load(values, offset), vectors.load(order, offset)
    below = builder.fcmp_ordered("<=", value, vectors.splat(limit))
    for kept, vector, name in ((kept_values, value, f"f{vectors.bits}"), (kept_indices, index, "i32")):
        packed = vectors.call(f"llvm.x86.avx512.mask.compress.v{vectors.lanes}{name}", vector.type,
                        vector, ir.Constant(vector.type, None), below)  # fmt: skip
        vectors.store(packed, kept, count)
    bits = builder.bitcast(below, ir.IntType(vectors.lanes))
    return builder.add(count, builder.zext(vectors.call(f"llvm.ctpop.i{vectors.lanes}", bits.type, bits), count.type))


_keep_vector = _instructions(_write_keep, types.int64)


@_kernel_of_numbers
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


@_kernel
def _keep_vectors(distances, order, limit, values, indices):
    """The distances <= limit, and which points they lead to, in front of values and indices. -> how many"""
    count = 0
    for j in range(0, distances.size, 64 // distances.itemsize):
        count = _keep_vector(distances, j, order, limit, values, indices, count)
    return count


@_kernel
def _keep_singly(distances, order, limit, values, indices):
    """As _keep_vectors, for processors without AVX-512."""
    count = 0
    for j in range(distances.size):
        values[count] = distances[j]
        indices[count] = order[j]
        count += distances[j] <= limit
    return count


_keep = _keep_vectors if _AVX512 else _keep_singly


@_kernel
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


@_kernel_of_numbers
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


# These two are names of the module and not variables of a closure. numba's cache compares the values that a kernel
# closes over, and an intrinsic is a new object in every process: the cached kernel would never be found again.
_tile_of_products = _instructions(_write_tile(differences=False))
_tile_of_differences = _instructions(_write_tile(differences=True))


@_kernel
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
                if differences:
                    _tile_of_differences(points, r * channels, panels, panel * channels * width, start, panel * width,
                                         distances, to, columns, channels)  # fmt: skip
                else:
                    _tile_of_products(points, r * channels, panels, panel * channels * width, start, panel * width,
                                      distances, to, columns, channels)  # fmt: skip
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
    width = _VECTORS * _VECTOR_BYTES // x.element_size()
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


# ---------------------------------------------------------------------------------------------------------------------
# Extremes over edges


def _write_extreme(vectors, c, neighbors, sign, extremes, arg, point, k, base, channels, channel, *statistics):
    """Of one vector of channels of a point: the extreme of c over its neighbours, and the row where it is first met.

    base: the first row of its cloud. statistics: a, relu_sum, positive (R, C), and sums, squares (C,) to add to.
    """
    builder = vectors.builder
    index = ir.IntType(32)
    here, edge = builder.add(builder.mul(point, channels), channel), builder.mul(point, k)
    signs = vectors.load(sign, channel)
    a = vectors.load(statistics[0], here) if statistics else None

    def visit(slot, state):
        j = builder.add(base, vectors.scalar(neighbors, builder.add(edge, slot)))
        other = vectors.load(c, builder.add(builder.mul(j, channels), channel))
        signed, best, extreme, where, *sums = builder.fmul(other, signs), *state
        better = builder.or_(builder.fcmp_ordered(">", signed, best), builder.fcmp_unordered("uno", signed, signed))
        new = [
            builder.select(better, signed, best),
            builder.select(better, other, extreme),
            builder.select(better, vectors.splat(builder.trunc(j, index)), where),
        ]
        if sums:
            total, squares, count = sums
            y = builder.fadd(a, other)
            # A ReLU that keeps NaN.
            r = builder.select(builder.fcmp_ordered("<=", y, vectors.zero), vectors.zero, y)
            new += [builder.fadd(total, r), vectors.multiply_add(r, r, squares),
                    builder.fadd(count, builder.select(vectors.positive(r), vectors.one, vectors.zero))]  # fmt: skip
        return new

    lowest = vectors.splat(ir.Constant(vectors.type.element, float("-inf")))
    nowhere = ir.Constant(ir.VectorType(index, vectors.lanes), None)
    state = [lowest, vectors.zero, nowhere] + [vectors.zero] * (3 if statistics else 0)
    _, extreme, where, *sums = vectors.repeat(vectors.number(0), k, state, visit)
    vectors.store(extreme, extremes, here)
    vectors.store(where, arg, here)
    if statistics:
        _, relu_sum, positive, all_sums, all_squares = statistics
        vectors.store(sums[0], relu_sum, here)
        vectors.store(sums[2], positive, here)
        for totals, new in ((all_sums, sums[0]), (all_squares, sums[1])):
            old = vectors.load(totals, channel)
            new = new if new.type == old.type else builder.fpext(new, old.type)
            vectors.store(builder.fadd(old, new), totals, channel)


def _write_extreme_and_statistics(
    vectors, c, neighbors, sign, extremes, arg, point, k, base, channels, channel, a, relu_sum, positive, sums, squares
):
    statistics = (a, relu_sum, positive, sums, squares)
    _write_extreme(vectors, c, neighbors, sign, extremes, arg, point, k, base, channels, channel, *statistics)


def _write_extreme_only(vectors, c, neighbors, sign, extremes, arg, point, k, base, channels, channel):
    _write_extreme(vectors, c, neighbors, sign, extremes, arg, point, k, base, channels, channel)


_extreme = _instructions(_write_extreme_only)
_extreme_and_statistics = _instructions(_write_extreme_and_statistics)


@_kernel
def _gather(c, neighbors, points, sign, e, arg, lanes, first, last):
    channels, k = c.shape[1], neighbors.shape[1]
    for i in range(first, last):
        for channel in range(0, channels, lanes):
            _extreme(c, neighbors, sign, e, arg, i, k, i // points * points, channels, channel)


@_kernel
def _gather_and_sum(c, neighbors, points, sign, e, arg, lanes, first, last, a, relu_sum, positive, sums):
    channels, k = c.shape[1], neighbors.shape[1]
    sums[:] = 0
    for i in range(first, last):
        for channel in range(0, channels, lanes):
            _extreme_and_statistics(c, neighbors, sign, e, arg, i, k, i // points * points, channels, channel,
                                    a, relu_sum, positive, sums[0], sums[1])  # fmt: skip


def _write_incoming(vectors, values, arg, sources, total, j, first, last, channels, channel, *statistics):
    """total[j] = sums over the edges i -> j: values_i where arg_i is j, with statistics and q r + p where r > 0.

    sources (E,): i of the edges first:last that come in at j; r = a_i + c_j. statistics: a, c (R, C), p, q (C,).
    """
    builder = vectors.builder
    here = builder.add(builder.mul(j, channels), channel)
    myself = vectors.splat(builder.trunc(j, ir.IntType(32)))
    if statistics:
        a, c, p, q = statistics
        c, p, q = vectors.load(c, here), vectors.load(p, channel), vectors.load(q, channel)

    def visit(edge, state):
        total, before = state
        i = vectors.scalar(sources, edge)
        there = builder.add(builder.mul(i, channels), channel)
        # A table may name a neighbour of a point twice. The two edges are then side by side; count the value once.
        chosen = builder.and_(
            builder.icmp_signed("==", vectors.load(arg, there), myself),
            vectors.splat(builder.icmp_signed("!=", i, before)),
        )
        total = builder.fadd(total, builder.select(chosen, vectors.load(values, there), vectors.zero))
        if statistics:
            r = builder.fadd(vectors.load(a, there), c)
            total = builder.fadd(
                total, builder.select(vectors.positive(r), vectors.multiply_add(q, r, p), vectors.zero)
            )
        return [total, i]

    summed, _ = vectors.repeat(first, last, [vectors.zero, vectors.number(-1)], visit)
    vectors.store(summed, total, here)


def _write_incoming_extremes(vectors, values, arg, sources, total, j, first, last, channels, channel):
    _write_incoming(vectors, values, arg, sources, total, j, first, last, channels, channel)


def _write_incoming_edges(vectors, values, arg, sources, total, j, first, last, channels, channel, a, c, p, q):
    _write_incoming(vectors, values, arg, sources, total, j, first, last, channels, channel, a, c, p, q)


_incoming_extremes = _instructions(_write_incoming_extremes)
_incoming_edges = _instructions(_write_incoming_edges)


@_kernel
def _scatter_extremes(values, arg, sources, starts, total, lanes, first, last):
    channels = values.shape[1]
    for j in range(first, last):
        for channel in range(0, channels, lanes):
            _incoming_extremes(values, arg, sources, total, j, starts[j], starts[j + 1], channels, channel)


@_kernel
def _scatter_edges(values, arg, sources, starts, total, lanes, first, last, a, c, p, q):
    channels = values.shape[1]
    for j in range(first, last):
        for channel in range(0, channels, lanes):
            _incoming_edges(values, arg, sources, total, j, starts[j], starts[j + 1], channels, channel, a, c, p, q)


@_kernel
def _turn_round(neighbors, base, sources, starts):
    """The edges of one cloud by where they come in: sources[starts[j] : starts[j + 1]] -> j, ascending."""
    N, k = neighbors.shape
    ends = np.zeros(N, np.int64)
    for i in range(N):
        for slot in range(k):
            ends[neighbors[i, slot]] += 1
    end = base * k
    for j in range(N):
        starts[j] = end
        end += ends[j]
        ends[j] = starts[j]
    for i in range(N):
        for slot in range(k):
            j = neighbors[i, slot]
            sources[ends[j]] = base + i
            ends[j] += 1


def _whole_vectors(lanes, *arrays):
    """Each with zero channels added, until vectors divide them. (R, C) or (C,) tensors -> numpy"""
    return [torch.nn.functional.pad(array, (0, -array.shape[-1] % lanes)).contiguous().numpy() for array in arrays]


def _pieces(rows):
    """Pieces of 256 rows, whatever the number of threads: sums over pieces are then the same on every machine."""
    return [(first, min(first + 256, rows)) for first in range(0, rows, 256)]


def gather_extreme(a, c, neighbors, sign, statistics):
    """The extreme of c over the neighbours of each row, and sums over edges of r = relu(a_i + c_j).

    a, c (R, C), neighbors (B, N, k) int64 within the cloud, sign (C,): 1 for the maximum, -1 the minimum, 0 the first
    -> e (R, C), arg (R, C) int32: the row it came from, the first such in the order of the table, and (None without
    `statistics`) sum_j r and #{j: r > 0} (R, C), sum of r and of r^2 over all edges (C,) float64.
    """
    _, N, k = neighbors.shape
    R, C = c.shape
    lanes = _VECTOR_BYTES // c.element_size()
    table = neighbors.reshape(R, k).contiguous().numpy()
    padded, sign = _whole_vectors(lanes, c, sign)
    e, arg = np.empty_like(padded), np.empty(padded.shape, np.int32)
    common = (padded, table, N, sign, e, arg, lanes)
    pieces = _pieces(R)
    if not statistics:
        in_threads(lambda first, last: _gather(*common, first, last), pieces)
        return *(torch.from_numpy(array)[:, :C].contiguous() for array in (e, arg)), None, None, None, None
    (a,) = _whole_vectors(lanes, a)
    relu_sum, positive = np.empty_like(padded), np.empty_like(padded)
    sums = np.empty((len(pieces), 2, padded.shape[1]))
    in_threads(
        lambda first, last: _gather_and_sum(*common, first, last, a, relu_sum, positive, sums[first // 256]), pieces
    )
    found = (torch.from_numpy(array)[:, :C].contiguous() for array in (e, arg, relu_sum, positive, sums.sum(0)))
    *found, sums = found
    return *found, *sums


def scatter_at(values, arg, neighbors):
    """out[j] = sum of values_i over the i with arg_i = j, channel by channel.

    values (R, C), arg (R, C) int32, each the row of a neighbour of i, neighbors (B, N, k) -> (R, C)
    """
    return _scatter(_scatter_extremes, neighbors, values, arg)


def scatter_edges(values, arg, neighbors, a, c, p, q):
    """`scatter_at` and, over the edges that come in at j, the sums of q r + p where r = a_i + c_j > 0.

    values, arg, a, c (R, C), neighbors (B, N, k), p, q (C,) -> (R, C)
    """
    return _scatter(_scatter_edges, neighbors, values, arg, a, c, p, q)


def _scatter(kernel, neighbors, values, arg, *edges):
    B, N, k = neighbors.shape
    C = values.shape[1]
    lanes = _VECTOR_BYTES // values.element_size()
    values, arg, *edges = _whole_vectors(lanes, values, arg, *edges)
    table = neighbors.contiguous().numpy()
    sources, starts = np.empty(B * N * k, np.int32), np.full(B * N + 1, B * N * k)
    total = np.empty_like(values)

    def turn_round(cloud):
        _turn_round(table[cloud], cloud * N, sources, starts[cloud * N :])

    def add_up(first, last):
        kernel(values, arg, sources, starts, total, lanes, first, last, *edges)

    in_threads(turn_round, [(cloud,) for cloud in range(B)])
    in_threads(add_up, _pieces(B * N))
    return torch.from_numpy(total)[:, :C].contiguous()
