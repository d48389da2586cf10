"""What really was the case, noted as it happens: the other side of what a process could know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolphin.grid.maps import HEARTBEAT, SAFETY, Heartbeat
from dolphin.grid.record import Raw, decode
from dolphin.grid.safety import LATEST, parse_posture
from dolphin.storage.journal import Entry, Kind
from dolphin.types import Posture
from sim.topology import Process, World

__all__ = ["MAY_ENTER", "Truth"]

MAY_ENTER = (Posture.APEX, Posture.STALKER)


class Truth:
    """Of the grid: postures it held and since when, newest heartbeats; of journals: dates whose boost and forewarning were said."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.held: list[tuple[int, Posture | None]] = [(0, None)]
        """(ms, posture that the grid's authority held from then on; None: nothing, or nothing readable)."""
        self.beats: dict[str, int] = {}
        """By service: when its last heartbeat arrived, ms."""
        self.boosted: set[str] = set()
        self.warned: set[str] = set()
        self._numbers: dict[str, int] = {}
        world.members.seen.append(self._seen)
        world.listeners.append(self._durable)

    def postures(self, from_ms: int) -> set[Posture | None]:
        """Everything that was in force from then to now."""
        found: set[Posture | None] = set()
        for ms, posture in reversed(self.held):
            found.add(posture)
            if ms <= from_ms:
                break
        return found

    def _seen(self, name: str, key: str, raw: Raw) -> None:
        if name == SAFETY and key == LATEST:
            record = parse_posture(decode(raw))
            self.held.append((self._world.clock.now_ms, getattr(record, "posture", None)))
        elif name == HEARTBEAT and raw is not None:
            self._beat(key, decode(raw))

    def _beat(self, key: str, record: Any) -> None:
        try:
            beat = msgspec.convert(record, Heartbeat)
        except msgspec.ValidationError:
            return
        if beat.seq > self._numbers.get(key, -1):
            self._numbers[key] = beat.seq
            self.beats[key.split(":")[0]] = self._world.clock.now_ms

    def _durable(self, process: Process, entries: Sequence[Entry], seqs: Sequence[int]) -> None:
        for entry in entries:
            if entry.kind is Kind.ACB_BOOST:
                self.boosted.add(entry.payload["date"])
            elif entry.kind is Kind.MC_FOREWARNER:
                self.warned.add(entry.payload["date"])
