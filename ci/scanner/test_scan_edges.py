"""Markets that break scanners: freezes, outliers, crossings, noise, look-alikes, and too few assets."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_scan import near_oracle, same_bits
from scan_markets import factor_market, mirrored

from dolphin.scanner import track
from dolphin.scanner.scan import Scanner, scan_batch

W50, W150, W300, W750 = range(4)


def test_a_frozen_asset_takes_no_part():
    """Once every return of the window is zero the asset is out, whatever its sums have left over; it comes back with its first move."""
    closes = factor_market(900, 12, seed=1)
    closes[300:500, 4] = closes[299, 4]
    batch = scan_batch(closes)
    assert (batch.n_participants[348, W50], batch.n_participants[349, W50], batch.n_participants[499, W50]) == (12, 11, 11)
    assert batch.n_participants[500, W50] == 12
    assert np.isnan(batch.velocity[[349, 500], W50]).all()
    assert np.isfinite(batch.velocity[[348, 350, 499, 501], W50]).all()
    near_oracle(batch, closes, np.arange(900), [348, 349, 350, 449, 450, 499, 500, 501, 520, 760])


@pytest.mark.parametrize("growth", [1.0001, 1.01, 1.1])
def test_an_asset_that_grows_steadily_takes_no_part(growth):
    """Equal returns have no variance but rounding."""
    closes = factor_market(400, 12, seed=1)
    closes[:, 0] = growth ** np.arange(400.0)
    batch = scan_batch(closes)
    assert (batch.n_participants[300:, :3] == 11).all()


@pytest.mark.parametrize("factor", [200.0, 1e4])
def test_an_outlier_that_leaves_takes_its_rounding_along(factor):
    """x200 returns swamp the sums while they are inside; after they have left the eigenvalues are right again at once."""
    closes = factor_market(1000, 12, seed=2, vol=1e-5)
    for row, asset in ((200, 0), (230, 1), (260, 0), (600, 5)):
        closes[row:, asset] *= np.exp(factor * 1e-5)
        closes[row + 1 :, asset] /= np.exp(factor * 1e-5)
    batch = scan_batch(closes)
    edges = [r + w + k for r in (200, 230, 260, 600) for w in (0, 50, 150, 300) for k in (-1, 0, 1, 2, 3) if r + w + k < 1000]
    near_oracle(batch, closes, np.arange(1000), sorted({*edges, 999}), relative=1e-11)


def test_a_delisting_is_no_market_move():
    """A delisted asset stays while 90 % of its returns are there, leaves on one bar, and that bar has no velocity."""
    closes = factor_market(700, 14, seed=3)
    closes[400:, 7] = np.nan
    batch = scan_batch(closes)
    assert (batch.n_participants[400:405, W50] == 14).all()
    assert (batch.n_participants[405:, W50] == 13).all()
    assert np.flatnonzero(np.isnan(batch.velocity[400:420, W50])).tolist() == [5]
    assert np.abs(batch.velocity[406:, W50]).max() < 0.5


def test_a_listing_waits_for_nine_tenths_of_the_window():
    """The first close gives no return; 45 returns of 50 let the asset in."""
    closes = factor_market(700, 14, seed=4)
    closes[:400, 7] = np.nan
    batch = scan_batch(closes)
    assert (batch.n_participants[50:445, W50] == 13).all()
    assert (batch.n_participants[445:, W50] == 14).all()
    near_oracle(batch, closes, np.arange(700), [400, 401, 444, 445, 446, 449, 450, 451, 534, 535, 536])


def test_one_missing_bar_costs_two_returns():
    """They count as the asset's mean as long as they are inside."""
    closes = factor_market(500, 12, seed=5)
    closes[200, 3] = np.nan
    closes[210, :11] = np.nan
    near_oracle(scan_batch(closes), closes, np.arange(500), [199, 200, 201, 202, 210, 211, 249, 250, 251, 252, 261, 262, 349, 352, 499])


def test_an_outage_costs_one_return_of_every_asset():
    """The window counts rows that exist; the return over the gap is missing for all, however large the move."""
    closes = factor_market(500, 12, seed=6)
    closes[300:] *= 1.3
    bars = np.arange(500)
    bars[300:] += 240
    batch = scan_batch(closes, bars=bars)
    assert (batch.n_participants[50:, W50] == 12).all()
    assert np.isfinite(batch.velocity[51:, W50]).all()
    near_oracle(batch, closes, bars, [299, 300, 301, 320, 349, 350, 351, 449, 450])


