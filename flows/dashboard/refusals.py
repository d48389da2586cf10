"""Why bars entered nothing, counted over the last market hours as they come."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from dolphin.report.notes import REFUSALS
from flows.dashboard.follow import Clean
from flows.dashboard.snapshot import Refused

__all__ = ["DOUBTS", "RefusalCounts"]

type Reason = tuple[str, bool]

HOURS: Final = (1, 6, 24)
HOUR_MS: Final = 3_600_000
SHOWN: Final = 30

DOUBTS: Final = {
    "KILL": "the kill switch is engaged",
    "KILL_UNKNOWN": "nobody says whether the kill switch is engaged",
    "ACB_UNKNOWN": "no word of the circuit breaker for this day",
    "ACB_REFUSED": "the circuit breaker's record was refused",
    "FOREWARNER_UNKNOWN": "no word of the forewarner for this day",
    "FOREWARNER_REFUSED": "the forewarner's record was refused",
    "LATE": "the bar came too late",
    "SAFE_MODE": "the lane is in safe mode",
    "NOT_THE_WRITER": "another process may hold the lane",
}
"""Blocks in words; those that begin with POSTURE say why the posture is not fresh."""


class RefusalCounts:
    """Bars by reason within each of ``HOURS`` before the newest one."""

    def __init__(self, clean: Clean) -> None:
        self._clean = clean
        self._spans = [(hours * HOUR_MS, deque[tuple[int, list[Reason]]](), Counter[Reason]()) for hours in HOURS]

    def take(self, ts_ms: int, refusals: list[str], doubts: list[str]) -> None:
        """One bar's reasons; what is older than a span leaves it."""
        reasons = [*((word, False) for word in refusals), *((word, True) for word in doubts)]
        for length, bars, counts in self._spans:
            bars.append((ts_ms, reasons))
            counts.update(reasons)
            while bars[0][0] <= ts_ms - length:
                for reason in bars.popleft()[1]:
                    counts[reason] -= 1
                    if not counts[reason]:
                        del counts[reason]

    def rows(self) -> list[Refused]:
        """The most frequent first."""
        hour, six, day = (counts for _, _, counts in self._spans)
        return [
            Refused(
                reason=self._clean(name),
                means=_means(name, doubt),
                doubt=doubt,
                hour=hour[name, doubt],
                six_hours=six[name, doubt],
                day=count,
            )
            for (name, doubt), count in day.most_common(SHOWN)
        ]


def _means(name: str, doubt: bool) -> str:
    if not doubt:
        return REFUSALS.get(name, "")
    return DOUBTS.get(name, "the posture is not fresh" if name.startswith("POSTURE_") else "")
