"""The order book as the grid tells it: features of each asset's newest snapshots, heard as they are published.

The last snapshots are kept, not only the newest, so that a bar that is processed a moment after its close is still judged by the books of
its close and never by later ones. ``snapshot_ts`` is the snapshot's time on the market, which a replay runs through faster.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from typing import Any, Final

import msgspec
import numpy as np

from dolphin.book.provider import BookProvider
from dolphin.errors import MissingDependency
from dolphin.grid.features import SHARD_COUNT, shard_map
from dolphin.grid.maps import Book
from dolphin.grid.port import GridPort
from dolphin.grid.record import Entry, Reason
from dolphin.types import BOOK_FEATURES, Array, Ints

__all__ = ["BOOK", "SAMPLE_TS", "SNAPSHOT_TS", "GridOrderBook"]

BOOK: Final = "book"
"""Name of the feature."""
SNAPSHOT_TS: Final = "snapshot_ts"
SAMPLE_TS: Final = "sample_ts"
"""When the snapshot was looked at."""
KEPT: Final = 32
"""Snapshots of an asset that are kept: 16 s of live books, and as many samples of a replay."""


class GridOrderBook(BookProvider):
    """Answers as of a moment from the last ``KEPT`` snapshots of every asset that was heard of. ``drain`` takes in what came."""

    def __init__(self, grid: GridPort, direction: int = -1) -> None:
        super().__init__(direction)
        self._grid = grid
        self._inbox: deque[Entry] = deque()
        self._place: dict[str, int] = {}
        self._times: Ints = np.zeros((0, KEPT), dtype=np.int64)
        self._features: Array = np.empty((0, KEPT, len(BOOK_FEATURES)))
        self._watching = False
        self.heard_ms = 0
        """Newest moment of the market whose books were heard."""
        self.refused = 0
        """Records that were no book, or older than what is there."""

    def drain(self) -> None:
        """Take in what was heard; read everything again when the connection came back."""
        again = not self._watching
        with suppress(IndexError):
            while True:
                entry = self._inbox.popleft()
                again |= entry.reason is Reason.RECONNECTED
                self._take(entry)
        if again:
            with suppress(MissingDependency):
                self._read_all()
        self._macro_of = None

    def _read_all(self) -> None:
        for name in map(shard_map, range(SHARD_COUNT)):
            if not self._watching:
                self._grid.watch(name, self._inbox.append)
            for entry in self._grid.entries(name):
                self._take(entry)
        self._watching = True

    def _take(self, entry: Entry) -> None:
        if entry.record is None or not entry.key.startswith(f"{BOOK}_"):
            return
        try:
            values = msgspec.convert(entry.record, Book).value
            taken, sampled, features = _numbers(values)
        except (msgspec.ValidationError, KeyError, TypeError, ValueError):
            self.refused += 1
            return
        place = self._place_of(entry.key.removeprefix(f"{BOOK}_"))
        self.heard_ms = max(self.heard_ms, sampled)
        newest = int(self._times[place].max())
        if taken <= newest:
            self.refused += taken < newest
            return
        slot = int(self._times[place].argmin())
        self._times[place, slot], self._features[place, slot] = taken, features

    def _place_of(self, symbol: str) -> int:
        place = self._place.get(symbol)
        if place is None:
            place = len(self._place)
            self._place = {**self._place, symbol: place}
            self._times = np.concatenate([self._times, np.zeros((1, KEPT), dtype=np.int64)])
            self._features = np.concatenate([self._features, np.full((1, KEPT, len(BOOK_FEATURES)), np.nan)])
        return place

    def _rows(self, ts_ms: int) -> tuple[dict[str, int], Array, Ints] | None:
        if not self._place:
            return None
        then = np.where(self._times <= ts_ms, self._times, 0)
        slot = then.argmax(axis=1)
        every = np.arange(len(slot))
        return self._place, self._features[every, slot], then[every, slot]


def _numbers(values: dict[str, Any]) -> tuple[int, int, Array]:
    """Times and features of a record; null is not known. Raises ``ValueError`` for what no book can say."""
    taken, sampled = values[SNAPSHOT_TS], values[SAMPLE_TS]
    features = np.array([math.nan if values[name] is None else values[name] for name in BOOK_FEATURES], dtype=np.float64)
    if not 0 < taken <= sampled < 2**53 or np.isinf(features).any() or not abs(features[:3]).max() <= 1.0:
        raise ValueError("not the features of a book")
    return int(taken), int(sampled), features
