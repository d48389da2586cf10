"""Restarts: in the middle of a position, of a day, of an exit; and what other people's positions and halts do to a lane."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from actor_days import (
    ACTIVE,
    BLUE,
    DATES,
    HELD,
    MINUTE_MS,
    MS,
    calm,
    part,
    reference,
    without_frame,
)
from builders import START_MS, day, names
from nautilus_trader.model.data import InstrumentStatus
from nautilus_trader.model.enums import MarketStatusAction

from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.data_types import Snapshot
from actors.dolphin_actor import DolphinActor
from actors.trip import Intent, Leg, Trip
from dolphin.config import EngineConfig
from dolphin.engine.costs import FundingSeries
from dolphin.engine.nd import NDAlphaEngine
from dolphin.errors import ConfigError
from dolphin.grid.embedded import EmbeddedGrid


def test_a_restart_in_a_position_that_the_venue_does_not_know_is_safe_mode_without_entries(run):
    """The first life ends in mid-day with a position; the second one's venue has none. The engine goes on bit for bit as if
    uninterrupted, nothing is entered and nothing sent, the reason says so; an operator's release lets entries through again.
    """
    whole = [day(seed=7, bars=1440), day(seed=8, bars=400, day_index=1)]
    engine, results = reference(whole)
    cut = next(t["entry_bar"] for t in engine.trades if t["entry_bar"] > 700 and t["bars_held"] > 2) + 1
    first = run([part(whole[0], 0, cut)], engine=NDAlphaEngine(ACTIVE))
    assert first.actor.desk.trip.held > 0
    state = first.actor.save()
    second = run([part(whole[0], cut, 1440), whole[1]], state=state, engine=NDAlphaEngine(ACTIVE))
    assert second.actor.engine.trades == engine.trades
    assert second.actor.engine.snapshot() == engine.snapshot()
    assert [without_frame(second.actor.grid.get(BLUE, date)) for date in DATES[:2]] == results
    desk = second.actor.desk
    assert desk.safe_reason == "CLOSED_OUTSIDE"
    assert desk.totals.orders == 0
    assert set(desk.totals.denied) == {"SAFE_MODE"}
    assert second.actor.trades[0].quantity_filled > 0
    assert second.actor.gaps == []
    released = run(
        [part(whole[0], cut, 1440), whole[1]],
        state=state,
        engine=NDAlphaEngine(ACTIVE),
        at={300: lambda actor: actor.desk.release_safe_mode()},
    )
    assert released.actor.desk.totals.orders > 0
    assert released.actor.desk.safe_reason == ""


def test_what_is_saved_of_a_stopped_lane_still_has_its_day_open(run):
    """Stopped at bar 700, restarted at bar 701: one day, whose final record covers both halves and replaces the first half's."""
    rows = day(seed=7, bars=1440)
    grid = EmbeddedGrid()
    first = run([part(rows, 0, 700)], engine=NDAlphaEngine(ACTIVE), grid=grid)
    assert grid.get(BLUE, DATES[0])["bars"] == 700
    run([part(rows, 700, 1440)], state=first.actor.save(), engine=NDAlphaEngine(ACTIVE), grid=grid)
    assert without_frame(grid.get(BLUE, DATES[0])) == reference([rows])[1][0]


def test_the_layers_of_an_engine_survive_a_restart(run):
    """Funding, breaker, book and forewarner are no part of a snapshot; the restored engine has those of the one it replaces."""

    class Breaker:
        def get_dynamic_boost_for_date(self, date, ob):
            return {"boost": 1.25, "beta": 0.5}

    series = FundingSeries(START_MS + np.arange(40, dtype=np.int64) * 37 * MINUTE_MS, names(12), np.full((40, 12), 1e-3))
    days = [day(seed=7, bars=1440)]

    def fresh():
        engine = NDAlphaEngine(ACTIVE)
        engine.set_acb(Breaker())
        engine.set_funding(series)
        return engine

    whole = run(days, engine=fresh(), funding=series).actor.engine
    first = run([part(days[0], 0, 600)], engine=fresh(), funding=series)
    second = run([part(days[0], 600, 1440), day(seed=8, bars=300, day_index=1)], state=first.actor.save(), engine=fresh(), funding=series)
    assert not second.actor.engine.funding_missing
    assert [t for t in second.actor.engine.trades if t["date"] == DATES[0]] == whole.trades
    assert second.actor.grid.get(BLUE, DATES[1])["boost"] == 1.25


def test_a_stopped_lane_that_is_resumed_goes_on_in_its_day():
    rows = calm([10], bars=1440)
    built = VenueBacktest.build(DolphinActorConfig(engine=HELD), [part(rows, 0, 700)]).run()
    actor = built.actor
    assert (actor.is_running, actor.grid.get(BLUE, DATES[0])["bars"]) == (False, 700)
    actor.resume()
    for closes, ts in zip(rows.closes[700:], rows.ts_ms[700:].tolist(), strict=True):
        actor.on_data(Snapshot(ts * MS, rows.assets, closes, (0.0, 0.0, 0.0)))
    actor.stop()
    assert without_frame(actor.grid.get(BLUE, DATES[0])) == without_frame(
        msgspec.json.decode(msgspec.json.encode(reference([rows], HELD)[1][0]))
    )
    built.close()


