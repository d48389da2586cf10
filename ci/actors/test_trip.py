"""Records of the order desk: legs, what a trip holds, and the parts into which ``settle`` takes the difference of both ledgers."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.trip import DeskTotals, Intent, Intents, Leg, Trip, settle
from dolphin.report.venue import PARTS

prices = st.floats(1e-4, 1e5)
money = st.floats(-100, 100)
quantities = st.floats(1e-6, 1e6)
fills = st.lists(st.tuples(quantities, prices, st.one_of(prices, st.just(math.nan)), st.booleans()), max_size=5)


def trip(**changes: Any) -> Trip:
    """A short of 10 units at 100 USDT, step 0.1, nothing filled yet."""
    return msgspec.structs.replace(Trip("BTCUSDT", -1, 10.0, 100.0, 7, 0.1, Leg(), Leg(), last_close=100.0), **changes)


def model(direction: int, quantity: float, close: float, exit_price: float, fees: float, credit: float, last: float) -> dict[str, Any]:
    """The engine's record of the same trade, and the close of its exit bar."""
    gross = quantity * direction * (exit_price - close) + credit
    return {"trade_id": 1, "exit_price": exit_price, "gross_pnl": gross, "fees": fees, "net_pnl": gross - fees, "exit_close": last}


@given(st.sampled_from([-1, 1]), quantities, prices, prices, prices, money, money, money, fills, fills)
def test_the_parts_add_up_to_the_difference(
    direction: int, quantity: float, close: float, last: float, exit_price: float,
    fees: float, credit: float, funding: float, entries: list[Any], exits: list[Any],
) -> None:  # fmt: skip
    """Law: sum of parts = fills_net - model_net, within 1e-9 of the largest amount of money in it."""
    entry, out = Leg(), Leg()
    for filled, price, mid, maker in entries:
        entry.add(filled, price, mid, 0.0005 * filled * price, maker)
    total = sum(filled for filled, *_ in exits)
    for filled, price, mid, maker in exits:  # what was bought is sold, in as many parts
        part = filled / total * entry.quantity
        out.add(part, price, mid, 0.0005 * part * price, maker)
    assume(bool(exits) or not entries)
    closed = trip(direction=direction, quantity_model=quantity, entry_close=close, entry=entry, exit=out, funding=funding)
    closed.model_trade = model(direction, quantity, close, exit_price, fees, credit, last)
    trade = settle(closed)
    scale = max(abs(trade.fills_net), abs(trade.model_net), *(abs(getattr(trade, name)) for name in PARTS), entry.value, out.value, 1.0)
    scale = max(scale, entry.quantity * max(close, last), quantity * max(close, last, exit_price))
    assert abs(sum(getattr(trade, name) for name in PARTS) - trade.difference) <= 1e-9 * scale
    assert trade.fills_net == pytest.approx(direction * (out.value - entry.value) - entry.fees - out.fees + funding)
    assert trade.quantity_filled == entry.quantity


def test_a_trade_worked_out_by_hand() -> None:
    """9 of 10 sold at 99.9 (middle 99.95), bought at 95.2 (middle 95.1); closes 100 and 95, the model got 95.1."""
    closed = trip()
    closed.entry.add(9.0, 99.9, 99.95, 0.4, False)
    closed.exit.add(9.0, 95.2, 95.1, 0.5, True)
    closed.funding = 0.2
    closed.model_trade = model(-1, 10.0, 100.0, 95.1, 0.8, 0.3, 95.0)
    trade = settle(closed)
    assert trade.model_net == pytest.approx(48.5)
    assert trade.fills_net == pytest.approx(9 * 4.7 - 0.9 + 0.2)
    assert trade.quantity == pytest.approx(-5.0)
    assert trade.latency == pytest.approx(-9 * 0.1 - 9 * 0.05)
    assert trade.slippage == pytest.approx(-9 * 0.1 - 9 * 0.05 + 10 * 0.1)
    assert trade.fees == pytest.approx(-0.1)
    assert trade.credits == pytest.approx(-0.3)
    assert trade.funding == pytest.approx(0.2)
    assert (trade.entry_liquidity, trade.exit_liquidity) == ("taker", "maker")


