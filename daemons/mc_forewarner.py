"""The MC-forewarner's verdict, published for each market day as soon as the day before is whole, and every 4 hours as a sign of life."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from daemons.acb_processor import slot_of
from daemons.clock import ClockSet
from daemons.process import main
from daemons.service import Context, Service
from dolphin.errors import DataError
from dolphin.forewarner.daily import assess_day, day_before
from dolphin.grid.maps import FEATURES, Forewarning, fields
from dolphin.storage.journal import Kind
from dolphin.storage.schema import date_of
from dolphin.telemetry.alerts import AlertKind, Severity

if TYPE_CHECKING:
    from dolphin.forewarner.forewarner import Forewarner

__all__ = ["McForewarner"]

RETRY_S = 30.0
TABLE_S = 20.0
"""A new day waits so long for the table of the day before, which the scanner ends at the same moment: without it the verdict is RED."""


class McForewarner(Service):
    """Assesses the engine's configuration by the trials of ``paths.forewarner``; without a table it says so and publishes nothing."""

    name: ClassVar[str] = "mc_forewarner"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.every_s = max(0.2, min(5.0, 30.0 / context.clock.speed))
        self._folders = (context.state.days, Path(context.settings.paths.days))
        self._forewarner: Forewarner | None = None
        self._done: tuple[object, ...] | None = None
        self._retry = -math.inf
        self._set = ClockSet(context.clock)
        self._date, self._new_day = "", math.inf

    def start(self) -> None:
        """Fit the models. Raises ``DataError`` for a damaged table, ``ConfigError`` for trials of another configuration."""
        from dolphin.forewarner.forewarner import Forewarner

        last = self.context.journal.last(Kind.MC_FOREWARNER)
        self._date = str(last.payload["date"]) if last is not None else ""
        path, self.status = self.context.settings.paths.forewarner, "no_table"
        if path:
            self._forewarner, self.status = Forewarner.load(path, self.context.settings.engine), "loaded"
        else:
            self.context.alert(AlertKind.STALE_FEED, Severity.WARNING, "mc_forewarner", "no table of trials: nothing will trade")

    def step(self) -> None:
        """Assess when the day, the time or the last complete table is a new one, or the stamp of the last record is wrong by now."""
        now, clock = self.context.clock.market_ms(), self.context.clock
        if self._set.noticed():
            self._done = None
        if self._forewarner is None or clock.monotonic() < self._retry:
            return
        date = date_of(now)
        tables = [path for folder in self._folders if (path := folder / f"{day_before(date)}.parquet").is_file()]
        wanted = (date, slot_of(now), *tables)
        if wanted == self._done or (not tables and self._awaited(date)):
            return
        try:
            self._publish(self._forewarner, date, tables)
            self._done, self.status = wanted, "ok"
            self._date, self._new_day = date, math.inf
        except DataError as error:
            self.status, self._retry = "bad_source", clock.monotonic() + RETRY_S
            self.context.alert(AlertKind.STALE_FEED, Severity.WARNING, "mc_forewarner", f"{error}; the last verdict goes on and ages")

    def _awaited(self, date: str) -> bool:
        """Whether a day has begun since the last verdict, and not long ago."""
        now = self.context.clock.monotonic()
        self._new_day = min(self._new_day, now)
        return bool(self._date) and date != self._date and now - self._new_day < TABLE_S

    def _publish(self, forewarner: Forewarner, date: str, tables: list[Path]) -> None:
        report, wall = assess_day(forewarner, self.context.settings.engine, date, tables), self.context.clock.wall_ms()
        for caution in report.cautions:
            self.context.log.warning("%s", caution)
        values = {
            "status": report.mc_status,
            "catastrophic_probability": report.catastrophic_probability,
            "envelope_score": report.envelope_score if math.isfinite(report.envelope_score) else None,
            "date": date,
            "model_hash": forewarner.table.plan.digest[:16],
            "ts_ms": wall,
        }
        record = msgspec.convert(values | {"schema": "dolphin.forewarner/1"}, Forewarning)
        self.context.outbox.send(Kind.MC_FOREWARNER, fields(record), wall, FEATURES, "mc_forewarner")


if __name__ == "__main__":
    main(McForewarner)
