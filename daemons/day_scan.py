"""The scan of the day in hand, row by row as its bars close, and what is stored of it."""

from __future__ import annotations

import numpy as np

from daemons.bars import BarSource
from dolphin.config import ScannerConfig
from dolphin.lane.scan_log import scan_entry
from dolphin.scanner.scan import STREAM_ASSETS, Scanner
from dolphin.scanner.settings import settings_hash
from dolphin.storage.archive import ScanDay
from dolphin.storage.day_table import DayTable
from dolphin.storage.journal import Entry
from dolphin.storage.klines import KlineDay
from dolphin.storage.scanned import archived_day, batch_rows, scanned_table
from dolphin.types import WINDOWS, ScanBatch

__all__ = ["DayScan"]


class DayScan:
    """A scanner that goes through the days of ``source``; ``done``: rows of the day in hand that are scanned.

    The same rows give the same bits, however they are cut and wherever a restart came.
    """

    def __init__(self, source: BarSource, config: ScannerConfig, date: str = "") -> None:
        """Begin with ``date`` (empty: the first day), warmed up by the days before it."""
        self.source = source
        self.done = self.archived = 0
        self._batch: ScanBatch
        width = len(source.symbols)
        path = config.path if config.path != "auto" else "stream" if width <= STREAM_ASSETS else "blocked"
        self._scanner = Scanner(width, path=path)
        for day in source.begin(date):
            self._scanner.scan(day.closes, day.ts // (day.bar_seconds * 1000))
        self._open()

    @property
    def day(self) -> KlineDay | None:
        """The day in hand."""
        return self.source.day

    def scan(self, end: int) -> list[Entry]:
        """Scan the rows up to ``end``; their records for the journal."""
        day, start = self.day, self.done
        assert day is not None
        bar_ms = day.bar_seconds * 1000
        closes, opened = day.closes[start:end], day.ts[start:end]
        part = self._scanner.scan(closes, opened // bar_ms)
        for name in ("vel_div", "lambda_max", "velocity", "instability", "n_participants"):
            getattr(self._batch, name)[start:end] = getattr(part, name)
        self.done = end
        told = self.source.told
        return [scan_entry((day.date, start + k), ts + bar_ms, part, k, closes[k], told(start + k)) for k, ts in enumerate(opened.tolist())]

    def follow(self) -> None:
        """Go on with the next day."""
        self.source.follow()
        self._open()

    def table(self) -> DayTable | None:
        """The day table of the rows so far; None without any."""
        day = self.day
        return scanned_table(day, batch_rows(self._batch, 0, self.done), settings_hash()) if day is not None and self.done else None

    def unarchived(self) -> ScanDay | None:
        """Scans that are not in the archive yet; None without any."""
        day, start = self.day, self.archived
        return archived_day(day, batch_rows(self._batch, start, self.done), start) if day is not None and self.done > start else None

    def _open(self) -> None:
        self.done = self.archived = 0
        rows = 0 if self.day is None else len(self.day.ts)
        blocks = [np.full((rows, width), np.nan) for width in (1, len(WINDOWS), len(WINDOWS), 2)]
        counts = np.zeros((rows, len(WINDOWS)), dtype=np.int64)
        self._batch = ScanBatch(blocks[0][:, 0], blocks[1], blocks[2], blocks[3], counts, self._scanner.path)
