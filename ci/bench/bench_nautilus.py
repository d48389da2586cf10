"""A day of ticks through Nautilus: our delivery (one snapshot a tick) against a bar of every name on every tick.

Runs in the product's environment: the peer is NautilusTrader itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from market import DAMPED, scanned_days
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType, CustomData, DataType
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.strategy import Strategy
from table import Row, emit, row

from actors.backtest import VenueBacktest, first_prices
from actors.config import DolphinActorConfig
from actors.data_types import Snapshot
from actors.delivery import CLIENT, Delivery
from actors.instruments import perpetuals
from dolphin.config import VenueConfig, load_profile
from dolphin.engine.records import DayRows, table_rows
from dolphin.storage.day_table import DayMetadata, DayTable, read_day, write_day
from dolphin.storage.schema import SHARES, SIGNALS

TICKS = 17_280
STEP = 5_000
DATE = "2025-01-01"
START = 1_735_689_600_000
MS = 1_000_000
SLICE = 40


@cache
def day(assets: int) -> DayRows:
    """The 5 s day of the engine's bench, as wide as wanted; times start at ``START``."""
    rows = scanned_days(1, 5, DAMPED, assets)[0][1]
    return replace(rows, ts_ms=START + STEP * np.arange(1, TICKS + 1))


class Empty(Strategy):
    """Takes what it is given and does nothing."""

    def __init__(self, bars: list[BarType] | None = None) -> None:
        super().__init__()
        self.bars = bars or []

    def on_start(self) -> None:
        for kind in self.bars:
            self.subscribe_bars(kind)
        if not self.bars:
            self.subscribe_data(DataType(Snapshot), client_id=CLIENT)


def venue_engine(rows: DayRows) -> tuple[BacktestEngine, dict]:
    engine = BacktestEngine(BacktestEngineConfig(trader_id="BENCH-001", logging=LoggingConfig(bypass_logging=True)))
    money = [Money(25_000, USDT)]
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, money, bar_execution=True)
    instruments = perpetuals(first_prices([rows]), "BINANCE")
    for instrument in instruments.values():
        engine.add_instrument(instrument)
    return engine, instruments


def actor(rows: DayRows) -> tuple[float, int]:
    """Seconds a tick and orders of the whole day."""
    config = DolphinActorConfig(bar_seconds=5, engine=load_profile(), orders=VenueConfig())
    venue = VenueBacktest.build(config, [rows]).run()
    found = venue.seconds / TICKS, venue.actor.desk.totals.orders
    venue.close()
    return found


def quoted(assets: int) -> list[frozenset[str]]:
    """Names that the actor's run had quoted, tick by tick."""
    seen: list[frozenset[str]] = []
    chunks = Delivery.chunks

    def watched(self, days):
        for chunk in chunks(self, days):
            yield chunk
            if isinstance(chunk[0], CustomData):
                seen.append(frozenset(self._active))

    Delivery.chunks = watched
    actor(day(assets))
    Delivery.chunks = chunks
    return seen


def empty(assets: int, schedule: list[frozenset[str]]) -> float:
    """Seconds a tick of the same snapshots and quotes with a strategy that does nothing."""
    rows = day(assets)
    engine, instruments = venue_engine(rows)
    active: set[str] = set()

    def same():
        names = iter(schedule)
        for chunk in Delivery(instruments, active, VenueConfig()).chunks([rows]):
            yield chunk
            if isinstance(chunk[0], CustomData):
                active.clear()
                active.update(next(names))

    engine._add_data_client_if_not_exists(CLIENT)
    engine.add_data_iterator("snapshots", same())
    engine.add_strategy(Empty())
    started = time.perf_counter()
    engine.run(start=START * MS, end=(START + STEP * (TICKS + 1)) * MS)
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds / TICKS


def bars(assets: int) -> float:
    """Seconds a tick when every name sends a bar: a slice of the day."""
    rows = day(assets).head(SLICE)
    engine, instruments = venue_engine(rows)
    kinds = [BarType.from_str(f"{instruments[name].id}-5-SECOND-LAST-EXTERNAL") for name in rows.assets]
    stamps = (rows.ts_ms * MS).astype(np.uint64)
    for j, kind in enumerate(kinds):
        column = rows.closes[:, j]
        close = np.where(np.isfinite(column), column, np.nanmax(column))
        opened = np.concatenate([close[:1], close[:-1]])
        blocks = opened, np.maximum(opened, close) * 1.0002, np.minimum(opened, close) * 0.9998, close
        digits = instruments[rows.assets[j]].price_precision, instruments[rows.assets[j]].size_precision
        values = [block.copy() for block in blocks]
        engine.add_data(Bar.from_raw_arrays_to_list(kind, *digits, *values, np.full(SLICE, 1e6), stamps.copy(), stamps.copy()), sort=False)
    engine.sort_data()
    engine.add_strategy(Empty(kinds))
    started = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds / SLICE


def peak() -> float:
    """Peak MB of a fresh process that runs the day of 400 names from its day table."""
    rows = day(400)
    signals = {name: np.zeros(TICKS) for name in (*SIGNALS, *SHARES)}
    signals |= {"vel_div": rows.vel_div, "v50_lambda_max_velocity": rows.v50, "v750_lambda_max_velocity": rows.v750}
    with tempfile.TemporaryDirectory() as folder:
        table = DayTable(DATE, 5, rows.ts_ms, signals, rows.assets, rows.closes, np.arange(TICKS), DayMetadata("blocked", "bench"))
        path = write_day(Path(folder), table)
        done = subprocess.run([sys.executable, __file__, "--peak", str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> list[Row]:
    wide, narrow = min(actor(day(400)) for _ in range(6)), min(actor(day(50)) for _ in range(6))
    schedule = quoted(400)
    nothing, peer = min(empty(400, schedule) for _ in range(6)), min(bars(400) for _ in range(2))
    what = f"{TICKS:,} ticks x 400 names, {wide[1]} orders"
    return [
        row(f"Nautilus day, {what}, per tick", wide[0], peer, 100.0, 200.0, f"400 bars a tick in BacktestEngine, {SLICE} ticks"),
        row("Nautilus tick, N = 400 / N = 50", wide[0], narrow[0], 2.5, 1.5, f"itself; {narrow[1]} orders at N = 50"),
        row("actor over an empty strategy, same delivery", wide[0], nothing, 3.0, 1.5, "per tick, orders and fills included"),
        row("peak memory, 400 names, one day at 5 s", peak(), None, 1000.0, 700.0, "fresh process", "MB"),
    ]


if __name__ == "__main__":
    if "--peak" in sys.argv:
        actor(table_rows(read_day(sys.argv[-1])))
        high = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(high.split()[1]) * 1024 / 1e6)  # ru_maxrss of a child begins at its parent's
    else:
        emit(main())
