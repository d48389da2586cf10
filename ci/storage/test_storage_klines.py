"""Klines in: the block against a plain oracle, what is refused, what is quarantined, and that nothing looks ahead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kline_sources import block_oracle, null_at, reorder, value_at

from dolphin.errors import DataError, MalformedFile, QualityError, SchemaError
from dolphin.storage import parquet
from dolphin.storage.klines import KlineBars, KlineStore, write_klines
from dolphin.storage.schema import day_start

DATE = "2021-04-02"
BARS = 40
START = day_start(DATE)

type Columns = dict[str, Any]
type Make = Callable[..., Columns]
type Put = Callable[..., Path]


@pytest.mark.parametrize("order", ["by symbol", "by time", "columns reversed", "holes"])
def test_a_clean_day_equals_the_oracle_in_any_order(tmp_path: Path, kline_columns: Make, put_parquet: Put, order: str) -> None:
    columns = kline_columns()
    if order == "by time":
        columns = reorder(columns, np.argsort(columns["ts"], kind="stable"))
    if order == "columns reversed":
        columns = dict(reversed(columns.items()))
    if order == "holes":
        columns = reorder(columns, np.array([i for i in range(3 * BARS) if i % BARS not in (7, 8) and i != 3]))
    put_parquet(tmp_path / f"{DATE}.parquet", columns)
    day = KlineStore(tmp_path).load(DATE)
    times, symbols, closes = block_oracle(columns)
    assert day.ts.tolist() == times
    assert list(day.symbols) == symbols
    np.testing.assert_array_equal(day.closes, closes)
    assert day.closes.dtype == np.float64
    assert day.closes.flags.c_contiguous
    assert day.bar_seconds == 60
    assert day.quality.counts == ()
    holes = [str(gap) for gap in day.quality.gaps]
    assert holes == (["00:07..00:08 (2 bars)"] if order == "holes" else []) + ["00:40..23:59 (1400 bars)"]
    assert day.quality.absent == (1 if order == "holes" else 0)


def test_a_symbol_filter_gives_the_columns_in_the_asked_order_and_nan_for_absent_ones(
    tmp_path: Path, kline_columns: Make, put_parquet: Put
) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns())
    store = KlineStore(tmp_path)
    every, some = store.load(DATE), store.load(DATE, ["ETHUSDT", "XRPUSDT", "ADAUSDT"])
    np.testing.assert_array_equal(some.closes[:, [0, 2]], every.closes[:, [2, 0]])
    assert np.isnan(some.closes[:, 1]).all()
    with pytest.raises(SchemaError, match="comes twice"):
        store.load(DATE, ["ADAUSDT", "ADAUSDT"])
    with pytest.raises(QualityError, match="none of the wanted symbols"):
        store.load(DATE, ["XRPUSDT"])


def test_written_bars_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shape = (30, 2)
    closes = rng.uniform(90, 110, shape)
    closes[4, 1] = np.nan
    opens = rng.uniform(90, 110, shape)
    blocks = (opens, np.fmax(opens, closes) + 1, np.fmin(opens, closes) - 1, closes, rng.uniform(0, 5, shape))
    blocks = tuple(np.where(np.isnan(closes), np.nan, b) for b in blocks)
    bars = KlineBars(DATE, 5, START + 5000 * np.arange(30), ("ETHUSDT", "BTCUSDT"), *blocks)
    path = write_klines(tmp_path, bars, [{"file": "x", "sha256": "y"}])
    assert pq.read_metadata(path).metadata[b"bar_seconds"] == b"5"
    back = KlineStore(tmp_path).load_ohlc(DATE)
    assert (back.symbols, back.bar_seconds) == (("BTCUSDT", "ETHUSDT"), 5)
    for name in ("opens", "highs", "lows", "closes", "volumes"):
        np.testing.assert_array_equal(getattr(back, name), getattr(bars, name)[:, ::-1], err_msg=name)
    np.testing.assert_array_equal(back.ts, bars.ts)


def test_reading_klines_does_not_import_pandas(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns())
    load = f"from dolphin.storage.klines import KlineStore; KlineStore({str(tmp_path)!r}).load({DATE!r})"
    code = f"import sys; {load}; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------------------------------------- refused


def _cast(name: str, kind: pa.DataType) -> Callable[[Columns], Columns]:
    return lambda columns: columns | {name: pa.array(columns[name].tolist()).cast(kind)}


def _without(name: str) -> Callable[[Columns], Columns]:
    return lambda columns: {k: v for k, v in columns.items() if k != name}


def _swap(columns: Columns) -> Columns:
    rows = np.arange(3 * BARS)
    rows[[50, 51]] = rows[[51, 50]]
    return reorder(columns, rows)


def _repeat(columns: Columns) -> Columns:
    twice = reorder(columns, np.insert(np.arange(3 * BARS), 51, 50))
    twice["close"][51] *= 1.00001
    return twice


def _coarse_symbol(columns: Columns) -> Columns:
    return reorder(columns, np.array([i for i in range(3 * BARS) if i < 2 * BARS or i % 3 == 0]))


REFUSED = {
    "missing column": (_without("low"), SchemaError, "column low: the column is missing"),
    "missing volume": (_without("volume"), SchemaError, "column volume: the column is missing"),
    "missing ts": (_without("ts"), SchemaError, "column ts: the column is missing"),
    "ts as float": (_cast("ts", pa.float64()), SchemaError, "column ts: is double but must be int64"),
    "ts as timestamp": (_cast("ts", pa.timestamp("ms")), SchemaError, "column ts: is timestamp"),
    "close as text": (lambda c: c | {"close": c["close"].astype(str)}, SchemaError, "column close: is string but must be float"),
    "close as integer": (lambda c: c | {"close": c["close"].astype(np.int64)}, SchemaError, "column close: is int64"),
    "symbol as integer": (lambda c: c | {"symbol": np.zeros(3 * BARS, dtype=np.int64)}, SchemaError, "column symbol: is int64"),
    "zero rows": (lambda c: {k: pa.array(v[:0].tolist(), pa.string() if k == "symbol" else pa.int64() if k == "ts" else pa.float64())
                             for k, v in c.items()}, QualityError, "has no rows"),
    "null ts": (null_at("ts", 5), QualityError, "column ts, row 5: the value is null"),
    "null symbol": (null_at("symbol", 6), QualityError, "column symbol, row 6: the value is null"),
    "unsorted": (_swap, QualityError, "column ts, row 51: BTCUSDT goes back in time"),
    "two different rows for a bar": (_repeat, QualityError, "column ts, row 51: BTCUSDT has another row for this bar, row 50"),
    "off the grid": (
        value_at("ts", 9, START + 9 * 60_000 + 30_000), QualityError, "column ts, row 9: 00:09:30 is off the grid of 60 s bars",
    ),
    "one symbol in another spacing": (_coarse_symbol, QualityError, "ETHUSDT comes in steps of 180 s"),
    "a row of the next day": (value_at("ts", 119, START + 86_400_000), QualityError, r"row 119: .*2021-04-03.* not in the day"),
    "times in seconds": (lambda c: c | {"ts": c["ts"] // 1000}, QualityError, "row 0: .* is not in the day of the file's name"),
    "times in ns": (lambda c: c | {"ts": c["ts"] * 1_000_000}, QualityError, "row 0: .*no plausible time in ms"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_structural_fault_is_refused_with_its_place(tmp_path: Path, kline_columns: Make, put_parquet: Put, name: str) -> None:
    spoil, error, message = REFUSED[name]
    path = put_parquet(tmp_path / f"{DATE}.parquet", spoil(kline_columns()))
    with pytest.raises(error, match=message) as caught:
        KlineStore(tmp_path).load(DATE)
    assert str(path) in str(caught.value)


def test_a_duplicate_column_is_refused(tmp_path: Path, kline_columns: Make) -> None:
    columns = kline_columns()
    names = [*columns, "close"]
    table = pa.Table.from_arrays([pa.array(columns[name]) for name in names], names=names)
    pq.write_table(table, tmp_path / f"{DATE}.parquet")
    with pytest.raises(SchemaError, match="column close: the column comes twice"):
        KlineStore(tmp_path).load(DATE)


@pytest.mark.parametrize("spoil", ["empty", "half", "text", "no footer", "folder"])
def test_what_is_not_parquet_is_refused(tmp_path: Path, kline_columns: Make, put_parquet: Put, spoil: str) -> None:
    path = put_parquet(tmp_path / f"{DATE}.parquet", kline_columns())
    data = path.read_bytes()
    path.unlink()
    if spoil == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "text": b"ts,open\n1,2\n", "no footer": data[:-8]}[spoil])
    with pytest.raises(MalformedFile, match="cannot be read"):
        KlineStore(tmp_path).load(DATE)


@pytest.mark.parametrize("cap", ["MAX_CELLS", "MAX_BYTES"])
def test_a_parquet_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, kline_columns: Make, put_parquet: Put, monkeypatch: pytest.MonkeyPatch, cap: str
) -> None:
    """The footer declares rows and bytes; no column is read once they exceed the caps."""

    def unpacks(*_: object, **__: object) -> None:
        raise AssertionError("a column was read")

    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns())
    monkeypatch.setattr(parquet, cap, 200)
    monkeypatch.setattr(pq.ParquetFile, "read", unpacks)
    with pytest.raises(MalformedFile, match=r"declares 120 rows and \d+ bytes after decompression"):
        KlineStore(tmp_path, bar_seconds=60).load(DATE)


def test_days_of_different_bar_intervals_in_one_folder_are_refused(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / "2021-04-02.parquet", kline_columns("2021-04-02"), {"bar_seconds": "60"})
    put_parquet(tmp_path / "2021-04-03.parquet", kline_columns("2021-04-03"), {"bar_seconds": "300"})
    store = KlineStore(tmp_path)
    store.load("2021-04-02")
    with pytest.raises(QualityError, match=r"2021-04-03.parquet: bar_seconds = 300, the folder has 60"):
        store.load("2021-04-03")


@pytest.mark.parametrize("value", ["0", "7", "-60", "60.0", "x", "1e2", "86401", "٦٠"])
def test_an_impossible_bar_interval_is_refused(tmp_path: Path, kline_columns: Make, put_parquet: Put, value: str) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns(), {"bar_seconds": value})
    with pytest.raises(SchemaError, match="bar_seconds"):
        KlineStore(tmp_path).load(DATE)


def test_rows_that_disagree_with_the_stated_interval_are_refused(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns(bar_seconds=300), {"bar_seconds": "60"})
    with pytest.raises(QualityError, match="ADAUSDT comes in steps of 300 s"):
        KlineStore(tmp_path).load(DATE)


def test_folders_without_days_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="no such folder"):
        KlineStore(tmp_path / "absent")
    (tmp_path / ".2021-04-02.parquet.77.tmp").write_bytes(b"left by a crash")
    (tmp_path / "2021-04-02.parquet.STALE_2026-11-21").write_bytes(b"x")
    (tmp_path / "2021-13-02.parquet").write_bytes(b"x")
    with pytest.raises(QualityError, match="there is no YYYY-MM-DD"):
        KlineStore(tmp_path)


def test_a_single_bar_needs_the_interval_told(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", kline_columns(bars=1))
    with pytest.raises(QualityError, match="pass bar_seconds"):
        KlineStore(tmp_path).load(DATE)
    assert KlineStore(tmp_path, bar_seconds=60).load(DATE).closes.shape == (1, 3)


def test_every_refusal_is_a_data_error() -> None:
    assert all(issubclass(error, DataError) for _, error, _ in REFUSED.values())
