"""A paper lane on a real Nautilus node: its fills are the backtest's, and a kill at any durable step leaves no trace in its journal."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict

import msgspec
import pytest
from crash_points import Pulled, copy_scans, crash_at
from lane_worlds import Same, Teller, payloads, replay_of, settings_of

import daemons.trader
from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.paper_clients import PaperVenue
from daemons.patience import Patience
from daemons.trader import PaperTrader
from dolphin.deployment import PaperConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import table_rows
from dolphin.grid.maps import FEATURES
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.journal import JournalReader, Kind
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from dolphin.telemetry.alerts import AlertKind
from dolphin.types import Posture
from flows.journal import export_records, verdicts
from flows.kill import release

FIRST, SECOND = "2025-01-02", "2025-01-03"
FILL = ("client_order_id", "symbol", "side", "quantity", "price", "fee", "liquidity")


@pytest.fixture
def paper(world_of, calm, market):
    """A world whose scanner has scanned the first day, or both, and a paper lane of it, before its first step."""
    traders = []

    def make(days=1, on_stop="hold", **given):
        settings = settings_of(**given)
        settings = msgspec.structs.replace(settings, paper=msgspec.structs.replace(settings.paper, on_stop=on_stop))
        world = world_of(settings=settings, replay=replay_of(market, FIRST, SECOND))
        copy_scans(calm, world.state.journals, days)
        world.start(Teller).date = FIRST
        return world, again(world)

    def again(world, **given):
        traders.append(world.start(PaperTrader, **given))
        return traders[-1]

    make.again = again

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
@pytest.mark.parametrize("step", [2, 5, 6, 7, 11, 14])
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
    again = paper.again(world)
    to_the_end(world, again)
    assert payloads(again) == undisturbed
    assert again.venue.doubt == ""
    assert not again._safe.engaged
    assert again.context.journal.verify().ok


@pytest.fixture
def by_bar(monkeypatch):
    """One record of the scanner a step, so that a test can come between any two bars."""
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 1)


def until_held(world, trader, bars=1):
    """Until the venue holds a position for so many bars; its symbol."""
    world.run(120, until=lambda: trader.venue.flat is False and trader.lane.engine.position is not None and held(trader))
    symbol = next(iter(trader.venue.desk.view.positions()))
    last = trader.lane.bar
    world.run(10, until=lambda: trader.lane.bar >= last + bars - 1)
    assert held(trader)
    return symbol


def held(trader):
    return trader.venue.desk.view.positions() if trader._log.seq and hasattr(trader.venue, "actor") else {}


def next_bar(world, trader):
    last = trader.lane.bar
    world.run(10, until=lambda: trader.lane.bar > last)
    return [p for kind, _, p in payloads(trader) if kind == Kind.BAR][-1]


def test_the_kill_switch_flattens_the_venue_within_one_bar(paper, by_bar):
    world, trader = paper()
    symbol = until_held(world, trader)
    KillSwitch(world.state.kill).engage(KillOrder(reason="test", by="operator", ts_ms=world.clock.wall_ms()))
    bar = next_bar(world, trader)
    assert bar["posture"] == "HIBERNATE"
    assert bar["exit"]["reason"] == "HIBERNATE_HALT"
    assert held(trader) == {}
    assert fills_of(trader)[-1][1:3] == (symbol, "BUY")
    settled = [p for kind, _, p in payloads(trader) if kind == Kind.SETTLEMENT][-1]
    assert settled["asset"] == symbol


def test_hibernate_closes_the_position_at_the_venue(paper, by_bar):
    world, trader = paper()
    until_held(world, trader)
    teller = next(r.service for r in world.runners if r.service.name == "teller")
    teller.postures = [(0, Posture.HIBERNATE)]
    world.run(1.5)
    assert held(trader) == {}
    assert trader.lane.engine.position is None


def test_a_held_position_goes_on_after_a_stop_and_a_start_as_if_nothing_had_been(paper, by_bar, undisturbed):
    world, trader = paper()
    if not undisturbed:
        to_the_end(world, trader)
        undisturbed += payloads(trader)
        world, trader = paper()
    symbol = until_held(world, trader, bars=3)
    world.end(trader)
    again = paper.again(world)
    world.run(2, until=lambda: trader._log.seq > 0)
    assert list(again.venue.desk.view.positions()) == [symbol]
    to_the_end(world, again)
    assert payloads(again) == undisturbed


def test_a_stop_that_flattens_closes_the_position_and_the_next_life_knows(paper, by_bar):
    """The model's own exit settles the trip later; both ledgers say what happened."""
    world, trader = paper(on_stop="flatten")
    symbol = until_held(world, trader, bars=3)
    world.end(trader)
    with JournalReader(trader.context.journal.path) as journal:
        intent, fill = journal.last(Kind.ORDER_INTENT).payload, journal.last(Kind.ORDER_EVENT).payload
    assert (intent["reason"], intent["symbol"], intent["reduce_only"]) == ("FLATTEN", symbol, True)
    assert (fill["client_order_id"], fill["event"]) == (intent["client_order_id"], "filled")
    again = paper.again(world)
    to_the_end(world, again)
    assert again.context.journal.last(Kind.RECOVERED).payload["reason"].endswith("come out as they were")
    assert bool(held(again)) == (again.lane.engine.position is not None)
    trades = [p["trade_id"] for kind, _, p in payloads(again) if kind == Kind.TRADE]
    assert [p["trade_id"] for kind, _, p in payloads(again) if kind == Kind.SETTLEMENT] == trades
    ids = [p["client_order_id"] for kind, _, p in payloads(again) if kind == Kind.ORDER_INTENT]
    assert len(ids) == len(set(ids))


