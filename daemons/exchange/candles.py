"""Klines of any length that a request may name, from the tape's bars; the one that is under way from its trades so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from daemons.exchange.tape import TRADES_A_BAR, Tape
from dolphin.types import Ints

__all__ = ["INTERVALS", "Candle", "Candles"]

_KEPT_ROWS: Final = 5_000
INTERVALS: Final = {
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "2h": 7_200_000, "4h": 14_400_000,
    "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candle:
    """One kline in ticks and lots; ``quote`` in ticks times lots; ``bought``: the takers' part."""

    open_ms: int
    ohlc: tuple[int, int, int, int]
    lots: int
    quote: int
    trades: int
    bought_lots: int
    bought_quote: int
    first_id: int


class Candles:
    """Klines of ``tape``."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._flows: dict[int, Ints] = {}

    def between(self, n: int, span_ms: int, first_ms: int, last_ms: int, now: int) -> list[Candle]:
        """Klines of symbol ``n`` that open from ``first_ms`` to ``last_ms`` and before ``now``, ascending; the last may be unfinished."""
        bars = self._tape.bars
        first = -(-first_ms // span_ms) * span_ms
        low, high = np.searchsorted(bars.ts, (first, min(last_ms // span_ms * span_ms + span_ms, now + 1)))
        rows = np.arange(low, high)[bars.there[low:high, n]]
        found: list[Candle] = []
        for group in np.split(rows, np.flatnonzero(np.diff(bars.ts[rows] // span_ms)) + 1) if len(rows) else ():
            parts = [part for part in (self._bar(n, int(row), now) for row in group) if part is not None]
            if parts:
                found.append(_merged(parts, int(bars.ts[group[0]]) // span_ms * span_ms))
        return found

    def _bar(self, n: int, row: int, now: int) -> Candle | None:
        """The bar of a row, None when it has no trade yet."""
        bars = self._tape.bars
        if bars.ts[row] + bars.bar_ms > now:
            return self._unfinished(n, row, now)
        traded = bool(bars.lots[row, n])
        quote, bought, bought_quote = self._flow(row)[:, n].tolist()
        ohlc = bars.ticks[:, row, n].tolist()
        first = int(self._tape.trades_before(row)[n]) + 1
        return Candle(
            int(bars.ts[row]), (ohlc[0], ohlc[1], ohlc[2], ohlc[3]), int(bars.lots[row, n]), quote, TRADES_A_BAR * traded, bought,
            bought_quote, first,
        )  # fmt: skip

    def _unfinished(self, n: int, row: int, now: int) -> Candle | None:
        trades = self._tape.row(row)
        seen = trades.only((trades.symbol == n) & (trades.ms <= now))
        if not len(seen):
            return None
        ticks, quote, bought = seen.ticks, seen.ticks * seen.lots, ~seen.taker_sells
        ohlc = (int(ticks[0]), int(ticks.max()), int(ticks.min()), int(ticks[-1]))
        return Candle(
            int(self._tape.bars.ts[row]), ohlc, int(seen.lots.sum()), int(quote.sum()), len(seen), int(seen.lots[bought].sum()),
            int(quote[bought].sum()), int(seen.id[0]),
        )  # fmt: skip

    def _flow(self, row: int) -> Ints:
        """int64[3, N] of a row: ticks times lots of all trades, lots that takers bought, ticks times lots that they bought."""
        if row not in self._flows:
            while len(self._flows) >= _KEPT_ROWS:
                del self._flows[next(iter(self._flows))]
            trades, n = self._tape.row(row), len(self._tape.instruments)
            flow = np.zeros((3, n), dtype=np.int64)
            bought = ~trades.taker_sells
            np.add.at(flow[0], trades.symbol, trades.ticks * trades.lots)
            np.add.at(flow[1], trades.symbol[bought], trades.lots[bought])
            np.add.at(flow[2], trades.symbol[bought], (trades.ticks * trades.lots)[bought])
            self._flows[row] = flow
        return self._flows[row]


def _merged(parts: list[Candle], open_ms: int) -> Candle:
    high, low = max(p.ohlc[1] for p in parts), min(p.ohlc[2] for p in parts)
    return Candle(
        open_ms, (parts[0].ohlc[0], high, low, parts[-1].ohlc[3]), sum(p.lots for p in parts), sum(p.quote for p in parts),
        sum(p.trades for p in parts), sum(p.bought_lots for p in parts), sum(p.bought_quote for p in parts), parts[0].first_id,
    )  # fmt: skip
