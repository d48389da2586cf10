"""A lane on the page: its venue, its refused orders, and which of its journals is shown."""

from __future__ import annotations

import msgspec
from dashboard_stage import Stage

from dolphin.config import to_toml
from dolphin.deployment import LiveConfig
from dolphin.storage.journal import Entry, Kind
from flows.dashboard.snapshot import Snapshot

EVIL = "<img src=x onerror=alert(1)>\x1b[31m\u202e"


def texts(now: Snapshot, level: str = "critical") -> str:
    return " | ".join(concern.text for concern in now.concerns if concern.level == level)


def test_the_venue_is_shown_where_the_lane_publishes_it(stage: Stage):
    """Account, position and last fill beside the engine's ledger, its curve by settlements; without orders it is not published."""
    stage.well()
    assert stage.read().lanes[0].venue is None
    assert stage.read().lanes[0].curve.venue == []
    settled = dict.fromkeys(("trade_id", "asset", "direction", "quantity_model", "quantity_filled", "model_net"), 0) | {"fills_net": 37.0}
    middle = stage.read().lanes[0].curve.market_ms[15]
    stage.write("trader_blue", Entry(Kind.SETTLEMENT, settled, middle))
    stage.wall_ms += 1_000
    stage.say_lane(
        account=25_040.5,
        position={"quantity": -1.5, "symbol": "SOLUSDT", "entry_price": 100.0, "unrealised": 3.5},
        last_fill={"side": "SELL", "quantity": 1.5, "symbol": "SOLUSDT", "price": 100.0},
    )
    lane = stage.read().lanes[0]
    venue = lane.venue
    assert (venue.account, venue.unrealised, venue.position) == (25_040.5, 3.5, "-1.5 SOLUSDT 100.0")
    assert venue.last_fill == "SELL 1.5 SOLUSDT 100.0"
    assert lane.curve.venue == [25_000.0] * 15 + [25_037.0] * 15
    stage.wall_ms += 1_000
    stage.say_lane(account=1.0, position={"unrealised": "much"}, last_fill={"side": {"a": 1}})
    assert stage.read().lanes[0].venue.unrealised == 0.0


def test_when_the_deployment_goes_live_its_live_lane_is_shown_and_not_the_one_on_paper(stage: Stage):
    """The lane on paper has a journal, the live one none yet: unknown, and not the equity of the other."""
    stage.well()
    paper = stage.read().lanes[0]
    stage.state.settings.write_text(to_toml(msgspec.structs.replace(stage.settings, live=LiveConfig(mode="live"))))
    live = stage.read().lanes[0]
    assert (paper.live, live.live) == (False, True)
    assert (paper.equity is None, live.equity, live.bar) == (False, None, None)
    stage.write("live_blue", Entry(Kind.SAFE_MODE, {"engaged": True, "reason": "unknown order", "by": "lane"}, stage.market_ms))
    assert "Lane BLUE is in SAFE MODE: unknown order" in texts(stage.read())


def test_orders_that_came_to_nothing_are_counted_for_the_day(stage: Stage):
    """Rejected and denied ones, with the newest reason; fills are no concern, a new day begins with none."""
    stage.well()
    for event, reason in (("accepted", ""), ("filled", ""), ("rejected", "no margin"), ("denied", EVIL)):
        stage.write("trader_blue", Entry(Kind.ORDER_EVENT, {"client_order_id": "x", "event": event, "reason": reason}, stage.market_ms))
    lane = stage.read().lanes[0]
    assert (lane.rejected, lane.rejection) == (2, "denied <img src=x onerror=alert(1)> [31m")
    assert "2 orders came to nothing today" in texts(stage.read(), "warning")
    stage.date = "2026-01-03"
    stage.bar()
    assert stage.read().lanes[0].rejected == 0
