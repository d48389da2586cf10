"""What a lane tells the grid: its equity on every bar, its day results by the outbox. A grid that is away never holds the lane up."""

from __future__ import annotations

import math
from typing import Final

from daemons.service import Context
from dolphin.errors import MissingDependency
from dolphin.grid.maps import FEATURES, LaneState, fields
from dolphin.lane.lane import Lane
from dolphin.lane.venue import VenueFacts

__all__ = ["LanePublisher"]

AGAIN_S: Final = 30.0
"""Without a bar the state is published again after so many seconds."""
RETRY_S: Final = 5.0


class LanePublisher:
    """Publishes the state of lane BLUE or GREEN when it has changed, or is due again."""

    def __init__(self, context: Context, lane: str) -> None:
        self._context, self._key = context, f"lane_{lane}"
        self._told: tuple[int, str] | None = None
        self._again, self._retry = math.inf, -math.inf

    def forget(self) -> None:
        """The grid has lost what it was told."""
        self._told = None

    def publish(self, lane: Lane, venue: VenueFacts) -> None:
        """Put the state after the newest bar, and what is due of the day results."""
        now, state = self._context.clock.monotonic(), (lane.last_ts, lane.done)
        if not lane.last_ts or now < self._retry or (state == self._told and now < self._again):
            return
        date, mark = lane.date or lane.done, lane.mark
        record = LaneState(
            ts_ms=self._context.clock.wall_ms(), equity=mark.equity, peak=mark.peak, date=date, bar=lane.bar,
            account=venue.account, position=venue.position, last_fill=venue.last_fill,
        )  # fmt: skip
        try:
            if self._told is None or self._told[1] != lane.done:
                self._context.outbox.flush()
            self._context.grid.put(FEATURES, self._key, fields(record))
        except MissingDependency as error:
            self._told, self._retry = None, now + RETRY_S
            self._context.log.warning("the lane's state waits for the grid: %s", error)
            return
        self._told, self._again = state, now + AGAIN_S
