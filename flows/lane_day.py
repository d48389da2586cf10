"""A lane's UTC day out of its journals: every bar decided again by the engine, and what is needed to decide it once more elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from dolphin.config import config_hash, load
from dolphin.engine.explain import Explanation, explain_row
from dolphin.engine.records import DayRows
from dolphin.errors import CheckFailed, ConfigError, DataError, MalformedFile
from dolphin.lane.again import Step, steps
from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import SCANNER, ScanLog, ScannedBar
from dolphin.storage.journal import Entry, JournalReader, Kind, Record, journal_path
from dolphin.storage.state import StateFolder
from dolphin.types import LANES
from flows.lane_check import Difference, differences

__all__ = ["LaneDay", "LanePast", "Told", "decide_again", "explain_again", "rows_of"]

ENDS = 10
"""Newest ends of days that are looked through for one to begin with."""


class Told(NamedTuple):
    """A bar that the lane has decided: the scanner's, what the lane was told, and its record."""

    bar: ScannedBar
    assets: tuple[str, ...]
    inputs: Inputs
    record: Record


class LanePast:
    """Both journals of a lane, read-only; a context manager.

    Raises ``ConfigError`` for an unknown lane, ``Unavailable`` when one is not there.
    """

    def __init__(self, state: StateFolder, lane: str) -> None:
        if lane.upper() not in LANES:
            raise ConfigError(f"--lane {lane}: no such lane; one of {', '.join(LANES)}")
        self.state, self.name, self.direction = state, lane.upper(), LANES[lane.upper()]
        self.settings = load(state.settings if state.settings.is_file() else None, os.environ).settings.of_lane(self.name)
        with ExitStack() as undo:
            self.journal = undo.enter_context(JournalReader(journal_path(state.journals, f"trader_{lane.lower()}")))
            self.scanner = undo.enter_context(JournalReader(journal_path(state.journals, SCANNER)))
            self._opened = undo.pop_all()
        first = next(self.journal.records(Kind.BAR), None)
        self.with_book = first is not None and first.payload["told"]["book"] is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    def lane(self) -> Lane:
        """The lane as it began. Raises ``CheckFailed`` when the journal was decided under other engine settings than those of the state."""
        ours = config_hash(self.settings.engine)
        kept = [record for kind in (Kind.SNAPSHOT, Kind.DAY_SNAPSHOT) for record in self.journal.tail(ENDS, kind)]
        theirs = {record.payload.get("config", ours) for record in kept} - {ours}
        if theirs:
            why = f"decided under the engine settings {', '.join(sorted(theirs))}, those of {self.state.settings} are {ours}"
            raise CheckFailed(f"{self.journal.path}: {why}: bring back the settings that the lane ran with")
        return Lane(self.settings.engine, self.direction, with_book=self.with_book)

    def walk(self, lane: Lane, after: int) -> Iterator[Step]:
        """``steps`` of this lane."""
        log = ScanLog(self.state.journals)
        try:
            yield from steps(lane, self.journal, log, after)
        finally:
            log.close()


@dataclass(slots=True)
class LaneDay:
    """The day ``date`` decided again. ``began``: where from, record ``after``; ``first``: the bar with the first difference.

    Differences are ``found`` on the day or ``earlier``, on the way to it. ``start``: the engine's bytes at the last beginning of a day
    with no position open, and ``since``: all bars from there to the day's last one, for a way that begins there. ``trades`` and
    ``result`` are those of the journal.
    """

    date: str
    began: str
    after: int
    bar_seconds: int = 0
    start: bytes = b""
    since: list[Told] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    found: list[Difference] = field(default_factory=list)
    earlier: list[Difference] = field(default_factory=list)
    first: ScannedBar | None = None

    @property
    def bars(self) -> list[Told]:
        """Of the day itself."""
        return [told for told in self.since if told.bar.date == self.date]


def decide_again(past: LanePast, date: str) -> LaneDay:
    """From the newest kept end of a day before ``date``, or from the lane's beginning, to the end of ``date``.

    Raises ``DataError`` when the lane decided nothing on that day.
    """
    for lane, after in _beginnings(past, date):
        day = _decided(past, lane, after, date)
        if day.start:
            break
    if not day.bars:
        first, last = next(past.journal.records(Kind.BAR), None), past.journal.last(Kind.BAR)
        known = f"its days are {first.payload['date']} to {last.payload['date']}" if first and last else "it has decided nothing yet"
        raise DataError(f"lane {past.name} has no bar of {date}; {known}", path=past.journal.path)
    return day


