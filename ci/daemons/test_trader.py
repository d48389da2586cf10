"""The trader: the engine's own decisions, every one durable before it is told, from wherever a restart came."""

from __future__ import annotations

import numpy as np
import pytest
from crash_points import Pulled, copy_scans, crash_at
from lane_worlds import Teller, engine_run, payloads, replay_of, settings_of

import daemons.trader
from daemons.patience import Patience
from daemons.trader import TraderService
from dolphin.errors import ConfigError, MalformedFile, QualityError, Unavailable
from dolphin.grid.maps import FEATURES
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import ScannedBar
from dolphin.storage.journal import Journal, Kind
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import AlertKind
from dolphin.types import Posture
from flows.kill import release

FIRST, SECOND = "2025-01-02", "2025-01-03"
DAY_MS = 86_400_000
LANE_KINDS = {Kind.BAR, Kind.TRADE, Kind.DAY_RESULT, Kind.SNAPSHOT, Kind.DAY_SNAPSHOT}


def trader_of(world):
    return next(r.service for r in world.runners if r.service.name == "trader")


@pytest.fixture
def bars_of(world_of, calm, market):
    """A world whose scanner has scanned the first day already, or both; nothing runs in it yet."""

    def make(settings=None, days=1):
        world = world_of(settings=settings or settings_of(), replay=replay_of(market, FIRST, SECOND))
        copy_scans(calm, world.state.journals, days)
        return world

    return make


def until_done(world, date=FIRST):
    """Until the trader has processed a day; the trader."""
    trader = trader_of(world)
    world.run(120, until=lambda: trader.lane.done == date)
    assert trader.lane.done == date
    return trader


def begun(world):
    """Teller and trader of the first day."""
    teller = world.start(Teller)
    teller.date = FIRST
    return teller, world.start(TraderService)


def one_day(world):
    """Teller and trader over the first day; the trader at its end."""
    teller, _ = begun(world)
    return teller, until_done(world)


def decisions(trader):
    return [record for record in payloads(trader) if record[0] in LANE_KINDS]


@pytest.mark.parametrize("lane", ["BLUE", "GREEN"])
def test_a_replay_gives_the_engines_own_trades_and_day_results(bars_of, calm, lane):
    world = bars_of(settings_of(lane=lane), days=2)
    teller, trader = begun(world)
    patience = trader._patience
    patience.ready = lambda scanned, book: scanned.seq <= 162 and Patience.ready(patience, scanned, book)
    until_done(world)
    teller.date = SECOND
    world.run(2)
    del patience.ready
    until_done(world, SECOND)
    world.run(10)
    engine = engine_run(world.settings, calm.state.days, trader.lane.direction)
    assert len(engine.trades) >= 4
    assert trader.lane.engine.trades == engine.trades
    assert [p for kind, _, p in payloads(trader) if kind == Kind.TRADE] == engine.trades
    results = [p for kind, _, p in payloads(trader) if kind == Kind.DAY_RESULT]
    assert [r["date"] for r in results] == [FIRST, SECOND]
    assert results[-1]["capital"] == engine.capital
    assert world.grid.get(f"DOLPHIN_PNL_{lane}", SECOND) == results[-1]
    assert world.grid.get(FEATURES, f"lane_{lane}")["equity"] == trader.lane.mark.equity


def test_the_whole_chain_from_klines_gives_the_engines_own_trades(calm):
    """Scanner and trader together, as deployed."""
    trader = trader_of(calm)
    assert trader.lane.engine.trades == engine_run(calm.settings, calm.state.days).trades
    assert trader.lane.engine.trades


