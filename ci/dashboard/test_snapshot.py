"""The snapshot against real journals and a grid: fresh, stale, missing, replaced and hostile."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from daemon_worlds import World
from dashboard_stage import MINUTE, SECRET, Stage
from lane_worlds import deployed, replay_of, settings_of, write_market

from dolphin.config import to_toml
from dolphin.deployment import GridConfig
from dolphin.engine.survival import combine
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.maps import FEATURES, PostureRecord
from dolphin.storage.journal import Entry, Kind
from dolphin.types import Posture
from flows.dashboard.posture import lift_of
from flows.dashboard.reader import Clocks, SnapshotReader
from flows.dashboard.snapshot import Snapshot

EVIL = "<img src=x onerror=alert(1)>\x1b[31m\u202e"


def texts(now: Snapshot, level: str = "critical") -> str:
    return " | ".join(concern.text for concern in now.concerns if concern.level == level)


def test_a_running_lane_is_shown_as_its_own_engine_knows_it(tmp_path: Path):
    """Scanner and trader of a replay, stopped while a position is open: equity, day, position, trades and refusals are the lane's."""
    klines = write_market(tmp_path / "klines", 1440, 160)
    world = World(tmp_path / "world", settings=settings_of(), replay=replay_of(klines, "2025-01-02", "2025-01-02"))
    _, _, trader = deployed(world)
    lane = trader.lane
    world.run(600.0, until=lambda: len(lane.engine.trades) >= 3 and lane.engine.position is not None and lane.bar > 60)
    assert lane.engine.position is not None
    reader = SnapshotReader(world.state, world.settings, str, Clocks(world.clock.monotonic, world.clock.wall_ms), lambda _: world.grid)
    found = reader.read(kill_offered=False).lanes[0]
    held, engine = found.position, lane.engine
    assert (found.lane, found.equity, found.peak, found.bar) == ("BLUE", lane.mark.equity, lane.mark.peak, lane.bar)
    assert (found.capital, found.honest_capital) == (engine.capital, engine.honest_capital)
    assert found.day_pnl == lane.mark.equity - world.settings.engine.start_capital
    assert [t.exit_market_ms for t in found.trades] == [t["exit_ts"] for t in reversed(engine.trades)]
    assert sum(t.honest_pnl for t in found.trades) == pytest.approx(engine.honest_capital - world.settings.engine.start_capital)
    assert sum(t.net_pnl for t in found.trades) == pytest.approx(engine.capital - world.settings.engine.start_capital)
    assert (held.asset, held.entry_price, held.direction) == (engine.position.asset, engine.position.entry_price, -1)
    assert held.price == engine.position.last_price
    assert held.move == pytest.approx(1 - engine.position.last_price / engine.position.entry_price)
    bars = [r.payload for r in trader.context.journal.records(Kind.BAR)]
    assert held.bars == len(bars) - 1 - max(k for k, b in enumerate(bars) if b["entry"] is not None)
    for row in found.refused:
        assert row.day == sum(b["refusals"].count(row.reason) for b in bars)
        assert row.means
    assert (found.curve.equity[-1], found.curve.market_ms[-1]) == (round(lane.mark.equity, 2), lane.last_ts)
    assert found.grid_state == "FRESH"
    reader.close()
    world.close()


def test_nothing_at_all_is_shown_as_unknown_and_not_as_healthy(stage: Stage):
    """An empty state folder: no posture, no lane, no feed, no process; every one is said."""
    now = stage.read()
    assert (now.posture.published, now.posture.rm, now.posture.since_ms) == (None, None, None)
    assert (now.lanes[0].equity, now.lanes[0].day_pnl, now.lanes[0].position) == (None, None, None)
    assert (now.feed.close_market_ms, now.processes) == (None, [])
    assert {row.state for row in now.features} == {"UNKNOWN"}
    assert "Not up" in texts(now)
    assert "Posture unknown (ABSENT)" in texts(now)
    assert "No bars" in texts(now)


