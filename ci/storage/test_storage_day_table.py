"""Day tables: round trip, what is refused, quarantined and warned of, the working copy, the rebuild check."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.storage import parquet
from dolphin.storage.day_table import DayTable, list_days, read_day, write_day
from dolphin.storage.publish import stale_aside
from dolphin.storage.rebuild import Difference, compare_days
from dolphin.storage.schema import SIGNALS, day_start
from dolphin.storage.sidecar import sidecar_path

DATE = "2021-04-02"
START = day_start(DATE)

type Columns = dict[str, Any]
type Make = Callable[..., Any]
type Put = Callable[..., Path]


def assert_same(a: DayTable, b: DayTable) -> None:
    """Every field bit for bit, warnings aside."""
    for name in ("date", "bar_seconds", "assets", "metadata", "complete"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("ts", "scan_number", "closes"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right, err_msg=name)
    assert list(a.signals) == list(b.signals)
    for name in a.signals:
        np.testing.assert_array_equal(a.signals[name], b.signals[name], err_msg=name)


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize(("rows", "assets", "bar_seconds"), [(1440, 3, 60), (37, 1, 5), (1, 40, 3600)])
def test_a_written_day_comes_back_bit_for_bit(
    tmp_path: Path, day_table: Make, sidecar: bool, rows: int, assets: int, bar_seconds: int
) -> None:
    table = day_table(rows=min(rows, 86_400 // bar_seconds), assets=max(assets, 2), bar_seconds=bar_seconds)
    path = write_day(tmp_path, table, sidecar=sidecar)
    for again in (read_day(path, sidecar=sidecar), read_day(path, sidecar=sidecar), read_day(path, sidecar=not sidecar)):
        assert_same(again, table)
        assert again.warnings == ()
        assert again.closes.flags.c_contiguous
        assert not again.closes.flags.writeable


def test_the_file_is_what_the_specification_says(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table())
    file = pq.ParquetFile(path)
    assert file.schema_arrow.names[:8] == ["timestamp", *SIGNALS]
    assert str(file.schema_arrow.field("timestamp").type) == "int64"
    assert {str(file.schema_arrow.field(n).type) for n in (*SIGNALS, "A00USDT")} == {"double"}
    facts = {k.decode(): v.decode() for k, v in file.schema_arrow.metadata.items()}
    assert (facts["bar_seconds"], facts["rows"], facts["complete"], facts["path"]) == ("60", "1440", "true", "stream")
    assert facts["settings_hash"] == "5e77ab1e"
    assert '"file": "2021-04-02.parquet"' in facts["sources"]
    assert file.metadata.num_row_groups == 1
    assert "BYTE_STREAM_SPLIT" in file.metadata.row_group(0).column(8).encodings
    assert "RLE_DICTIONARY" not in file.metadata.row_group(0).column(8).encodings


def test_a_warm_read_imports_neither_pyarrow_nor_pandas_nor_numba(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table())
    code = f"import sys; from dolphin.storage.day_table import read_day; read_day({str(path)!r})"
    code += "; print([m for m in ('pyarrow', 'pandas', 'numba', 'zstandard') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_chosen_columns_come_in_the_asked_order_and_absent_ones_are_no_price(tmp_path: Path, day_table: Make) -> None:
    table = day_table()
    path = write_day(tmp_path, table)
    some = read_day(path, ["A02USDT", "ZZUSDT", "A00USDT"])
    assert some.assets == ("A02USDT", "ZZUSDT", "A00USDT")
    np.testing.assert_array_equal(some.closes[:, [0, 2]], table.closes[:, [2, 0]])
    assert np.isnan(some.closes[:, 1]).all()
    assert some.closes.flags.c_contiguous


def test_a_partial_day_has_its_own_name_and_goes_when_the_whole_day_comes(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table(rows=700), partial=True)
    assert path.name == f"{DATE}.partial.parquet"
    assert list_days(tmp_path) == ()
    assert list_days(tmp_path, partial=True) == (path,)
    part = read_day(path)
    assert not part.complete
    assert "11:40..23:59 (740 bars)" in part.warnings[0]
    whole = write_day(tmp_path, day_table())
    assert list_days(tmp_path) == (whole,)
    assert list_days(tmp_path, partial=True) == ()
    assert read_day(whole).complete


def test_days_are_listed_without_temporaries_stale_and_other_files(tmp_path: Path, day_table: Make) -> None:
    for date in ("2021-04-03", "2021-04-02"):
        write_day(tmp_path, day_table(date))
    stale_aside(tmp_path / "2021-04-02.parquet", "2026-11-21")
    (tmp_path / ".2021-04-04.parquet.12.tmp").write_bytes(b"crash")
    (tmp_path / "notes.parquet").write_bytes(b"x")
    assert [p.name for p in list_days(tmp_path)] == ["2021-04-02.parquet", "2021-04-03.parquet"]


# ------------------------------------------------------------------------------------------------------- foreign files


def test_a_foreign_file_without_optional_parts_loads(tmp_path: Path, day_columns: Make, put_parquet: Put) -> None:
    path = put_parquet(tmp_path / f"{DATE}.parquet", day_columns(), {"complete": "true"})
    table = read_day(path)
    assert (table.bar_seconds, table.complete, table.scan_number, table.warnings) == (60, True, None, ())
    assert list(table.signals) == list(SIGNALS)


def test_a_legacy_file_without_timestamps_loads_by_row_index(tmp_path: Path, day_columns: Make, put_parquet: Put) -> None:
    columns = day_columns()
    del columns["timestamp"]
    table = read_day(put_parquet(tmp_path / f"{DATE}.parquet", columns))
    assert table.ts is None
    assert table.bar_seconds == 60
    assert "column timestamp: missing (legacy), the row index stands in" in table.warnings[0]
    odd = {name: values[:1431] for name, values in columns.items()}
    assert read_day(put_parquet(tmp_path / f"{DATE}.parquet", odd)).bar_seconds == 0


def test_a_day_cut_short_is_named_against_its_neighbours(
    tmp_path: Path, day_table: Make, day_columns: Make, put_parquet: Put, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache built in mid-day once dropped 435 scans silently."""
    for date in ("2021-04-01", "2021-04-03"):
        write_day(tmp_path, day_table(date))
    keep = np.array([i for i in range(1440 - 430) if i not in range(600, 605)])
    columns = {name: values[keep] for name, values in day_columns().items()}
    path = put_parquet(tmp_path / f"{DATE}.parquet", columns)
    with caplog.at_level(logging.WARNING, "dolphin.storage"):
        table = read_day(path)
    assert not table.complete
    (warning,) = table.warnings
    assert "not marked complete; 1005 rows" in warning
    assert "neighbours 2021-04-01 (1440 rows) and 2021-04-03 (1440 rows)" in warning
    assert "lacks 435 bars: 10:00..10:04 (5 bars), 16:50..23:59 (430 bars)" in warning
    assert warning in caplog.text
    assert read_day(path).warnings == table.warnings, "a working copy does not swallow the warning"


