"""The synthetic market against the figures of 30 real days (Binance spot 1 min, April 2021, 64 pairs), and against making money.

Real: P(vel_div < -0.02) 0.103, P(<= -0.05) 0.026, share of window 50 from 0.20 to 0.71 (5 % and 95 %), median 0.43, of window 750 from
0.24 to 0.64, median 0.44; volatility a minute 11 to 58 bps, median 27; autocorrelation of |r| 0.33 at 1 bar, 0.17 at 60; kurtosis 22.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dolphin.synthetic.market import SyntheticMarket

SEEDS = (7, 10)


@cache
def closes(seed: int) -> np.ndarray:
    return np.concatenate([day.close for day in SyntheticMarket(days=30, seed=seed)])


@cache
def returns(seed: int) -> np.ndarray:
    return np.diff(np.log(closes(seed)), axis=0)


def share(r: np.ndarray, t: int, window: int) -> float:
    """Largest eigenvalue of the correlation matrix over returns ``t - window .. t - 1``, divided by the number of participants."""
    x = r[t - window : t]
    x = x[:, np.isfinite(x).mean(axis=0) >= 0.9]
    x = np.where(np.isfinite(x), x, np.nanmean(x, axis=0))
    return float(np.linalg.eigvalsh(np.corrcoef(x, rowvar=False))[-1] / x.shape[1])


@cache
def sampled(seed: int) -> np.ndarray:
    """``vel_div``, share of window 50 and of window 750 at 1200 random bars, ``float64[1200, 3]``."""
    r = returns(seed)
    bars = np.random.default_rng(0).choice(np.arange(752, len(r)), 1200, replace=False)
    now = np.array([[share(r, t, 50), share(r, t, 750)] for t in bars])
    before = np.array([[share(r, t - 1, 50), share(r, t - 1, 750)] for t in bars])
    velocity = now / before - 1.0
    return np.column_stack([velocity[:, 0] - velocity[:, 1], now])


@pytest.mark.parametrize("seed", SEEDS)
def test_thresholds_mean_what_they_mean_on_real_data(seed: int) -> None:
    """P(vel_div < -0.02) lies in 5..20 % and P(<= -0.05) in 1..6 % over 30 days of 48 assets at 60 s."""
    vel_div = sampled(seed)[:, 0]
    assert 0.05 < np.mean(vel_div < -0.02) < 0.20
    assert 0.01 < np.mean(vel_div <= -0.05) < 0.06
    assert 0.10 < np.mean(vel_div > 0.01) < 0.35


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_of_the_first_factor_wander_as_widely_as_real_ones(seed: int) -> None:
    """Correlation builds up and breaks: the quantiles of both windows' shares lie near the real ones."""
    short, long = sampled(seed)[:, 1], sampled(seed)[:, 2]
    np.testing.assert_allclose(np.quantile(short, [0.05, 0.5, 0.95]), [0.20, 0.43, 0.71], atol=0.08)
    np.testing.assert_allclose(np.quantile(long, [0.05, 0.5, 0.95]), [0.24, 0.44, 0.64], atol=0.08)


@pytest.mark.parametrize("seed", SEEDS)
def test_volatility_has_a_real_level_clusters_and_has_fat_tails(seed: int) -> None:
    """Median of the assets: 15 to 45 bps a minute, |r| correlated for hours, r itself not, kurtosis above 8."""
    r = returns(seed)
    level = np.nanstd(r, axis=0)
    assert 15e-4 < np.median(level) < 45e-4
    assert level[0] < np.quantile(level, 0.25)
    x = r[:, ~np.isnan(r[-1])][:, :12]
    x = np.where(np.isfinite(x), x, 0.0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    size = np.abs(x) - np.abs(x).mean(axis=0)

    def echo(y: np.ndarray, lag: int) -> float:
        return float(np.median(np.mean(y[lag:] * y[:-lag], axis=0) / np.mean(y * y, axis=0)))

    assert 0.15 < echo(size, 1) < 0.45
    assert 0.10 < echo(size, 60) < echo(size, 1)
    assert abs(echo(x, 1)) < 0.03
    assert np.median(np.mean(x**4, axis=0)) > 8.0


def shorts(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns before costs of shorts of one random asset, one after another, and whether each reached +95 bps within 120 bars.

    Opened where the factor's share of the last 10 squared returns fell since the 10 before: a cheap cousin of the real signal,
    known at the bar.
    """
    p, r = closes(seed), np.nan_to_num(returns(seed))
    market, total = r.mean(axis=1) ** 2, np.mean(r * r, axis=1)
    sums = [np.convolve(x, np.ones(10), "full")[: len(x)] for x in (market, total)]
    part = sums[0] / sums[1]
    signal = np.flatnonzero(part[10:] < 0.6 * part[:-10]) + 11
    rng = np.random.default_rng(seed)
    gains, hits, free = [], [], 0
    for t in signal:
        if t < free or t + 121 > len(p):
            continue
        j = rng.choice(np.flatnonzero(np.isfinite(p[t])))
        path = 1.0 - p[t + 1 : t + 121, j] / p[t, j]
        path = path[np.isfinite(path)]
        reached = np.flatnonzero(path >= 0.0095)
        hits.append(reached.size > 0)
        gains.append(path[reached[0]] if reached.size else path[-1] if path.size else 0.0)
        free = t + (reached[0] + 2 if reached.size else 121)
    return np.array(gains), np.array(hits)


def test_shorts_earn_nothing_before_costs_and_end_both_ways() -> None:
    """Prices are martingales: over seeds the mean of a rule's trades is within three standard errors of 0; TP and MAX_HOLD are common."""
    runs = [shorts(seed) for seed in (*SEEDS, 1, 2, 3, 4)]
    gains, hits = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    assert len(gains) > 1000
    assert abs(gains.mean()) < 3.0 * gains.std() / np.sqrt(len(gains))
    assert 0.25 < hits.mean() < 0.85


def test_no_drift_follows_a_move_of_the_market() -> None:
    """The sign of the next return is a fair coin whatever came before: neither momentum nor reversal over 1, 10 or 60 bars."""
    for seed in SEEDS:
        market = np.nan_to_num(returns(seed)).mean(axis=1)
        unit = market / np.sqrt(np.convolve(market**2, np.ones(120) / 120, "full")[: len(market)] + 1e-12)
        for lag in (1, 10, 60):
            past = np.convolve(unit, np.ones(lag), "full")[: len(unit)]
            edge = np.sign(past[:-1]) * np.clip(unit[1:], -6.0, 6.0)
            assert abs(edge.mean()) < 4.0 * edge.std() / np.sqrt(len(edge)), (seed, lag)