def test_changing_postures_and_boosts_are_those_of_the_engine_bar_by_bar(bars_of, calm, undisturbed, monkeypatch):
    """Stalker, then a halt, then all clear, and a boost that falls by day."""
    world = bars_of()
    teller, trader = begun(world)
    trade = next(p for kind, _, p in undisturbed if kind == Kind.TRADE and p["bars_held"] > 3)
    start, minute = trade["entry_ts"], 60_000
    teller.postures += [(start - 20 * minute, Posture.STALKER), (start + minute, Posture.HIBERNATE), (start + 3 * minute, Posture.APEX)]
    teller.boosts += [(start + 10 * minute, 1.0, 0.8)]
    teller.now_ms, teller.every_s = lambda: trader.lane.last_ts, 0.05
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 1)
    until_done(world)
    engine = engine_run(world.settings, calm.state.days, told=[p for kind, _, p in payloads(trader) if kind == Kind.BAR])
    assert {p["posture"] for kind, _, p in payloads(trader) if kind == Kind.BAR} == {"APEX", "STALKER", "HIBERNATE"}
    assert trader.lane.engine.trades == engine.trades
    assert {t["reason"] for t in engine.trades} >= {"HIBERNATE_HALT"}


@pytest.fixture
def undisturbed(bars_of):
    """The first day without an accident: its records."""
    _, trader = one_day(bars_of())
    return decisions(trader)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_a_trader_that_dies_at_every_durable_step_leaves_the_same_journal(bars_of, undisturbed, monkeypatch, after):
    """One life a step: each dies at its third commit, the next goes on behind it."""
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 11)
    world, lives = bars_of(), 0
    teller = world.start(Teller)
    teller.date = FIRST
    while True:
        trader = world.start(TraderService)
        crash_at(trader, 3, after=after)
        try:
            until_done(world)
        except Pulled:
            world.end(trader, killed=True)
            lives += 1
            assert lives < 40
            continue
        break
    assert lives >= 5
    assert decisions(trader) == undisturbed
    assert not trader._safe.engaged
    assert trader.context.journal.verify().ok


@pytest.mark.parametrize("bars", [0, 1, 59, 60, 61, 113, 160])
def test_a_restart_after_any_bar_decides_as_before(bars_of, undisturbed, monkeypatch, bars):
    world = bars_of()
    _, trader = begun(world)
    with monkeypatch.context() as small:
        small.setattr(daemons.trader, "AT_ONCE", bars + 1)
        world.run(0.05)
    assert trader.lane.engine.bar_count == bars
    world.end(trader, killed=True)
    again = world.start(TraderService)
    until_done(world)
    assert decisions(again) == undisturbed
    assert again.context.journal.last(Kind.RECOVERED).payload["reason"].endswith("come out as they were")


def test_an_orderly_stop_leaves_nothing_to_process_again(bars_of, monkeypatch):
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 71)
    world = bars_of()
    _, trader = begun(world)
    world.run(0.05)
    world.end(trader)
    again = world.start(TraderService)
    until_done(world)
    assert again.context.journal.last(Kind.RECOVERED).payload["reason"].startswith("0 bars")
    assert [p for kind, _, p in payloads(again) if kind == Kind.TRADE] == again.lane.engine.trades


def test_a_lane_that_comes_back_otherwise_than_its_journal_goes_into_safe_mode(bars_of, monkeypatch):
    """Until the operator has released, through restarts; exits go on."""
    world = bars_of()
    _, trader = begun(world)
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 20)
    world.run(0.05)
    world.end(trader, killed=True)
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 1)
    taken = Lane.take

    def otherwise(self, bar, inputs):
        return taken(self, bar, type(inputs)(posture=Posture.HIBERNATE))

    with monkeypatch.context() as other:
        other.setattr(Lane, "take", otherwise)
        again = world.start(TraderService)
        world.runners[-1].turn()
    assert again._safe.engaged
    assert [a.kind for a in world.told].count(AlertKind.SAFE_MODE) == 1
    world.run(1)
    world.end(again, killed=True)
    third = world.start(TraderService)
    world.run(1)
    blocked = third.context.journal.last(Kind.BAR).payload
    assert blocked["told"]["blocks"] == ["SAFE_MODE"]
    assert blocked["posture"] == "TURTLE"
    assert [kind for kind, _, _ in payloads(third)].count(Kind.SAFE_MODE) == 1
    release(world.state, world.settings, "looked at it")
    world.run(3)
    assert third.context.journal.last(Kind.BAR).payload["told"]["blocks"] == []