def test_the_warning_follows_the_neighbours(tmp_path: Path, day_table: Make, day_columns: Make, put_parquet: Put) -> None:
    path = put_parquet(tmp_path / f"{DATE}.parquet", {name: v[:100] for name, v in day_columns().items()})
    assert "a full day (no neighbour beside it) it lacks 1340 bars" in read_day(path).warnings[0]
    write_day(tmp_path, day_table("2021-04-01", rows=120))
    assert "01:40..01:59 (20 bars)" in read_day(path).warnings[0]


def test_unknown_columns_are_ignored_and_named(tmp_path: Path, day_columns: Make, put_parquet: Put) -> None:
    columns = day_columns() | {"btcusdt": np.ones(1440), "note": np.full(1440, "x")}
    table = read_day(put_parquet(tmp_path / f"{DATE}.parquet", columns, {"complete": "true"}))
    assert [w.split(": ", 1)[1] for w in table.warnings] == ["column btcusdt: unknown, ignored", "column note: unknown, ignored"]
    assert table.assets == ("A00USDT", "A01USDT", "A02USDT")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.0, -3.0, 1e308])
def test_an_impossible_price_is_no_price(tmp_path: Path, day_columns: Make, put_parquet: Put, value: float) -> None:
    columns = day_columns()
    columns["A01USDT"][[700, 900]] = value
    path = put_parquet(tmp_path / f"{DATE}.parquet", columns, {"complete": "true"})
    table = read_day(path)
    assert np.isnan(table.closes[[700, 900], 1]).all()
    assert int(np.isnan(table.closes).sum()) == 3
    assert table.warnings == (f"{path}: column A01USDT, row 700: {value} is no price (2 such values in the column read as NaN)",)


