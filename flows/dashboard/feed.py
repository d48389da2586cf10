"""The feed as the scanner's journal shows it: the newest bar, prices, and the bars that are missing."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from dolphin.storage.journal import Kind, Record, journal_path
from flows.dashboard.follow import Clean, JournalFollower
from flows.dashboard.snapshot import FeedView, Gap, LiveFeed

__all__ = ["FeedFollower"]

HISTORY: Final = 2_000
DAY_MS: Final = 86_400_000
GAPS: Final = 50


class _Universe(msgspec.Struct):
    assets: list[str]
    bar_seconds: int


class _Scan(msgspec.Struct):
    date: str
    bar: int
    vel_div: float | None
    closes: list[float | None]


class FeedFollower:
    """``look`` once a pass; ``price`` of a symbol on its newest bar."""

    def __init__(self, journals: Path, clean: Clean) -> None:
        self._journal, self._clean = JournalFollower(journal_path(journals, "scanner"), HISTORY), clean
        self._forget()

    def look(self) -> None:
        """Take in what the scanner has journalled."""
        records = self._journal.take()
        if self._journal.begun:
            self._forget()
            universe = self._journal.last(Kind.UNIVERSE)
            records = [*([universe] if universe is not None else []), *records]
        for record in records:
            try:
                self._take(record)
            except msgspec.ValidationError as error:
                self._unreadable = f"record {record.seq} is no {record.kind}: {error}"

    def price(self, asset: str) -> tuple[float, int] | None:
        """Its newest close, and the bar's time."""
        return self._prices.get(asset)

    @property
    def bar_seconds(self) -> int | None:
        """Length of a bar."""
        return None if self._universe is None else self._universe.bar_seconds

    @property
    def bar(self) -> int | None:
        """Number of the newest bar in its day."""
        return None if self._scan is None else self._scan.bar

    @property
    def close_ms(self) -> int | None:
        """Close of the newest bar on the market."""
        return self._close_ms

    def view(self, live: LiveFeed | None) -> FeedView:
        """The state of the feed."""
        assets, scan = [] if self._universe is None else self._universe.assets, self._scan
        silent = [] if scan is None else [self._clean(name) for name, close in zip(assets, scan.closes, strict=False) if close is None]
        return FeedView(
            problem=self._clean(self._journal.problem or self._unreadable),
            symbols=len(assets),
            bar_seconds=self.bar_seconds,
            bar=self.bar,
            date="" if scan is None else self._clean(scan.date),
            close_market_ms=self._close_ms,
            vel_div=None if scan is None else scan.vel_div,
            silent=silent,
            gaps=[gap for gap in reversed(self._gaps) if self._close_ms is not None and gap.to_market_ms > self._close_ms - DAY_MS],
            seen_from_market_ms=self._first_ms,
            live=live,
        )

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _forget(self) -> None:
        self._universe: _Universe | None = None
        self._scan: _Scan | None = None
        self._close_ms: int | None = None
        self._first_ms: int | None = None
        self._prices: dict[str, tuple[float, int]] = {}
        self._gaps: deque[Gap] = deque(maxlen=GAPS)
        self._unreadable = ""

    def _take(self, record: Record) -> None:
        if record.kind == Kind.UNIVERSE:
            self._universe = msgspec.convert(record.payload, _Universe)
        elif record.kind == Kind.SCAN:
            self._scan, before = msgspec.convert(record.payload, _Scan), self._close_ms
            self._close_ms, self._first_ms = record.ts_ms, self._first_ms or record.ts_ms
            if self._universe is None:
                return
            priced = zip(self._universe.assets, self._scan.closes, strict=False)
            self._prices |= {name: (close, record.ts_ms) for name, close in priced if close is not None}
            missing = 0 if before is None else (record.ts_ms - before) // (self._universe.bar_seconds * 1000) - 1
            if before is not None and missing > 0:
                self._gaps.append(Gap(from_market_ms=before, to_market_ms=record.ts_ms, missing=missing))