def test_what_is_fresh_becomes_stale_and_then_lost(stage: Stage):
    """The same records, later: the posture ages to TURTLE, the feed is late; the grid away for half a minute is HIBERNATE."""
    stage.well()
    now = stage.read()
    assert (now.posture.posture, now.posture.state, now.posture.reason) == ("STALKER", "FRESH", None)
    assert now.lanes[0].grid_state == "FRESH"
    stage.wall_ms += 200_000
    now = stage.read()
    assert (now.posture.posture, now.posture.published, now.posture.reason) == ("TURTLE", "STALKER", "STALE")
    assert (now.lanes[0].grid_state, {row.name: row.state for row in now.features}["ob_macro"]) == ("STALE", "STALE")
    assert "not fresh (STALE)" in texts(now)
    assert "The feed is late" in texts(now)
    stage.grid.away = True
    stage.wall_ms += 31_000
    now = stage.read()
    assert (now.posture.posture, now.grid.connected, now.grid.members) == ("HIBERNATE", False, 0)
    assert "For more than 30 s" in texts(now)
    stage.grid.away = False
    stage.say_posture("STALKER")
    stage.wall_ms += 3_000
    assert stage.read().posture.posture == "STALKER"


def test_processes_without_a_supervisor_are_not_called_ours(stage: Stage):
    """Heartbeats alone: alive, late, gone in order; a stamp from the future is no sign of life."""
    stage.beat("paper", 11)
    stage.beat("scanner", 12, age_s=60.0)
    stage.beat("trader", 13, status="stopped")
    stage.beat("ob_stream", 14, age_s=-120.0)
    rows = {row.name: row for row in stage.read().processes}
    assert {name: row.healthy for name, row in rows.items()} == {"paper": True, "scanner": False, "trader": False, "ob_stream": False}
    assert rows["trader"].state == "LEFT, not ours"
    assert "scanner has no fresh heartbeat" in texts(stage.read())
    stage.beat("mc_forewarner", 15, age_s=90.0)
    stage.beat("acb_processor", 16, status="loading")
    stage.wall_ms += 3_000
    now = stage.read()
    assert "4 processes have no fresh heartbeat: scanner, trader, ob_stream, mc_forewarner" in texts(now)
    assert "acb_processor" not in texts(now)


def test_hostile_journals_are_counted_and_their_text_is_kept_as_text(stage: Stage):
    """Records that are no bars, text that is markup, escapes and control characters: nothing raises, nothing becomes another thing."""
    stage.well()
    stage.bar(refusals=[EVIL], told={"blocks": [EVIL]}, posture=EVIL)
    stage.bar(refusals="no list")
    stage.bar(equity="a lot")
    stage.trade(honest_ret=-10.0, fraction=0.1, leverage=1.0)
    stage.write(
        "scanner",
        Entry(
            Kind.SCAN,
            {**dict.fromkeys(("date", "bar", "lambda_max", "velocity", "instability", "n_participants")), "vel_div": 1, "closes": EVIL},
            stage.market_ms,
        ),
    )
    stage.write(
        "system_watchdog",
        Entry(
            Kind.POSTURE,
            dict.fromkeys(("posture", "rm", "target", "cat1", "cat2", "cat3", "cat4", "cat5", "reasons", "ts_ms", "seq")),
            stage.now(),
        ),
    )
    stage.say_posture("TURTLE", EVIL, f"api_key={SECRET}")
    stage.grid.plant(FEATURES, "lane_BLUE", '{"schema": "dolphin.lane/1", "ts_ms": 1, "equity": "NaN"}')
    stage.grid.plant(FEATURES, "scan_latest", '["no record"]')
    now = stage.read()
    lane = now.lanes[0]
    assert lane.unreadable == 3
    assert lane.refusals == ["<img src=x onerror=alert(1)> [31m"]
    assert "cannot be read" in texts(now, "warning")
    assert lane.grid_state == "UNKNOWN"
    assert "record" in now.feed.problem
    assert now.posture.reasons[0] == "<img src=x onerror=alert(1)> [31m"
    assert SECRET not in msgspec.json.encode(now).decode()


