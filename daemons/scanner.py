"""The scanner: closed bars in, scans out. The only producer of bars; everything else reads them from its journal.

A bar is journalled first, then the newest one is published as ``scan_latest``. The day in progress is saved now and then as a partial
table and into the archive, and as a day table when no more bars of it will come. A restart scans the day anew from its first row, which
gives the same bits, and goes on behind the last bar of the journal.
"""

from __future__ import annotations

from typing import ClassVar, Final

from daemons.bars import BarSource, KlineReplay
from daemons.day_scan import DayScan
from daemons.process import main
from daemons.service import Context, Service
from dolphin.grid.maps import FEATURES, Scan, fields
from dolphin.lane.scan_log import day_entry, universe_entry
from dolphin.storage.archive import write_scans
from dolphin.storage.day_table import write_day
from dolphin.storage.journal import Kind, Record
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import DAY_MS, day_start

__all__ = ["ScannerService"]

AT_ONCE: Final = 128
"""Bars of one append: a transaction and an fsync."""
SAVE_S: Final = 60.0
"""Seconds between two partial tables."""


class ScannerService(Service):
    """Scan bars as they close, journal and publish them, keep day tables and archive."""

    name: ClassVar[str] = "scanner"

    def __init__(self, context: Context, source: BarSource | None = None) -> None:
        super().__init__(context)
        self.every_s = 0.1
        self._source = source if source is not None else _replayed(context)
        self._scan: DayScan | None = None
        self._saved = context.clock.monotonic()
        self._unsent: Record | None = None

    def start(self) -> None:
        """Go to the journal's last bar: its day is scanned once more up to there, and not journalled again."""
        if self._source is None:
            return
        journal = self.context.journal
        last, ended, universe = (journal.last(kind) for kind in (Kind.SCAN, Kind.DAY_TABLE, Kind.UNIVERSE))
        scan = DayScan(self._source, self.context.settings.scanner, str(last.payload["date"]) if last is not None else "")
        if last is not None:
            scan.scan(self._source.closed(last.ts_ms))
            if ended is not None and ended.seq > last.seq:
                scan.follow()
        if universe is None or universe.payload["assets"] != list(self._source.symbols):
            at = last.ts_ms if last is not None else 0
            journal.append_many([universe_entry(self._source.symbols, self._source.bar_seconds, at)])
        self._scan, self._unsent = scan, last

    def step(self) -> None:
        """Journal what has closed, end the day when it is over, publish the newest bar."""
        if self._scan is None or self._source is None:
            self.status = "no_source"
            return
        now, scan = self.context.clock.market_ms(), self._scan
        while scan.day is not None:
            while (end := min(self._source.closed(now), scan.done + AT_ONCE)) > scan.done:
                self._append(scan, end)
                self.progress()
            if not self._source.over(now):
                break
            self._end_day(scan)
            self.progress()
        self.status = "running" if scan.day is not None else "ended"
        if self.context.clock.monotonic() - self._saved >= SAVE_S:
            self._save(scan, partial=True)
        self._publish()

    def stop(self) -> None:
        """Leave the day so far as a partial table."""
        if self._scan is not None:
            self._save(self._scan, partial=True)

    def reconnected(self) -> None:
        """The grid has forgotten the newest scan."""
        self._unsent = self.context.journal.last(Kind.SCAN)

    def _append(self, scan: DayScan, end: int) -> None:
        bars = scan.scan(end)
        self.context.journal.append_many(bars)
        self._unsent = self.context.journal.last(Kind.SCAN)
        self.context.metrics.bars_processed.inc(len(bars))
        self.context.metrics.fed()

    def _end_day(self, scan: DayScan) -> None:
        """Files first, then the record by which everybody else knows that they are whole."""
        assert scan.day is not None
        self._save(scan, partial=False)
        date = scan.day.date
        self.context.journal.append_many([day_entry(date, scan.done, day_start(date) + DAY_MS)])
        scan.follow()

    def _save(self, scan: DayScan, *, partial: bool) -> None:
        state, table, rows = self.context.state, scan.table(), scan.unarchived()
        if table is not None:
            write_day(state.days, table, partial)
        if rows is not None:
            write_scans(state.archive, rows)
            scan.archived = scan.done
        self._saved = self.context.clock.monotonic()

    def _publish(self) -> None:
        if self._unsent is None:
            return
        names = ("date", "bar", "vel_div", "lambda_max", "velocity", "instability", "n_participants")
        values = {name: self._unsent.payload[name] for name in names}
        record = Scan(ts_ms=self.context.clock.wall_ms(), close_ms=self._unsent.ts_ms, seq=self._unsent.seq, **values)
        self.context.grid.put(FEATURES, "scan_latest", fields(record))
        self._unsent = None


def _replayed(context: Context) -> BarSource | None:
    """The klines of the replay; None when live: there the bars come with the venue's feed."""
    replay = context.replay
    return None if replay is None else KlineReplay(KlineStore(replay.folder), replay.first_date, replay.last_date)


if __name__ == "__main__":
    main(ScannerService)
