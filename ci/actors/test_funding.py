"""Funding on the simulated venue: once a time, to whom, from which price, and the account adds up to the cent of a cent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import START_MS, day, names

from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.orders import OrderDesk
from dolphin.config import EngineConfig, VenueConfig
from dolphin.engine.costs import FundingSeries
from dolphin.engine.records import DayRows

MINUTE_MS = 60_000
HELD = EngineConfig(use_asset_selection=False, use_direction_confirm=False, lookback=0, max_hold_bars=100)
"""Bitcoin only, entered on the bar of a signal and left 100 bars later."""


def calm(signals, bars=400, price=50_000.0):
    """A day at one price; ``signals``: vel_div by bar number (1 = the first)."""
    vel_div = np.zeros(bars)
    for bar, value in signals.items():
        vel_div[bar - 1] = value
    ts = START_MS + np.arange(1, bars + 1, dtype=np.int64) * MINUTE_MS
    return DayRows(("BTCUSDT", "ETHUSDT"), np.full((bars, 2), price), vel_div, vel_div, np.zeros(bars), ts)


def funding(rates, symbols=("BTCUSDT",)):
    """A series by bar number: the rates of ``symbols``."""
    times = START_MS + (np.array(sorted(rates)) * MINUTE_MS).astype(np.int64)
    return FundingSeries(times, symbols, np.array([np.atleast_1d(rates[bar]) for bar in sorted(rates)], dtype=np.float64))


@pytest.fixture
def run(monkeypatch):
    """Runs a backtest: gives it back finished, with what was posted: (bar, symbol, USDT)."""

    def run(days, series, lane="BLUE", engine=HELD, **venue):
        posted, book = [], OrderDesk.on_funding

        def spy(desk, symbol, amount):
            now = desk.strategy.clock.timestamp_ns() / 1e6 - START_MS
            posted.append((round(now / MINUTE_MS, 3), symbol, amount))
            book(desk, symbol, amount)

        with monkeypatch.context() as patch:
            patch.setattr(OrderDesk, "on_funding", spy)
            built = VenueBacktest.build(DolphinActorConfig(lane=lane, engine=engine, orders=VenueConfig(**venue)), days, series)
            return built.run(), posted

    return run


def balance_error(built):
    totals = built.actor.desk.totals
    return built.end_balance - (built.config.engine.start_capital + built.realised - totals.fees + totals.funding)


@pytest.mark.parametrize(("lane", "signal", "sign"), [("BLUE", -0.03, 1.0), ("GREEN", 0.03, -1.0)])
@pytest.mark.parametrize("rate", [0.001, -0.002])
def test_a_positive_rate_is_received_by_a_short_and_paid_by_a_long(run, lane, signal, sign, rate):
    """amount = -side * rate * quantity * price, once for the one funding time in the life of the position."""
    built, posted = run([calm({20: signal})], funding({60: rate}), lane)
    (trade,) = built.actor.trades
    ((bar, symbol, amount),) = posted
    assert (bar, symbol) == (60.0, "BTCUSDT")
    assert amount == pytest.approx(sign * rate * trade.quantity_filled * 50_000.0, rel=1e-5)
    assert trade.funding == amount == built.actor.desk.totals.funding
    assert abs(balance_error(built)) < 1e-6
    built.close()


def test_only_times_strictly_inside_or_at_the_end_of_a_position_count(run):
    """Entered at the close of bar 20 and filled just after it, left at the close of bar 120: the time at 20 is before, 120 is in."""
    built, posted = run([calm({20: -0.03})], funding(dict.fromkeys((1, 19, 20, 21, 60, 119, 120, 121, 300), 0.001)))
    assert [bar for bar, *_ in posted] == [21.0, 60.0, 119.0, 120.0]
    assert abs(balance_error(built)) < 1e-6
    built.close()


def test_a_funding_time_between_bars_is_posted_once_at_the_next_event(run):
    built, posted = run([calm({20: -0.03})], funding({60: 0.001, 60.5: 0.002}))
    assert [bar for bar, *_ in posted] == [60.0, 61.0]
    built.close()


def test_several_times_in_a_hole_of_the_data_are_each_posted(run):
    whole = calm({20: -0.03})
    keep = np.r_[0:50, 90:400]
    rows = DayRows(whole.assets, whole.closes[keep], whole.vel_div[keep], whole.v50[keep], whole.v750[keep], whole.ts_ms[keep])
    built, posted = run([rows], funding({60: 0.001, 70: 0.001, 80: 0.001}))
    assert len(posted) == 3
    assert abs(balance_error(built)) < 1e-6
    built.close()


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (funding({60: math.nan}), "a missing rate"),
        (funding({60: 0.0}), "a rate of zero"),
        (funding({60: 0.001}, ("ETHUSDT",)), "another symbol"),
        (funding({300: 0.001}), "after the position"),
        (FundingSeries(np.empty(0, dtype=np.int64), (), np.empty((0, 0))), "an empty series"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_posted_for(run, series, why):
    built, posted = run([calm({20: -0.03})], series)
    assert (len(built.actor.trades), posted) == (1, []), why
    assert abs(balance_error(built)) < 1e-6
    built.close()


@pytest.mark.parametrize("lane", ["BLUE", "GREEN"])
@pytest.mark.parametrize("style", ["market", "maker"])
def test_the_account_adds_up_over_many_trades_of_many_names(run, lane, style):
    """end = start + realised - fees + funding to 1e-6 USDT, with a rate every 7 minutes and holes in it."""
    rng = np.random.default_rng(1)
    days = [day(seed=2, bars=900, day_index=k, missing=0.01) for k in range(2)]
    rates = rng.normal(0, 1e-3, (400, 12))
    rates[rng.random(rates.shape) < 0.1] = np.nan
    series = FundingSeries(START_MS + np.arange(400, dtype=np.int64) * 7 * MINUTE_MS, names(12), rates)
    built, posted = run(days, series, lane, EngineConfig(), order_style=style)
    assert len(built.actor.trades) > 10
    assert len(posted) > 20
    assert built.actor.desk.totals.funding == pytest.approx(math.fsum(amount for *_, amount in posted))
    assert abs(balance_error(built)) < 1e-6
    built.close()