@pytest.mark.parametrize(("column", "value"), [("vel_div", np.inf), ("vel_div", -1e308), ("instability_50", 1e5)])
def test_an_impossible_signal_is_no_signal(tmp_path: Path, day_columns: Make, put_parquet: Put, column: str, value: float) -> None:
    columns = day_columns()
    columns[column][700] = value
    table = read_day(put_parquet(tmp_path / f"{DATE}.parquet", columns, {"complete": "true"}))
    assert np.isnan(table.signals[column][700])
    assert f"column {column}, row 700: {value} is no signal (1 such value in" in table.warnings[0]


def _shift(row: int, ms: int) -> Callable[[Columns], Columns]:
    def change(columns: Columns) -> Columns:
        columns["timestamp"][row] += ms
        return columns

    return change


def _without(*names: str) -> Callable[[Columns], Columns]:
    return lambda columns: {k: v for k, v in columns.items() if k not in names}


def _with(name: str, values: Any) -> Callable[[Columns], Columns]:
    return lambda columns: columns | {name: values}


REFUSED = {
    "missing signal": (_without("instability_150"), {}, SchemaError, "column instability_150: the column is missing"),
    "no asset": (_without("A00USDT", "A01USDT", "A02USDT"), {}, SchemaError, "there is no asset column"),
    "signal as text": (_with("vel_div", np.full(1440, "x")), {}, SchemaError, "column vel_div: is string but must be float"),
    "price as integer": (_with("A00USDT", np.ones(1440, dtype=np.int64)), {}, SchemaError, "column A00USDT: is int64 but must be float"),
    "timestamp as float": (lambda c: c | {"timestamp": c["timestamp"] * 1.0}, {}, SchemaError, "column timestamp: is double"),
    "scan number as float": (_with("scan_number", np.ones(1440)), {}, SchemaError, "column scan_number: is double"),
    "zero rows": (lambda c: {k: v[:0] for k, v in c.items()}, {}, QualityError, "the file has no rows"),
    "repeated timestamp": (_shift(8, -60_000), {}, QualityError, "column timestamp, row 8: the timestamp .* repeats the one before"),
    "decreasing timestamp": (_shift(8, -90_000), {}, QualityError, "column timestamp, row 8: .* is earlier than the one before"),
    "off the grid": (_shift(8, 30_000), {}, QualityError, r"row 8: the row spacing \(00:09:30\) disagrees with bar_seconds = 60"),
    "another spacing": (lambda c: {k: v[::5] for k, v in c.items()}, {"bar_seconds": "60"}, QualityError, "with bar_seconds = 60"),
    "spacing of no use": (lambda c: c | {"timestamp": START + 7000 * np.arange(1, 1441)}, {}, SchemaError, "'7' is not a whole number"),
    "another date": (lambda c: c | {"timestamp": c["timestamp"] + 86_400_000}, {}, QualityError, "row 0: .*2021-04-03.* not in the day"),
    "day before": (lambda c: c | {"timestamp": c["timestamp"] - 86_400_000}, {}, QualityError, "row 0: .*2021-04-01.* not in the day"),
    "opens, not closes": (lambda c: c | {"timestamp": c["timestamp"] - 60_000}, {}, QualityError, "row 0: the row spacing"),
    "impossible interval": (lambda c: c, {"bar_seconds": "7"}, SchemaError, "bar_seconds = '7'"),
    "claims our format": (lambda c: c, {"format": "dolphin-day/1"}, MalformedFile, "not those that were written"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_structural_fault_is_refused_with_its_place(tmp_path: Path, day_columns: Make, put_parquet: Put, name: str) -> None:
    spoil, metadata, error, message = REFUSED[name]
    path = put_parquet(tmp_path / f"{DATE}.parquet", spoil(day_columns()), metadata)
    with pytest.raises(error, match=message) as caught:
        read_day(path)
    assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "a refused file leaves no working copy"


def test_a_duplicate_column_is_refused(tmp_path: Path, day_columns: Make) -> None:
    columns = day_columns()
    names = [*columns, "A00USDT"]
    path = tmp_path / f"{DATE}.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(columns[n]) for n in names], names=names), path)
    with pytest.raises(SchemaError, match="column A00USDT: the column comes twice"):
        read_day(path)


@pytest.mark.parametrize("name", ["2021-04-02.pq", "2021-4-2.parquet", "2021-02-30.parquet", "x.parquet"])
def test_a_name_that_is_no_date_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SchemaError, match="the name is not YYYY-MM-DD"):
        read_day(tmp_path / name)


def test_a_renamed_day_is_refused(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table(), sidecar=False)
    with pytest.raises(QualityError, match="is not in the day of the file's name"):
        read_day(path.rename(tmp_path / "2021-04-05.parquet"))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"timestamp,vel_div\n"])
