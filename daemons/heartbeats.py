"""Ages of other processes' heartbeats: by their sequence numbers and our own monotonic clock, so that no clock of theirs can lie."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from daemons.clock import Clock
from dolphin.grid.maps import NOT_AT_WORK, Heartbeat
from dolphin.grid.record import Entry

__all__ = ["Heartbeats"]

FUTURE_MS: Final = 5_000

LOOK_S: Final = 5.0
"""Usual time between two looks."""


@dataclass(slots=True)
class _Pulse:
    seq: int
    moved: float
    status: str


class Heartbeats:
    """``take`` the entries of DOLPHIN_HEARTBEAT at every pass; ``age`` of a service is that of its liveliest process.

    What moved since the last look may have moved just after it, and counts from there (or from 5 s ago, after a longer pause): else a
    service that is lost would pass for alive up to 5 s too long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pulses: dict[str, _Pulse] = {}
        self._looked = -math.inf

    def take(self, entries: Iterable[Entry]) -> list[str]:
        """Note what moved; keys whose record was refused. What the grid no longer holds ages on."""
        refused = []
        for entry in entries:
            try:
                record = msgspec.convert(entry.record, Heartbeat)
            except msgspec.ValidationError:
                refused.append(entry.key)
                continue
            if not self._accept(entry.key, record):
                refused.append(entry.key)
        self._looked = self._clock.monotonic()
        return refused

    def age_s(self, service: str) -> float:
        """Seconds since the newest sign of life of ``service``; inf: none, or it has left. One that loads does not work yet."""
        now = self._clock.monotonic()
        ages = [now - p.moved for key, p in self._pulses.items() if key.split(":")[0] == service and p.status not in NOT_AT_WORK]
        return min(ages, default=math.inf)

    def _accept(self, key: str, record: Heartbeat) -> bool:
        """A new process begins with the age of its stamp; a number that does not grow is no sign of life, one that falls is refused."""
        now, pulse = self._clock.monotonic(), self._pulses.get(key)
        if pulse is None:
            age_ms = self._clock.wall_ms() - record.ts_ms
            if age_ms < -FUTURE_MS:
                return False
            self._pulses[key] = _Pulse(record.seq, now - max(0, age_ms) / 1000.0, record.status)
        elif record.seq > pulse.seq:
            self._pulses[key] = _Pulse(record.seq, max(self._looked, now - LOOK_S), record.status)
        return pulse is None or record.seq >= pulse.seq
