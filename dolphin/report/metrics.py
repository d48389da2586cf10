"""Figures of a run, each for the champion and for the honest ledger. What cannot be computed is ``None``, never NaN or infinite."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from dolphin.report.equity import Curves
from dolphin.report.inputs import Bars, Columns
from dolphin.types import Array, Ints

__all__ = [
    "DAYS_A_YEAR",
    "Ledger",
    "by",
    "daily",
    "drawdown",
    "exposure_figures",
    "figures",
    "finite",
    "monthly",
    "pnl",
    "returns",
    "trade_figures",
]

DAYS_A_YEAR: Final = 365

type Ledger = Literal["champion", "honest"]


def finite(value: float) -> float | None:
    """The value as a Python float, or None when it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def pnl(trades: Columns, ledger: Ledger, start: float) -> Array:
    """USDT that each trade brought, float64[n]: ``net_pnl``, or the change of ``honest_capital_after``."""
    if ledger == "champion":
        return np.asarray(trades["net_pnl"])
    return np.diff(trades["honest_capital_after"], prepend=start)


def returns(trades: Columns, ledger: Ledger) -> Array:
    """Net return of each trade on its notional, float64[n], decimals: ``net_pnl / notional``, or ``honest_ret``."""
    if ledger == "champion":
        return np.divide(trades["net_pnl"], trades["notional"], out=np.zeros(len(trades["notional"])), where=trades["notional"] != 0)
    return np.asarray(trades["honest_ret"])


def drawdown(equity: Array, start: float) -> Array:
    """``1 - max(equity, 0) / highest equity so far`` at every bar, float64[T] in [0, 1]; ``start`` counts as the first high."""
    return 1.0 - np.maximum(equity, 0.0) / np.maximum.accumulate(np.maximum(equity, start))


def _day_ends(day: Ints) -> Ints:
    """Index of the last bar of each day present, int64[days]."""
    return np.append(np.flatnonzero(np.diff(day)), len(day) - 1) if len(day) else np.empty(0, dtype=np.int64)


def _day_returns(equity: Array, day: Ints, start: float) -> Array:
    """``E_k / E_(k-1) - 1`` of day-end equity, E_0 = start, float64[days]; days without bars are left out. NaN from ruin on."""
    ends = np.concatenate(([start], equity[_day_ends(day)]))
    before = np.where(ends[:-1] > 0, ends[:-1], np.nan)
    return np.asarray(ends[1:] / before - 1.0)


def figures(trades: Columns, ledger: Ledger, equity: Array, day: Ints, start: float) -> dict[str, Any]:
    """The headline figures of one ledger, from marked equity (an open position counts).

    ``trades`` count; ``win_rate`` = share of trades that brought more than 0; ``roi`` = last equity / start - 1 (0 without bars);
    ``profit_factor`` = sum of gains / sum of losses, None without a losing trade; ``sharpe`` = mean / std (n - 1) of day returns *
    sqrt(365), None for fewer than 2 days, no variance or ruin; ``max_drawdown`` of the bar-by-bar curve, in [0, 1].
    """
    brought = pnl(trades, ledger, start)
    lost = -float(brought[brought < 0].sum())
    daily_returns = _day_returns(equity, day, start)
    spread = float(daily_returns.std(ddof=1)) if len(daily_returns) > 1 else 0.0
    return {
        "trades": len(brought),
        "win_rate": float((brought > 0).mean()) if len(brought) else None,
        "roi": float(equity[-1] / start - 1.0) if len(equity) else 0.0,
        "profit_factor": finite(float(brought[brought > 0].sum()) / lost) if lost > 0 else None,
        "sharpe": finite(float(daily_returns.mean()) / spread * math.sqrt(DAYS_A_YEAR)) if spread > 1e-12 else None,
        "max_drawdown": float(drawdown(equity, start).max()) if len(equity) else 0.0,
    }


