"""Kline files as exchanges, freqtrade and CCXT write them: one market in every layout that ``data import`` reads."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from dolphin.storage.schema import day_start

__all__ = [
    "HEADER", "LAYOUTS", "NAME", "ROWS", "START", "block_oracle", "csv", "feather", "klines", "null_at", "put", "reorder", "value_at",
    "zipped",
]  # fmt: skip

START = day_start("2024-01-02")
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
LAYOUTS = (
    "csv", "csv header", "csv us", "csv header us", "gz", "zip", "feather", "feather futures", "feather ns", "freqtrade json",
    "freqtrade json.gz", "ccxt", "parquet",
)  # fmt: skip

type Rows = list[list[float]]
type Columns = dict[str, Any]


def klines(bars: int = 1500, seed: int = 1, bar_seconds: int = 60, start: int = START) -> Rows:
    """Rows [ms, o, h, l, c, v] that run past midnight."""
    rng = np.random.default_rng(seed)
    close = 100 * seed * np.exp(np.cumsum(rng.standard_normal(bars) * 1e-3)).round(6)
    opened = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    ts = start + 1000 * bar_seconds * np.arange(bars)
    return [list(row) for row in zip(ts.tolist(), *(a.tolist() for a in (opened, high, low, close, rng.uniform(0, 9, bars))), strict=True)]


def csv(rows: Rows, header: bool = False, micro: bool = False) -> str:
    """The twelve columns of an exchange's kline file."""
    unit = 1000 if micro else 1
    lines = [f"{r[0] * unit},{r[1]!r},{r[2]!r},{r[3]!r},{r[4]!r},{r[5]!r},{(r[0] + 59_999) * unit},1.0,7,0.5,0.5,0" for r in rows]
    return "\n".join([HEADER, *lines] if header else lines) + "\n"


def zipped(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def feather(path: Path, rows: Rows, unit: str = "ms") -> Path:
    columns = list(zip(*rows, strict=True))
    scale = {"ms": 1, "us": 1000, "ns": 1_000_000}[unit]
    date = pa.array([int(t) * scale for t in columns[0]], pa.timestamp(unit, tz="UTC"))
    table = pa.table(
        {"date": date, **{n: pa.array(v) for n, v in zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True)}}
    )
    pa.feather.write_feather(table, path, compression="lz4")
    return path


def put(folder: Path, layout: str, rows: Rows) -> Path:
    """The rows of BTCUSDT as one source file of a layout."""
    folder.mkdir(parents=True, exist_ok=True)
    text = csv(rows, header="header" in layout, micro="us" in layout)
    if layout.startswith("csv"):
        path = folder / "BTCUSDT-1m-2024-01-02.csv"
        path.write_text(text)
    elif layout == "gz":
        path = folder / "BTCUSDT-1m-2024-01.csv.gz"
        path.write_bytes(gzip.compress(text.encode()))
    elif layout == "zip":
        path = zipped(folder / "BTCUSDT-1m-2024-01.zip", {"BTCUSDT-1m-2024-01.csv": text})
    elif layout.startswith("feather"):
        name = "BTC_USDT_USDT-1m-futures.feather" if "futures" in layout else "BTC_USDT-1m.feather"
        path = feather(folder / name, rows, "ns" if "ns" in layout else "ms")
    elif layout == "freqtrade json":
        path = folder / "BTC_USDT-1m.json"
        path.write_text(json.dumps(rows))
    elif layout == "freqtrade json.gz":
        path = folder / "BTC_USDT-1m.json.gz"
        path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    elif layout == "ccxt":
        path = folder / "bybit.json"
        path.write_text(json.dumps({"BTC/USDT:USDT": rows}))
    else:
        path = folder / "long.parquet"
        names = ("ts", "open", "high", "low", "close", "volume")
        columns = dict(zip(names, (np.array(c) for c in zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns | {"symbol": np.full(len(rows), "BTCUSDT", dtype=object)}), path)
    return path


ROWS = klines(40)
NAME = "BTCUSDT-1m-2024-01-02.csv"


def block_oracle(columns: Columns) -> tuple[list[int], list[str], np.ndarray]:
    """Times, symbols and closes by dictionaries; for clean data."""
    cells = {(int(t), str(s)): float(c) for t, s, c in zip(columns["ts"], columns["symbol"], columns["close"], strict=True)}
    times, symbols = sorted({t for t, _ in cells}), sorted({s for _, s in cells})
    return times, symbols, np.array([[cells.get((t, s), np.nan) for s in symbols] for t in times])


def reorder(columns: Columns, rows: Sequence[int] | np.ndarray) -> Columns:
    return {name: values[rows] for name, values in columns.items()}


def value_at(name: str, row: int, value: Any) -> Callable[[Columns], Columns]:
    def change(columns: Columns) -> Columns:
        columns[name][row] = value
        return columns

    return change


def null_at(name: str, row: int) -> Callable[[Columns], Columns]:
    def change(columns: Columns) -> Columns:
        values = columns[name].tolist()
        values[row] = None
        return columns | {name: pa.array(values)}

    return change
