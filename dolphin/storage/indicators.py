"""Outside series for the circuit breaker: funding, DVOL (implied volatility), fear and greed, taker ratio, as known at each day's start.

A value counts from the moment it is known (stamp + lag) for 24 hours, and then not at all: a gap stays a gap and is named.

| factor | unit | layouts | lag |
|---|---|---|---|
| ``funding_btc`` | fraction per 8 h; ``percent`` when told | ``ts, symbol, funding_rate``; ``ts, series, value``; ``ts, value`` | 1 min |
| ``dvol_btc`` | points | ``ts, series, value``; ``ts, value`` | 1 day |
| ``fng`` | 0..100 | ``ts, value``; ``ts, series, value`` | 0 |
| ``taker`` | buys / sells | ``ts, symbol, volume, taker_buy_volume``; ``ts, series, value``; ``ts, value`` | 1 day |

``ts``: int64 ms; a CSV may have ``date`` (YYYY-MM-DD) instead. Lags, measured on the shared series against BTC's daily returns: a DVOL
or taker value stamped 00:00 describes the day that begins there (its correlation with that day's move is 0.32 and 0.58), so it is
known a day later; a fear-and-greed value describes the day before its stamp (0.57 against 0.01). Funding stamps come a few ms late, so
a minute keeps sources with and without that jitter alike: at 00:00 the 16:00 rate is the last one known. Hourly funding counts eightfold.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.storage.archive import INDICATORS, SCAN_GLOBAL, read_members, read_scans, scan_path
from dolphin.storage.bounded import unpack
from dolphin.storage.day_record import MAX_SIGNAL
from dolphin.storage.day_table import PARTIAL
from dolphin.storage.funding import read_funding
from dolphin.storage.parquet import Parquet
from dolphin.storage.schema import DAY_MS, date_of, day_start, file_date
from dolphin.types import Array, Ints

__all__ = [
    "LAGS_MS",
    "DailyIndicators",
    "MacroSeries",
    "daily_indicators",
    "first_indicators",
    "read_series",
    "w750_of_archive",
    "w750_of_days",
]

LAGS_MS: Final[Mapping[str, int]] = {"funding_btc": 60_000, "dvol_btc": DAY_MS, "fng": 0, "taker": DAY_MS}
"""How long after its stamp a value is known."""

_SERIES = {"funding_btc": "funding_rate_btc", "dvol_btc": "dvol_btc", "fng": "fng", "taker": "taker_ratio_btc"}
_BOUNDS = {"fraction": (-0.05, 0.05), "percent": (-5.0, 5.0), "dvol_btc": (5.0, 300.0), "fng": (0.0, 100.0), "taker": (0.1, 10.0)}
_MAX_CSV = 64 << 20
_W750 = "v750_lambda_max_velocity"


@dataclass(frozen=True, slots=True)
class MacroSeries:
    """One factor: ``ts`` int64[n] ms ascending, as stamped; ``values`` float64[n] in the factor's unit, all finite; ``lag_ms``: a value
    is known at ``ts + lag_ms``."""

    factor: str
    ts: Ints
    values: Array
    lag_ms: int
    path: Path

    def as_of(self, moments: Ints) -> Array:
        """The newest value known at each moment, NaN when that is 24 h old or more. Depends on ``ts + lag_ms <= moment`` only."""
        known = self.ts + self.lag_ms
        place = np.searchsorted(known, moments, side="right") - 1
        found = np.maximum(place, 0)
        good = (place >= 0) & (moments - known[found] < DAY_MS)
        return np.where(good, self.values[found], np.nan)


@dataclass(frozen=True, slots=True)
class DailyIndicators:
    """``values`` float64[n_days, 4] over ``INDICATORS``, as known at 00:00 UTC of each of ``dates``; NaN = unknown. ``gaps`` names them."""

    dates: tuple[str, ...]
    values: Array
    gaps: tuple[str, ...]

    def by_date(self) -> dict[str, tuple[float, ...]]:
        """As the circuit breaker takes them."""
        return {date: tuple(row) for date, row in zip(self.dates, self.values.tolist(), strict=True)}


def read_series(
    path: Path | str, factor: str, *, unit: str = "fraction", symbol: str = "BTCUSDT", series: str | None = None, lag_ms: int | None = None
) -> MacroSeries:
    """Read one factor from parquet or CSV; which of the layouts above it has is told by its columns.

    ``unit`` of funding: ``fraction`` or ``percent`` (converted). ``symbol``, ``series``: which rows of a file that holds several.
    Raises ``MalformedFile`` or ``SchemaError`` (file), ``QualityError`` (order, range, a unit other than the one told).
    """
    path = Path(path)
    if factor not in INDICATORS:
        raise SchemaError(f"factor {factor!r} is unknown", path=path, hint=f"one of {', '.join(INDICATORS)}")
    if unit not in ("fraction", "percent") or (unit == "percent" and factor != "funding_btc"):
        raise SchemaError(f"unit {unit!r} is no unit of {factor}", path=path, hint="fraction, or percent for funding_btc")
    if lag_ms is not None and lag_ms < 0:
        raise QualityError(f"lag_ms = {lag_ms} would use values before they are known", path=path)
    ts, values, rows = _rows(path, factor, unit, symbol, series or _SERIES[factor])
    if not len(ts):
        raise QualityError(f"has no rows of {factor}", path=path, hint=f"symbol {symbol}, series {series or _SERIES[factor]}")
    _check_times(path, ts, rows)
    scale = _payments_in_eight_hours(ts) if factor == "funding_btc" else np.ones(len(ts))
    _check_unit(path, factor, unit, values, float(np.median(scale[1:])) if len(ts) > 1 else 1.0, rows)
    values = values * scale / (100.0 if unit == "percent" else 1.0)
    known = np.isfinite(values)
    if not known.any():
        raise QualityError("one funding time tells no interval", path=path, column="ts")
    return MacroSeries(factor, ts[known], values[known], LAGS_MS[factor] if lag_ms is None else lag_ms, path)


def daily_indicators(
    sources: Iterable[MacroSeries], dates: Sequence[str], archived: Mapping[str, Sequence[float]] | None = None
) -> DailyIndicators:
    """The factors of each day as known at its start. A factor without a series, or without a value for a day, is NaN and named.

    ``archived``: factors by date that take the place of the series on those days.
    """
    starts = np.array([day_start(date) for date in dates], dtype=np.int64)
    values = np.full((len(dates), len(INDICATORS)), np.nan)
    for source in sources:
        values[:, INDICATORS.index(source.factor)] = source.as_of(starts)
    for row, date in enumerate(dates):
        if archived and date in archived:
            values[row] = archived[date]
    gaps = [text for j, factor in enumerate(INDICATORS) for text in _gaps(factor, dates, np.isnan(values[:, j]))]
    return DailyIndicators(tuple(dates), values, tuple(gaps))


def first_indicators(root: Path | str, date: str, scans: int = 10) -> Array:
    """The day's first ``scans`` indicator rows of the archive, float64[<= scans, 4]; no rows when none were archived."""
    day_start(date)
    folder = Path(root) / "eigenvalues" / date
    numbers = sorted(int(p.name[5:11]) for p in folder.glob("scan_[0-9][0-9][0-9][0-9][0-9][0-9]__Indicators.npz"))[:scans]
    rows = [read_members(scan_path(root, date, n, "Indicators")) for n in numbers]
    return np.array([[row[name] for name in INDICATORS] for row in rows]).reshape(-1, len(INDICATORS))


