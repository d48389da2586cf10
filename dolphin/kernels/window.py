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
def history_nb(block: Array, tail: Array, row: int, asset: int, out: Array) -> int:
    """Fill ``out`` float64[n] from its end with the last valid prices of ``asset`` up to ``row``; return how many there were.

    ``block`` float64[n_bars, n_assets] (this day), ``tail`` float64[m, n_assets] (older prices, newest last). Unfilled places are NaN.
    """
    at = out.shape[0]
    for r in range(row, -1, -1):
        if at == 0:
            return out.shape[0]
        price = block[r, asset]
        if price > 0.0 and price < np.inf:
            at -= 1
            out[at] = price
    for r in range(tail.shape[0] - 1, -1, -1):
        if at == 0:
            return out.shape[0]
        price = tail[r, asset]
        if price > 0.0 and price < np.inf:
            at -= 1
            out[at] = price
    out[:at] = np.nan
    return out.shape[0] - at


@kernel
def window_nb(block: Array, tail: Array, row: int, scratch: Array, column: Array) -> Array:
    """``float64[n, n_assets]`` window of the last n valid prices up to ``row``: a view of ``block`` when whole, else ``scratch``.

    ``scratch`` float64[n, n_assets] and ``column`` float64[n] are work space. An asset with fewer prices has NaN at the top.
    """
    n = scratch.shape[0]
    holes = n
    if row >= n - 1:
        view = block[row - n + 1 : row + 1]
        holes = 0
        for i in range(n):
            line = view[i]
            for j in range(line.shape[0]):
                holes += 0 if line[j] > 0.0 and line[j] < np.inf else 1
        if holes == 0:
            return view
    for j in range(block.shape[1]):
        history_nb(block, tail, row, j, column)
        for i in range(n):
            scratch[i, j] = column[i]
    return scratch


@kernel
def fold_tail_nb(block: Array, tail: Array, rows: int, column: Array, out: Array) -> None:
    """Write into ``out`` (shaped like ``tail``) the last valid prices after ``rows`` rows of ``block``: the next day's tail."""
    for j in range(block.shape[1]):
        history_nb(block, tail, rows - 1, j, column)
        for i in range(out.shape[0]):
            out[i, j] = column[i]
