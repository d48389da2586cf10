"""The trader: one lane over the scanner's bars, on paper. Every decision is in its journal before anything else hears of it.

Killed at any moment, it comes back where its journal ends (``dolphin.lane.recovery``): no bar twice, no trade lost, no order twice.
Whatever it cannot know for sure stops entries (``gate``); exits go on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from daemons.gate import Gate
from daemons.grid_book import GridOrderBook
from daemons.lane_lines import line_of
from daemons.patience import Patience
from daemons.process import main
from daemons.publisher import LanePublisher
from daemons.safe_mode import SafeMode
from daemons.service import Context, Service
from daemons.tenure import Tenure
from dolphin.config import Settings
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.view import POLL_S, LocalView
from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.records import Records
from dolphin.lane.recovery import advance, recover, rested
from dolphin.lane.scan_log import ScanLog, Scanned, ScannedBar
from dolphin.lane.venue import NoVenue, Venue
from dolphin.storage.journal import Entry, Kind
from dolphin.types import LANES

__all__ = ["PaperTrader", "TraderService"]

AT_ONCE: Final = 64
"""Records of the scanner of one step."""


class TraderService(Service):
    """One lane: bars from the scanner's journal through the engine into the lane's journal; decisions only."""

    name: ClassVar[str] = "trader"
    lanes: ClassVar[tuple[str, ...]] = tuple(LANES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.every_s = 0.1 if context.replay is not None else 0.005
        settings, clock = context.settings, context.clock
        name = context.lane or settings.paper.names[0]
        direction, with_book = LANES[name], settings.survival.order_book
        self.lane = Lane(settings.of_lane(name).engine, direction, with_book=with_book)
        self._records = Records(self._write)
        self.venue = self.made_venue(name)
        self._log = ScanLog(context.state.journals)
        self._view = LocalView(context.grid, clock.monotonic, clock.wall_ms)
        self._book = GridOrderBook(context.grid, direction) if with_book else None
        self._gate = Gate(context, self._view, self._book)
        self._safe = SafeMode(context)
        self._tenure = Tenure(context, f"trader_{name}")
        self._publisher = LanePublisher(context, name)
        self._queue: deque[Scanned] = deque()
        self._patience = Patience(context, self.lane, self._gate, self._tenure)
        self._polled = -math.inf

    def made_venue(self, name: str) -> Venue:
        """Where the decisions of lane ``name`` go."""
        return NoVenue(self.lane, self._records)

    @classmethod
    def writer(cls, settings: Settings, lane: str = "") -> str:
        return settings.lane_journal(lane or settings.paper.names[0])

    def start(self) -> None:
        """Come back to where the journal ends, and follow the grid."""
        journal, now = self.context.journal, self.context.clock.wall_ms()
        found = recover(self.venue, journal, self._log)
        if found is None:
            self.venue.open({})
            journal.append_many([self.lane.snapshot(venue=self.venue.state())])
        else:
            told = found.broken or f"{found.bars} bars behind the snapshot of record {found.from_seq} come out as they were"
            journal.append(Kind.RECOVERED, {"reason": told, "from_seq": found.from_seq}, now)
            self._write(found.missing)
            if found.inputs is not None:
                self._gate.remember(self.lane.date or self.lane.done, found.inputs)
            if found.broken:
                self._safe.engage(f"the lane came back otherwise than its journal says: {found.broken}")
                if self.venue.flat:
                    journal.append_many([self.lane.snapshot(venue=self.venue.state())])
        self._log.seq = self.lane.seq
        if self.venue.repeatable and self._safe.released_since(journal.last(Kind.BAR)):
            self.venue.trust()
        self._doubt()
        if not isinstance(self.context.grid, EmbeddedGrid):
            self._view.start()

    def step(self) -> None:
        """Look at the grid and the venue, process what the scanner has appended, publish."""
        self._look()
        self.venue.breathe()
        self._doubt()
        if self._patience.connecting(self._view):
            self.status = "connecting"
            return
        if self._patience.standing_by():
            self.status = "standby"
            return
        if not self._queue:
            self._queue.extend(self._log.take(AT_ONCE))
        while self._queue and self._patience.ready(self._queue[0], self._book):
            self._process(self._queue.popleft())
        self._records.flush()
        self.status = "waiting" if self._queue else "safe_mode" if self._safe.engaged else "running"
        self._publisher.publish(self.lane, self.venue.facts())

    def stop(self) -> None:
        """Close the position when that is configured, leave a snapshot when nothing is held; then let the next one in."""
        if self.context.settings.paper.on_stop == "flatten" and not self.venue.flat:
            self.venue.flatten()
        self._records.flush()
        if self.venue.flat:
            self.context.journal.append_many([self.lane.snapshot(venue=self.venue.state())])
        self.venue.close()
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
        if self._safe.look():
            self.venue.trust()

    def _process(self, scanned: Scanned) -> None:
        """Through lane and venue; then what follows from where they stand: safe mode, a snapshot, a new file at a day's end."""
        advance(self.venue, scanned, self._read)
        self._doubt()
        day_over = self.lane.day_over
        snapshot = rested(self.venue)
        if snapshot is not None:
            if day_over:
                self._records.flush()
                self.context.journal.rotate(self.context.clock.wall_ms())
            self._records.add(snapshot)

    def _doubt(self) -> None:
        """What the venue is not certain of is safe mode."""
        if self.venue.doubt and not self._safe.engaged:
            self._records.flush()
            self._safe.engage(f"the venue's side of the lane is not certain: {self.venue.doubt}")

    def _read(self, bar: ScannedBar) -> Inputs:
        doubts = (["SAFE_MODE"] if self._safe.engaged else []) + (["NOT_THE_WRITER"] if not self._tenure.fence else [])
        return self._gate.read(bar, self.lane, (*doubts, *self.venue.blocks))

    def _write(self, entries: Sequence[Entry]) -> None:
        """Durable first; what is counted, is."""
        if not entries:
            return
        self.context.journal.append_many(entries)
        metrics, say = self.context.metrics, self.context.say
        for entry in entries:
            if say is not None and (line := line_of(entry)):
                say(line)
            if entry.kind is Kind.BAR:
                metrics.bars_processed.inc()
                metrics.fed()
                for reason in entry.payload["refusals"]:
                    metrics.refusal(reason)
            elif entry.kind is Kind.TRADE:
                metrics.trades.inc()


class PaperTrader(TraderService):
    """One lane with orders: decisions go through a Nautilus node to a simulated venue, or to an exchange, when every gate holds."""

    def made_venue(self, name: str) -> Venue:
        if self.context.settings.live.mode == "live":
            from actors.live_venue import LiveVenue
            from daemons.live_gate import admission

            admit = partial(admission, self.context, "GREEN" if name == "GREEN" else "BLUE")
            return LiveVenue(name, self.lane, self._records, self.context.settings.venue, admit)
        from actors.paper import PaperVenueNode

        return PaperVenueNode(name, self.lane, self._records, self.context.settings.venue)


if __name__ == "__main__":
    main(PaperTrader)
