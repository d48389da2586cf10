"""Co-moment matrix of one scanner window: rank-two update, symmetric product, Frobenius norm of its correlation matrix.

``P = sum_r x_r x_r^T`` over the window's rows of log returns ``x`` (a missing return enters as 0) is kept in a square array of which
only the columns from ``i & ~7`` on are valid in row i: blocks of 8 columns on and above the diagonal. Half the memory traffic of a
full matrix is what counts from N = 100 on. With ``d_i = 1/sqrt(P_ii - w m_i^2)``, means ``m`` and row count ``w``, the correlation
matrix is ``C_ij = d_i d_j (P_ij - w m_i m_j)``; it is never formed.

Indices are unsigned throughout: that spares every access its wrap-around test, without which the loops do not vectorise (product at
N = 400: 26 us signed, 9 us unsigned). Sums may be reassociated (``FAST``), nothing else is relaxed: a result is a function of the
data and of the CPU type, never of how rows were cut into calls. Sides are padded to a multiple of 8.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array

__all__ = ["FAST", "LANES", "Index", "add_pair_nb", "frobenius_nb", "multiply_nb"]

type Index = np.uint64

LANES: Final = 8
"""Sides of all arrays are multiples of this."""

FAST: Final = {"reassoc", "contract", "nsz"}
"""What the compiler may do to sums: reorder them, fuse multiply and add, forget the sign of zero. NaN and infinity keep their meaning."""

ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)
TWO: Final = np.uint64(2)
THREE: Final = np.uint64(3)
FOUR: Final = np.uint64(4)
EIGHT: Final = np.uint64(LANES)
BLOCK: Final = np.uint64(2**64 - LANES)


@kernel(fastmath=FAST)
def add_pair_nb(matrix: Array, rows: Array, first: Index, second: Index, sign: float) -> None:
    """``P += a a^T + sign * b b^T`` with ``a = rows[first]``, ``b = rows[second]``; ``matrix`` float64[n, n], ``rows`` float64[:, n]."""
    n = np.uint64(matrix.shape[0])
    for i in range(ZERO, n, TWO):
        k = i + ONE
        a0 = rows[first, i]
        a1 = rows[first, k]
        b0 = sign * rows[second, i]
        b1 = sign * rows[second, k]
        for j in range(i & BLOCK, n):
            a = rows[first, j]
            b = rows[second, j]
            matrix[i, j] += a0 * a + b0 * b
            matrix[k, j] += a1 * a + b1 * b


@kernel(fastmath=FAST)
def multiply_nb(matrix: Array, vector: Array, source: Index, out: Array, target: Index) -> None:
    """``out[target] = P @ vector[source]``; each stored element is read once and serves both triangles."""
    n = np.uint64(matrix.shape[0])
    for j in range(np.uint64(out.shape[1])):
        out[target, j] = 0.0
    for i in range(ZERO, n, FOUR):
        a = i + ONE
        b = i + TWO
        c = i + THREE
        u0 = vector[source, i]
        u1 = vector[source, a]
        u2 = vector[source, b]
        u3 = vector[source, c]
        y0 = y1 = y2 = y3 = 0.0
        for j in range(i & BLOCK, (i & BLOCK) + EIGHT):
            out[target, j] += matrix[i, j] * u0 + matrix[a, j] * u1 + matrix[b, j] * u2 + matrix[c, j] * u3
        for j in range((i & BLOCK) + EIGHT, n):
            u = vector[source, j]
            p = matrix[i, j]
            q = matrix[a, j]
            r = matrix[b, j]
            s = matrix[c, j]
            y0 += p * u
            y1 += q * u
            y2 += r * u
            y3 += s * u
            out[target, j] += p * u0 + q * u1 + r * u2 + s * u3
        out[target, i] += y0
        out[target, a] += y1
        out[target, b] += y2
        out[target, c] += y3


@kernel(fastmath=FAST)
def frobenius_nb(matrix: Array, scale: Array, mean: Array, k: Index, weight: float) -> float:
    """``||C||_F^2 = sum_ij (d_i d_j (P_ij - w m_i m_j))^2`` with ``d = scale[k]``, ``m = mean[k]``, ``w = weight``."""
    n = np.uint64(matrix.shape[0])
    total = 0.0
    for i in range(ZERO, n, FOUR):
        a = i + ONE
        b = i + TWO
        c = i + THREE
        m0 = weight * mean[k, i]
        m1 = weight * mean[k, a]
        m2 = weight * mean[k, b]
        m3 = weight * mean[k, c]
        s0 = s1 = s2 = s3 = 0.0
        for j in range(i & BLOCK, (i & BLOCK) + EIGHT):
            m = mean[k, j]
            d = scale[k, j]
            p = (matrix[i, j] - m0 * m) * d
            q = (matrix[a, j] - m1 * m) * d
            r = (matrix[b, j] - m2 * m) * d
            s = (matrix[c, j] - m3 * m) * d
            s0 += p * p
            s1 += q * q
            s2 += r * r
            s3 += s * s
        s0 *= 0.5
        s1 *= 0.5
        s2 *= 0.5
        s3 *= 0.5
        for j in range((i & BLOCK) + EIGHT, n):
            m = mean[k, j]
            d = scale[k, j]
            p = (matrix[i, j] - m0 * m) * d
            q = (matrix[a, j] - m1 * m) * d
            r = (matrix[b, j] - m2 * m) * d
            s = (matrix[c, j] - m3 * m) * d
            s0 += p * p
            s1 += q * q
            s2 += r * r
            s3 += s * s
        d0 = scale[k, i]
        d1 = scale[k, a]
        d2 = scale[k, b]
        d3 = scale[k, c]
        total += d0 * d0 * s0 + d1 * d1 * s1 + d2 * d2 * s2 + d3 * d3 * s3
    return 2.0 * total
