"""Features of many assets, kept up to date snapshot by snapshot: what an order-book service runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dolphin.book.day import BookDay, day_of
from dolphin.kernels.book_features import BOOK_STATE, update_book_nb, update_books_nb
from dolphin.types import BOOK_STALE_MS, Array, BookVerdict, Ints

__all__ = ["BookRecorder", "BookTracker"]

_VERDICTS = tuple(BookVerdict)


class BookTracker:
    """Feed it a snapshot of an asset every 500 ms; ``features`` and ``times`` are what the providers and the recorder read."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.place = {name: i for i, name in enumerate(self.symbols)}
        self.state = np.zeros(len(self.symbols), dtype=BOOK_STATE)
        self.state["features"] = np.nan
        self._many = [0] * len(_VERDICTS)

    @property
    def counts(self) -> Counter[str]:
        """Snapshots by what became of them (``BookVerdict`` names)."""
        return Counter({verdict.name: many for verdict, many in zip(_VERDICTS, self._many, strict=True) if many})

    @property
    def features(self) -> Array:
        """``float64[n_assets, 11]`` (``BOOK_FEATURES``) of each asset's last good snapshot; NaN before the first."""
        return np.ascontiguousarray(self.state["features"])

    @property
    def times(self) -> Ints:
        """``int64[n_assets]`` ms of the last good snapshots, 0 before the first."""
        return np.ascontiguousarray(self.state["ts"])

    def update(self, asset: int, ts_ms: int, bids: Array, asks: Array) -> BookVerdict:
        """One snapshot of the asset in place ``asset``, taken at ``ts_ms`` of our own clock (a venue's time that runs ahead would shut out
        what follows it); ``bids``, ``asks`` C-ordered float64[n, 2] of (price, size), best first."""
        code = update_book_nb(self.state, asset, ts_ms, bids, asks)
        self._many[code] += 1
        return _VERDICTS[code]

    def update_all(self, ts: Ints, levels: Array, held: Ints) -> Ints:
        """A snapshot of every asset: ``ts`` int64[n] ms (0 = none of this asset), ``levels`` float64[n, 2, 20, 2] (bids, asks),
        ``held`` int64[n, 2] levels a side. Returns the verdicts."""
        verdicts = np.zeros(len(self.symbols), dtype=np.int64)
        update_books_nb(self.state, ts, levels, held, verdicts)
        for code, many in enumerate(np.bincount(verdicts[ts > 0]).tolist()):
            self._many[code] += many
        return verdicts


class BookRecorder:
    """Collects what a tracker says at sample times into days: call ``sample`` at every multiple of ``sample_ms``."""

    def __init__(self, tracker: BookTracker, sample_ms: int, source: str = "") -> None:
        self._tracker, self._sample_ms, self._source = tracker, sample_ms, source
        self._rows: list[tuple[int, Ints, Array]] = []

    def sample(self, ts_ms: int) -> BookDay | None:
        """Keep the state at ``ts_ms``; returns the day before when this sample begins a new one (a day ends at 24:00 inclusive)."""
        done = self.close() if self._rows and day_of(self._rows[0][0]) != day_of(ts_ms) else None
        self._rows.append((ts_ms, self._tracker.times, self._tracker.features))
        return done

    def close(self) -> BookDay | None:
        """The day in progress with the samples so far; None when there are none."""
        if not self._rows:
            return None
        times, snapshots, features = zip(*self._rows, strict=True)
        self._rows = []
        ts = np.array(times, dtype=np.int64)
        known = _fresh(ts, np.array(snapshots), np.array(features))
        return BookDay(day_of(times[0]), self._sample_ms, self._tracker.symbols, ts, *known, self._source)


def _fresh(ts: Ints, snapshots: Ints, features: Array) -> tuple[Ints, Array]:
    gone = (snapshots <= 0) | (ts[:, None] - snapshots > BOOK_STALE_MS)
    snapshots[gone] = 0
    features[gone] = np.nan
    return snapshots, features
