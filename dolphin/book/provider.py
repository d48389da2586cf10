"""Order-book providers: the same questions asked of a live tracker or of recorded days. See ``dolphin.engine.order_book``.

Per asset nothing older than 5 s is known, and nothing later than the moment asked about. A provider never raises when it is asked:
an asset, a day or a moment that it does not know is None. ``fill_probability`` is that of the order which closes a position of the
provider's lane, a buy for SHORT: the port's question names no side, and the engine credits the fill at the exit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dolphin.book.day import BookDay, check_book_day
from dolphin.book.tracker import BookTracker
from dolphin.errors import ConfigError, QualityError
from dolphin.kernels.book_features import MACRO, is_stale_nb, macro_nb, watch_books_nb
from dolphin.kernels.book_samples import sample_macro_nb, sample_rows_nb
from dolphin.kernels.order_book import NOTHING, Samples, market_multiplier_nb, no_samples
from dolphin.types import BOOK_FEATURES, BOOK_STALE_MS, OB_MACRO, Array, Ints

__all__ = ["BookProvider", "LiveOrderBook", "TableOrderBook"]

_NEVER = -(2**62)
_MA5, _PERSISTENCE, _WITHDRAWAL, _QUALITY, _BUY, _SELL = (
    BOOK_FEATURES.index(name)
    for name in ("imbalance_ma5", "imbalance_persistence", "withdrawal_velocity", "depth_quality", "fill_buy", "fill_sell")
)


class BookProvider(ABC):
    """What every source shares: the answers, given ``_rows`` = the features and snapshot times known at a moment."""

    _live = False

    def __init__(self, direction: int = -1) -> None:
        if direction not in (-1, 1):
            raise ConfigError(f"direction = {direction!r} is neither -1 (SHORT) nor 1 (LONG)")
        self.direction, self._fill = direction, _BUY if direction < 0 else _SELL
        self._fields = np.array([_MA5, _PERSISTENCE, _WITHDRAWAL, _QUALITY, self._fill])
        self._macro_of: tuple[int, Array] | None = None
        self._asked: tuple[dict[str, int], tuple[str, ...], Ints] | None = None

    @abstractmethod
    def _rows(self, ts_ms: int) -> tuple[dict[str, int], Array, Ints] | None:
        """``(place of each asset, float64[n, 11], int64[n])`` as known at ``ts_ms``."""

    def _asset(self, asset: str, ts_ms: int) -> Array | None:
        rows = self._rows(ts_ms)
        j = None if rows is None else rows[0].get(asset)
        if rows is None or j is None or not _fresh(int(rows[2][j]), ts_ms):
            return None
        features: Array = rows[1][j]
        return features

    def get_signal(self, asset: str, ts_ms: int) -> dict[str, float] | None:
        """imbalance_ma5, imbalance_persistence, withdrawal_velocity (NaN = not known yet); None when stale or unknown."""
        f = self._asset(asset, ts_ms)
        if f is None:
            return None
        names = (("imbalance_ma5", _MA5), ("imbalance_persistence", _PERSISTENCE), ("withdrawal_velocity", _WITHDRAWAL))
        return {name: float(f[k]) for name, k in names}

    def get_placement(self, asset: str, ts_ms: int) -> dict[str, float] | None:
        """depth_quality, fill_probability of the lane's closing order; None when stale or unknown."""
        f = self._asset(asset, ts_ms)
        if f is None:
            return None
        return {"depth_quality": float(f[_QUALITY]), "fill_probability": float(f[_BUY if self.direction < 0 else _SELL])}

    def get_macro(self, ts_ms: int) -> dict[str, float] | None:
        """``MACRO`` over the fresh assets (NaN = not known yet); None when there is none."""
        macro = self._macro(ts_ms)
        return dict(zip(MACRO, macro.tolist(), strict=True)) if macro is not None and macro[6] < macro[5] else None

    def get_market_multiplier(self, direction: int, ts_ms: int) -> float | None:
        """OB-3 for a trade in ``direction``; None when the market's imbalance is not known."""
        macro = self._macro(ts_ms)
        if macro is None or not np.isfinite(macro[2]):
            return None
        return market_multiplier_nb(direction * float(macro[2]), float(macro[3]))

    def ob_stale(self, ts_ms: int) -> bool:
        """For the watchdog: true when no asset, or fewer than half of them, has a snapshot of the last 5 s."""
        macro = self._macro(ts_ms)
        return macro is None or bool(is_stale_nb.py_func(macro[5], macro[6]))

    def sensors(self, ts: Ints) -> Array:
        """For the watchdog, at each of ``ts`` int64[n] ms: float64[n, 3] of ``ob_stale`` (0 or 1) and, over fresh assets, the medians of
        depth_quality and of the lane's fill_probability; NaN = not known."""
        out, first = np.empty((len(ts), 3)), np.zeros(1, dtype=np.int64)
        nothing = np.empty((1, 0, len(BOOK_FEATURES))), np.empty((1, 0), dtype=np.int64)
        for i, now in enumerate(ts.tolist()):
            rows = self._rows(now)
            books, taken = nothing if rows is None else (rows[1][None], rows[2][None])
            watch_books_nb(_read_only(books), _read_only(taken), first, ts[i : i + 1], self._fill, out[i : i + 1])
        return out

    def fill_row(self, assets: Sequence[str], direction: int, ts_ms: int, asset_out: Array, macro_out: Array) -> None:
        """All answers of one moment at once, NaN = nothing known: ``asset_out`` float64[n_assets, 5] (``OB_ASSET``), ``macro_out``
        float64[5] (``OB_MACRO``). The same numbers as the questions one by one, a hundred times faster with 400 assets."""
        asset_out[:], macro_out[:] = np.nan, np.nan
        rows, macro = self._rows(ts_ms), self._macro(ts_ms)
        if rows is None or macro is None or not macro[6] < macro[5]:
            return
        multiplier = self.get_market_multiplier(direction, ts_ms)
        macro_out[:4], macro_out[4] = macro[:4], np.nan if multiplier is None else multiplier
        places, features, times = rows
        at = self._columns(places, assets)
        taken = times[at]
        fresh = (at >= 0) & (taken > 0) & (taken <= ts_ms) & (ts_ms - taken <= BOOK_STALE_MS)
        asset_out[fresh] = features[at[fresh]][:, self._fields]

    def _columns(self, places: dict[str, int], assets: Sequence[str]) -> Ints:
        """Place of each asset, -1 = not there."""
        if self._asked is None or self._asked[0] is not places or self._asked[1] != tuple(assets):
            self._asked = (places, tuple(assets), np.array([places.get(name, -1) for name in assets], dtype=np.int64))
        return self._asked[2]

    def _macro(self, ts_ms: int) -> Array | None:
        if self._macro_of is None or self._macro_of[0] != ts_ms or self._live:
            rows = self._rows(ts_ms)
            if rows is None:
                return None
            out = np.empty(len(MACRO))
            macro_nb(rows[1], rows[2], ts_ms, np.empty(len(rows[2])), out)
            self._macro_of = (ts_ms, out)
        return self._macro_of[1]