def test_numbers_that_are_none_do_not_become_json(stage: Stage):
    """The page's JSON is JSON whatever came in, and fits its schema."""
    stage.well()
    stage.say_lane(equity=1e308, peak=1e308)
    told = msgspec.json.encode(stage.read())
    assert msgspec.json.decode(told, type=Snapshot) == stage.read()
    assert b"NaN" not in told


def test_missing_bars_and_prices_are_said(stage: Stage):
    """A hole of four bars, a symbol without a price."""
    stage.universe()
    stage.scan(1.0, 2.0, 3.0)
    stage.scan(1.0, None, 3.0, skip=4)
    now = stage.read()
    assert [(gap.missing, gap.to_market_ms - gap.from_market_ms) for gap in now.feed.gaps] == [(4, 5 * MINUTE)]
    assert now.feed.silent == ["ETHUSDT"]
    assert "4 bars are missing in 1 gaps" in texts(now, "warning")
    assert "1 of 3 symbols have no price" in texts(now, "warning")


def test_a_live_feed_is_shown_as_the_scanner_says(stage: Stage):
    """Its word, lag and counts; a stale one needs an operator; a record that is none is left out."""
    stage.well()
    assert stage.read().feed.live is None
    said = {"schema": "dolphin.feed/1", "ts_ms": stage.now(), "status": "running", "symbols": 3, "lag_ms": 80.0, "gaps": 2, "backfilled": 5}
    for status, level in (("running", None), ("gaps", "warning"), ("stale", "critical"), ("clock_skew", "critical")):
        stage.grid.put(FEATURES, "feed", said | {"status": status})
        stage.wall_ms += 3_000
        now = stage.read()
        assert (now.feed.live.status, now.feed.live.lag_ms, now.feed.live.gaps) == (status, 80.0, 2)
        assert [concern.level for concern in now.concerns if "live feed" in concern.text] == [level] * (level is not None)
    stage.grid.put(FEATURES, "feed", said | {"status": 5})
    stage.wall_ms += 3_000
    assert stage.read().feed.live is None


def test_the_position_is_measured_against_the_newest_price(stage: Stage):
    """A short at 100 with a take profit of 0.95 % and a stop of 2 %: age, profit and distances; and none once it has closed."""
    stage.settings = msgspec.structs.replace(stage.settings, engine=msgspec.structs.replace(stage.settings.engine, stop_loss_pct=0.02))
    stage.state.settings.write_text(to_toml(stage.settings))
    stage.universe()
    stage.scan(1.0, 2.0, 100.0)
    stage.bar(entry=stage.entry())
    stage.scan(1.0, 2.0, 99.5)
    stage.bar(refusals=["IN_POSITION"])
    held = stage.read().lanes[0].position
    assert (held.asset, held.bars, held.max_bars, held.price) == ("SOLUSDT", 1, 120, 99.5)
    assert (held.move, held.unrealised) == pytest.approx((0.005, 25.0))
    assert (held.take_profit_price, held.to_take_profit) == pytest.approx((99.05, 0.0045))
    assert (held.stop_price, held.to_stop) == pytest.approx((102.0, 0.025))
    stage.scan(1.0, 2.0, 99.0)
    stage.trade()
    stage.bar(refusals=["EXIT_THIS_BAR"])
    assert stage.read().lanes[0].position is None
    assert stage.read().lanes[0].trades[0].honest_pnl == pytest.approx(25_040.0 - 25_040.0 / 1.0016)


def test_a_position_without_a_price_has_no_profit(stage: Stage):
    """The scanner has never named the symbol: unknown, not zero."""
    stage.universe(["BTCUSDT"])
    stage.scan(1.0)
    stage.bar(entry=stage.entry("DOGEUSDT"))
    held = stage.read().lanes[0].position
    assert (held.price, held.move, held.unrealised, held.to_take_profit) == (None, None, None, None)


