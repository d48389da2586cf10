"""Order faults on a scripted venue: each ends in a defined state, never in a second position or a forgotten one."""

from __future__ import annotations

import pytest
from nautilus_trader.model.enums import OrderSide, TradingState
from nautilus_trader.model.identifiers import ClientOrderId
from order_helpers import PARTLY, finished, held, parts_add_up, purposes
from scripted_venue import World

from actors.orders import MOST_EXIT_ATTEMPTS

# --- the checker itself


def test_a_round_trip_without_faults_pleases_the_checker(world: World) -> None:
    world.enter()
    world.bars(2)
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY", "EXIT"]
    assert world.checker.looks > 10


def test_the_checker_objects_to_a_difference_that_the_desk_overlooks(world: World) -> None:
    world.desk._differs = lambda *difference: None  # type: ignore[method-assign]
    world.enter()
    world.venue.outside("BTCUSDT", 0.01)
    with pytest.raises(AssertionError, match="BTCUSDT venue"):
        world.bar()


def test_the_checker_objects_to_an_order_without_an_intent(world: World) -> None:
    instrument = world.desk.instrument("BTCUSDT")
    assert instrument is not None
    world.actor.submit_order(world.actor.order_factory.market(instrument.id, OrderSide.BUY, instrument.make_qty(0.1)))
    with pytest.raises(AssertionError, match="orders without an intent"):
        world.bar()


def test_the_checker_objects_to_an_entry_in_safe_mode_and_to_two_positions(world: World) -> None:
    world.desk._denial = lambda *trip: None  # type: ignore[method-assign]
    world.desk.enter_safe_mode("PLANTED")
    with pytest.raises(AssertionError, match="an entry in safe mode"):
        world.enter()
    world.checker.complaints.clear()
    world.desk.safe_reason = ""
    world.desk._differs = lambda *difference: None  # type: ignore[method-assign]
    world.venue.outside("ETHUSDT", 1.0)
    with pytest.raises(AssertionError, match="more than one position"):
        world.bar()


# --- entries


def test_a_rejected_entry_sends_no_exit_and_settles_with_no_fills(world: World) -> None:
    world.venue.script("reject")
    world.enter()
    world.bars(3)
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY"]
    assert world.actor.trades[0].quantity_filled == 0.0
    assert world.actor.trades[0].fills_net == 0.0
    assert world.actor.trades[0].entry_liquidity == "none"
    assert world.desk.totals.rejected == 1


@pytest.mark.parametrize("end", ["cancel", "expire", "reject"])
def test_a_partial_entry_is_kept_as_it_is_and_closed_exactly(world: World, end: str) -> None:
    world.venue.script(*PARTLY, end)
    world.enter()
    world.bars(3)
    assert held(world) == pytest.approx(0.04)
    assert purposes(world) == ["ENTRY"]
    world.leave()
    finished(world)
    assert float(world.venue.orders[-1].order.quantity) == pytest.approx(0.04)
    assert world.actor.trades[0].quantity_filled == pytest.approx(0.04)


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_an_entry_that_ends_unfilled_leaves_the_lane_flat(world: World, end: str) -> None:
    world.venue.script("accept", end)
    world.enter()
    world.bar()
    assert held(world) == 0.0
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY"]


def test_an_entry_filled_in_many_parts_leaves_no_dust_to_send(world: World) -> None:
    world.venue.script("accept", *["fill 0.1"] * 3, *["fill 0.7"])
    world.enter()
    world.bars(2)
    assert purposes(world) == ["ENTRY"]
    world.leave()
    finished(world)


def test_a_fill_after_the_cancel_belongs_to_the_trip_as_long_as_it_lasts(world: World) -> None:
    world.venue.script(*PARTLY, "cancel", "fill 0.3")
    world.enter()
    world.bars(2)
    assert held(world) == pytest.approx(0.07)
    world.leave()
    finished(world)
    assert world.actor.trades[0].quantity_filled == pytest.approx(0.07)


def test_the_exit_while_the_entry_is_working_cancels_it(world: World) -> None:
    world.venue.script("accept")
    world.enter()
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY"]


def test_the_exit_while_the_entry_is_half_filled_cancels_and_closes_the_half(world: World) -> None:
    world.venue.script("accept", "fill 0.5")
    world.enter()
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY", "EXIT"]