def test_a_damaged_newest_snapshot_falls_back_to_the_one_before(bars_of, undisturbed):
    world = bars_of()
    _, trader = one_day(world)
    last = trader.context.journal.last(Kind.DAY_SNAPSHOT).seq
    trader.context.journal._db.execute("UPDATE attachment SET bytes = x'00' WHERE seq = ?", (last,))
    world.end(trader, killed=True)
    again = world.start(TraderService)
    world.run(0.2)
    assert decisions(again)[: len(undisturbed)] == undisturbed
    assert not again._safe.engaged


def test_without_a_readable_snapshot_nothing_is_traded(bars_of):
    world = bars_of()
    _, trader = one_day(world)
    trader.context.journal._db.execute("UPDATE attachment SET bytes = x'00'")
    world.end(trader, killed=True)
    world.start(TraderService)
    with pytest.raises(MalformedFile, match="none of the newest snapshots"):
        world.run(1)


def test_other_engine_settings_are_refused(bars_of):
    world = bars_of()
    _, trader = one_day(world)
    world.end(trader, killed=True)
    world.settings = settings_of(fixed_tp_pct=0.02)
    world.start(TraderService)
    with pytest.raises(ConfigError, match="taken under configuration"):
        world.run(1)


def test_a_scanner_journal_that_was_begun_anew_is_refused(bars_of):
    world = bars_of()
    _, trader = one_day(world)
    world.end(trader, killed=True)
    for path in world.state.journals.glob("scanner.sqlite*"):
        path.unlink()
    with Journal.open(world.state.journals / "scanner.sqlite", "scanner") as other:
        other.append(Kind.UNIVERSE, {"assets": ["BTCUSDT"], "bar_seconds": 60}, 0)
    world.start(TraderService)
    with pytest.raises(QualityError, match="is not the one that this lane has read"):
        world.run(1)


def test_a_second_trader_of_the_lane_stands_by_and_gives_up(bars_of, calm, tmp_path):
    """By the file lock in the same state folder, by the writer's lock in another."""
    world = bars_of()
    world.start(Teller)
    world.start(TraderService)
    world.run(1)
    with pytest.raises(Unavailable, match="held by"):
        world.start(TraderService)
    other = StateFolder(tmp_path / "elsewhere").made()
    copy_scans(calm, other.journals)
    second = world.start(TraderService, other)
    world.run(20)
    assert second.status == "standby"
    assert second.lane.engine.bar_count == 0
    with pytest.raises(Unavailable, match="has another trader on this grid"):
        world.run(60)


def test_a_scanners_journal_that_is_just_being_made_is_waited_for_and_one_that_stays_empty_is_refused(world):
    """The file is there some milliseconds before its tables."""
    path = world.state.journals / "scanner.sqlite"
    path.touch()
    trader = world.start(TraderService)
    world.run(1)
    assert trader.status == "running"
    with pytest.raises(MalformedFile, match="is empty"):
        world.run(20)


def test_bars_that_come_again_or_late_are_dropped(calm):
    lane = Lane(settings_of().engine, -1, with_book=False)
    assert lane.wants(bar := ScannedBar(3, "h", FIRST, 0, 1000, np.ones(2), 0.0, 0.0, 0.0))
    lane.last_ts = 1000
    assert not lane.wants(bar)
    assert lane.drop(bar) == []
    assert lane.dropped == 1
    lane.done, lane.last_ts = FIRST, 0
    assert not lane.wants(bar)


def test_the_grid_may_be_away_all_day_and_gets_the_results_when_it_is_back(bars_of):
    """Nothing is entered meanwhile: nobody says that it is safe."""
    world = bars_of(days=2)
    world.start(Teller)
    trader = world.start(TraderService)
    world.grid.away = True
    until_done(world, SECOND)
    assert trader.lane.engine.bar_count == 300
    assert not trader.lane.engine.trades
    world.grid.away = False
    world.run(20)
    assert world.grid.get("DOLPHIN_PNL_BLUE", FIRST)["bars"] == 160
    assert world.grid.get(FEATURES, "lane_BLUE")["date"] == SECOND