def test_the_day_begins_with_the_last_equity_of_the_day_before(stage: Stage):
    """Two UTC days; an unknown start is unknown."""
    stage.universe()
    for equity in (25_000.0, 25_300.0):
        stage.scan(1.0, 2.0, 3.0)
        stage.bar(equity)
    stage.market_ms += 14 * 60 * MINUTE
    stage.date = "2026-01-03"
    stage.scan(1.0, 2.0, 3.0)
    stage.bar(25_250.0)
    lane = stage.read().lanes[0]
    assert (lane.day_start, lane.day_pnl) == (25_300.0, -50.0)


def test_refusals_are_counted_by_market_hours(stage: Stage):
    """One a minute for three hours, another one only at the end; a doubt is told apart."""
    stage.universe()
    for k in range(180):
        stage.scan(1.0, 2.0, 3.0)
        stage.bar(refusals=["NO_SIGNAL"] if k < 170 else ["NO_ASSET"], told={"blocks": ["ACB_UNKNOWN"] if k == 0 else []})
    rows = {row.reason: row for row in stage.read().lanes[0].refused}
    assert (rows["NO_SIGNAL"].day, rows["NO_ASSET"].hour) == (170, 10)
    assert (rows["NO_SIGNAL"].hour, rows["NO_SIGNAL"].six_hours) == (50, 170)
    assert (rows["ACB_UNKNOWN"].doubt, rows["NO_SIGNAL"].doubt, rows["ACB_UNKNOWN"].hour) == (True, False, 0)


def test_safe_mode_shows_until_it_is_released(stage: Stage):
    """Also when it was engaged before what is read of the journal."""
    stage.well()
    stage.write("trader_blue", Entry(Kind.SAFE_MODE, {"engaged": True, "reason": "came back otherwise", "by": "trader"}, stage.now()))
    assert "SAFE MODE: came back otherwise" in texts(stage.read())
    stage.write("trader_blue", Entry(Kind.SAFE_MODE, {"engaged": False, "reason": "released", "by": "operator"}, stage.now()))
    assert "SAFE MODE" not in texts(stage.read())


def test_a_state_that_begins_anew_is_read_anew(stage: Stage):
    """Other journals under the same names: nothing of the old ones stays."""
    stage.well()
    assert stage.read().lanes[0].last_trade is not None
    stage.stop_writing()
    for path in stage.state.journals.iterdir():
        path.unlink()
    now = stage.read()
    assert "nothing was written yet" in now.lanes[0].problem
    stage.universe()
    stage.scan(1.0, 2.0, 3.0)
    stage.bar(30_000.0)
    lane = stage.read().lanes[0]
    assert (lane.equity, lane.last_trade, lane.position, len(lane.curve.equity)) == (30_000.0, None, None, 1)


def test_a_broken_journal_is_named_and_the_rest_goes_on(stage: Stage):
    """Bytes that are no SQLite: the lane says so, posture and feed are there."""
    stage.well()
    stage.stop_writing()
    (stage.state.journals / "trader_green.sqlite").write_bytes(b"no journal at all" * 300)
    (stage.state.journals / "trader_blue.sqlite").write_bytes(b"no journal at all" * 300)
    now = stage.read()
    assert "trader_blue.sqlite" in now.lanes[0].problem
    assert "Lane BLUE: its journal" in texts(now)
    assert (now.posture.published, now.feed.symbols) == ("STALKER", 3)


def test_both_lanes_are_shown_when_both_have_journals(stage: Stage):
    """GREEN is not configured, but it has decided something."""
    stage.well()
    stage.bar(26_000.0, lane="green")
    lanes = {lane.lane: lane for lane in stage.read().lanes}
    assert {name: lane.configured for name, lane in lanes.items()} == {"BLUE": True, "GREEN": False}
    assert (lanes["GREEN"].direction, lanes["GREEN"].equity) == (1, 26_000.0)


