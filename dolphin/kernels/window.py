"""Price windows of the engine: the last valid prices of each asset, from today's block and the tail of the days before.

"Valid" = finite and > 0. A missing price leaves no hole: the window of an asset is its last n *valid* prices. Usually the block is
whole and the window is a view of it; only where prices are missing, or the day is young, is it assembled.
"""

from __future__ import annotations

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array

__all__ = ["fold_tail_nb", "history_nb", "window_nb"]


@kernel
def _valid_nb(price: float) -> bool:
    return (price > 0.0) & (price < np.inf)


@kernel
def history_nb(block: Array, tail: Array, row: int, asset: int, out: Array) -> int:
    """Fill ``out`` float64[n] from its end with the last valid prices of ``asset`` up to ``row``; return how many there were.

    ``block`` float64[n_bars, n_assets] (this day), ``tail`` float64[m, n_assets] (older prices, newest last). Unfilled places are NaN.
    """
    at = out.shape[0]
    for r in range(row, -1, -1):
        if at == 0:
            return out.shape[0]
        price = block[r, asset]
        if _valid_nb(price):
            at -= 1
            out[at] = price
    for r in range(tail.shape[0] - 1, -1, -1):
        if at == 0:
            return out.shape[0]
        price = tail[r, asset]
        if _valid_nb(price):
            at -= 1
            out[at] = price
    for i in range(at):
        out[i] = np.nan
    return out.shape[0] - at


@kernel
def window_nb(block: Array, tail: Array, row: int, scratch: Array, column: Array) -> Array:
    """``float64[n, n_assets]`` window of the last n valid prices up to ``row``: a view of ``block`` when whole, else ``scratch``.

    ``scratch`` float64[n, n_assets] and ``column`` float64[n] are work space. An asset with fewer prices has NaN at the top; one
    without a valid price on ``row`` itself, which could not be traded, is all NaN (its history may lie arbitrarily far back).
    """
    n = scratch.shape[0]
    young = row < n - 1
    view = block[0 if young else row - n + 1 : row + 1]
    valid = 0
    for i in range(view.shape[0]):
        for j in range(view.shape[1]):
            valid += 1 if (view[i, j] > 0.0) & (view[i, j] < np.inf) else 0
    if valid == n * view.shape[1]:
        return view
    for i in range(0 if young else n):
        for j in range(view.shape[1]):
            scratch[i, j] = view[i, j]
    for j in range(block.shape[1]):
        whole = not young
        for i in range(view.shape[0]):
            whole = whole and _valid_nb(view[i, j])
        if whole:
            continue
        traded = _valid_nb(block[row, j])
        if traded:
            history_nb(block, tail, row, j, column)
        for i in range(n):
            scratch[i, j] = column[i] if traded else np.nan
    return scratch


@kernel
def fold_tail_nb(block: Array, tail: Array, rows: int, column: Array, out: Array) -> None:
    """Write into ``out`` (shaped like ``tail``) the last valid prices after ``rows`` rows of ``block``: the next day's tail."""
    for j in range(block.shape[1]):
        history_nb(block, tail, rows - 1, j, column)
        for i in range(out.shape[0]):
            out[i, j] = column[i]
