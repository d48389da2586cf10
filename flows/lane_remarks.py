"""What was not ordinary about a lane's day: holes, restarts, doubts, safe mode, releases. Named whether or not anything differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from dolphin.storage.journal import Kind, Record
from dolphin.storage.schema import DAY_MS, day_start, gaps_of
from dolphin.types import Posture
from flows.lane_day import LaneDay, LanePast
from flows.lane_scans import DayScans

__all__ = ["remarks"]

TOLD: Final = {
    Kind.STARTED: "the trader was started",
    Kind.STOPPED: "the trader was stopped: {reason}",
    Kind.RECOVERED: "the trader came back: {reason}",
}
FEW: Final = 3


def remarks(past: LanePast, day: LaneDay, scans: DayScans) -> Iterator[str]:
    """One sentence each, in the order in which an operator would ask."""
    yield from _holes(day, scans)
    undecided = len(scans.records) - len(day.bars)
    first = next(past.journal.records(Kind.BAR), None)
    if first is not None and first.seq == day.bars[0].record.seq and day.bars[0].bar.seq > scans.records[0].seq:
        yield f"the lane began in the middle of the day, with the bar that closed at {_clock(first.ts_ms)}"
    elif undecided:
        yield f"{undecided:,} bars of the scanner were not decided by the lane (it stands at {_clock(day.bars[-1].bar.ts_ms)})"
    if day.result is None:
        yield "the day is still open: it has no result yet"
    held = next((trade["asset"] for trade in day.trades if trade["entry_ts"] <= day_start(day.date)), "")
    if held:
        yield f"the day began with {held} held since the day before"
    yield from _lives(past, day)
    yield from _doubts(day)


def _holes(day: LaneDay, scans: DayScans) -> Iterator[str]:
    start, bar_ms = day_start(day.date), day.bar_seconds * 1000
    gaps = gaps_of(scans.ts_ms - bar_ms, start, start + DAY_MS, bar_ms)
    if gaps:
        missing = DAY_MS // bar_ms - len(scans.records)
        spans = [f"{_clock(gap.first_ms)} to {_clock(gap.last_ms + bar_ms)}" for gap in gaps]
        yield f"the day is not complete: {missing:,} of {DAY_MS // bar_ms:,} bars are not in the scanner's journal ({_few(spans)})"
    blind = sum(1 for told in day.bars if told.record.payload["vel_div"] is None)
    if blind:
        yield f"{blind:,} bars without a signal"


def _lives(past: LanePast, day: LaneDay) -> Iterator[str]:
    first, last = day.bars[0].record.seq, day.bars[-1].record.seq
    lives: Counter[str] = Counter()
    for record in past.journal.records(after=first):
        if record.seq > last:
            break
        if record.kind == Kind.SAFE_MODE:
            yield _safe_mode(record)
        elif record.kind in TOLD:
            lives[TOLD[Kind(record.kind)].format(**record.payload)] += 1
    for text, times in lives.items():
        yield text + (f" ({times} times)" if times > 1 else "")


def _safe_mode(record: Record) -> str:
    if record.payload["engaged"]:
        return f"safe mode from here on: {record.payload['reason']}"
    return f"safe mode was released by the {record.payload['by']}"


def _doubts(day: LaneDay) -> Iterator[str]:
    blocks = Counter(block for told in day.bars for block in told.inputs.blocks)
    if blocks:
        named = ", ".join(f"{name} on {times:,}" for name, times in blocks.most_common())
        yield f"nothing was entered in doubt: {named} of {len(day.bars):,} bars"
    postures = Counter(str(told.inputs.posture) for told in day.bars)
    if set(postures) != {Posture.APEX.value}:
        yield "postures: " + ", ".join(f"{name} on {times:,} bars" for name, times in postures.most_common())


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:FEW]) + (f" and {len(texts) - FEW} more" if len(texts) > FEW else "")


def _clock(ts_ms: int) -> str:
    return f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%H:%M:%S}"
