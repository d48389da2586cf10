"""Deepest drawdown of both ledgers, marked at every bar: what a trial of the forewarner keeps of its equity curve."""

from __future__ import annotations

import math
from typing import Any

from dolphin.kernels._jit import kernel

__all__ = ["mark_day_nb"]


@kernel
def mark_day_nb(
    closes: Any, columns: Any, span: tuple[int, int], bars: Any, direction: Any, terms: Any, cursor: int, price: Any, state: Any
) -> int:
    """Mark the trades that lie in one day's bars ``span = [first, end)``; return the first trade that is not over yet.

    A trade is marked from its entry bar to the bar before its exit at ``before + (d*(p*(1 - d*h) - e)/e - cost)*size``, p the last
    known price, and counts ``after`` from its exit on. ``closes`` float64[n, n_assets]; ``columns`` int64[all assets], -1 = absent
    today; ``bars`` int64[n_trades, 3] (asset, entry bar, exit bar, bars of the path); ``direction`` float64[n_trades];
    ``terms`` float64[n_trades, ledgers, 6] (e, h, cost, size, before, after); ``price`` float64[1] in and out;
    ``state`` float64[ledgers, 2] in and out: highest equity so far, ``max(1 - max(equity, 0)/highest)`` so far.
    Depends on bars before ``end`` only. The same curve as ``dolphin.report.equity`` (tested against it).
    """
    i = cursor
    while i < len(bars) and bars[i, 1] < span[1]:
        column, d = columns[bars[i, 0]], direction[i]
        for bar in range(max(span[0], bars[i, 1]), min(span[1], bars[i, 2])):
            p = closes[bar - span[0], column] if column >= 0 else math.nan
            if p > 0 and math.isfinite(p):
                price[0] = p
            for k in range(len(state)):
                t = terms[i, k]
                equity = t[4] + (d * (price[0] * (1.0 - d * t[1]) - t[0]) / t[0] - t[2]) * t[3]
                state[k, 0] = max(state[k, 0], equity)
                state[k, 1] = max(state[k, 1], 1.0 - max(equity, 0.0) / state[k, 0])
        if bars[i, 2] > span[1]:
            return i
        for k in range(len(state)):
            equity = terms[i, k, 5]
            state[k, 0] = max(state[k, 0], equity)
            state[k, 1] = max(state[k, 1], 1.0 - max(equity, 0.0) / state[k, 0])
        i += 1
    return i
