"""``data import``: klines of any common layout -> one parquet file a UTC day, all days or none.

Sources are read one at a time and their rows spilled by UTC day into a hidden folder; then each day is sorted, checked and
written beside it, and only when every day is good do all of them get their names. Values are never changed here: what is no price
is counted and named, and turned into NaN where klines are read (``dolphin.storage.checks``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import QualityError, SchemaError
from dolphin.storage.checks import Finding, QualityReport, bad_bars, combine, findings_of, report_of, withhold_jumps
from dolphin.storage.kline_file import KlineRows, read_rows, write_rows
from dolphin.storage.layouts import Series, parse, suffix_of
from dolphin.storage.publish import publish, sha256_file
from dolphin.storage.schema import DAY_MS, SYMBOL, bar_spacing, checked_bar_seconds, clock, date_of, day_start, gaps_of
from dolphin.types import Ints

__all__ = ["ImportReport", "ImportedDay", "ImportedSource", "import_klines"]

_ROW = np.dtype([("ts", "i8"), ("symbol", "i4"), ("source", "i4"), ("row", "i8"), ("values", "f8", (5,)), ("flows", "f8", (3,))])


@dataclass(frozen=True, slots=True)
class ImportedSource:
    """One source file: its bytes' sha256, rows read and symbols used."""

    path: Path
    sha256: str
    rows: int
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportedDay:
    """One day: ``action`` is ``"written"``, ``"merged"`` (into the file that was there) or ``"unchanged"`` (it held the same)."""

    date: str
    path: Path
    rows: int
    symbols: int
    action: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. ``quality`` names places in the sources."""

    bar_seconds: int
    sources: tuple[ImportedSource, ...]
    days: tuple[ImportedDay, ...]
    quality: QualityReport


def import_klines(
    sources: Iterable[Path | str],
    out_dir: Path | str,
    *,
    layout: str = "auto",
    bar_seconds: int | None = None,
    symbol: str | None = None,
    merge: bool = False,
) -> ImportReport:
    """Convert files (or all known files below a folder) into ``out_dir/YYYY-MM-DD.parquet``.

    ``layout``: ``auto`` or one of ``layouts.LAYOUTS``. ``bar_seconds``: overrules what names and rows tell.
    ``symbol``: for sources whose name tells none. ``merge``: add to days that are there already; a row that contradicts one of
    them is refused either way. Raises ``MalformedFile``, ``SchemaError`` or ``QualityError``; then no day has changed.
    """
    paths = _files(sources)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import.", suffix=".tmp", dir=out) as spill, ExitStack() as stack:
        intake = _Intake(Path(spill), checked_bar_seconds(bar_seconds) if bar_seconds is not None else 0)
        for path in paths:
            for series in parse(path, layout, symbol):
                intake.add(path, series)
        if not intake.days:
            raise QualityError("no source has a symbol that can be an asset", path=paths[0], column="symbol")
        days = [_write_day(intake, date, out / f"{date}.parquet", merge, stack) for date in sorted(intake.days)]
    quality = combine([*intake.reports, *(report for _, report in days)])
    return ImportReport(intake.bar_seconds, tuple(intake.sources), tuple(day for day, _ in days), quality)


class _Intake:
    """Rows of all sources, spilled by day; agrees on one bar interval."""

    def __init__(self, folder: Path, bar_seconds: int) -> None:
        self.folder, self.bar_seconds = folder, bar_seconds
        self.days: set[str] = set()
        self.names: list[str] = []
        self.sources: list[ImportedSource] = []
        self.reports: list[QualityReport] = []

    def add(self, path: Path, series: Series) -> None:
        """Check the interval and spill the rows of the symbols that can be assets."""
        self._agree(path, series)
        known = np.array([bool(SYMBOL.fullmatch(s)) for s in series.symbols])
        self.reports.append(_source_report(path, series, self.bar_seconds))
        used = known[series.code]
        place = {name: i for i, name in enumerate(self.names)}
        for name in (s for s, ok in zip(series.symbols, known, strict=True) if ok and s not in place):
            place[name] = len(self.names)
            self.names.append(name)
        lookup = np.array([place.get(s, -1) for s in series.symbols], dtype=np.int32)
        rows = np.empty(len(series.ts), dtype=_ROW)
        rows["ts"], rows["symbol"], rows["source"] = series.ts, lookup[series.code], len(self.sources)
        rows["row"], rows["values"] = np.arange(len(rows)), series.values
        rows["flows"] = np.nan if series.flows is None else series.flows
        symbols = tuple(s for s, ok in zip(series.symbols, known, strict=True) if ok)
        self.sources.append(ImportedSource(path, sha256_file(path), len(rows), symbols))
        self._spill(rows[used])

    def rows_of(self, date: str) -> npt.NDArray[Any]:
        """All rows of a day, in the order of the sources."""
        return np.fromfile(self.folder / date, dtype=_ROW)

    def _agree(self, path: Path, series: Series) -> None:
        seen = bar_spacing(np.unique(series.ts))
        said = series.bar_seconds or self.bar_seconds or (checked_bar_seconds(seen, path) if seen else 0)
        if not said:
            raise QualityError("the bar interval cannot be told from it", path=path, column="ts", hint="pass bar_seconds")
        self.bar_seconds = self.bar_seconds or checked_bar_seconds(said, path)
        for what, found in (("is named", said), ("comes in steps of", seen or said)):
            if found != self.bar_seconds:
                why = f"{what} {found} s, the import is of {self.bar_seconds} s bars (mixed bar spacing)"
                raise QualityError(why, path=path, column="ts", hint="import one bar interval at a time")
        off = series.ts % (self.bar_seconds * 1000) != 0
        if off.any():
            row = int(np.argmax(off))
            why = f"{clock(int(series.ts[row]))} is off the grid of {self.bar_seconds} s bars (mixed bar spacing)"
            raise QualityError(why, path=path, column="ts", row=row)

    def _spill(self, rows: npt.NDArray[Any]) -> None:
        day = rows["ts"] // DAY_MS
        for number in np.unique(day).tolist():
            date = date_of(number * DAY_MS)
            self.days.add(date)
            with (self.folder / date).open("ab") as file:
                rows[day == number].tofile(file)


def _files(sources: Iterable[Path | str]) -> list[Path]:
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.is_file() and suffix_of(p) and not p.name.startswith("."))
            if not inside:
                raise SchemaError("there is no file of a known layout in the folder", path=source)
            found += inside
        else:
            found.append(source)
    if not found:
        raise SchemaError("nothing to import")
    return found


def _source_report(path: Path, series: Series, bar_seconds: int) -> QualityReport:
    columns = series.values.T
    _, counts, findings = bad_bars((columns[0], columns[1], columns[2], columns[3]), path)
    order = np.lexsort((series.ts, series.code))
    jumps: list[tuple[int, float]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(series.code[order])) + 1):
        closes = series.values[rows, 3:4].copy()
        closes[~(np.isfinite(closes) & (closes > 0))] = np.nan
        jumps += [(int(rows[i]), value) for i, _, value in withhold_jumps(closes, series.ts[rows] // (1000 * bar_seconds))]
    odd = [s for s in series.symbols if not SYMBOL.fullmatch(s)]
    findings += findings_of("jump", path, ((row, "close", value) for row, value in jumps[:10]))
    findings += findings_of("symbol", path, ((None, "symbol", s) for s in odd[:5]))
    counts = [*counts, ("jump", len(jumps)), ("symbol", len(odd))]
    return report_of(bars=0, rows=len(series.ts), absent=0, counts=counts, examples=findings, gaps=())


def _write_day(intake: _Intake, date: str, path: Path, merge: bool, stack: ExitStack) -> tuple[ImportedDay, QualityReport]:
    names = list(intake.names)
    rows = intake.rows_of(date)
    provenance = [{"file": s.path.name, "sha256": s.sha256} for i, s in enumerate(intake.sources) if (rows["source"] == i).any()]
    fresh, again = _sorted_unique(rows, names, intake.sources, path)
    action = "written"
    if path.exists():
        old, _ = _sorted_unique(_rows_of_file(path, names, intake.bar_seconds), names, intake.sources, path)
        both, _ = _sorted_unique(np.concatenate((old, fresh)), names, intake.sources, path)
        if not merge and len(both) != len(old):
            why = f"the day is there already, without {len(both) - len(old)} of these rows"
            raise QualityError(why, path=path, hint="merge adds them; another folder keeps both")
        fresh, action = both, "unchanged" if len(both) == len(old) else "merged"
        provenance = [{"file": path.name, "sha256": sha256_file(path)}, *provenance]
    if action != "unchanged":
        write_rows(stack.enter_context(publish(path)), _as_kline_rows(path, fresh, names, intake.bar_seconds), provenance)
    symbols = len(np.unique(fresh["symbol"]))
    found: list[Finding] = []
    for row in again[:5]:
        found += findings_of("duplicate", _where(row, intake.sources, path), ((int(row["row"]), "ts", clock(int(row["ts"]))),))
    report = _day_report(date, fresh, symbols, intake.bar_seconds, len(again), found)
    return ImportedDay(date, path, len(fresh), symbols, action), report


def _sorted_unique(
    rows: npt.NDArray[Any], names: Sequence[str], sources: Sequence[ImportedSource], path: Path
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Rows ascending by symbol name and time, and the repeated ones left out; two different rows for one bar are refused."""
    rank = np.argsort(np.argsort(np.array(names)))
    rows = rows[np.lexsort((rows["ts"], rank[rows["symbol"]]))]
    again = np.flatnonzero((rows["ts"][1:] == rows["ts"][:-1]) & (rows["symbol"][1:] == rows["symbol"][:-1])) + 1
    here, before = rows["values"][again], rows["values"][again - 1]
    flow, flow_before = rows["flows"][again], rows["flows"][again - 1]
    same = ((here == before) | (np.isnan(here) & np.isnan(before))).all(axis=1)
    same &= ((flow == flow_before) | np.isnan(flow) | np.isnan(flow_before)).all(axis=1)
    for k in again[~same][:1].tolist():
        one, other = sorted((rows[k - 1], rows[k]), key=lambda row: (int(row["source"]), int(row["row"])))
        name, moment = names[int(other["symbol"])], int(other["ts"])
        why = f"{name} at {date_of(moment)} {clock(moment)} contradicts row {one['row']} of {_where(one, sources, path)}"
        raise QualityError(why, path=_where(other, sources, path), column="ts", row=int(other["row"]), hint="drop the wrong one")
    keep = np.ones(len(rows), dtype=bool)
    keep[again] = False
    return rows[keep], rows[again]


