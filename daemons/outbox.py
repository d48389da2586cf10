"""Journal first, grid second: what a service publishes survives it, and is published again when the grid has lost it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dolphin.errors import Fenced, MissingDependency
from dolphin.grid.port import GridPort
from dolphin.storage.journal import Journal, Kind

__all__ = ["Outbox"]

GRID: Final = "grid"
_TRIES: Final = 8


class Outbox:
    """``send`` a record; ``flush`` what the grid did not take yet (the runner does, every few seconds)."""

    def __init__(self, journal: Journal, grid: GridPort) -> None:
        self._journal, self._grid = journal, grid

    def send(self, kind: Kind, record: Mapping[str, Any], ts_ms: int, name: str, key: str) -> int:
        """Journal ``record`` (with ``schema`` and ``ts_ms``, see ``dolphin.grid.maps.fields``) and put it under ``name[key]``; its seq.

        A grid that is away gets it later. Raises ``Fenced`` when a later holder of the writer's lock has written there.
        """
        seq = self._journal.append(kind, record, ts_ms, publish={GRID: f"{name}/{key}"})
        try:
            self.flush()
        except MissingDependency:
            return seq
        return seq

    def flush(self) -> None:
        """Put what is due, the newest record of each key.

        Raises ``MissingDependency`` when the grid is away (it stays due), ``Fenced`` for a record that came too late (it does not).
        """
        for due in self._journal.unpublished(GRID):
            name, _, key = due.key.partition("/")
            try:
                self._put(name, key, due.record.payload)
            except Fenced:
                self._journal.mark_published(due.seq, GRID)  # superseded for good: it must not be tried at every heartbeat
                raise
            self._journal.mark_published(due.seq, GRID)

    def renew(self) -> None:
        """The grid came back, perhaps empty: everything is due again."""
        self._journal.republish(GRID)

    def _put(self, name: str, key: str, record: Mapping[str, Any]) -> None:
        """Put it; a record with a fencing number never goes over one with a higher number."""
        fence = record.get("fence", 0)
        if not fence:
            self._grid.put(name, key, record)
            return
        for _ in range(_TRIES):
            entry = self._grid.read(name, key)
            theirs = (entry.record or {}).get("fence", 0)
            if isinstance(theirs, int) and theirs > fence:
                raise Fenced(f"{name}[{key!r}] was written with fence {theirs}, ours is {fence}: another writer came after this one")
            if entry.record is None and entry.reason != "ABSENT":
                self._grid.put(name, key, record)
                return
            if self._grid.replace_if_same(name, key, entry.record, record):
                return
        raise MissingDependency(f"{name}[{key!r}] changed {_TRIES} times while it was written: who else writes it?")