def test_blue_and_green_trade_side_by_side_each_with_its_own_journal_and_capital(paper, world_of, calm, market):
    settings = msgspec.structs.replace(settings_of(), paper=PaperConfig(lanes="BLUE,GREEN", capital_green=10_000.0))
    world = world_of(settings=settings, replay=replay_of(market, FIRST, SECOND))
    copy_scans(calm, world.state.journals)
    world.start(Teller).date = FIRST
    blue, green = (paper.again(world, lane=lane) for lane in ("BLUE", "GREEN"))
    to_the_end(world, blue)
    to_the_end(world, green)
    assert {fill[2] for fill in fills_of(blue)} == {fill[2] for fill in fills_of(green)} == {"BUY", "SELL"}
    assert [p["direction"] for kind, _, p in payloads(blue) if kind == Kind.SETTLEMENT][:1] == [-1]
    assert [p["direction"] for kind, _, p in payloads(green) if kind == Kind.SETTLEMENT][:1] == [1]
    assert abs(blue.venue.facts().account - 25_000) < 2_000
    assert abs(green.venue.facts().account - 10_000) < 2_000
    assert not set(fills_of(blue)) & set(fills_of(green))
    for lane, trader in (("BLUE", blue), ("GREEN", green)):
        told = world.grid.get(FEATURES, f"lane_{lane}")
        assert told["account"] == trader.venue.facts().account
        assert told["last_fill"]["client_order_id"].startswith(f"{lane}-")
    lonely = paper()
    to_the_end(*lonely)
    assert payloads(blue) == payloads(lonely[1])


def test_exits_that_the_venue_rejects_end_in_safe_mode_and_are_tried_until_they_go(paper, by_bar, monkeypatch):
    """Through the node: rejected five times, the lane stops entries, tells an operator, survives a restart, and goes on when released."""
    world, trader = paper()
    symbol = until_held(world, trader)
    submit = PaperVenue.submit_order
    monkeypatch.setattr(PaperVenue, "submit_order", rejected)
    world.run(60, until=lambda: trader._safe.engaged)
    assert trader.venue.doubt == "EXIT_FAILED"
    assert trader.context.journal.last(Kind.SAFE_MODE).payload["reason"].endswith("EXIT_FAILED")
    assert [alert.kind for alert in world.told if alert.kind is AlertKind.SAFE_MODE]
    monkeypatch.setattr(PaperVenue, "submit_order", submit)
    world.run(10, until=lambda: not held(trader))
    assert held(trader) == {}
    assert next_bar(world, trader)["told"]["blocks"] == ["SAFE_MODE"]
    entries = len([p for kind, _, p in payloads(trader) if kind == Kind.ORDER_INTENT and p["reason"] == "ENTRY"])
    release(world.state, world.settings, "looked")
    world.run(10, until=lambda: not trader._safe.engaged)
    world.end(trader, killed=True)
    lose(trader)
    trader = paper.again(world)
    to_the_end(world, trader)
    assert symbol
    assert trader.context.journal.last(Kind.SAFE_MODE).payload["by"] == "operator"
    assert len([p for kind, _, p in payloads(trader) if kind == Kind.ORDER_INTENT and p["reason"] == "ENTRY"]) > entries


def rejected(venue, command):
    order = command.order
    venue.generate_order_rejected(order.strategy_id, order.instrument_id, order.client_order_id, "SCRIPTED", command.ts_init)


def test_an_entry_without_any_answer_ends_in_safe_mode(paper, by_bar, monkeypatch):
    """Asked after once, then cancelled: nobody knows whether it was filled."""
    world, trader = paper()
    monkeypatch.setattr(PaperVenue, "submit_order", lambda venue, command: None)
    world.run(120, until=lambda: trader._safe.engaged)
    assert trader.venue.doubt.startswith("NO_ANSWER BLUE-")
    assert "dolphin release" in next(a.text for a in world.told if a.kind is AlertKind.SAFE_MODE)
    assert next_bar(world, trader)["told"]["blocks"] == ["SAFE_MODE"]


def test_a_journal_of_days_is_sealed_day_by_day_and_read_as_one(paper):
    world, trader = paper(days=2)
    patience = trader._patience
    patience.ready = lambda scanned, book: scanned.seq <= 162 and Patience.ready(patience, scanned, book)
    world.run(120, until=lambda: trader.lane.done == FIRST)
    next(r.service for r in world.runners if r.service.name == "teller").date = SECOND
    world.run(2)
    del patience.ready
    to_the_end(world, trader, SECOND)
    held_at_end = held(trader)  # the day's file is sealed once the lane is flat
    world.end(trader)
    folder = world.state.journals
    assert len(list(folder.glob("trader_blue.*.sealed"))) == 1 + (not held_at_end)
    (verdict,) = verdicts(folder, "trader_blue")
    assert verdict.ok
    written = export_records(folder, "trader_blue", "", "", folder / "export")
    assert (sum(written.values()), written[str(folder / "export" / "bar.parquet")]) == (verdict.head_seq, 300)


def test_a_person_who_watches_sees_bars_orders_and_fills(paper):
    world, trader = paper()
    lines = []
    trader.context = dataclasses.replace(trader.context, say=lines.append)
    to_the_end(world, trader)
    assert sum("  bar " in line for line in lines) == 160
    text = "\n".join(lines)
    for part in ("APEX", "ENTER SHORT ", "order BLUE-", ": ENTRY SELL ", "filled BUY ", "USDT (taker)", "settled "):
        assert part in text
