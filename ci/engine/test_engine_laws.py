"""Laws of the loop: one position, no entry without a price, ledgers that add up, day = bar = resumed, no look-ahead."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import RandomBook, bar_args, day
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin import NDAlphaEngine, load_profile
from dolphin.engine import history
from dolphin.engine.records import DayRows
from dolphin.errors import ConfigError, DolphinError, MalformedFile, QualityError, SchemaError

CONFIG = load_profile()
MARKETS = st.builds(
    day,
    seed=st.integers(0, 10_000),
    bars=st.integers(150, 500),
    assets=st.integers(2, 14),
    missing=st.sampled_from([0.0, 0.02, 0.3]),
    signal_std=st.sampled_from([0.01, 0.03, 0.06]),
)


def cut(rows, stop):
    return DayRows(rows.assets, rows.closes[:stop], rows.vel_div[:stop], rows.v50[:stop], rows.v750[:stop], rows.ts_ms[:stop])


def run_bars(engine, rows, first=0):
    return [engine.process_bar(*bar_args(rows, i)) for i in range(first, len(rows.vel_div))]


@settings(max_examples=40, deadline=None)
@given(rows=MARKETS, direction=st.sampled_from([-1, 1]))
def test_sizes_stay_in_their_bounds_and_positions_never_overlap(rows, direction):
    """fraction in [.02, .20], leverage in [.5, 6]; entry after the exit before; capital = start + sum of net."""
    engine = NDAlphaEngine(CONFIG)
    result = engine.process_rows("2025-01-01", rows, direction=direction)
    last_exit = -1
    for trade in engine.trades:
        assert 0.02 <= trade["fraction"] <= 0.20
        assert 0.5 <= trade["leverage"] <= 6.0
        assert trade["entry_bar"] > last_exit
        last_exit = trade["exit_bar"]
        j = rows.assets.index(trade["asset"])
        assert trade["entry_price"] == rows.closes[trade["entry_bar"], j]
        assert math.isfinite(trade["entry_price"])
        assert trade["entry_price"] > 0
    assert engine.capital == pytest.approx(CONFIG.start_capital + sum(t["net_pnl"] for t in engine.trades), rel=1e-12)
    honest = CONFIG.start_capital * np.prod([1 + t["honest_ret"] * t["fraction"] * t["leverage"] for t in engine.trades])
    assert engine.honest_capital == pytest.approx(honest, rel=1e-12)
    assert sum(result["refusals"].values()) + len(engine.trades) + bool(engine.position) == result["bars"]


@settings(max_examples=25, deadline=None)
@given(rows=MARKETS, direction=st.sampled_from([-1, 1]), share=st.floats(0, 1))
def test_day_mode_equals_bar_mode_and_a_restart_at_any_bar(rows, direction, share):
    """process_day, process_bar, and process_bar through snapshot and restore give identical trades and state."""
    by_day, by_bar = NDAlphaEngine(CONFIG), NDAlphaEngine(CONFIG)
    result = by_day.process_rows("2025-01-01", rows, direction=direction)
    split = int(share * len(rows.vel_div))
    by_bar.begin_day("2025-01-01", direction)
    run_bars(by_bar, cut(rows, split))
    by_bar = NDAlphaEngine.restore(CONFIG, by_bar.snapshot())
    run_bars(by_bar, rows, first=split)
    assert by_bar.end_day() == result
    assert by_bar.snapshot() == by_day.snapshot()


def test_snapshot_and_restore_at_every_bar_of_two_days(monkeypatch):
    """Bit for bit, mid-position, over midnight, with a live buffer that folds in between and a book attached."""
    monkeypatch.setattr(history, "LIVE_ROWS", 37)
    book, plain = RandomBook(1), NDAlphaEngine(CONFIG)
    plain.set_ob_engine(book)
    resumed = NDAlphaEngine(CONFIG)
    for k in range(2):
        rows = day(seed=4, day_index=k, bars=260, assets=6, missing=0.05)
        plain.process_rows(f"2025-01-0{k + 1}", rows)
        resumed.begin_day(f"2025-01-0{k + 1}")
        for i in range(260):
            resumed = NDAlphaEngine.restore(CONFIG, resumed.snapshot())
            resumed.set_ob_engine(book)
            resumed.process_bar(*bar_args(rows, i))
        resumed.end_day()
    assert resumed.trades == plain.trades
    assert len(plain.trades) > 3
    assert resumed.snapshot() == plain.snapshot()


@settings(max_examples=20, deadline=None)
@given(rows=MARKETS, share=st.floats(0.3, 1))
def test_dropping_future_bars_changes_no_past_trade(rows, share):
    """Prefix property: a shorter day gives the first trades of the longer one."""
    stop = int(share * len(rows.vel_div))
    whole, prefix = NDAlphaEngine(CONFIG), NDAlphaEngine(CONFIG)
    whole.process_rows("2025-01-01", rows)
    prefix.process_rows("2025-01-01", cut(rows, stop))
    assert prefix.trades == [t for t in whole.trades if t["exit_bar"] < stop]


def test_trimming_histories_changes_nothing():
    """Only the last 50 valid prices count: a run that starts 50 valid prices earlier decides alike."""
    rows = day(seed=9, bars=700, assets=8)
    long, short = NDAlphaEngine(CONFIG), NDAlphaEngine(CONFIG)
    vol = np.zeros(700, dtype=bool)
    vol[400:] = True
    long.process_rows("2025-01-01", rows, vol)
    late = DayRows(rows.assets, rows.closes[300:], rows.vel_div[300:], rows.v50[300:], rows.v750[300:], rows.ts_ms[300:])
    short.process_rows("2025-01-01", late, vol[300:])
    shared = ("asset", "entry_ts", "exit_ts", "reason", "notional", "net_pnl", "ars")
    assert [[t[f] for f in shared] for t in short.trades] == [[t[f] for f in shared] for t in long.trades]
    assert long.trades


def test_the_universe_may_change_from_day_to_day_and_prices_are_kept():
    """An asset that pauses for a day returns with its history; column order of the day decides ties only."""
    engine, reference = NDAlphaEngine(CONFIG), NDAlphaEngine(CONFIG)
    for k in range(3):
        rows = day(seed=6, day_index=k, bars=300, assets=6)
        dark = DayRows(rows.assets, rows.closes.copy(), rows.vel_div, rows.v50, rows.v750, rows.ts_ms)
        if k == 1:
            dark.closes[:, [2, 4]] = np.nan
            keep = [0, 1, 3, 5]
            rows = DayRows(tuple(rows.assets[j] for j in keep), rows.closes[:, keep].copy(), rows.vel_div, rows.v50, rows.v750, rows.ts_ms)
        engine.process_rows(f"2025-01-0{k + 1}", rows)
        reference.process_rows(f"2025-01-0{k + 1}", dark)
    assert engine.trades == reference.trades
    assert engine.trades


def test_a_symbol_that_appears_in_mid_day_joins_the_universe():
    """Live bars may bring new names; nothing that was known is lost."""
    rows = day(seed=12, bars=400, assets=6)
    engine = NDAlphaEngine(CONFIG)
    engine.begin_day("2025-01-01")
    for i in range(400):
        vd, prices, v50, v750, ts = bar_args(rows, i)
        if i < 120:
            del prices["A003USDT"]
        engine.process_bar(vd, prices, v50, v750, ts)
    late = DayRows(rows.assets, rows.closes.copy(), rows.vel_div, rows.v50, rows.v750, rows.ts_ms)
    late.closes[:120, 5] = np.nan
    reference = NDAlphaEngine(CONFIG)
    reference.process_rows("2025-01-01", late)
    assert engine.trades == reference.trades
    assert engine.trades


def test_a_dataframe_day_equals_the_array_day():
    """process_day takes a DataFrame with the columns of the day table; an absent asset column is 'no price'."""
    pandas = pytest.importorskip("pandas", reason="pandas is a base dependency; run ci/test")
    rows = day(seed=1, assets=5)
    frame = pandas.DataFrame(rows.closes, columns=list(rows.assets))
    frame["timestamp"], frame["vel_div"] = rows.ts_ms, rows.vel_div
    frame["v50_lambda_max_velocity"], frame["v750_lambda_max_velocity"] = rows.v50, rows.v750
    by_frame, by_rows = NDAlphaEngine(CONFIG), NDAlphaEngine(CONFIG)
    wide = [*rows.assets, "GONEUSDT"]
    result = by_frame.process_day("2025-01-01", frame, wide)
    by_rows.process_rows("2025-01-01", rows)
    assert by_frame.trades == by_rows.trades
    assert result["trades"]
    assert by_frame.process_day("2025-01-02", frame.iloc[:0], wide)["bars"] == 0
    with pytest.raises(SchemaError, match="vel_div"):
        by_frame.process_day("2025-01-03", frame.drop(columns="vel_div"), wide)


def test_a_nan_vel_div_counts_as_a_bar_but_not_as_a_signal():
    """The bar counts, exits run, nothing is entered, and the trend history skips it."""
    rows = day(seed=2, bars=300, assets=4)
    rows.vel_div[:] = np.nan
    engine = NDAlphaEngine(CONFIG)
    result = engine.process_rows("2025-01-01", rows)
    assert engine.bar_count == 300
    assert result["refusals"] == {"WARMING_UP": 99, "VOL_REGIME": 1, "NO_SIGNAL": 200}


def test_an_empty_purse_enters_nothing():
    """capital <= 0 -> nothing."""
    engine = NDAlphaEngine(CONFIG)
    engine._state["capital"] = 0.0
    assert "NO_CAPITAL" in engine.process_rows("2025-01-01", day(seed=2, bars=300))["refusals"]


@pytest.mark.parametrize("boost", [(math.nan, 0.1), (1.2, math.inf), (0.0, 0.1), (1.2, -0.1)])
def test_a_boost_that_is_not_sane_is_refused(boost):
    """Fail closed: the old values stay."""
    engine = NDAlphaEngine(CONFIG)
    with pytest.raises(QualityError, match="circuit breaker gave"):
        engine.update_acb_boost(*boost)


def test_wrong_calls_are_refused_with_a_reason():
    """Bar outside a day, unknown posture, direction or date, rows that do not match."""
    engine = NDAlphaEngine(CONFIG)
    with pytest.raises(DolphinError, match="begin_day"):
        engine.process_bar(0.0, {"BTCUSDT": 1.0})
    with pytest.raises(ConfigError, match="posture = 'FINE'"):
        engine.begin_day("2025-01-01", posture="FINE")
    with pytest.raises(ConfigError, match="direction = 0"):
        engine.begin_day("2025-01-01", direction=0)
    with pytest.raises(QualityError, match="not a date"):
        engine.begin_day("yesterday")
    with pytest.raises(QualityError, match="vol_regime_ok has 2 values for 400 rows"):
        engine.process_rows("2025-01-01", day(), [True, True])


def test_a_damaged_or_foreign_snapshot_is_refused():
    """One flipped bit anywhere, another configuration, another version: no engine."""
    engine = NDAlphaEngine(CONFIG)
    engine.process_rows("2025-01-01", day())
    data = engine.snapshot()
    for at in range(0, len(data), 997):
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(MalformedFile, match="damaged"):
            NDAlphaEngine.restore(CONFIG, bytes(broken))
    with pytest.raises(ConfigError, match="taken under configuration"):
        NDAlphaEngine.restore(load_profile(max_hold_bars=60), data)