def _where(row: Any, sources: Sequence[ImportedSource], path: Path) -> Path:
    return sources[int(row["source"])].path if row["source"] >= 0 else path


def _rows_of_file(path: Path, names: list[str], bar_seconds: int) -> npt.NDArray[Any]:
    """Rows of the day that is there; its symbols are added to ``names``."""
    old = read_rows(path, volume=True)
    if old.bar_seconds and old.bar_seconds != bar_seconds:
        raise QualityError(f"holds {old.bar_seconds} s bars, the import is of {bar_seconds} s bars", path=path, hint="use another folder")
    names += [s for s in old.symbols if s not in names]
    lookup = np.array([names.index(s) for s in old.symbols], dtype=np.int32)
    rows = np.empty(len(old.ts), dtype=_ROW)
    rows["ts"], rows["symbol"], rows["source"], rows["row"] = old.ts, lookup[old.code], -1, np.arange(len(old.ts))
    rows["values"] = np.stack([np.asarray(v) for v in (*old.prices, old.volume)], axis=1)
    rows["flows"] = np.nan if old.flows is None else np.stack(old.flows, axis=1)
    return rows


def _as_kline_rows(path: Path, rows: npt.NDArray[Any], names: Sequence[str], bar_seconds: int) -> KlineRows:
    symbols = tuple(sorted({names[int(i)] for i in np.unique(rows["symbol"])}))
    lookup = np.array([symbols.index(n) if n in symbols else -1 for n in names], dtype=np.int32)
    opened, high, low, close, volume = (np.ascontiguousarray(rows["values"][:, i]) for i in range(5))
    ts: Ints = np.ascontiguousarray(rows["ts"])
    told = not np.isnan(rows["flows"]).all()
    flows = tuple(np.ascontiguousarray(rows["flows"][:, i]) for i in range(3)) if told else None
    return KlineRows(path, ts, lookup[rows["symbol"]], symbols, (opened, high, low, close), volume, bar_seconds, flows=flows)


def _day_report(date: str, rows: npt.NDArray[Any], symbols: int, bar_seconds: int, again: int, found: list[Finding]) -> QualityReport:
    opens = np.unique(rows["ts"])
    start = day_start(date)
    gaps = gaps_of(opens, start, start + DAY_MS, bar_seconds * 1000)
    absent = len(opens) * symbols - len(rows)
    return report_of(bars=len(opens), rows=0, absent=absent, counts=[("duplicate", again)], examples=found, gaps=gaps)
