"""Compile every kernel once, by using each on a tiny market, so that later commands load machine code from the cache."""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np

from dolphin.types import BOOK_FEATURES

__all__ = ["compile_kernels"]

OLD_SECONDS = 30 * 86_400


def compile_kernels() -> dict[str, Any]:
    """Run engine and scanner (both paths) on a few bars; drop kernel caches of other versions that are a month old.

    Returns ``{"seconds", "cache"}``.
    """
    from dolphin import NDAlphaEngine, Scanner, load_profile, scan_batch
    from dolphin.engine.records import DayRows
    from dolphin.kernels._jit import cache_dir

    started = time.perf_counter()
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (900, 12)), axis=0))
    for path in ("stream", "blocked"):
        scan_batch(closes, path=path)
    Scanner(12).push(closes[0])
    names = tuple(f"A{j:02d}USDT" for j in range(12))
    signal = rng.normal(0, 0.02, 900)
    ts = np.arange(1, 901, dtype=np.int64) * 60_000
    engine = NDAlphaEngine(load_profile())
    engine.process_rows("2025-01-01", DayRows(names, closes, signal, signal, signal * 0, ts))
    engine.begin_day("2025-01-02")
    engine.process_bar(-0.03, dict(zip(names, closes[-1].tolist(), strict=True)))
    engine.end_day()
    _explain(engine, names)
    _full_stack(signal)
    folder = cache_dir()
    for other in folder.parent.glob("kernels-*"):
        if other != folder and time.time() - other.stat().st_mtime > OLD_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    return {"seconds": time.perf_counter() - started, "cache": str(folder)}


def _full_stack(signal: Any) -> None:
    """A synthetic day with its order books, watched; and one bar of it asked by itself."""
    from dolphin import NDAlphaEngine, load_profile
    from dolphin.book.provider import TableOrderBook
    from dolphin.config import SurvivalConfig
    from dolphin.engine.records import DayRows
    from dolphin.engine.watch import RunWatch
    from dolphin.synthetic.book import SyntheticBook
    from dolphin.synthetic.market import SyntheticMarket

    market = SyntheticMarket(8, 1, 300)
    days = list(SyntheticBook(market, snapshot_ms=300_000))
    books, names, ts = TableOrderBook(days), days[0].symbols, days[0].ts
    closes = np.ascontiguousarray(days[0].features[:, :, BOOK_FEATURES.index("mid")])
    rows = DayRows(names, closes, signal[: len(ts)], signal[: len(ts)], np.zeros(len(ts)), ts)
    for book in (books, None):
        engine = NDAlphaEngine(load_profile())
        engine.set_ob_engine(book)
        RunWatch(SurvivalConfig(), book).run_day(engine, days[0].date, rows)
    books.get_macro(int(ts[-1]))


def _explain(engine: Any, names: tuple[str, ...]) -> None:
    """An entry and a held bar, explained: prices fall steadily, then comes a strong signal."""
    from dolphin.engine.explain import explain_row
    from dolphin.engine.records import DayRows

    fall, quiet = 10 * np.exp(-0.0004 * np.arange(70)), np.zeros(70)
    signal = np.where(np.arange(70) == 68, -0.04, 0.0)
    rows = DayRows(names, np.column_stack([fall] * len(names)), signal, quiet, quiet, np.arange(1, 71, dtype=np.int64) * 60_000)
    for date in ("2025-01-03", "2025-01-04"):
        engine.process_rows(date, rows, [False] * 70)
    engine.begin_day("2025-01-05")
    engine.set_universe(names)
    for row in range(68):
        engine.process_row(rows.closes[row], 0.0)
    for row in (68, 69):
        explain_row(engine, rows, row, vol_ok=True)
    engine.end_day()
