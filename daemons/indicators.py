"""What the circuit breaker is fed with: outside series, archived indicator scans, daily medians of day tables. Read when asked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from dolphin.engine.breaker import FIRST_SCANS, AdaptiveCircuitBreaker, day_factors
from dolphin.errors import DataError
from dolphin.grid.features import SHARD_COUNT, feature_key, shard_map
from dolphin.grid.maps import FEATURES
from dolphin.grid.port import GridPort
from dolphin.storage.day_table import list_days
from dolphin.storage.indicators import daily_indicators, w750_of_days
from dolphin.storage.macro import archived_indicators, macro_files, macro_sources

__all__ = ["GridBook", "Indicators"]

FRESH_MS: Final = 5_000


class Indicators:
    """``macro``: folder of series, of an archive, or None; ``days``: folders of day tables, the first that has a date counts."""

    def __init__(self, macro: Path | None, days: tuple[Path, ...]) -> None:
        self._macro, self._days = macro, days
        self._medians: dict[tuple[Path, int], float] = {}

    def batch(self, date: str) -> tuple[object, ...]:
        """Changes when a new batch has come: files of the series, scans of the day (up to the 10 that count)."""
        if self._macro is None:
            return ()
        files = [(str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in macro_files(self._macro).values()]
        scans = sum(1 for _ in islice((self._macro / "eigenvalues" / date).glob("scan_*__Indicators.npz"), FIRST_SCANS))
        return (*files, date, scans)

    def breaker(self, date: str, progress: Callable[[], None]) -> AdaptiveCircuitBreaker:
        """Knows ``date`` as far as it has come, and the medians of the days before. Raises ``DataError`` for a file that is refused."""
        factors: dict[str, tuple[float, ...]] = {}
        if self._macro is not None:
            factors = daily_indicators(macro_sources(self._macro), [date]).by_date()
            factors |= {day: tuple(day_factors(rows)) for day, rows in archived_indicators(self._macro, [date]).items()}
        return AdaptiveCircuitBreaker(factors, self._w750(date, progress))

    def _w750(self, date: str, progress: Callable[[], None]) -> dict[str, float]:
        found: dict[str, float] = {}
        for folder in reversed(self._days):
            for path in chain.from_iterable(list_days(folder, partial=partial) for partial in (True, False)):
                day = path.name[:10]
                median = self._median(path) if day <= date else None
                if median is not None:
                    found[day] = median
                    progress()
        return found

    def _median(self, path: Path) -> float | None:
        """None: a day in progress that has just become a whole one; whole days are listed when those in progress have been read."""
        try:
            key = path, path.stat().st_mtime_ns
            if key not in self._medians:
                self._medians[key] = next(iter(w750_of_days([path]).values()))
            return self._medians[key]
        except (DataError, OSError):
            if path.exists():
                raise
            return None


class GridBook:
    """The order book as the grid tells it at one moment, for OB-4. Records older than 5 s say nothing."""

    def __init__(self, grid: GridPort, now_ms: int) -> None:
        self._now = now_ms
        self._macro = self._fresh(grid.read(FEATURES, "ob_macro").record)
        entries = [entry for shard in range(SHARD_COUNT) for entry in grid.entries(shard_map(shard))] if self._macro else []
        start = feature_key("", "book")
        self._books = {entry.key.removeprefix(start): self._fresh(entry.record) for entry in entries if entry.key.startswith(start)}
        self.assets = tuple(sorted(self._books))

    def get_macro(self, ts_ms: int) -> dict[str, Any] | None:
        """The market's record."""
        return self._macro

    def get_signal(self, asset: str, ts_ms: int) -> dict[str, Any] | None:
        """The asset's features."""
        value = (self._books.get(asset) or {}).get("value")
        return value if isinstance(value, dict) else None

    def get_placement(self, asset: str, ts_ms: int) -> dict[str, Any] | None:
        """The same: OB-4 asks for none."""
        return self.get_signal(asset, ts_ms)

    def get_market_multiplier(self, direction: int, ts_ms: int) -> float | None:
        """Not a matter of OB-4: nothing known."""
        return None

    def _fresh(self, record: dict[str, Any] | None) -> dict[str, Any] | None:
        return record if record is not None and abs(self._now - record["ts_ms"]) <= FRESH_MS else None