def test_a_trip_without_fills_is_all_quantity_and_the_models_own_costs() -> None:
    closed = trip(model_trade=model(-1, 10.0, 100.0, 95.1, 0.8, 0.0, 95.0))
    trade = settle(closed)
    assert (trade.fills_net, trade.quantity_filled, trade.latency) == (0.0, 0.0, 0.0)
    assert trade.quantity == pytest.approx(-50.0)
    assert trade.entry_liquidity == "none"


@pytest.mark.parametrize(
    ("makers", "liquidity"), [([], "none"), ([True], "maker"), ([False], "taker"), ([True, False], "mixed"), ([True, True], "maker")]
)
def test_liquidity_says_how_the_fills_met_the_book(makers: list[bool], liquidity: str) -> None:
    leg = Leg()
    for maker in makers:
        leg.add(0.1, 100.0, 100.0, 0.0, maker)
    assert leg.liquidity == liquidity


def test_a_fill_without_a_quote_counts_its_price_as_the_middle() -> None:
    leg = Leg()
    leg.add(2.0, 101.0, math.nan, 0.1, False)
    leg.add(1.0, 101.0, 100.0, 0.1, False)
    assert leg.mid_value == pytest.approx(302.0)
    assert leg.value == pytest.approx(303.0)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.sampled_from([1.0, 0.1, 0.001, 1e-6]))
def test_a_position_closed_in_parts_holds_nothing(parts: list[int], step: float) -> None:
    """Sums of floats leave dust; dust is no position, and no rest of an entry."""
    one = trip(step=step, rest=sum(parts) * step)
    for part in parts:
        assert one.rest > 0.0
        one.book("ENTRY", part * step, 100.0, 100.0, 0.0, False)
    assert one.rest == 0.0
    assert one.held == pytest.approx(sum(parts) * step)
    for part in reversed(parts):
        assert one.held > 0.0
        one.book("EXIT", part * step, 100.0, 100.0, 0.0, False)
    assert one.held == 0.0


def test_a_fill_sets_the_failed_attempts_back() -> None:
    one = trip(exit_attempts=3)
    one.book("EXIT", 1.0, 100.0, 100.0, 0.0, False)
    assert one.exit_attempts == 0
    assert one.held == -1.0


@pytest.mark.parametrize(("side", "direction"), [("SELL", -1), ("BUY", 1)])
def test_a_late_fill_makes_a_trip_that_wants_to_be_closed(side: str, direction: int) -> None:
    late = Trip.late(Intent("O-1", "ENTRY", "BTCUSDT", side, 1.0, 100.0, 0, "market"), 0.1)
    assert (late.direction, late.leaving, late.rest, late.orders) == (direction, True, 0.0, ["O-1"])
    assert late.model_trade is None


def test_a_trip_survives_being_written_down() -> None:
    one = trip(orders=["O-1"], working="O-1", paused=True, model_trade={"trade_id": 3})
    one.book("ENTRY", 1.0, 100.0, 99.0, 0.1, True)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Trip) == one


def test_totals_of_a_round_trip_are_its_cash_flow() -> None:
    totals = DeskTotals()
    totals.add(2.0, 100.0, 0.1, True)
    totals.add(2.0, 90.0, 0.1, False)
    assert (totals.fills, totals.cash, totals.fees) == (2, 20.0, 0.2)
    assert DeskTotals().denied is not DeskTotals().denied


def test_orders_are_remembered_up_to_a_bound_and_those_under_way_always():
    intents, under_way = Intents(), {"BLUE-1-1"}
    for k in range(1, 1000):
        intents.add(Intent(f"BLUE-{k}-1", "ENTRY", "BTCUSDT", "SELL", 1.0, 100.0, k, "market"), under_way)
    assert len(intents) == Intents.MOST
    assert list(intents)[:2] == ["BLUE-1-1", f"BLUE-{1000 - Intents.MOST + 1}-1"]
