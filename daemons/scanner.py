"""The scanner: closed bars in, scans out. The only producer of bars; everything else reads them from its journal.

A bar is journalled first, then the newest one is published as ``scan_latest``. The day in progress is saved now and then as a partial
table and into the archive, and as a day table when no more bars of it will come. A restart scans the day anew from its first row, which
gives the same bits, and goes on behind the last bar of the journal.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final

from daemons.bars import STEP_S, BarSource, KlineReplay
from daemons.day_scan import DayScan
from daemons.process import main
from daemons.service import Context, Service
from dolphin.grid.maps import FEATURES, FeedState, Scan, fields
from dolphin.lane.scan_log import day_entry, universe_entry
from dolphin.storage.archive import write_scans
from dolphin.storage.day_table import write_day
from dolphin.storage.journal import Kind, Record
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import DAY_MS, day_start
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["ScannerService"]

AT_ONCE: Final = 128
"""Bars of one append: a transaction and an fsync."""
SAVE_S: Final = 60.0
"""Seconds between two partial tables."""
HEALTH_S: Final = 2.0
LEAST_S: Final = 0.003
"""Seconds between two looks when a bar is due."""
CALM_S: Final = 0.05
"""A partial table is not written when a bar is due so soon."""


class ScannerService(Service):
    """Scan bars as they close, journal and publish them, keep day tables and archive."""

    name: ClassVar[str] = "scanner"

    def __init__(self, context: Context, source: BarSource | None = None) -> None:
        super().__init__(context)
        self.every_s = STEP_S
        self._source = source if source is not None else _source(context)
        self._scan: DayScan | None = None
        self._saved = context.clock.monotonic()
        self._unsent: Record | None = None
        self._gone: frozenset[str] = frozenset()
        self._health_at = -math.inf

    def step(self) -> None:
        """Journal what has closed, end the day when it is over, publish the newest bar."""
        if self._source is None:
            self.status = "no_source"
            return
        if self._scan is None:
            if not self._source.ready():
                self.status = self._source.status
                self._publish_health(self._source)
                return
            self._begin(self._source)
        scan = self._scan
        assert scan is not None
        now = self.context.clock.market_ms()
        while scan.day is not None:
            while (end := min(self._source.closed(now), scan.done + AT_ONCE)) > scan.done:
                self._append(scan, end)
                self.progress()
            self._tell_gone(self._source)
            if not self._source.over(now):
                break
            scan = self._end_day(scan, self._source)
            self.progress()
        self.status = self._source.status if scan.day is not None else "ended"
        if self.context.clock.monotonic() - self._saved >= SAVE_S and self._source.due_s() > CALM_S:
            self._save(scan, partial=True)
        self._publish()
        self._publish_health(self._source)
        self.every_s = min(self._source.step_s, max(LEAST_S, self._source.due_s()))

    def stop(self) -> None:
        """Leave the day so far as a partial table."""
        if self._scan is not None:
            self._save(self._scan, partial=True)
        if self._source is not None:
            self._source.close()

    def _begin(self, source: BarSource) -> None:
        """Go to the journal's last bar: its day is scanned once more up to there, and not journalled again."""
        journal = self.context.journal
        last, ended, universe = (journal.last(kind) for kind in (Kind.SCAN, Kind.DAY_TABLE, Kind.UNIVERSE))
        scan = DayScan(source, self.context.settings.scanner, str(last.payload["date"]) if last is not None else "")
        if last is not None:
            scan.scan(source.closed(last.ts_ms))
            if ended is not None and ended.seq > last.seq:
                scan.follow()
        at = last.ts_ms if last is not None else 0
        if universe is None or universe.payload["assets"] != list(source.symbols):
            journal.append_many([universe_entry(source.symbols, source.bar_seconds, at)])
        self._scan, self._unsent = scan, last

    def reconnected(self) -> None:
        """The grid has forgotten the newest scan."""
        self._unsent = self.context.journal.last(Kind.SCAN)

    def _append(self, scan: DayScan, end: int) -> None:
        bars = scan.scan(end)
        self.context.journal.append_many(bars)
        self._unsent = self.context.journal.last(Kind.SCAN)
        self.context.metrics.bars_processed.inc(len(bars))
        self.context.metrics.fed()

    def _end_day(self, scan: DayScan, source: BarSource) -> DayScan:
        """Files first, then the record by which everybody else knows that they are whole. A day with missing bars stays partial."""
        assert scan.day is not None
        date, symbols, whole = scan.day.date, source.symbols, source.finish()
        self._save(scan, partial=not whole)
        if whole:
            self.context.journal.append_many([day_entry(date, scan.done, day_start(date) + DAY_MS)])
        else:
            text = f"{date} has {scan.done} bars and is not whole: its table stays partial"
            self.context.alert(AlertKind.FEED_GAP, Severity.WARNING, date, text)
        self.context.journal.rotate(self.context.clock.wall_ms())
        scan.follow()
        if source.symbols != symbols:
            at = day_start(date) + DAY_MS
            scan = self._scan = DayScan(source, self.context.settings.scanner, scan.day.date)
            self.context.journal.append_many([universe_entry(source.symbols, source.bar_seconds, at)])
        return scan

    def _tell_gone(self, source: BarSource) -> None:
        """A symbol that was delisted leaves at the next day; until then the universe says that it has no price."""
        if source.gone != self._gone:
            self._gone = source.gone
            now, here = self.context.clock.market_ms(), self._gone & set(source.symbols)
            self.context.journal.append_many([universe_entry(source.symbols, source.bar_seconds, now, here)])

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

    def _publish_health(self, source: BarSource) -> None:
        """How a live feed is, every two seconds."""
        now = self.context.clock.monotonic()
        if now - self._health_at < HEALTH_S:
            return
        self._health_at = now
        health = source.health()
        if health is not None:
            self.context.grid.put(FEATURES, "feed", fields(FeedState(ts_ms=self.context.clock.wall_ms(), **health)))


def _source(context: Context) -> BarSource | None:
    """The klines of the replay, the exchange when live; None without either."""
    replay, config = context.replay, context.settings.feed
    if replay is not None:
        return KlineReplay(KlineStore(replay.folder), replay.first_date, replay.last_date)
    if not config.live:
        return None
    from daemons.live_feed import live_bars

    return live_bars(context)


if __name__ == "__main__":
    main(ScannerService)
