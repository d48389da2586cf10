"""The compiled loop against the plain one: every field of every trade, both lanes, with and without layers."""

from __future__ import annotations

import numpy as np
import pytest
from builders import RandomBook, day
from oracle_engine import OracleEngine, assert_same_trades

from dolphin import NDAlphaEngine, load_profile
from dolphin.engine.costs import FundingSeries
from dolphin.types import ExitReason

REACHED: set[str] = set()


def signals(rows):
    return list(zip(rows.vel_div.tolist(), rows.v50.tolist(), rows.v750.tolist(), rows.ts_ms.tolist(), strict=True))


def assert_same(trades, expected):
    assert_same_trades(trades, expected)
    REACHED.update(trade["reason"] for trade in trades)


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("missing", [0.0, 0.03, 0.5])
def test_three_days_of_trades_equal_the_oracle_in_every_field(direction, seed, missing):
    """Histories, statistics, capital and the random stream go on over midnight."""
    config = load_profile()
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    for k in range(3):
        rows = day(seed=seed, day_index=k, missing=missing, bars=700)
        engine.process_rows(f"2025-01-0{k + 1}", rows, direction=direction)
        oracle.day(f"2025-01-0{k + 1}", rows.assets, rows.closes, signals(rows), direction)
    assert_same(engine.trades, oracle.trades)
    assert len(engine.trades) > 3
    assert engine.capital == pytest.approx(oracle.capital, rel=1e-12)
    assert engine.honest_capital == pytest.approx(oracle.honest, rel=1e-12)


