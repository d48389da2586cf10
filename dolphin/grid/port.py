"""The port to the feature grid: records by map and key, whatever stands behind them. What the maps hold is in ``maps``.

An implementation moves texts (the methods with an underscore); that they are records is checked here, once, for all of them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dolphin.errors import QualityError
from dolphin.grid.record import Entry, Raw, Reason, decode, encode

if TYPE_CHECKING:
    from dolphin.grid.consensus import Consensus

__all__ = ["GridPort", "pnl_map"]

PNL_MAPS = {-1: "DOLPHIN_PNL_BLUE", 1: "DOLPHIN_PNL_GREEN"}


class GridPort(ABC):
    """Records by map and key. A record is a JSON object with ``schema`` and ``ts_ms``; readers get a copy of what was written.

    Every method may be called from any thread. Each raises ``MissingDependency`` within a bounded time when the grid cannot be reached
    (a write may then have happened or not), and ``QualityError`` for a record that must not cross.
    """

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()
        self._watchers: dict[str, list[Callable[[Entry], None]]] = defaultdict(list)
        self._book = threading.Lock()

    @property
    @abstractmethod
    def members(self) -> int:
        """Members that can be reached now; 0 = not connected. Never blocks."""

    @property
    def consensus(self) -> Consensus | None:
        """The CP subsystem, where the cluster offers it."""
        return None

    @property
    def refused(self) -> Counter[str]:
        """Values that were refused on read, by reason, since the start."""
        with self._book:
            return Counter(self._refused)

    def put(self, name: str, key: str, record: Mapping[str, Any], ttl_s: float | None = None) -> None:
        """Write ``record`` under ``key`` of map ``name``; with ``ttl_s`` it is gone after so many seconds."""
        self._store(name, key, encode(name, key, record), ttl_s)

    def put_many(self, name: str, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Write many records of one map: each whole, all of them not at one instant."""
        self._store_many(name, {key: encode(name, key, record) for key, record in records.items()})

    def get(self, name: str, key: str) -> dict[str, Any] | None:
        """The record, or None. Raises ``QualityError`` for a value that is refused; ``read`` does not."""
        entry = self.read(name, key)
        if entry.reason is not None and entry.reason != Reason.ABSENT:
            raise QualityError(f"{name}[{key!r}]: {entry.reason}", hint="somebody wrote past the port; write a good record over it")
        return entry.record

    def read(self, name: str, key: str) -> Entry:
        """The record, or the reason why there is none."""
        return self._entry(name, key, self._load(name, key))

    def entries(self, name: str) -> list[Entry]:
        """All entries of a map by key; refused ones too, with their reason."""
        return [self._entry(name, key, raw) for key, raw in sorted(self._load_all(name).items())]

    def delete(self, name: str, key: str) -> None:
        """Remove the entry, if there is one."""
        self._drop(name, key)

    def put_if_absent(self, name: str, key: str, record: Mapping[str, Any], ttl_s: float | None = None) -> bool:
        """Write ``record`` only where nothing is, in one step. Whether it was written."""
        return self._add(name, key, encode(name, key, record), ttl_s)

    def replace_if_same(self, name: str, key: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        """Write ``new`` only if the record there equals ``old`` (None: nothing is there), in one step. Whether it was written.

        A time to live ends with the record that had it.
        """
        if old is None:
            return self.put_if_absent(name, key, new)
        text, found = encode(name, key, new), self._load(name, key)
        return found is not None and decode(found) == dict(old) and self._swap(name, key, found, text)

    def extend(self, name: str, key: str, ttl_s: float) -> None:
        """Let the entry, if there is one, live ``ttl_s`` from now."""
        self._extend(name, key, ttl_s)

    def watch(self, name: str, callback: Callable[[Entry], None]) -> None:
        """Call ``callback`` with every change of map ``name`` from now on, in order for each key, on a thread of the grid's choice.

        The callback only enqueues or stores: it never blocks, raises or calls the grid. Events can be lost while the grid is away:
        on an entry with reason RECONNECTED read the map again, and read it every few seconds anyway.
        """
        with self._book:
            first = name not in self._watchers
            self._watchers[name].append(callback)
        if first:
            self._listen(name)

    @abstractmethod
    def close(self) -> None:
        """Let go of the grid; every later call raises ``MissingDependency``."""

    @abstractmethod
    def _load(self, name: str, key: str) -> Raw: ...

    @abstractmethod
    def _load_all(self, name: str) -> dict[str, Raw]: ...

    @abstractmethod
    def _store(self, name: str, key: str, text: str, ttl_s: float | None) -> None: ...

    @abstractmethod
    def _store_many(self, name: str, texts: Mapping[str, str]) -> None: ...

    @abstractmethod
    def _add(self, name: str, key: str, text: str, ttl_s: float | None) -> bool: ...

    @abstractmethod
    def _swap(self, name: str, key: str, old: str, new: str) -> bool: ...

    @abstractmethod
    def _extend(self, name: str, key: str, ttl_s: float) -> None: ...

    @abstractmethod
    def _drop(self, name: str, key: str) -> None: ...

    @abstractmethod
    def _listen(self, name: str) -> None: ...

    def _entry(self, name: str, key: str, raw: Raw) -> Entry:
        found = decode(raw)
        if not isinstance(found, Reason):
            return Entry(name, key, found)
        if found not in (Reason.ABSENT, Reason.RECONNECTED):
            with self._book:
                self._refused[found] += 1
        return Entry(name, key, None, found)

    def _tell(self, name: str, key: str, raw: Raw) -> None:
        """Hand a change to the watchers of its map."""
        watchers = self._watchers.get(name)
        if watchers:
            for callback in tuple(watchers):
                callback(self._entry(name, key, raw))


def pnl_map(direction: int) -> str:
    """Map of the day results of a lane: BLUE for SHORT (-1), GREEN for LONG (+1)."""
    return PNL_MAPS[direction]
