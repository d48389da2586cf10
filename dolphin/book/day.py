"""A recorded day of book features, as arrays: what the recorder makes, the files hold and the providers read.

Samples stand at multiples of ``sample_ms`` in (00:00, 24:00]: the sample at 24:00 belongs to the day that it ends, like the close of the
day's last bar. A sample of an asset is the newest snapshot then known, never a later one and none older than 5 s.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from dolphin.errors import QualityError
from dolphin.types import BOOK_FEATURES, BOOK_STALE_MS, Array, Ints

__all__ = ["DAY_MS", "BookDay", "check_book_day", "day_of", "first_ms"]

DAY_MS = 86_400_000

# lowest, highest, NaN allowed ("not known yet")
_BOUNDS = {
    "imbalance": (-1.0, 1.0, False),
    "imbalance_ma5": (-1.0, 1.0, False),
    "imbalance_persistence": (0.0, 1.0, False),
    "withdrawal_velocity": (-1.0, np.inf, True),
    "depth_quality": (0.0, 3.0, True),
    "spread_bps": (0.0, 20_000.0, False),
    "fill_buy": (0.05, 0.95, False),
    "fill_sell": (0.05, 0.95, False),
    "mid_move_bps": (-10_000.0, np.inf, True),
    "mid": (0.0, np.inf, False),
    "depth": (0.0, np.inf, False),
}


@dataclass(frozen=True, slots=True)
class BookDay:
    """``ts`` int64[n] ms of the samples, ascending; ``snapshot_ts`` int64[n, n_symbols] ms of the snapshot behind each (0 = none);
    ``features`` float64[n, n_symbols, 11] (``BOOK_FEATURES``), all NaN where there is none; ``source``: where the books came from.

    In memory an asset's samples best follow one another (``features`` a view of float64[n_symbols, n, 11], as files are read and synthetic
    days made): the loop reads the asset that it holds, bar after bar, and providers copy what lies otherwise.
    """

    date: str
    sample_ms: int
    symbols: tuple[str, ...]
    ts: Ints
    snapshot_ts: Ints
    features: Array
    source: str = ""


def day_of(ts_ms: int) -> str:
    """Day that a sample belongs to: 24:00 is still the day that it ends."""
    return dt.date.fromordinal(dt.date(1970, 1, 1).toordinal() + (ts_ms - 1) // DAY_MS).isoformat()


def first_ms(date: str) -> int:
    """00:00 of a day. Raises ``QualityError`` when it is no date."""
    try:
        return (dt.date.fromisoformat(date).toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY_MS
    except ValueError as error:
        raise QualityError(f"{date!r} is not a date", hint="YYYY-MM-DD") from error


def check_book_day(day: BookDay, path: object = None) -> None:
    """Refuse a day that breaks a rule of the recording. Raises ``QualityError`` naming file, column and sample."""
    where, start = None if path is None else str(path), first_ms(day.date)
    shape = (len(day.ts), len(day.symbols))
    if day.snapshot_ts.shape != shape or day.features.shape != (*shape, len(BOOK_FEATURES)):
        found = f"snapshot_ts {list(day.snapshot_ts.shape)}, features {list(day.features.shape)}"
        raise QualityError(f"{found}: wanted {shape[0]} samples of {shape[1]} symbols and {len(BOOK_FEATURES)} features", path=where)
    if day.sample_ms <= 0 or DAY_MS % day.sample_ms:
        raise QualityError(f"sample_ms = {day.sample_ms} does not divide a day", path=where)
    _refuse(np.diff(day.ts, prepend=day.ts[:1] - 1) <= 0, "a sample time is repeated or decreases", where, "ts")
    _refuse((day.ts <= start) | (day.ts > start + DAY_MS), f"the sample is not of {day.date}", where, "ts")
    _refuse(day.ts % day.sample_ms != 0, f"the sample is off the grid of {day.sample_ms} ms", where, "ts")
    known = day.snapshot_ts > 0
    _refuse(day.snapshot_ts < 0, "the snapshot's time is negative", where, "snapshot_ts")
    _refuse(known & (day.snapshot_ts > day.ts[:, None]), "the snapshot is later than its sample: a look ahead", where, "snapshot_ts")
    _refuse(known & (day.ts[:, None] - day.snapshot_ts > BOOK_STALE_MS), "the snapshot was stale", where, "snapshot_ts")
    for k, name in enumerate(BOOK_FEATURES):
        low, high, unknown = _BOUNDS[name]
        values = day.features[:, :, k]
        bad = ~((values >= low) & (values <= high) & (values < np.inf)) & ~(unknown & np.isnan(values))
        _refuse(known & bad, f"is not in [{low:g}, {high:g}]", where, name)
        _refuse(~known & ~np.isnan(values), "has a value without a snapshot", where, name)


def _refuse(bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], why: str, path: str | None, column: str) -> None:
    if bad.any():
        raise QualityError(why, path=path, column=column, row=int(np.argwhere(bad)[0, 0]), hint="record the day again")
