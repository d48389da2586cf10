"""Where the demo exchange's bars come from: a folder of klines, or the synthetic market."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from daemons.exchange.tape import Bars, bars_of
from dolphin.errors import ConfigError, QualityError
from dolphin.storage.klines import KlineBars, KlineStore
from dolphin.synthetic.market import MarketDay, SyntheticMarket

__all__ = ["HISTORY_BARS", "kline_bars", "synthetic_bars"]

HISTORY_BARS: Final = 800
"""Bars before the first day that are served as history, when there are so many: enough to warm a scanner up."""


def synthetic_bars(market: SyntheticMarket) -> Bars:
    """All days of ``market``."""
    days = list(market)
    blocks = [np.concatenate([getattr(day, name) for day in days]) for name in MarketDay.__slots__[3:]]
    return bars_of(market.symbols, market.bar_seconds * 1000, np.concatenate([day.ts for day in days]), blocks[:4], blocks[4])


def kline_bars(folder: Path, symbols: int, date: str, days: int) -> tuple[Bars, str]:
    """``days`` days from ``date`` on (empty: the first with history before it) and the history before them; and that date.

    ``symbols``: the first so many of the folder's; 0: all. Raises ``ConfigError`` for a date that is not there, ``QualityError`` for a
    folder without day files or a file that is refused.
    """
    store = KlineStore(folder)
    dates, per_day = store.dates(), 86_400 // store.bar_seconds
    warm = -(-HISTORY_BARS // per_day)
    date = date or dates[min(warm, len(dates) - 1)]
    if date not in dates:
        raise ConfigError(f"{date} is no day of {folder}: days are {dates[0]} to {dates[-1]}")
    place = dates.index(date)
    names = store.symbols()[: symbols or None]
    return _joined([store.load_ohlc(day, names) for day in dates[max(0, place - warm) : place + days]]), date


def _joined(days: Sequence[KlineBars]) -> Bars:
    ts = np.concatenate([day.ts for day in days])
    blocks = [np.concatenate([getattr(day, name) for day in days]) for name in ("opens", "highs", "lows", "closes", "volumes")]
    used = np.flatnonzero(np.isfinite(blocks[3]).any(axis=0))
    blocks = [block[:, used] for block in blocks]
    if not np.isfinite(blocks[4][np.isfinite(blocks[3])]).all():
        raise QualityError("bars without a volume cannot be played as trades", hint="the klines need a volume column")
    return bars_of([days[0].symbols[n] for n in used], days[0].bar_seconds * 1000, ts, blocks[:4], blocks[4])
