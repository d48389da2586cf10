"""Where the scanner's bars come from. A source hands out rows of closed bars, a day after the other; the replay's source reads klines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from dolphin.errors import QualityError
from dolphin.scanner.scan import rows_needed
from dolphin.scanner.settings import ANCHOR_BARS
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.storage.scanned import days_before
from dolphin.storage.schema import DAY_MS, day_start
from dolphin.types import Ints

__all__ = ["STEP_S", "BarSource", "KlineReplay"]

MOST_ROWS = rows_needed(ANCHOR_BARS - 1)
"""Rows with which a scanner can go on from any bar."""


STEP_S: Final = 0.1
"""Seconds between two looks for bars."""


class BarSource(ABC):
    """Bars of one universe, which changes between two days only. Its rows may be handed out once they have closed."""

    symbols: tuple[str, ...]
    bar_seconds: int
    step_s: float = STEP_S
    """Longest time between two looks, seconds of ours."""

    @property
    @abstractmethod
    def day(self) -> KlineDay | None:
        """The day in hand, None after the last one."""

    @property
    def status(self) -> str:
        """One word for the heartbeat while there is a day in hand."""
        return "running"

    @property
    def gone(self) -> frozenset[str]:
        """Symbols that have no price any more."""
        return frozenset()

    def ready(self) -> bool:
        """Whether ``begin`` may be called."""
        return True

    @abstractmethod
    def begin(self, date: str = "") -> list[KlineDay]:
        """Take ``date`` in hand (empty: the first one); the days before it with which a scanner is warmed up."""

    @abstractmethod
    def closed(self, market_ms: int) -> int:
        """Rows of the day in hand that have closed at ``market_ms``."""

    @abstractmethod
    def over(self, market_ms: int) -> bool:
        """Whether the day in hand will get no more rows."""

    @abstractmethod
    def follow(self) -> None:
        """Take the next day in hand."""

    def finish(self) -> bool:
        """The day in hand is over: leave what the source keeps of it; whether it is whole."""
        return True

    def told(self, row: int) -> dict[str, Any]:
        """What the journal notes of a row besides its scan."""
        return {}

    def due_s(self) -> float:
        """Seconds of ours until there may be another row."""
        return STEP_S

    def health(self) -> dict[str, Any] | None:
        """Fields of ``FeedState``; None where there is no feed."""
        return None

    def close(self) -> None:  # noqa: B027  a folder holds nothing
        """Let go of connections."""


class KlineReplay(BarSource):
    """The days ``first`` to ``last`` of a folder of klines. Raises ``QualityError`` when there is none of them."""

    def __init__(self, store: KlineStore, first: str, last: str) -> None:
        dates = [date for date in store.dates() if first <= date <= last]
        if not dates:
            raise QualityError(f"no day from {first} to {last}", path=store.folder, hint=f"days are {', '.join(store.dates()[:5])} ...")
        self.symbols, self.bar_seconds = store.symbols(), store.bar_seconds
        self._store, self._dates = store, dates
        self._sequence = [*days_before(store, dates[0], MOST_ROWS), *dates]
        self._day: KlineDay | None = None
        self._closes: Ints

    @property
    def day(self) -> KlineDay | None:
        return self._day

    def begin(self, date: str = "") -> list[KlineDay]:
        """Load the day and those before it, each seeing the one before, as in a run from the first day on."""
        date = date or self._dates[0]
        if date not in self._dates:
            raise QualityError(f"{date} is none of the replay's days", path=self._store.folder, hint="another replay, another state folder")
        place = self._sequence.index(date)
        first, rows = place, 0
        while first > 0 and rows < MOST_ROWS:
            first -= 1
            rows += len(self._store.load(self._sequence[first]).ts)
        *warm, day = self._load(self._sequence[max(0, first - 1) : place + 1])
        self._take(day)
        return warm[len(warm) - (place - first) :]

    def closed(self, market_ms: int) -> int:
        return 0 if self.day is None else int(self._closes.searchsorted(market_ms, side="right"))

    def over(self, market_ms: int) -> bool:
        return self.day is not None and market_ms >= day_start(self.day.date) + DAY_MS

    def follow(self) -> None:
        assert self.day is not None
        place = self._dates.index(self.day.date) + 1
        if place == len(self._dates):
            self._day = None
        else:
            self._take(self._store.load(self._dates[place], self.symbols, self.day))

    def _load(self, dates: Sequence[str]) -> list[KlineDay]:
        days: list[KlineDay] = []
        for date in dates:
            days.append(self._store.load(date, self.symbols, days[-1] if days else None))
        return days

    def _take(self, day: KlineDay) -> None:
        self._day, self._closes = day, day.ts + day.bar_seconds * 1000
