"""Posture schedule: which posture holds from when on, whoever decided it."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from dolphin.errors import ConfigError
from dolphin.types import Ints, Posture

__all__ = ["PostureSchedule"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class PostureSchedule:
    """``changes``: (ts_ms, posture), ascending; each holds for the bars that close after ``ts_ms``. Before the first: APEX.

    Raises ``ConfigError`` for times that do not ascend and for an unknown posture.
    """

    changes: tuple[tuple[int, Posture], ...] = ()

    def __post_init__(self) -> None:
        for _, posture in self.changes:
            if posture not in Posture.__members__:
                raise ConfigError(f"posture = {posture!r}; known: {', '.join(Posture)}")
        for (before, _), (after, _) in pairwise(self.changes):
            if after <= before:
                raise ConfigError(f"posture schedule: {after} follows {before}; times must ascend")

    @classmethod
    def by_day(cls, days: Mapping[str, str]) -> PostureSchedule:
        """From posture by UTC day (YYYY-MM-DD); a day that is not named is APEX."""
        starts = {_start(date): Posture(posture) for date, posture in days.items() if posture in Posture.__members__}
        for date, posture in days.items():
            if posture not in Posture.__members__:
                raise ConfigError(f"{date}: posture = {posture!r}; known: {', '.join(Posture)}")
        for start in list(starts):
            starts.setdefault(start + DAY_MS, Posture.APEX)
        return cls(tuple(sorted(starts.items())))

    def at(self, ts_ms: int) -> Posture:
        """Posture of a bar that closes at ``ts_ms``."""
        k = bisect_left(self.changes, ts_ms, key=lambda change: change[0])
        return self.changes[k - 1][1] if k else Posture.APEX

    def of_day(self, date: str, ts: Ints) -> tuple[Posture, list[tuple[int, Posture]]]:
        """Posture at the start of a day, and its changes as (row, posture): from that row on. ``ts``: closes of the day's bars, ms."""
        start = _start(date)
        inside = [(at, posture) for at, posture in self.changes if start < at <= start + DAY_MS]
        rows = {int(ts.searchsorted(at, side="right")): posture for at, posture in inside}
        return self.at(start + 1), [(row, posture) for row, posture in rows.items() if row < len(ts)]


def _start(date: str) -> int:
    return (dt.date.fromisoformat(date).toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY_MS
