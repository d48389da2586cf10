"""Acceptance values of the engine's kernels, and their oracles."""

from __future__ import annotations

import math

import numpy as np
import oracle_engine as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin import load_profile
from dolphin.engine.exits import AlphaExitManager
from dolphin.engine.forewarner import mc_status
from dolphin.engine.order_book import NO_BOOK
from dolphin.engine.records import NDPosition, params_record
from dolphin.engine.selection import AlphaAssetSelector
from dolphin.engine.signal import AlphaSignalGenerator
from dolphin.engine.sizing import AlphaBetSizer
from dolphin.kernels.costs import champion_close_nb, funding_nb, honest_return_nb
from dolphin.kernels.direction import check_dc_nb
from dolphin.kernels.irp import compute_ars_nb, compute_irp_nb
from dolphin.kernels.order_book import adjust_confidence_nb, adjust_exits_nb, ars_adjustment_nb, market_multiplier_nb
from dolphin.kernels.selection import ELIGIBLE, NOTES, rank_assets_irp_nb, select_asset_nb
from dolphin.kernels.signal import compute_confidence_nb, compute_strength_nb, gate_open_nb
from dolphin.kernels.sizing import get_bucket_boost_nb, get_signal_bucket_nb, get_streak_mult_nb, get_trend_mult_nb, regime_size_mult_nb
from dolphin.kernels.window import window_nb
from dolphin.types import ExitReason

CONFIG = load_profile()
PARAMS = params_record(CONFIG)[0]
SEGMENT = np.array([100, 99.99, 100.01, 99.98, 99.99, 99.97, 99.95, 99.96, 99.94, 99.93])


@pytest.mark.parametrize(
    ("vel_div", "strength", "leverage", "fraction"),
    [(-0.025, 1 / 6, 0.520833, 0.028947), (-0.035, 0.5, 1.0625, 0.063684), (-0.05, 1.0, 5.0, 0.2)],
)
def test_strength_leverage_and_fraction_at_three_signals(vel_div, strength, leverage, fraction):
    """Cubic leverage and share of capital on the SHORT lane; the LONG lane is its mirror."""
    size = AlphaBetSizer(CONFIG).calculate_size(25_000.0, vel_div)
    assert compute_strength_nb(vel_div, -0.02, -0.05) == pytest.approx(strength, abs=1e-12)
    assert (size.leverage, size.fraction) == pytest.approx((leverage, fraction), abs=5e-7)
    assert size.notional == 25_000.0 * size.fraction * size.leverage
    mirrored = AlphaBetSizer(CONFIG).calculate_size(25_000.0, 0.01 + (-0.02 - vel_div), 1)
    assert (mirrored.leverage, mirrored.fraction) == pytest.approx((leverage, fraction), abs=5e-7)


def test_confidence_at_minus_three_hundredths():
    """0.50 + 0.40 * strength."""
    assert compute_confidence_nb(compute_strength_nb(-0.03, -0.02, -0.05)) == pytest.approx(0.633333, abs=5e-7)


def test_buckets_at_their_edges():
    """Edges belong to the stronger bucket; LONG is the mirror."""
    values = [-0.08, -0.075, -0.06, -0.05, -0.04, -0.035, -0.03]
    assert [get_signal_bucket_nb(v, -0.02, -0.05) for v in values] == [0, 0, 1, 1, 2, 2, 3]
    assert [get_signal_bucket_nb(v, 0.01, 0.04) for v in (0.07, 0.06, 0.05, 0.04, 0.03, 0.025, 0.02)] == [0, 0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("vel_div", "direction", "opens"), [(-0.02, -1, False), (-0.0200001, -1, True), (0.01, 1, False), (0.0100001, 1, True)]
)
def test_the_gate_is_strict(vel_div, direction, opens):
    """vel_div exactly at the threshold is no signal; NaN never is."""
    assert gate_open_nb(vel_div, -0.02 if direction < 0 else 0.01, direction) == opens
    assert not gate_open_nb(math.nan, -0.02, direction)
    assert compute_strength_nb(math.nan, -0.02, -0.05) == 0.0


