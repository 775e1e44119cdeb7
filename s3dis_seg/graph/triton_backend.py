"""Triton kernels of the graph engine. Letters: B clouds, N points, R = B * N rows, C channels, k neighbours.

Imported only where a CUDA tensor asks for them. With TRITON_INTERPRET=1, set before triton is imported, they run on CPU
tensors, slowly. Results are the same on every run: no sum depends on the order in which threads arrive.
"""

import functools

import torch
import triton
import triton.language as tl

# Distances live in a chunk of rows that stays in the L2 cache (50 MB on an H100), whatever the number of points.
CHUNK_BYTES = 32 << 20
# How many distances a program looks at in one step: 32 a thread.
STEP = 1024
# Products and sums in one rounding, said aloud because the default is about to change (triton 3.10).
OPTIONS = {"enable_fp_fusion": True}
# Of the products in distances. TF32 alone gets 6-8 % of the ranks of a ResGCN-28 wrong, float32 0.02 %. "tf32x3" (three
# products of TF32 parts) equals float32 in a model of its rounding; on a GPU it has not been measured.
PRECISION = "ieee"
# Stands for no point: above the key of every distance, NaN included.
LARGEST = tl.constexpr(0x7FFFFFFF)


def _on_its_device(function):
    """Triton launches on the current device, which need not be that of the tensors."""

    @functools.wraps(function)
    def launch(*arguments, **options):
        with torch.cuda.device_of(next(a for a in arguments if a is not None)):
            return function(*arguments, **options)

    return launch


# ---------------------------------------------------------------------------------------------------------------------
# k nearest neighbours: tiles of distances, then for each row a threshold, the candidates below it, their order


