"""Lost answers, other people's positions, halts, maker orders and random scripts: the lane ends flat, or in safe mode with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import InstrumentStatus
from nautilus_trader.model.enums import MarketStatusAction
from order_helpers import PARTLY, finished, held, purposes
from scripted_venue import GOOD, World

# --- lost answers


def test_a_lost_acknowledgement_is_asked_after_and_told(world: World) -> None:
    world.venue.script("hidden accept", "hidden fill 1")
    world.enter()
    world.bars(3)
    assert world.venue.asked == 1
    assert held(world) == pytest.approx(0.1)
    world.leave()
    finished(world)


def test_a_lost_entry_ends_in_safe_mode_and_flat(world: World) -> None:
    world.venue.script("lost")
    world.venue.on_cancel("lost")
    world.venue.on_cancel("lost")
    world.enter()
    world.bars(12)
    assert world.desk.safe_reason.startswith("NO_ANSWER")
    world.leave()
    finished(world, safe="NO_ANSWER")
    assert purposes(world) == ["ENTRY"]


def test_a_lost_entry_that_was_filled_after_all_is_closed_when_it_turns_up(world: World) -> None:
    world.venue.tells = False
    world.venue.script("hidden accept", "hidden fill 1")
    world.venue.on_cancel("lost")
    world.venue.on_cancel("lost")
    world.enter()
    world.bars(12)
    world.leave()
    assert world.desk.trip is None
    world.venue.release()
    world.settle()
    finished(world, safe="NO_ANSWER")


def test_a_lost_exit_is_sent_again(world: World) -> None:
    world.enter()
    world.venue.script("lost")
    for _ in range(3):
        world.venue.on_cancel("lost")
    world.leave()
    world.bars(14)
    finished(world, safe="NO_ANSWER")
    assert purposes(world) == ["ENTRY", "EXIT", "EXIT"]


def test_an_exit_that_is_accepted_and_never_filled_is_cancelled_and_sent_again(world: World) -> None:
    world.enter()
    world.venue.script("accept")
    world.leave()
    world.bars(6)
    finished(world, safe="NO_ANSWER")
    assert purposes(world) == ["ENTRY", "EXIT", "EXIT"]


def test_a_lost_cancel_is_sent_again(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("lost")
    world.enter()
    world.leave()
    world.bars(6)
    finished(world, safe="NO_ANSWER")


def test_a_cancel_lost_after_a_partial_fill_is_sent_again(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("fill 0.5")
    world.enter()
    world.leave()
    world.bars(6)
    finished(world, safe="NO_ANSWER")
    assert purposes(world) == ["ENTRY", "EXIT"]


def test_a_refused_cancel_is_sent_again(world: World) -> None:
    world.venue.script("accept")
    world.venue.on_cancel("refuse")
    world.enter()
    world.leave()
    world.bars(6)
    finished(world, safe="NO_ANSWER")


def test_the_same_fill_twice_counts_once(world: World) -> None:
    world.venue.script("accept", "fill 0.5", "again", "fill 0.5", "again")
    world.enter()
    assert world.desk.totals.fills == 2
    assert held(world) == pytest.approx(0.1)
    for event in [e for e in world.venue.orders[0].order.events if type(e).__name__ == "OrderFilled"]:
        world.desk.on_filled(event)
    assert world.desk.totals.fills == 2
    world.leave()
    finished(world)


# --- other people's positions


def test_a_position_closed_from_outside_is_booked_at_the_newest_close_and_is_safe_mode(world: World) -> None:
    world.enter()
    world.venue.prices["BTCUSDT"] = 51_000.0
    world.bar()
    world.venue.outside("BTCUSDT", -world.direction * 0.1)
    world.bar()
    assert world.desk.safe_reason == "CLOSED_OUTSIDE"
    world.leave()
    finished(world, safe="CLOSED_OUTSIDE")
    assert purposes(world) == ["ENTRY"]
    world.enter("ETHUSDT")
    assert purposes(world) == ["ENTRY"]
    assert world.desk.totals.denied == {"SAFE_MODE": 1}


def test_a_position_reduced_from_outside_is_closed_for_what_is_left(world: World) -> None:
    world.enter()
    world.venue.outside("BTCUSDT", -world.direction * 0.06)
    world.bar()
    world.leave()
    finished(world, safe="CLOSED_OUTSIDE")
    assert float(world.venue.orders[-1].order.quantity) == pytest.approx(0.04)


@pytest.mark.parametrize("claimed", [False, True])
def test_somebody_elses_fill_is_seen_whether_claimed_or_not(world: World, claimed: bool) -> None:
    world.enter()
    world.venue.outside("BTCUSDT", -world.direction * 0.1, str(world.actor.id) if claimed else "EXTERNAL")
    world.bar()
    assert world.desk.safe_reason == "CLOSED_OUTSIDE"
    world.leave()
    assert world.flat


@pytest.mark.parametrize("part", [0.05, 0.3])
def test_a_position_enlarged_or_turned_from_outside_is_a_mismatch(world: World, part: float) -> None:
    world.enter()
    world.venue.outside("BTCUSDT", (1 if part < 0.1 else -1) * world.direction * part)
    world.bar()
    assert world.desk.safe_reason.startswith("POSITION_MISMATCH BTCUSDT")


def test_a_position_from_before_the_start_is_safe_mode_at_once() -> None:
    world = World()
    world.venue.outside("SOLUSDT", 3.0)
    world.checker.complaints.clear()
    world.start()
    assert world.desk.safe_reason.startswith("POSITION_MISMATCH SOLUSDT: venue 3, ours 0")
    world.enter()
    assert purposes(world) == []
    world.leave()
    assert world.actor.trades[0].quantity_filled == 0.0


def test_a_position_that_appears_while_the_lane_is_flat_is_safe_mode_at_once(world: World) -> None:
    world.venue.outside("SOLUSDT", 3.0)
    assert world.desk.safe_reason.startswith("POSITION_MISMATCH SOLUSDT")
    world.enter()
    assert purposes(world) == []


def test_a_position_of_which_no_event_told_stops_the_next_entry(world: World) -> None:
    world.msgbus.unsubscribe("events.position.*", world.desk._on_position)
    world.checker._equal = lambda *args: None  # type: ignore[method-assign]  # nobody looks before the next decision
    world.venue.outside("SOLUSDT", 3.0)
    assert not world.desk.safe_reason
    world.enter()
    assert world.desk.safe_reason.startswith("POSITION_MISMATCH SOLUSDT")
    assert purposes(world) == []


def test_a_released_safe_mode_lets_entries_through_again(world: World) -> None:
    world.desk.enter_safe_mode("OPERATOR")
    world.enter()
    world.leave()
    world.desk.release_safe_mode()
    world.enter()
    world.leave()
    assert purposes(world) == ["ENTRY", "EXIT"]
    assert world.flat


# --- halted names


def halt(world: World, action: MarketStatusAction) -> None:
    """The venue announces it."""
    instrument, now = world.desk.instrument("BTCUSDT"), world.clock.timestamp_ns()
    assert instrument is not None
    world.actor.on_instrument_status(InstrumentStatus(instrument.id, action, now, now))


def test_an_entry_of_a_halted_name_is_refused(world: World) -> None:
    halt(world, MarketStatusAction.HALT)
    world.enter()
    world.leave()
    assert world.desk.totals.denied == {"INSTRUMENT_HALTED": 1}
    finished(world)
    assert purposes(world) == []


def test_the_exit_of_a_halted_name_waits_until_it_trades_again(world: World) -> None:
    world.enter()
    halt(world, MarketStatusAction.HALT)
    world.leave()
    world.bars(3)
    assert purposes(world) == ["ENTRY"]
    halt(world, MarketStatusAction.TRADING)
    world.bar()
    finished(world)


# --- maker orders


def maker(**orders: Any) -> World:
    """A lane that tries post-only orders for 8 s."""
    return World(order_style="maker", maker_timeout_s=8.0, **orders).start()


def styles(world: World) -> list[tuple[str, str]]:
    """Purpose and style of all orders."""
    return [(intent.purpose, intent.style) for intent in world.desk.intents.values()]


def test_a_rejected_post_only_order_is_tried_at_the_next_quote() -> None:
    world = maker()
    world.venue.script("post")
    world.enter()
    assert styles(world) == []
    world.quote()
    assert styles(world) == [("ENTRY", "maker")]
    world.quote()
    assert styles(world) == [("ENTRY", "maker")] * 2
    assert held(world) == pytest.approx(0.1)


def test_a_maker_order_that_is_not_filled_is_sent_to_the_market() -> None:
    world = maker()
    world.enter()
    world.venue.script("accept", "fill 0.3")
    world.quote()
    world.bars(2)
    assert styles(world) == [("ENTRY", "maker"), ("ENTRY", "market")]
    world.leave()
    world.venue.script("accept")
    world.quote()
    world.quote(price=50_100.0)
    assert float(world.venue.orders[-1].order.price) == pytest.approx(50_099.9)
    world.bars(2)
    finished(world)
    assert styles(world)[2:] == [("EXIT", "maker"), ("EXIT", "market")]
    assert (world.actor.trades[0].entry_liquidity, world.actor.trades[0].exit_liquidity) == ("mixed", "taker")


def test_safe_mode_ends_a_maker_entry_for_good() -> None:
    world = maker()
    world.enter()
    world.venue.script("accept", "fill 0.3")
    world.quote()
    world.desk.enter_safe_mode("OPERATOR")
    world.bars(3)
    world.desk.release_safe_mode()
    world.bars(3)
    assert styles(world) == [("ENTRY", "maker")]
    world.leave()
    world.bars(3)
    finished(world)


def test_a_halt_ends_the_rest_of_a_maker_entry() -> None:
    world = maker()
    world.enter()
    world.venue.script("accept", "fill 0.3")
    world.quote()
    halt(world, MarketStatusAction.HALT)
    world.bars(3)
    halt(world, MarketStatusAction.TRADING)
    world.bars(3)
    assert styles(world) == [("ENTRY", "maker")]
    assert held(world) == pytest.approx(0.03)


# --- anything may happen

BEHAVIOURS = [
    GOOD, GOOD, GOOD, ("reject",), ("accept",), ("lost",), ("accept", "cancel"), ("accept", "expire"), (*PARTLY, "cancel"),
    (*PARTLY, "reject"),
    ("accept", "fill 0.3", "again", "fill 0.7"), ("hidden accept", "hidden fill 1"), ("accept", "cancel", "fill 0.5"),
    ("accept", "cancel", "hidden fill 1"), ("accept", "hidden fill 0.6"), PARTLY, ("post",),
]  # fmt: skip
CANCELS = [("cancel",), ("cancel",), ("lost",), ("refuse",), ("fill 1", "refuse"), ("fill 0.5", "cancel"), ("cancel", "hidden fill 0.5")]


def anything(world: World, draw: st.DataObject) -> None:
    """Some bars of a lane on a venue that does as it likes."""
    pick = lambda choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    world.venue.tells = pick([True, False])
    for _ in range(draw.draw(st.integers(3, 15))):
        world.venue.script(*pick(BEHAVIOURS))
        world.venue.on_cancel(*pick(CANCELS))
        what = pick(["trade", "trade", "trade", "bar", "wait", "quote", "release", "outside", "safe off"])
        if what == "trade" and world.opened is None:
            world.enter(pick(["BTCUSDT", "ETHUSDT", "SOLUSDT"]))
        elif what == "trade":
            world.leave()
        elif what == "quote":
            world.quote(world.desk.trip.symbol if world.desk.trip else "BTCUSDT")
        elif what == "release":
            world.venue.release()
            world.settle()
        elif what == "outside" and pick([False, False, True]):
            world.venue.outside("BTCUSDT", pick([-0.1, 0.05]))
        elif what == "safe off":
            world.desk.release_safe_mode()
            world.desk.compare()
        else:
            world.bars(pick([1, 6]))


@pytest.mark.parametrize("style", ["market", "maker"])
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(draw=st.data())
def test_whatever_the_venue_does_the_lane_ends_flat_or_in_safe_mode_with_a_reason(style: str, draw: st.DataObject) -> None:
    world = World(draw.draw(st.sampled_from(["BLUE", "GREEN"])), order_style=style, maker_timeout_s=8.0).start()
    anything(world, draw)
    world.venue.scripts.clear()
    world.venue.cancels.clear()
    world.venue.tells = True
    world.venue.release()
    if world.opened is not None:
        world.leave()
    world.bars(25)
    assert world.flat or world.desk.safe_reason
    ours: dict[str, float] = {}
    for trip in world.trips:
        ours[trip.symbol] = ours.get(trip.symbol, 0.0) + trip.direction * trip.held
    assert all(abs(world.venue.net.get(symbol, 0.0) - held) > 1e-9 for symbol, held in ours.items()), (ours, world.venue.net)
    assert len(world.actor.trades) == world.trades or world.trips
    world.close()
