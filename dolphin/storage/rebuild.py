"""Cached day against the same day scanned afresh: a stale cache once flattered a result by 2.5 points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dolphin.errors import QualityError
from dolphin.storage.day_record import DayTable

__all__ = ["Difference", "compare_days"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement: row of the cached table (-1: it lacks the row), bar CLOSE in ms (0 unknown), column and both values."""

    row: int
    ts: int
    column: str
    cached: float
    fresh: float


def compare_days(cached: DayTable, fresh: DayTable, tol: float = 1e-10) -> list[Difference]:
    """Rows whose ``vel_div`` is off by more than ``tol`` (or NaN in one only), and rows that one table lacks (column ``timestamp``).

    Rows are matched by timestamp, in a legacy table without them by row index. Raises ``QualityError`` when the dates differ.
    """
    if cached.date != fresh.date:
        raise QualityError(f"compares {cached.date} with {fresh.date}")
    timed = cached.ts is not None and fresh.ts is not None
    here = cached.ts if timed and cached.ts is not None else np.arange(len(cached.closes))
    there = fresh.ts if timed and fresh.ts is not None else np.arange(len(fresh.closes))
    a, b = cached.signals["vel_div"], fresh.signals["vel_div"]
    both, i, j = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    with np.errstate(invalid="ignore"):
        off = np.flatnonzero((np.abs(a[i] - b[j]) > tol) | (np.isnan(a[i]) != np.isnan(b[j])))
    found = [Difference(int(i[k]), int(both[k]) if timed else 0, "vel_div", float(a[i[k]]), float(b[j[k]])) for k in off]
    lost = np.flatnonzero(~np.isin(here, both))
    found += [Difference(int(row), int(here[row]) if timed else 0, "timestamp", float(a[row]), np.nan) for row in lost]
    new = np.flatnonzero(~np.isin(there, both))
    return found + [Difference(-1, int(there[row]) if timed else 0, "timestamp", np.nan, float(b[row])) for row in new]