def test_an_entry_filled_instead_of_cancelled_is_closed_at_once(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("fill 1", "refuse")
    world.enter()
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY", "EXIT"]


def test_a_late_fill_after_the_trip_had_ended_is_closed_at_once(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("cancel", "hidden fill 0.5")
    world.enter()
    world.leave()
    assert world.desk.trip is None
    world.venue.release()
    world.settle()
    finished(world)
    assert purposes(world) == ["ENTRY", "EXIT"]


def test_a_late_fill_whose_closing_order_is_rejected_is_tried_again_at_the_next_bar(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("cancel", "hidden fill 0.5")
    world.enter()
    world.leave()
    world.venue.script("reject")
    world.venue.release()
    world.settle()
    assert held(world) == pytest.approx(0.05)
    assert world.desk.trip is not None
    world.bar()
    finished(world)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_late_fill_beside_another_trip_is_closed_loudly_and_the_other_trip_goes_on(world: World, symbol: str) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("cancel", "hidden fill 0.5")
    world.enter()
    world.leave()
    world.enter(symbol)
    world.venue.script("reject")
    world.venue.release()
    world.bars(2)
    assert world.desk.safe_reason.startswith("LATE_FILL")
    assert not world.desk.strays
    trip = world.desk.trip
    assert trip is not None
    assert held(world) == pytest.approx(trip.quantity_model)
    world.leave()
    finished(world, safe="LATE_FILL", trades=2)


def test_an_entry_waits_behind_an_exit_under_way(world: World) -> None:
    world.enter()
    world.venue.script("accept")
    world.leave()
    world.enter("ETHUSDT")
    assert world.desk.queued is not None
    assert purposes(world) == ["ENTRY", "EXIT"]
    world.venue.do(world.venue.orders[1], "fill 1")
    world.bar()
    assert world.desk.trip is not None
    assert world.desk.trip.symbol == "ETHUSDT"
    world.leave()
    finished(world, trades=2)


def test_an_entry_that_waited_until_its_own_exit_is_refused(world: World) -> None:
    world.enter()
    world.venue.script("accept")
    world.leave()
    world.enter("ETHUSDT")
    world.leave()
    assert world.desk.totals.denied == {"POSITION_OPEN": 1}
    world.venue.do(world.venue.orders[1], "fill 1")
    world.bar()
    assert world.flat
    assert sorted(trade.trade_id for trade in world.actor.trades) == [1, 2]


# --- exits


def test_a_rejected_exit_is_tried_once_a_bar_and_never_given_up(world: World) -> None:
    world.enter()
    for _ in range(MOST_EXIT_ATTEMPTS + 2):
        world.venue.script("reject")
    world.leave()
    for attempt in range(1, MOST_EXIT_ATTEMPTS + 2):
        assert purposes(world).count("EXIT") == attempt
        assert bool(world.desk.safe_reason) == (attempt >= MOST_EXIT_ATTEMPTS)
        world.bar()
    world.bars(2)
    finished(world, safe="EXIT_FAILED")


@pytest.mark.parametrize("end", ["cancel", "expire", "reject"])
def test_a_partial_exit_is_completed_at_the_next_bar(world: World, end: str) -> None:
    world.enter()
    world.venue.script(*PARTLY, end)
    world.leave()
    assert held(world) == pytest.approx(0.06)
    world.bar()
    finished(world)
    assert float(world.venue.orders[-1].order.quantity) == pytest.approx(0.06)


def test_an_exit_filled_after_it_was_given_up_by_the_venue_closes_once(world: World) -> None:
    world.enter()
    world.venue.script("accept", "cancel", "hidden fill 1")
    world.leave()
    assert held(world) == 0.0
    world.bar()  # the second exit is reduce-only: rejected by the venue
    world.venue.release()
    world.bar()
    finished(world)


def test_exits_that_took_too_much_are_given_back(world: World) -> None:
    world.enter()
    world.venue.script("accept", "cancel")
    world.leave()
    first = world.venue.orders[-1]
    world.venue.script("accept")
    world.bar()
    second = world.venue.orders[-1]
    world.venue._room = lambda at, quantity: quantity  # type: ignore[method-assign]
    world.venue.do(second, "fill 0.5")
    world.venue.do(first, "fill 1")
    assert world.desk.trip is not None
    assert world.desk.trip.held < 0.0
    world.venue.do(second, "cancel")
    world.bars(2)
    finished(world)


def test_the_exit_of_a_position_that_is_gone_ends_in_safe_mode_until_a_report_explains_it(world: World) -> None:
    world.enter()
    world.venue.net.clear()
    world.checker._equal = lambda *args: None  # type: ignore[method-assign]  # the truth is known to nobody
    world.leave()
    world.bars(MOST_EXIT_ATTEMPTS)
    assert world.desk.safe_reason == "EXIT_FAILED"
    assert world.desk.trip is not None
    world.venue.outside("BTCUSDT", -world.direction * 0.1)
    world.bar()
    assert world.desk.trip is None
    assert parts_add_up(world)


def test_orders_that_never_leave_the_house_end_like_rejected_ones(world: World) -> None:
    """Nautilus' risk engine denies at once, while the order is being sent."""
    world.risk.set_trading_state(TradingState.HALTED)
    world.enter()
    assert held(world) == 0.0
    world.leave()
    world.risk.set_trading_state(TradingState.ACTIVE)
    world.enter()
    world.risk.set_trading_state(TradingState.HALTED)
    world.leave()
    world.bar()
    assert purposes(world) == ["ENTRY", "ENTRY", "EXIT", "EXIT"]
    assert not world.desk.safe_reason
    world.risk.set_trading_state(TradingState.ACTIVE)
    world.bar()
    finished(world, trades=2)


def test_an_order_from_before_a_restart_does_not_hold_up_the_exit(world: World) -> None:
    world.enter()
    trip = world.desk.trip
    assert trip is not None
    trip.working = "O-GONE"
    trip.orders.append("O-GONE")
    world.desk.on_ended(ClientOrderId("O-GONE"), rejected=False)
    world.leave()
    finished(world)
