"""Synthetic books: the same by seed, in step with the market, thinner before a fall, and never a money machine by construction."""

from __future__ import annotations

import numpy as np
import pytest

from dolphin.book.day import check_book_day
from dolphin.errors import ConfigError
from dolphin.synthetic.book import SyntheticBook, SyntheticOrderBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import BOOK_FEATURES

MARKET = SyntheticMarket(assets=8, days=2, seed=7)
F = {name: k for k, name in enumerate(BOOK_FEATURES)}


@pytest.fixture(scope="module")
def days():
    """Two days of 8 assets, a snapshot every 500 ms."""
    return list(SyntheticBook(MARKET))


def column(days, name):
    return np.concatenate([day.features[:, :, F[name]] for day in days])


def test_the_same_numbers_give_the_same_books(days):
    """Bit for bit; another seed gives others; the first days of a longer archive are those of the shorter."""
    again = next(iter(SyntheticBook(SyntheticMarket(assets=8, days=1, seed=7))))
    np.testing.assert_array_equal(again.features, days[0].features)
    np.testing.assert_array_equal(again.snapshot_ts, days[0].snapshot_ts)
    other = next(iter(SyntheticBook(SyntheticMarket(assets=8, days=1, seed=8), snapshot_ms=5_000)))
    assert not np.array_equal(other.features, days[0].features, equal_nan=True)


def test_every_day_is_a_valid_recording_in_step_with_the_market(days):
    """At a bar's close the mid is the close; a bar without a price has no book; depth, spread and fill keep their bounds."""
    for day, market in zip(days, MARKET, strict=True):
        check_book_day(day)
        assert (day.date, day.symbols) == (market.date, market.symbols)
        np.testing.assert_array_equal(day.ts, market.ts + 60_000)
        np.testing.assert_allclose(day.features[:, :, F["mid"]], market.close, rtol=1e-12)
        np.testing.assert_array_equal(day.snapshot_ts > 0, np.isfinite(market.close))


def test_the_imbalance_leads_the_price_a_little(days):
    """Correlation with the next bar's return near 0.1, and none with the return after a day is shifted."""
    known, shuffled = [], []
    for day, market in zip(days, MARKET, strict=True):
        returns = market.close[1:] / market.close[:-1] - 1
        imbalance = day.features[:-1, :, F["imbalance_ma5"]]
        for shift, into in ((0, known), (700, shuffled)):
            moved = np.roll(returns, shift, axis=0)
            ok = np.isfinite(moved) & np.isfinite(imbalance)
            into.append(np.corrcoef(moved[ok], imbalance[ok])[0, 1])
    assert 0.03 < np.mean(known) < 0.17
    assert abs(np.mean(shuffled)) < 0.04


def test_every_state_that_the_effects_ask_for_occurs(days):
    """All steps of depth quality, both sides of imbalance, withdrawals, cascades, all three regimes; most of the time it is calm."""
    quality, withdrawal = column(days, "depth_quality"), column(days, "withdrawal_velocity")
    for low, high in ((0, 0.2), (0.2, 0.3), (0.3, 0.6), (0.6, 1.0), (1.0, 1.5), (1.5, 3.01)):
        assert ((quality >= low) & (quality < high)).any(), (low, high)
    assert np.nanquantile(quality, 0.5) == pytest.approx(1.0, abs=0.2)
    assert 0.02 < np.mean(withdrawal < -0.20) < 0.3
    imbalance = column(days, "imbalance_ma5")
    assert abs(np.nanmean(imbalance)) < 0.02
    assert np.nanstd(imbalance) == pytest.approx(0.22, abs=0.06)
    ob = SyntheticOrderBook(SyntheticBook(MARKET))
    macro = [ob.get_macro(int(ts)) for day in days for ts in day.ts]
    assert {m["regime_signal"] for m in macro} == {-1, 0, 1}
    assert 0 < np.mean([m["cascade_count"] > 0 for m in macro]) < 0.15
    assert {m["n_stale"] for m in macro} >= {0, 1}
    multipliers = np.array([ob.get_market_multiplier(-1, int(ts)) for day in days for ts in day.ts])
    assert multipliers.min() < 0.95
    assert multipliers.max() > 1.05
    assert (multipliers == 1.0).mean() > 0.3


def test_samples_may_be_finer_than_bars():
    """A recording at 5 s of 60 s bars; its every 12th sample is the sample at the bars' closes."""
    market = SyntheticMarket(assets=3, days=1, seed=3)
    fine = next(iter(SyntheticBook(market, snapshot_ms=1_000, sample_ms=5_000)))
    coarse = next(iter(SyntheticBook(market, snapshot_ms=1_000)))
    check_book_day(fine)
    assert len(fine.ts) == 17_280
    np.testing.assert_array_equal(fine.features[11::12], coarse.features)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"snapshot_ms": 0}, "snapshot_ms = 0"), ({"snapshot_ms": 7_000}, "snapshot_ms = 7000"), ({"sample_ms": 700}, "must divide"),
     ({"sample_ms": 7_000_000}, "sample_ms = 7000000")],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, why):
    """Field and value are named."""
    with pytest.raises(ConfigError, match=why):
        SyntheticBook(MARKET, **settings)
