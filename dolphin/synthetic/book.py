"""Synthetic order books that fit the synthetic market, and the provider that answers from them.

Inside every bar the mid walks a Brownian bridge from open to close within low and high, so that it stands on the close when the bar
ends. Around it stand 20 levels a side, whose depth, spread and imbalance are slow noises of their own; now and then an asset is
withdrawn from (the book thins for half a minute to one and a half, then refills over minutes), now and then most of the market is;
and every other move beyond 60 bps in one bar ends in a cascade: depth collapses and the book leans the way of the move.

The imbalance leads the price a little: its correlation with the next bar's return is about 0.1, an R2 of 1 %, the order of what is
published for the minute horizon (R. Cont, A. Kukanov, S. Stoikov, "The price impact of order book events", J. Financial Econometrics
12, 2014, and later work on deeper levels). No constant is set by a result of a backtest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from dolphin.book.day import BookDay
from dolphin.book.provider import TableOrderBook
from dolphin.errors import ConfigError
from dolphin.kernels.book_features import BOOK_STATE
from dolphin.kernels.synthetic_book import CARRY, autoregress_nb, book_day_nb
from dolphin.synthetic.market import MarketDay, SyntheticMarket
from dolphin.types import BOOK_FEATURES, Array

__all__ = ["SyntheticBook", "SyntheticOrderBook"]

_MEMORY_SECONDS: Final = (30.0, 60.0, 120.0)
_MARKET_MEMORY: Final = 60.0
_WITHDRAWAL_SECONDS: Final = 5_400.0
_WITHDRAWAL_LENGTH: Final = (30.0, 120.0)
_WITHDRAWAL_SHARE: Final = 0.7
_LEAD: Final = 0.022
_USUAL_DEPTH: Final = 2e5
_STREAM: Final = 2


@dataclass(frozen=True, slots=True)
class SyntheticBook:
    """Book features of ``market``, a ``BookDay`` for every day of it, sampled at every ``sample_ms`` (default: at every bar's close).

    The same numbers give the same books on any machine; day ``k`` depends on the days up to ``k`` only, but for the lead: the
    imbalance of a bar knows the next bar's return of the same day. ``snapshot_ms`` may be raised to make long runs quickly.
    """

    market: SyntheticMarket
    snapshot_ms: int = 500
    sample_ms: int = 0

    def __post_init__(self) -> None:
        """Check that snapshots divide samples and bars. Raises ``ConfigError``."""
        bar_ms = self.market.bar_seconds * 1000
        for name, value, whole in (("snapshot_ms", self.snapshot_ms, bar_ms), ("sample_ms", self.every_ms, 86_400_000)):
            if not isinstance(value, int) or value <= 0 or whole % value or self.every_ms % self.snapshot_ms:
                raise ConfigError(
                    f"{name} = {value!r}: snapshots of {self.snapshot_ms} ms must divide the bar and the sample, and that the day"
                )

    @property
    def every_ms(self) -> int:
        """Time between samples, ms."""
        return self.sample_ms or self.market.bar_seconds * 1000

    def __iter__(self) -> Iterator[BookDay]:
        """Every day in turn, made when asked for."""
        n = self.market.assets
        rng = self._rng(0)
        usual = np.empty((n, 5))
        usual[:, 0] = _USUAL_DEPTH * np.exp(rng.normal(0.0, 1.0, n))
        usual[:, 1] = np.exp(rng.uniform(math.log(0.8), math.log(6.0), n))
        usual[:, 2:] = [math.exp(-self.snapshot_ms / 1000.0 / seconds) for seconds in _MEMORY_SECONDS]
        state = np.zeros(n, dtype=BOOK_STATE)
        carry = np.zeros((n, len(CARRY)))
        carry[:, :3] = rng.standard_normal((n, 3))
        shared = float(rng.standard_normal())
        for k, day in enumerate(self.market):
            shocks = self._rng(1, k).standard_normal(len(day.ts) * self._per_bar)
            shared = autoregress_nb(shocks, math.exp(-self.snapshot_ms / 1000.0 / _MARKET_MEMORY), shared)
            yield self._day(k, day, shocks, usual, state, carry)

    @property
    def _per_bar(self) -> int:
        return self.market.bar_seconds * 1000 // self.snapshot_ms

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.market.seed, spawn_key=(_STREAM, *stream))))

    def _day(self, k: int, day: MarketDay, shared: Array, usual: Array, state: np.ndarray, carry: Array) -> BookDay:
        open_ms, n_bars = int(day.ts[0]), len(day.ts)
        n_snaps, n_samples = n_bars * self._per_bar, 86_400_000 // self.every_ms
        clock = np.array([self._per_bar, self.snapshot_ms, self.every_ms])
        times = np.zeros((len(day.symbols), n_samples), dtype=np.int64)
        features = np.full((len(day.symbols), n_samples, len(BOOK_FEATURES)), np.nan)
        spells = self._spells(self._rng(1, k, 0), n_snaps)
        for i in range(len(day.symbols)):
            rng = self._rng(2, k, i)
            market = np.stack([shared, np.zeros(n_snaps)], axis=1)
            for first, last in spells:
                market[first:last, 1] = float(rng.random() < _WITHDRAWAL_SHARE)
            bars = np.stack([day.open[:, i], day.high[:, i], day.low[:, i], day.close[:, i]], axis=1)
            shocks, dice = rng.standard_normal((n_snaps, 4)), rng.random((n_bars, 3))
            book_day_nb(
                state, i, bars, open_ms, clock, usual[i], _lead(bars), market, shocks, dice, carry[i], times[i], features[i]
            )  # fmt: skip
        ts = open_ms + self.every_ms * np.arange(1, n_samples + 1, dtype=np.int64)
        source = f"synthetic, seed {self.market.seed}, a snapshot every {self.snapshot_ms} ms"
        return BookDay(day.date, self.every_ms, day.symbols, ts, np.ascontiguousarray(times.T), features.swapaxes(0, 1), source)

    def _spells(self, rng: np.random.Generator, n_snaps: int) -> list[tuple[int, int]]:
        """Withdrawals of the market in a day as (first, after last) snapshot."""
        per_second = 1000.0 / self.snapshot_ms
        many = int(rng.poisson(n_snaps / per_second / _WITHDRAWAL_SECONDS))
        firsts, lengths = rng.integers(0, n_snaps, many), rng.uniform(*_WITHDRAWAL_LENGTH, many) * per_second
        return [(int(first), int(first + length)) for first, length in zip(firsts, lengths, strict=True)]


class SyntheticOrderBook(TableOrderBook):
    """Provider of synthetic books: every day of ``book`` is made here, at once."""

    def __init__(self, book: SyntheticBook, direction: int = -1) -> None:
        super().__init__(list(book), direction)


def _lead(bars: Array) -> Array:
    """What the imbalance of each bar knows of the next one's return, ``float64[n_bars]``; 0 where there is no next price."""
    returns = bars[1:, 3] / bars[:-1, 3] - 1.0
    known = np.isfinite(returns)
    spread = float(np.sqrt(np.mean(returns[known] ** 2))) if known.any() else 0.0
    lead = np.zeros(len(bars))
    if spread > 0.0:
        lead[:-1] = _LEAD * np.clip(np.where(known, returns, 0.0) / spread, -3.0, 3.0)
    return lead
