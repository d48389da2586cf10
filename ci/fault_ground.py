"""What every run of the fault matrix stands on: three days of a small synthetic market, their books, and a forewarner that knows the days
before them. The first day has no day before it, so that its signals begin after 750 bars: by then posture has recovered, and what a run
trades does not hang on how fast its processes came up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dolphin.config import EngineConfig, PathsConfig, Settings, SurvivalConfig, load_profile
from dolphin.deployment import AlertsConfig, GridConfig, SupervisionConfig
from dolphin.storage.book_file import write_book_day
from dolphin.storage.klines import KlineBars, write_klines
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from flows.replay import trained_forewarner

__all__ = ["FIRST", "Ground", "prepared"]

BEFORE, DAYS, SEED = 12, 3, 7
START, FIRST = "2024-12-20", "2025-01-01"


@dataclass(frozen=True, slots=True)
class Ground:
    """Folders and the trained table."""

    klines: Path
    books: Path
    table: Path
    engine: EngineConfig
    order_book: bool = False

    def settings(self, root: Path, port: int) -> Settings:
        """Of a deployment below ``root``: no DVOL (and no order-book layer), and that is said, so that posture can reach STALKER."""
        return Settings(
            engine=self.engine,
            grid=GridConfig(kind="hazelcast", cluster=f"faults-{port}", port=port),
            survival=SurvivalConfig(order_book=self.order_book, dvol=False),
            supervision=SupervisionConfig(crash_window_s=3),
            alerts=AlertsConfig(command=f"tee -a {root / 'alerts'}"),
            paths=PathsConfig(days=str(root / "none"), forewarner=str(self.table), book=str(self.books)),
        )


def prepared(folder: Path, *, assets: int = 12, warm: bool = False, order_book: bool = False) -> Ground:
    """Write the market and train; ``DOLPHIN_FAULTS_CACHE`` keeps the table for later. ``warm``: with the days before the first."""
    before, klines, books = folder / "before", folder / "klines", folder / "books"
    market = SyntheticMarket(assets, BEFORE + DAYS, 60, SEED, START)
    for day in market:
        bars = KlineBars(day.date, 60, day.ts, market.symbols, day.open, day.high, day.low, day.close, day.volume)
        if day.date < FIRST:
            write_klines(before, bars)
        if warm or day.date >= FIRST:
            write_klines(klines, bars)
    for day in SyntheticBook(market, snapshot_ms=60_000):
        if day.date >= FIRST:
            write_book_day(books, day)
    engine = load_profile("champion", max_hold_bars=30, max_leverage=2.0)
    cache = Path(os.environ.get("DOLPHIN_FAULTS_CACHE", folder / "cache"))
    settings = Settings(engine=engine, paths=PathsConfig(cache=str(cache)))
    table = trained_forewarner(settings, before, lambda things, _total, _what: things, lambda _text: None)
    return Ground(klines, books, table, engine, order_book)
