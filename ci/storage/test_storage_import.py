"""``data import``: every layout gives the same days, bad sources are refused with their place, and a refused import changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from kline_sources import HEADER, LAYOUTS, NAME, ROWS, START, csv, feather, klines, put

from dolphin.errors import DataError, MalformedFile, QualityError, SchemaError
from dolphin.storage.importers import import_klines
from dolphin.storage.kline_file import read_rows
from dolphin.storage.klines import KlineStore
from dolphin.storage.layouts import interval_of, symbol_of

DATE = "2024-01-02"

type Rows = list[list[float]]
type Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_days(tmp_path: Path, layout: str) -> None:
    """1500 bars from 00:00: 1440 belong to the first day (the last opened 23:59), 60 to the next."""
    rows = klines()
    source = put(tmp_path / "in", layout, rows)
    report = import_klines([source], tmp_path / "out")
    assert [(d.date, d.rows, d.symbols, d.action) for d in report.days] == [
        ("2024-01-02", 1440, 1, "written"),
        ("2024-01-03", 60, 1, "written"),
    ]
    assert (report.bar_seconds, report.sources[0].rows, report.sources[0].symbols) == (60, 1500, ("BTCUSDT",))
    store = KlineStore(tmp_path / "out")
    bars = [store.load_ohlc(date) for date in store.dates()]
    wanted = np.array(rows)
    for column, name in enumerate(("ts", "opens", "highs", "lows", "closes", "volumes")):
        np.testing.assert_array_equal(np.concatenate([np.ravel(getattr(day, name)) for day in bars]), wanted[:, column], err_msg=name)
    held = pq.read_schema(store.path("2024-01-02")).metadata
    assert held[b"bar_seconds"] == b"60"
    assert json.loads(held[b"sources"])[0]["file"] == source.name
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["2024-01-02.parquet", "2024-01-03.parquet"]


def test_a_folder_of_many_symbols_is_merged_into_days(tmp_path: Path) -> None:
    for seed, symbol in ((1, "BTCUSDT"), (2, "ADAUSDT")):
        (tmp_path / f"{symbol}-1m-2024-01-02.csv").write_text(csv(klines(1440, seed)))
    (tmp_path / "readme.txt").write_text("not klines")
    report = import_klines([tmp_path], tmp_path / "out")
    assert [(d.rows, d.symbols) for d in report.days] == [(2880, 2)]
    day = KlineStore(tmp_path / "out").load(DATE)
    assert day.symbols == ("ADAUSDT", "BTCUSDT")
    np.testing.assert_array_equal(day.closes[:, 0], np.array(klines(1440, 2))[:, 4])
    assert report.quality.gaps == ()


def test_an_unsorted_source_is_sorted_and_overlapping_ones_are_used_once(tmp_path: Path) -> None:
    rows = klines(100)
    (tmp_path / "BTCUSDT-1m-2024-01-02.csv").write_text(csv(rows[50:] + rows[:50]))
    (tmp_path / "BTCUSDT-1m-2024-01.csv").write_text(csv(rows[30:60]))
    report = import_klines([tmp_path], tmp_path / "out")
    np.testing.assert_array_equal(KlineStore(tmp_path / "out").load(DATE).closes[:, 0], np.array(rows)[:, 4])
    assert report.quality.count("duplicate") == 30


def test_a_second_import_leaves_the_same_day_alone_and_merges_only_when_asked(tmp_path: Path) -> None:
    rows, out = klines(100), tmp_path / "out"
    first = put(tmp_path / "a", "csv", rows[:60])
    import_klines([first], out)
    before = (out / f"{DATE}.parquet").stat().st_mtime_ns
    assert [d.action for d in import_klines([first], out).days] == ["unchanged"]
    assert (out / f"{DATE}.parquet").stat().st_mtime_ns == before
    second = put(tmp_path / "b", "csv", rows[40:])
    with pytest.raises(QualityError, match=r"2024-01-02.parquet: the day is there already, without 40 of these rows"):
        import_klines([second], out)
    report = import_klines([second], out, merge=True)
    assert [(d.action, d.rows) for d in report.days] == [("merged", 100)]
    np.testing.assert_array_equal(KlineStore(out).load(DATE).closes[:, 0], np.array(rows)[:, 4])
    sources = json.loads(pq.read_schema(out / f"{DATE}.parquet").metadata[b"sources"])
    assert [s["file"] for s in sources] == [f"{DATE}.parquet", second.name]


@pytest.mark.parametrize("merge", [True, False])
def test_a_row_that_contradicts_the_day_that_is_there_is_refused(tmp_path: Path, merge: bool) -> None:
    rows, out = klines(60), tmp_path / "out"
    import_klines([put(tmp_path / "a", "csv", rows)], out)
    held = (out / f"{DATE}.parquet").read_bytes()
    rows[17][4] *= 1.0001
    changed = put(tmp_path / "b", "csv", rows)
    with pytest.raises(QualityError, match=r"row 17: BTCUSDT at 2024-01-02 00:17 contradicts row 17 of .*out/2024-01-02.parquet") as caught:
        import_klines([changed], out, merge=merge)
    assert caught.value.path == changed
    assert (out / f"{DATE}.parquet").read_bytes() == held


def test_two_sources_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rows = klines(60)
    (tmp_path / "BTCUSDT-1m-2024-01-02.csv").write_text(csv(rows))
    rows[5][1] += 0.5
    rows[5][2] += 5
    (tmp_path / "BTCUSDT-1m-2024-01.csv").write_text(csv(rows))
    with pytest.raises(QualityError, match="row 5: BTCUSDT at 2024-01-02 00:05 contradicts row 5 of"):
        import_klines([tmp_path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_import_of_another_bar_interval_into_a_folder_is_refused(tmp_path: Path) -> None:
    import_klines([put(tmp_path / "a", "csv", klines(60))], tmp_path / "out")
    path = tmp_path / "BTCUSDT-5m-2024-01-02.csv"
    path.write_text(csv(klines(60, bar_seconds=300)))
    with pytest.raises(QualityError, match="holds 60 s bars, the import is of 300 s bars"):
        import_klines([path], tmp_path / "out", merge=True)


def test_quality_is_counted_by_source_and_row_and_values_are_not_changed(tmp_path: Path) -> None:
    rows = klines(100)
    rows[10][1:5] = [v * 10 for v in rows[10][1:5]]
    rows[20][4] = -5.0
    rows[30][3] = rows[30][4] * 1.5
    source = put(tmp_path / "in", "csv header", rows)
    report = import_klines([source], tmp_path / "out")
    assert report.quality.counts == (("jump", 1), ("not_a_price", 1), ("ohlc_order", 1))
    places = {(f.rule, f.path, f.row, f.column) for f in report.quality.examples}
    assert places == {
        ("jump", str(source), 10, "close"),
        ("not_a_price", str(source), 20, "low") if rows[20][3] <= 0 else ("not_a_price", str(source), 20, "close"),
        ("ohlc_order", str(source), 30, "low"),
    }
    assert pq.read_table(tmp_path / "out" / f"{DATE}.parquet")["close"].to_pylist() == [r[4] for r in rows]
    assert np.flatnonzero(np.isnan(KlineStore(tmp_path / "out").load(DATE).closes[:, 0])).tolist() == [10, 20, 30]


def test_pairs_that_cannot_be_assets_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"BTC/USDT:USDT": klines(30), "BTC/BUSD": klines(30, 2)}))
    report = import_klines([path], tmp_path / "out")
    assert report.quality.counts == (("symbol", 1),)
    assert report.quality.examples[0].value == "BTCBUSD"
    assert KlineStore(tmp_path / "out").symbols() == ("BTCUSDT",)
    path.write_text(json.dumps({"BTC/BUSD": klines(30, 2)}))
    with pytest.raises(QualityError, match="no source has a symbol that can be an asset"):
        import_klines([path], tmp_path / "out2")


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USDT:USDT", "BTCUSDT"), ("BTC/USDT", "BTCUSDT"), ("BTC_USDT_USDT", "BTCUSDT"), ("1000PEPE_USDT", "1000PEPEUSDT"),
        ("BTCUSDT", "BTCUSDT"), ("BTC-PERP", "BTC-PERP"), ("BTC/USDT:USDT-240628", ""), ("btc", ""), ("BTC/USDT:BTC", ""), ("", ""),
    ],
)  # fmt: skip
def test_symbols_are_read_from_any_spelling(text: str, symbol: str) -> None:
    assert symbol_of(text) == symbol


def test_intervals_are_read_from_names() -> None:
    assert [interval_of(t) for t in ("1m", "5s", "1h", "15m", "1d", "1M", "2024", "m")] == [60, 5, 3600, 900, 86_400, 0, 0, 0]


def test_a_file_whose_name_tells_nothing_needs_the_symbol(tmp_path: Path) -> None:
    path = tmp_path / "export of my broker.csv"
    path.write_text(csv(klines(30)))
    with pytest.raises(SchemaError, match=r"tells no symbol \(pass symbol\)"):
        import_klines([path], tmp_path / "out")
    import_klines([path], tmp_path / "out", symbol="BTCUSDT")
    assert KlineStore(tmp_path / "out").symbols() == ("BTCUSDT",)


def test_a_single_bar_needs_the_interval_told(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(csv(klines(1)))
    with pytest.raises(QualityError, match="pass bar_seconds"):
        import_klines([path], tmp_path / "out")
    assert import_klines([path], tmp_path / "out", bar_seconds=60).bar_seconds == 60


# ------------------------------------------------------------------------------------------------------------- refused


def _line(rows: Rows, row: int, text: str, header: bool = False) -> str:
    lines = csv(rows, header).splitlines()
    lines[row + header] = text
    return "\n".join(lines)


GOOD_LINE = csv(ROWS[7:8]).strip()

BAD_TEXT = {
    "empty": (NAME, "", DataError, "csv"),
    "header only": (NAME, HEADER + "\n", DataError, "no rows|Empty CSV"),
    "word for a price": (NAME, _line(ROWS, 7, GOOD_LINE.replace(",", ",x", 1)), MalformedFile, "column open, row 7: cannot be read"),
    "word for a time": (NAME, _line(ROWS, 7, "x" + GOOD_LINE, header=True), MalformedFile, "column ts, row 7: cannot be read"),
    "empty time": (NAME, _line(ROWS, 7, GOOD_LINE[13:]), QualityError, "column ts, row 7: the value is empty"),
    "short row": (NAME, _line(ROWS, 7, "1,2,3"), MalformedFile, "row 7: cannot be read: .*Expected 12 columns, got 3"),
    "half a row": (NAME, csv(ROWS)[:-60], MalformedFile, "row 39: cannot be read: .*Expected 12 columns"),
    "other width": (NAME, "1704153600000,1,2,3\n", SchemaError, "has 4 columns and no header"),
    "header without close": (NAME, csv(ROWS, header=True).replace(",close,", ",shut,", 1), SchemaError, "column close: .* once"),
    "header with close twice": (NAME, csv(ROWS, header=True).replace(",count,", ",close,", 1), SchemaError, "column close: .* once"),
    "semicolons": (NAME, csv(ROWS).replace(",", ";"), SchemaError, "column"),
    "seconds": (NAME, csv([[r[0] // 1000, *r[1:]] for r in ROWS]), QualityError, "column ts, row 0: 1704153600 is no time in ms"),
    "ms and us mixed": (NAME, _line(ROWS, 7, GOOD_LINE.replace(",", "000,", 1)), QualityError, "column ts, row 7: .* is no time in ms"),
    "off the grid": (NAME, csv([*ROWS[:7], [ROWS[7][0] + 30_000, *ROWS[7][1:]]]), QualityError, "row 7: 00:07:30 is off the grid"),
    "named 1m, is 5m": (NAME, csv(klines(40, bar_seconds=300)), QualityError, "comes in steps of 300 s"),
    "funding, not klines": ("BTC_USDT_USDT-8h-funding_rate.json", json.dumps(ROWS), SchemaError, "holds funding_rate, not klines"),
    "json text": ("BTC_USDT-1m.json", "hello", MalformedFile, "is not rows"),
    "json cut": ("BTC_USDT-1m.json", json.dumps(ROWS)[:-9], MalformedFile, "is not rows"),
    "json of a word": ("BTC_USDT-1m.json", json.dumps([*ROWS[:3], [1, "x", 1, 1, 1, 1]]), MalformedFile, "column open, row 3: is not rows"),
    "json of five": ("BTC_USDT-1m.json", json.dumps([*ROWS[:3], [1, 2, 3, 4, 5]]), MalformedFile, "row 3: is not rows"),
    "json nested": ("BTC_USDT-1m.json", "[" * 100_000, MalformedFile, "is not rows"),
    "json empty": ("BTC_USDT-1m.json", "[]", QualityError, "has no rows"),
    "json huge time": ("BTC_USDT-1m.json", json.dumps([[10**30, 1, 1, 1, 1, 1]]), DataError, "BTC_USDT"),
    "ccxt odd key": ("a.json", json.dumps({"bitcoin": ROWS}), SchemaError, "'bitcoin' is not a pair"),
    "ccxt dated future": ("a.json", json.dumps({"BTC/USDT:USDT-240628": ROWS}), SchemaError, "is not a pair"),
    "unknown ending": ("BTCUSDT.xlsx", "x", SchemaError, "is not a source of layout auto"),
    "gzip of noise": ("BTCUSDT-1m.csv.gz", "noise", MalformedFile, "the cap is"),
    "gzip cut": ("BTCUSDT-1m.csv.gz", "\x1f\0\0\0", MalformedFile, "cannot be unpacked"),
    "zip of noise": ("BTCUSDT-1m.zip", "noise", MalformedFile, "cannot be unpacked"),
    "feather of noise": ("BTC_USDT-1m.feather", "noise", MalformedFile, "is not an Arrow IPC"),
    "parquet of noise": ("long.parquet", "noise", MalformedFile, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TEXT)
def test_a_bad_source_is_refused_with_its_place_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    file, text, error, message = BAD_TEXT[name]
    good = put(tmp_path / "good", "ccxt", klines(1440, start=START - 86_400_000))
    (tmp_path / file).write_text(text)
    with pytest.raises(error, match=message) as caught:
        import_klines([good, tmp_path / file], tmp_path / "out")
    assert file in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_absent_sources_and_unknown_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="there is no such file"):
        import_klines([tmp_path / "BTCUSDT-1m.csv"], tmp_path / "out")
    with pytest.raises(SchemaError, match="nothing to import"):
        import_klines([], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match="no file of a known layout"):
        import_klines([tmp_path / "empty"], tmp_path / "out")
    source = put(tmp_path / "in", "csv", ROWS)
    with pytest.raises(SchemaError, match="is not a source of layout freqtrade"):
        import_klines([source], tmp_path / "out", layout="freqtrade")
    with pytest.raises(SchemaError, match="layout 'mt4' is unknown"):
        import_klines([source], tmp_path / "out", layout="mt4")
    with pytest.raises(SchemaError, match="bar_seconds = '61'"):
        import_klines([source], tmp_path / "out", bar_seconds=61)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.drop_columns(["low"]), SchemaError, "column low: the column must be there once"),
        (lambda t: t.append_column("low", t["low"]), SchemaError, "column low: the column must be there once"),
        (lambda t: t.set_column(0, "date", t["date"].cast(pa.int64())), SchemaError, "column date: is int64 but must be a timestamp"),
        (lambda t: t.set_column(4, "close", t["close"].cast(pa.string())), SchemaError, "column close: is string but must be float"),
        (lambda t: t.slice(0, 0), QualityError, "has no rows"),
        (lambda t: t.set_column(0, "date", pa.array([None] * 40, t["date"].type)), QualityError, "column date, row 0: the value is null"),
    ],
)
def test_a_feather_file_with_wrong_columns_is_refused(tmp_path: Path, change: Any, error: type[DataError], message: str) -> None:
    path = feather(tmp_path / "BTC_USDT-1m.feather", ROWS)
    table = change(pa.feather.read_table(path))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(error, match=message):
        import_klines([path], tmp_path / "out")


# ----------------------------------------------------------------------------------------------------------- real data


@pytest.mark.real_data
def test_real_days_survive_the_import_unchanged(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "klines" / "perp_1m_2025-05"
    report = import_klines([folder / "2025-05-08.parquet", folder / "2025-05-09.parquet"], tmp_path)
    assert report.quality.counts == ()
    for date in ("2025-05-08", "2025-05-09"):
        before, after = KlineStore(folder).load(date), KlineStore(tmp_path).load(date)
        assert before.symbols == after.symbols
        np.testing.assert_array_equal(before.closes, after.closes)
        np.testing.assert_array_equal(before.ts, after.ts)


@pytest.mark.parametrize("layout", ["csv", "csv header", "zip"])
def test_turnover_trades_and_taker_volume_are_kept_where_the_source_tells_them(tmp_path: Path, layout: str) -> None:
    """A second import of the day as parquet keeps them too; a source of five numbers has none, and contradicts nothing."""
    import_klines([put(tmp_path / "in", layout, klines(1440))], tmp_path / "out")
    copied = import_klines([tmp_path / "out" / f"{DATE}.parquet"], tmp_path / "copy").days[0].path
    for path in (tmp_path / "out" / f"{DATE}.parquet", copied):
        flows = read_rows(path, volume=True).flows
        assert flows is not None
        assert [np.unique(column).tolist() for column in flows] == [[1.0], [7.0], [0.5]]
    assert KlineStore(tmp_path / "out").load(DATE).quality.counts == ()
    plain = put(tmp_path / "plain", "ccxt", klines(1440))
    assert import_klines([plain], tmp_path / "out", merge=True).days[0].action == "unchanged"
    assert read_rows(import_klines([plain], tmp_path / "bare").days[0].path, volume=True).flows is None


def test_a_flow_column_that_was_written_and_is_gone_is_refused(tmp_path: Path) -> None:
    import_klines([put(tmp_path / "in", "csv", klines(1440))], tmp_path / "out")
    path = tmp_path / "out" / f"{DATE}.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["trades"]), path)
    with pytest.raises(MalformedFile, match="column trades: the column that was written is gone"):
        KlineStore(tmp_path / "out").load(DATE)
