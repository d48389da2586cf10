"""The scan against the page: every figure of sampled bars, on markets with every trouble and on real days."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_scan import near_oracle, same_bits
from scan_markets import factor_market, real_block, troubled_market

from dolphin.scanner.scan import Scanner, scan_batch


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("path", ["stream", "blocked"])
def test_a_troubled_market_scans_as_the_page_says(seed, path):
    """Missing bars, freeze, listing, delisting, outliers, bad prices and gaps change no figure beyond rounding."""
    closes, bars = troubled_market(seed=seed)
    batch = scan_batch(closes, bars=bars, path=path)
    near_oracle(batch, closes, bars, [*range(48, 56), *range(60, len(closes), 23), *range(748, 754), len(closes) - 1])
    assert np.isfinite(batch.vel_div).sum() > 200


def test_a_wide_market_scans_as_the_page_says():
    """Same at N = 260, where the batch default is the blocked path and a window is shorter than the universe is wide."""
    closes = factor_market(900, 260, seed=5, share=0.4)
    closes[400:407, 3] = np.nan
    batch = scan_batch(closes)
    assert batch.path == "blocked"
    near_oracle(batch, closes, np.arange(900), [51, 152, 303, 405, 440, 751, 899])


def test_a_row_is_full_only_after_that_many_returns():
    """W closes hold W - 1 returns: the first eigenvalue of window W stands at row W, the first velocity at row W + 1."""
    batch = scan_batch(factor_market(760, 12))
    for w, window in enumerate((50, 150, 300, 750)):
        assert np.isnan(batch.lambda_max[:window, w]).all()
        assert np.isfinite(batch.lambda_max[window:, w]).all()
        assert np.isnan(batch.velocity[: window + 1, w]).all()
        assert np.isfinite(batch.velocity[window + 1 :, w]).all()
    assert np.isnan(batch.vel_div[:751]).all()
    assert np.isfinite(batch.vel_div[751:]).all()


@pytest.mark.real_data
@pytest.mark.parametrize(("market", "days", "skip"), [("spot_1m_2021-04", 3, 17), ("perp_1m_2025-05", 3, 4)])
def test_real_days_scan_as_lapack_says(shared_data, market, days, skip):
    """Three real days each, with an exchange outage and a listing inside: sampled bars and the bars around the trouble."""
    closes, bars = real_block(shared_data, market, days, skip)
    batch = scan_batch(closes, bars=bars, threads=2)
    trouble = np.flatnonzero((np.diff(bars) != 1) | (np.isnan(closes[1:]) != np.isnan(closes[:-1])).any(axis=1))
    rows = {
        *np.random.default_rng(1).integers(800, len(closes), 60).tolist(),
        *(t + k for t in trouble[:6].tolist() for k in (0, 1, 2, 51)),
    }
    near_oracle(batch, closes, bars, sorted(t for t in rows if t < len(closes)))


@pytest.mark.real_data
def test_real_thresholds_mean_what_the_page_says(shared_data):
    """Over real days P(vel_div < -0.02) is near 11 % and P(<= -0.05) near 3 %."""
    closes, bars = real_block(shared_data, "spot_1m_2021-04", 10)
    batch = scan_batch(closes, bars=bars, threads=2)
    known = batch.vel_div[np.isfinite(batch.vel_div)]
    assert 0.08 < (known < -0.02).mean() < 0.14
    assert 0.015 < (known <= -0.05).mean() < 0.045


@pytest.mark.real_data
def test_days_scanned_one_by_one_equal_one_batch(shared_data):
    """A scanner that takes a day at a time holds no more than a window of the past and changes no bit."""
    closes, bars = real_block(shared_data, "spot_1m_2021-04", 3)
    whole = scan_batch(closes, bars=bars)
    scanner = Scanner(closes.shape[1])
    for start in range(0, len(closes), 1440):
        cut = slice(start, start + 1440)
        same_bits(whole, scanner.scan(closes[cut], bars[cut]), cut, slice(None))
