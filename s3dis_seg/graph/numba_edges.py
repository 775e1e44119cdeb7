"""Extremes and sums over edges on the CPU, in kernels compiled by numba (vectors.py says how they are written).

Letters: B clouds, N points, R = B * N rows, C channels, k neighbours. Every result is the same on every run, whatever
the number of threads.
"""

import numpy as np
import torch
from llvmlite import ir

from s3dis_seg.graph.threads import in_threads
from s3dis_seg.graph.vectors import VECTOR_BYTES, instructions, kernel


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


_extreme = instructions(_write_extreme_only)
_extreme_and_statistics = instructions(_write_extreme_and_statistics)


@kernel
def _gather(c, neighbors, points, sign, e, arg, lanes, first, last):
    channels, k = c.shape[1], neighbors.shape[1]
    for i in range(first, last):
        for channel in range(0, channels, lanes):
            _extreme(c, neighbors, sign, e, arg, i, k, i // points * points, channels, channel)


@kernel
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


_incoming_extremes = instructions(_write_incoming_extremes)
_incoming_edges = instructions(_write_incoming_edges)


@kernel
def _scatter_extremes(values, arg, sources, starts, total, lanes, first, last):
    channels = values.shape[1]
    for j in range(first, last):
        for channel in range(0, channels, lanes):
            _incoming_extremes(values, arg, sources, total, j, starts[j], starts[j + 1], channels, channel)


@kernel
def _scatter_edges(values, arg, sources, starts, total, lanes, first, last, a, c, p, q):
    channels = values.shape[1]
    for j in range(first, last):
        for channel in range(0, channels, lanes):
            _incoming_edges(values, arg, sources, total, j, starts[j], starts[j + 1], channels, channel, a, c, p, q)


@kernel
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
    lanes = VECTOR_BYTES // c.element_size()
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
    lanes = VECTOR_BYTES // values.element_size()
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
