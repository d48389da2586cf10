"""One-bar log returns, and how the kernels want them: missing ones as zeros with their places listed. Source: data.md 3."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dolphin.kernels.comoments import LANES
from dolphin.kernels.moments import Rows
from dolphin.types import Array, Ints

__all__ = ["one_bar_returns", "packed_rows", "padded_width"]


def one_bar_returns(closes: Array, bars: Ints) -> Array:
    """``ln(close[t] / close[t-1])``, NaN where a close is not finite and > 0 or the two are not exactly one bar apart; row 0 is NaN.

    ``closes`` float64[n_rows, n_assets], ``bars`` int64[n_rows] absolute bar numbers, rising.
    """
    prices = np.where((closes > 0.0) & (closes < np.inf), closes, np.nan)
    returns = np.full(closes.shape, np.nan)
    if len(closes) > 1:
        np.log(prices[1:] / prices[:-1], out=returns[1:])
        returns[1:][np.diff(bars) != 1] = np.nan
    return returns


def padded_width(n_assets: int) -> int:
    """Columns of the kernels' arrays: ``n_assets`` rounded up to whole vector lanes."""
    return -(-n_assets // LANES) * LANES


def packed_rows(returns: Array, above: int = 0) -> Rows:
    """``Rows`` of ``returns`` float64[n_rows, n_assets] (NaN = missing) below ``above`` rows of which everything is missing."""
    n_rows, n_assets = returns.shape
    padded = np.zeros((above + n_rows, padded_width(n_assets)))
    missing = np.isnan(returns)
    np.copyto(padded[above:, :n_assets], returns, where=~missing)
    full: npt.NDArray[np.bool_] = np.ones(above + n_rows, dtype=np.bool_)
    full[above:] = missing.all(axis=1)
    missing[full[above:]] = False
    row, asset = np.nonzero(missing)
    start = np.zeros(above + n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row + above, minlength=above + n_rows), out=start[1:])
    return Rows(padded, full, start, asset.astype(np.int64))
