"""The scan's judge: correlation matrices and their largest eigenvalues in 512-bit ball arithmetic (python-flint, extra ``audit``).

A ball is a midpoint and a radius that together contain the true value; closes are taken as the exact numbers they are, every step after
that widens the radius by what it rounds. The eigenvalue's enclosure is proven, not estimated:

* ``rho = v^T C v / v^T v <= lambda_max`` for any v, here the float64 eigenvector refined by power iteration;
* some eigenvalue lies within ``||C v - rho v|| / ||v||`` of rho, and it is the largest when ``2 rho^2 > ||C||_F^2``;
* otherwise ``sigma = (1 + 1e-12) rho`` is an upper bound when ``X (sigma I - C) X^T`` is within 1 of the identity, X being the inverse
  of its float64 Cholesky factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dolphin.errors import MissingDependency
from dolphin.scanner.scan import scan_batch
from dolphin.scanner.windows import log_returns, window_correlation
from dolphin.types import WINDOWS, Array, Ints, ScanBatch

__all__ = ["PRECISION", "TOLERANCE", "AuditRow", "Enclosure", "audit", "correlation_balls", "enclose_largest"]

PRECISION: Final = 512
"""Working precision in bits."""

TOLERANCE: Final = 1e-11
"""A float64 eigenvalue passes when it lies in the enclosure widened by this share of it."""

_ROUNDS, _CHECK_EVERY, _MARGIN = 96, 8, 1e-12


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Proven bounds ``lower <= lambda_max <= upper`` (``flint.arb``); ``proof``: ``frobenius``, ``definite`` or ``none`` (no upper)."""

    lower: Any
    upper: Any
    proof: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One sampled eigenvalue: place, float64 value, signed relative error against the enclosure's middle, the enclosure's relative width,
    whether the value lies inside (widened by ``TOLERANCE``), and how the enclosure was proven.
    """

    row: int
    bar: int
    window: int
    participants: int
    lambda_max: float
    relative_error: float
    relative_width: float
    inside: bool
    proof: str


def audit(
    closes: Array, bars: npt.ArrayLike | None = None, sample: int = 20, seed: int = 0, *, scanned: ScanBatch | None = None
) -> list[AuditRow]:
    """Check ``sample`` random bars of a scan of ``closes`` float64[n, n_assets], every window that has an eigenvalue there.

    ``bars`` int64[n]: absolute bar numbers (default contiguous); ``scanned``: the scan to check (default: scan now). The bars are drawn by
    ``numpy.random.default_rng(seed)``. Raises ``MissingDependency`` without python-flint.
    """
    flint = _flint()
    block = np.ascontiguousarray(closes, dtype=np.float64)
    numbers = np.arange(len(block), dtype=np.int64) if bars is None else np.asarray(bars, dtype=np.int64)
    held = scan_batch(block, bars=numbers) if scanned is None else scanned
    known = np.flatnonzero(np.isfinite(held.lambda_max).any(axis=1))
    chosen = np.sort(np.random.default_rng(seed).choice(known, min(sample, len(known)), replace=False))
    out = []
    with flint.ctx.workprec(PRECISION):
        for row in chosen.tolist():
            for w, window in enumerate(WINDOWS):
                if np.isfinite(held.lambda_max[row, w]):
                    cut = slice(row - window, row + 1)
                    out.append(_judge(block[cut], numbers[cut], row, window, float(held.lambda_max[row, w])))
    return out


def _judge(closes: Array, bars: Ints, row: int, window: int, value: float) -> AuditRow:
    matrix, columns = correlation_balls(closes, bars)
    found = enclose_largest(matrix)
    flint = _flint()
    slack = flint.arb(value) * flint.arb(TOLERANCE)
    inside = found.proof != "none" and bool(found.lower - slack <= value) and bool(value <= found.upper + slack)
    middle = ((found.lower + found.upper) / 2).mid()
    error, width = float(((value - middle) / middle).mid()), float(((found.upper - found.lower) / middle).abs_upper())
    return AuditRow(row, int(bars[-1]), window, len(columns), value, error, width, inside, found.proof)


def correlation_balls(closes: Array, bars: Ints) -> tuple[Any, Ints]:
    """Correlation matrix of one window as ``flint.arb_mat`` at the current precision, and the participants' columns.

    ``closes`` float64[window + 1, n_assets], ``bars`` int64[window + 1]: a return is missing unless both its closes are finite and positive
    and one bar apart. Logarithms, means and scales are computed in balls; who takes part is decided in float64 as in the scan.
    """
    flint = _flint()
    returns = log_returns(closes[1:], closes[0], np.diff(bars) == 1)
    _, columns = window_correlation(returns)
    zero = flint.arb(0)
    units = []
    for j in columns.tolist():
        there = np.isfinite(returns[:, j]).tolist()
        logs = [flint.arb(float(c)).log() if c > 0.0 else zero for c in closes[:, j]]
        x = [b - a if ok else zero for a, b, ok in zip(logs[:-1], logs[1:], there, strict=True)]
        mean = sum(x, zero) / sum(there)
        x = [value - mean if ok else zero for value, ok in zip(x, there, strict=True)]
        norm = sum((value * value for value in x), zero).sqrt()
        units.append([value / norm for value in x])
    rows = flint.arb_mat(units)
    return rows * rows.transpose(), columns


def enclose_largest(matrix: Any) -> Enclosure:
    """Proven bounds of the largest eigenvalue of a symmetric ``flint.arb_mat``, at the current precision."""
    flint = _flint()
    n = matrix.nrows()
    approximate = np.array([[float(matrix[i, j].mid()) for j in range(n)] for i in range(n)])
    vector = flint.arb_mat([[float(x)] for x in np.linalg.eigh(approximate)[1][:, -1]])
    rho, reach = _rayleigh(matrix, vector)
    for _ in range(_ROUNDS // _CHECK_EVERY):
        if bool(reach < rho * flint.arb(2) ** (-flint.ctx.prec // 2)):
            break
        for _ in range(_CHECK_EVERY):
            vector = (matrix * vector).mid()
        rho, reach = _rayleigh(matrix, vector)
    lower = rho.lower()
    square = sum((entry * entry for entry in matrix.entries()), flint.arb(0))
    if bool(2 * rho * rho > square):
        return Enclosure(lower, (rho + reach).upper(), "frobenius")
    sigma = (rho * (1 + flint.arb(_MARGIN))).upper()
    if _definite(matrix, approximate, sigma):
        return Enclosure(lower, sigma, "definite")
    return Enclosure(lower, flint.arb.pos_inf(), "none")


def _rayleigh(matrix: Any, vector: Any) -> tuple[Any, Any]:
    """``(rho, ||C v - rho v|| / ||v||)`` in balls."""
    image = matrix * vector
    square = (vector.transpose() * vector)[0, 0]
    rho = (vector.transpose() * image)[0, 0] / square
    rest = image - vector * rho
    return rho, ((rest.transpose() * rest)[0, 0] / square).abs_upper().sqrt()


def _definite(matrix: Any, approximate: Array, sigma: Any) -> bool:
    """Whether ``sigma I - C`` is proven positive definite."""
    flint = _flint()
    n = len(approximate)
    try:
        factor = np.linalg.cholesky(float(sigma) * np.eye(n) - approximate)
    except np.linalg.LinAlgError:
        return False
    inverse = flint.arb_mat(np.linalg.inv(factor).tolist())
    shifted = flint.arb_mat(n, n, [sigma if i == j else 0 for i in range(n) for j in range(n)]) - matrix
    rest = inverse * shifted * inverse.transpose()
    total = sum(((rest[i, j] - (i == j)) ** 2 for i in range(n) for j in range(n)), flint.arb(0))
    return bool(total < 1)


def _flint() -> Any:
    try:
        import flint
    except ImportError as error:
        raise MissingDependency("the 512-bit audit needs python-flint: pip install 'dolphin-nautilus[audit]'") from error
    return flint
