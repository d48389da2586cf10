"""Klines of a folder, one parquet file a UTC day, as blocks ``[bars, assets]`` for the scanner.

``KlineStore(folder).load("2021-04-02").closes`` is float64[T, N]: one row for every bar that at least one symbol has, ascending
by bar OPEN, one column a symbol, NaN = no price. Gaps are named and never filled. What is refused and what is quarantined is
written down in ``dolphin.storage.checks``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import QualityError, SchemaError
from dolphin.storage.checks import JUMP_BARS, Finding, QualityReport, bad_bars, findings_of, report_of, withhold_jumps
from dolphin.storage.kline_file import KlineRows, read_rows, read_symbols, read_times, write_rows
from dolphin.storage.parquet import release_memory
from dolphin.storage.publish import publish, sha256_file
from dolphin.storage.schema import DAY_MS, SYMBOL, bar_spacing, checked_bar_seconds, clock, date_of, day_start, gaps_of, is_date
from dolphin.types import Array, Ints

__all__ = ["KlineBars", "KlineDay", "KlineStore", "write_klines"]

_MANY = 1_000_000
_REGULAR = 10
_SORT = "`dolphin data import` sorts it"


@dataclass(frozen=True, slots=True)
class KlineDay:
    """Closes of one UTC day: ``ts`` int64[T] bar OPEN (ms), ``closes`` float64[T, N] C-order over ``symbols``, NaN = no price."""

    date: str
    bar_seconds: int
    ts: Ints
    symbols: tuple[str, ...]
    closes: Array
    path: Path
    sha256: str
    quality: QualityReport


@dataclass(frozen=True, slots=True)
class KlineBars:
    """Whole bars of one UTC day, each block float64[T, N]; where ``closes`` is NaN there is no bar."""

    date: str
    bar_seconds: int
    ts: Ints
    symbols: tuple[str, ...]
    opens: Array
    highs: Array
    lows: Array
    closes: Array
    volumes: Array


class KlineStore:
    """A folder of ``YYYY-MM-DD.parquet`` kline files; other names are not looked at."""

    def __init__(self, folder: Path | str, bar_seconds: int | None = None) -> None:
        """``bar_seconds`` overrules what the first file says or shows. Raises ``QualityError`` when there is no day file."""
        self.folder = Path(folder)
        self._dates = tuple(sorted(p.stem for p in self.folder.glob("*.parquet") if is_date(p.stem)))
        if not self._dates:
            why = "there is no YYYY-MM-DD.parquet in the folder" if self.folder.is_dir() else "there is no such folder"
            raise QualityError(why, path=self.folder, hint="`dolphin data import` makes one")
        self._bar_seconds = 0 if bar_seconds is None else checked_bar_seconds(bar_seconds)

    def dates(self) -> tuple[str, ...]:
        """Days present, ascending."""
        return self._dates

    def path(self, date: str) -> Path:
        """File of a day."""
        return self.folder / f"{date}.parquet"

    def symbols(self) -> tuple[str, ...]:
        """Symbols that can be assets, of all days, sorted."""
        return tuple(sorted({s for date in self._dates for s in read_symbols(self.path(date)) if SYMBOL.fullmatch(s)}))

    @property
    def bar_seconds(self) -> int:
        """Bar interval of the folder: the first file's metadata, otherwise its commonest step."""
        if not self._bar_seconds:
            path = self.path(self._dates[0])
            known, times = read_times(path)
            if not known and bar_spacing(times) == 0:
                raise QualityError("the bar interval cannot be told from it", path=path, column="ts", hint="pass bar_seconds")
            self._bar_seconds = known or checked_bar_seconds(bar_spacing(times), path)
        return self._bar_seconds

    def load(self, date: str, symbols: Sequence[str] | None = None, before: KlineDay | None = None) -> KlineDay:
        """The day's closes.

        ``symbols``: columns in this order (one that the day lacks is all NaN); default: those of the file, sorted.
        ``before``: the day before, so that a jump on the first bars is seen; ``days`` passes it along.
        Raises ``MalformedFile``, ``SchemaError`` or ``QualityError`` naming file, column and row.
        """
        day = self._load(date, symbols, before, volume=False)[0]
        if day.closes.size > _MANY:
            release_memory()
        return day

    def load_ohlc(self, date: str, symbols: Sequence[str] | None = None, before: KlineDay | None = None) -> KlineBars:
        """The same day as whole bars; a bar without an accepted close is NaN in all five blocks."""
        day, rows, cell = self._load(date, symbols, before, volume=True)
        assert rows.volume is not None
        none = np.isnan(day.closes)
        blocks = []
        for values in (*rows.prices[:3], rows.volume):
            block = _scatter(cell, values, day.closes.shape)
            block[none] = np.nan
            blocks.append(block)
        opens, highs, lows, volumes = blocks
        return KlineBars(day.date, day.bar_seconds, day.ts, day.symbols, opens, highs, lows, day.closes, volumes)

    def days(self, dates: Sequence[str] | None = None, symbols: Sequence[str] | None = None) -> Iterator[KlineDay]:
        """Load days in order, each seeing the one before it."""
        before: KlineDay | None = None
        for date in self._dates if dates is None else dates:
            before = self.load(date, symbols, before)
            yield before

    def _load(
        self, date: str, symbols: Sequence[str] | None, before: KlineDay | None, *, volume: bool
    ) -> tuple[KlineDay, KlineRows, npt.NDArray[np.int32]]:
        path = self.path(date)
        rows = read_rows(path, volume=volume)
        _check_day(rows, day_start(date))
        bar_seconds = self._agreed_bar_seconds(rows)
        grid = _Grid(rows, day_start(date), bar_seconds * 1000, symbols)
        bad, counts, findings = bad_bars(rows.prices, path)
        closes = _scatter(grid.cell, rows.prices[3], grid.shape)
        closes.reshape(-1)[grid.cell[bad & (grid.cell >= 0)]] = np.nan
        jumps = self._withhold(closes, grid, before)
        findings += findings_of("jump", path, ((grid.row_of(t, n), "close", value) for t, n, value in jumps[:10]))
        counts = [*counts, ("jump", len(jumps)), *grid.counts]
        absent = closes.size - grid.rows_used
        gaps = gaps_of(grid.ts, day_start(date), day_start(date) + DAY_MS, bar_seconds * 1000)
        quality = report_of(
            bars=len(grid.ts), rows=len(rows.ts), absent=absent, counts=counts, examples=[*findings, *grid.findings], gaps=gaps
        )
        day = KlineDay(date, bar_seconds, grid.ts, grid.symbols, closes, path, sha256_file(path), quality)
        return day, rows, grid.cell

    def _agreed_bar_seconds(self, rows: KlineRows) -> int:
        found = rows.bar_seconds or self.bar_seconds
        if found != self.bar_seconds:
            why = f"bar_seconds = {found}, the folder has {self.bar_seconds}"
            raise QualityError(why, path=rows.path, hint="keep one bar interval a folder")
        return found

    def _withhold(self, closes: Array, grid: _Grid, before: KlineDay | None) -> list[tuple[int, int, float]]:
        if before is None:
            return withhold_jumps(closes, grid.bars)
        earlier = (before.ts[-JUMP_BARS:] - grid.start) // grid.bar_ms
        place = {symbol: i for i, symbol in enumerate(before.symbols)}
        head = np.full((len(earlier), closes.shape[1]), np.nan)
        for column, symbol in enumerate(grid.symbols):
            if symbol in place:
                head[:, column] = before.closes[-len(earlier) :, place[symbol]]
        joined = np.concatenate((head, closes))
        found = withhold_jumps(joined, np.concatenate((earlier, grid.bars)))
        closes[:] = joined[len(head) :]
        return [(row - len(head), column, value) for row, column, value in found]


