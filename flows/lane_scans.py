"""The scanner's bars of a day once more: its scans from the closes that it wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.lane.scan_log import known
from dolphin.scanner.scan import Scanner, rows_needed
from dolphin.scanner.settings import ANCHOR_BARS
from dolphin.storage.journal import Kind, Record
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.storage.replay import read_replay
from dolphin.storage.scanned import days_before
from dolphin.types import Array, Ints, ScanBatch
from flows.lane_check import Check, Difference, differences
from flows.lane_day import LaneDay, LanePast

__all__ = ["DayScans", "scanned_day", "scans_check"]

MOST_ROWS = rows_needed(ANCHOR_BARS - 1)
OTHERS = 2_000
"""Records of other kinds that may lie among those."""
SIGNALS = ("vel_div", "lambda_max", "velocity", "instability", "n_participants")


@dataclass(frozen=True, slots=True)
class DayScans:
    """``records`` of the day; ``before``: rows that came before them, ``closes`` float64[before + day, n_assets] and ``numbers`` of all.

    ``number`` = absolute number of a bar, its opening / its length; ``whole``: there are no rows before these.
    """

    assets: tuple[str, ...]
    bar_seconds: int
    records: tuple[Record, ...]
    before: int
    closes: Array
    numbers: Ints
    whole: bool

    @property
    def ts_ms(self) -> Ints:
        """Closes of the day's bars."""
        return np.array([record.ts_ms for record in self.records], dtype=np.int64)


def scanned_day(past: LanePast, day: LaneDay) -> DayScans:
    """The scanner's records of the day, and as much before it as a scanner needs: its journal's, then the replay's klines."""
    first = day.bars[0].bar.seq
    universes = list(past.scanner.records(Kind.UNIVERSE))
    start = max(0, first - MOST_ROWS - 86_400 // day.bar_seconds - OTHERS)
    records = list(takewhile(lambda r: r.payload["date"] <= day.date, past.scanner.records(Kind.SCAN, after=start)))
    today = tuple(record for record in records if record.payload["date"] == day.date)
    universe = _universe(universes, today[0].seq)
    earlier = [record for record in records if record.payload["date"] < day.date]
    own = [record for record in (*earlier, *today) if _universe(universes, record.seq) == universe]
    assets, bar_ms = tuple(universe), day.bar_seconds * 1000
    closes = np.array([record.payload["closes"] for record in own], dtype=np.float64)
    numbers = np.array([record.ts_ms // bar_ms - 1 for record in own], dtype=np.int64)
    whole = False
    if len(own) - len(today) < MOST_ROWS and start == 0 and own[0].seq == records[0].seq:
        replayed, whole = _replayed(past, str(own[0].payload["date"]), assets)
        for old in replayed:
            closes, numbers = np.vstack([old.closes, closes]), np.concatenate([old.ts // bar_ms, numbers])
    kept = tuple(record for record in own if record.payload["date"] == day.date)
    return DayScans(assets, day.bar_seconds, kept, len(closes) - len(kept), closes, numbers, whole)


def scans_check(scans: DayScans) -> Check:
    """Everything that a scan says, bit for bit. Rows whose windows began before all that is known are not compared."""
    batch = Scanner(len(scans.assets)).scan(scans.closes, scans.numbers)
    places = [scans.before + k for k in range(len(scans.records))]
    sure = [scans.whole or place >= rows_needed(int(scans.numbers[place])) for place in places]
    left = sure.count(False)
    why_not = f"{left:,} bars: their windows began with bars that are not in the journal" if left else ""
    return Check.of("scans", "bars", len(sure) - left, _found(scans, batch, sure), why_not)


def _found(scans: DayScans, batch: ScanBatch, sure: list[bool]) -> Iterator[Difference]:
    for k, record in enumerate(scans.records):
        if sure[k]:
            again = {name: _listed(getattr(batch, name)[scans.before + k]) for name in SIGNALS}
            yield from differences("scan", str(record.payload["bar"]), record.ts_ms, record.payload, again)


def _listed(value: Any) -> Any:
    values = value.tolist()
    return [known(each) if isinstance(each, float) else each for each in values] if isinstance(values, list) else known(values)


def _universe(universes: list[Record], seq: int) -> list[str]:
    return next(list(record.payload["assets"]) for record in reversed(universes) if record.seq < seq)


def _replayed(past: LanePast, date: str, assets: tuple[str, ...]) -> tuple[list[KlineDay], bool]:
    """Days before ``date`` that a replay's scanner was warmed up with, newest first (none of another universe); whether those are all."""
    replay = read_replay(past.state.replay)
    if replay is None or not Path(replay.folder).is_dir():
        return [], False
    store = KlineStore(replay.folder)
    if store.symbols() != assets:
        return [], False
    days: list[KlineDay] = []
    names = days_before(store, date, MOST_ROWS + 86_400 // store.bar_seconds)
    for name in names:
        days.append(store.load(name, assets, days[-1] if days else None))
    return days[::-1], names[:1] == [day for day in store.dates() if day < date][:1]
