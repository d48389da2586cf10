"""A day of scans in memory, and its laws.

``timestamp`` is the bar CLOSE: a row belongs to the day in which its bar OPENED, so the last row of a full day closes at 00:00 of
the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dolphin.errors import QualityError, SchemaError
from dolphin.storage.schema import (
    DAY_MS,
    MAX_PRICE,
    MIN_PRICE,
    SHARES,
    SIGNALS,
    SYMBOL,
    bar_spacing,
    checked_bar_seconds,
    clock,
    date_of,
    day_start,
)
from dolphin.types import Array, Ints

__all__ = ["MAX_SIGNAL", "DayMetadata", "DayTable", "Source", "check_times", "clean", "refuse_bad"]

MAX_SIGNAL = 1e4
"""No velocity or share can be larger: a share is at least 1/n, so a step multiplies it by n at most."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a table was made of, and the sha256 of its bytes."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class DayMetadata:
    """Where a table comes from: scanner path (``"stream"``, ``"blocked"``, ``""`` = unknown), settings hash, sources."""

    path: str = ""
    settings_hash: str = ""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class DayTable:
    """One UTC day as the engine reads it; T rows, N assets.

    ``ts``: int64[T] bar CLOSE in ms, ascending; None in a legacy file (the row index stands in). ``bar_seconds``: 0 = unknown.
    ``signals``: float64[T] by name, NaN = no signal; holds ``SIGNALS`` and perhaps ``SHARES``.
    ``closes``: float64[T, N] C-order over ``assets``, NaN = no price; every other value is a price.
    ``complete``: its writer finished the day. ``warnings``: what was ignored, quarantined or is missing.
    """

    date: str
    bar_seconds: int
    ts: Ints | None
    signals: Mapping[str, Array]
    assets: tuple[str, ...]
    closes: Array
    scan_number: Ints | None = None
    metadata: DayMetadata = field(default_factory=DayMetadata)
    complete: bool = True
    warnings: tuple[str, ...] = ()


def check_times(ts: Ints, date: str, bar_seconds: int, path: Path) -> int:
    """Refuse timestamps that are not one ascending day of ``bar_seconds`` bars (0 = tell from the rows); return ``bar_seconds``."""
    steps = np.diff(ts)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        why = "repeats the one before" if steps[row - 1] == 0 else "is earlier than the one before"
        raise QualityError(f"the timestamp {int(ts[row])} {why}", path=path, column="timestamp", row=row, hint="scan the day again")
    start = day_start(date)
    if ts[0] < start or ts[-1] > start + DAY_MS:
        row = 0 if ts[0] < start else int(np.argmax(ts > start + DAY_MS))
        day = date_of(int(ts[row])) if 0 <= ts[row] < 2**47 else "no plausible time in ms"
        raise QualityError(f"{int(ts[row])} ({day}) is not in the day of the file's name", path=path, column="timestamp", row=row)
    if not bar_seconds and len(ts) == 1:
        return 0
    bar_seconds = bar_seconds or checked_bar_seconds(bar_spacing(ts), path)
    off = (ts - start) % (bar_seconds * 1000) != 0
    off[0] |= ts[0] == start
    if off.any() or (len(ts) > 2 and (steps >= 2000 * bar_seconds).all()):
        row = int(np.argmax(off)) if off.any() else 1
        why = f"the row spacing ({clock(int(ts[row]))}) disagrees with bar_seconds = {bar_seconds}"
        raise QualityError(why, path=path, column="timestamp", row=row)
    return bar_seconds


def clean(table: DayTable, path: Path) -> DayTable:
    """Quarantine impossible prices and signals in place (each becomes NaN); the warnings count them and name the first."""
    warnings = []
    for count, column, row, value in _impossible(table):
        what = "price" if column in table.assets else "signal"
        place = f"{path}: column {column}, row {row}: {value}"
        warnings.append(f"{place} is no {what} ({count} such value{'s' if count > 1 else ''} in the column read as NaN)")
    for name, values in table.signals.items():
        values[~_sane(name, values)] = np.nan
    if any("is no price" in w for w in warnings):
        with np.errstate(invalid="ignore"):
            table.closes[~((table.closes > MIN_PRICE) & (table.closes < MAX_PRICE))] = np.nan
    return replace(table, warnings=(*table.warnings, *warnings))


def refuse_bad(table: DayTable, path: Path) -> None:
    """Refuse to write what ``clean`` would have to mend, and what does not fit together."""
    rows = len(table.closes)
    if not table.assets or not rows:
        raise SchemaError("a day table needs at least one asset and one row", path=path)
    if table.closes.shape != (rows, len(table.assets)) or table.closes.dtype != np.float64:
        why = f"closes are {table.closes.dtype}{list(table.closes.shape)}, wanted float64{[rows, len(table.assets)]}"
        raise SchemaError(why, path=path)
    for name in table.assets:
        if not SYMBOL.fullmatch(name) or table.assets.count(name) > 1:
            raise SchemaError("is not an asset name, or comes twice", path=path, column=name)
    for name in SIGNALS:
        if name not in table.signals:
            raise SchemaError("the signal is missing", path=path, column=name)
    for name, values in table.signals.items():
        if name not in (*SIGNALS, *SHARES) or values.dtype != np.float64 or values.shape != (rows,):
            raise SchemaError(f"is no signal float64[{rows}]", path=path, column=name)
    if table.ts is None or table.ts.dtype != np.int64 or table.ts.shape != (rows,):
        raise SchemaError(f"must be int64[{rows}]", path=path, column="timestamp")
    if table.scan_number is not None and (table.scan_number.dtype != np.int64 or table.scan_number.shape != (rows,)):
        raise SchemaError(f"must be int64[{rows}]", path=path, column="scan_number")
    check_times(table.ts, table.date, checked_bar_seconds(table.bar_seconds, path), path)
    for _, column, row, value in _impossible(table):
        raise QualityError(f"{value} cannot be written", path=path, column=column, row=row, hint="NaN means no price, no signal")


def _impossible(table: DayTable) -> list[tuple[int, str, int, float]]:
    found = []
    for name, values in table.signals.items():
        bad = ~_sane(name, values)
        if bad.any():
            found.append((int(bad.sum()), name, int(np.argmax(bad)), float(values[np.argmax(bad)])))
    count = np.zeros(len(table.assets), dtype=np.int64)
    first = np.zeros(len(table.assets), dtype=np.int64)
    for start in range(0, len(table.closes), _ROWS):
        some = table.closes[start : start + _ROWS]
        bad = ~((some > MIN_PRICE) & (some < MAX_PRICE) | np.isnan(some))
        if bad.any():
            first = np.where((count == 0) & bad.any(axis=0), start + bad.argmax(axis=0), first)
            count += bad.sum(axis=0)
    for n in np.flatnonzero(count).tolist():
        found.append((int(count[n]), table.assets[n], int(first[n]), float(table.closes[first[n], n])))
    return found


def _sane(name: str, values: Array) -> npt.NDArray[np.bool_]:
    low = 0.0 if name in SHARES else -MAX_SIGNAL
    return np.isnan(values) | ((values >= low) & (values <= MAX_SIGNAL))


_ROWS = 512
