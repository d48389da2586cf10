"""The day in hand of a live feed, row by row, and the files of days: ``klines`` whole ones, ``partial`` those that are not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dolphin.storage.checks import JUMP_BARS, QualityReport, withhold_jumps
from dolphin.storage.klines import KlineBars, KlineDay, KlineStore, write_klines
from dolphin.storage.publish import sha256_file
from dolphin.storage.schema import DAY_MS, day_start
from dolphin.storage.trade_bars import Bar
from dolphin.types import Array

__all__ = ["DayFiles", "LiveDay"]


class DayFiles:
    """Klines that a live scanner saw, below ``folder``: a restart is warmed up by the very rows that were there before."""

    def __init__(self, folder: Path, bar_seconds: int) -> None:
        self._folder, self._bar_seconds = folder, bar_seconds

    def path(self, date: str) -> Path | None:
        """File of a day; None without one."""
        paths = (self._folder / kind / f"{date}.parquet" for kind in ("klines", "partial"))
        return next((path for path in paths if path.is_file()), None)

    def write(self, bars: KlineBars, *, whole: bool) -> Path:
        """Publish a day."""
        return write_klines(self._folder / ("klines" if whole else "partial"), bars)

    def load(self, dates: Iterable[str], symbols: Sequence[str]) -> list[KlineDay]:
        """The days of which there are files, each seeing the one before."""
        days: list[KlineDay] = []
        for date in dates:
            path = self.path(date)
            if path is not None:
                days.append(KlineStore(path.parent, self._bar_seconds).load(date, symbols, days[-1] if days else None))
        return days

    def ages(self, date: str, symbols: Sequence[str]) -> list[int]:
        """By symbol: bars at the end of a day in which it did not trade; 0 without a file."""
        path = self.path(date)
        if path is None:
            return [0] * len(symbols)
        volumes = KlineStore(path.parent, self._bar_seconds).load_ohlc(date, symbols).volumes
        traded = ~(volumes == 0.0)
        return [int(np.argmax(column[::-1])) if column.any() else len(column) for column in traded.T]


class LiveDay:
    """Rows as they close. ``day`` has room for all rows of the date; those from ``rows`` on are not there yet."""

    def __init__(self, date: str, bar_seconds: int, symbols: Sequence[str], before: KlineDay | None, path: Path) -> None:
        most, width = 86_400 // bar_seconds, len(symbols)
        self.rows, self._bar_ms = 0, bar_seconds * 1000
        ts, closes = np.zeros(most, dtype=np.int64), np.full((most, width), np.nan)
        self.day = KlineDay(date, bar_seconds, ts, tuple(symbols), closes, path, "", QualityReport())
        self._cells = np.full((most, width, 5), np.nan)
        self.silent: list[dict[int, int]] = []
        """By row: bars since the last trade, of each place that did not trade in it."""
        self._head, self._head_bars = np.empty((0, width)), np.empty(0, dtype=np.int64)
        if before is not None and before.symbols == self.day.symbols:
            self._head, self._head_bars = before.closes[-JUMP_BARS:], before.ts[-JUMP_BARS:] // self._bar_ms

    @property
    def start_ms(self) -> int:
        """When it begins."""
        return day_start(self.day.date)

    @property
    def end_ms(self) -> int:
        """When it is over."""
        return self.start_ms + DAY_MS

    @property
    def whole(self) -> bool:
        """Whether every bar of the date has a row, with all of its values."""
        lacks = np.isnan(self._cells[: self.rows, :, 0]) & ~np.isnan(self.day.closes[: self.rows])
        return self.rows == len(self.day.ts) and not lacks.any()

    def closed(self, market_ms: int) -> int:
        """Rows that have closed at ``market_ms``."""
        return int((self.day.ts[: self.rows] + self._bar_ms).searchsorted(market_ms, side="right"))

    def append(self, open_ms: int, bars: Sequence[Bar | None], silent: dict[int, int]) -> None:
        """A row. A jump counts as no price, by the same causal rule as where klines are read (``storage.checks``)."""
        row, at = np.array([math.nan if bar is None else bar.close for bar in bars]), self.rows
        self._cells[at] = [(math.nan,) * 5 if bar is None else bar[:5] for bar in bars]
        closes: Array = np.concatenate((self._head, self.day.closes[max(0, at - JUMP_BARS) : at], row[None]))[-JUMP_BARS - 1 :]
        numbers = np.concatenate((self._head_bars, self.day.ts[max(0, at - JUMP_BARS) : at] // self._bar_ms, [open_ms // self._bar_ms]))
        withhold_jumps(closes, numbers[-JUMP_BARS - 1 :])
        self._put(open_ms, closes[-1], silent)

    def restore(self, open_ms: int, closes: Array, silent: dict[int, int]) -> None:
        """A row that was journalled."""
        self._put(open_ms, closes, silent)

    def fill(self, place: int, bars: dict[int, Bar]) -> None:
        """Values of restored rows from the exchange's klines by open, or made again from a record; where the close is another, none."""
        for row in range(self.rows):
            bar = bars.get(int(self.day.ts[row]))
            if bar is not None and bar.close == self.day.closes[row, place]:
                self._cells[row, place] = bar[:5]

    def klines(self) -> KlineBars:
        """The rows so far."""
        cells = self._cells[: self.rows]
        blocks = (np.ascontiguousarray(cells[:, :, k]) for k in range(5))
        return KlineBars(self.day.date, self.day.bar_seconds, self.day.ts[: self.rows].copy(), self.day.symbols, *blocks)

    def written(self, path: Path) -> None:
        """The day's source is a file now."""
        self.day = replace(self.day, path=path, sha256=sha256_file(path))

    def _put(self, open_ms: int, closes: Array, silent: dict[int, int]) -> None:
        self.day.ts[self.rows], self.day.closes[self.rows] = open_ms, closes
        self.rows += 1
        self.silent.append(silent)
