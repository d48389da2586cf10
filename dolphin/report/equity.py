"""Equity bar by bar: what was realised, plus the open position at what closing it now would bring, in both ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolphin.config import EngineConfig
from dolphin.errors import QualityError, SchemaError
from dolphin.report.inputs import Bars, Columns
from dolphin.types import Array, Ints

__all__ = ["Curves", "mark_to_market"]


@dataclass(frozen=True, slots=True)
class Curves:
    """``champion`` and ``honest`` float64[T] in USDT; ``exposure`` float64[T] = direction * notional / capital, 0 when flat."""

    champion: Array
    honest: Array
    exposure: Array


@dataclass(frozen=True, slots=True)
class _Holds:
    """Positions as arrays, closed ones first; the last may still be open. ``row`` int64[sum of lengths], ``owner`` its position."""

    entry: Array
    direction: Array
    notional: Array
    stake: Array
    row: Ints
    owner: Ints
    price: Array


def mark_to_market(trades: Columns, bars: Bars, engine: EngineConfig, open_position: Mapping[str, Any] | None = None) -> Curves:
    """Champion and honest equity and exposure at every bar.

    Flat bars carry the capital after the last exit. While a position is open (entry bar included, exit bar not) it is marked as if
    it were closed now at ``p``, the asset's last known price, each ledger with its own costs::

        champion = capital + (d*(p*(1 - d*slip) - entry)/entry - entry_fee - exit_fee) * notional          no credits
        honest   = honest_capital * (1 + honest_ret*fraction*leverage)                                     no funding yet
        honest_ret = d*(p*(1 - d*h) - entry*(1 + d*h)) / (entry*(1 + d*h)) - 2*taker

    A bar depends on that bar and earlier ones only. An exit recorded after the last bar (a halt on a day without bars) shows on the
    last bar. Raises ``SchemaError`` when a traded asset has no closes and ``QualityError`` when a bar index lies outside the run.
    """
    n = len(bars.ts_ms)
    if not n:
        return Curves(np.empty(0), np.empty(0), np.empty(0))
    left = np.minimum(trades["exit_bar"], n - 1)
    capital = _steps(n, left, trades["capital_after"], engine.start_capital)
    honest_capital = _steps(n, left, trades["honest_capital_after"], engine.start_capital)
    holds = _holds(trades, bars, left, open_position)
    exposure = np.zeros(n)
    champion, honest = capital.copy(), honest_capital.copy()
    if len(holds.row):
        d, entry, price = holds.direction[holds.owner], holds.entry[holds.owner], holds.price
        rate = engine.maker_entry_rate * engine.maker_fee + (1 - engine.maker_entry_rate) * engine.taker_fee
        rate += engine.maker_exit_rate * engine.maker_fee + (1 - engine.maker_exit_rate) * engine.taker_fee
        champion_ret = d * (price * (1 - d * engine.exit_slippage) - entry) / entry - rate
        champion[holds.row] += champion_ret * holds.notional[holds.owner]
        bought = entry * (1 + d * engine.honest_slippage)
        honest_ret = d * (price * (1 - d * engine.honest_slippage) - bought) / bought - 2 * engine.honest_taker_fee
        honest[holds.row] *= 1 + honest_ret * holds.stake[holds.owner]
        exposure[holds.row] = d * holds.stake[holds.owner]
    return Curves(champion, honest, exposure)


def _steps(n: int, at: Ints, after: Array, start: float) -> Array:
    """float64[n]: ``start`` until the first exit, then the value after the latest exit."""
    level = np.zeros(n, dtype=np.int64)
    level[at] = np.arange(1, len(at) + 1)
    return np.concatenate(([start], after))[np.maximum.accumulate(level)]


def _holds(trades: Columns, bars: Bars, left: Ints, open_position: Mapping[str, Any] | None) -> _Holds:
    n = len(bars.ts_ms)
    fields = ("asset", "entry_bar", "entry_price", "direction", "notional", "fraction", "leverage")
    columns = {name: trades[name] for name in fields}
    if open_position is not None:
        absent = [name for name in fields if name not in open_position]
        if absent:
            raise SchemaError("open position without this field", column=", ".join(absent))
        columns = {name: np.append(column, np.array([open_position[name]], dtype=column.dtype)) for name, column in columns.items()}
        left = np.append(left, n)
    entered = columns["entry_bar"]
    outside = np.flatnonzero((entered < 0) | (entered >= n))
    if len(outside):
        raise QualityError(f"bar {entered[outside[0]]} outside the run's {n} bars", column="entry_bar", row=int(outside[0]))
    number = {name: i for i, name in enumerate(bars.names)}
    for row, asset in enumerate(columns["asset"]):
        if asset not in number:
            raise SchemaError("a traded asset without closes", column=asset, row=row)
    column_of = np.array([number[asset] for asset in columns["asset"]], dtype=np.int64)
    length = np.maximum(left - entered, 0)
    owner = np.repeat(np.arange(len(length)), length)
    first = np.cumsum(length) - length
    row = np.arange(len(owner)) - first[owner] + entered[owner]
    price = bars.closes[row, column_of[owner]]
    price[first[length > 0]] = columns["entry_price"][length > 0]
    known = np.where(np.isfinite(price) & (price > 0), np.arange(len(price)), 0)
    stake = columns["fraction"] * columns["leverage"]
    return _Holds(
        entry=columns["entry_price"],
        direction=columns["direction"].astype(np.float64),
        notional=columns["notional"],
        stake=stake,
        row=row,
        owner=owner,
        price=price[np.maximum.accumulate(known)],
    )
