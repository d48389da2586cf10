"""Co-moment matrix of one scanner window: how it is stored, and the norm of the correlation matrix that it stands for.

``P = sum_r x_r x_r^T`` over the window's rows of log returns ``x`` (a missing return enters as 0). With ``d_i = 1/sqrt(P_ii - w m_i^2)``,
means ``m`` and row count ``w``, the correlation matrix is ``C_ij = d_i d_j (P_ij - w m_i m_j)``; it is never formed.

P is symmetric and packed: row i holds columns ``i & ~7`` .. n - 1, row after row in one float64[packed_size(n)]. Half the memory
traffic of a full matrix is what counts from N = 100 on; blocks of 8 keep whole SIMD lanes. n is a multiple of 8 and arrays start on
64-byte boundaries (a product at N = 400: 7.1 us, 9.1 us off the boundary). Indices are unsigned, which spares every access its
wrap-around test: with it these loops do not vectorise (26 us). Sums may be reassociated (``FAST``), nothing else is relaxed. Vectorised
loops are guarded by comparisons of addresses and fall back to scalar sums, so arrays have to lie apart (``scanner.windows.aligned``);
then a result is a function of the data and of the CPU type, never of how rows were cut into calls.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array

__all__ = ["FAST", "LANES", "Index", "frobenius_nb", "packed_size", "roll_nb"]

type Index = Any
"""uint64; typed loosely because ``range`` over it counts as int for a type checker."""

LANES: Final = 8
"""Number of columns is a multiple of this."""

FAST: Final = {"reassoc", "contract", "nsz"}
"""What the compiler may do to sums: reorder them, fuse multiply and add, forget the sign of zero. NaN and infinity keep their meaning."""

ZERO: Index = np.uint64(0)
ONE: Index = np.uint64(1)
TWO: Index = np.uint64(2)
THREE: Index = np.uint64(3)
FOUR: Index = np.uint64(4)
EIGHT: Index = np.uint64(LANES)
HALF_ROOT: Final = math.sqrt(0.5)
BLOCK: Index = np.uint64(2**64 - LANES)


def packed_size(n: int) -> int:
    """Elements of a packed symmetric matrix of side n (a multiple of ``LANES``): ``n (n + 8) / 2``."""
    return n * (n + LANES) // 2


@kernel(fastmath=FAST)
def roll_nb(packed: Array, returns: Array, t: Index, leaving: Index, rebuild: bool) -> None:
    """P gains row ``t`` of ``returns`` and loses row ``leaving``; ``rebuild``: it is summed afresh over ``leaving < r <= t``, by pairs."""
    n = np.uint64(returns.shape[1])
    first = t
    second = leaving
    sign = -1.0
    if rebuild:
        for j in range(np.uint64(packed.size)):
            packed[j] = 0.0
        first = leaving + ONE
        second = leaving + TWO
        sign = 1.0
    for r in range(first, t + ONE, TWO):
        start = ZERO
        for i in range(ZERO, n, TWO):
            block = i & BLOCK
            p = start - block
            q = p + n - block
            a0 = returns[r, i]
            a1 = returns[r, i + ONE]
            b0 = sign * returns[second, i]
            b1 = sign * returns[second, i + ONE]
            for j in range(block, n):
                a = returns[r, j]
                b = returns[second, j]
                packed[p + j] += a0 * a + b0 * b
                packed[q + j] += a1 * a + b1 * b
            start += TWO * (n - block)
        second += TWO


@kernel(fastmath=FAST)
def frobenius_nb(matrix: Array, scale: Array, mean: Array, k: Index, weight: float, work: Array) -> float:
    """``||C||_F^2 = sum_ij (d_i d_j (P_ij - w m_i m_j))^2`` with ``d = scale[k]``, ``m = mean[k]``, ``w = weight``.

    Elements beyond the diagonal block count twice; ``work[2]`` is d with the columns of the block that is being read scaled by 1/sqrt(2).
    """
    n = np.uint64(scale.shape[1])
    for j in range(n):
        work[TWO, j] = scale[k, j]
    total = 0.0
    start = ZERO
    for i in range(ZERO, n, FOUR):
        block = i & BLOCK
        width = n - block
        p = start - block
        q = p + width
        r = q + width
        s = r + width
        if block == i:
            for j in range(block, block + EIGHT):
                work[TWO, j] *= HALF_ROOT
        w0 = weight * mean[k, i]
        w1 = weight * mean[k, i + ONE]
        w2 = weight * mean[k, i + TWO]
        w3 = weight * mean[k, i + THREE]
        s0 = s1 = s2 = s3 = 0.0
        for j in range(block, n):
            d = work[TWO, j]
            m = mean[k, j]
            x = (matrix[p + j] - w0 * m) * d
            y = (matrix[q + j] - w1 * m) * d
            u = (matrix[r + j] - w2 * m) * d
            v = (matrix[s + j] - w3 * m) * d
            s0 += x * x
            s1 += y * y
            s2 += u * u
            s3 += v * v
        a = scale[k, i]
        b = scale[k, i + ONE]
        c = scale[k, i + TWO]
        d = scale[k, i + THREE]
        total += a * a * s0 + b * b * s1 + c * c * s2 + d * d * s3
        start += FOUR * width
    return 2.0 * total