SETTINGS = {
    "velocity exits": {"tf_enabled": True},
    "adverse vel_div exits": {"vd_enabled": True, "fixed_tp_pct": 0.05},
    "stop loss": {"stop_loss_pct": 0.004},
    "no direction confirmation": {"use_direction_confirm": False},
    "contradiction allowed, confirmation boosted": {"dc_skip_contradicts": False, "dc_leverage_boost": 1.5},
    "BTC only": {"use_asset_selection": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("direction", [-1, 1])
def test_optional_rules_equal_the_oracle(settings, direction):
    """Rules that the champion leaves off are the same rules when switched on."""
    config = load_profile(**settings)
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    for k in range(3):
        rows = day(seed=11, day_index=k, missing=0.02, signal_std=0.035)
        engine.process_rows(f"2025-01-0{k + 1}", rows, direction=direction)
        oracle.day(f"2025-01-0{k + 1}", rows.assets, rows.closes, signals(rows), direction)
    assert_same(engine.trades, oracle.trades)
    assert len(engine.trades) > 3


@pytest.mark.parametrize("direction", [-1, 1])
def test_order_book_effects_equal_the_oracle(direction):
    """Selection, confidence, size, exits and the edge credit read the book as the specification says."""
    config, book = load_profile(), RandomBook(3)
    engine, oracle = NDAlphaEngine(config), OracleEngine(config, ob=book)
    engine.set_ob_engine(book)
    for k in range(2):
        rows = day(seed=5, day_index=k, assets=10, missing=0.02)
        engine.process_rows(f"2025-01-0{k + 1}", rows, direction=direction)
        oracle.day(f"2025-01-0{k + 1}", rows.assets, rows.closes, signals(rows), direction)
    assert_same(engine.trades, oracle.trades)
    assert len(engine.trades) > 5


class Breaker:
    def get_dynamic_boost_for_date(self, date, ob_engine):
        return {"boost": 1.0 + int(date[-1]) / 4, "beta": 0.8 if int(date[-1]) % 2 else 0.2}


class Report:
    def __init__(self, catastrophic_probability, envelope_score):
        self.catastrophic_probability, self.envelope_score = catastrophic_probability, envelope_score


class Forewarner:
    def __init__(self):
        self.asked = []

    def assess_config_dict(self, cfg):
        self.asked.append(cfg)
        return {0: Report(0.0, 1.0), 1: Report(0.2, 0.5), 2: Report(0.3, 0.5)}[len(self.asked) % 3]


@pytest.mark.parametrize("direction", [-1, 1])
def test_breaker_forewarner_and_posture_equal_the_oracle(direction):
    """Boost, beta, ORANGE half size, RED and posture halts reach size, cap and gate as written."""
    config, forewarner = load_profile(), Forewarner()
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    engine.set_acb(Breaker())
    engine.set_mc_forewarner(forewarner, {"max_leverage": 5.0})
    postures = ["APEX", "APEX", "STALKER", "STALKER", "APEX", "HIBERNATE", "TURTLE", "APEX"]
    seen = []
    for k, posture in enumerate(postures):
        date = f"2025-01-0{k + 1}"
        rows = day(seed=21, day_index=k, signal_std=0.04)
        result = engine.process_rows(date, rows, direction=direction, posture=posture)
        act = Breaker().get_dynamic_boost_for_date(date, None)
        oracle.day(date, rows.assets, rows.closes, signals(rows), direction, posture, mc=result["mc_status"], **act)
        seen.append(result["mc_status"])
        assert forewarner.asked[-1]["max_leverage"] == 5.0 * act["boost"]
    assert set(seen) == {"OK", "ORANGE", "RED"}
    assert_same(engine.trades, oracle.trades)
    assert {t["posture"] for t in engine.trades} == {"APEX", "STALKER"}


def test_acb_normalization_in_mid_day_equals_the_oracle():
    """A fall of the boost from >= 1.25 to < 1.10 closes the open position on the next bar, before any other rule."""
    config = load_profile()
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    rows = day(seed=2, bars=900)
    engine.begin_day("2025-01-01")
    oracle.day("2025-01-01", rows.assets, rows.closes[:0], [])
    for i, (vd, v50, v750, ts) in enumerate(signals(rows)):
        boost = 1.6 if (i // 40) % 2 else 1.0
        engine.update_acb_boost(boost, 0.5)
        oracle.update_acb_boost(boost, 0.5)
        engine.process_bar(vd, dict(zip(rows.assets, rows.closes[i], strict=True)), v50, v750, ts)
        prices = dict(zip(rows.assets, rows.closes[i].tolist(), strict=True))
        oracle.bar(prices, vd, v50, v750, ts, i >= 100)
    assert_same(engine.trades, oracle.trades)
    assert "SUBDAY_ACB_NORMALIZATION" in {t["reason"] for t in engine.trades}


def test_funding_inside_the_hold_reaches_the_honest_ledger_only():
    """A SHORT receives a positive rate; decisions and the champion ledger do not see funding."""
    config = load_profile()
    rows = day(seed=8, bars=600)
    times = rows.ts_ms[::30].copy()
    rates = np.random.default_rng(1).normal(0, 1e-3, (len(times), len(rows.assets)))
    engine, plain = NDAlphaEngine(config), NDAlphaEngine(config)
    engine.set_funding(FundingSeries(times, rows.assets, rates))
    oracle = OracleEngine(config, funding={a: list(zip(times.tolist(), rates[:, j], strict=True)) for j, a in enumerate(rows.assets)})
    engine.process_rows("2025-01-01", rows)
    plain.process_rows("2025-01-01", rows)
    oracle.day("2025-01-01", rows.assets, rows.closes, signals(rows))
    assert_same(engine.trades, oracle.trades)
    assert not engine.funding_missing
    assert plain.funding_missing
    assert plain.capital == engine.capital
    assert plain.honest_capital != engine.honest_capital


def test_hibernate_with_an_empty_frame_closes_at_the_last_known_price():
    """The HIBERNATE path: no bars, but the position is closed."""
    config = load_profile()
    rows = day(seed=3, bars=300)
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    for end in range(101, 300):
        engine, oracle = NDAlphaEngine(config), OracleEngine(config)
        cut = type(rows)(rows.assets, rows.closes[:end], rows.vel_div[:end], rows.v50[:end], rows.v750[:end], rows.ts_ms[:end])
        engine.process_rows("2025-01-01", cut)
        if engine.position:
            oracle.day("2025-01-01", cut.assets, cut.closes, signals(cut))
            break
    empty = type(rows)(rows.assets, rows.closes[:0], rows.vel_div[:0], rows.v50[:0], rows.v750[:0], rows.ts_ms[:0])
    result = engine.process_rows("2025-01-02", empty, posture="HIBERNATE")
    oracle.day("2025-01-02", rows.assets, [], [], posture="HIBERNATE")
    assert result["bars"] == 0
    assert result["open_position"] is None
    assert [t["reason"] for t in result["trades"]] == ["HIBERNATE_HALT"]
    assert_same(engine.trades, oracle.trades)


@pytest.mark.parametrize("direction", [-1, 1])
def test_assets_that_lose_their_price_or_column_equal_the_oracle(direction):
    """A held asset without a price for 12 bars is closed and banned for the day; a column that is gone is no price."""
    config = load_profile()
    engine, oracle = NDAlphaEngine(config), OracleEngine(config)
    for k in range(4):
        rows = day(seed=31, day_index=k, bars=800, assets=8)
        rng = np.random.default_rng(k)
        for j in range(8):
            start = rng.integers(100, 700)
            rows.closes[start : start + rng.integers(5, 60), j] = np.nan
        keep = [j for j in range(8) if not (k == 2 and j % 2)]
        kept = tuple(rows.assets[j] for j in keep)
        rows = type(rows)(kept, np.ascontiguousarray(rows.closes[:, keep]), rows.vel_div, rows.v50, rows.v750, rows.ts_ms)
        vol = np.arange(800) >= 3
        engine.process_rows(f"2025-01-0{k + 1}", rows, vol, direction=direction)
        oracle.day(f"2025-01-0{k + 1}", rows.assets, rows.closes, signals(rows), direction, vol=vol)
    assert_same(engine.trades, oracle.trades)
    assert "STALE_PRICE" in {t["reason"] for t in engine.trades}


def test_every_exit_reason_was_reached_above():
    """The comparison is worth something only where the rule fired. (Runs last in this file.)"""
    missing = {r.name for r in ExitReason if r} - REACHED
    assert not missing
