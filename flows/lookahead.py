"""Look-ahead check: a day is cut off after each bar; whatever came out before the cut must come out again, bit for bit.

Three stages, each from its own inputs: klines (a truncated file is loaded), scans (rows are dropped, then scanned), engine (rows are
dropped, then run). A value that changes when the future is removed has seen the future.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.config import EngineConfig, Settings
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows
from dolphin.errors import QualityError
from dolphin.scanner.scan import scan_batch
from dolphin.storage.klines import KlineDay, KlineStore
from dolphin.types import ScanBatch

__all__ = ["Leak", "Verdict", "check_day", "engine_leaks", "kline_leaks", "scan_leaks"]

KLINE_CUTS = 24
SHOWN = 10

type Scan = Callable[..., ScanBatch]
type MakeEngine = Callable[[EngineConfig], NDAlphaEngine]


@dataclass(frozen=True, slots=True)
class Leak:
    """A value that changed: ``row`` of the day, ``cut`` = last row kept."""

    stage: str
    cut: int
    row: int
    column: str
    whole: str
    kept: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of a check; no leak = passed."""

    date: str
    bars: int
    assets: int
    cuts: dict[str, int]
    trades: int
    leaks: list[Leak]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; at most the first leaks are listed, all are counted."""
        return {**asdict(self), "passed": not self.leaks, "n_leaks": len(self.leaks), "leaks": [asdict(x) for x in self.leaks[:SHOWN]]}

    def to_text(self) -> str:
        """What a person reads."""
        cuts = ", ".join(f"{stage} at {n}" for stage, n in self.cuts.items())
        head = f"{self.date}: {self.bars} bars, {self.assets} assets, {self.trades} trades; cut: {cuts}"
        if not self.leaks:
            return f"{head}\npassed: no value before a cut depends on what comes after it"
        rows = [f"  {x.stage}: row {x.row} {x.column} is {x.whole}, cut after row {x.cut} it is {x.kept}" for x in self.leaks[:SHOWN]]
        return "\n".join([head, f"FAILED: {len(self.leaks)} values have seen the future", *rows])


def check_day(
    store: KlineStore, day: str, settings: Settings, *, every: int, track: Callable[[Iterable[Any], int, str], Iterable[Any]]
) -> Verdict:
    """Check one day of ``store`` (empty: its second), warmed up by the day before. Raises ``QualityError`` for an unknown day."""
    dates = store.dates()
    day = day or dates[min(1, len(dates) - 1)]
    if day not in dates:
        raise QualityError(f"there is no {day}", path=store.folder, hint=f"days are {dates[0]} to {dates[-1]}")
    at = dates.index(day)
    symbols = store.symbols()
    before = store.load(dates[at - 1], symbols) if at else None
    today = store.load(day, symbols, before)
    parts = [part for part in (before, today) if part is not None]
    closes = np.concatenate([part.closes for part in parts])
    ts = np.concatenate([part.ts for part in parts])
    first, bar_ms = len(ts) - len(today.ts), store.bar_seconds * 1000
    cuts = range(first, len(ts), every)
    leaks = list(kline_leaks(store, today, before, symbols))
    batch, found = scan_leaks(closes, ts // bar_ms, track(cuts, len(cuts), "scan cuts"), first)
    leaks += found
    rows = DayRows(tuple(symbols), closes, batch.vel_div, batch.velocity[:, 0].copy(), batch.velocity[:, 3].copy(), ts + bar_ms)
    trades, found = engine_leaks(settings.engine, rows, track(cuts, len(cuts), "engine cuts"), first)
    counts = {"klines": min(KLINE_CUTS, len(today.ts)), "scan": len(cuts), "engine": len(cuts)}
    return Verdict(day, len(today.ts), len(symbols), counts, trades, leaks + found)


def kline_leaks(store: KlineStore, today: KlineDay, before: KlineDay | None, symbols: tuple[str, ...]) -> Iterator[Leak]:
    """Load truncated copies of the day's file; the accepted closes before the cut must be the same."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(today.path)
    with tempfile.TemporaryDirectory() as folder:
        for cut in np.linspace(0, len(today.ts) - 1, min(KLINE_CUTS, len(today.ts))).astype(int).tolist():
            kept = table.filter(pc.less_equal(table["ts"], int(today.ts[cut])))
            pq.write_table(kept.replace_schema_metadata(None), Path(folder) / today.path.name)
            short = KlineStore(folder, store.bar_seconds)
            part = short.load(today.date, symbols, before)
            yield from _differences("klines", cut, "close", today.closes[: cut + 1], part.closes, 0)


def scan_leaks(closes: Any, bars: Any, cuts: Iterable[int], first: int, scan: Scan = scan_batch) -> tuple[ScanBatch, list[Leak]]:
    """Scan ``closes[:cut + 1]`` for each cut; every field of every row must equal the whole scan's (stream path)."""
    whole = scan(closes, bars=bars, path="stream")
    names = [f.name for f in fields(ScanBatch) if f.name != "path"]

    def one(cut: int) -> list[Leak]:
        part = scan(closes[: cut + 1], bars=bars[: cut + 1], path="stream")
        return [
            leak for name in names for leak in _differences("scan", cut, name, getattr(whole, name)[: cut + 1], getattr(part, name), first)
        ]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return whole, [leak for found in pool.map(one, cuts) for leak in found]


def engine_leaks(
    config: EngineConfig, rows: DayRows, cuts: Iterable[int], first: int, make: MakeEngine = NDAlphaEngine
) -> tuple[int, list[Leak]]:
    """Run rows up to each cut; closed trades and the open position must be those of the whole run at that bar."""

    def run(stop: int) -> NDAlphaEngine:
        engine = make(config)
        for name, (begin, end) in zip(("2000-01-01", "2000-01-02"), pairwise((0, first, stop)), strict=True):
            if end > begin:
                engine.process_rows(name, _slice(rows, begin, end))
        return engine

    whole = run(len(rows.vel_div))
    last = [whole.position.to_dict()] if whole.position else []
    leaks = []
    for cut in cuts:
        part = run(cut + 1)
        closed = [trade for trade in whole.trades if trade["exit_bar"] <= cut]
        opened = [p for p in [*whole.trades, *last] if p["entry_bar"] <= cut < p.get("exit_bar", len(rows.vel_div))]
        position = part.position.to_dict() if part.position else None
        expected = (
            {name: opened[0][name] for name in position if name in opened[0] and name != "last_price"} if opened and position else None
        )
        if part.trades != closed:
            leaks.append(Leak("engine", cut - first, cut - first, "trades", f"{len(closed)} closed", f"{len(part.trades)} closed"))
        if (expected is None) != (position is None) or (expected and any(position[k] != v for k, v in expected.items())):  # type: ignore[index]
            leaks.append(Leak("engine", cut - first, cut - first, "position", str(expected), str(position)))
    return len(whole.trades), leaks


def _slice(rows: DayRows, begin: int, end: int) -> DayRows:
    arrays = {f.name: getattr(rows, f.name)[begin:end] for f in fields(DayRows) if f.name != "assets"}
    return replace(rows, **arrays)


def _differences(stage: str, cut: int, column: str, whole: Any, part: Any, first: int) -> Iterator[Leak]:
    same = (whole == part) | ((whole != whole) & (part != part))
    for row in np.unique(np.nonzero(~same)[0]).tolist():
        yield Leak(stage, cut - first, row - first, column, str(whole[row]), str(part[row]))
