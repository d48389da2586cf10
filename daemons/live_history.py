"""What a live feed goes on from: universe and rows of the scanner's journal, files of earlier days, the exchange's klines for the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from daemons.backfill import KLINE_MS
from daemons.live_day import DayFiles, LiveDay
from daemons.trade_feed import Answer, AskBars, TradeFeed
from dolphin.errors import ConfigError, DataError
from dolphin.scanner.scan import rows_needed
from dolphin.storage.journal import JournalReader, Kind
from dolphin.storage.klines import KlineDay
from dolphin.storage.schema import DAY_MS, SYMBOL, date_of, day_start
from dolphin.storage.trade_bars import Bar
from dolphin.storage.trade_record import bars_of_rows, recorded_bars

__all__ = ["LiveHistory"]


class LiveHistory:
    """``folder``: what the feed recorded (``StateFolder.feed``); ``journal``: the scanner's."""

    def __init__(self, journal: JournalReader, folder: Path, feed: TradeFeed, bar_seconds: int) -> None:
        self._journal, self._folder, self._feed = journal, folder, feed
        self._bar_seconds, self._bar_ms = bar_seconds, bar_seconds * 1000
        self._files = DayFiles(folder, bar_seconds)
        self._asked: dict[tuple[str, str], AskBars] = {}
        self._found: dict[tuple[str, str], dict[int, Bar]] = {}
        self._day: LiveDay | None = None
        self._warm: list[KlineDay] = []

    def universe(self, named: Sequence[str], markets: Mapping[str, bool]) -> tuple[str, ...]:
        """Of a day in progress: the one it began with, whatever is listed now. Otherwise see ``chosen``."""
        last, ended, known = (self._journal.last(kind) for kind in (Kind.SCAN, Kind.DAY_TABLE, Kind.UNIVERSE))
        if last is not None and known is not None and (ended is None or ended.seq < last.seq):
            return tuple(known.payload["assets"])
        return self.chosen(named, markets)

    def chosen(self, named: Sequence[str], markets: Mapping[str, bool]) -> tuple[str, ...]:
        """The named symbols, or all perpetuals, that are traded now. Raises ``ConfigError`` for a name that is not listed at all."""
        unknown = [symbol for symbol in named if symbol not in markets or not SYMBOL.fullmatch(symbol)]
        if unknown:
            raise ConfigError(f"feed.symbols: {', '.join(unknown[:5])}: the exchange has no such perpetual in USDT")
        found = tuple(symbol for symbol in named or sorted(markets) if markets[symbol] and SYMBOL.fullmatch(symbol))
        if not found:
            raise ConfigError("feed.symbols: none of them is traded")
        return found

    def ready(self, symbols: Sequence[str], now_ms: int) -> bool:
        """Whether the rows before the day are there; what is not on disk is asked for. Bars below a minute have no klines: a cold start."""
        if self._bar_ms < KLINE_MS:
            return True
        for date in self._before(self._date(now_ms)):
            lacking = [symbol for symbol in symbols if (date, symbol) not in self._found]
            if self._files.path(date) is not None or not lacking:
                continue
            for symbol in lacking:
                self._ask(date, symbol, max(day_start(date), self._first_ms(self._date(now_ms))), day_start(date) + DAY_MS)
            return False
        return True

    def heard(self, answer: Answer) -> bool:
        """Whether it was ours that was answered."""
        key = next((key for key, ask in self._asked.items() if ask is answer.ask), None)
        if key is None:
            return False
        del self._asked[key]
        self._found[key] = answer.bars
        if self._day is not None and self._day.day.date == key[0] and key[1] in self._day.day.symbols:
            self._day.fill(self._day.day.symbols.index(key[1]), self._found.pop(key))
        return True

    def begin(self, date: str, symbols: tuple[str, ...]) -> tuple[list[KlineDay], LiveDay]:
        """Days before ``date`` that warm a scanner up, and the day itself with the rows that are in the journal."""
        for earlier in self._before(date):
            self._write(earlier, symbols)
        self._warm = self._files.load(self._before(date), symbols)
        day = self.fresh(date, symbols, self._warm[-1] if self._warm else None)
        known = self._journal.last(Kind.UNIVERSE)
        if known is not None and tuple(known.payload["assets"]) == symbols:
            self._restore(day)
        else:
            for whole in self._files.load([date], symbols):
                for ts, closes in zip(whole.ts.tolist(), whole.closes, strict=True):
                    day.restore(ts, closes, {})
        return self._warm, day

    def left(self, day: LiveDay) -> list[tuple[float, int]]:
        """By symbol, before the first bar to be closed: the last close and for how many bars it is carried."""
        width = len(day.day.symbols)
        if day.rows:
            closes, silent = day.day.closes[day.rows - 1], day.silent[-1]
            return [(float(closes[place]), silent.get(place, 0)) for place in range(width)]
        if not self._warm or int(self._warm[-1].ts[-1]) + self._bar_ms != day.start_ms:
            return [(math.nan, 0)] * width
        ages = self._files.ages(self._warm[-1].date, day.day.symbols)
        return list(zip(self._warm[-1].closes[-1].tolist(), ages, strict=True))

    def fresh(self, date: str, symbols: tuple[str, ...], before: KlineDay | None) -> LiveDay:
        """A day without rows; ``before``: the one before it."""
        if before is not None and before.date != date_of(day_start(date) - DAY_MS):
            before = None
        self._day = LiveDay(date, self._bar_seconds, symbols, before, self._folder / "klines" / f"{date}.parquet")
        return self._day

    def finish(self, day: LiveDay) -> bool:
        """Write the day's klines; whether it is whole."""
        whole = day.whole
        if day.rows and not np.isnan(bars := day.klines().closes).all():
            assert bars.shape[0] == day.rows
            day.written(self._files.write(day.klines(), whole=whole))
        return whole

    def _date(self, now_ms: int) -> str:
        last = self._journal.last(Kind.SCAN)
        return str(last.payload["date"]) if last is not None else date_of(now_ms)

    def _first_ms(self, date: str) -> int:
        return day_start(date) - rows_needed(day_start(date) // self._bar_ms) * self._bar_ms

    def _before(self, date: str) -> list[str]:
        return [date_of(ms) for ms in range(day_start(date_of(self._first_ms(date))), day_start(date), DAY_MS)]

    def _ask(self, date: str, symbol: str, first_ms: int, end_ms: int) -> None:
        if (date, symbol) not in self._asked:
            ask = self._asked[date, symbol] = AskBars(symbol, first_ms, end_ms - self._bar_ms)
            self._feed.ask(ask)

    def _write(self, date: str, symbols: tuple[str, ...]) -> None:
        """Keep what the exchange has given of an earlier day."""
        found = [self._found.pop((date, symbol), {}) for symbol in symbols]
        opens = sorted({open_ms for bars in found for open_ms in bars})
        if opens and self._files.path(date) is None:
            rows = [[bars.get(open_ms) for bars in found] for open_ms in opens]
            self._files.write(bars_of_rows(date, self._bar_seconds, opens, symbols, rows), whole=False)

    def _restore(self, day: LiveDay) -> None:
        """Rows of the journal, and for the day's file the values that it does not hold."""
        date, most = day.day.date, len(day.day.ts)
        for record in self._journal.tail(most, Kind.SCAN):
            if record.payload["date"] == date:
                closes = np.array(record.payload["closes"], dtype=np.float64)
                silent = {int(place): age for place, age in record.payload.get("silent", {}).items()}
                day.restore(record.ts_ms - self._bar_ms, closes, silent)
        if not day.rows:
            return
        if self._bar_ms >= KLINE_MS:
            for symbol in day.day.symbols:
                self._ask(date, symbol, day.start_ms, int(day.day.ts[day.rows - 1]) + self._bar_ms)
            return
        try:
            made = recorded_bars(self._folder / "trades", date, self._bar_seconds, day.day.symbols)
        except DataError:
            return
        cells = np.stack([made.opens, made.highs, made.lows, made.closes, made.volumes], axis=2).tolist()
        for place in range(len(day.day.symbols)):
            day.fill(place, {int(ts): Bar(*cells[row][place]) for row, ts in enumerate(made.ts.tolist())})
