"""Disk: a day file to its block against ``np.load`` of the same block, klines to closes against pyarrow reading the same columns.

The warm read maps the working copy, checks every word of it against its digests and gives a read-only block; ``np.load`` copies
the file into fresh memory. Both read from the page cache. The first read of a day decodes parquet and is shown beside it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from table import Row, best_of, emit, row

from dolphin.storage import publish
from dolphin.storage.day_table import DayMetadata, DayTable, read_day, write_day
from dolphin.storage.klines import KlineBars, KlineStore, write_klines
from dolphin.storage.schema import DAY_MS, SHARES, SIGNALS, date_of, day_start

DATE = "2025-01-01"
READ = ("ts", "symbol", "open", "high", "low", "close")


def table_of(rows: int, assets: int, date: str = DATE) -> DayTable:
    rng = np.random.default_rng(7)
    level = rng.uniform(0.01, 1000, assets)
    closes = np.round(level * np.exp(np.cumsum(rng.standard_normal((rows, assets)) * 5e-4, axis=0)), 4)
    signals = {name: rng.uniform(0, 0.5, rows) for name in (*SIGNALS, *SHARES)}
    step = DAY_MS // rows
    ts = day_start(date) + step * np.arange(1, rows + 1)
    names = tuple(f"A{i:03d}USDT" for i in range(assets))
    return DayTable(date, step // 1000, ts, signals, names, closes, np.arange(rows), DayMetadata("blocked", "bench"))


def day_rows(folder: Path) -> list[Row]:
    table = table_of(17_280, 400)
    path = write_day(folder / "days", table)
    np.save(folder / "block.npy", table.closes)
    load = best_of(lambda: np.load(folder / "block.npy"), 15)
    warm = best_of(lambda: read_day(path), 15)
    copied = best_of(lambda: np.array(read_day(path).closes), 15)
    first = best_of(lambda: read_day(path, sidecar=False), 5)
    write = best_of(lambda: write_day(folder / "days", table), 3)
    raw, held = table.closes.nbytes / 1e6, path.stat().st_size / 1e6
    what = f"17,280 x 400, {raw:.0f} MB"
    return [
        row("day file -> [T, N] block", warm, load, 3.0, 1.3, f"{what}; peer np.load; working copy, mapped, every word checked"),
        row("day file -> [T, N] block, private copy", copied, load, 3.0, 1.3, f"{what}; peer np.load; the same, copied out of the map"),
        row(
            "day file -> [T, N] block, first read",
            first,
            load,
            None,
            None,
            f"{first / load:.1f} x np.load: parquet of {held:.0f} MB, decoded once",
        ),
        row("day table -> disk", write, None, None, None, f"{raw / write:.0f} MB/s: parquet, working copy, fsync"),
    ]


def month(folder: Path) -> Path:
    """Thirty days of 64 assets at 60 s: the real ones, or random ones where those are absent."""
    data = os.environ.get("DOLPHIN_SHARED_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")
    real = Path(data) / "klines" / "spot_1m_2021-04"
    if real.is_dir():
        return real
    for i in range(30):
        table = table_of(1440, 64, date_of(day_start(DATE) + i * DAY_MS))
        assert table.ts is not None
        write_klines(folder / "klines", KlineBars(table.date, 60, table.ts - 60_000, table.assets, *[table.closes] * 5))
    return folder / "klines"


def kline_rows(folder: Path) -> list[Row]:
    store = KlineStore(month(folder))
    paths = [store.path(date) for date in store.dates()]
    stored = sum(path.stat().st_size for path in paths) / 1e6
    blocks = sum(day.closes.nbytes for day in store.days()) / 1e6

    def cold(work: Callable[[], object]) -> Callable[[], None]:
        def timed() -> None:
            publish._sha256.cache_clear()
            work()

        return timed

    ours = best_of(cold(lambda: [day.closes for day in store.days()]), 7)
    plain = best_of(lambda: [pq.ParquetFile(path).read(columns=list(READ)) for path in paths], 7)
    note = f"{store.folder.name}: {stored / ours:.0f} MB/s of files, {blocks / ours:.0f} MB/s of closes; checks and sha256 in it"
    return [row("klines -> closes, 30 days x 64 assets", ours, plain, None, None, f"{note}; peer: pyarrow reads the same columns")]


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return day_rows(Path(folder)) + kline_rows(Path(folder))


if __name__ == "__main__":
    emit(main())
