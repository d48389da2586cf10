"""Boost and beta of the circuit breaker: at 00:00:30 and 08:00 UTC, on each new batch of indicators, every 4 hours as a sign of life."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Final

from daemons.clock import ClockSet
from daemons.indicators import GridBook, Indicators
from daemons.process import main
from daemons.service import Context, Service
from daemons.tenure import Tenure
from dolphin.errors import DataError, Fenced
from dolphin.grid.maps import FEATURES, AcbBoost, fields
from dolphin.storage.journal import Kind
from dolphin.storage.parquet import preload
from dolphin.storage.schema import DAY_MS, date_of
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["AcbProcessor", "slot_of"]

TIMES_MS: Final = (30_000, *(hour * 3_600_000 for hour in (4, 8, 12, 16, 20)))
"""Since midnight UTC, market time. Cat2 of the survival stack counts the age of this record beyond 6 hours."""

RETRY_S: Final = 30.0


class AcbProcessor(Service):
    """Publishes ``acb_boost``; one of several writes, with its fencing number."""

    name: ClassVar[str] = "acb_processor"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.every_s = max(0.2, min(5.0, 30.0 / context.clock.speed))
        self._tenure = Tenure(context, self.name)
        self._set = ClockSet(context.clock)
        paths = context.settings.paths
        self._indicators = Indicators(Path(paths.macro) if paths.macro else None, (context.state.days, Path(paths.days)))
        self._done: tuple[object, ...] | None = None
        self._retry = -math.inf

    def start(self) -> None:
        """Be able to read what the day's evaluation needs."""
        preload()

    def may_publish(self) -> bool:
        """Only the holder of the lock."""
        return self._tenure.fence > 0 and self._tenure.held()

    def step(self) -> None:
        """Evaluate when the time or the batch is a new one, or the stamp of the last record is wrong by now."""
        if not self._tenure.held():
            self._done, self.status = None, "standby"
            return
        now, clock = self.context.clock.market_ms(), self.context.clock
        if self._set.noticed():
            self._done = None
        if clock.monotonic() < self._retry:
            return
        try:
            slot = slot_of(now)
            wanted = (self._tenure.fence, slot, self._indicators.batch(slot[0]))
            if wanted != self._done:
                self._evaluate(now)
                self._done, self.status = wanted, "ok"
        except (DataError, OSError) as error:
            self.status, self._retry = "bad_source", clock.monotonic() + RETRY_S
            self.context.log.error("indicators: %s", error)
            self.context.alert(AlertKind.STALE_FEED, Severity.WARNING, "indicators", f"{error}; the last boost goes on and ages")
        except Fenced as error:
            self._tenure.lost()
            self._retry = clock.monotonic() + RETRY_S
            self.context.alert(AlertKind.HOSTILE_VALUE, Severity.CRITICAL, "fenced", str(error))

    def stop(self) -> None:
        """Give the lock back."""
        self._tenure.release()

    def _evaluate(self, now_ms: int) -> None:
        date, wall = date_of(now_ms), self.context.clock.wall_ms()
        breaker = self._indicators.breaker(date, self.progress)
        book = GridBook(self.context.grid, wall)
        breaker.assets = book.assets
        found = breaker.get_dynamic_boost_for_date(date, book, now_ms)
        for warning in breaker.warnings:
            self.context.log.warning("%s", warning)
        record = AcbBoost(
            boost=found["boost"], beta=min(1.0, found["beta"]), signals=found["signals"],
            factors={name: _known(value) for name, value in found["factors"].items()}, w750_vel=_known(found["w750_vel"]),
            date=date, ts_ms=wall, fence=self._tenure.fence,
        )  # fmt: skip
        self.context.outbox.send(Kind.ACB_BOOST, fields(record), wall, FEATURES, "acb_boost")
        self.context.metrics.acb_boost.set(record.boost)
        self.context.metrics.acb_beta.set(record.beta)


def slot_of(market_ms: int) -> tuple[str, int]:
    """Date and number of the last scheduled time at or before ``market_ms``; before 00:00:30 the day before's last."""
    since = market_ms % DAY_MS
    passed = sum(since >= time for time in TIMES_MS)
    return (date_of(market_ms), passed) if passed else (date_of(market_ms - DAY_MS), len(TIMES_MS))


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    main(AcbProcessor)
