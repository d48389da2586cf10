"""The synthetic market: the same for the same numbers, shaped like a real archive, and worth nothing to any rule."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from dolphin.errors import ConfigError
from dolphin.synthetic.market import MarketDay, SyntheticMarket

PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "volume")
GOLDEN = "99d197af7f33cb1f"


def closes(market: SyntheticMarket) -> np.ndarray:
    return np.concatenate([day.close for day in market])


def digest(days: list[MarketDay]) -> str:
    sha = hashlib.sha256()
    for day in days:
        sha.update(day.ts.tobytes())
        for name in FIELDS:
            sha.update(np.nan_to_num(getattr(day, name), nan=-1.0).tobytes())
    return sha.hexdigest()[:16]


@pytest.fixture(scope="module")
def archive() -> list[MarketDay]:
    return list(SyntheticMarket())


def test_same_numbers_give_the_same_bytes(archive: list[MarketDay]) -> None:
    """Deterministic by seed, on any machine: prices and volumes are decimals, so the last bit of a logarithm cannot show."""
    made = digest(list(SyntheticMarket()))
    assert made == digest(archive)
    assert made == GOLDEN, f"the market of seed 7 changed and so will every golden run; if on purpose, set GOLDEN = {made!r}"


def test_another_seed_gives_another_market(archive: list[MarketDay]) -> None:
    """The seed reaches every asset."""
    other = SyntheticMarket(seed=8).day(0)
    assert not np.any(np.all(archive[0].close == other.close, axis=0))


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_day_is_the_same_whether_or_not_later_days_are_made(archive: list[MarketDay], k: int) -> None:
    """Prefix property: an archive of more days begins with the shorter one, and a day can be made alone."""
    assert digest([SyntheticMarket(days=9).day(k)]) == digest([archive[k]]) == digest([SyntheticMarket(days=k + 1).day(k)])


def test_days_follow_each_other_without_a_seam(archive: list[MarketDay]) -> None:
    """Midnight is a bar like any other: dates and stamps run on and each day opens where the last one closed."""
    assert [day.date for day in archive] == ["2025-01-01", "2025-01-02", "2025-01-03"]
    ts = np.concatenate([day.ts for day in archive])
    assert ts[0] == 1_735_689_600_000
    assert np.all(np.diff(ts) == 60_000)
    before, after = archive[0].close[-1], archive[1].open[0]
    both = np.isfinite(before) & np.isfinite(after)
    np.testing.assert_array_equal(before[both], after[both])


def test_bars_obey_the_laws_of_ohlc(archive: list[MarketDay]) -> None:
    """0 < low <= min(open, close) <= max(open, close) <= high; a missing bar is missing in all five columns."""
    for day in archive:
        gone = np.isnan(day.close)
        for name in FIELDS:
            np.testing.assert_array_equal(np.isnan(getattr(day, name)), gone, err_msg=f"{day.date} {name}")
        there = ~gone
        low, high = day.low[there], day.high[there]
        assert np.all(low > 0)
        assert np.all(low <= np.minimum(day.open, day.close)[there])
        assert np.all(high >= np.maximum(day.open, day.close)[there])
        assert np.all(day.volume[there] > 0)
        assert np.mean(high > low) > 0.95


def test_prices_lie_on_ticks_between_a_cent_and_ninety_thousand(archive: list[MarketDay]) -> None:
    """Every price is a decimal of at most six places; levels run from 0.01 to 90 000 and the first two are BTC and ETH."""
    day = archive[0]
    first = day.open[0]
    assert first[0] == 90_000.0
    assert first[1] == 3_000.0
    assert np.nanmin(first) == 0.01
    assert np.nanmax(first) == 90_000.0
    for name in PRICES:
        value = getattr(day, name)
        np.testing.assert_array_equal(value[np.isfinite(value)], np.round(value[np.isfinite(value)], 6))
    changes = np.diff(day.close, axis=0)
    assert np.median(np.mean(changes == 0.0, axis=0)) < 0.03


@pytest.mark.parametrize("n", [3, 48, 400])
def test_symbols_are_distinct_asset_columns(n: int) -> None:
    """Names match the asset pattern of the day table, whatever the number of assets."""
    symbols = SyntheticMarket(assets=n).symbols
    assert symbols[:2] == ("BTCUSDT", "ETHUSDT")
    assert len(set(symbols)) == n
    assert all(re.fullmatch(r"[A-Z0-9]{2,20}USDT", name) for name in symbols)


def test_one_asset_is_delisted_in_mid_archive(archive: list[MarketDay]) -> None:
    """Exactly one asset trades until some bar of the second day and never again; it is not one of the large ones."""
    gone = [int(j) for j in np.flatnonzero(np.isnan(archive[2].close).all(axis=0))]
    assert len(gone) == 1
    assert gone[0] >= 5
    last = int(np.flatnonzero(np.isfinite(archive[1].close[:, gone[0]]))[-1])
    assert 0.25 * 1440 < last < 0.75 * 1440
    assert np.isfinite(archive[0].close[:, gone[0]]).mean() > 0.95
    alive = np.delete(archive[1].close, gone[0], axis=1)
    assert np.isfinite(alive).mean(axis=0).min() > 0.9


def test_some_bars_are_missing_and_most_are_not(archive: list[MarketDay]) -> None:
    """Gaps of single assets occur every day; the market as a whole never stops."""
    for day in archive[:1]:
        missing = np.isnan(day.close).mean()
        assert 1e-5 < missing < 0.01
        assert np.isfinite(day.close).mean(axis=1).min() > 0.9


@pytest.mark.parametrize("bar_seconds", [5, 300, 3600])
def test_other_bar_lengths_keep_the_calendar_and_the_volatility(bar_seconds: int) -> None:
    """A day has 86400 / bar_seconds bars, and returns scale with the square root of the bar."""
    market = SyntheticMarket(assets=12, days=1, bar_seconds=bar_seconds)
    day = market.day(0)
    assert day.close.shape == (86_400 // bar_seconds, 12)
    assert np.all(np.diff(day.ts) == 1000 * bar_seconds)
    minute = np.nanstd(np.diff(np.log(day.close), axis=0)) / np.sqrt(bar_seconds / 60)
    assert 8e-4 < minute < 60e-4


@pytest.mark.parametrize(
    ("field", "value"),
    [("assets", 2), ("assets", 401), ("days", 0), ("bar_seconds", 0), ("bar_seconds", 7.5), ("seed", -1), ("start", "yesterday")],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    """The error names the field and the value."""
    with pytest.raises(ConfigError, match=f"{field} = {value!r}"):
        SyntheticMarket(**{field: value})


def test_a_bar_that_does_not_divide_the_day_is_refused() -> None:
    """Every day has the same number of whole bars."""
    with pytest.raises(ConfigError, match="does not divide a day"):
        SyntheticMarket(bar_seconds=7)


def test_a_day_outside_the_archive_is_refused() -> None:
    """There is no day before the first or after the last."""
    with pytest.raises(IndexError, match="outside an archive of 3 days"):
        SyntheticMarket().day(3)
