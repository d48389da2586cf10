"""What the tests of order faults ask of a lane."""

from __future__ import annotations

from scripted_venue import World

from dolphin.report.venue import PARTS

__all__ = ["PARTLY", "finished", "held", "parts_add_up", "purposes"]

PARTLY = ("accept", "fill 0.4")


def held(world: World) -> float:
    """Quantity at the venue, unsigned."""
    return sum(abs(quantity) for quantity in world.venue.net.values())


def purposes(world: World) -> list[str]:
    """What the orders of the lane were for, in the order in which they were sent."""
    return [intent.purpose for intent in world.desk.intents.values()]


def parts_add_up(world: World) -> bool:
    """The last trade's parts explain its difference."""
    trade = world.actor.trades[-1]
    return abs(sum(getattr(trade, name) for name in PARTS) - trade.difference) < 1e-9


def finished(world: World, safe: str = "", trades: int = 1) -> None:
    """Flat, all sums agree, every trade of the alpha has both ledgers, and safe mode is what was expected."""
    assert world.flat
    world.close()
    assert world.desk.safe_reason.startswith(safe)
    assert bool(world.desk.safe_reason) == bool(safe)
    assert [trade.trade_id for trade in world.actor.trades] == list(range(1, trades + 1))
    assert not trades or parts_add_up(world)
    assert not world.desk.active