def test_what_is_not_parquet_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / f"{DATE}.parquet"
    path.write_bytes(data)
    with pytest.raises(MalformedFile, match=r"2021-04-02\.parquet: cannot be read"):
        read_day(path)
    path.unlink()
    with pytest.raises(MalformedFile, match="no such file"):
        read_day(path)


def test_a_bomb_is_refused_by_its_footer(tmp_path: Path, day_table: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_day(tmp_path, day_table(), sidecar=False)
    monkeypatch.setattr(parquet, "MAX_CELLS", 1000)
    with pytest.raises(MalformedFile, match="declares 1440 rows"):
        read_day(path)


def _poke(table: DayTable, row: int, value: float) -> DayTable:
    closes = table.closes.copy()
    closes[row, 0] = value
    return replace(table, closes=closes)


UNWRITABLE = {
    "infinite price": (lambda t: _poke(t, 3, np.inf), QualityError, "column A00USDT, row 3: inf cannot be written"),
    "infinite signal": (lambda t: replace(t, signals={**t.signals, "vel_div": np.full(1440, 1e9)}), QualityError, "vel_div, row 0"),
    "missing signal": (lambda t: replace(t, signals={"vel_div": t.signals["vel_div"]}), SchemaError, "column v50_lambda_max_velocity"),
    "unknown signal": (lambda t: replace(t, signals={**t.signals, "x": t.closes[:, 0]}), SchemaError, "column x: is no signal"),
    "float32 block": (lambda t: replace(t, closes=t.closes.astype(np.float32)), SchemaError, r"closes are float32\[1440, 3\]"),
    "no timestamps": (lambda t: replace(t, ts=None), SchemaError, "column timestamp: must be int64"),
    "unsorted": (lambda t: replace(t, ts=t.ts[::-1].copy()), QualityError, "row 1: .* is earlier"),
    "no interval": (lambda t: replace(t, bar_seconds=0), SchemaError, "bar_seconds = '0'"),
    "odd asset": (lambda t: replace(t, assets=("A00USDT", "A01USDT", "btc")), SchemaError, "column btc: is not an asset name"),
    "asset twice": (lambda t: replace(t, assets=("A00USDT", "A01USDT", "A01USDT")), SchemaError, "column A01USDT: .* comes twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_would_be_refused_is_not_written(tmp_path: Path, day_table: Make, name: str) -> None:
    spoil, error, message = UNWRITABLE[name]
    with pytest.raises(error, match=message):
        write_day(tmp_path, spoil(day_table()))
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- working copy


def test_the_working_copy_is_used_and_renewed_when_the_day_changes(
    tmp_path: Path, day_table: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = day_table(), _poke(day_table(), 5, 123.0)
    path = write_day(tmp_path, first)
    with monkeypatch.context() as patch:
        patch.setattr("dolphin.storage.day_table.read_file", None)
        assert_same(read_day(path), first)
    write_day(tmp_path, second, sidecar=False)
    assert_same(read_day(path), second)
    with monkeypatch.context() as patch:
        patch.setattr("dolphin.storage.day_table.read_file", None)
        assert_same(read_day(path), second)


def test_a_cache_folder_keeps_the_day_folder_clean(tmp_path: Path, day_table: Make) -> None:
    days, cache = tmp_path / "days", tmp_path / "cache"
    path = write_day(days, day_table(), cache=cache)
    assert [p.name for p in days.iterdir()] == [path.name]
    assert sidecar_path(path, cache).is_file()
    assert_same(read_day(path, cache=cache), day_table())


def test_a_folder_that_cannot_be_written_to_is_no_fault(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table(), sidecar=False)
    (tmp_path / "file").write_bytes(b"in the way")
    assert_same(read_day(path, cache=tmp_path / "file" / "cache"), day_table())


def test_a_leftover_partial_copy_is_never_read(tmp_path: Path, day_table: Make) -> None:
    path = write_day(tmp_path, day_table(), sidecar=False)
    copy = sidecar_path(path)
    copy.with_name(f".{copy.name}.99.tmp").write_bytes(b"DOLPHIN1")
    assert_same(read_day(path), day_table())


# ------------------------------------------------------------------------------------------------------- rebuild check


def test_a_fresh_scan_that_agrees_finds_nothing(day_table: Make) -> None:
    near = replace(day_table(), signals={**day_table().signals, "vel_div": day_table().signals["vel_div"] + 5e-11})
    assert compare_days(day_table(), near) == []


def test_stale_values_and_lost_rows_are_found(day_table: Make) -> None:
    fresh, cached = day_table(), day_table()
    vel_div = cached.signals["vel_div"].copy()
    vel_div[100] += 2e-10
    vel_div[200] = np.nan
    vel_div[10] = 0.5
    keep = np.array([i for i in range(1440) if i != 300])
    cut = replace(
        cached, signals={"vel_div": vel_div[keep]}, ts=cached.ts[keep] if cached.ts is not None else None, closes=cached.closes[keep]
    )
    found = compare_days(cut, fresh)
    assert [(d.row, d.column) for d in found] == [(10, "vel_div"), (100, "vel_div"), (200, "vel_div"), (-1, "timestamp")]
    assert found[1] == Difference(100, START + 101 * 60_000, "vel_div", float(vel_div[100]), float(fresh.signals["vel_div"][100]))
    assert found[3].ts == START + 301 * 60_000
    assert np.isnan(found[0].fresh)
    extra = compare_days(fresh, cut)
    assert (extra[-1].row, extra[-1].column, extra[-1].fresh) == (300, "timestamp", pytest.approx(np.nan, nan_ok=True))


def test_a_legacy_cache_is_compared_by_row(day_table: Make) -> None:
    cached = replace(day_table(), ts=None)
    assert compare_days(cached, day_table()) == []
    short = replace(day_table(), ts=None, closes=cached.closes[:-1], signals={"vel_div": cached.signals["vel_div"][:-1]})
    assert [(d.row, d.column) for d in compare_days(short, day_table())] == [(-1, "timestamp")]
    with pytest.raises(QualityError, match="compares 2021-04-02 with 2021-04-03"):
        compare_days(cached, day_table("2021-04-03"))
