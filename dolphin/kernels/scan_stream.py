"""One scanner window, bar by bar: co-moments by rank-two update, eigenvalue by warm-started Lanczos, proof that it is the largest.

A pushed bar and a batch run the same machine code on the same state; that is why they agree bit for bit. Source: data.md 3.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.comoments import BLOCK, EIGHT, FAST, ONE, TWO, ZERO, Index, add_pair_nb, frobenius_nb
from dolphin.kernels.eigen import largest_nb
from dolphin.kernels.moments import CHANGED, GAPS, PARTICIPANTS, PUSH, REBUILD, STRETCH, WEIGHT, Moments, Rows
from dolphin.types import Array

__all__ = ["OUTPUT", "SECOND_SHARE", "TOLERANCE", "Memory", "impute_nb", "scan_stream_nb"]

TOLERANCE: Final = 1e-13
"""Bound of (residual / lambda)^2, hence about of the relative error of lambda."""

SECOND_SHARE: Final = 0.9
"""lambda counts as proven the largest when a bound of the second eigenvalue is at most this share of it."""

OUTPUT: Final = ("lambda_max", "frobenius", "unproven")
"""Columns of ``out``: largest eigenvalue (NaN below the least number of participants), ||C||_F^2 (NaN where it was not needed), 1 where
the eigenvalue found is not proven to be the largest."""

LAMBDA, FROBENIUS, UNPROVEN = (np.uint64(i) for i in range(len(OUTPUT)))
READY, BOUND, LAST_WEIGHT = ZERO, ONE, TWO


class Memory(NamedTuple):
    """What a window carries from bar to bar, all float64: ``matrix`` [n, n] co-moments; ``scratch`` [n, n]; ``basis`` [BASIS_ROWS, n]
    and ``tri`` [3, n] of ``largest_nb``; ``carried`` [3]: warm start usable (2: without its product), bound of the second eigenvalue,
    rows that were not full.
    """

    matrix: Array
    scratch: Array
    vectors: Array
    products: Array
    work: Array
    tri: Array
    carried: Array


@kernel(fastmath=FAST)
def impute_nb(rows: Rows, first: Index, stop: Index, moments: Moments, k: Index, memory: Memory) -> None:
    """``scratch = matrix`` as if every missing return of a participant in rows ``first <= r < stop`` were the participant's mean.

    With z_r the means at the missing places of row r: ``T = P + sum_r x_r z_r^T + z_r x_r^T + z_r z_r^T``, applied entry by entry of z
    to one row and one column each. Row ``WORK`` of the basis is overwritten.
    """
    n = np.uint64(memory.matrix.shape[0])
    work = memory.work
    for i in range(n):
        for j in range(i & BLOCK, n):
            memory.scratch[i, j] = memory.matrix[i, j]
    for r in range(first, stop):
        hit = 0.0
        for e in range(rows.gap_start[r], rows.gap_start[r + ONE]):
            hit += moments.scale[k, rows.gap_asset[e]]
        if hit > 0.0:
            for j in range(n):
                work[ONE, j] = rows.returns[r, j]
            for e in range(rows.gap_start[r], rows.gap_start[r + ONE]):
                work[ONE, rows.gap_asset[e]] = 0.5 * moments.mean[k, rows.gap_asset[e]]
            for e in range(rows.gap_start[r], rows.gap_start[r + ONE]):
                a = np.uint64(rows.gap_asset[e])
                m = moments.mean[k, a]
                if m != 0.0:
                    for j in range(a & BLOCK, n):
                        memory.scratch[a, j] += m * work[ONE, j]
                    for i in range((a & BLOCK) + EIGHT):
                        memory.scratch[i, a] += m * work[ONE, i]


@kernel(fastmath=FAST)
def scan_stream_nb(
    rows: Rows, start: int, stop: int, window: int, entropy: bool, least: int, moments: Moments, memory: Memory, out: Array
) -> None:
    """Largest eigenvalue of the window's correlation matrix at every row ``start <= t < stop``; ``out`` float64[stop - start, 3].

    ``moments`` are those of the same rows. ``entropy``: the Frobenius norm is wanted at every bar. Fewer than ``least`` participants:
    NaN. Proof: sqrt(||C||_F^2 - lambda^2) bounds the second eigenvalue; from there Weyl's inequality carries the bound from bar to bar
    (``INFO`` of ``moments``) until it is too wide, so that the norm is needed on few bars (1-3 % for the long windows).
    """
    n = np.uint64(rows.returns.shape[1])
    work = memory.work
    carried = memory.carried
    k = ZERO
    for t in range(np.uint64(start), np.uint64(stop)):
        s = k + ONE
        leaving = t - np.uint64(window)
        rebuild = moments.info[k, REBUILD] > 0.0
        gaps = moments.info[k, GAPS] > 0.0
        weight = moments.info[k, WEIGHT]
        first = t
        second = leaving
        sign = -1.0
        if rebuild:
            for i in range(np.uint64(memory.matrix.shape[0])):
                for j in range(np.uint64(memory.matrix.shape[0])):
                    memory.matrix[i, j] = 0.0
            first = leaving + ONE
            second = leaving + TWO
            sign = 1.0
        for r in range(first, t + ONE, TWO):
            add_pair_nb(memory.matrix, rows.returns, r, second, sign)
            second += TWO
        matrix = memory.matrix
        if gaps:
            impute_nb(rows, leaving + ONE, t + ONE, moments, s, memory)
            matrix = memory.scratch
        warm = carried[READY] > 0.0
        entered = left = norm = 0.0
        for j in range(n):
            entered += rows.returns[t, j] * work[ZERO, j]
            left += rows.returns[leaving, j] * work[ZERO, j]
        for j in range(n):
            d = moments.scale[s, j]
            v = work[ZERO, j] / d if warm else 1.0
            v = v if d > 0.0 else 0.0
            work[ONE, j] = v
            norm += v * v
        for j in range(n):
            memory.products[ZERO, j] += rows.returns[t, j] * entered - rows.returns[leaving, j] * left
        same = carried[READY] == 1.0 and not rebuild and not gaps and moments.info[k, CHANGED] == 0.0
        carried[READY] = 0.0
        out[k, UNPROVEN] = 0.0
        out[k, LAMBDA] = out[k, FROBENIUS] = np.nan
        if moments.info[k, PARTICIPANTS] >= least:
            theta, done = largest_nb(
                matrix, moments.scale, moments.mean, s, weight, norm, same, memory.vectors, memory.products, work, memory.tri, TOLERANCE
            )
            bound = moments.info[k, STRETCH] * (carried[BOUND] + moments.info[k, PUSH])
            if entropy or not same or weight != carried[LAST_WEIGHT] or not bound <= SECOND_SHARE * theta:
                square = frobenius_nb(matrix, moments.scale, moments.mean, s, weight)
                bound = square - theta * theta
                bound = math.sqrt(bound) if bound > 0.0 else 0.0
                out[k, FROBENIUS] = square
            out[k, LAMBDA] = theta
            out[k, UNPROVEN] = not (done and bound <= SECOND_SHARE * theta)
            carried[READY] = 2.0 if gaps else 1.0
            carried[BOUND] = bound
            carried[LAST_WEIGHT] = weight
        k = s
