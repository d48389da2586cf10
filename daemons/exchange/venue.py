"""The market that runs: tape and books against the clock, who is listed, and whom to tell when a trade is due or the books move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import numpy as np

from daemons.clock import Clock
from daemons.exchange.books import Book, Books
from daemons.exchange.candles import Candles
from daemons.exchange.faults import Fault, Faults
from daemons.exchange.tape import Tape, Trades
from dolphin.types import Ints

__all__ = ["Listener", "Venue"]

_SETTLED_AFTER_MS: Final = 3_600_000


class Listener(ABC):
    """Is told what happens, in order."""

    @abstractmethod
    def traded(self, trades: Trades) -> None:
        """Trades that are due since the last call."""

    @abstractmethod
    def stepped(self, now: int) -> None:
        """The books have moved on; ``now``: market time, ms."""


class Venue:
    """State of the market. ``listed``: so many symbols from the first on trade from the start, the others when a fault lists them."""

    def __init__(self, clock: Clock, tape: Tape, books: Books, faults: Faults, listed: int) -> None:
        self.clock, self.tape, self.books, self.faults = clock, tape, books, faults
        self.candles = Candles(tape)
        self.instruments = tape.instruments
        self.number = {instrument.symbol: n for n, instrument in enumerate(tape.instruments)}
        self.listeners: list[Listener] = []
        self.followed: frozenset[int] | set[int] = frozenset()
        self.listed_ms = np.where(np.arange(len(self.instruments)) < listed, int(tape.bars.ts[0]), np.iinfo(np.int64).max)
        self.delisted_ms = self._ends()
        self._now = self._clock_ms() if clock.replay is None else min(clock.replay.start_ms, tape.end_ms) - 1
        self._step = books.step_at(self._now)
        self.last = self._last_prices()

    @property
    def ended(self) -> bool:
        """Whether the tape is over."""
        return self.clock.market_ms() >= self.tape.end_ms

    @property
    def now(self) -> int:
        """Market time up to which everything has happened, ms."""
        return self._now

    def stamp(self, ms: int) -> int:
        """How the exchange stamps a time: off while ``clock_skew`` is on."""
        fault = self.faults.active("clock_skew")
        return ms + fault.offset_ms if fault is not None else ms

    def status(self, n: int) -> str:
        """Of a symbol: TRADING, BREAK (maintenance), SETTLING (delisted), empty (not listed yet)."""
        if self._now < self.listed_ms[n]:
            return ""
        if self._now >= self.delisted_ms[n]:
            return "SETTLING"
        return "BREAK" if self.faults.active("maintenance") else "TRADING"

    def advance(self) -> None:
        """Let everything happen that is due by now, trade by trade, then at most one step of the books."""
        now = self._clock_ms()
        if now <= self._now:
            return
        before, self._now = self._now, now
        for row in range(max(self.tape.row_at(before), 0), self.tape.row_at(now) + 1):
            trades = self.tape.row(row)
            due = trades.only((trades.ms > before) & (trades.ms <= now) & self._open(trades))
            if len(due):
                self.last[due.symbol] = due.ticks
                for listener in self.listeners:
                    listener.traded(due)
        if self.books.step_at(now) > self._step:
            self._step = self.books.step_at(now)
            for listener in self.listeners:
                listener.stepped(now)

    def book(self, n: int) -> Book | None:
        """The book of a symbol as published last, made now when nobody follows it; None before its first trade."""
        if self.last[n] <= 0:
            return None
        known = self.books.published.get(n)
        if known is None or (known.step < self._step and n not in self.followed):
            return self.books.publish([n], self._step, self.last)[0]
        return known

    def begin(self, fault: Fault) -> None:
        """List or delist what a fault names."""
        for symbol in fault.symbols if fault.kind in ("list", "delist") else ():
            times = self.listed_ms if fault.kind == "list" else self.delisted_ms
            times[self.number[symbol]] = self._now

    def _open(self, trades: Trades) -> np.ndarray:
        """bool[K]: trades of symbols that are listed then."""
        mask: np.ndarray = (trades.ms >= self.listed_ms[trades.symbol]) & (trades.ms < self.delisted_ms[trades.symbol])
        return mask

    def _clock_ms(self) -> int:
        return min(self.clock.market_ms(), self.tape.end_ms)

    def _ends(self) -> Ints:
        """When each symbol is delisted by itself: after its last trade, when the tape goes on for an hour without it."""
        rows, bars = self.tape.last_rows, self.tape.bars
        ends = bars.ts[rows] + bars.bar_ms
        return np.where(ends + _SETTLED_AFTER_MS < self.tape.end_ms, ends, np.iinfo(np.int64).max)

    def _last_prices(self) -> Ints:
        """int64[N] ticks of each symbol's last close (or trade) by now; 0: none yet."""
        bars, row = self.tape.bars, self.tape.row_at(self._now)
        there = bars.there[: max(row, 0)]
        rows = len(there) - 1 - np.argmax(there[::-1], axis=0) if len(there) else np.zeros(len(self.instruments), dtype=np.int64)
        last = np.where(there.any(axis=0), bars.ticks[3, rows, np.arange(len(self.instruments))], 0)
        if row >= 0:
            trades = self.tape.row(row)
            seen = trades.only(trades.ms <= self._now)
            last[seen.symbol] = seen.ticks
        return last.astype(np.int64)