@triton.jit(do_not_specialize=["first_cloud", "first_row", "rows"])
def _distances(
    x, norms, keys, first_cloud, first_row, rows, N, C,
    DIRECT: tl.constexpr, PRECISION: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One tile of keys[cloud, row, j]: |x_row - x_j|^2 as int32 of the same order, the point itself before all others.

    The bits of floats order as integers where none is negative; a distance that rounding left below 0 becomes 0.
    NaN comes after infinity.
    """
    cloud = tl.program_id(2).to(tl.int64)
    x += (first_cloud + cloud) * N * C
    norms += (first_cloud + cloud) * N
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    i = first_row + place
    j = tl.program_id(1) * COLS + tl.arange(0, COLS)
    i_in = place < rows
    j_in = j < N
    if DIRECT:
        d = tl.zeros((ROWS, COLS), tl.float32)
        for c in range(C):
            x_i = tl.load(x + i * C + c, mask=i_in, other=0.0)
            x_j = tl.load(x + j * C + c, mask=j_in, other=0.0)
            difference = x_i[:, None] - x_j[None, :]
            d += difference * difference
    else:
        product = tl.zeros((ROWS, COLS), tl.float32)
        for start in range(0, C, CHANNELS):
            c = start + tl.arange(0, CHANNELS)
            x_i = tl.load(x + i[:, None] * C + c[None, :], mask=i_in[:, None] & (c < C)[None, :], other=0.0)
            x_j = tl.load(x + j[None, :] * C + c[:, None], mask=j_in[None, :] & (c < C)[:, None], other=0.0)
            product = tl.dot(x_i, x_j, product, input_precision=PRECISION)
        norm_i = tl.load(norms + i, mask=i_in, other=0.0)
        norm_j = tl.load(norms + j, mask=j_in, other=0.0)
        d = (norm_j[None, :] - 2.0 * product) + norm_i[:, None]
    key = tl.where(d <= 0, 0.0, tl.abs(d)).to(tl.int32, bitcast=True)
    key = tl.minimum(key, 0x7F800001)
    key = tl.where(i[:, None] == j[None, :], -1, key)
    keys += cloud * rows * N
    tl.store(keys + place.to(tl.int64)[:, None] * N + j[None, :], key, mask=i_in[:, None] & j_in[None, :])


@triton.jit
def _step(keys, start, N, EVEN: tl.constexpr, STEP: tl.constexpr):
    """The keys of the next STEP columns, the last one first, and the columns; LARGEST beyond the row.

    Backwards, because the compiler then gives every thread one key at a time, as the scattered stores of `_candidates`
    need them, and not runs of four, which would have to change places through shared memory.
    """
    last = start + STEP - 1
    backwards = -tl.arange(0, STEP)
    key = tl.load(keys + last + backwards, mask=(last + backwards < N) | EVEN, other=LARGEST)
    return key, last + backwards


@triton.jit
def _how_many(keys, threshold, N, EVEN: tl.constexpr, STEP: tl.constexpr):
    """#{keys <= threshold} of each place within the steps. -> (STEP,)"""
    count = tl.zeros((STEP,), tl.int32)
    for start in range(0, N, STEP):
        key, _ = _step(keys, start, N, EVEN, STEP)
        count += (key <= threshold).to(tl.int32)
    return count


@triton.jit
def _threshold(keys, N, wanted, EVEN: tl.constexpr, CAPACITY: tl.constexpr, STEP: tl.constexpr):
    """A threshold that `wanted` keys of a row or more do not exceed, and at most CAPACITY unless ties forbid it.

    Bisection over the bits, which is nearly over the logarithm. First among the smallest keys of STEP groups of
    columns, held in registers: where `wanted` groups have one, so have `wanted` columns, and not many more.
    -> the threshold, its `_how_many`
    """
    smallest = tl.full((STEP,), LARGEST, tl.int32)
    for start in range(0, N, STEP):
        key, _ = _step(keys, start, N, EVEN, STEP)
        smallest = tl.minimum(smallest, key)
    low = tl.full((), -2, tl.int64)  # too few, always
    high = tl.full((), LARGEST - 1, tl.int64)  # enough, always
    too_few = low
    groups = tl.full((), STEP, tl.int32)
    while (groups > wanted + wanted // 16) & (high - low > 1):
        middle = (low + high) >> 1
        below = tl.sum((smallest <= middle.to(tl.int32)).to(tl.int32))
        if below >= wanted:
            high = middle
            groups = below
        else:
            low = middle
            if below * tl.cdiv(N, STEP) < wanted:
                too_few = middle
    low = too_few
    count = _how_many(keys, high.to(tl.int32), N, EVEN, STEP)
    while (tl.sum(count) > CAPACITY) & (high - low > 1):
        middle = (low + high) >> 1
        fewer = _how_many(keys, middle.to(tl.int32), N, EVEN, STEP)
        if tl.sum(fewer) >= wanted:
            high = middle
            count = fewer
        else:
            low = middle
    return high.to(tl.int32), count


@triton.jit(do_not_specialize=["wanted"])
def _candidates(
    keys, candidates, N, wanted, ALL: tl.constexpr, EVEN: tl.constexpr, CAPACITY: tl.constexpr, STEP: tl.constexpr
):
    """At most CAPACITY (key, index) of a row in one int64 each, the `wanted` smallest among them; the largest after."""
    row = tl.program_id(0).to(tl.int64)
    keys += row * N
    candidates += row * CAPACITY
    if ALL:
        threshold = tl.full((), LARGEST - 1, tl.int32)
        count = _how_many(keys, threshold, N, EVEN, STEP)
    else:
        threshold, count = _threshold(keys, N, wanted, EVEN, CAPACITY, STEP)
    filled = tl.sum(count)
    if filled <= CAPACITY:
        # Side by side those of the same place within the steps: then no step has to count over its columns.
        place = tl.cumsum(count) - count
        for start in range(0, N, STEP):
            key, j = _step(keys, start, N, EVEN, STEP)
            taken = key <= threshold
            tl.store(candidates + place, (key.to(tl.int64) << 32) | j, mask=taken)
            place += taken.to(tl.int32)
    else:
        # Too many lie at the threshold exactly: of those, the first that find a place.
        ties = CAPACITY - tl.sum(_how_many(keys, threshold - 1, N, EVEN, STEP))
        filled = 0 * filled
        tied = filled
        for start in range(0, N, STEP):
            key, j = _step(keys, start, N, EVEN, STEP)
            equal = (key == threshold).to(tl.int32)
            tied += tl.sum(equal)
            not_after = tied - tl.cumsum(equal) + equal  # how many ties have an index up to j
            taken = ((key < threshold) | ((equal != 0) & (not_after <= ties))).to(tl.int32)
            tl.store(candidates + filled + tl.cumsum(taken) - 1, (key.to(tl.int64) << 32) | j, mask=taken != 0)
            filled += tl.sum(taken)
    place = tl.arange(0, CAPACITY)
    tl.store(candidates + place, 0x7FFFFFFFFFFFFFFF, mask=place >= filled)


@triton.jit
def _pick(candidates, slot_of_rank, out, K, CAPACITY: tl.constexpr):
    """out[row, slot] = index of the candidate whose rank has that slot."""
    row = tl.program_id(0).to(tl.int64)
    rank = tl.arange(0, CAPACITY)
    ordered = tl.sort(tl.load(candidates + row * CAPACITY + rank))
    slot = tl.load(slot_of_rank + rank)
    tl.store(out + row * K + slot, ordered & 0xFFFFFFFF, mask=slot >= 0)


@functools.lru_cache(maxsize=256)
def _slot_of_rank(ranks, capacity, device):
    """Where the neighbour of each rank goes, -1 for nowhere. -> (capacity,) int32"""
    slots = torch.full((capacity,), -1, dtype=torch.int32)
    slots[list(ranks)] = torch.arange(len(ranks), dtype=torch.int32)
    return slots.to(device, non_blocking=True)


@_on_its_device
def knn(x, ranks):
    """Neighbours of the wanted ranks, the point itself at rank 0, the others by (distance, index).

    x (B, N, C) float32, ranks (k,) ascending on the CPU -> (B, N, k) int64. Distances are direct differences up to 4
    channels, else |x_i|^2 - 2 <x_i, x_j> + |x_j|^2 of features centred on their cloud, all in float32.
    """
    B, N, C = x.shape
    ranks = tuple(ranks.tolist())
    wanted = ranks[-1] + 1
    capacity = max(16, triton.next_power_of_2(wanted + wanted // 8))  # room for a threshold that is quickly found
    slot_of_rank = _slot_of_rank(ranks, capacity, x.device)
    direct = C <= 4
    x = (x if direct else x - x.mean(dim=1, keepdim=True)).contiguous()
    norms = x.square().sum(dim=-1)
    rows_at_once = max(1, min(N, CHUNK_BYTES // (4 * N)))
    clouds_at_once = max(1, min(B, CHUNK_BYTES // (4 * N * N)))
    keys = torch.empty(clouds_at_once * rows_at_once, N, dtype=torch.int32, device=x.device)
    candidates = torch.empty(len(keys), capacity, dtype=torch.int64, device=x.device)
    out = torch.empty(B, N, len(ranks), dtype=torch.int64, device=x.device)
    step = min(STEP, triton.next_power_of_2(N))
    tile, channels = 64 if direct else 128, max(16, min(32, triton.next_power_of_2(C)))
    for cloud in range(0, B, clouds_at_once):
        for row in range(0, N, rows_at_once):
            clouds, rows = min(clouds_at_once, B - cloud), min(rows_at_once, N - row)
            tiles = (triton.cdiv(rows, tile), triton.cdiv(N, tile), clouds)
            programs = (clouds * rows,)
            _distances[tiles](
                x, norms, keys, cloud, row, rows, N, C, direct, PRECISION, tile, tile, channels, num_warps=8, **OPTIONS
            )
            _candidates[programs](
                keys, candidates, N, wanted, capacity >= N, N % step == 0, capacity, step, num_warps=1, **OPTIONS
            )
            _pick[programs](candidates, slot_of_rank, out[cloud:, row:], len(ranks), capacity, num_warps=1, **OPTIONS)
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Extremes over edges, and the sums over edges that batch statistics and gradients need


@triton.jit
def _gather_extreme(
    a, c, neighbors, sign, e, arg, relu_sum, positive, totals, R, N, C, K,
    STATISTICS: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row_in = row < R
    channel_in = channel < C
    inside = row_in[:, None] & channel_in[None, :]
    here = row[:, None] * C + channel[None, :]
    first = (row // N) * N
    signs = tl.load(sign + channel, mask=channel_in, other=0.0)[None, :]
    extreme = tl.zeros((ROWS, CHANNELS), tl.float32)
    extreme_row = tl.zeros((ROWS, CHANNELS), tl.int32)
    if STATISTICS:
        a_i = tl.load(a + here, mask=inside, other=0.0)
        sums = tl.zeros((ROWS, CHANNELS), tl.float32)
        squares = tl.zeros((ROWS, CHANNELS), tl.float32)
        counts = tl.zeros((ROWS, CHANNELS), tl.float32)
    for slot in range(K):
        j = first + tl.load(neighbors + row * K + slot, mask=row_in, other=0)
        c_j = tl.load(c + j[:, None] * C + channel[None, :], mask=inside, other=0.0)
        # NaN is the extreme where there is one, as in torch.max.
        better = (c_j * signs > extreme * signs) | ((c_j != c_j) & (extreme == extreme)) | (slot == 0)
        extreme = tl.where(better, c_j, extreme)
        extreme_row = tl.where(better, j.to(tl.int32)[:, None], extreme_row)
        if STATISTICS:
            r = tl.where(a_i + c_j > 0, a_i + c_j, 0.0)
            sums += r
            squares += r * r
            counts += (r > 0).to(tl.float32)
    tl.store(e + here, extreme, mask=inside)
    tl.store(arg + here, extreme_row, mask=inside)
    if STATISTICS:
        tl.store(relu_sum + here, sums, mask=inside)
        tl.store(positive + here, counts, mask=inside)
        total = tl.sum(tl.where(inside, sums, 0.0).to(tl.float64), axis=0)
        total_of_squares = tl.sum(tl.where(inside, squares, 0.0).to(tl.float64), axis=0)
        totals += tl.program_id(0).to(tl.int64) * 2 * C
        tl.store(totals + channel, total, mask=channel_in)
        tl.store(totals + C + channel, total_of_squares, mask=channel_in)


@_on_its_device
def gather_extreme(a, c, neighbors, sign, statistics):
    """The extreme of c over the neighbours of each row; with `statistics` also sums over edges of r = relu(a_i + c_j).

    a (unused without statistics), c (R, C) float32, neighbors (B, N, k) int64 within their cloud, sign (C,) float32: 1
    for the maximum, -1 the minimum, 0 the first -> e (R, C); arg (R, C) int32: the row it comes from, the first such in
    the order of the neighbours; and (None without statistics) sum_j r and #{j: r > 0} (R, C) float32, the sums of r and
    of r^2 over all edges (C,) float64.
    """
    N, k = neighbors.shape[1:]
    R, C = c.shape
    neighbors = neighbors.contiguous()
    channels = min(triton.next_power_of_2(C), 128)
    rows = max(1, 1024 // channels)
    grid = (triton.cdiv(R, rows), triton.cdiv(C, channels))
    e = torch.empty_like(c)
    arg = torch.empty_like(c, dtype=torch.int32)
    relu_sum = positive = totals = None
    if statistics:
        relu_sum, positive = torch.empty_like(c), torch.empty_like(c)
        totals = torch.empty(grid[0], 2, C, dtype=torch.float64, device=c.device)
    _gather_extreme[grid](
        a if statistics else None, c, neighbors, sign, e, arg, relu_sum, positive, totals, R, N, C, k,
        statistics, rows, channels, num_warps=4, **OPTIONS,
    )  # fmt: skip
    total, total_of_squares = totals.sum(dim=0) if statistics else (None, None)
    return e, arg, relu_sum, positive, total, total_of_squares


@triton.jit
def _scatter(
    values, arg, edges, starts, a, c, p, q, out, C, K,
    ALL_EDGES: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    channel_in = channel < C
    here = j * C + channel
    first = tl.load(starts + j)
    last = tl.load(starts + j + 1)
    total = tl.zeros((EDGES, CHANNELS), tl.float32)
    if ALL_EDGES:
        c_j = tl.load(c + here, mask=channel_in, other=0.0)[None, :]
        p_c = tl.load(p + channel, mask=channel_in, other=0.0)[None, :]
        q_c = tl.load(q + channel, mask=channel_in, other=0.0)[None, :]
    for start in range(first, last, EDGES):
        edge = start + tl.arange(0, EDGES)
        edge_in = edge < last
        i = tl.load(edges + edge, mask=edge_in, other=0) // K
        there = i.to(tl.int64)[:, None] * C + channel[None, :]
        inside = edge_in[:, None] & channel_in[None, :]
        # A row may name a neighbour twice. Those edges lie side by side, and the first of them stands for all.
        before = tl.load(edges + edge - 1, mask=edge_in & (edge > first), other=-1)
        again = (before >= 0) & (before // K == i)
        chosen = inside & (again == 0)[:, None] & (tl.load(arg + there, mask=inside, other=-1) == j)
        total += tl.load(values + there, mask=chosen, other=0.0)
        if ALL_EDGES:
            r = tl.load(a + there, mask=inside, other=float("-inf")) + c_j
            total += tl.where(r > 0, q_c * tl.maximum(r, 0.0) + p_c, 0.0)
    tl.store(out + here, tl.sum(total, axis=0), mask=channel_in)


def _incoming(neighbors):
    """The edges, row * k + slot, sorted by the row they come in at (R * k,); where those of each row start (R + 1,).

    A gather along these lists has a fixed order, which a scatter with atomics has not.
    """
    B, N = neighbors.shape[:2]
    rows = torch.arange(B * N, device=neighbors.device)
    targets = (neighbors + rows[::N, None, None]).flatten()
    # A radix sort reads and writes everything once for each byte of the key.
    key, shift = (torch.int16, 1 << 15) if B * N <= 1 << 16 else (torch.int32, 0)
    targets, edges = (targets - shift).to(key).sort(stable=True)
    starts = torch.searchsorted(targets, (rows - shift).to(key), out_int32=True)
    return edges.to(torch.int32), torch.nn.functional.pad(starts, (0, 1), value=edges.numel())


def _sums_over_incoming(values, arg, neighbors, a=None, c=None, p=None, q=None):
    edges, starts = _incoming(neighbors)
    R, C = values.shape
    out = torch.empty_like(values)
    channels = min(triton.next_power_of_2(C), 64)
    _scatter[(R, triton.cdiv(C, channels))](
        values, arg, edges, starts, a, c, p, q, out, C, neighbors.shape[2],
        a is not None, 8, channels, num_warps=1, **OPTIONS,
    )  # fmt: skip
    return out


@_on_its_device
def scatter_at(values, arg, neighbors):
    """out[j] = sum of values_i over the i with arg_i = j, channel by channel: the gradient of a gathered extreme.

    values (R, C) float32, arg (R, C) int32, each the row of a neighbour of i, neighbors (B, N, k) -> (R, C)
    """
    return _sums_over_incoming(values, arg, neighbors)


@_on_its_device
def scatter_edges(values, arg, neighbors, a, c, p, q):
    """`scatter_at` and, over the edges that come in at j, the sums of q r + p where r = a_i + c_j > 0.

    values, arg, a, c (R, C), neighbors (B, N, k), p, q (C,) -> (R, C)
    """
    return _sums_over_incoming(values, arg, neighbors, a, c, p, q)
