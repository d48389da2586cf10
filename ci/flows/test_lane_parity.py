"""Parity of a lane's day: real journals of scanner and trader decided once more; what was meddled with is found and named."""

from __future__ import annotations

import json
import sqlite3

import pytest
from daemon_worlds import World
from lane_worlds import Teller, deployed, replay_of, run_out, settings_of, write_market
from msgspec.structs import replace
from parity_lanes import FIRST, SECOND, begun, entered, rewritten, same
from typer.testing import CliRunner

from daemons.ob_stream import BookService
from daemons.trader import TraderService
from dolphin.config import PathsConfig, to_toml
from dolphin.errors import ConfigError, DataError, Unavailable
from dolphin.storage.book_file import write_book_day
from dolphin.storage.journal import Journal, JournalReader, Kind, journal_path
from dolphin.storage.klines import KlineBars, write_klines
from dolphin.storage.replay import write_replay
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import Posture
from flows.cli import app
from flows.kill import release
from flows.lane_day import LanePast
from flows.lane_parity import lane_parity
from flows.lane_parity_text import parity_text, sentence
from flows.lane_venue import Retelling

MINUTE = 60_000


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A day to warm up, then days of 260 and 200 bars."""
    return write_market(tmp_path_factory.mktemp("market"), 1440, 260, 200)


@pytest.fixture(scope="module")
def calm(market, tmp_path_factory):
    """The state of an undisturbed replay, at its end. Read it, do not change it."""
    world = begun(tmp_path_factory.mktemp("calm"), market)
    deployed(world)
    run_out(world)
    world.close()
    return world.state


@pytest.fixture
def world(market, tmp_path):
    world = begun(tmp_path / "world", market)
    yield world
    world.close()


@pytest.mark.parametrize(("date", "bars"), [(FIRST, 260), (SECOND, 200)])
def test_an_undisturbed_day_equals_bar_by_bar_and_trade_by_trade(calm, date, bars):
    found = lane_parity(calm, "blue", date)
    remarks = same(found)
    assert found.bars == found.checks[1].compared == found.checks[3].compared == bars
    assert len(found.trades) >= 3
    assert {trade["date"] for trade in found.trades} == {date}
    assert found.checks[0].compared == bars + len(found.trades) + 1
    assert f"{1440 - bars:,} of 1,440 bars are not in the scanner's journal" in remarks
    text = parity_text(found)
    assert all(f"| {trade['asset']:>1}" in text or trade["asset"] in text for trade in found.trades)
    assert "DIFFERS" not in text


def test_the_long_lane_equals_too(market, tmp_path):
    world = begun(tmp_path, market, lane="GREEN")
    deployed(world)
    run_out(world)
    world.close()
    found = lane_parity(world.state, "green", FIRST)
    same(found)
    assert {trade["direction"] for trade in found.trades} == {1}


def test_a_day_begins_with_the_kept_state_of_the_day_before_when_nothing_was_held(calm, tmp_path):
    """And gives what the lane's beginning gives; the copy has no kept bytes any more."""
    kept, anew = (lane_parity(state, "blue", SECOND) for state in (calm, rewritten(calm, tmp_path, "", None)))
    with JournalReader(journal_path(calm.journals, "trader_blue")) as journal:
        held = next(r for r in journal.records(Kind.DAY_RESULT)).payload["open_position"]
    assert kept.began == ("the lane's beginning" if held else f"the state that the lane kept at the end of {FIRST}")
    assert anew.began == "the lane's beginning"
    same(anew)
    assert kept.trades == anew.trades


def test_a_lane_that_was_killed_and_started_again_equals(world):
    _, _, trader = deployed(world)
    world.run(60, until=lambda: trader.lane.bar >= 90)
    world.end(trader, killed=True)
    world.run(1)
    again = world.start(TraderService)
    world.run(60, until=lambda: again.lane.bar >= 200)
    world.end(again)
    world.start(TraderService)
    run_out(world)
    remarks = same(lane_parity(world.state, "blue", FIRST))
    assert "the trader came back" in remarks
    assert same(lane_parity(world.state, "blue", SECOND))


def test_a_lane_that_still_runs_is_checked_up_to_where_it_stands(world):
    _, _, trader = deployed(world)
    world.run(60, until=lambda: trader.lane.bar >= 120)
    before = {path: path.stat().st_size for path in world.state.root.rglob("*.sqlite")}
    found = lane_parity(world.state, "blue", FIRST)
    assert "the day is still open" in same(found)
    assert found.bars == trader.lane.bar + 1
    assert {path: path.stat().st_size for path in world.state.root.rglob("*.sqlite")} == before
    run_out(world)
    assert "still open" not in same(lane_parity(world.state, "blue", FIRST))


