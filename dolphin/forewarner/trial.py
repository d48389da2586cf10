"""One trial: the engine itself over a path of days, and what came of it in both ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dolphin.config import EngineConfig
from dolphin.engine.history import read_only
from dolphin.engine.marks import champion_terms, honest_terms
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows
from dolphin.kernels.marked import mark_day_nb
from dolphin.types import Array, Ints

__all__ = ["OUTCOMES", "Market", "run_trial"]

OUTCOMES: Final = (
    "honest_roi",
    "honest_max_drawdown",
    "honest_profit_factor",
    "champion_roi",
    "champion_max_drawdown",
    "champion_profit_factor",
    "trades",
)
"""Of each ledger: last capital / first - 1; deepest drawdown of equity marked at every bar, in [0, 1]; gains / losses (infinite without
a loss, NaN without a trade). ``trades``: how many were closed."""


@dataclass(frozen=True)
class Market:
    """Days in calendar order: ``rows`` as the engine reads them, ``columns[k]`` int64[n_assets] of ``assets`` in day k (-1 = absent)."""

    dates: tuple[str, ...]
    rows: tuple[DayRows, ...]
    assets: tuple[str, ...]
    columns: tuple[Ints, ...]

    @classmethod
    def of(cls, days: Sequence[tuple[str, DayRows]]) -> Market:
        """From ``(date, rows)``."""
        assets = tuple(dict.fromkeys(name for _, rows in days for name in rows.assets))
        columns = []
        for _, rows in days:
            place = {name: j for j, name in enumerate(rows.assets)}
            columns.append(np.array([place.get(name, -1) for name in assets], dtype=np.int64))
        return cls(tuple(date for date, _ in days), tuple(rows for _, rows in days), assets, tuple(columns))


def run_trial(market: Market, config: EngineConfig, path: Ints, direction: int = -1) -> Array:
    """float64[7], ``OUTCOMES`` of ``config`` over the days ``path`` (places in ``market``).

    Prices jump where a day is not followed by its successor: there, and at the end, an open position is closed at its last known
    price (reason HIBERNATE_HALT), so no trade ever spans a join. Entries need 100 bars of the day, so no history spans one either.
    """
    engine = NDAlphaEngine(config)
    for k, day in enumerate(path):
        if k and day != path[k - 1] + 1:
            _close(engine, market, int(path[k - 1]))
        engine.process_rows(market.dates[day], market.rows[day], direction=direction)
    _close(engine, market, int(path[-1]))
    return _outcomes(engine, market, path)


def _close(engine: NDAlphaEngine, market: Market, day: int) -> None:
    if engine.position is not None:
        engine.process_rows(market.dates[day], market.rows[day].head(0), posture="HIBERNATE")


def _outcomes(engine: NDAlphaEngine, market: Market, path: Ints) -> Array:
    trades, config = engine.trades, engine.config
    if not trades:
        return np.array([0.0, 0.0, np.nan, 0.0, 0.0, np.nan, 0.0])
    column = {name: np.array([t[name] for t in trades]) for name in _READ}
    place = {name: j for j, name in enumerate(market.assets)}
    bars = np.column_stack([[place[t["asset"]] for t in trades], column["entry_bar"], column["exit_bar"]]).astype(np.int64)
    d, entry, start = column["direction"].astype(np.float64), column["entry_price"], config.start_capital
    after = np.column_stack([column["honest_capital_after"], column["capital_after"]])
    before = np.concatenate([[[start, start]], after[:-1]])
    stake = column["fraction"] * column["leverage"]
    honest = honest_terms(config, d, entry, stake, before[:, 0], after[:, 0])
    terms = np.stack([honest, champion_terms(config, entry, column["notional"], before[:, 1], after[:, 1])], axis=1)
    state = np.array([[start, 0.0], [start, 0.0]])
    price, first, cursor = np.empty(1), 0, 0
    for day in path:
        rows = market.rows[day]
        span = (first, first + len(rows.closes))
        cursor = mark_day_nb(read_only(rows.closes), market.columns[day], span, bars, d, terms, cursor, price, state)
        first = span[1]
    gained = after - before
    lost = np.abs(np.minimum(gained, 0.0).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.maximum(gained, 0.0).sum(axis=0) / lost
    roi = after[-1] / start - 1.0
    return np.array([roi[0], state[0, 1], factor[0], roi[1], state[1, 1], factor[1], float(len(trades))])


_READ = (
    "entry_bar", "exit_bar", "direction", "entry_price", "fraction", "leverage", "notional", "capital_after", "honest_capital_after",
)  # fmt: skip
