"""What is attached to an engine in a backtest, however it came about, and how a day is run with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dolphin.config import EngineConfig, SurvivalConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.order_book import OrderBookProvider
from dolphin.engine.records import DayRows
from dolphin.engine.schedule import PostureSchedule
from dolphin.engine.watch import BookSensors, RunWatch
from dolphin.errors import ConfigError

if TYPE_CHECKING:
    from dolphin.engine.breaker import AdaptiveCircuitBreaker
    from dolphin.forewarner.forewarner import ForewarnerHistory

__all__ = ["Layers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What is attached to an engine. ``postures``: APEX where nothing else is said; with ``survival`` they are computed from the run."""

    book: OrderBookProvider | None = None
    breaker: AdaptiveCircuitBreaker | None = None
    forewarner: ForewarnerHistory | None = None
    postures: PostureSchedule = field(default_factory=PostureSchedule)
    survival: SurvivalConfig | None = None
    notes: tuple[str, ...] = ()
    """What a date lacked, in words."""
    lacks: tuple[str, ...] = ()
    """Layers that lacked something on some day: macro, book, forewarner."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Where the layers came from, see ``flows.stack``; empty: they cannot be made again."""

    def engine(self, config: EngineConfig) -> NDAlphaEngine:
        """A new engine with the layers attached."""
        engine = NDAlphaEngine(config)
        engine.set_ob_engine(self.book)
        engine.set_acb(self.breaker)
        if self.forewarner is not None:
            engine.set_mc_forewarner(self.forewarner, {name: getattr(config, name) for name in config.__struct_fields__})
        return engine

    def watch(self) -> RunWatch | None:
        """A watchdog for one run, None when the schedule says the postures. Raises ``ConfigError`` for a book that cannot be watched."""
        if self.survival is None:
            return None
        if self.book is not None and not isinstance(self.book, BookSensors):
            raise ConfigError(f"{type(self.book).__name__} has no sensors: postures cannot be computed with this order book")
        return RunWatch(self.survival, self.book)

    def run_day(
        self, engine: NDAlphaEngine, date: str, rows: DayRows, direction: int = -1, watch: RunWatch | None = None
    ) -> dict[str, Any]:
        """A whole day in the postures that ``watch`` (of this run) finds, or in those of the schedule; returns its result."""
        if (watch is None) != (self.survival is None):
            raise ConfigError("a run whose postures are computed needs its own watch, any other run none")
        if watch is not None:
            return watch.run_day(engine, date, rows, direction).result
        posture, changes = self.postures.of_day(date, rows.ts_ms)
        return engine.process_rows(date, rows, direction=direction, posture=posture, changes=changes)

    def replaying(self, postures: PostureSchedule) -> Layers:
        """The same layers in postures that were found before."""
        return replace(self, survival=None, postures=postures)

    def record(self) -> dict[str, Any]:
        """What whoever replays the run needs: sources with their digests, postures as (ts_ms, posture); empty for the engine alone."""
        return {**self.sources, "postures": [list(change) for change in self.postures.changes]} if self.sources else {}

    @property
    def flags(self) -> tuple[str, ...]:
        """What every report has to name."""
        breaker = self.breaker.flags if self.breaker is not None else ()
        seen = ("forewarner_in_sample",) if self.forewarner is not None and self.forewarner.in_sample else ()
        return (*breaker, *seen, *self._posture_flags(), *(f"{name}_missing" for name in self.lacks))

    def _posture_flags(self) -> tuple[str, ...]:
        watch = self.watch()
        if watch is None:
            return ()
        return (*watch.flags, *(("posture_without_forewarner",) if self.forewarner is None else ()), "posture_without_dvol")

    @property
    def acb_mode(self) -> str:
        """Threshold of the breaker, ``off`` without one."""
        return self.breaker.mode if self.breaker is not None else "off"
