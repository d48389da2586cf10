"""A lane: the engine fed from the scanner's journal, its decisions as records for its own journal. No grid, no clock, no file.

The same bars with the same inputs give the same records; that is how a restart proves that it stands where the journal ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import unwrap
from typing import Any, Final

import msgspec
import numpy as np

from dolphin.config import EngineConfig, config_hash
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import params_record
from dolphin.grid.port import pnl_map
from dolphin.kernels.costs import honest_return_nb
from dolphin.lane.inputs import Inputs, ToldBook, ToldBreaker, ToldForewarner
from dolphin.lane.scan_log import DayEnd, ScannedBar, Universe, known
from dolphin.storage.journal import Entry, Kind
from dolphin.types import BarResult

__all__ = ["SNAPSHOT_BARS", "Lane"]

SNAPSHOT_BARS: Final = 60
"""Bars between two snapshots of the engine; a lane with a position waits until it is flat."""

_honest_return = unwrap(honest_return_nb)


@dataclass(frozen=True, slots=True)
class Mark:
    """Honest equity with the open position marked, USDT, and its peak since the lane began."""

    equity: float
    peak: float

    @property
    def drawdown(self) -> float:
        """``1 - max(equity, 0)/peak``, in [0, 1]."""
        return 1.0 - max(self.equity, 0.0) / self.peak


class Lane:
    """One engine with the layers that it is told about. ``with_book``: the deployment has an order book, all the lane's life."""

    def __init__(self, config: EngineConfig, direction: int, *, with_book: bool) -> None:
        self.direction, self.date = direction, ""
        self.assets: tuple[str, ...] = ()
        self.bar_seconds = 0
        self.seq, self.hash = 0, ""
        """Of the newest record of the scanner that was taken in."""
        self.last_ts, self.bar, self.done = 0, -1, ""
        self.dropped = 0
        """Bars that came again or late, and were not processed."""
        self.boost, self.beta = 1.0, 0.0
        self.mark = Mark(config.start_capital, config.start_capital)
        self.result = BarResult()
        """Decision of the newest bar."""
        self.closed: list[dict[str, Any]] = []
        """Trades that the newest step has closed, those between two bars included."""
        self.day_over = False
        """A day's result was given, and no snapshot since."""
        self._snapped = 0
        self._breaker, self._forewarner = ToldBreaker(), ToldForewarner()
        self.book = ToldBook() if with_book else None
        self._config = config_hash(config)
        self._params = params_record(config).view(np.recarray)[0]
        self.engine = NDAlphaEngine(config)
        self.engine.set_acb(self._breaker)
        self.engine.set_mc_forewarner(self._forewarner, {name: getattr(config, name) for name in config.__struct_fields__})
        self.engine.set_ob_engine(self.book)

    def wants(self, bar: ScannedBar) -> bool:
        """Whether the bar is new: later than the last one, and of no day that is done."""
        return bar.ts_ms > self.last_ts and bar.date > self.done

    def set_universe(self, universe: Universe) -> None:
        """Assets of the bars that follow; a held one stays held."""
        self.engine.set_universe(universe.assets)
        self.assets, self.bar_seconds = universe.assets, universe.bar_seconds
        self._at(universe.seq, universe.hash)

    def take(self, bar: ScannedBar, inputs: Inputs) -> list[Entry]:
        """Process a bar; its records. One that is not wanted is counted and leaves none."""
        if not self.wants(bar):
            return self.drop(bar)
        first = len(self.engine.trades)
        entries = self.begin(bar, inputs)
        before = len(self.engine.trades)
        self.result = result = self.engine.process_row(bar.closes, bar.vel_div, bar.v50, bar.v750, bar.ts_ms)
        self.last_ts, self.bar = bar.ts_ms, bar.bar
        self._mark()
        entries += self._trades(before, bar.ts_ms)
        self.closed = self.engine.trades[first:]
        decision = {"entry": result.entry, "exit": result.exit, "refusals": list(result.refusals)}
        facts = {"date": bar.date, "bar": bar.bar, "vel_div": known(bar.vel_div), "posture": inputs.posture, "boost": self.boost}
        marks = {"beta": self.beta, "equity": self.mark.equity, "peak": self.mark.peak, "told": inputs}
        entries.append(Entry(Kind.BAR, _plain({**facts, **marks, **decision, **self._place()}), bar.ts_ms))
        return entries

    def begin(self, bar: ScannedBar, inputs: Inputs) -> list[Entry]:
        """What comes before a bar's decision: a day that is over is closed (its records), and the engine is told ``inputs``."""
        entries = self._close_day(bar.ts_ms) if self.date and self.date != bar.date else []
        self._at(bar.seq, bar.hash)
        self._tell(bar, inputs)
        return entries

    def drop(self, bar: ScannedBar) -> list[Entry]:
        """Leave a bar out that came again or late: no records."""
        self.dropped += 1
        self._at(bar.seq, bar.hash)
        return []

    def end_day(self, end: DayEnd) -> list[Entry]:
        """Close the day; its records, none when no bar of it was processed."""
        self._at(end.seq, end.hash)
        before = len(self.engine.trades)
        entries = self._close_day(end.ts_ms) if self.date == end.date else []
        self.closed = self.engine.trades[before:]
        return entries

    @property
    def due(self) -> bool:
        """Whether the next moment of rest is one for a snapshot: every 60 bars, and when a day is over."""
        return self.day_over or self.engine.bar_count // SNAPSHOT_BARS > self._snapped

    def snapshot(self, kind: Kind = Kind.SNAPSHOT, venue: Mapping[str, Any] | None = None) -> Entry:
        """Everything, for a restart: the engine's bytes, the lane's own state and that of its ``venue``. That of a day's end is kept for
        days, for a replay.
        """
        if kind == Kind.SNAPSHOT:
            self.day_over, self._snapped = False, self.engine.bar_count // SNAPSHOT_BARS
        own = {"universe": list(self.assets), "bar_seconds": self.bar_seconds, "last_ts": self.last_ts, "done": self.done}
        told = {"boost": self.boost, "beta": self.beta, "equity": self.mark.equity, "peak": self.mark.peak}
        beside = {"venue": dict(venue)} if venue else {}
        payload = {"date": self.date, "bar": self.bar, "config": self._config, **own, **told, **self._place(), **beside}
        return Entry(kind, payload, self.last_ts, attachment=self.engine.snapshot())

    def restore(self, payload: dict[str, Any], data: bytes) -> None:
        """Go on from ``snapshot``. Raises ``MalformedFile`` for damaged bytes, ``ConfigError`` when the engine's settings are others."""
        self.engine = self.engine.restored(data)
        self.day_over, self._snapped = False, self.engine.bar_count // SNAPSHOT_BARS
        self.date, self.assets, self.bar_seconds = payload["date"], tuple(payload["universe"]), payload["bar_seconds"]
        self.last_ts, self.bar, self.done = payload["last_ts"], payload["bar"], payload["done"]
        self.boost, self.beta = payload["boost"], payload["beta"]
        self.mark = Mark(payload["equity"], payload["peak"])
        self._at(payload["scan_seq"], payload["scan_hash"])

    def _tell(self, bar: ScannedBar, inputs: Inputs) -> None:
        """Posture, boost, forewarning and book reach the engine before the bar does; a new day begins with them."""
        if self.book is not None:
            self.book.tell(inputs.book)
        told = (inputs.boost, inputs.beta) if inputs.boost is not None and inputs.beta is not None else None
        if self.date != bar.date:
            self.boost, self.beta = told or (1.0, 0.0)
            self._breaker.boost, self._breaker.beta = self.boost, self.beta
            self._forewarner.tell(inputs)
            self.engine.begin_day(bar.date, self.direction, inputs.posture)
            self.date = bar.date
            return
        self.engine.update_posture(inputs.posture)
        if told is not None and told != (self.boost, self.beta):
            self.boost, self.beta = told
            self.engine.update_acb_boost(*told)

    def _close_day(self, ts_ms: int) -> list[Entry]:
        before = len(self.engine.trades)
        result = self.engine.end_day()
        self.done, self.date, self.day_over = self.date, "", True
        self._mark()
        record = _plain({"schema": "dolphin.day/1", "ts_ms": ts_ms, **result, **self._place()})
        day = Entry(Kind.DAY_RESULT, record, ts_ms, {"grid": f"{pnl_map(self.direction)}/{self.done}"})
        return [*self._trades(before, ts_ms), day, self.snapshot(Kind.DAY_SNAPSHOT)]

    def _trades(self, before: int, ts_ms: int) -> list[Entry]:
        return [Entry(Kind.TRADE, _plain(trade), ts_ms) for trade in self.engine.trades[before:]]

    def _mark(self) -> None:
        """``honest_capital * (1 + r*fraction*leverage)``, r = honest return if the position were closed at its last price."""
        equity, position = self.engine.honest_capital, self.engine.position
        if position is not None:
            paid = _honest_return(self._params, position.direction, position.entry_price, position.last_price, 0, 0.0)
            equity *= 1.0 + paid * position.fraction * position.leverage
        self.mark = Mark(float(equity), max(float(equity), self.mark.peak))

    def _at(self, seq: int, digest: str) -> None:
        self.seq, self.hash = seq, digest

    def _place(self) -> dict[str, Any]:
        return {"scan_seq": self.seq, "scan_hash": self.hash}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON: what is not a number is null."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))
    return plain