def test_what_a_lane_decides_while_it_is_checked_is_left_for_the_next_time(world):
    _, _, trader = deployed(world)
    world.run(60, until=lambda: trader.lane.bar >= 60)
    taken, recorded = 0, []
    with LanePast(world.state, "blue") as past:
        lane = past.lane()
        for step in past.walk(lane, 0):
            if not taken:
                stood = past.journal.last(Kind.BAR).payload["bar"]
                world.run(60, until=lambda: trader.lane.bar >= 90)
                assert past.journal.last(Kind.BAR).payload["bar"] > stood
            recorded += [record for record in step.recorded if record.kind == Kind.BAR]
            if step.bar is not None:
                lane.take(step.bar, step.inputs)
                taken += 1
            assert not step.missed
    assert taken == len(recorded) > 10
    assert recorded[-1].payload["bar"] == stood


def test_a_lane_that_began_in_the_middle_of_the_day_says_so(world):
    deployed(world, trader=False)
    run_out(world)
    trader = world.start(TraderService)
    trader.lane.done, trader.lane.last_ts = "", world.replay.start_ms + 100 * MINUTE
    world.run(60, until=lambda: trader.lane.done == SECOND)
    found = lane_parity(world.state, "blue", FIRST)
    assert "the lane began in the middle of the day, with the bar that closed at 01:41:00" in found.remarks


def test_a_lane_with_an_order_book_is_told_every_row_of_it_again(market, tmp_path):
    """Rows of the book are in the journal; engine and actor are told them."""
    for day in SyntheticBook(SyntheticMarket(14, 2, 60, 7, "2025-01-01"), snapshot_ms=20_000):
        write_book_day(tmp_path / "books", day)
    settings = replace(settings_of(book=True), paths=PathsConfig(book=str(tmp_path / "books")))
    world = World(tmp_path / "state", settings=settings, replay=replay_of(market, FIRST, FIRST, speed=600.0))
    world.state.settings.write_text(to_toml(settings))
    write_replay(world.state.replay, world.replay)
    deployed(world)
    world.start(BookService)
    trader = next(runner.service for runner in world.runners if runner.service.name == "trader")
    world.run(40, until=lambda: trader.lane.bar == 200)
    world.close()
    found = lane_parity(world.state, "blue", FIRST)
    same(found)
    assert found.bars == 201
    assert found.trades
    entry = entered(world.state).payload["told"]["book"]
    assert len(entry) > 600


def test_safe_mode_and_its_release_are_named_and_the_day_equals(world):
    _, _, trader = deployed(world)
    world.run(60, until=lambda: trader.lane.bar >= 20)
    trader._safe.engage("somebody wants to look")
    at = trader.lane.bar
    world.run(60, until=lambda: trader.lane.bar > at)
    release(world.state, world.settings, "looked")
    run_out(world)
    remarks = same(lane_parity(world.state, "blue", FIRST))
    assert "safe mode from here on: somebody wants to look" in remarks
    assert "safe mode was released by the operator" in remarks
    assert "SAFE_MODE on" in remarks


def test_postures_and_boosts_that_changed_during_the_day_are_told_again(world, calm, monkeypatch):
    import daemons.trader

    teller, _, trader = deployed(world)
    start = entered(calm).ts_ms
    teller.postures += [(start + 2 * MINUTE, Posture.HIBERNATE), (start + 6 * MINUTE, Posture.STALKER), (start + 40 * MINUTE, Posture.APEX)]
    teller.boosts += [(start + 50 * MINUTE, 1.0, 0.8)]
    teller.date, teller.now_ms, teller.every_s = FIRST, lambda: trader.lane.last_ts, 0.05
    monkeypatch.setattr(daemons.trader, "AT_ONCE", 1)
    world.run(120, until=lambda: trader.lane.done == FIRST)
    found = lane_parity(world.state, "blue", FIRST)
    remarks = same(found)
    assert all(name in remarks for name in ("HIBERNATE on", "STALKER on", "APEX on"))
    assert "HIBERNATE_HALT" in {trade["reason"] for trade in found.trades}
    assert {trade["boost"] for trade in found.trades} == {1.347, 1.0}


def test_an_altered_input_breaks_the_chain_and_nothing_is_compared(calm, tmp_path):
    state = rewritten(calm, tmp_path, "", None)
    record = entered(state)
    with sqlite3.connect(journal_path(state.journals, "trader_blue")) as db:
        altered = json.dumps({**record.payload, "posture": "TURTLE"}, sort_keys=True, separators=(",", ":"))
        db.execute("UPDATE record SET payload = ? WHERE seq = ?", (altered, record.seq))
    found = lane_parity(state, "blue", FIRST)
    assert not found.passed
    assert not found.checks
    assert f"BROKEN, record {record.seq}: its time, kind or payload is altered" in found.refused
    assert sentence(found).startswith("NOT CHECKED: ")