def w750_of_days(paths: Iterable[Path | str], rows: int | None = None) -> dict[str, float]:
    """Daily median of lambda_vel_w750 from day tables, by date; NaN when no value is finite.

    ``rows``: of the first rows only, which a day in progress also knows; None: of the whole day, which only its end knows.
    """
    return dict(_w750_of_table(Path(path), rows) for path in paths)


def w750_of_archive(root: Path | str, dates: Iterable[str], rows: int | None = None) -> dict[str, float]:
    """The same from the npz archive."""
    column = SCAN_GLOBAL.index("lambda_vel_w750")
    return {date: _median(read_scans(root, date).scan[:rows, column]) for date in dates}


def _w750_of_table(path: Path, rows: int | None) -> tuple[str, float]:
    date = file_date(path, PARTIAL if path.name.endswith(PARTIAL) else ".parquet")
    with Parquet(path) as file:
        file.require((_W750,), {_W750: "float"})
        return date, _median(file.numbers(file.read((_W750,)), _W750)[:rows].astype(np.float64))


def _median(values: Array) -> float:
    known = values[np.abs(values) <= MAX_SIGNAL]
    return float(np.median(known)) if len(known) else math.nan


def _rows(path: Path, factor: str, unit: str, symbol: str, series: str) -> tuple[Ints, Array, Ints]:
    """Times, values and row numbers of the wanted rows, in file order."""
    table = _Csv(path) if path.name.endswith((".csv", ".csv.gz")) else _Table(path)
    names = table.names
    if "funding_rate" in names and factor == "funding_btc":
        if isinstance(table, _Table) and unit == "fraction":
            history = read_funding(path, [symbol])
            return history.ts, history.rates[:, 0], np.arange(len(history.ts))
        return _pick(table, "symbol", symbol, lambda: table.numbers("funding_rate"))
    if "taker_buy_volume" in names and factor == "taker":
        return _pick(table, "symbol", symbol, lambda: _ratio(table.numbers("taker_buy_volume"), table.numbers("volume")))
    if "value" not in names:
        raise SchemaError(f"holds no {factor}", path=path, hint=f"found {', '.join(names[:12])}; a column named value is wanted")
    if "series" in names:
        return _pick(table, "series", series, lambda: table.numbers("value"))
    return _pick(table, "", "", lambda: table.numbers("value"))


