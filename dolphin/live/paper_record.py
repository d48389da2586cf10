"""How long a lane has run on paper without a blemish, read from its journal: whole UTC days in a row, the last one yesterday."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dolphin.errors import DataError, Unavailable
from dolphin.storage.journal import JournalReader, Kind, Record

__all__ = ["PaperRecord", "Wanted", "judge_records", "read_paper_record"]

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class PaperRecord:
    """``days`` in a row; ``why``: what was found on the day before them (or in the whole journal)."""

    days: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``days`` before ``today`` (YYYY-MM-DD), of an engine with the settings of hash ``engine``, bars of ``bar_seconds``.

    ``demo``: bars of a demo exchange count too, because it is one that shall be traded on.
    ``parity`` of a date: what the comparison of that day found, empty = every decision equals, None = nobody has compared.
    """

    today: str
    days: int
    engine: str
    bar_seconds: int
    parity: Callable[[str], str | None]
    demo: bool = False


@dataclass(slots=True)
class _Day:
    """One UTC date: close of its newest bar (ms), and the first thing that is wrong with it."""

    reached: int
    blemish: str = ""

    def blame(self, why: str) -> None:
        self.blemish = self.blemish or why


@dataclass(slots=True)
class _Reading:
    """What is known when the next record comes."""

    days: dict[str, _Day] = field(default_factory=dict)
    engine: str = ""
    speed: object = None
    demo: bool = True
    safe_mode: bool = False

    def day(self, date: str) -> _Day:
        return self.days.setdefault(date, _Day(_midnight(date)))


def read_paper_record(path: Path, wanted: Wanted) -> PaperRecord:
    """The record of the journal at ``path``. Its chain is proven first; a journal that is broken or cut has no days."""
    try:
        with JournalReader(path) as journal:
            verdict = journal.verify()
            if not verdict.ok or verdict.absent:
                return PaperRecord(0, verdict.to_text())
            return judge_records(journal.records(), wanted)
    except (DataError, Unavailable) as error:
        return PaperRecord(0, str(error))


def judge_records(records: Iterable[Record], wanted: Wanted) -> PaperRecord:
    """Count clean days back from yesterday.

    A day is whole when a bar closes every ``bar_seconds`` from its first to midnight, once each. A blemish: safe mode, an engine of
    other settings, a replay (the market's time is not ours), bars of a demo exchange, a comparison that found a difference or was not made.
    """
    reading = _Reading()
    for record in records:
        _take(reading, record, wanted)
    yesterday = dt.date.fromisoformat(wanted.today)
    for count in range(wanted.days):
        yesterday -= dt.timedelta(days=1)
        if why := _wrong(reading.days.get(yesterday.isoformat()), yesterday.isoformat(), wanted):
            return PaperRecord(count, f"{yesterday}: {why}")
    return PaperRecord(wanted.days, "")


def _take(reading: _Reading, record: Record, wanted: Wanted) -> None:
    said = record.payload
    if record.kind == Kind.STARTED:
        reading.engine, reading.speed, reading.demo = str(said.get("engine_hash", "")), said.get("speed"), bool(said.get("demo", True))
    elif record.kind == Kind.SAFE_MODE:
        reading.safe_mode = bool(said["engaged"])
        reading.day(_date(record.ts_ms)).blame(f"safe mode ({said['reason']})")
    elif record.kind == Kind.BAR:
        day = reading.day(str(said["date"]))
        if record.ts_ms - day.reached != wanted.bar_seconds * 1000:
            day.blame(f"the bar that closes at {record.ts_ms} follows one at {day.reached}, {wanted.bar_seconds} s were expected")
        day.reached = record.ts_ms
        if reading.safe_mode:
            day.blame("safe mode")
        if reading.engine != wanted.engine:
            day.blame(f"the engine's settings were others ({reading.engine or 'not said'}, now {wanted.engine})")
        if reading.speed != 1.0:
            day.blame("a replay, or a market at another speed: only days of the living market count")
        if reading.demo and not wanted.demo:
            day.blame("the bars were a demo exchange's")


def _wrong(day: _Day | None, date: str, wanted: Wanted) -> str:
    if day is None:
        return "no bar"
    if day.blemish:
        return day.blemish
    if day.reached != _midnight(date) + DAY_MS:
        return "the day is not whole"
    found = wanted.parity(date)
    return "not compared with a backtest: dolphin parity-check" if found is None else found


def _midnight(date: str) -> int:
    return int(dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp() * 1000)


def _date(ts_ms: int) -> str:
    return dt.datetime.fromtimestamp(ts_ms / 1000, dt.UTC).date().isoformat()
