"""The scanner's definition, computed the slow way: a freshly built matrix, LAPACK, and certified 512-bit ball arithmetic.

LAPACK stands in where a bar's eigenvalue is not proven to be the largest; the balls (Arb, python-flint, extra ``audit``) answer whether
a float64 eigenvalue can be trusted. Source: data.md 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import MissingDependency
from dolphin.types import Array

__all__ = ["Enclosure", "ball_correlation", "enclose", "participants", "window_correlation", "window_eigenvalue"]

MIN_FINITE = 0.9
MIN_VARIANCE = 1e-18


def participants(returns: Array) -> npt.NDArray[np.bool_]:
    """bool[n_assets]: at least 90 % of the window's returns finite, variance of those > 1e-18. ``returns`` float64[W, n_assets]."""
    finite = np.isfinite(returns)
    count = finite.sum(axis=0)
    values = np.where(finite, returns, 0.0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    squares = (np.where(finite, returns - mean, 0.0) ** 2).sum(axis=0)
    return (10 * count >= 9 * len(returns)) & (squares > MIN_VARIANCE * count) & (values != 0.0).any(axis=0)


def window_correlation(returns: Array) -> Array:
    """Pearson correlation of the participants, a missing return counting as its asset's mean. ``returns`` float64[W, n_assets]."""
    kept = returns[:, participants(returns)]
    deviation = np.where(np.isfinite(kept), kept - np.nanmean(kept, axis=0), 0.0)
    unit = deviation / np.sqrt((deviation**2).sum(axis=0))
    return np.asarray(unit.T @ unit)


def window_eigenvalue(returns: Array) -> float:
    """Largest eigenvalue of ``window_correlation`` by LAPACK."""
    return float(np.linalg.eigvalsh(window_correlation(returns))[-1])


@dataclass(frozen=True, slots=True)
class Enclosure:
    """``[low, high]`` contains the largest eigenvalue (decimal strings, correct to the last digit shown); ``certified``: proven largest.

    ``contains(x)`` asks whether ``x`` lies within ``tolerance`` (relative) of the enclosure.
    """

    middle: Any
    radius: Any
    certified: bool

    def relative_error(self, value: float) -> float:
        """|value - middle| / middle, rounded up to float64."""
        from flint import arb

        return float((abs(arb(value) - self.middle) / self.middle).upper())

    def contains(self, value: float, tolerance: float) -> bool:
        """Whether ``value`` lies in the enclosure widened by ``tolerance`` times its middle."""
        from flint import arb

        return bool(abs(arb(value) - self.middle) <= self.radius + arb(tolerance) * self.middle)


def _flint() -> Any:
    try:
        import flint
    except ImportError as error:
        raise MissingDependency("python-flint is not installed: pip install 'dolphin-nautilus[audit]'") from error
    return flint


def ball_correlation(returns: Array, precision: int = 512) -> Any:
    """``flint.arb_mat`` with the participants' correlation matrix, every entry an enclosure. ``returns`` as in ``window_correlation``.

    Raises ``MissingDependency`` without python-flint.
    """
    flint = _flint()
    with _precision(flint, precision):
        kept = returns[:, participants(returns)]
        columns = []
        for column in kept.T:
            values = [flint.arb(x) for x in column[np.isfinite(column)].tolist()]
            mean = sum(values, flint.arb(0)) / len(values)
            deviation = [flint.arb(x) - mean if np.isfinite(x) else flint.arb(0) for x in column.tolist()]
            norm = sum((x * x for x in deviation), flint.arb(0)).sqrt()
            columns.append([x / norm for x in deviation])
        unit = flint.arb_mat(columns)
        return unit * unit.transpose()


def enclose(returns: Array, precision: int = 512, steps: int = 200) -> Enclosure:
    """Certified enclosure of the largest eigenvalue of the window's correlation matrix.

    A float64 eigenvector is refined by power iteration; ``|lambda - rho| <= ||C v - rho v|| / ||v||`` encloses an eigenvalue, and
    ``2 rho^2 > ||C||_F^2`` proves that it is the largest; otherwise the squared norm of ``C^2`` is tried.
    Raises ``MissingDependency`` without python-flint.
    """
    flint = _flint()
    vector = np.linalg.eigh(window_correlation(returns))[1][:, -1]
    with _precision(flint, precision):
        matrix = ball_correlation(returns, precision)
        v = flint.arb_mat([[flint.arb(x)] for x in vector.tolist()])
        wanted = flint.arb(2) ** (20 - precision // 2)
        for _ in range(steps):
            product = matrix * v
            rho = _dot(v, product) / _dot(v, v)
            residual = product - v * rho
            radius = (_dot(residual, residual) / _dot(v, v)).sqrt()
            if radius < wanted:
                break
            norm = _dot(product, product).sqrt()
            v = _midpoints(flint, product, norm)
        radius = radius.upper() + rho.rad()
        square = sum((matrix[i, j] ** 2 for i in range(matrix.nrows()) for j in range(matrix.ncols())), flint.arb(0))
        certified = bool(2 * (rho - radius) ** 2 > square)
        if not certified:
            second = matrix * matrix
            fourth = sum((second[i, j] ** 2 for i in range(matrix.nrows()) for j in range(matrix.ncols())), flint.arb(0))
            certified = bool(2 * (rho - radius) ** 4 > fourth)
        return Enclosure(flint.arb(rho.mid()), flint.arb(radius), certified)


def _dot(a: Any, b: Any) -> Any:
    return (a.transpose() * b)[0, 0]


def _midpoints(flint: Any, column: Any, norm: Any) -> Any:
    return flint.arb_mat([[(column[i, 0] / norm).mid()] for i in range(column.nrows())])


class _precision:
    """Work at ``bits`` inside the block (python-flint keeps one precision for the process)."""

    def __init__(self, flint: Any, bits: int) -> None:
        self._context, self._bits = flint.ctx, bits

    def __enter__(self) -> None:
        self._before, self._context.prec = self._context.prec, self._bits

    def __exit__(self, *_: object) -> None:
        self._context.prec = self._before
