"""Builders of files for the storage tests: a small kline day as plain columns, and day tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolphin.storage.day_table import DayMetadata, DayTable, Source
from dolphin.storage.schema import SHARES, SIGNALS, day_start

DATE = "2021-04-02"
SYMBOLS = ("ADAUSDT", "BTCUSDT", "ETHUSDT")
BARS = 40

type Columns = dict[str, Any]


@pytest.fixture
def kline_columns() -> Callable[..., Columns]:
    """Columns of a clean kline day in long format, by symbol and time: 3 symbols, 40 bars of 60 s, numpy arrays to be spoilt."""

    def make(date: str = DATE, bars: int = BARS, bar_seconds: int = 60, symbols: tuple[str, ...] = SYMBOLS) -> Columns:
        rng = np.random.default_rng(5)
        columns: dict[str, list[Any]] = {name: [] for name in ("ts", "symbol", "open", "high", "low", "close", "volume")}
        for n, symbol in enumerate(symbols):
            close = 10.0 ** (n + 1) * np.exp(np.cumsum(rng.standard_normal(bars) * 1e-3))
            opened = np.concatenate((close[:1], close[:-1]))
            columns["ts"].append(day_start(date) + 1000 * bar_seconds * np.arange(bars))
            columns["symbol"].append(np.full(bars, symbol, dtype=object))
            columns["open"].append(opened)
            columns["high"].append(np.maximum(opened, close) * 1.0001)
            columns["low"].append(np.minimum(opened, close) * 0.9999)
            columns["close"].append(close)
            columns["volume"].append(rng.uniform(1, 9, bars))
        return {name: np.concatenate(parts) for name, parts in columns.items()}

    return make


@pytest.fixture
def put_parquet() -> Callable[..., Path]:
    """Write columns as a foreign program would: pyarrow's defaults, no metadata unless given."""

    def put(path: Path, columns: Columns, metadata: dict[str, str] | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()})
        pq.write_table(table.replace_schema_metadata(metadata), path)
        return path

    return put


@pytest.fixture
def day_table() -> Callable[..., DayTable]:
    """A clean day table with gaps in the prices and NaN while the windows fill."""

    def make(date: str = DATE, rows: int = 1440, assets: int = 3, bar_seconds: int = 60) -> DayTable:
        rng = np.random.default_rng(9)
        signals = {name: rng.standard_normal(rows) * 0.01 for name in SIGNALS}
        signals |= {name: rng.uniform(0, 1, rows) for name in SHARES}
        for values in signals.values():
            values[:50] = np.nan
        closes = 100 * np.exp(np.cumsum(rng.standard_normal((rows, assets)) * 1e-3, axis=0))
        closes[rows // 2, 1] = np.nan
        return DayTable(
            date=date,
            bar_seconds=bar_seconds,
            ts=day_start(date) + 1000 * bar_seconds * np.arange(1, rows + 1),
            signals=signals,
            assets=tuple(f"A{i:02d}USDT" for i in range(assets)),
            closes=closes,
            scan_number=np.arange(rows),
            metadata=DayMetadata("stream", "5e77ab1e", (Source("2021-04-02.parquet", "ab" * 32),)),
        )

    return make


@pytest.fixture
def day_columns(day_table: Callable[..., DayTable]) -> Callable[..., Columns]:
    """The same table as the columns of a foreign file."""

    def make(date: str = DATE, rows: int = 1440) -> Columns:
        table = day_table(date, rows)
        columns: Columns = {"timestamp": np.array(table.ts)}
        columns |= {name: np.array(table.signals[name]) for name in SIGNALS}
        return columns | {name: np.array(table.closes[:, i]) for i, name in enumerate(table.assets)}

    return make
