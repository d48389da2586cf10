"""The grid inside one process: the default of backtests, of simulations and of the quick start."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from dolphin.errors import MissingDependency
from dolphin.grid.port import GridPort
from dolphin.grid.record import Raw

__all__ = ["EmbeddedGrid"]


class EmbeddedGrid(GridPort):
    """Maps in memory; values are kept as the JSON text that would cross a wire. Safe for threads.

    ``clock``: monotonic seconds, for entries with a time to live. Watchers are called by the thread that writes, before its call returns.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._maps: dict[str, dict[str, str]] = defaultdict(dict)
        self._until: dict[str, dict[str, float]] = defaultdict(dict)
        self._lock = threading.RLock()
        self._open = True

    @property
    def members(self) -> int:
        return int(self._open)

    def close(self) -> None:
        self._open = False

    def _load(self, name: str, key: str) -> Raw:
        with self._lock:
            return self._live(name).get(key)

    def _load_all(self, name: str) -> dict[str, Raw]:
        with self._lock:
            return dict(self._live(name))

    def _store(self, name: str, key: str, text: str, ttl_s: float | None) -> None:
        with self._lock:
            self._live(name)[key] = text
            self._until[name].pop(key, None)
            if ttl_s is not None:
                self._until[name][key] = self._clock() + ttl_s
            self._tell(name, key, text)

    def _store_many(self, name: str, texts: Mapping[str, str]) -> None:
        for key, text in texts.items():
            self._store(name, key, text, None)

    def _add(self, name: str, key: str, text: str, ttl_s: float | None) -> bool:
        with self._lock:
            absent = self._load(name, key) is None
            if absent:
                self._store(name, key, text, ttl_s)
            return absent

    def _swap(self, name: str, key: str, old: str, new: str) -> bool:
        with self._lock:
            same = self._load(name, key) == old
            if same:
                self._store(name, key, new, None)
            return same

    def _extend(self, name: str, key: str, ttl_s: float) -> None:
        with self._lock:
            if key in self._live(name):
                self._until[name][key] = self._clock() + ttl_s

    def _drop(self, name: str, key: str) -> None:
        with self._lock:
            self._until[name].pop(key, None)
            if self._live(name).pop(key, None) is not None:
                self._tell(name, key, None)

    def _listen(self, name: str) -> None:
        """Nothing to register: whoever writes tells."""

    def _live(self, name: str) -> dict[str, str]:
        """The map, without what has expired."""
        if not self._open:
            raise MissingDependency("this embedded grid is closed")
        entries, until = self._maps[name], self._until[name]
        if until:
            now = self._clock()
            for key in [key for key, last in until.items() if last <= now]:
                del entries[key], until[key]
                self._tell(name, key, None)
        return entries
