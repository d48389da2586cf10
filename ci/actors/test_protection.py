"""The protective stop: every held position has one at the venue, without one there is no position, and none outlives its position."""

from __future__ import annotations

import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.enums import OrderSide, OrderType, TradingState
from order_helpers import PARTLY, finished, held, purposes
from scripted_venue import World


@pytest.fixture(params=["BLUE", "GREEN"])
def world(request):
    """Both lanes, stops 5 % away."""
    return World(request.param, stop_distance=0.05).start()


def stops(world):
    return [at for at in world.venue.orders if at.order.order_type == OrderType.STOP_MARKET]


def resting(world):
    return [at for at in stops(world) if at.accepted and not at.closed]


def test_an_entry_brings_a_reduce_only_stop_and_the_exit_takes_it_away(world):
    world.enter()
    [stop] = resting(world)
    assert stop.order.is_reduce_only
    assert float(stop.order.quantity) == pytest.approx(held(world))
    assert float(stop.order.trigger_price) == pytest.approx(50_000.0 * (1.0 - 0.05 * world.direction))
    assert stop.order.side_string() == ("SELL" if world.direction > 0 else "BUY")
    world.leave()
    finished(world)
    assert not resting(world)
    assert purposes(world) == ["ENTRY", "STOP", "EXIT"]


def test_a_partial_entry_is_protected_from_its_first_fill_by_one_stop_for_all(world):
    world.venue.script(*PARTLY)
    world.enter()
    [stop] = resting(world)
    assert float(stop.order.quantity) == pytest.approx(0.1)
    assert held(world) == pytest.approx(0.04)
    world.venue.wire.append((world.venue.orders[0], "fill 0.6"))
    world.bar()
    assert held(world) == pytest.approx(0.1)
    assert len(stops(world)) == 1
    world.leave()
    finished(world)


def test_without_a_fill_there_is_no_stop(world):
    world.venue.script("reject")
    world.enter()
    world.bars(2)
    world.leave()
    finished(world)
    assert not stops(world)


@pytest.mark.parametrize("refusal", [("reject",), ("accept", "cancel"), ("accept", "expire")], ids=" ".join)
def test_a_position_whose_stop_is_refused_or_ends_is_closed_at_once(world, refusal):
    world.venue.script_stop(*refusal)
    world.enter()
    assert world.flat
    assert world.desk.safe_reason.startswith("STOP_REFUSED BTCUSDT")
    assert purposes(world) == ["ENTRY", "STOP", "EXIT"]
    world.bars(2)
    world.leave()
    finished(world, "STOP_REFUSED")
    assert purposes(world) == ["ENTRY", "STOP", "EXIT"]


def test_a_stop_that_is_denied_while_it_is_being_sent_closes_the_position(world):
    """Nautilus' risk engine answers within the call; it denies the first exit too, the next bar tries again."""
    world.venue.script("lost")
    world.enter()
    world.risk.set_trading_state(TradingState.HALTED)
    world.venue.do(world.venue.orders[0], "fill 1")
    assert world.desk.safe_reason.startswith("STOP_REFUSED")
    assert held(world) > 0.0
    world.risk.set_trading_state(TradingState.ACTIVE)
    world.bars(2)
    assert world.flat
    world.leave()
    finished(world, "STOP_REFUSED")


def test_a_stop_without_an_answer_counts_as_none(world):
    """The position is closed; the stop, should it be there, is cancelled."""
    world.venue.script_stop("lost")
    world.enter()
    world.wait(12)
    assert world.flat
    assert world.desk.safe_reason.startswith("STOP_NO_ANSWER")
    assert stops(world)[0].closed
    world.leave()
    finished(world, "STOP_NO_ANSWER")


def test_a_stop_that_is_triggered_ends_the_trip_and_the_alphas_exit_settles_it(world):
    world.enter()
    world.venue.trigger()
    world.bar()
    assert world.flat
    assert not world.desk.safe_reason
    world.bars(2)
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY", "STOP"]
    assert world.actor.trades[0].quantity_filled == pytest.approx(0.1)


def test_a_stop_that_is_filled_in_part_and_ends_leaves_a_rest_that_is_closed(world):
    world.enter()
    world.venue.trigger("fill 0.4", "expire")
    world.bar()
    assert world.flat
    world.leave()
    finished(world)
    assert purposes(world) == ["ENTRY", "STOP", "EXIT"]


def test_a_stop_and_an_exit_at_the_same_moment_close_once(world):
    world.enter()
    world.venue.script("accept", "reject")
    world.venue.trigger()
    world.leave()
    finished(world)
    assert sum(at.done for at in world.venue.orders[1:]) == pytest.approx(0.1)


def test_no_entry_while_a_lifted_stop_may_still_be_there(world):
    """It would close the new position. When it is not gone in time, that is safe mode, and it is cancelled until it is."""
    world.venue.on_cancel("lost")
    world.enter()
    world.leave()
    world.enter()
    assert world.flat
    assert world.desk.refused is not None
    assert world.desk.refused.denied == "STOP_WORKING"
    world.leave()
    world.wait(12)
    assert world.desk.safe_reason.startswith("STOP_STAYS")
    world.wait(12)
    assert not resting(world)
    world.desk.release_safe_mode()
    world.enter()
    assert held(world) > 0.0
    world.leave()
    finished(world, trades=3)


def test_in_another_asset_an_entry_may_come_at_once(world):
    world.venue.on_cancel("lost")
    world.enter()
    world.leave()
    world.enter("ETHUSDT")
    assert held(world) > 0.0
    world.leave()
    world.wait(15)
    finished(world, "STOP_STAYS", trades=2)


def test_a_stop_that_fills_after_its_trip_is_a_difference_that_nobody_overlooks(world):
    world.venue.on_cancel("lost")
    world.enter()
    world.leave()
    world.venue.outside("BTCUSDT", world.direction * 0.02)
    world.bar()
    assert world.desk.safe_reason.startswith("POSITION_MISMATCH")


def test_a_late_entry_is_closed_not_protected(world):
    world.venue.tells = False
    world.venue.script("hidden accept", "hidden fill 1")
    world.venue.on_cancel("lost")
    world.enter()
    world.wait(40)
    world.leave()
    assert not world.trips
    world.venue.release()
    world.bars(2)
    assert world.flat
    assert not stops(world)


def test_orders_of_strangers_at_the_start_are_safe_mode():
    world = World("BLUE", stop_distance=0.05)
    instrument = world.desk.instrument("BTCUSDT")
    resting = world.actor.order_factory.limit(instrument.id, OrderSide.BUY, instrument.make_qty(0.1), instrument.make_price(40_000.0))
    world.venue.script("accept")
    world.cache.add_order(resting)
    world.exec.execute(SubmitOrder(world.actor.trader_id, world.actor.id, resting, UUID4(), world.clock.timestamp_ns()))
    world.venue.deliver()
    world.actor.start()
    assert world.desk.safe_reason.startswith(f"UNKNOWN_ORDER {resting.client_order_id}")


def test_without_a_distance_no_stop_is_ever_sent():
    world = World("BLUE").start()
    world.enter()
    world.leave()
    finished(world)
    assert not stops(world)