def _pick(table: _Csv | _Table, column: str, wanted: str, read: Callable[[], Array]) -> tuple[Ints, Array, Ints]:
    times, values, rows = table.times(), read(), np.arange(table.rows)
    if column in table.names:
        rows = rows[np.array([text == wanted for text in table.texts(column)], dtype=bool)]
    return times[rows], values[rows], rows


def _ratio(buys: Array, total: Array) -> Array:
    """Taker buys over taker sells; a bar without sells has no ratio."""
    sells = total - buys
    return np.where((sells > 0) & (buys >= 0), buys / np.where(sells > 0, sells, 1.0), np.nan)


class _Table:
    """Parquet columns by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Parquet(path) as file:
            self.names, self.rows = file.names, file.rows

    def times(self) -> Ints:
        times: Ints = self._read("ts", "int64")
        return times

    def numbers(self, name: str) -> Array:
        return np.asarray(self._read(name, "number"), dtype=np.float64)

    def texts(self, name: str) -> list[str]:
        with Parquet(self.path) as file:
            file.require((name,), {name: "string"})
            codes, texts = file.texts(file.read((name,)), name)
        return [texts[code] for code in codes.tolist()]

    def _read(self, name: str, kind: str) -> Any:
        with Parquet(self.path) as file:
            file.require((name,), {name: kind})
            return file.numbers(file.read((name,)), name)


class _Csv:
    """CSV columns by name; the first line names them. An empty number is NaN."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MalformedFile("there is no such file", path=path)
        try:
            text = b"".join(member.data for member in unpack(path, _MAX_CSV)).decode("utf-8-sig")
            lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
        except (UnicodeDecodeError, csv.Error) as error:
            raise MalformedFile(f"is no CSV: {error}", path=path) from error
        self.names = tuple(cell.strip().lower() for cell in lines[0]) if lines else ()
        self._lines, self.rows = lines[1:], len(lines) - 1
        for row, cells in enumerate(self._lines):
            if len(cells) != len(self.names):
                raise MalformedFile(f"has {len(cells)} cells, the first line names {len(self.names)}", path=path, row=row)

    def times(self) -> Ints:
        name = "ts" if "ts" in self.names else "date"
        return np.array([self._time(name, row, cell) for row, cell in enumerate(self.texts(name))], dtype=np.int64)

    def numbers(self, name: str) -> Array:
        return np.array([self._number(name, row, cell) for row, cell in enumerate(self.texts(name))], dtype=np.float64)

    def texts(self, name: str) -> list[str]:
        if self.names.count(name) != 1:
            raise SchemaError("the column must be there once", path=self.path, column=name, hint=f"found {', '.join(self.names[:12])}")
        place = self.names.index(name)
        return [cells[place].strip() for cells in self._lines]

    def _time(self, name: str, row: int, cell: str) -> int:
        if name == "date":
            try:
                return day_start(cell)
            except QualityError as error:
                raise QualityError(error.why, path=self.path, column=name, row=row) from error
        if not cell.isascii() or not cell.isdigit() or len(cell) > 15:
            raise QualityError(f"{cell[:40]!r} is no time in ms", path=self.path, column=name, row=row)
        return int(cell)

    def _number(self, name: str, row: int, cell: str) -> float:
        try:
            return float(cell) if cell else math.nan
        except ValueError as error:
            raise QualityError(f"{cell[:40]!r} is no number", path=self.path, column=name, row=row) from error