class LiveOrderBook(BookProvider):
    """Answers from a tracker, as of now. A question about an earlier moment is answered by what was known then or not at all."""

    _live = True

    def __init__(self, tracker: BookTracker, direction: int = -1) -> None:
        super().__init__(direction)
        self._tracker = tracker

    def _rows(self, ts_ms: int) -> tuple[dict[str, int], Array, Ints] | None:
        return self._tracker.place, self._tracker.features, self._tracker.times

    def _asset(self, asset: str, ts_ms: int) -> Array | None:
        """One asset's own record: ``_rows`` copies all of them."""
        j = self._tracker.place.get(asset)
        if j is None or not _fresh(int(self._tracker.state["ts"][j]), ts_ms):
            return None
        features: Array = self._tracker.state["features"][j]
        return features


class TableOrderBook(BookProvider):
    """Answers from recorded days, as of the last sample not later than the moment. Raises ``QualityError`` when made of bad days.

    A backtest reads the days where they lie (``recorded_rows``); beyond them it costs 41 bytes a sample, for the macro values, and a copy
    of features in another order than ``BookDay`` says.
    """

    def __init__(self, days: Sequence[BookDay], direction: int = -1) -> None:
        super().__init__(direction)
        self._days = sorted((_frozen(day) for day in days if len(day.ts) and day.symbols), key=lambda day: day.date)
        for day in self._days:
            check_book_day(day)
        if len({day.date for day in self._days}) < len(self._days):
            raise QualityError("a day of books is given twice")
        self._firsts = [int(day.ts[0]) for day in self._days]
        self._places = [{name: i for i, name in enumerate(day.symbols)} for day in self._days]
        self._found: tuple[int, tuple[dict[str, int], Array, Ints] | None] = (-1, None)
        self._macros: dict[tuple[int, int], tuple[Any, Array]] = {}
        self._watched: dict[int, tuple[Ints, Array]] = {}

    def recorded_rows(self, assets: Sequence[str], direction: int, ts: Ints) -> tuple[Ints, Samples]:
        """Which sample says at each of ``ts`` int64[n] ms exactly what ``fill_row`` would, and the samples of that day, not copied.

        Returns ``(rows, samples)``, ``rows`` int64[n]: a sample's number, ``NOTHING``, or ``ASK`` where no whole sample says it: part of
        it went stale, or it is another recorded day's. The day is that of the latest moment.
        """
        d = bisect_right(self._firsts, int(ts.max())) - 1 if len(ts) else -1
        if d < 0:
            return np.full(len(ts), NOTHING), no_samples(len(assets))
        day, before = self._days[d], int(self._days[d - 1].ts[-1]) if d else _NEVER
        rows = np.empty(len(ts), dtype=np.int64)
        sample_rows_nb(day.ts, day.snapshot_ts, _read_only(ts), before, rows)
        n = len(day.ts)
        done, macro = self._macros.setdefault((d, direction), (np.zeros(n, dtype=np.bool_), np.empty((n, len(OB_MACRO)))))
        features = day.features.swapaxes(0, 1)
        sample_macro_nb(features, day.snapshot_ts, day.ts, direction, rows, done, macro)
        return rows, Samples(features, macro, self._columns(self._places[d], assets), self._fields)

    def sensors(self, ts: Ints) -> Array:
        out = np.empty((len(ts), 3))
        which = np.searchsorted(self._firsts, ts, side="right") - 1
        for d in np.unique(which).tolist():
            mine = which == d
            out[mine] = self._sensors_of(d, ts[mine]) if d >= 0 else (1.0, np.nan, np.nan)
        return out

    def _sensors_of(self, d: int, ts: Ints) -> Array:
        """Of recorded day ``d``; the last answer is kept, for whoever runs the same day again."""
        asked, out = self._watched.get(d, (np.empty(0, dtype=np.int64), np.empty((0, 3))))
        if not np.array_equal(asked, ts):
            day, out = self._days[d], np.empty((len(ts), 3))
            at = np.searchsorted(day.ts, ts, side="right") - 1
            watch_books_nb(day.features, day.snapshot_ts, at, ts, self._fill, out)
            self._watched[d] = (ts, out)
        return out

    def _rows(self, ts_ms: int) -> tuple[dict[str, int], Array, Ints] | None:
        if self._found[0] != ts_ms:
            d = bisect_right(self._firsts, ts_ms) - 1
            rows = None
            if d >= 0:
                day = self._days[d]
                row = int(np.searchsorted(day.ts, ts_ms, side="right")) - 1
                rows = (self._places[d], day.features[row], day.snapshot_ts[row])
            self._found = (ts_ms, rows)
        return self._found[1]


def _frozen(day: BookDay) -> BookDay:
    """Its arrays read-only, the samples of an asset one after another: the kernels are compiled for one kind of arrays."""
    ts, snapshots = (_read_only(np.ascontiguousarray(values, dtype=np.int64)) for values in (day.ts, day.snapshot_ts))
    features = np.ascontiguousarray(day.features.swapaxes(0, 1), dtype=np.float64)
    return replace(day, ts=ts, snapshot_ts=snapshots, features=_read_only(features.swapaxes(0, 1)))


def _read_only(array: Any) -> Any:
    view = array.view()
    view.setflags(write=False)
    return view


def _fresh(taken_ms: int, ts_ms: int) -> bool:
    """Whether a snapshot of ``taken_ms`` (0 = none) is known at ``ts_ms``."""
    return 0 < taken_ms <= ts_ms and ts_ms - taken_ms <= BOOK_STALE_MS
