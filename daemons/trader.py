"""The trader: one lane over the scanner's bars, on paper. Every decision is in its journal before anything else hears of it.

Killed at any moment, it comes back where its journal ends (``recovery``): no bar twice, no trade lost. Whatever it cannot know for sure
stops entries (``gate``); exits go on.
"""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar, Final

from daemons.gate import Gate
from daemons.grid_book import GridOrderBook
from daemons.patience import Patience
from daemons.process import main
from daemons.publisher import LanePublisher
from daemons.safe_mode import SafeMode
from daemons.service import Context, Service
from daemons.tenure import Tenure
from dolphin.config import Settings
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.view import POLL_S, LocalView
from dolphin.lane.lane import Lane
from dolphin.lane.recovery import recover
from dolphin.lane.scan_log import DayEnd, ScanLog, Scanned, Universe
from dolphin.storage.journal import Entry, Kind

__all__ = ["DIRECTIONS", "TraderService"]

DIRECTIONS: Final = {"BLUE": -1, "GREEN": 1}
AT_ONCE: Final = 64
"""Records of the scanner of one step."""


class TraderService(Service):
    """One lane: bars from the scanner's journal through the engine into the lane's journal."""

    name: ClassVar[str] = "trader"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.every_s = 0.1
        settings, clock = context.settings, context.clock
        direction = DIRECTIONS[settings.services.lane]
        with_book = settings.survival.order_book
        self.lane = Lane(settings.engine, direction, with_book=with_book)
        self._log = ScanLog(context.state.journals)
        self._view = LocalView(context.grid, clock.monotonic, clock.wall_ms)
        self._book = GridOrderBook(context.grid, direction) if with_book else None
        self._gate = Gate(context, self._view, self._book)
        self._safe = SafeMode(context)
        self._tenure = Tenure(context, f"trader_{settings.services.lane}")
        self._publisher = LanePublisher(context, settings.services.lane)
        self._queue: deque[Scanned] = deque()
        self._patience = Patience(context, self.lane, self._gate, self._tenure)
        self._polled = -math.inf

    @classmethod
    def writer(cls, settings: Settings) -> str:
        return f"trader_{settings.services.lane.lower()}"

    def start(self) -> None:
        """Come back to where the journal ends, and follow the grid."""
        journal, now = self.context.journal, self.context.clock.wall_ms()
        found = recover(self.lane, journal, self._log)
        if found is None:
            journal.append_many([self.lane.snapshot()])
        else:
            told = found.broken or f"{found.bars} bars behind the snapshot of record {found.from_seq} come out as they were"
            journal.append(Kind.RECOVERED, {"reason": told, "from_seq": found.from_seq}, now)
            if found.inputs is not None:
                self._gate.remember(self.lane.date or self.lane.done, found.inputs)
            if found.broken:
                self._safe.engage(f"the lane came back otherwise than its journal says: {found.broken}")
                journal.append_many([self.lane.snapshot()])
        self._log.seq = self.lane.seq
        if not isinstance(self.context.grid, EmbeddedGrid):
            self._view.start()

    def step(self) -> None:
        """Look at the grid, process what the scanner has appended, publish."""
        self._look()
        if self._patience.connecting(self._view):
            self.status = "connecting"
            return
        if self._patience.standing_by():
            self.status = "standby"
            return
        if not self._queue:
            self._queue.extend(self._log.take(AT_ONCE))
        entries: list[Entry] = []
        while self._queue and self._patience.ready(self._queue[0], self._book):
            entries += self._process(self._queue.popleft())
        self._record(entries)
        self.status = "waiting" if self._queue else "safe_mode" if self._safe.engaged else "running"
        self._publisher.publish(self.lane)

    def stop(self) -> None:
        """A snapshot, so that the next start has nothing to process again; then let the next one in."""
        self.context.journal.append_many([self.lane.snapshot()])
        self._view.stop()
        self._log.close()
        self._tenure.release()

    def reconnected(self) -> None:
        self._publisher.forget()

    def _look(self) -> None:
        """Memory only, unless the grid is in this process: then there is nothing to wait for."""
        now = self.context.clock.monotonic()
        if isinstance(self.context.grid, EmbeddedGrid) and now - self._polled >= POLL_S:
            self._view.poll()
            self._polled = now
        if self._book is not None:
            self._book.drain()
        self._safe.look()

    def _process(self, scanned: Scanned) -> list[Entry]:
        if isinstance(scanned, Universe):
            self.lane.set_universe(scanned)
            return []
        if isinstance(scanned, DayEnd):
            return self.lane.end_day(scanned)
        doubts = (["SAFE_MODE"] if self._safe.engaged else []) + (["NOT_THE_WRITER"] if not self._tenure.fence else [])
        return self.lane.take(scanned, self._gate.read(scanned, self.lane, tuple(doubts)))

    def _record(self, entries: list[Entry]) -> None:
        """Durable first, all bars of a step at once; what is counted, is."""
        if not entries:
            return
        self.context.journal.append_many(entries)
        metrics = self.context.metrics
        for entry in entries:
            if entry.kind is Kind.BAR:
                metrics.bars_processed.inc()
                metrics.fed()
                for reason in entry.payload["refusals"]:
                    metrics.refusal(reason)
            elif entry.kind is Kind.TRADE:
                metrics.trades.inc()


if __name__ == "__main__":
    main(TraderService)
