"""The closes of a lane's day against the trades that the live feed recorded: the same bars, aggregated again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dolphin.lane.scan_log import known
from dolphin.storage.schema import day_start
from dolphin.storage.trade_record import recorded_bars, recorded_days
from dolphin.types import Array
from flows.lane_check import Check, Difference
from flows.lane_day import LanePast
from flows.lane_scans import DayScans

__all__ = ["closes_check"]


def closes_check(past: LanePast, scans: DayScans, date: str) -> Check | None:
    """Every close that the record proves, to the bit; None for a deployment that has no live feed, hence no record.

    A close that the record proves and the journal lacks came too late to be traded on: counted, no difference.
    """
    folder = past.state.feed / "trades"
    if not past.settings.feed.live and not folder.is_dir():
        return None
    if date not in recorded_days(folder):
        return Check("closes", "closes", why_not="closes: no trades of the day are recorded (feed.record)")
    bars = recorded_bars(folder, date, scans.bar_seconds, scans.assets, stale_bars=past.settings.feed.stale_bars)
    rows = (scans.ts_ms - day_start(date)) // (scans.bar_seconds * 1000) - 1
    told, again = scans.closes[scans.before :], bars.closes[rows]
    proven, late = np.isfinite(again), np.isfinite(again) & ~np.isfinite(told)
    compared = int((proven & ~late).sum())
    why_not = "; ".join(text for text in (_unproven(proven), _late(late)) if text)
    return Check.of("closes", "closes", compared, _found(scans, told, again), why_not)


def _found(scans: DayScans, told: Array, again: Array) -> Iterator[Difference]:
    for row, column in np.argwhere(np.isfinite(told) & np.isfinite(again) & (told != again)).tolist():
        record, name = scans.records[row], scans.assets[column]
        yield Difference("close", str(record.payload["bar"]), record.ts_ms, name, known(told[row, column]), known(again[row, column]))


def _unproven(proven: Array) -> str:
    left = int(proven.size - proven.sum())
    return f"closes: {left:,} of {proven.size:,} are not proven by the recorded trades" if left else ""


def _late(late: Array) -> str:
    return f"closes: {int(late.sum()):,} were known too late to be traded on" if late.any() else ""