def test_impulse_response_of_the_reference_segment():
    """mfe .07, mae .01, efficiency 6.9993, alignment .666667, noise .000261728, latency 1, ARS 1.233751."""
    mfe, mae, efficiency, alignment, noise, latency = compute_irp_nb(SEGMENT, -1)
    assert (mfe, mae, efficiency, alignment, noise) == pytest.approx((0.07, 0.01, 6.9993, 0.666667, 0.000261728), rel=5e-6)
    assert latency == 1
    assert compute_ars_nb(efficiency, alignment, noise) == pytest.approx(1.233751, abs=5e-7)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), direction=st.sampled_from([-1, 1]), scale=st.sampled_from([1e-6, 1e-3, 1.0, 100.0]))
def test_impulse_response_equals_the_oracle(seed, direction, scale):
    """Every statistic of one asset, at any price level."""
    prices = 90 * scale + scale * np.cumsum(np.random.default_rng(seed).normal(0, 0.1, 50))
    assert compute_irp_nb(prices, direction) == pytest.approx(oracle.irp(prices, direction), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), direction=st.sampled_from([-1, 1]), n=st.integers(1, 30))
def test_ranking_equals_the_oracle_and_the_loop_takes_its_first_eligible(seed, direction, n):
    """The public ranking and the lazy choice of the loop are one order; equal scores keep column order."""
    rng = np.random.default_rng(seed)
    window = np.exp(rng.normal(0, 3, n)) * np.exp(np.cumsum(rng.normal(0, 0.002, (50, n)), axis=0))
    window[:, n // 2] = window[:, 0]
    expected = []
    for j in range(n):
        best = max(((oracle.ars(*np.array(oracle.irp(window[:, j], k))[2:5]), k) for k in (direction, -direction)), key=lambda row: row[0])
        *_, alignment, noise, latency = oracle.irp(window[:, j], best[1])
        if noise <= 500 and latency <= 20 and alignment >= 0.20:
            expected.append((j, best[0], best[1], alignment))
    expected.sort(key=lambda row: -row[1])
    columns, ars, action, alignment = rank_assets_irp_nb(window, direction)
    assert columns.tolist() == [row[0] for row in expected]
    assert ars.tolist() == pytest.approx([row[1] for row in expected], rel=1e-12)
    assert action.tolist() == [row[2] for row in expected]
    names = [f"A{j}USDT" for j in range(n)]
    assert [row.asset for row in AlphaAssetSelector().rank_assets(window, names, direction)] == [names[j] for j in columns]
    eligible = rng.random(n) < 0.7
    chosen = [j for j, _, k, al in expected if k == direction and al >= 0.45 and eligible[j]]
    notes = np.zeros((len(NOTES), n))
    notes[ELIGIBLE] = eligible
    assert select_asset_nb(window, direction, False, 0.45, NO_BOOK, 0, notes) == (chosen[0] if chosen else -1)


def test_a_window_with_holes_is_the_last_valid_prices_of_each_asset():
    """Missing prices leave no gap; too few prices leave NaN at the top."""
    rng = np.random.default_rng(0)
    block, tail = rng.uniform(1, 2, (80, 3)), rng.uniform(1, 2, (50, 3))
    block[30:70, 0] = np.nan
    block[1::2, 1] = -1.0
    block[:, 2] = 0.0
    tail[:, 2] = np.nan
    for row in (20, 60, 72):
        got = window_nb(block, tail, row, np.empty((50, 3)), np.empty(50))
        for j in range(2):
            past = np.concatenate([tail[:, j], block[: row + 1, j]])
            wanted = past[past > 0][-50:] if block[row, j] > 0 else np.full(50, np.nan)
            assert np.array_equal(got[:, j], wanted, equal_nan=True)
        assert np.isnan(got[:, 2]).all()
    whole = rng.uniform(1, 2, (80, 3))
    assert np.shares_memory(window_nb(whole, tail, 60, np.empty((50, 3)), np.empty(50)), whole)


def test_direction_confirmation_needs_eight_prices_and_three_quarters_of_a_basis_point():
    """CONFIRM, NEUTRAL, CONTRADICT; LONG mirrored."""
    base = np.full(8, 100.0)
    for last, short in ((99.99, 1), (99.9926, 0), (100.0, 0), (100.0074, 0), (100.01, -1)):
        prices = base.copy()
        prices[-1] = last
        assert check_dc_nb(prices, -1, 7, 0.75) == short
        assert check_dc_nb(prices, 1, 7, 0.75) == -short
        assert check_dc_nb(prices[1:], -1, 7, 0.75) == 0


def test_factor_tables():
    """Bucket, streak and trend factors at and around their edges."""
    assert [get_bucket_boost_nb(w, 20) for w in (13, 12, 11, 9, 8, 7)] == [1.3, 1.1, 1.0, 1.0, 0.85, 0.7]
    assert get_bucket_boost_nb(9, 9) == 1.0
    assert [get_streak_mult_nb(losses, 5) for losses in range(6)] == [1.1, 1.1, 1.0, 0.7, 0.5, 0.5]
    assert get_streak_mult_nb(4, 4) == 1.0
    assert [get_trend_mult_nb(x) for x in (-0.011, -0.01, 0.01, 0.011, 0.0)] == [1.3, 1.0, 1.0, 0.7, 1.0]


def test_regime_multiplier_of_the_reference_case():
    """boost 1.549306, beta .8, vel_div -.05 -> 2.788751; beta 0 leaves the boost alone; ORANGE halves."""
    assert regime_size_mult_nb(1.549306, 0.8, 1.0, 1.0) == pytest.approx(2.788751, abs=5e-7)
    assert regime_size_mult_nb(1.5, 0.0, 1.0, 0.5) == 0.75


def test_a_short_that_takes_profit_costs_what_the_reference_says():
    """100 -> 99.05, notional 5000, draws .374540 .950714 .731994 -> exit 99.06981, gross 47.5095, fees 3.32, net 44.1895."""
    draws = np.random.RandomState(42).random_sample(3)
    assert draws.tolist() == pytest.approx([0.374540, 0.950714, 0.731994], abs=5e-7)
    exit_price, gross, fees, used = champion_close_nb(PARAMS, -1, (100.0, 99.05), 5000.0, ExitReason.FIXED_TP, (False, 0.0, 0.0), draws)
    assert (exit_price, gross, fees, gross - fees) == pytest.approx((99.06981, 47.5095, 3.32, 44.1895), abs=5e-6)
    assert used == 3


@pytest.mark.parametrize(
    ("reason", "book", "used", "exit_price", "fee_bps"),
    [
        (ExitReason.STOP_LOSS, False, 2, 100.05, 8.14),
        (ExitReason.STOP_LOSS, True, 1, 100.05, 8.14),
        (ExitReason.MAX_HOLD, True, 2, 100.02, 6.64),
        (ExitReason.STALE_PRICE, False, 0, 100.5, 8.14),
    ],
)
def test_draws_slippage_and_fees_by_exit_reason(reason, book, used, exit_price, fee_bps):
    """A stop draws no maker exit, a book replaces the edge draw, a stale exit draws nothing."""
    got = champion_close_nb(PARAMS, -1, (100.0, 100.0), 1e4, reason, (book, 1.0, 0.5), np.full(3, 0.99))
    credit = 0.5 * 0.0005 * 1e4 if book else 0.0
    assert got[0] == pytest.approx(exit_price, rel=1e-12)
    assert got[1] == pytest.approx(-(exit_price - 100) * 100 + credit, rel=1e-9)
    assert got[2] == pytest.approx(fee_bps, rel=1e-9)
    assert got[3] == used


def test_the_honest_return_of_a_flat_price_is_what_the_exchange_takes():
    """Half spread and slippage on both sides, two taker fees, funding."""
    flat = honest_return_nb(PARAMS, -1, 100.0, 100.0, ExitReason.MAX_HOLD, 0.0)
    assert flat == pytest.approx(-(100 * 1.0002 - 100 * 0.9998) / (100 * 0.9998) - 0.001, rel=1e-12)
    assert honest_return_nb(PARAMS, -1, 100.0, 100.0, ExitReason.MAX_HOLD, -0.0001) - flat == pytest.approx(0.0001)
    assert honest_return_nb(PARAMS, 1, 100.0, 100.0, ExitReason.STALE_PRICE, 0.0) < -0.0061


def test_funding_counts_times_after_entry_up_to_exit():
    """A positive rate is paid by a LONG and received by a SHORT; no series, or an unknown time, is flagged."""
    hour = 3_600_000
    times = np.array([1, 2, 3, 4], dtype=np.int64) * 8 * hour
    rates = np.column_stack([[1e-4, 2e-4, np.nan, 4e-4], np.full(4, np.nan)])
    assert funding_nb(times, rates, 0, 1, 8 * hour, 32 * hour) == (pytest.approx(6e-4), False)
    assert funding_nb(times, rates, 0, -1, 9 * hour, 31 * hour) == (pytest.approx(-2e-4), False)
    assert funding_nb(times, rates, 1, 1, 8 * hour, 32 * hour) == (0.0, True)
    assert funding_nb(times, rates, 0, 1, 0, 32 * hour)[1]
    assert funding_nb(times, rates, 0, 1, 100 * hour, 101 * hour)[1]


def test_order_book_effects_at_the_reference_values():
    """OB-1, OB-2, OB-3 and OB-5; NaN is neutral."""
    assert [ars_adjustment_nb(q) for q in (1.5, 1.0, 0.6, 0.59, 0.29, math.nan)] == [0.10, 0.05, 0.0, -0.05, -0.10, 0.0]
    assert adjust_confidence_nb(0.7, 0.3, 0.8) == pytest.approx(0.784)
    assert adjust_confidence_nb(0.7, -0.2, 0.7) == 0.0
    assert adjust_confidence_nb(0.7, -0.9, 0.6) == pytest.approx(0.595)
    assert adjust_confidence_nb(0.7, math.nan, math.nan) == 0.7
    assert [market_multiplier_nb(*x) for x in ((0.5, 1.0), (-0.5, 1.0), (0.1, 1.0), (math.nan, 1.0))] == [1.2, 0.85, 1.0, 1.0]
    base = (0.0095, 1.0, 120)
    assert adjust_exits_nb(base, 0, 1, -0.2, 0.0, 0.003) == pytest.approx((0.0057, 0.1, 48))
    assert adjust_exits_nb(base, 1, 1, -0.5, -0.5, 0.01) == pytest.approx((0.0133, 1.0, 60))
    assert adjust_exits_nb(base, 0, -1, 0.2, 0.0, 0.0) == (0.0095, 1.0, 180)
    assert adjust_exits_nb(base, 0, 0, 0.0, -0.3, 0.001) == pytest.approx((0.007125, 1.0, 48))
    assert adjust_exits_nb(base, math.nan, math.nan, math.nan, math.nan, 0.01) == base


def test_the_forewarner_gate_at_its_edges():
    """Strict comparisons; a value that is not finite is RED."""
    cases = {
        (0.25, 0.1): "ORANGE",
        (0.2501, 1): "RED",
        (0.05, -1.01): "RED",
        (0.10, 0): "OK",
        (math.nan, 1): "RED",
        (0.0, -math.inf): "RED",
    }
    assert {case: mc_status(*case).value for case in cases} == cases


def test_the_layers_can_be_asked_alone():
    """Signal and exit objects answer as the loop would."""
    falling = np.linspace(100.1, 100.0, 50)
    signal = AlphaSignalGenerator(CONFIG).generate(-0.035, falling)
    assert (signal.is_valid, signal.dc, signal.bucket, signal.strength) == (True, "CONFIRM", 2, pytest.approx(0.5))
    assert not AlphaSignalGenerator(CONFIG).generate(-0.035, falling[::-1].copy()).is_valid
    zeros = dict.fromkeys(NDPosition.__slots__, 0.0) | {
        "asset": "BTCUSDT",
        "dc": "NEUTRAL",
        "direction": -1,
        "entry_bar": 10,
        "entry_price": 100.0,
    }
    exits, position = AlphaExitManager(CONFIG), NDPosition(**zeros)
    assert exits.evaluate(position, 99.0, 11) is ExitReason.FIXED_TP
    assert exits.evaluate(position, 99.9, 129) is ExitReason.NONE
    assert exits.evaluate(position, 99.9, 130) is ExitReason.MAX_HOLD
    assert exits.evaluate(position, 99.9, 11, hibernate=True) is ExitReason.HIBERNATE_HALT
