"""Outside series: known before they are used, units told apart, gaps named; medians of the eigenvalue velocity by day."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin.engine.breaker import AdaptiveCircuitBreaker, day_factors
from dolphin.errors import DataError, MalformedFile, QualityError, SchemaError
from dolphin.storage.archive import INDICATORS, SCAN_GLOBAL, ScanDay, write_scans
from dolphin.storage.day_table import DayTable, list_days, write_day
from dolphin.storage.indicators import (
    LAGS_MS,
    MacroSeries,
    daily_indicators,
    first_indicators,
    read_series,
    w750_of_archive,
    w750_of_days,
)
from dolphin.storage.schema import DAY_MS, date_of, day_start

DATE = "2024-03-01"
START = day_start(DATE)
HOUR = 3_600_000

type Put = Callable[..., Path]


def days(n: int, first: str = DATE) -> list[str]:
    return [date_of(day_start(first) + i * DAY_MS) for i in range(n)]


def stamps(n: int, step: int = DAY_MS) -> np.ndarray[Any, Any]:
    return START + step * np.arange(n, dtype=np.int64)


def series(factor: str, ts: Any, values: Any, lag: int | None = None) -> MacroSeries:
    return MacroSeries(factor, np.array(ts), np.array(values, dtype=float), LAGS_MS[factor] if lag is None else lag, Path("x"))


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# --------------------------------------------------------------------------------------------- known at the day's start


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.integers(1, 3 * DAY_MS), min_size=1, max_size=30),
    lag=st.sampled_from([0, 1, 60_000, DAY_MS]),
    asked=st.lists(st.integers(0, 40 * DAY_MS), min_size=1, max_size=20),
)
def test_a_value_counts_for_24_hours_from_when_it_is_known(steps: list[int], lag: int, asked: list[int]) -> None:
    """Against a plain search; nothing stamped (plus lag) after the moment is ever used, and later rows change nothing."""
    ts = np.cumsum(steps)
    source = series("fng", ts, np.arange(len(ts)), lag)
    got = source.as_of(np.array(asked))
    for moment, value in zip(asked, got.tolist(), strict=True):
        known = [i for i, t in enumerate(ts.tolist()) if t + lag <= moment]
        wanted = float(known[-1]) if known and moment - ts[known[-1]] - lag < DAY_MS else np.nan
        np.testing.assert_equal(value, wanted)
        head = series("fng", ts[: len(known)], np.arange(len(known)), lag).as_of(np.array([moment])) if known else [np.nan]
        np.testing.assert_equal(head[0], value)


def test_each_factor_has_its_lag() -> None:
    """At 00:00 of day D: fear and greed stamped D, DVOL and taker of day D-1, the funding paid at 16:00 of D-1."""
    sources = [series(f, stamps(3), [10.0, 20.0, 30.0]) for f in ("dvol_btc", "fng", "taker")]
    sources.append(series("funding_btc", stamps(7, 8 * HOUR), np.arange(7.0)))
    found = daily_indicators(sources, days(3))
    np.testing.assert_array_equal(found.values[2], [5.0, 20.0, 30.0, 20.0])
    np.testing.assert_array_equal(found.values[0], [np.nan, np.nan, 10.0, np.nan])
    assert found.gaps == tuple(f"{f}: no value for {DATE}" for f in ("funding_btc", "dvol_btc", "taker"))


def test_gaps_are_named_and_not_filled() -> None:
    """A missing day stays unknown; a factor without a series is one gap; stretches are named from first to last."""
    ts = np.delete(stamps(9), [3, 5, 6])
    found = daily_indicators([series("fng", ts, np.arange(6.0))], days(9))
    np.testing.assert_array_equal(np.isnan(found.values[:, 2]), np.isin(np.arange(9), [3, 5, 6]))
    assert found.gaps[2:4] == ("fng: no value for 2024-03-04", "fng: no value for 2024-03-06..2024-03-07 (2 days)")
    assert found.gaps[0] == "funding_btc: no value for 2024-03-01..2024-03-09 (9 days)"
    assert len(found.gaps) == 5


def test_the_breaker_takes_the_days_as_they_are() -> None:
    """From series to boost."""
    sources = [series("fng", stamps(3), [20, 20, 20]), series("dvol_btc", stamps(3), [85, 85, 85])]
    acb = AdaptiveCircuitBreaker(daily_indicators(sources, days(3)).by_date(), {})
    assert [acb.get_dynamic_boost_for_date(d)["signals"] for d in days(3)] == [0.0, 2.0, 2.0]


# ----------------------------------------------------------------------------------------------------------- layouts


def test_parquet_layouts(tmp_path: Path, put_parquet: Put) -> None:
    """Exchange funding, series and values, plain values, taker bars."""
    ts = stamps(4)
    funding = {"ts": np.repeat(stamps(4, 8 * HOUR), 2), "symbol": ["BTCUSDT", "ETHUSDT"] * 4, "funding_rate": [1e-4, 9e-4] * 4}
    one = read_series(put_parquet(tmp_path / "f.parquet", funding), "funding_btc")
    assert (one.ts.tolist(), one.values.tolist()) == (stamps(4, 8 * HOUR)[1:].tolist(), [1e-4] * 3)
    macro = put_parquet(tmp_path / "m.parquet", {"ts": np.tile(ts, 2), "series": ["dvol_btc"] * 4 + ["total3"] * 4, "value": [50.0] * 8})
    assert read_series(macro, "dvol_btc").values.tolist() == [50.0] * 4
    fear = put_parquet(tmp_path / "g.parquet", {"ts": ts, "value": np.array([10, 20, 30, 40], dtype=np.int32)})
    assert read_series(fear, "fng").values.tolist() == [10, 20, 30, 40]
    bars = {"ts": ts, "symbol": ["BTCUSDT"] * 4, "volume": [10.0, 10, 10, 5], "taker_buy_volume": [5.0, 4, 6, 5]}
    taker = read_series(put_parquet(tmp_path / "t.parquet", bars), "taker")
    assert taker.values.tolist() == pytest.approx([1.0, 4 / 6, 1.5]), "a bar without sells has no ratio"


def test_csv_layouts(tmp_path: Path) -> None:
    """A date or a time in ms, plain or packed, empty = unknown; percent funding by name of its column too."""
    plain = csv(tmp_path / "a.csv", "date,value", "2024-03-01,30", "2024-03-02,", "2024-03-03,35")
    got = read_series(plain, "fng")
    assert (got.ts.tolist(), got.values.tolist()) == ([START, START + 2 * DAY_MS], [30.0, 35.0])
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(f"\ufeffTS,series,value\n{START},dvol_btc,50\n{START},x,1\n{START + 1},dvol_btc,51\n".encode()))
    assert read_series(packed, "dvol_btc").values.tolist() == [50.0, 51.0]
    rates = csv(tmp_path / "c.csv", "ts,symbol,funding_rate", *(f"{t},BTCUSDT,0.01" for t in stamps(3, 8 * HOUR)))
    assert read_series(rates, "funding_btc", unit="percent").values.tolist() == pytest.approx([1e-4, 1e-4])


def test_hourly_funding_counts_eightfold(tmp_path: Path) -> None:
    """Each payment as 8 h; one gap does not change the interval, a real change does after two payments."""
    times = [START + HOUR * h for h in (0, 8, 16, 24, 25, 26, 27, 28, 31, 32, 33)]
    got = read_series(csv(tmp_path / "f.csv", "ts,value", *(f"{t},0.0001" for t in times)), "funding_btc")
    assert (got.values * 1e4).tolist() == pytest.approx([1, 1, 1, 1, 8, 8, 8, 8, 8, 8])


# ------------------------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("factor", "unit", "values", "message"),
    [
        ("funding_btc", "fraction", [0.01, 0.0075, -0.004], r"another unit .*that is percent: pass unit='percent'"),
        ("funding_btc", "percent", [1e-4, 0, -2e-4], r"another unit .*those are fractions: pass unit='fraction'"),
        ("funding_btc", "fraction", [1e-4, 1e-4, 0.06], r"row 2: 0.06 is no funding_btc: outside -0.05..0.05"),
        ("dvol_btc", "fraction", [0.5, 0.8, 0.6], r"another unit .*multiply by 100"),
        ("dvol_btc", "fraction", [50, 0, 60], r"row 1: 0 is no dvol_btc: outside 5..300"),
        ("fng", "fraction", [0.3, 0.8, 1.0], r"another unit .*multiply by 100"),
        ("fng", "fraction", [30, 101, 50], r"row 1: 101 is no fng: outside 0..100"),
        ("taker", "fraction", [0.49, 0.52, 0.5], r"another unit .*buyers' share s: pass s/\(1 - s\)"),
        ("taker", "fraction", [98, 103, 95], r"another unit .*percent: divide by 100"),
        ("taker", "fraction", [1.0, -1.0, 0.9], r"row 1: -1 is no taker"),
        ("fng", "fraction", ["inf", 30, 40], r"row 0: inf is no fng"),
        ("fng", "fraction", ["nan", "", "nan"], r"no value of fng is a number"),
    ],
)
def test_wrong_units_and_wild_values_are_refused_with_a_hint(
    tmp_path: Path, factor: str, unit: str, values: list[Any], message: str
) -> None:
    """By range: the file, the row or the figures, and what to do."""
    path = csv(tmp_path / "x.csv", "ts,value", *(f"{t},{v}" for t, v in zip(stamps(3), values, strict=True)))
    with pytest.raises(QualityError, match=message):
        read_series(path, factor, unit=unit)


@pytest.mark.parametrize(("step", "percent"), [(HOUR, 0.0006), (HOUR, 0.00125), (8 * HOUR, 0.005), (8 * HOUR, 0.01)])
def test_percent_is_told_from_fractions_at_any_funding_interval(tmp_path: Path, step: int, percent: float) -> None:
    """An hourly payment is an eighth: 0.0006 % an hour (the quietest month of BTC) would pass for a fraction if it were not counted so."""
    path = csv(tmp_path / "x.csv", "ts,value", *(f"{t},{percent}" for t in stamps(5, step)))
    with pytest.raises(QualityError, match="that is percent"):
        read_series(path, "funding_btc")
    assert read_series(path, "funding_btc", unit="percent").values.tolist() == pytest.approx([percent / 100 * 8 * HOUR / step] * 4)
    csv(path, "ts,value", *(f"{t},{percent / 100}" for t in stamps(5, step)))
    with pytest.raises(QualityError, match="those are fractions"):
        read_series(path, "funding_btc", unit="percent")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["ts,value", "1709251200,30"], r"row 0: 1709251200 is no time in ms"),
        (["ts,value", f"{START},30", f"{START},31"], r"row 1: 2024-03-01 repeats or is earlier"),
        (["ts,value", f"{START},30", f"{START - 1},31"], r"row 1: 2024-02-29 repeats or is earlier"),
        (["ts,value", f"{START},thirty"], r"column value, row 0: 'thirty' is no number"),
        (["ts,value", "yesterday,30"], r"column ts, row 0: 'yesterday' is no time in ms"),
        (["date,value", "2024-02-30,30"], r"column date, row 0: '2024-02-30' is not a date"),
        (["ts,value", f"{START}"], r"row 0: has 1 cells, the first line names 2"),
        (["ts,price", f"{START},30"], r"holds no fng .*found ts, price"),
        (["when,value", f"{START},30"], r"column date: the column must be there once"),
        (["ts,series,value", f"{START},other,30"], r"has no rows of fng .*series fng"),
        ([], r"holds no fng"),
        (["ts,value", '"unclosed,30'], r"is no CSV"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    """File, column and row."""
    with pytest.raises(DataError, match=message) as refused:
        read_series(csv(tmp_path / "bad.csv", *lines), "fng")
    assert "bad.csv" in str(refused.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"factor": "vix"}, r"factor 'vix' is unknown \(one of funding_btc"),
        ({"factor": "fng", "unit": "percent"}, r"unit 'percent' is no unit of fng"),
        ({"factor": "fng", "lag_ms": -1}, r"lag_ms = -1 would use values before they are known"),
        ({"factor": "funding_btc"}, r"one funding time tells no interval"),
    ],
)
def test_impossible_questions_are_refused(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    """Names, units, lags."""
    path = csv(tmp_path / "x.csv", "ts,value", f"{START},{0.0001 if kwargs['factor'] == 'funding_btc' else 30}")
    with pytest.raises(DataError, match=message):
        read_series(path, **kwargs)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    """Absent, not parquet, not text."""
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    (tmp_path / "y.csv").write_bytes(b"ts,value\n\xff\xfe")
    for name in ("x.parquet", "y.csv", "absent.csv", "absent.parquet"):
        with pytest.raises(MalformedFile, match=name):
            read_series(tmp_path / name, "fng")


# ------------------------------------------------------------------------------------------------ eigenvalue velocity


def test_daily_medians_from_day_tables(tmp_path: Path, day_table: Callable[..., DayTable]) -> None:
    """Finite values only; ``rows`` limits them to what a day in progress knows; partial days are not listed."""
    for date in days(3):
        write_day(tmp_path, day_table(date, rows=120), sidecar=False)
    table = day_table(DATE, rows=120)
    write_day(tmp_path, day_table("2024-03-09", rows=60), partial=True, sidecar=False)
    values = table.signals["v750_lambda_max_velocity"]
    got = w750_of_days(list_days(tmp_path))
    assert list(got) == days(3)
    assert got[DATE] == np.median(values[np.isfinite(values)])
    assert w750_of_days(list_days(tmp_path), rows=60)[DATE] == np.median(values[50:60])
    assert np.isnan(w750_of_days(list_days(tmp_path), rows=10)[DATE])


def test_a_day_table_without_the_velocity_is_refused(tmp_path: Path, put_parquet: Put) -> None:
    """The column is named."""
    path = put_parquet(tmp_path / f"{DATE}.parquet", {"vel_div": [1.0]})
    with pytest.raises(SchemaError, match="v750_lambda_max_velocity: the column is missing"):
        w750_of_days([path])


def test_daily_medians_and_first_scans_from_the_archive(tmp_path: Path) -> None:
    """The same numbers as the arrays that were written; without indicators no rows and no factors."""
    rng = np.random.default_rng(3)
    scan, beside = rng.standard_normal((14, len(SCAN_GLOBAL))), rng.standard_normal((14, len(INDICATORS)))
    scan[0, 7] = np.nan
    write_scans(tmp_path, ScanDay(DATE, np.arange(14) + 5, START + 60_000 * np.arange(1, 15), scan, beside))
    assert SCAN_GLOBAL[7] == "lambda_vel_w750"
    assert w750_of_archive(tmp_path, [DATE]) == {DATE: np.median(scan[1:, 7])}
    assert w750_of_archive(tmp_path, [DATE], rows=4) == {DATE: np.median(scan[1:4, 7])}
    np.testing.assert_array_equal(first_indicators(tmp_path, DATE), beside[:10])
    assert day_factors(first_indicators(tmp_path, DATE)) == tuple(np.median(beside[:10], axis=0))
    assert first_indicators(tmp_path, "2024-03-05").shape == (0, 4)


# --------------------------------------------------------------------------------------------------------- real series


@pytest.mark.real_data
def test_real_series_agree_and_their_gaps_are_found(shared_data: Path) -> None:
    """Two sources of funding give the same day values once units are told; the one hole of fear and greed is named."""
    macro = shared_data / "macro_daily"
    derivatives, funding = macro / "btc_derivatives_daily.parquet", shared_data / "funding" / "binance_perp_8h_funding.parquet"
    with pytest.raises(QualityError, match="that is percent: pass unit='percent'"):
        read_series(derivatives, "funding_btc")
    exchange, percent = read_series(funding, "funding_btc"), read_series(derivatives, "funding_btc", unit="percent")
    dates = days(800, "2023-01-01")
    starts = np.array([day_start(d) for d in dates])
    np.testing.assert_allclose(exchange.as_of(starts), percent.as_of(starts), atol=1e-9)
    hourly = read_series(shared_data / "funding" / "hyperliquid_1h_funding.parquet", "funding_btc", symbol="BTC-PERP")
    assert 5e-5 < np.median(hourly.values) < 2e-4
    rest = [
        read_series(derivatives, "dvol_btc"),
        read_series(macro / "fear_greed_index.parquet", "fng"),
        read_series(macro / "binance_spot_1d_taker.parquet", "taker"),
    ]
    found = daily_indicators([exchange, *rest], dates)
    assert found.gaps == ("fng: no value for 2024-10-26",)
    acb = AdaptiveCircuitBreaker(found.by_date(), {})
    signals = [acb.get_dynamic_boost_for_date(d)["signals"] for d in dates]
    assert 0.05 < np.mean(np.array(signals) >= 1.0) < 0.3


@pytest.mark.real_data
def test_the_lags_are_those_of_the_real_series(shared_data: Path) -> None:
    """A DVOL or taker stamp opens the day it describes, a fear-and-greed stamp closes it: correlation with BTC's daily move."""
    macro = shared_data / "macro_daily"
    from dolphin.storage.parquet import Parquet

    with Parquet(macro / "binance_spot_1d_taker.parquet") as file:
        table = file.read(("ts", "symbol", "open", "close"))
        codes, names = file.texts(table, "symbol")
        mine = codes == names.index("BTCUSDT")
        ts = file.numbers(table, "ts")[mine]
        move = np.log(file.numbers(table, "close")[mine].astype(float) / file.numbers(table, "open")[mine])

    def correlation(source: MacroSeries, values: Any, days_after: int, moves: Any) -> float:
        lookup = dict(zip((ts - days_after * DAY_MS).tolist(), moves.tolist(), strict=True))
        pairs = [(v, lookup[t]) for t, v in zip(source.ts.tolist(), values.tolist(), strict=True) if t in lookup]
        return float(np.corrcoef(np.array(pairs).T)[0, 1])

    fear = read_series(macro / "fear_greed_index.parquet", "fng")
    change = np.diff(fear.values, prepend=fear.values[0])
    assert correlation(fear, change, -1, move) > 0.4
    assert abs(correlation(fear, change, 0, move)) < 0.1
    dvol = read_series(macro / "btc_derivatives_daily.parquet", "dvol_btc")
    jump = np.diff(dvol.values, prepend=dvol.values[0])
    assert correlation(dvol, jump, 0, np.abs(move)) > 0.2
    assert abs(correlation(dvol, jump, -1, np.abs(move))) < 0.1
    taker = read_series(macro / "binance_spot_1d_taker.parquet", "taker")
    assert correlation(taker, taker.values, 0, move) > correlation(taker, taker.values, -1, move) + 0.2
