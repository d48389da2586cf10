"""A paper lane on a real Nautilus node: its fills are the backtest's, and a kill at any durable step leaves no trace in its journal."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from crash_points import Pulled, copy_scans, crash_at
from lane_worlds import Same, Teller, payloads, replay_of, settings_of

from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.paper_clients import PaperVenue
from daemons.trader import PaperTrader
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import table_rows
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.journal import Kind

FIRST, SECOND = "2025-01-02", "2025-01-03"
FILL = ("client_order_id", "symbol", "side", "quantity", "price", "fee", "liquidity")


@pytest.fixture
def paper(world_of, calm, market):
    """A world whose scanner has scanned the first day, or both, and a paper lane of it, before its first step."""
    traders = []

    def make(days=1, **given):
        world = world_of(settings=settings_of(**given), replay=replay_of(market, FIRST, SECOND))
        copy_scans(calm, world.state.journals, days)
        world.start(Teller).date = FIRST
        traders.append(world.start(PaperTrader))
        return world, traders[-1]

    yield make
    for trader in traders:
        lose(trader)


def lose(trader):
    """What the system takes back from a process that is gone."""
    if hasattr(trader.venue, "_node") and not trader.venue._loop.is_closed():
        trader.venue.close()


def to_the_end(world, trader, date=FIRST):
    world.run(120, until=lambda: trader.lane.done == date and trader._log.seq == trader.lane.seq)
    assert trader.lane.done == date
    world.run(1)


def fills_of(trader):
    events = [p for kind, _, p in payloads(trader) if kind == Kind.ORDER_EVENT and p["event"] == "filled"]
    return [tuple(event[name] for name in FILL) for event in events]


def backtest_of(trader, lane, days):
    """The Nautilus backtest of the same days, under the same layers."""
    settings, engine = trader.context.settings, NDAlphaEngine(trader.context.settings.engine)
    engine.set_acb(Same())
    engine.set_mc_forewarner(Same(), {})
    config = DolphinActorConfig(lane=lane, engine=settings.engine, orders=settings.venue)
    return VenueBacktest.build(config, days, nd=engine).run()


def fills_of_backtest(built):
    fills = [e for o in built.engine.cache.orders() for e in o.events if type(e).__name__ == "OrderFilled"]
    return [
        (
            str(e.client_order_id), e.instrument_id.symbol.value.removesuffix("-PERP"), "SELL" if e.is_sell else "BUY",
            float(e.last_qty), float(e.last_px), e.commission.as_double(), "taker",
        )
        for e in sorted(fills, key=lambda e: e.ts_event)
    ]  # fmt: skip


@pytest.mark.parametrize("lane", ["BLUE", "GREEN"])
def test_orders_and_fills_of_a_day_are_those_of_the_nautilus_backtest(paper, calm, lane):
    """Trade by trade: ids, quantities, prices, fees, both ledgers and their difference, and the account's balance."""
    world, trader = paper(lane=lane)
    to_the_end(world, trader)
    built = backtest_of(trader, lane, [table_rows(read_day(path, sidecar=False)) for path in list_days(calm.state.days)[:1]])
    fills = fills_of(trader)
    assert len(fills) >= 6
    assert fills == fills_of_backtest(built)
    trades = [p for kind, _, p in payloads(trader) if kind == Kind.SETTLEMENT]
    assert trades == [asdict(trade) for trade in built.actor.trades]
    assert trader.venue.desk.view.equity() == built.end_balance
    assert [p for kind, _, p in payloads(trader) if kind == Kind.TRADE] == built.actor.engine.trades
    built.close()


def test_every_decision_and_intent_is_durable_before_its_order_is_sent(paper, monkeypatch):
    """When an order leaves, the journal ends with its intent, behind the decision."""
    world, trader = paper()
    seen, send = [], PaperVenue.submit_order

    def look(venue, command):
        before, newest = trader.context.journal.tail(2)
        seen.append((before.kind, newest.kind, newest.payload["client_order_id"] == str(command.order.client_order_id)))
        send(venue, command)

    monkeypatch.setattr(PaperVenue, "submit_order", look)
    to_the_end(world, trader)
    assert len(seen) >= 6
    assert set(seen) == {(Kind.BAR, Kind.ORDER_INTENT, True)}


@pytest.fixture(scope="module")
def undisturbed():
    """Filled by the first test that needs it: records of the first day without an accident."""
    return []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [2, 5, 6, 7, 11, 14, 20])
def test_a_kill_at_a_durable_step_leaves_no_trace(paper, undisturbed, step, after):
    world, calm_trader = paper()
    if not undisturbed:
        to_the_end(world, calm_trader)
        undisturbed += payloads(calm_trader)
        world, calm_trader = paper()
    crash_at(calm_trader, step, after=after)
    with pytest.raises(Pulled):
        to_the_end(world, calm_trader)
    world.end(calm_trader, killed=True)
    lose(calm_trader)
    again = world.start(PaperTrader)
    to_the_end(world, again)
    assert payloads(again) == undisturbed
    assert again.venue.doubt == ""
    assert not again._safe.engaged
    assert again.context.journal.verify().ok
    lose(again)
