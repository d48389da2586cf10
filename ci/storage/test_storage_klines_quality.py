"""Klines in: impossible values and jumps are quarantined and named, and the rule for jumps does not look ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kline_sources import block_oracle, null_at, reorder, value_at

from dolphin.errors import QualityError
from dolphin.storage.checks import combine, withhold_jumps
from dolphin.storage.klines import KlineBars, KlineStore, write_klines
from dolphin.storage.schema import day_start

DATE = "2021-04-02"
BARS = 40
START = day_start(DATE)

type Columns = dict[str, Any]
type Make = Callable[..., Columns]
type Put = Callable[..., Path]


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.5, 1e308, 1e-300])
def test_an_impossible_price_is_quarantined_and_named(
    tmp_path: Path, kline_columns: Make, put_parquet: Put, column: str, value: float
) -> None:
    path = put_parquet(tmp_path / f"{DATE}.parquet", value_at(column, BARS + 5, value)(kline_columns()))
    day = KlineStore(tmp_path).load(DATE)
    assert np.argwhere(np.isnan(day.closes)).tolist() == [[5, 1]]
    assert day.quality.counts == (("not_a_price", 1),)
    (finding,) = day.quality.examples
    assert (finding.path, finding.row, finding.column, finding.value) == (str(path), BARS + 5, column, str(np.float64(value)))


def test_a_null_price_is_no_price(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", null_at("close", 7)(kline_columns()))
    assert KlineStore(tmp_path).load(DATE).quality.counts == (("not_a_price", 1),)


@pytest.mark.parametrize(("column", "factor"), [("low", 1.01), ("high", 0.99)])
def test_prices_out_of_order_are_quarantined(tmp_path: Path, kline_columns: Make, put_parquet: Put, column: str, factor: float) -> None:
    columns = kline_columns()
    columns[column][3] *= factor
    put_parquet(tmp_path / f"{DATE}.parquet", columns)
    day = KlineStore(tmp_path).load(DATE)
    assert day.quality.counts == (("ohlc_order", 1),)
    assert (day.quality.examples[0].column, day.quality.examples[0].row) == (column, 3)
    assert np.isnan(day.closes[3, 0])


def test_an_exact_repeat_of_a_row_is_used_once(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    columns = kline_columns()
    put_parquet(tmp_path / f"{DATE}.parquet", reorder(columns, np.insert(np.arange(3 * BARS), 51, 50)))
    day = KlineStore(tmp_path).load(DATE)
    np.testing.assert_array_equal(day.closes, block_oracle(columns)[2])
    assert day.quality.counts == (("duplicate", 1),)
    assert day.quality.examples[0].row == 51


def test_unknown_columns_and_symbols_are_left_out_and_named(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    columns = kline_columns(symbols=("ADAUSDT", "BTCBUSD", "BTCUSDT"))
    put_parquet(tmp_path / f"{DATE}.parquet", columns | {"trades": np.arange(3 * BARS)})
    store = KlineStore(tmp_path)
    day = store.load(DATE)
    assert day.symbols == store.symbols() == ("ADAUSDT", "BTCUSDT")
    assert day.quality.counts == (("column", 1), ("symbol", 1))
    assert [(f.rule, f.column, f.value, f.row) for f in day.quality.examples] == [
        ("column", "trades", "ignored", None),
        ("symbol", "symbol", "BTCBUSD", BARS),
    ]


def _with_closes(columns: Columns, rows: Sequence[int], factor: float) -> Columns:
    for row in rows:
        for name in ("open", "high", "low", "close"):
            columns[name][row] *= factor
    return columns


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("factor", [10.0, 0.1, 1.6, 0.45])
def test_a_spike_that_reverts_within_three_bars_never_passes(
    tmp_path: Path, kline_columns: Make, put_parquet: Put, length: int, factor: float
) -> None:
    rows = range(10, 10 + length)
    path = put_parquet(tmp_path / f"{DATE}.parquet", _with_closes(kline_columns(), rows, factor))
    day = KlineStore(tmp_path).load(DATE)
    assert np.flatnonzero(np.isnan(day.closes[:, 0])).tolist() == list(rows)
    assert day.quality.counts == (("jump", length),)
    finding = day.quality.examples[0]
    assert (finding.path, finding.row, finding.column) == (str(path), 10, "close")


def test_a_level_that_holds_is_accepted_from_its_fourth_bar(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / f"{DATE}.parquet", _with_closes(kline_columns(), range(10, BARS), 2.0))
    day = KlineStore(tmp_path).load(DATE)
    assert np.flatnonzero(np.isnan(day.closes[:, 0])).tolist() == [10, 11, 12]


def test_a_move_of_less_than_half_and_a_jump_after_an_outage_pass(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    columns = _with_closes(kline_columns(), range(10, BARS), 1.49)
    columns = _with_closes(columns, range(BARS + 20, 2 * BARS), 3.0)
    keep = np.array([i for i in range(3 * BARS) if i not in range(BARS + 16, BARS + 20)])
    put_parquet(tmp_path / f"{DATE}.parquet", reorder(columns, keep))
    assert KlineStore(tmp_path).load(DATE).quality.counts == ()


def test_a_spike_on_the_first_bar_is_seen_from_the_day_before(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    put_parquet(tmp_path / "2021-04-02.parquet", kline_columns("2021-04-02", bars=1440))
    put_parquet(tmp_path / "2021-04-03.parquet", _with_closes(kline_columns("2021-04-03", bars=1440), [0], 10.0))
    first, second = KlineStore(tmp_path).days()
    assert (first.quality.counts, second.quality.counts) == ((), (("jump", 1),))
    assert second.quality.examples[0].row == 0
    assert np.argwhere(np.isnan(second.closes)).tolist() == [[0, 0]]
    assert combine([first.quality, second.quality]).count("jump") == 1


prices = st.lists(st.sampled_from([np.nan, 1.0, 1.2, 0.8, 10.0, 0.1, 2.0]), min_size=1, max_size=30)


@settings(deadline=None, max_examples=200)
@given(prices=prices, skips=st.lists(st.integers(1, 3), min_size=30, max_size=30))
def test_the_jump_rule_is_the_plain_rule_and_never_looks_ahead(prices: list[float], skips: list[int]) -> None:
    """A close is withheld when it is more than 50 % off the last accepted close and that one is at most 3 bars old."""
    bars = np.cumsum(skips)[: len(prices)]
    closes = np.array(prices)[:, None]
    expected, accepted = closes.copy(), None
    for row, price in enumerate(prices):
        if np.isnan(price):
            continue
        if accepted and abs(price / accepted[0] - 1) > 0.5 and bars[row] - accepted[1] <= 3:
            expected[row] = np.nan
        else:
            accepted = (price, bars[row])
    whole = closes.copy()
    found = withhold_jumps(whole, bars)
    np.testing.assert_array_equal(whole, expected)
    assert len(found) == int(np.isnan(whole).sum() - np.isnan(closes).sum())
    for cut in range(1, len(prices)):
        part = closes[:cut].copy()
        withhold_jumps(part, bars[:cut])
        np.testing.assert_array_equal(part, whole[:cut])


def test_dropping_future_rows_of_a_file_changes_no_earlier_close(tmp_path: Path, kline_columns: Make, put_parquet: Put) -> None:
    columns = _with_closes(kline_columns(), [10, 20, 21, BARS + 30], 10.0)
    columns["close"][2 * BARS + 8] = np.nan
    put_parquet(tmp_path / "whole" / f"{DATE}.parquet", columns, {"bar_seconds": "60"})
    whole = KlineStore(tmp_path / "whole").load(DATE)
    for cut in range(1, BARS):
        part = reorder(columns, np.flatnonzero(columns["ts"] < START + 60_000 * cut))
        put_parquet(tmp_path / "part" / f"{DATE}.parquet", part, {"bar_seconds": "60"})
        np.testing.assert_array_equal(KlineStore(tmp_path / "part").load(DATE).closes, whole.closes[:cut])


def test_damaged_bars_are_not_written(tmp_path: Path) -> None:
    one = np.ones((2, 1))
    bars = KlineBars(DATE, 60, START + 60_000 * np.arange(2), ("BTCUSDT",), one, one, one * 2, one, one)
    with pytest.raises(QualityError, match="column low, row 0: ohlc_order"):
        write_klines(tmp_path, bars)
    empty = np.full((2, 1), np.nan)
    with pytest.raises(QualityError, match="no bar has a price"):
        write_klines(tmp_path, KlineBars(DATE, 60, bars.ts, bars.symbols, empty, empty, empty, empty, empty))
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------------- real data


@pytest.mark.real_data
def test_thirty_real_days_are_clean_and_their_two_outages_are_named(shared_data: Path) -> None:
    store = KlineStore(shared_data / "klines" / "spot_1m_2021-04")
    days = list(store.days())
    assert len(days) == 30
    assert {day.closes.shape[1] for day in days} == {64}
    report = combine(day.quality for day in days)
    assert report.counts == ()
    assert [str(gap) for gap in report.gaps] == ["02:00..04:29 (150 bars)", "04:02..08:44 (283 bars)"]
    assert report.bars == 30 * 1440 - 433
    assert report.missing_bars == 433


@pytest.mark.real_data
def test_a_real_day_with_a_late_listing_equals_the_oracle(shared_data: Path) -> None:
    store = KlineStore(shared_data / "klines" / "perp_1m_2025-05")
    day = store.load("2025-05-09")
    times, symbols, closes = block_oracle(pq.read_table(store.path("2025-05-09")).to_pydict())
    assert (day.ts.tolist(), list(day.symbols)) == (times, symbols)
    np.testing.assert_array_equal(day.closes, closes)
    assert day.quality.absent == int(np.isnan(closes).sum()) == 1098