def trade_figures(trades: Columns, ledger: Ledger, equity: Array, day: Ints, start: float) -> dict[str, Any]:
    """Further figures of one ledger: capital and profit in USDT, trade returns in bps of notional, streak, volatility, time under water.

    ``volatility`` = std (n - 1) of day returns * sqrt(365); ``longest_drawdown_bars`` = most bars in a row below an earlier high.
    """
    brought, rets = pnl(trades, ledger, start), returns(trades, ledger) * 1e4
    daily_returns = _day_returns(equity, day, start)
    some = len(rets) > 0
    won, lost = rets[rets > 0], rets[rets <= 0]
    return {
        "end_equity": float(equity[-1]) if len(equity) else start,
        "pnl": float(equity[-1] - start) if len(equity) else 0.0,
        "mean_trade_bps": float(rets.mean()) if some else None,
        "median_trade_bps": float(np.median(rets)) if some else None,
        "mean_win_bps": float(won.mean()) if len(won) else None,
        "mean_loss_bps": float(lost.mean()) if len(lost) else None,
        "best_trade_bps": float(rets.max()) if some else None,
        "worst_trade_bps": float(rets.min()) if some else None,
        "longest_losing_streak": _longest(brought <= 0),
        "volatility": finite(float(daily_returns.std(ddof=1)) * math.sqrt(DAYS_A_YEAR)) if len(daily_returns) > 1 else None,
        "longest_drawdown_bars": _longest(drawdown(equity, start) > 0),
    }


def by(trades: Columns, keys: list[str], start: float) -> dict[str, dict[str, Any]]:
    """Trades grouped by ``keys`` (one a trade), sorted by key: count, and for each ledger win_rate, pnl in USDT and mean_bps."""
    label = np.array(keys, dtype=object)
    groups: dict[str, dict[str, Any]] = {}
    ledgers: tuple[Ledger, ...] = ("champion", "honest")
    values = {ledger: (pnl(trades, ledger, start), returns(trades, ledger)) for ledger in ledgers}
    for key in sorted(set(keys)):
        inside = label == key
        groups[key] = {"trades": int(inside.sum())}
        for ledger, (brought, rets) in values.items():
            groups[key][ledger] = {
                "win_rate": float((brought[inside] > 0).mean()),
                "pnl": float(brought[inside].sum()),
                "mean_bps": float(rets[inside].mean() * 1e4),
            }
    return groups


def exposure_figures(exposure: Array) -> dict[str, Any]:
    """Shares of bars in a position, and size: notional / capital, mean over all bars, mean while open, highest. Same in both ledgers."""
    size = np.abs(exposure)
    is_open = size > 0
    n = len(size)
    return {
        "in_position": float(is_open.mean()) if n else 0.0,
        "long": float((exposure > 0).mean()) if n else 0.0,
        "short": float((exposure < 0).mean()) if n else 0.0,
        "mean": float(size.mean()) if n else 0.0,
        "mean_open": float(size[is_open].mean()) if is_open.any() else None,
        "max": float(size.max()) if n else 0.0,
    }


def daily(trades: Columns, bars: Bars, curves: Curves, start: float) -> list[dict[str, Any]]:
    """One row a day with bars: date, bars, trades closed, and for each ledger equity at the end, pnl, return and deepest drawdown."""
    day, ends = bars.day, _day_ends(bars.day)
    begins = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    dates = [str(np.datetime64(int(d), "D")) for d in day[ends]]
    closed = dict.fromkeys(dates, 0)
    for date in trades["date"]:
        closed[date] = closed.get(date, 0) + 1
    rows: list[dict[str, Any]] = [
        {"date": date, "bars": int(end - begin + 1), "trades": closed[date]} for date, begin, end in zip(dates, begins, ends, strict=True)
    ]
    for name, equity in (("champion", curves.champion), ("honest", curves.honest)):
        before = np.concatenate(([start], equity[ends]))[:-1]
        rets = _day_returns(equity, day, start)
        deepest = np.maximum.reduceat(drawdown(equity, start), begins) if len(ends) else ends
        for k, row in enumerate(rows):
            row[name] = {
                "equity": float(equity[ends[k]]),
                "pnl": float(equity[ends[k]] - before[k]),
                "return": finite(rets[k]),
                "drawdown": float(deepest[k]),
            }
    return rows


def monthly(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Daily rows summed by month: days, trades, and for each ledger pnl, return on the equity it began with, deepest drawdown."""
    rows: list[dict[str, Any]] = []
    for month in sorted({day["date"][:7] for day in days}):
        inside = [day for day in days if day["date"][:7] == month]
        row: dict[str, Any] = {"month": month, "days": len(inside), "trades": sum(day["trades"] for day in inside)}
        for name in ("champion", "honest"):
            began = inside[0][name]["equity"] - inside[0][name]["pnl"]
            brought = inside[-1][name]["equity"] - began
            row[name] = {
                "pnl": brought,
                "return": brought / began if began > 0 else None,
                "drawdown": max(day[name]["drawdown"] for day in inside),
            }
        rows.append(row)
    return rows


def _longest(mask: npt.NDArray[np.bool_]) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))