def explain_again(past: LanePast, day: LaneDay) -> Explanation | None:
    """The first bar that differs, laid open as it is decided again; None when none does, or when the engine's path cannot be retraced."""
    if day.first is None:
        return None
    lane = next(lane for lane, after in _beginnings(past, day.date) if after == day.after)
    for step in past.walk(lane, day.after):
        if step.bar is None or step.bar.seq > day.first.seq:
            return None
        if step.bar.seq < day.first.seq:
            lane.take(step.bar, step.inputs)
            continue
        lane.begin(step.bar, step.inputs)
        rows = rows_of([Told(step.bar, lane.assets, step.inputs, step.recorded[-1])])
        with suppress(CheckFailed):  # the differences are told in any case
            return explain_row(lane.engine, rows, 0, ob=lane.book)
        return None
    return None


def rows_of(bars: list[Told]) -> DayRows:
    """Bars of one universe as the engine reads them."""
    scanned = [told.bar for told in bars]
    columns = [np.array([getattr(bar, name) for bar in scanned]) for name in ("vel_div", "v50", "v750")]
    return DayRows(
        bars[0].assets, np.array([bar.closes for bar in scanned]), *columns, np.array([b.ts_ms for b in scanned], dtype=np.int64)
    )


def _beginnings(past: LanePast, date: str) -> Iterator[tuple[Lane, int]]:
    """The lane at the kept ends of days before ``date``, the newest first, at last at its own beginning; and the record there."""
    for record in reversed(past.journal.tail(ENDS, Kind.DAY_SNAPSHOT)):
        if record.payload["done"] < date and record.payload["date"] < date:
            lane = past.lane()
            try:
                lane.restore(record.payload, past.journal.attachment(record.seq))
            except MalformedFile:
                break
            yield lane, record.seq
    yield past.lane(), 0


def _decided(past: LanePast, lane: Lane, after: int, date: str) -> LaneDay:
    day = LaneDay(date, f"the state that the lane kept at the end of {lane.done}" if after else "the lane's beginning", after)
    for step in past.walk(lane, after):
        bar = step.bar
        if bar is not None and not lane.date and lane.engine.position is None and bar.date <= date:
            day.start, day.since = lane.engine.snapshot(), []
        made = [*step.made, *(lane.take(bar, step.inputs) if bar is not None else ())]
        _compare(day, step, made)
        if bar is not None and bar.date > date:
            break
        if bar is not None:
            day.bar_seconds = lane.bar_seconds
            day.since.append(Told(bar, lane.assets, step.inputs, step.recorded[-1]))
    return day


def _compare(day: LaneDay, step: Step, made: Iterable[Entry]) -> None:
    recorded = {(r.kind, _key(r.payload)): r for r in step.recorded}
    again = {(str(e.kind), _key(e.payload)): e for e in made if (str(e.kind)) in _NOUNS}
    for kind, key in {**recorded, **again}:
        record, entry = recorded.get((kind, key)), again.get((kind, key))
        known = (record or entry).payload  # type: ignore[union-attr]
        if record is not None and known["date"] == day.date and kind == Kind.TRADE:
            day.trades.append(record.payload)
        if record is not None and known["date"] == day.date and kind == Kind.DAY_RESULT:
            day.result = record.payload
        sides = record.payload if record is not None else None, entry.payload if entry is not None else None
        _note(day, known["date"], step.bar, differences(_NOUNS[kind], key, (record or entry).ts_ms, *sides))  # type: ignore[union-attr]
    for bar in step.missed:
        _note(day, bar.date, bar, [Difference("bar", str(bar.bar), bar.ts_ms, "", "nothing", "a bar of the scanner")])


def _note(day: LaneDay, date: str, bar: ScannedBar | None, found: Iterable[Difference]) -> None:
    for difference in found:
        (day.found if date == day.date else day.earlier if date < day.date else []).append(difference)
        if date <= day.date and day.first is None:
            day.first = bar


def _key(payload: Any) -> str:
    return str(payload.get("trade_id", payload.get("bar", payload["date"])))


_NOUNS = {str(Kind.BAR): "bar", str(Kind.TRADE): "trade", str(Kind.DAY_RESULT): "day"}
