"""What is stored of a scanned day: its table for the engine, its scans for the archive. One form for `data scan` and the scanner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dolphin.storage.archive import ScanDay
from dolphin.storage.day_table import DayMetadata, DayTable, Source
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.storage.schema import DAY_MS, SHARES, SIGNALS
from dolphin.types import Array, ScanBatch

__all__ = ["archived_day", "batch_rows", "days_before", "scanned_table"]


def days_before(store: KlineStore, date: str, rows: int) -> list[str]:
    """The last days before ``date`` that hold ``rows`` rows together, ascending; all there are when they hold fewer."""
    days: list[str] = []
    earlier = [day for day in store.dates() if day < date]
    while earlier and rows > 0:
        days.insert(0, earlier.pop())
        rows -= len(store.load(days[0]).ts)
    return days


def batch_rows(batch: ScanBatch, start: int, end: int) -> ScanBatch:
    """Rows ``start`` to ``end`` of a batch; nothing is copied."""
    rows = slice(start, end)
    signals = batch.vel_div[rows], batch.lambda_max[rows], batch.velocity[rows], batch.instability[rows]
    return ScanBatch(*signals, batch.n_participants[rows], batch.path)


def scanned_table(day: KlineDay, batch: ScanBatch, settings_hash: str) -> DayTable:
    """The day table of ``day``, or of its first rows when ``batch`` has fewer (a day in progress)."""
    rows = len(batch.vel_div)
    values = [batch.vel_div, *batch.velocity.T, *batch.instability.T]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(batch.n_participants > 0, batch.lambda_max / batch.n_participants, np.nan)
    signals: dict[str, Array] = _columns(SIGNALS, values) | _columns(SHARES, list(shares.T))
    return DayTable(
        date=day.date,
        bar_seconds=day.bar_seconds,
        ts=day.ts[:rows] + day.bar_seconds * 1000,
        signals=signals,
        assets=day.symbols,
        closes=day.closes[:rows],
        metadata=DayMetadata(batch.path, settings_hash, (Source(str(day.path), day.sha256),)),
    )


def archived_day(day: KlineDay, batch: ScanBatch, start: int = 0) -> ScanDay:
    """The scans of ``batch`` for the archive: rows of ``day`` from ``start`` on, numbered by their bar of the day."""
    bar_ms = day.bar_seconds * 1000
    ts = day.ts[start : start + len(batch.vel_div)]
    values = np.column_stack([batch.lambda_max, batch.velocity, batch.instability])
    return ScanDay(day.date, ts % DAY_MS // bar_ms, ts + bar_ms, values)


def _columns(names: Sequence[str], values: Sequence[Array]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(column) for name, column in zip(names, values, strict=True)}
