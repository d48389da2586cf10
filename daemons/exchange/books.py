"""Order books around the last trade: 20 levels a side, anew at every step of the market's clock.

Step ``k`` is ``market time // book_ms``; the book of a symbol at a step depends on seed, symbol, step and last price only. Update ids
are the steps: an event that leads from the book published at ``j`` to that of ``k`` has U = j + 1, u = k, pu = j, and a snapshot's
lastUpdateId is the step of the book it shows. Depth is of the order of what a minute trades; spread, depth and imbalance are slow
noises (``dolphin.synthetic.book`` has the shape).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from daemons.exchange.tape import Bars
from dolphin.kernels.synthetic_book import autoregress_nb, books_nb
from dolphin.types import BOOK_LEVELS, Array, Ints

__all__ = ["Book", "Books"]

_TABLE: Final = 8_192
_MEMORY_STEPS: Final = 240.0
_STREAM: Final = 4


@dataclass(frozen=True, slots=True)
class Book:
    """``step``: when; ``sides`` int64[2, 20, 2]: bids, asks; from the touch outwards; ticks, lots."""

    step: int
    sides: Ints


class Books:
    """Books of the symbols of ``bars``; keeps the one that was published last for each."""

    def __init__(self, bars: Bars, seed: int, book_ms: int) -> None:
        self.book_ms = book_ms
        self.published: dict[int, Book] = {}
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAM,))))
        self._noise = rng.standard_normal((_TABLE, 3))
        for column in range(3):
            path = np.ascontiguousarray(self._noise[:, column])
            autoregress_nb(path, math.exp(-1.0 / _MEMORY_STEPS), float(path[0]))
            self._noise[:, column] = path
        self._crumbs = np.exp(0.3 * rng.standard_normal((_TABLE, 2, BOOK_LEVELS)))
        self._phase = rng.integers(0, _TABLE, len(bars.instruments))
        self._tick = np.array([10.0**-i.price_decimals for i in bars.instruments])
        self._lot = np.array([10.0**-i.lot_decimals for i in bars.instruments])
        self._usual = np.stack([np.exp(rng.uniform(math.log(0.4e-4), math.log(2e-4), len(bars.instruments))), self._turnover(bars)], axis=1)

    def step_at(self, market_ms: int) -> int:
        """The step of a time."""
        return market_ms // self.book_ms

    def publish(self, symbols: Sequence[int], step: int, last: Ints) -> list[Book]:
        """Make the books of ``symbols`` at ``step`` around ``last`` int64[N] ticks and keep them as published."""
        made = [Book(step, sides) for sides in self._make(np.array(symbols, dtype=np.int64), step, last)]
        self.published.update(zip(symbols, made, strict=True))
        return made

    def _make(self, n: Ints, step: int, last: Ints) -> Ints:
        at = (self._phase[n] + step) % _TABLE
        noise = self._noise[at]
        shape = np.empty((len(n), 3))
        shape[:, 0] = self._usual[n, 0] * np.exp(0.3 * noise[:, 0])
        shape[:, 1] = self._usual[n, 1] * np.exp(0.2 * noise[:, 1])
        shape[:, 2] = np.clip(0.2 * noise[:, 2], -0.8, 0.8)
        levels = np.empty((len(n), 2, BOOK_LEVELS, 2))
        books_nb(last[n] * self._tick[n], shape, levels)
        prices = levels[..., 0] / self._tick[n][:, None, None]
        steps = np.arange(BOOK_LEVELS)
        out = np.empty(levels.shape, dtype=np.int64)
        out[:, 0, :, 0] = np.minimum.accumulate(np.floor(prices[:, 0]).astype(np.int64) + steps, axis=1) - steps
        out[:, 1, :, 0] = np.maximum.accumulate(np.ceil(prices[:, 1]).astype(np.int64) - steps, axis=1) + steps
        out[..., 1] = np.maximum(np.rint(levels[..., 1] * self._crumbs[at] / self._lot[n][:, None, None]), 1)
        out[:, 0, :, 1] *= out[:, 0, :, 0] > 0
        return out

    def _turnover(self, bars: Bars) -> Array:
        """float64[N]: what a minute of each symbol usually trades, USDT, between 20 000 and 5 million."""
        worth = np.where(bars.there, bars.lots * self._lot * bars.ticks[3] * self._tick, np.nan)
        usual = np.nanmedian(worth, axis=0) * 60_000.0 / bars.bar_ms
        found: Array = np.clip(usual, 2e4, 5e6)
        return found
