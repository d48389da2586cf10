"""Where the books of the order-book service come from. A source hands out samples: features of all assets at a moment of the market."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dolphin.book.day import DAY_MS, BookDay, day_of, first_ms
from dolphin.book.tracker import BookTracker
from dolphin.storage.book_file import read_book_day
from dolphin.types import Array, Ints

__all__ = ["BookFeed", "BookSample", "BookSource", "RecordedBooks", "TrackedBooks"]


@dataclass(frozen=True, slots=True)
class BookSample:
    """At ``ts_ms`` on the market: ``features`` float64[n_symbols, 11] (``BOOK_FEATURES``) of snapshots taken at ``times`` int64[n_symbols]
    (0 = none that is still known). The next one is expected by ``until_ms``."""

    ts_ms: int
    until_ms: int
    symbols: tuple[str, ...]
    features: Array
    times: Ints


class BookSource(ABC):
    """Samples in the order of their time."""

    @abstractmethod
    def take(self, market_ms: int, most: int) -> list[BookSample]:
        """The newest samples up to ``market_ms`` that were not handed out yet, at most ``most``; older ones are left out."""

    def close(self) -> None:  # noqa: B027  a recording holds nothing
        """Let go of connections."""


class RecordedBooks(BookSource):
    """Recorded days of a folder at the market's pace; a day without a file has no books. Holds one day in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._day: BookDay | None = None
        self._date = ""
        self._given = 0

    def take(self, market_ms: int, most: int) -> list[BookSample]:
        first = max(self._given, first_ms(day_of(market_ms)) - DAY_MS)
        found: list[BookSample] = []
        while first < market_ms:
            day = self._loaded(day_of(first + 1))
            if day is not None:
                start, end = (int(day.ts.searchsorted(ts, side="right")) for ts in (first, market_ms))
                rows = range(max(start, end - most), end)
                found += [_recorded(day, k) for k in rows]
            first = first_ms(day_of(first + 1)) + DAY_MS
        self._given = market_ms
        return found[-most:]

    def _loaded(self, date: str) -> BookDay | None:
        if date != self._date:
            path = self._folder / f"{date}.parquet"
            self._day, self._date = read_book_day(path) if path.is_file() else None, date
        return self._day


class BookFeed(ABC):
    """A venue's books as they stand."""

    @abstractmethod
    def newest(self) -> dict[int, tuple[int, Array, Array]]:
        """What came since it was asked last: by place of the symbol ``(ts_ms of receipt, bids, asks)``, float64[n, 2] of (price, size)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""


class TrackedBooks(BookSource):
    """Live books: ``feed`` gives the newest book of each symbol, a tracker makes features of them, one sample each time it is asked."""

    def __init__(self, symbols: Sequence[str], feed: BookFeed) -> None:
        self._tracker, self._feed = BookTracker(symbols), feed

    @property
    def refused(self) -> dict[str, int]:
        """Snapshots that were refused, by reason."""
        return {name: many for name, many in self._tracker.counts.items() if name not in ("OK", "OUT_OF_ORDER")}

    def take(self, market_ms: int, most: int) -> list[BookSample]:
        for place, (ts_ms, bids, asks) in self._feed.newest().items():
            self._tracker.update(place, ts_ms, bids, asks)
        return [BookSample(market_ms, market_ms, self._tracker.symbols, self._tracker.features, self._tracker.times)]

    def close(self) -> None:
        self._feed.close()


def _recorded(day: BookDay, k: int) -> BookSample:
    ts_ms = int(day.ts[k])
    return BookSample(ts_ms, ts_ms + day.sample_ms, day.symbols, day.features[k], day.snapshot_ts[k])