def _check_times(path: Path, ts: Ints, rows: Ints) -> None:
    odd = (ts < 10**11) | (ts >= 10**14)
    if odd.any():
        at = int(np.argmax(odd))
        raise QualityError(f"{int(ts[at])} is no time in ms", path=path, column="ts", row=int(rows[at]))
    steps = np.diff(ts)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0)) + 1
        why = f"{date_of(int(ts[at]))} repeats or is earlier than the one before"
        raise QualityError(why, path=path, column="ts", row=int(rows[at]), hint="one value a time, ascending")


def _check_unit(path: Path, factor: str, unit: str, values: Array, scale: float, rows: Ints) -> None:
    known = values[~np.isnan(values)]
    if not len(known):
        raise QualityError(f"no value of {factor} is a number", path=path)
    hint = _unit_hint(factor, unit, known * scale)
    if hint:
        raise QualityError(f"{factor} is in another unit (median {np.median(known):.6g}, largest {known.max():.6g})", path=path, hint=hint)
    low, high = _BOUNDS[unit if factor == "funding_btc" else factor]
    bad = ~np.isnan(values) & ~((values >= low) & (values <= high))
    if bad.any():
        at = int(np.argmax(bad))
        raise QualityError(f"{values[at]:g} is no {factor}: outside {low:g}..{high:g}", path=path, column=factor, row=int(rows[at]))


def _unit_hint(factor: str, unit: str, known: Array) -> str:
    """What the values look like when it is not what was told; funding as 8 h, whose median is 0.0001 for BTC: 0.001 parts the units."""
    if factor == "funding_btc":
        paid = np.abs(known[known != 0])
        typical = float(np.median(paid)) if len(paid) else math.nan
        if unit == "fraction" and typical > 0.001:
            return "that is percent: pass unit='percent'"
        return "those are fractions: pass unit='fraction'" if unit == "percent" and typical < 0.001 else ""
    top = float(known.max())
    if factor == "dvol_btc":
        return "those are fractions: multiply by 100" if top < _BOUNDS["dvol_btc"][0] else ""
    if factor == "fng":
        return "those are fractions: multiply by 100" if top <= 1.0 else ""
    if float(np.median(known)) > _BOUNDS["taker"][1]:
        return "that is percent: divide by 100"
    return "that is the buyers' share s: pass s/(1 - s)" if top < 0.7 else ""


def _payments_in_eight_hours(ts: Ints) -> Array:
    """``8 h / interval``; the interval is the median of the last three steps, in whole hours. The first row has none: NaN."""
    if len(ts) < 2:
        return np.full(len(ts), np.nan)
    steps = np.concatenate(([np.nan] * 3, np.diff(ts).astype(np.float64)))
    recent = np.stack([steps[2:], steps[1:-1], steps[:-2]])
    recent = np.where(np.isnan(recent), recent[0], recent)
    hours: Array = np.maximum(np.round(np.median(recent, axis=0) / 3_600_000), 1.0)
    return 8.0 / hours


def _gaps(factor: str, dates: Sequence[str], missing: Any) -> list[str]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], missing.astype(np.int8), [0]))))
    return [f"{factor}: no value for {_span(dates[a:b])}" for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def _span(dates: Sequence[str]) -> str:
    return dates[0] if len(dates) == 1 else f"{dates[0]}..{dates[-1]} ({len(dates)} days)"
