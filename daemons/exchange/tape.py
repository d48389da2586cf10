"""The tape: every trade of every symbol, made from klines so that they aggregate back to them exactly.

A bar is six trades: the open, a step, the first extreme, a step, the second extreme, the close; their quantities add up to the bar's
volume, their times lie one in each sixth of the bar. The tape of a row depends on bars, seed and row only, so any part of it can be
made again at any time. Trade ids of a symbol count from 1 without a hole; a bar without volume has no trade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from daemons.exchange.instruments import Instrument, decimals_of
from dolphin.types import Array, Ints

__all__ = ["TRADES_A_BAR", "Bars", "Tape", "Trades", "bars_of"]

TRADES_A_BAR: Final = 6
_STREAM: Final = 3
_KEPT_ROWS: Final = 4


@dataclass(frozen=True, slots=True)
class Bars:
    """Rows of bars: ``ts`` int64[T] opens in ms, ascending; ``ticks`` int64[4, T, N] open, high, low, close; ``lots`` int64[T, N], all of
    ``instruments``; ``there`` bool[T, N]: whether the bar exists (0 elsewhere)."""

    instruments: tuple[Instrument, ...]
    bar_ms: int
    ts: Ints
    ticks: Ints
    lots: Ints
    there: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trades:
    """The trades of one row, in order of time: int64[K] each, ``taker_sells`` bool[K] (the buyer was the maker)."""

    symbol: Ints
    id: Ints
    ticks: Ints
    lots: Ints
    ms: Ints
    taker_sells: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ms)

    def only(self, mask: npt.NDArray[np.bool_]) -> Trades:
        """Those of ``mask``."""
        return Trades(self.symbol[mask], self.id[mask], self.ticks[mask], self.lots[mask], self.ms[mask], self.taker_sells[mask])

    def rows(self) -> Iterator[tuple[int, int, int, int, int, bool]]:
        """Trade by trade, as plain numbers."""
        columns = (self.symbol, self.id, self.ticks, self.lots, self.ms, self.taker_sells)
        return zip(*(column.tolist() for column in columns), strict=True)


class Tape:
    """Trades of ``bars``."""

    def __init__(self, bars: Bars, seed: int) -> None:
        self.bars, self.seed = bars, seed
        self.instruments = bars.instruments
        self._traded = bars.there & (bars.lots > 0)
        self._before = np.zeros((len(bars.ts) + 1, len(bars.instruments)), dtype=np.int64)
        np.cumsum(self._traded, axis=0, out=self._before[1:])
        self._rows: dict[int, Trades] = {}

    @property
    def end_ms(self) -> int:
        """When the last bar closes."""
        return int(self.bars.ts[-1]) + self.bars.bar_ms

    @cached_property
    def last_rows(self) -> Ints:
        """int64[N]: each symbol's last row with a trade, -1 for none."""
        rows = len(self.bars.ts) - 1 - np.argmax(self._traded[::-1], axis=0)
        return np.where(self._traded.any(axis=0), rows, -1).astype(np.int64)

    @cached_property
    def first_rows(self) -> Ints:
        """int64[N]: each symbol's first row with a trade (0 for none)."""
        return np.argmax(self._traded, axis=0).astype(np.int64)

    def row_at(self, ms: int) -> int:
        """The last row that opened at or before ``ms``; -1: none."""
        return int(np.searchsorted(self.bars.ts, ms, side="right")) - 1

    def row_of_trade(self, n: int, trade: int) -> int:
        """The row that holds trade ``trade`` of symbol ``n``; the number of rows when it is beyond the tape."""
        return int(np.searchsorted(self._before[1:, n], max(trade - 1, 0) // TRADES_A_BAR, side="right"))

    def trades_before(self, row: int) -> Ints:
        """int64[N]: trades of each symbol before ``row``."""
        found: Ints = self._before[row] * TRADES_A_BAR
        return found

    def row(self, row: int) -> Trades:
        """All trades of a row."""
        if row not in self._rows:
            while len(self._rows) >= _KEPT_ROWS:
                del self._rows[next(iter(self._rows))]
            self._rows[row] = self._make(row)
        return self._rows[row]

    def _make(self, row: int) -> Trades:
        bars, k = self.bars, TRADES_A_BAR
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(_STREAM, row))))
        n_all = len(bars.instruments)
        dice, weights, sells = rng.random((n_all, k + 3)), rng.exponential(size=(n_all, k)) + 0.05, rng.random((n_all, k)) < 0.5
        n = np.flatnonzero(self._traded[row])
        prices = _path(bars.ticks[:, row, n], dice[n, k:])
        lots = _split(bars.lots[row, n], weights[n])
        ms = bars.ts[row] + ((np.arange(k) + dice[n, :k]) * (bars.bar_ms / k)).astype(np.int64)
        ids = self._before[row, n][:, None] * k + np.arange(1, k + 1)
        order = np.argsort(ms.ravel(), kind="stable")
        columns = (a.ravel()[order] for a in (np.repeat(n, k).astype(np.int64), ids, prices, lots, ms))
        symbol, number, ticks, quantity, times = columns
        return Trades(symbol, number, ticks, quantity, times, sells[n].ravel()[order])


def bars_of(instruments: Sequence[str], bar_ms: int, ts: Ints, prices: Sequence[Array], volume: Array) -> Bars:
    """Bars from floats: ``prices`` four float64[T, N], ``volume`` float64[T, N]; NaN = no bar. Raises as ``decimals_of``."""
    known, ticks, lots = [], np.zeros((4, *volume.shape), dtype=np.int64), np.zeros(volume.shape, dtype=np.int64)
    there = np.isfinite(prices[3])
    for n, symbol in enumerate(instruments):
        rows = there[:, n]
        column = np.stack([block[rows, n] for block in prices])
        amounts = np.nan_to_num(volume[rows, n])
        price_decimals = decimals_of(column.ravel(), f"price of {symbol}")
        lot_decimals = decimals_of(amounts, f"volume of {symbol}", TRADES_A_BAR)
        ticks[:, rows, n] = np.rint(column * 10.0**price_decimals)
        lots[rows, n] = np.rint(amounts * 10.0**lot_decimals)
        known.append(Instrument(symbol, price_decimals, lot_decimals))
    return Bars(tuple(known), bar_ms, ts, ticks, lots, there)


def _path(ohlc: Ints, dice: Array) -> Ints:
    """int64[n, 6] ticks through open, both extremes and close."""
    first, high, low, last = ohlc
    up = dice[:, 0] < 0.5
    one, two = np.where(up, high, low), np.where(up, low, high)
    before = np.rint(first + (one - first) * dice[:, 1])
    between = np.rint(one + (two - one) * dice[:, 2])
    return np.stack([first, before, one, between, two, last], axis=1).astype(np.int64)


def _split(lots: Ints, weights: Array) -> Ints:
    """int64[n, 6] of at least 1 that sum to ``lots``, about in proportion to ``weights``."""
    spare = lots - TRADES_A_BAR
    shares = np.floor(spare[:, None] * (weights / weights.sum(axis=1, keepdims=True)) * (1.0 - 1e-12)).astype(np.int64)
    shares[:, -1] += spare - shares.sum(axis=1)
    return shares + 1