def test_a_posture_that_was_forged_with_its_chain_is_found_at_its_bar_and_explained(calm, tmp_path):
    record = entered(calm)

    def change(other):
        told = {**other.payload.get("told", {}), "posture": "TURTLE"}
        return {**other.payload, "posture": "TURTLE", "told": told} if other.seq == record.seq else other.payload

    found = lane_parity(rewritten(calm, tmp_path, "trader_blue", change), "blue", FIRST)
    engine, nautilus, _, scans = found.checks
    assert not engine.passed
    assert not nautilus.passed
    assert scans.passed
    first = engine.listed[0]
    assert (first.what, first.key, first.ts_ms) == ("bar", str(record.payload["bar"]), record.ts_ms)
    assert {d.field for d in engine.listed if d.key == first.key} >= {"entry", "refusals"}
    assert found.explanation.ts_ms == record.ts_ms
    assert found.explanation.code == "HALTED"
    text = parity_text(found)
    assert text.splitlines()[-1].startswith("NOT EQUAL: ")
    assert "REFUSED: HALTED" in text
    assert "DIFFERS" in text


@pytest.mark.parametrize("field", ["equity", "boost", "exit"])
def test_a_forged_decision_is_found(calm, tmp_path, field):
    with JournalReader(journal_path(calm.journals, "trader_blue")) as journal:
        wanted = next(r for r in journal.records(Kind.BAR) if r.payload["exit"]).seq
    change = lambda r: {**r.payload, field: None} if r.seq == wanted else r.payload  # noqa: E731
    found = lane_parity(rewritten(calm, tmp_path, "trader_blue", change), "blue", FIRST)
    assert [d.field for d in found.checks[0].listed] == [field]
    assert found.explanation.exit is not None


def test_a_trade_that_the_journal_lost_is_found(calm, tmp_path):
    change = lambda r: None if r.kind == Kind.TRADE and r.payload["trade_id"] == 2 else r.payload  # noqa: E731
    found = lane_parity(rewritten(calm, tmp_path, "trader_blue", change), "blue", FIRST)
    assert "trade 2 " in found.checks[0].listed[0].to_text()
    assert found.checks[0].listed[0].to_text().endswith("nothing in the journal, there again")
    assert "trade 2 " in found.checks[1].listed[0].to_text()


def test_other_engine_settings_than_the_lanes_are_refused_by_name(calm, tmp_path):
    state = rewritten(calm, tmp_path, "", None)
    state.settings.write_text(to_toml(settings_of(fixed_tp_pct=0.02)))
    found = lane_parity(state, "blue", FIRST)
    assert not found.passed
    assert "decided under the engine settings" in found.refused
    assert "bring back the settings that the lane ran with" in found.refused


def test_a_scan_that_is_missing_in_a_copy_is_no_journal_of_this_lane(calm, tmp_path):
    missing = lambda r: None if r.kind == Kind.SCAN and r.payload["bar"] == 70 else r.payload  # noqa: E731
    found = lane_parity(rewritten(calm, tmp_path, "scanner", missing), "blue", FIRST)
    assert not found.passed
    assert "both journals belong together" in found.refused


def test_bars_that_never_came_are_named_and_what_was_decided_without_them_equals(tmp_path):
    klines = tmp_path / "klines"
    write_market(klines, 1440)
    day = next(iter(SyntheticMarket(14, 1, 60, 8, FIRST)))
    names = next(iter(SyntheticMarket(14, 1, 60, 7, "2025-01-01"))).close.shape[1]
    assert names == day.close.shape[1]
    rows = [k for k in range(200) if not 100 <= k < 103]
    blocks = (block[rows] for block in (day.open, day.high, day.low, day.close, day.volume))
    write_klines(klines, KlineBars(FIRST, 60, day.ts[rows], SyntheticMarket(14, 1, 60, 7, "2025-01-01").symbols, *blocks))
    world = World(tmp_path / "state", settings=settings_of(), replay=replay_of(klines, FIRST, FIRST))
    world.state.settings.write_text(to_toml(world.settings))
    write_replay(world.state.replay, world.replay)
    deployed(world)
    run_out(world)
    world.close()
    found = lane_parity(world.state, "blue", FIRST)
    assert found.bars == 197
    assert "01:40:00 to 01:43:00, 03:20:00 to 00:00:00" in same(found)


