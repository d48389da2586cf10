"""The exchange's time, told by our own clock: how far the two are apart is known between two bounds, and never guessed.

The exchange stamps an answer after it was asked and before it arrived, and a trade before it is received. So with ``lead`` = exchange's
clock minus ours: an answer gives ``server - received <= lead <= server - sent``, a trade ``stamp - received <= lead``. The exchange's
time is at least ``ours + least lead``: a bar that is closed by it is over there. It never goes back.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["ExchangeClock"]

ANSWERS: Final = 16
"""Answers that bound the lead; two drifting clocks agree no longer than that."""


class ExchangeClock:
    """All times in ms of the market. ``limit_ms``: a lead that is provably larger is a wrong clock, here or there."""

    def __init__(self, limit_ms: float) -> None:
        self._limit = limit_ms
        self._answers: deque[tuple[int, int]] = deque(maxlen=ANSWERS)
        self._least, self._most = 0, 0
        self._stamp: int | None = None
        self._now = 0
        self.right_ms = 0
        """Ours, when the clocks were last known to agree."""

    def answer(self, sent_ms: int, received_ms: int, server_ms: int) -> None:
        """The exchange was asked for its time. What contradicts all before it is a clock that was set: only the new answer counts."""
        bounds = server_ms - received_ms, server_ms - sent_ms
        if self._answers and (bounds[0] > self._most or bounds[1] < self._least):
            self._answers.clear()
        if self._stamp is not None and self._stamp > bounds[1]:
            self._stamp = None
        self._answers.append(bounds)
        self._least, self._most = max(low for low, _ in self._answers), min(high for _, high in self._answers)
        if not self.skewed:
            self.right_ms = sent_ms

    def stamp(self, received_ms: int, stamp_ms: int) -> bool:
        """A trade was received; False when its stamp is so far ahead of ours that it cannot be true."""
        lead = stamp_ms - received_ms
        if lead > self._limit:
            return False
        if self._answers and lead <= self._most and (self._stamp is None or lead > self._stamp):
            self._stamp = lead
        return True

    @property
    def known(self) -> bool:
        """Whether the exchange was heard at all."""
        return bool(self._answers)

    @property
    def lead(self) -> tuple[int, int]:
        """Least and largest lead that what was heard allows, ms."""
        return (self._least if self._stamp is None else max(self._least, self._stamp)), self._most

    @property
    def skewed(self) -> bool:
        """Whether the clocks are surely further apart than the limit."""
        if not self._answers:
            return False
        low, high = self.lead
        return low > self._limit or high < -self._limit

    def now(self, ours_ms: int) -> int:
        """The exchange's time, at least; it stands while the clocks are skewed or nothing was heard."""
        if self._answers and not self.skewed:
            self._now = max(self._now, ours_ms + self.lead[0])
        return self._now