def test_a_market_that_is_absent_for_long_has_no_signal():
    """More than a tenth of the window missing for all: nobody takes part."""
    closes = factor_market(400, 12, seed=7)
    closes[200:260] = np.nan
    batch = scan_batch(closes)
    assert (batch.n_participants[206:260, W50] == 0).all()
    assert np.isnan(batch.lambda_max[206:300, W50]).all()
    assert np.isfinite(batch.lambda_max[310, W50])


def test_nine_participants_give_no_signal():
    """Below ten the eigenvalue says nothing."""
    batch = scan_batch(factor_market(200, 9))
    assert (batch.n_participants[50:, W50] == 9).all()
    assert np.isnan(batch.lambda_max).all()
    assert np.isnan(batch.vel_div).all()


def test_identical_assets_have_instability_one():
    """One factor and nothing else: lambda = n, instability 1 and never above."""
    one = factor_market(200, 1, seed=8)
    batch = scan_batch(one * np.linspace(0.1, 9.0, 20))
    np.testing.assert_allclose(batch.lambda_max[50:, W50], 20.0, rtol=1e-12)
    np.testing.assert_allclose(batch.instability[50:, 0], 1.0, atol=1e-12)
    assert np.nanmax(batch.instability) <= 1.0


def test_independent_assets_have_instability_near_zero():
    """Over 150 bars of 12 independent assets what is left is sampling noise, ln(1 + 12/150) / ln 12."""
    batch = scan_batch(factor_market(900, 12, seed=9, share=0.0))
    assert np.nanmin(batch.instability) >= 0.0
    assert np.nanmean(batch.instability[:, 1]) < 0.06


def test_two_factors_that_cross_are_never_confused():
    """Leadership passes from one half of the market to the other and back; the eigenvalue found is the largest at every bar."""
    rng = np.random.default_rng(10)
    bars, half = 1600, 10
    strength = 0.5 + 0.45 * np.sin(np.arange(bars) / 60.0)
    first = np.sqrt(strength)[:, None] * rng.normal(size=(bars, 1)) + 0.5 * rng.normal(size=(bars, half))
    second = np.sqrt(1.0 - strength)[:, None] * rng.normal(size=(bars, 1)) + 0.5 * rng.normal(size=(bars, half))
    closes = np.exp(np.cumsum(1e-3 * np.hstack([first, second]), axis=0))
    near_oracle(scan_batch(closes), closes, np.arange(bars), range(760, bars, 7), relative=1e-11)


@pytest.mark.parametrize(("assets", "bars"), [(12, 820), (48, 820), (120, 200)])
def test_white_noise_without_a_gap_is_solved_and_proven(assets, bars):
    """No factor, no gap, windows shorter and longer than the universe is wide."""
    rng = np.random.default_rng(11)
    closes = np.exp(np.cumsum(1e-3 * rng.normal(size=(bars, assets)), axis=0))
    rows = [t for t in (51, 75, 160, 199, 310, 420, 752, 800, 819) if t < bars]
    near_oracle(scan_batch(closes), closes, np.arange(bars), rows, relative=2e-12)


def test_a_factor_hidden_from_the_start_vector_is_found():
    """The first full window starts from ones, to which a market of mirror images shows nothing of its largest factor."""
    closes = np.exp(np.cumsum(mirrored(np.random.default_rng(12), 52), axis=0))
    near_oracle(scan_batch(closes), closes, np.arange(52), [50, 51])


def test_a_value_the_kernel_cannot_prove_is_replaced(monkeypatch):
    """Where the kernel says "unproven", LAPACK's eigenvalue of the window built afresh stands instead, in both velocities beside it."""
    honest = track.scan_stream_nb

    def doubtful(rows, start, stop, window, *rest):
        honest(rows, start, stop, window, *rest)
        if window == 50 and start <= 70 < stop:
            rest[-1][70 - start, [0, 2]] = 3.0, 1.0

    monkeypatch.setattr(track, "scan_stream_nb", doubtful)
    closes = factor_market(80, 12, seed=15)
    closes[40, 2] = np.nan
    near_oracle(scan_batch(closes), closes, np.arange(80), [69, 70, 71])


def test_a_market_without_a_leader_scans_to_the_same_bits_on_any_threads(monkeypatch):
    """Every value is proven by the kernel itself: none comes from LAPACK, whose last bits depend on who asks."""
    monkeypatch.setattr(track, "_largest", lambda returns: pytest.fail("a value was taken from LAPACK"))
    rng = np.random.default_rng(14)
    closes = np.exp(np.cumsum(1e-3 * rng.normal(size=(1500, 24)), axis=0))
    whole = scan_batch(closes)
    same_bits(whole, scan_batch(closes, threads=3))
    scanner = Scanner(24)
    same_bits(whole, scanner.scan(closes[:700]), slice(0, 700), slice(None))
    same_bits(whole, scanner.scan(closes[700:], threads=2), slice(700, None), slice(None))
