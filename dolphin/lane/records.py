"""Records of a lane on their way to its journal: in order, several in one write where nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dolphin.storage.journal import Entry

__all__ = ["Records"]


class Records:
    """``write`` makes a batch durable, all or none. What was added is written by the next ``flush``."""

    def __init__(self, write: Callable[[Sequence[Entry]], object]) -> None:
        self.write = write
        self._waiting: list[Entry] = []

    def add(self, *entries: Entry) -> None:
        """Take records in, behind those that wait."""
        self._waiting += entries

    def flush(self) -> None:
        """Everything that waits is durable when this returns."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.write(waiting)