def test_the_posture_has_a_history_and_a_beginning(stage: Stage):
    """Since when: of the change, not of the newest word; what changed it stays."""
    stage.say_posture("HIBERNATE", "grid: 0 members")
    stage.wall_ms += MINUTE
    changed = stage.wall_ms
    stage.say_posture("TURTLE", "order book thin: Cat3 0.600", cat3=0.6, rm=0.55, target=0.6)
    stage.wall_ms += MINUTE
    stage.say_posture("TURTLE", cat3=0.6, rm=0.58, target=0.6)
    posture = stage.read().posture
    assert (posture.posture, posture.since_ms, posture.said_ms) == ("TURTLE", changed, stage.wall_ms)
    assert [change.posture for change in posture.changes] == ["TURTLE", "HIBERNATE"]
    book = posture.categories[2]
    assert (book.name, book.value, book.mended, book.lifts) == ("Cat3", 0.6, 1.0, "APEX")
    assert "Cat3 at its best: target 1.000 (APEX)" in posture.lift


def test_what_would_lift_a_posture_is_said_with_its_time():
    """Recovery takes minutes, a category that holds the target down is named, at the highest posture there is nothing."""

    def said(posture: str, rm: float, *reasons: str, **cats: float) -> list[str]:
        five = dict.fromkeys(("cat1", "cat2", "cat3", "cat4", "cat5"), 1.0) | cats
        return lift_of(PostureRecord(posture=Posture(posture), rm=rm, target=combine(**five), reasons=reasons, ts_ms=0, seq=1, **five))

    assert said("APEX", 1.0) == []
    assert said("STALKER", 1.0, "no DVOL: at most STALKER") == ["nothing: STALKER is the highest without that layer"]
    first, second, *_ = said("TURTLE", 0.6)
    assert (first, second) == (
        "time: Rm is high enough for STALKER in about 24 market minutes",
        "time: Rm is high enough for APEX in about 69 market minutes",
    )
    assert said("HIBERNATE", 1.0, "kill switch engaged")[0].startswith("kill switch engaged: dolphin release")
    assert said("HIBERNATE", 0.0, cat1=0.0)[-1] == "Cat1 at its best: target 1.000 (APEX)"
    assert said("HIBERNATE", 0.1, cat2=0.5, cat3=0.5)[-1].startswith("Cat")


def test_the_kill_switch_shows_what_its_file_says(stage: Stage):
    """Engaged by whom and why; a file that says nothing counts as engaged."""
    stage.well()
    assert (stage.read().kill.engaged, stage.read().kill.grid) == (False, "off")
    stage.state.kill.write_text('{"reason": "a look first", "by": "ops@here", "ts_ms": 5}')
    kill = stage.read().kill
    assert (kill.engaged, kill.reason, kill.by, kill.since_ms) == (True, "a look first", "ops@here", 5)
    assert "Kill switch ENGAGED by ops@here: a look first" in texts(stage.read())
    stage.state.kill.write_text("?")
    assert stage.read().kill.engaged is True
    stage.state.kill.unlink()
    stage.grid.delete("DOLPHIN_CONTROL", "kill")
    stage.wall_ms += 3_000
    assert stage.read().kill.grid == "unknown"


def test_new_settings_bring_a_new_connection(stage: Stage):
    """`dolphin up` with another cluster: the page follows; a file that cannot be read is said, and what was known goes on."""
    asked: list[GridConfig] = []

    def connect(config: GridConfig) -> EmbeddedGrid:
        asked.append(config)
        return EmbeddedGrid(stage.clocks.monotonic)

    reader = SnapshotReader(stage.state, stage.settings, str, stage.clocks, connect)
    reader.read(kill_offered=False)
    other = msgspec.structs.replace(stage.settings, grid=GridConfig(kind="hazelcast", cluster="other", port=6000))
    stage.state.settings.write_text(to_toml(other))
    reader.read(kill_offered=False)
    assert [config.cluster for config in asked] == ["dolphin", "other"]
    stage.state.settings.write_text("nonsense = 1")
    os.utime(stage.state.settings, (1, 1))
    now = reader.read(kill_offered=False)
    assert "nonsense" in now.deployment.problem
    assert [config.cluster for config in asked] == ["dolphin", "other"]
    reader.close()
