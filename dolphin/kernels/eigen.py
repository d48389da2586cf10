"""Largest eigenvalue of a correlation matrix by warm-started Lanczos, full precision in three or four products.

The start vector is the last bar's eigenvector, so the residual is small at once and falls by about 1/40 a product. The vectors of a
pass stay orthogonal to its start by one explicit projection; the others, whose Ritz values never converge in so few steps, by the
three-term recurrence alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.comoments import FAST, ONE, TWO, ZERO, Index, multiply_nb
from dolphin.types import Array

__all__ = ["BASIS_ROWS", "KRYLOV", "PRODUCT", "VECTOR", "WARM", "WORK", "largest_nb", "tridiagonal_top_nb"]

KRYLOV: Final = 8
"""Lanczos vectors before a restart from the Ritz vector."""

VECTOR: Final = np.uint64(0)
PRODUCT: Final = np.uint64(KRYLOV)
WARM: Final = np.uint64(2 * KRYLOV)
WORK: Final = np.uint64(2 * KRYLOV + 1)
BASIS_ROWS: Final = 2 * KRYLOV + 2
"""Rows of ``basis`` float64[BASIS_ROWS, n]: Lanczos vectors v; products P (d v); ``WARM`` = d v of the last Ritz vector v, its product
in row ``PRODUCT``; ``WORK`` = start vector."""

PASSES: Final = 60


@kernel(fastmath=FAST)
def tridiagonal_top_nb(tri: Array, size: Index) -> float:
    """Largest eigenvalue of a symmetric tridiagonal matrix, by Newton's method from Gershgorin's bound (monotone).

    ``tri`` float64[3, > size]: row 0 diagonal, row 1 entry i couples i - 1 and i (entries 0 and ``size`` are 0). Writes row 2: the
    eigenvector by backward recurrence, unscaled, and in entry ``size`` the factor that makes it a unit vector.
    """
    x = tri[ZERO, ZERO]
    for i in range(size):
        reach = tri[ZERO, i] + tri[ONE, i] + tri[ONE, i + ONE]
        x = reach if reach > x else x
    for _ in range(PASSES):
        pivot = x - tri[ZERO, ZERO]
        slope = 1.0 / pivot
        total = slope
        for i in range(ONE, size):
            b = tri[ONE, i] * tri[ONE, i] / pivot
            pivot = x - tri[ZERO, i] - b
            slope = (1.0 + b * slope) / pivot
            total += slope
        if not 1e-15 * x * total < 1.0:
            break
        x -= 1.0 / total
    i = size - ONE
    tri[TWO, i] = 1.0
    c = norm = 1.0
    carry = 0.0
    while i > ZERO:
        lower = ((x - tri[ZERO, i]) * c - carry) / tri[ONE, i]
        carry = tri[ONE, i] * c
        c = lower
        i -= ONE
        tri[TWO, i] = c
        norm += c * c
    tri[TWO, size] = 1.0 / math.sqrt(norm)
    return x


@kernel(fastmath=FAST)
def largest_nb(
    matrix: Array,
    scale: Array,
    mean: Array,
    k: Index,
    weight: float,
    norm: float,
    carried: bool,
    vectors: Array,
    products: Array,
    work: Array,
    tri: Array,
    tolerance: float,
) -> tuple[float, bool]:
    """Largest eigenvalue theta of ``C = D (P - w m m^T) D`` and whether it converged: squared residual <= tolerance * theta^2.

    ``D = diag(scale[k])``, ``m = mean[k]``, ``w = weight``; ``matrix`` holds P as in ``comoments``. The start vector stands in row
    ``WORK`` of ``basis`` with squared length ``norm``; with ``carried`` its product ``P (d start)`` stands in row ``PRODUCT``.
    Leaves ``d v`` of the unit Ritz vector v in ``WARM`` and its product in ``PRODUCT``. ``tri`` float64[3, KRYLOV + 1] is scratch.
    theta is a Rayleigh quotient: it never exceeds the largest eigenvalue but by rounding, |error| <= residual^2 / gap.
    """
    n = np.uint64(work.shape[1])
    theta = 0.0
    done = False
    for _ in range(PASSES):
        size = ZERO
        tri[ONE, ZERO] = 0.0
        tail = 1.0
        rest = norm
        while True:
            unit = 1.0 / math.sqrt(rest)
            c = 0.0
            for j in range(n):
                v = work[ONE, j] * unit
                vectors[size, j] = v
                u = scale[k, j] * v
                work[ZERO, j] = u
                c += mean[k, j] * u
            c *= weight
            if size > ZERO or not carried:
                multiply_nb(matrix, work, ZERO, products, size)
                unit = 1.0
            along = first = 0.0
            for j in range(n):
                h = products[size, j] * unit
                products[size, j] = h
                y = scale[k, j] * (h - c * mean[k, j])
                work[ONE, j] = y
                along += y * vectors[size, j]
                first += y * vectors[ZERO, j]
            first = first if size > ZERO else 0.0
            back = size - ONE if size > ONE else ZERO
            b = tri[ONE, size] if size > ONE else 0.0
            rest = 0.0
            for j in range(n):
                y = work[ONE, j] - along * vectors[size, j] - first * vectors[ZERO, j] - b * vectors[back, j]
                work[ONE, j] = y
                rest += y * y
            tri[ZERO, size] = along
            theta = tri[ZERO, ZERO]
            if size > ZERO:
                tail *= tri[ONE, size] / (theta - along)
            size += ONE
            tri[ONE, size] = 0.0
            last = (size == np.uint64(KRYLOV)) | (rest <= 1e-26 * theta * theta)
            if last or rest * tail * tail <= tolerance * theta * theta:
                theta = tridiagonal_top_nb(tri, size)
                c = tri[TWO, size - ONE] * tri[TWO, size]
                done = rest * c * c <= tolerance * theta * theta
                if last or done:
                    break
            tri[ONE, size] = math.sqrt(rest)
        a = tri[TWO, ZERO] * tri[TWO, size]
        for i in range(ONE, size):
            c = tri[TWO, i] * tri[TWO, size]
            for j in range(n):
                vectors[ZERO, j] = a * vectors[ZERO, j] + c * vectors[i, j]
                products[ZERO, j] = a * products[ZERO, j] + c * products[i, j]
            a = 1.0
        norm = 0.0
        for j in range(n):
            v = vectors[ZERO, j]
            work[ONE, j] = v
            work[ZERO, j] = scale[k, j] * v
            norm += v * v
        if done:
            break
        carried = True
    return theta, done
