"""What a trader waits for before it processes a bar: the first answer of the grid, the lane for itself, the numbers of a day, a book."""

from __future__ import annotations

import math
from typing import Final

from daemons.gate import Gate
from daemons.grid_book import GridOrderBook
from daemons.service import Context
from daemons.tenure import Tenure
from dolphin.errors import MissingDependency, Unavailable
from dolphin.grid.view import LOST_S, LocalView
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import Scanned, ScannedBar

__all__ = ["Patience"]

NUMBERS_S: Final = 30.0
"""How long what is said once a day is waited for."""
BOOK_S: Final = 1.0
STAND_BY_S: Final = 45.0
"""How long the writer's lock may be another's; longer than a lease that nobody renews."""


class Patience:
    """Every wait ends by itself; what did not come by then stops entries (``Gate``), or the process."""

    def __init__(self, context: Context, lane: Lane, gate: Gate, tenure: Tenure) -> None:
        self._context, self._lane, self._gate, self._tenure = context, lane, gate, tenure
        self._began, self._alone_since = context.clock.monotonic(), math.nan
        self._waiting, self._patient = math.nan, True
        self._heard, self._heard_at = 0, 0.0

    def connecting(self, view: LocalView) -> bool:
        """Until the grid was read once: what was not asked yet is no alarm. Not for longer than a grid may be lost."""
        return math.isinf(view.contact_age_s()) and self._context.clock.monotonic() - self._began < LOST_S

    def standing_by(self) -> bool:
        """Another trader of this lane writes. Raises ``Unavailable`` when it goes on doing so."""
        now = self._context.clock.monotonic()
        try:
            held = self._tenure.held()
        except MissingDependency:
            return False
        if held:
            self._alone_since = math.nan
            return False
        self._alone_since = now if math.isnan(self._alone_since) else self._alone_since
        if now - self._alone_since > STAND_BY_S:
            lane = self._context.lane or self._context.settings.paper.names[0]
            raise Unavailable(f"lane {lane} has another trader on this grid; stop it first, or trade the other lane")
        return True

    def ready(self, scanned: Scanned, book: GridOrderBook | None) -> bool:
        """A day's numbers are waited for before its first bar, live by a flat lane only; without them it goes on, and enters nothing."""
        if not isinstance(scanned, ScannedBar) or not self._lane.wants(scanned):
            return True
        if scanned.date == self._lane.date:
            return book is None or self._booked(book, scanned.ts_ms)
        now, missing = self._context.clock.monotonic(), self._gate.missing(scanned.date)
        if not missing or (self._context.replay is None and self._lane.engine.position is not None):
            self._waiting, self._patient = math.nan, self._patient or not missing
            return True
        self._waiting = now if math.isnan(self._waiting) else self._waiting
        if self._patient and now - self._waiting < NUMBERS_S:
            return False
        self._waiting, self._patient = math.nan, False
        return True

    def _booked(self, book: GridOrderBook, ts_ms: int) -> bool:
        """In a replay a bar waits a moment for the books of its close: both are on their way, at many times their usual speed."""
        now = self._context.clock.monotonic()
        if book.heard_ms != self._heard:
            self._heard, self._heard_at = book.heard_ms, now
        return self._context.replay is None or book.heard_ms >= ts_ms or now - self._heard_at > BOOK_S