def test_a_scan_that_does_not_follow_from_its_closes_is_found(calm, world):
    """The lane read it as it was: its decisions are right, the scanner's number is not."""

    def change(record):
        return {**record.payload, "vel_div": 0.125} if record.kind == Kind.SCAN and record.payload["bar"] == 33 else record.payload

    rewritten(calm, world.state.root, "scanner", change)
    journal_path(world.state.journals, "trader_blue").unlink()
    world.start(Teller).date = FIRST
    trader = world.start(TraderService)
    world.run(60, until=lambda: trader.lane.done == FIRST)
    found = lane_parity(world.state, "blue", FIRST)
    assert [check.passed for check in found.checks] == [True, True, True, False]
    assert "scan 33 (2025-01-02 00:34:00 UTC): vel_div is 0.125 in the journal" in found.checks[3].listed[0].to_text()
    assert "scanner's numbers do not follow" in sentence(found)


def test_a_universe_that_changes_overnight_is_followed(calm, world):
    """Other columns on the second day, two names gone: rows of both days go through engine and actor under their own names."""
    with (
        JournalReader(journal_path(calm.journals, "scanner")) as old,
        Journal.open(journal_path(world.state.journals, "scanner"), "scanner") as new,
    ):
        names = old.last(Kind.UNIVERSE).payload["assets"]
        kept = [place for place in reversed(range(len(names))) if names[place] not in names[-2:]]
        for record in old.records():
            payload, second = record.payload, record.payload.get("date") == SECOND
            if second and payload.get("bar") == 0:
                new.append(Kind.UNIVERSE, {"assets": [names[place] for place in kept], "bar_seconds": 60}, record.ts_ms)
            if second and record.kind == Kind.SCAN:
                payload = {**payload, "closes": [payload["closes"][place] for place in kept]}
            new.append(Kind(record.kind), payload, record.ts_ms)
    teller, trader = world.start(Teller), world.start(TraderService)
    teller.date = FIRST
    world.run(60, until=lambda: trader.lane.done == FIRST)
    teller.date = SECOND
    world.run(60, until=lambda: trader.lane.done == SECOND)
    found = lane_parity(world.state, "blue", SECOND)
    assert [check.passed for check in found.checks] == [True] * 4, parity_text(found)
    assert found.assets == len(kept)
    assert found.trades
    assert found.checks[3].compared == 0


def test_scans_whose_windows_began_outside_the_journal_are_counted_not_guessed(calm, tmp_path):
    state = rewritten(calm, tmp_path, "", None)
    state.replay.unlink()
    found = lane_parity(state, "blue", FIRST)
    assert found.passed
    assert found.checks[3].compared == 0
    assert "260 bars: their windows began with bars that are not in the journal" in sentence(found)


def test_a_nautilus_actor_that_is_told_otherwise_is_found(calm, monkeypatch):
    """The engine agrees, the backtest does not."""
    honest = Retelling.__call__
    monkeypatch.setattr(Retelling, "__call__", lambda self, ts: "TURTLE" if ts == entered(calm).ts_ms else honest(self, ts))
    found = lane_parity(calm, "blue", FIRST)
    assert [check.passed for check in found.checks] == [True, False, True, True]
    assert found.checks[1].listed[0].to_text().startswith("entry ")
    assert "the way into Nautilus is at fault" in sentence(found)


def test_what_cannot_be_asked_is_refused(calm, tmp_path):
    with pytest.raises(DataError, match=r"no bar of 2025-01-09; its days are 2025-01-02 to 2025-01-03"):
        lane_parity(calm, "blue", "2025-01-09")
    with pytest.raises(ConfigError, match="expected YYYY-MM-DD"):
        lane_parity(calm, "blue", "yesterday")
    with pytest.raises(ConfigError, match="no such lane; one of BLUE, GREEN"):
        lane_parity(calm, "red", FIRST)
    with pytest.raises(Unavailable, match="no such journal"):
        lane_parity(calm, "green", FIRST)


def test_the_command_prints_a_table_and_keeps_a_report(calm, tmp_path):
    given = ["parity-check", "--lane", "blue", "--date", FIRST, "--state", str(calm.root), "--set", f"paths.runs={tmp_path}"]
    done = CliRunner().invoke(app, [*given, "--json"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["schema"] == "dolphin.lane-parity/1"
    kept = json.loads((tmp_path / "parity" / f"parity-BLUE-{FIRST}.json").read_text())
    assert kept == {name: value for name, value in said.items() if name != "file"}
    assert CliRunner().invoke(app, [*given[:3], "--klines", str(tmp_path)]).exit_code == 2
    assert CliRunner().invoke(app, ["parity-check", "--date", FIRST]).exit_code == 2