def test_what_waits_behind_an_exit_or_is_being_closed_is_saved_too():
    first, second = DolphinActor(DolphinActorConfig()), DolphinActor(DolphinActorConfig())
    first.desk.queued = {"asset": "ETHUSDT", "entry_price": 5.0, "irp_alignment": math.nan}
    legs = Leg(2.0, 10.0, 10.0), Leg()
    first.desk.strays = [Trip("ADAUSDT", -1, 0.0, 5.0, 3, 1.0, *legs, leaving=True)]
    second.on_load(first.on_save())
    assert second.desk.queued["asset"] == "ETHUSDT"
    assert (second.desk.trip, second.desk.refused, second.desk.strays) == (None, None, first.desk.strays)
    assert second.desk.active == {"ADAUSDT"}


def test_what_other_threads_have_said_is_not_lost_in_a_restart():
    first = DolphinActor(DolphinActorConfig())
    first._on_acb_event({"boost": 2.0, "beta": 0.5})
    first._on_posture_event("TURTLE")
    second = DolphinActor(DolphinActorConfig())
    second.on_load(first.on_save())
    assert (second._pending_acb, second._pending_posture) == ((2.0, 0.5), "TURTLE")


@pytest.mark.parametrize(
    ("saved", "configured", "then"), [("TURTLE", "APEX", "TURTLE"), ("APEX", "HIBERNATE", "HIBERNATE"), ("STALKER", "STALKER", "STALKER")]
)
def test_a_restart_lifts_no_posture_neither_the_saved_nor_the_configured_one(run, saved, configured, then):
    first = run([calm([], bars=100)], posture=saved)
    second = run([part(calm([], bars=200), 100, 200)], state=first.actor.save(), posture=configured)
    assert (second.actor.posture, second.actor.grid.get(BLUE, DATES[0])["posture"]) == (then, then)


def test_the_rest_of_an_entry_is_not_sent_again_after_a_restart(run):
    first = run([calm([10], bars=10)], engine=NDAlphaEngine(HELD))
    trip = first.actor.desk.trip
    trip.entry, trip.rest = Leg(), trip.entry.quantity
    second = run([part(calm([], bars=100), 10, 100)], state=first.actor.save(), engine=NDAlphaEngine(HELD))
    assert (second.actor.desk.totals.orders, second.actor.desk.safe_reason) == (0, "")


@pytest.mark.parametrize(
    ("config", "match"),
    [({"lane": "GREEN"}, "lane = 'GREEN': the saved state is of lane 'BLUE'"), ({"engine": EngineConfig(seed=1)}, "config")],
)
def test_the_state_of_another_lane_or_configuration_is_refused_and_changes_nothing(config, match):
    state = DolphinActor(DolphinActorConfig()).on_save()
    actor = DolphinActor(DolphinActorConfig(**config))
    engine = actor.engine
    with pytest.raises(ConfigError, match=match):
        actor.on_load(state)
    assert actor.engine is engine


@pytest.mark.parametrize("action", ["HALT", "PAUSE", "SUSPEND", "CLOSE", "NOT_AVAILABLE_FOR_TRADING"])
def test_a_halted_instrument_is_known_to_the_desk_until_it_trades_again(run, action):
    def status(action):
        def act(actor):
            instrument = actor.desk.instrument("BTCUSDT")
            actor.msgbus.publish("data.status.BINANCE.BTCUSDT-PERP", InstrumentStatus(instrument.id, action, 0, 0))

        return act

    at = {5: status(MarketStatusAction[action]), 20: status(MarketStatusAction.TRADING)}
    engine = EngineConfig(use_asset_selection=False, use_direction_confirm=False, lookback=0, max_hold_bars=5)
    built = run([calm([10, 30], bars=50)], at=at, engine=NDAlphaEngine(engine))
    assert built.actor.desk.totals.denied == {"INSTRUMENT_HALTED": 1}
    assert built.actor.desk.totals.fills == 2
    assert not built.actor.desk.halted


def test_a_position_that_appears_at_the_venue_while_the_lane_is_flat_is_noticed_on_the_next_bar(run):
    def foreign(actor):
        instrument = actor.desk.instrument("BTCUSDT")
        actor.submit_order(actor.order_factory.market(instrument.id, 1, instrument.make_qty(0.01)))

    built = run([calm([30], bars=50)], at={9: lambda actor: actor.desk.active.add("BTCUSDT"), 11: foreign}, engine=NDAlphaEngine(HELD))
    assert built.actor.desk.safe_reason.startswith("POSITION_MISMATCH BTCUSDT: venue 0.01, ours 0")
    assert built.actor.desk.totals.denied == {"SAFE_MODE": 1}
    assert math.isclose(built.actor.engine.capital, 25_000.0)


def test_orders_of_an_earlier_life_are_known_and_none_is_under_way_any_more():
    """Nautilus keeps no orders through a restart: what was under way is not waited for, a late fill of it is still ours."""
    first, second = DolphinActor(DolphinActorConfig()), DolphinActor(DolphinActorConfig())
    intent = Intent("BLUE-60000-1", "ENTRY", "ADAUSDT", "SELL", 2.0, 5.0, 60_000, "market")
    first.desk.intents["BLUE-60000-1"] = intent
    first.desk.trip = Trip("ADAUSDT", -1, 2.0, 5.0, 3, 1.0, Leg(), Leg(), rest=2.0, orders=["BLUE-60000-1"])
    second.on_load(first.on_save())
    assert second.desk.intents == {"BLUE-60000-1": intent}
    assert (second.desk.trip.rest, second.desk.trip.working, second.desk.trip.orders) == (0.0, "", ["BLUE-60000-1"])
