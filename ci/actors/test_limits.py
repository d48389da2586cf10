"""Our own pre-trade limits: every reason code is reached, NaN is never let through, and only entries are refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_venue import World

from actors.limits import Denial, OrderLimits, order_quantity
from dolphin.config import VenueConfig

MINUTE = 60_000_000_000
NAN = math.nan


def deny(
    ts: int = 0, quantity: float = 1.0, close: float = 100.0, equity: float = 1e6, quote: float = NAN, **config: float
) -> Denial | None:
    """One check; the instrument asks for at least 0.1 units and 5 USDT."""
    return OrderLimits(VenueConfig(**config)).deny(0, quantity, close, equity, (0.1, 5.0), quote)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({}, None),
        ({"quote": 104.9}, None),
        ({"quote": 105.1}, Denial.PRICE_SANITY),
        ({"quote": 94.9}, Denial.PRICE_SANITY),
        ({"quote": 0.0}, Denial.PRICE_SANITY),
        ({"quote": math.inf}, Denial.PRICE_SANITY),
        ({"close": 0.0}, Denial.PRICE_SANITY),
        ({"close": -1.0}, Denial.PRICE_SANITY),
        ({"close": NAN}, Denial.PRICE_SANITY),
        ({"close": math.inf}, Denial.PRICE_SANITY),
        ({"quantity": 0.0}, Denial.MIN_QUANTITY),
        ({"quantity": NAN}, Denial.MIN_QUANTITY),
        ({"quantity": -1.0}, Denial.MIN_QUANTITY),
        ({"quantity": 0.09}, Denial.MIN_QUANTITY),
        ({"quantity": 0.1, "close": 49.0}, Denial.MIN_NOTIONAL),
        ({"quantity": 0.1, "close": 50.0}, None),
        ({"quantity": 10.1, "max_notional": 1000.0}, Denial.MAX_NOTIONAL),
        ({"quantity": 10.0, "max_notional": 1000.0}, None),
        ({"quantity": math.inf}, Denial.MAX_NOTIONAL),
        ({"equity": 49.0}, Denial.MAX_LEVERAGE),
        ({"equity": 50.0}, None),
        ({"equity": NAN}, Denial.MAX_LEVERAGE),
        ({"equity": 0.0}, Denial.MAX_LEVERAGE),
        ({"equity": -1e6}, Denial.MAX_LEVERAGE),
    ],
)
def test_the_first_limit_that_an_entry_would_break_is_its_reason(case: dict[str, float], reason: Denial | None) -> None:
    assert deny(**case) is reason  # type: ignore[arg-type]


def test_the_rate_is_counted_over_the_last_sixty_seconds() -> None:
    limits = OrderLimits(VenueConfig(max_orders_minute=2))
    arguments = 1.0, 100.0, 1e6, (0.1, 5.0), NAN
    for ts in (0, 10):
        assert limits.deny(ts, *arguments) is None
        limits.sent(ts)
    assert limits.deny(11, *arguments) is Denial.MAX_ORDERS_MINUTE
    assert limits.deny(MINUTE - 1, *arguments) is Denial.MAX_ORDERS_MINUTE
    assert limits.deny(MINUTE, *arguments) is None
    limits.sent(MINUTE)
    assert limits.deny(MINUTE + 9, *arguments) is Denial.MAX_ORDERS_MINUTE
    assert limits.deny(MINUTE + 10, *arguments) is None


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_whatever_passes_is_finite_and_within_every_limit(quantity: float, close: float, equity: float, quote: float) -> None:
    if deny(quantity=quantity, close=close, equity=equity, quote=quote) is None:
        config = VenueConfig()
        assert 5.0 <= quantity * close <= min(config.max_notional, config.max_leverage * equity)
        assert quantity >= 0.1
        assert not abs(quote / close - 1.0) > config.price_band


@given(st.floats(-1e-3, 1e6))
def test_quantities_are_rounded_down_to_the_step(quantity: float) -> None:
    instrument = World().desk.instrument("BTCUSDT")
    assert instrument is not None
    rounded = float(order_quantity(instrument, quantity))
    assert rounded >= 0.0
    if quantity > 0.0:
        assert rounded <= quantity * (1 + 1e-12) + 1e-9
        assert rounded > quantity - 0.001 - 1e-9


@pytest.mark.parametrize("quantity", [NAN, math.inf, -1.0, 0.0])
def test_a_quantity_that_is_none_is_rounded_to_zero(quantity: float) -> None:
    assert float(order_quantity(World().desk.instrument("BTCUSDT"), quantity)) == 0.0


def test_float_dust_below_a_step_does_not_cost_the_step() -> None:
    assert float(order_quantity(World().desk.instrument("BTCUSDT"), 0.1 + 0.2 - 1e-12)) == 0.3


# --- through the desk


def refused(world: World, reason: str, symbol: str = "BTCUSDT", notional: float = 5_000.0, **changes: object) -> None:
    """The entry is not sent, the reason counted, and the alpha's exit settles a trade without fills."""
    before = len(world.desk.intents)
    world.enter(symbol, notional, **changes)
    assert world.desk.totals.denied.get(reason) == 1, world.desk.totals.denied
    assert len(world.desk.intents) == before
    world.leave()
    assert world.actor.trades[-1].quantity_filled == 0.0
    assert world.flat


def test_the_desk_reaches_every_reason_code() -> None:
    reached: set[str] = set()
    for prepare, reason, arguments in [
        (lambda world: world.desk.enter_safe_mode("TEST"), Denial.SAFE_MODE, {}),
        (lambda world: world.venue.prices.update(XYZUSDT=10.0), Denial.NO_INSTRUMENT, {"symbol": "XYZUSDT"}),
        (lambda world: world.desk.halted.add("BTCUSDT"), Denial.INSTRUMENT_HALTED, {}),
        (lambda world: world.quote(price=53_000.0), Denial.PRICE_SANITY, {}),
        (lambda world: None, Denial.MIN_QUANTITY, {"notional": 49.0}),
        (lambda world: None, Denial.MIN_NOTIONAL, {"notional": 80.0}),
        (lambda world: None, Denial.MAX_NOTIONAL, {"notional": 20_100.0}),
        (lambda world: None, Denial.MAX_LEVERAGE, {"notional": 13_000.0}),
    ]:
        world = World(max_notional=20_000.0, max_leverage=0.5).start()
        prepare(world)
        refused(world, reason, **arguments)  # type: ignore[arg-type]
        reached |= world.desk.totals.denied.keys()
    world = World(stop_distance=0.05).start()
    world.venue.on_cancel("lost")
    world.enter()
    world.leave()
    refused(world, Denial.STOP_WORKING)
    reached |= world.desk.totals.denied.keys()
    world = World(max_orders_minute=2).start()
    world.enter()
    world.leave()
    refused(world, Denial.MAX_ORDERS_MINUTE)
    reached |= world.desk.totals.denied.keys()
    world.wait(60)
    world.enter()
    assert world.desk.trip is not None
    world.opened = None
    world.enter("ETHUSDT")  # the alpha never does this: the desk refuses it, and the exit closes what is held
    reached |= world.desk.totals.denied.keys()
    world.leave()
    assert world.flat
    assert reached == set(Denial)


def test_an_exit_is_sent_whatever_the_limits_say() -> None:
    world = World(max_orders_minute=1).start()
    world.enter()
    world.leave()
    assert world.flat


def test_an_old_quote_says_nothing_about_the_price() -> None:
    world = World().start()
    world.quote(price=53_000.0)
    world.wait(11)
    world.enter()
    assert world.desk.totals.denied == {}
    assert world.desk.trip is not None
