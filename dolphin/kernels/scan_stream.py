"""One scanner window, bar by bar: co-moments by rank-two update, eigenvalue by warm-started Lanczos, proof that it is the largest.

A pushed bar and a batch run the same machine code on the same state; that is why they agree bit for bit. Source: data.md 3.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.comoments import BLOCK, EIGHT, FAST, ONE, TWO, ZERO, Index, frobenius_nb, roll_nb
from dolphin.kernels.eigen import definite_nb, largest_nb
from dolphin.kernels.moments import CHANGED, GAPS, PARTICIPANTS, PUSH, REBUILD, STRETCH, WEIGHT, Moments, Rows
from dolphin.types import Array

__all__ = ["OUTPUT", "SECOND_SHARE", "TOLERANCE", "Memory", "impute_nb", "scan_stream_nb"]

TOLERANCE: Final = 1e-13
"""Bound of (residual / lambda)^2, hence about of the relative error of lambda."""

FINE: Final = 1e-23
"""The same where the second eigenvalue may be close."""

MARGIN: Final = 1e-11
"""Relative distance below which another eigenvalue may be the largest."""

SECOND_SHARE: Final = 0.9
"""lambda counts as proven the largest when a bound of the second eigenvalue is at most this share of it."""

OUTPUT: Final = ("lambda_max", "frobenius", "unproven")
"""Columns of ``out``: largest eigenvalue (NaN below the least number of participants), ||C||_F^2 (NaN where it was not needed), 1 where
the eigenvalue found is not proven to be the largest."""

LAMBDA, FROBENIUS, UNPROVEN = (np.uint64(i) for i in range(len(OUTPUT)))
READY, BOUND, LAST_WEIGHT = ZERO, ONE, TWO


class Memory(NamedTuple):
    """What a window carries from bar to bar, all float64: ``matrix``, ``scratch``, ``factor`` [packed_size(n)] co-moments; ``vectors`` and
    ``products`` [KRYLOV, n], ``work`` [3, n], ``tri`` [3, n] of ``largest_nb``; ``carried`` [3]: 1 = warm start usable (2: but not its
    product), bound of the second eigenvalue, rows that were not full.
    """

    matrix: Array
    scratch: Array
    factor: Array
    vectors: Array
    products: Array
    work: Array
    tri: Array
    carried: Array


@kernel(fastmath=FAST)
def impute_nb(rows: Rows, first: Index, stop: Index, moments: Moments, k: Index, memory: Memory) -> None:
    """``scratch = matrix`` as if every missing return of a participant in rows ``first <= r < stop`` were the participant's mean.

    With z_r the means at the missing places of row r: ``T = P + sum_r x_r z_r^T + z_r x_r^T + z_r z_r^T``, applied entry by entry of z
    to one row and one column each. ``work[1]`` is overwritten.
    """
    returns = rows.returns
    gap_start = rows.gap_start
    gap_asset = rows.gap_asset
    mean = moments.mean
    scratch = memory.scratch
    work = memory.work
    n = np.uint64(work.shape[1])
    for j in range(np.uint64(memory.matrix.size)):
        scratch[j] = memory.matrix[j]
    for r in range(first, stop):
        hit = 0.0
        for e in range(gap_start[r], gap_start[r + ONE]):
            hit += moments.scale[k, gap_asset[e]]
        if hit > 0.0:
            for j in range(n):
                work[ONE, j] = returns[r, j]
            for e in range(gap_start[r], gap_start[r + ONE]):
                work[ONE, gap_asset[e]] = 0.5 * mean[k, gap_asset[e]]
            for e in range(gap_start[r], gap_start[r + ONE]):
                a = np.uint64(gap_asset[e])
                m = mean[k, a]
                start = ZERO
                for i in range((a & BLOCK) + EIGHT):
                    p = start - (i & BLOCK)
                    scratch[p + a] += m * work[ONE, i]
                    if i == a:
                        for j in range(a & BLOCK, n):
                            scratch[p + j] += m * work[ONE, j]
                    start += n - (i & BLOCK)


@kernel(fastmath=FAST)
def _start_nb(
    returns: Array, t: Index, leaving: Index, scale: Array, s: Index, ready: float, participants: float, products: Array, work: Array
) -> float:
    """Put the start vector into ``work[1]`` and return its squared length: the last ``u = d v`` (``work[0]``) over the new d, or ones.

    The product of P with u, in ``products[0]``, follows the change of rows.
    """
    n = np.uint64(work.shape[1])
    entered = left = norm = 0.0
    for j in range(n):
        entered += returns[t, j] * work[ZERO, j]
        left += returns[leaving, j] * work[ZERO, j]
    for j in range(n):
        d = scale[s, j]
        v = work[ZERO, j] / d if ready > 0.0 else 1.0
        v = v if d > 0.0 else 0.0
        work[ONE, j] = v
        norm += v * v
    if norm == 0.0:
        for j in range(n):
            work[ONE, j] = 1.0 if scale[s, j] > 0.0 else 0.0
        norm = participants
    for j in range(n):
        products[ZERO, j] += returns[t, j] * entered - returns[leaving, j] * left
    return norm


@kernel(fastmath=FAST)
def _second_nb(theta: float, square: float, participants: float, weight: float) -> float:
    """Upper bound of the second eigenvalue from the trace ``participants``, ``||C||_F^2 = square`` and the largest (Samuelson)."""
    others = min(participants - 1.0, weight - 2.0)
    rest = (participants - theta) / others
    spread = (square - theta * theta) / others - rest * rest
    return rest + (math.sqrt((others - 1.0) * spread) if spread > 0.0 else 0.0)


@kernel(fastmath=FAST)
def scan_stream_nb(
    rows: Rows, start: int, stop: int, window: int, entropy: bool, least: int, moments: Moments, memory: Memory, out: Array
) -> None:
    """Largest eigenvalue of the window's correlation matrix at every row ``start <= t < stop``; ``out`` float64[stop - start, 3].

    ``moments`` are those of the same rows. ``entropy``: the Frobenius norm is wanted at every bar. Fewer than ``least`` participants:
    NaN. Proof that it is the largest: the trace n and ||C||_F^2 give mean and spread of the other eigenvalues, at most
    min(n - 1, w - 2) of which are not 0, and so a bound of the second (Samuelson's inequality); from there Weyl's inequality carries the
    bound from bar to bar (``INFO`` of ``moments``) until it is too wide. The long windows need the norm on 1-3 % of the bars only.
    """
    returns = rows.returns
    scale = moments.scale
    mean = moments.mean
    info = moments.info
    packed = memory.matrix
    products = memory.products
    work = memory.work
    carried = memory.carried
    k = ZERO
    for t in range(np.uint64(start), np.uint64(stop)):
        s = k + ONE
        leaving = t - np.uint64(window)
        rebuild = info[k, REBUILD] > 0.0
        gaps = info[k, GAPS] > 0.0
        weight = info[k, WEIGHT]
        roll_nb(packed, returns, t, leaving, rebuild)
        matrix = packed
        if gaps:
            impute_nb(rows, leaving + ONE, t + ONE, moments, s, memory)
            matrix = memory.scratch
        ready: Any = carried[READY]
        norm = _start_nb(returns, t, leaving, scale, s, ready, info[k, PARTICIPANTS], products, work)
        same = ready == 1.0 and not rebuild and not gaps and info[k, CHANGED] == 0.0
        carried[READY] = 0.0
        out[k, UNPROVEN] = 0.0
        out[k, LAMBDA] = out[k, FROBENIUS] = np.nan
        if info[k, PARTICIPANTS] >= least:
            vectors = memory.vectors
            theta, done, norm = largest_nb(matrix, scale, mean, s, weight, norm, same, vectors, products, work, memory.tri, TOLERANCE)
            bound = info[k, STRETCH] * (carried[BOUND] + info[k, PUSH])
            if entropy or not same or weight != carried[LAST_WEIGHT] or not bound <= SECOND_SHARE * theta:
                square = frobenius_nb(matrix, scale, mean, s, weight, work)
                bound = _second_nb(theta, square, info[k, PARTICIPANTS], weight)
                out[k, FROBENIUS] = square
            if not (done and bound <= SECOND_SHARE * theta):
                # no gap is known, and without one only the residual itself bounds the error (norm > 0: a literal True would compile
                # largest_nb a second time)
                theta, done, norm = largest_nb(matrix, scale, mean, s, weight, norm, norm > 0.0, vectors, products, work, memory.tri, FINE)
                out[k, UNPROVEN] = not definite_nb(matrix, scale, mean, s, weight, theta * (1.0 + MARGIN), memory.factor)
            out[k, LAMBDA] = theta
            carried[READY] = 2.0 if gaps else 1.0
            carried[BOUND] = bound
            carried[LAST_WEIGHT] = weight
        k = s
