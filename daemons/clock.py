"""Clocks of a process: its own seconds, the wall's, and the market's.

``monotonic`` seconds: liveness (heartbeats, ages, back-off). ``wall_ms``: the ``ts_ms`` of every record on grid, in journals and alerts.
``market_ms``: what time it is on the market (bar closes, dates, the watchdog's cadence): the wall's when live, the replay's in a replay,
a demo exchange's where that is the feed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Final

from dolphin.storage.market_clock import MarketClock
from dolphin.storage.replay import Replay

__all__ = ["Clock", "ClockSet", "RealClock", "VirtualClock"]

SET_MS: Final = 5_000
"""A wall clock that has moved so far against the monotonic one was set; slewing moves it less in days."""


class Clock(ABC):
    """The three times; ``market`` None: the market's is the wall's."""

    def __init__(self, market: MarketClock | None = None) -> None:
        self.market = market

    @property
    def replay(self) -> Replay | None:
        """The replay that runs, None when live."""
        return self.market if isinstance(self.market, Replay) else None

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that never go back."""

    @abstractmethod
    def wall_ms(self) -> int:
        """Milliseconds UTC."""

    def market_ms(self) -> int:
        """Milliseconds UTC on the market."""
        return self.wall_ms() if self.market is None else self.market.market_ms(self.monotonic())

    @property
    def speed(self) -> float:
        """Market seconds in one of ours."""
        return 1.0 if self.market is None else self.market.speed


class RealClock(Clock):
    """The machine's."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class VirtualClock(Clock):
    """Stands still until it is told to move: tests and simulations of hours in milliseconds."""

    def __init__(self, start_ms: int, market: MarketClock | None = None) -> None:
        super().__init__(market)
        self._start_ms, self._seconds = start_ms, 0.0

    def monotonic(self) -> float:
        return self._seconds

    def wall_ms(self) -> int:
        return self._start_ms + round(self._seconds * 1000.0)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._seconds += seconds


class ClockSet:
    """Notices that somebody has set the wall clock: what was stamped before looks too old, or comes from the future."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = self._distance()

    def noticed(self) -> bool:
        """Whether it was set since the last call that said so."""
        apart = self._distance()
        if abs(apart - self._apart) < SET_MS:
            return False
        self._apart = apart
        return True

    def _distance(self) -> float:
        return self._clock.wall_ms() - self._clock.monotonic() * 1000.0
