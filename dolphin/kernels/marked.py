"""Equity marked at every bar: a day's curve, or of a whole run the deepest drawdown alone (all that a trial of the forewarner keeps)."""

from __future__ import annotations

import math
from typing import Any

from dolphin.kernels._jit import kernel

__all__ = ["mark_curve_nb", "mark_day_nb"]


@kernel
def _marked_nb(t: Any, d: float, p: float) -> float:
    """``before + (d*(p*(1 - d*h) - e)/e - cost)*size`` of the terms ``t`` = (e, h, cost, size, before, after)."""
    return t[4] + (d * (p * (1.0 - d * t[1]) - t[0]) / t[0] - t[2]) * t[3]


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
                equity = _marked_nb(terms[i, k], d, price[0])
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


@kernel
def mark_curve_nb(closes: Any, bars: Any, direction: Any, terms: Any, start: float, price: float, out: Any) -> None:
    """Equity of one ledger at every bar of a day, into ``out`` float64[n].

    ``closes`` float64[n, n_assets]; ``bars`` int64[m, 3] (column or -1, entry row, exit row), rows of the day: < 0 entered before it,
    n = still open; ``direction`` float64[m]; ``terms`` float64[m, 6]; ``start``: equity before; ``price``: last known one of a position
    from before. The exit's bar shows ``after``. Depends on [:t+1] only. The curve of ``dolphin.report.equity`` (tested against it).
    """
    level, done, n = start, 0, out.shape[0]
    for i in range(bars.shape[0]):
        column, d = bars[i, 0], direction[i]
        while done < bars[i, 1]:
            out[done] = level
            done += 1
        while done < min(bars[i, 2], n):
            p = closes[done, column] if column >= 0 else math.nan
            if p > 0 and math.isfinite(p):
                price = p
            out[done] = _marked_nb(terms[i], d, price)
            done += 1
        level = terms[i, 5]
    while done < n:
        out[done] = level
        done += 1