def write_klines(folder: Path | str, bars: KlineBars, sources: Sequence[Mapping[str, str]] = ()) -> Path:
    """Publish ``bars`` as ``folder/YYYY-MM-DD.parquet`` and return its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{bars.date}.parquet"
    order = sorted(range(len(bars.symbols)), key=bars.symbols.__getitem__)
    there = np.isfinite(bars.closes[:, order]).T
    column, row = np.nonzero(there)
    used = [n for n in range(len(order)) if there[n].any()]
    code = np.searchsorted(used, column).astype(np.int32)
    pick = (row, np.asarray(order, dtype=np.int64)[column])
    opened, high, low, close, volume = (b[pick] for b in (bars.opens, bars.highs, bars.lows, bars.closes, bars.volumes))
    names = tuple(bars.symbols[order[n]] for n in used)
    rows = KlineRows(path, bars.ts[row], code, names, (opened, high, low, close), volume, checked_bar_seconds(bars.bar_seconds, path))
    if not len(code):
        raise QualityError("no bar has a price", path=path)
    _check_day(rows, day_start(bars.date))
    _bar_numbers(rows, day_start(bars.date), bars.bar_seconds * 1000)
    if wrong := bad_bars(rows.prices, path)[2]:
        raise QualityError(wrong[0].rule, path=path, column=wrong[0].column, row=wrong[0].row)
    with publish(path) as temporary:
        write_rows(temporary, rows, sources)
    return path


class _Grid:
    """Where each row of a file goes: ``cell`` int32[R] = t * N + n in the block [T, N], -1 = nowhere. Refuses bad order and spacing."""

    def __init__(self, rows: KlineRows, start: int, bar_ms: int, symbols: Sequence[str] | None) -> None:
        self.path, self.start, self.bar_ms = rows.path, start, bar_ms
        bar = _bar_numbers(rows, start, bar_ms)
        self.findings: list[Finding] = findings_of("column", rows.path, ((None, name, "ignored") for name in rows.unknown))
        self.counts = [("column", len(rows.unknown))]
        self._choose(rows, symbols)
        column = self._column[rows.code]
        present = np.zeros(DAY_MS // bar_ms, dtype=bool)
        present[bar if (column >= 0).all() else bar[column >= 0]] = True
        self.bars: Ints = np.flatnonzero(present)
        if not len(self.bars):
            raise QualityError("none of the wanted symbols is in the file", path=rows.path, column="symbol")
        self.ts: Ints = start + self.bars * bar_ms
        self.shape = (len(self.bars), len(self.symbols))
        place = ((np.cumsum(present) - 1) * len(self.symbols)).astype(np.int32)
        self.cell = np.where(column >= 0, place[bar] + column, np.int32(-1))
        self._check_order(rows)
        self._check_steps(rows)

    def row_of(self, t: int, n: int) -> int:
        """Row of the file that filled a cell."""
        return int(np.argmax(self.cell == t * self.shape[1] + n))

    def _choose(self, rows: KlineRows, symbols: Sequence[str] | None) -> None:
        known = [s for s in rows.symbols if SYMBOL.fullmatch(s)]
        odd = [s for s in rows.symbols if not SYMBOL.fullmatch(s)]
        self.symbols = tuple(known if symbols is None else symbols)
        for symbol in self.symbols:
            if not SYMBOL.fullmatch(symbol) or self.symbols.count(symbol) > 1:
                raise SchemaError(f"{symbol!r} is not an asset name, or comes twice", path=rows.path, column="symbol")
        place = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._column = np.array([place.get(s, -1) for s in rows.symbols], dtype=np.int32)
        first = ((int(np.argmax(rows.code == rows.symbols.index(s))), "symbol", s) for s in odd[:5])
        self.findings += findings_of("symbol", rows.path, first)
        self.counts.append(("symbol", len(odd)))

    def _check_order(self, rows: KlineRows) -> None:
        self.rows_used = int(np.count_nonzero(self.cell >= 0))
        same = rows.code[1:] == rows.code[:-1]
        if np.count_nonzero(~same) + 1 == len(rows.symbols) and (np.diff(rows.ts) > 0)[same].all():
            return
        wanted = np.flatnonzero(self.cell >= 0)
        cells = self.cell[wanted]
        row_in = np.full(self.shape[0] * self.shape[1], -1, dtype=np.int64)
        row_in[cells[::-1]] = wanted[::-1]
        again = wanted[row_in[cells] != wanted]
        for row in again.tolist():
            self._check_repeat(rows, int(row_in[self.cell[row]]), row)
        self.cell[again] = -1
        self.rows_used -= len(again)
        self.counts.append(("duplicate", len(again)))
        self.findings += findings_of("duplicate", rows.path, ((row, "ts", clock(int(rows.ts[row]))) for row in again[:5].tolist()))
        by_symbol = np.argsort(rows.code, kind="stable")
        back = (np.diff(rows.ts[by_symbol]) < 0) & (np.diff(rows.code[by_symbol]) == 0)
        if back.any():
            row = int(by_symbol[1:][back].min())
            raise QualityError(f"{_symbol(rows, row)} goes back in time", path=rows.path, column="ts", row=row, hint=_SORT)

    def _check_steps(self, rows: KlineRows) -> None:
        """Refuse a symbol whose bars all come in one larger step: it has another bar interval than the file."""
        there = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
        there[self.cell[self.cell >= 0]] = True
        there = there.reshape(self.shape)
        for n in np.flatnonzero(there.sum(axis=0) * 2 <= DAY_MS // self.bar_ms + 1).tolist():
            steps = np.diff(self.bars[there[:, n]])
            if len(steps) >= _REGULAR and steps.min() == steps.max() > 1:
                why = f"{self.symbols[n]} comes in steps of {steps[0] * self.bar_ms // 1000} s (mixed bar spacing)"
                row = int(np.argmax(rows.code == rows.symbols.index(self.symbols[n])))
                raise QualityError(why, path=rows.path, column="ts", row=row, hint=f"the file has {self.bar_ms // 1000} s bars")

    def _check_repeat(self, rows: KlineRows, first: int, again: int) -> None:
        values = rows.prices if rows.volume is None else (*rows.prices, rows.volume)
        if any(not np.array_equal(v[first], v[again], equal_nan=True) for v in values):
            why = f"{_symbol(rows, again)} has another row for this bar, row {first}, with other values"
            raise QualityError(why, path=rows.path, column="ts", row=again, hint="drop the wrong one")


def _check_day(rows: KlineRows, start: int) -> None:
    outside = (rows.ts < start) | (rows.ts >= start + DAY_MS)
    if outside.any():
        row = int(np.argmax(outside))
        value = int(rows.ts[row])
        day = date_of(value) if 0 <= value < 2**47 else "no plausible time in ms"
        raise QualityError(f"{value} ({day}) is not in the day of the file's name", path=rows.path, column="ts", row=row)


def _bar_numbers(rows: KlineRows, start: int, bar_ms: int) -> npt.NDArray[np.int32]:
    """Number of each row's bar in its day. Refuses a row that is off the grid; needs ``_check_day``."""
    offset = (rows.ts - start).astype(np.int32)
    bar = offset // np.int32(bar_ms)
    off = bar * np.int32(bar_ms) != offset
    if off.any():
        row = int(np.argmax(off))
        why = f"{clock(int(rows.ts[row]))} is off the grid of {bar_ms // 1000} s bars (mixed bar spacing)"
        raise QualityError(why, path=rows.path, column="ts", row=row, hint="keep one bar interval a folder")
    return bar


def _symbol(rows: KlineRows, row: int) -> str:
    return rows.symbols[int(rows.code[row])]


def _scatter(cell: npt.NDArray[np.int32], values: npt.NDArray[Any], shape: tuple[int, int]) -> Array:
    block = np.full(shape[0] * shape[1], np.nan)
    if (cell >= 0).all():
        block[cell] = values
    else:
        used = cell >= 0
        block[cell[used]] = values[used]
    return block.reshape(shape)
