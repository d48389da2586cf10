"""Books of the scanner's universe: whose bars are scanned, their books are followed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from daemons.books import BookSample, BookSource
from dolphin.errors import DolphinError
from dolphin.lane.scan_log import SCANNER
from dolphin.storage.journal import JournalReader, Kind, journal_path

__all__ = ["UniverseBooks"]

LOOK_S: Final = 5.0
"""Seconds between two looks into the scanner's journal."""


class UniverseBooks(BookSource):
    """``follow`` makes a source for symbols; it is asked for another one when the universe in ``journals`` changes. Before the first
    universe there are no books. ``monotonic``: seconds.
    """

    def __init__(self, journals: Path, follow: Callable[[Sequence[str]], BookSource], monotonic: Callable[[], float]) -> None:
        self._path, self._follow, self._monotonic = journal_path(journals, SCANNER), follow, monotonic
        self._looked = -math.inf
        self._symbols: tuple[str, ...] = ()
        self._source: BookSource | None = None

    def take(self, market_ms: int, most: int) -> list[BookSample]:
        self._look()
        return [] if self._source is None else self._source.take(market_ms, most)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _look(self) -> None:
        if self._monotonic() - self._looked < LOOK_S:
            return
        self._looked = self._monotonic()
        try:
            with JournalReader(self._path) as journal:
                newest = journal.last(Kind.UNIVERSE)
        except DolphinError:
            return  # no scanner yet, or its journal is just being made: the books that are followed go on
        symbols = self._symbols if newest is None else tuple(newest.payload["assets"])
        if symbols != self._symbols:
            self.close()
            self._symbols, self._source = symbols, self._follow(symbols)
