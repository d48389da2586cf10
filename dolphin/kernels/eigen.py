"""Largest eigenvalue of a correlation matrix by warm-started Lanczos: full precision in three or four products.

The start vector is the last bar's eigenvector, so the residual is small at once and falls by about 1/40 a product. Every new vector is
made orthogonal to all others of its pass, the start vector last; without that, white noise at N = 12 once gave a value 13 % above the
largest eigenvalue.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.comoments import BLOCK, EIGHT, FAST, FOUR, ONE, THREE, TWO, ZERO, Index
from dolphin.types import Array

__all__ = ["KRYLOV", "definite_nb", "largest_nb"]

KRYLOV: Final = 8
"""Lanczos vectors before a restart from the Ritz vector."""

PASSES: Final = 60


@kernel(fastmath=FAST)
def _product_nb(matrix: Array, work: Array, out: Array) -> None:
    """``out = P work[0]``: each element is read once and serves both triangles.

    ``work[2]`` is ``work[0]`` without the columns up to the diagonal block, which the other half has already served.
    """
    n = np.uint64(work.shape[1])
    for j in range(n):
        out[j] = 0.0
        work[TWO, j] = work[ZERO, j]
    start = ZERO
    for i in range(ZERO, n, FOUR):
        block = i & BLOCK
        width = n - block
        p = start - block
        q = p + width
        r = q + width
        s = r + width
        for j in range(block, block + EIGHT):
            work[TWO, j] = 0.0
        u0 = work[ZERO, i]
        u1 = work[ZERO, i + ONE]
        u2 = work[ZERO, i + TWO]
        u3 = work[ZERO, i + THREE]
        y0 = y1 = y2 = y3 = 0.0
        for j in range(block, n):
            u = work[TWO, j]
            m0 = matrix[p + j]
            m1 = matrix[q + j]
            m2 = matrix[r + j]
            m3 = matrix[s + j]
            y0 += m0 * u
            y1 += m1 * u
            y2 += m2 * u
            y3 += m3 * u
            out[j] += m0 * u0 + m1 * u1 + m2 * u2 + m3 * u3
        out[i] += y0
        out[i + ONE] += y1
        out[i + TWO] += y2
        out[i + THREE] += y3
        start += FOUR * width


@kernel(fastmath=FAST)
def _orthogonal_nb(vectors: Array, work: Array, size: Index) -> tuple[float, float]:
    """Make ``work[1]`` orthogonal to ``vectors[0 .. size]``, the first last.

    Returns its squared length afterwards and the part that lay along ``vectors[size]``.
    """
    n = np.uint64(work.shape[1])
    diagonal = rest = 0.0
    for step in range(size + ONE):
        i = step + ONE if step < size else ZERO
        along = 0.0
        for j in range(n):
            along += work[ONE, j] * vectors[i, j]
        rest = 0.0
        for j in range(n):
            y = work[ONE, j] - along * vectors[i, j]
            work[ONE, j] = y
            rest += y * y
        if i == size:
            diagonal = along
    return rest, diagonal


@kernel(fastmath=FAST)
def _ritz_nb(tri: Array, size: Index) -> tuple[float, float]:
    """``(theta, squared length)`` of the top eigenpair of the Lanczos matrix ``tri[:2]``; the vector, first component 1, in ``tri[2]``.

    Newton's method from above (monotone): Gershgorin bounds all rows but the first, [[alpha, beta], [beta, bound]] the whole. Pivots run
    upwards, so that their ratios are those of the eigenvector.
    """
    y = tri[ONE, ONE]
    tri[ONE, ONE] = 0.0
    c: Any = 0.0
    for i in range(ONE, size):
        reach = tri[ZERO, i] + tri[ONE, i] + tri[ONE, i + ONE]
        c = reach if reach > c else c
    tri[ONE, ONE] = y
    theta = tri[ZERO, ZERO]
    theta = 0.5 * (theta + c + math.sqrt((theta - c) * (theta - c) + 4.0 * y * y))
    for _ in range(PASSES):
        total = slope = inverse = 0.0
        i = size
        while i > ZERO:
            b = tri[ONE, i] * tri[ONE, i] * inverse
            i -= ONE
            inverse = 1.0 / (theta - tri[ZERO, i] - b)
            slope = (1.0 + b * slope) * inverse
            total += slope
            tri[TWO, i] = tri[ONE, i] * inverse
        shift = 1.0 / total
        if not shift > 1e-15 * theta:
            break
        theta -= shift
    c = norm = 1.0
    for i in range(ONE, size):
        c *= tri[TWO, i]
        tri[TWO, i] = c
        norm += c * c
    tri[TWO, ZERO] = 1.0
    return theta, norm


@kernel(fastmath=FAST)
def largest_nb(
    matrix: Array, scale: Array, mean: Array, k: Index, weight: float, norm: float, carried: bool, vectors: Array, products: Array,
    work: Array, tri: Array, tolerance: float,
) -> tuple[float, bool, float]:  # fmt: skip
    """``(theta, converged, norm)``: largest eigenvalue of ``C = D (P - w m m^T) D``; squared residual <= tolerance * theta^2 or not.

    ``D = diag(scale[k])``, ``m = mean[k]``, ``w = weight``; ``matrix`` holds P as in ``comoments``. The start vector stands in
    ``work[1]`` with squared length ``norm``; with ``carried`` its product ``P (d start)`` stands in ``products[0]``. The Ritz vector v,
    its squared length and its product are left where the start's were, ready for another call, and ``d v`` in ``work[0]``.
    ``vectors`` and ``products`` float64[KRYLOV, n], ``tri`` float64[3, > KRYLOV]: diagonal, couplings and top eigenvector of the
    Lanczos matrix. theta is a Rayleigh quotient: it exceeds the largest eigenvalue by rounding only, and |error| <= residual^2 / gap.
    """
    n = np.uint64(work.shape[1])
    theta: Any = 0.0
    done = False
    for _ in range(PASSES):
        size = ZERO
        tri[ONE, ZERO] = 0.0
        tail = 1.0
        rest = norm
        while True:
            unit = 1.0 / math.sqrt(rest)
            c: Any = 0.0
            for j in range(n):
                v = work[ONE, j] * unit
                vectors[size, j] = v
                u = scale[k, j] * v
                work[ZERO, j] = u
                c += mean[k, j] * u
            c *= weight
            if size > ZERO or not carried:
                _product_nb(matrix, work, products[size])
                unit = 1.0
            for j in range(n):
                h = products[size, j] * unit
                products[size, j] = h
                work[ONE, j] = scale[k, j] * (h - c * mean[k, j])
            rest, tri[ZERO, size] = _orthogonal_nb(vectors, work, size)
            theta = tri[ZERO, ZERO]
            if size > ZERO:
                # to leading order the last component of the Ritz vector: tells whether looking at the Lanczos matrix is worth it
                tail *= tri[ONE, size] / (theta - tri[ZERO, size])
            size += ONE
            tri[ONE, size] = 0.0
            last = (size == np.uint64(KRYLOV)) | (rest <= 1e-26 * theta * theta)
            if last or rest * tail * tail <= tolerance * theta * theta:
                theta, norm = _ritz_nb(tri, size)
                c = tri[TWO, size - ONE]
                done = rest * c * c <= tolerance * theta * theta * norm
                if last or done:
                    break
            tri[ONE, size] = math.sqrt(rest)
        for i in range(ONE, size):
            c = tri[TWO, i]
            for j in range(n):
                vectors[ZERO, j] += c * vectors[i, j]
                products[ZERO, j] += c * products[i, j]
        norm = 0.0
        for j in range(n):
            v = vectors[ZERO, j]
            work[ONE, j] = v
            work[ZERO, j] = scale[k, j] * v
            norm += v * v
        if done:
            break
        carried = True
    return theta, done, norm


@kernel(fastmath=FAST)
def definite_nb(matrix: Array, scale: Array, mean: Array, k: Index, weight: float, sigma: float, factor: Array) -> bool:
    """Whether ``sigma I - C`` is positive definite, hence sigma above every eigenvalue: all pivots of its elimination are positive.

    Arguments as in ``largest_nb``; ``factor`` float64[packed_size(n)] is overwritten. N^3 / 6 multiplications: 7 us at N = 48.
    """
    n = np.uint64(scale.shape[1])
    start = ZERO
    for i in range(n):
        block = i & BLOCK
        p = start - block
        d = scale[k, i]
        m = weight * mean[k, i]
        for j in range(block, n):
            factor[p + j] = d * scale[k, j] * (m * mean[k, j] - matrix[p + j])
        factor[p + i] += sigma
        start += n - block
    start = ZERO
    for i in range(n):
        block = i & BLOCK
        p = start - block
        start += n - block
        if not factor[p + i] > 0.0:
            return False
        inverse = 1.0 / factor[p + i]
        below = start
        for r in range(i + ONE, n):
            block = r & BLOCK
            q = below - block
            c = factor[p + r] * inverse
            for j in range(block, n):
                factor[q + j] -= c * factor[p + j]
            below += n - block
    return True
