"""Posture schedule: which posture holds from when on, whoever decided it."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dolphin.errors import ConfigError
from dolphin.types import Ints, Posture

__all__ = ["DAY_MS", "PostureSchedule", "day_start", "minutes_by_posture"]

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
        object.__setattr__(self, "changes", tuple((ts_ms, Posture(posture)) for ts_ms, posture in self.changes))
        for (before, _), (after, _) in pairwise(self.changes):
            if after <= before:
                raise ConfigError(f"posture schedule: {after} follows {before}; times must ascend")

    @classmethod
    def by_day(cls, days: Mapping[str, str]) -> PostureSchedule:
        """From posture by UTC day (YYYY-MM-DD); a day that is not named is APEX."""
        starts = {day_start(date): Posture(posture) for date, posture in days.items() if posture in Posture.__members__}
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
        start = day_start(date)
        inside = [(at, posture) for at, posture in self.changes if start < at <= start + DAY_MS]
        rows = {int(ts.searchsorted(at, side="right")): posture for at, posture in inside}
        return self.at(start + 1), [(row, posture) for row, posture in rows.items() if row < len(ts)]


def minutes_by_posture(date: str, ts: Ints, posture: str, changes: Sequence[tuple[int, str]]) -> dict[Posture, float]:
    """Minutes of a day, up to its last close, in each posture: ``posture`` at its start, ``changes`` as of ``of_day``.

    A bar counts from the close before it, or from midnight.
    """
    ends = np.concatenate([[day_start(date)], ts])
    edges, held = [0, *(row for row, _ in changes), len(ts)], [posture, *(later for _, later in changes)]
    minutes: dict[Posture, float] = {}
    for name, (first, stop) in zip(held, pairwise(edges), strict=True):
        minutes[Posture(name)] = minutes.get(Posture(name), 0.0) + float(ends[stop] - ends[first]) / 60_000.0
    return {name: spent for name, spent in minutes.items() if spent > 0}


def day_start(date: str) -> int:
    """00:00 UTC of a date (YYYY-MM-DD), ms."""
    return (dt.date.fromisoformat(date).toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY_MS
