"""The actor's days: day mode over tables, the roll at midnight, odd ticks, and postures."""

from __future__ import annotations

import numpy as np
import pytest
from actor_days import (
    ACTIVE,
    BLUE,
    DATES,
    DAY_MS,
    HELD,
    MINUTE_MS,
    MS,
    Counted,
    calm,
    day_actor,
    reference,
    tables,
    tell,
    without_frame,
)
from builders import START_MS, day

from actors.config import DolphinActorConfig
from actors.dolphin_actor import DolphinActor
from dolphin.config import EngineConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows
from dolphin.errors import DataError, DolphinError, MissingDependency
from dolphin.grid.embedded import EmbeddedGrid


def test_day_mode_runs_a_table_once_a_date_and_publishes_its_result(tmp_path):
    """Three bars of two names on a date, the last of them closing at midnight, call for its table once; a bar of the next makes two."""
    days = [day(seed=5, bars=1440, day_index=k) for k in range(2)]
    tables(tmp_path, days)
    actor = day_actor(tmp_path, [1, 600, 1440, 1441], engine=ACTIVE)
    assert [call for call in actor.engine.calls if call[0] == "rows"] == [("rows", date, 1440) for date in DATES[:2]]
    engine, results = reference(days)
    assert len(engine.trades) > 20
    assert actor.engine.trades == engine.trades
    assert [without_frame(actor.grid.get(BLUE, date)) for date in DATES[:2]] == results
    assert actor.grid.get(BLUE, DATES[0])["schema"] == "dolphin.day/1"
    assert actor.desk.totals.orders == 0


def test_one_bar_alone_is_one_day(tmp_path):
    tables(tmp_path, [calm([])])
    actor = day_actor(tmp_path, [1440])
    assert [call[1] for call in actor.engine.calls if call[0] == "rows"] == ["2025-01-01"]


def test_a_green_lane_buys_and_publishes_under_its_own_map(tmp_path):
    days = [day(seed=5, bars=1440)]
    tables(tmp_path, days)
    actor = day_actor(tmp_path, [1], engine=ACTIVE, lane="GREEN")
    assert actor.engine.trades == reference(days, direction=1)[0].trades
    assert (actor.grid.get(BLUE, DATES[0]), actor.grid.get("DOLPHIN_PNL_GREEN", DATES[0])["bars"]) == (None, 1440)


def test_hibernate_closes_what_is_open_at_its_last_price_and_needs_no_table(tmp_path):
    tables(tmp_path, [calm([10])])
    actor = day_actor(tmp_path, [1, 1441, 1500], engine=HELD, at={1441: lambda a: a._on_posture_event("HIBERNATE")})
    (trade,) = actor.engine.trades
    assert (trade["reason"], trade["date"]) == ("HIBERNATE_HALT", DATES[1])
    assert actor.grid.get(BLUE, DATES[0])["open_position"]["asset"] == "BTCUSDT"
    record = actor.grid.get(BLUE, DATES[1])
    assert (record["posture"], record["bars"], record["open_position"], len(record["trades"])) == ("HIBERNATE", 0, None, 1)
    assert actor.engine.calls.count(("rows", DATES[1], 0)) == 1


def test_a_restart_repeats_no_day_and_goes_on_with_its_capital(tmp_path):
    days = [day(seed=6, bars=1440, day_index=k) for k in range(3)]
    tables(tmp_path, days)
    first = day_actor(tmp_path, [1, 1441], engine=ACTIVE)
    second = day_actor(tmp_path, [600, 1442, 2880, 2881], state=first.save(), engine=ACTIVE)
    engine, results = reference(days)
    assert second.engine.trades == engine.trades
    assert second.engine.capital == engine.capital
    assert [second.grid.get(BLUE, date) is None for date in DATES] == [True, True, False]
    assert without_frame(second.grid.get(BLUE, DATES[2])) == results[2]


def test_a_day_whose_result_is_in_the_grid_is_not_run_again_even_without_a_saved_state(tmp_path):
    tables(tmp_path, [calm([10]), calm([], day_index=1)])
    grid = EmbeddedGrid()
    known = {"schema": "dolphin.day/1", "ts_ms": 0, "pnl": 1.0}
    grid.put(BLUE, DATES[0], known)
    actor = day_actor(tmp_path, [1, 2, 1441], grid=grid)
    assert [call[1] for call in actor.engine.calls if call[0] == "rows"] == [DATES[1]]
    assert grid.get(BLUE, DATES[0]) == known


def test_a_day_waits_while_the_grid_does_not_say_whether_it_is_done(tmp_path):
    class Away(EmbeddedGrid):
        asked = 0

        def get(self, name, key):
            self.asked += 1
            if self.asked <= 3:
                raise MissingDependency("the grid does not answer")
            return super().get(name, key)

    tables(tmp_path, [calm([])])
    actor = day_actor(tmp_path, [1, 2, 3], grid=Away())
    assert [call for call in actor.engine.calls if call[0] == "rows"] == [("rows", DATES[0], 1440)]


def test_a_day_that_the_grid_does_not_take_is_not_run_again(tmp_path):
    class Deaf(EmbeddedGrid):
        def put(self, name, key, record):
            raise MissingDependency("the grid does not answer")

    tables(tmp_path, [calm([])])
    actor = day_actor(tmp_path, [1, 2, 3], grid=Deaf())
    assert [call for call in actor.engine.calls if call[0] == "rows"] == [("rows", DATES[0], 1440)]
    assert list(actor._unpublished) == [DATES[0]]


def test_an_absent_table_is_loud_and_does_not_count_as_done(tmp_path):
    with pytest.raises((DataError, OSError), match=r"2025-01-01\.parquet"):
        day_actor(tmp_path, [1])
    actor = DolphinActor(DolphinActorConfig(mode="day", data_dir=str(tmp_path)))
    with pytest.raises((DataError, OSError), match=r"2025-01-01\.parquet"):
        actor._on_date(DATES[0])
    assert actor._processed_dates == set()


def test_day_mode_may_be_driven_by_snapshots_too(run, tmp_path):
    days = [day(seed=5, bars=1440)]
    tables(tmp_path, days)
    built = run(days, mode="day", data_dir=str(tmp_path), engine=Counted(ACTIVE))
    assert built.actor.engine.trades == reference(days)[0].trades
    assert (built.actor.desk.totals.orders, len(built.actor.engine.calls)) == (0, 3)


def test_the_day_rolls_at_midnight_once_with_one_record_each_and_the_universe_may_change(run):
    """A bar that closes at 00:00 belongs to the day in which it opened. Capital, histories and open positions cross midnight."""
    days = [day(seed=7, bars=1440, assets=12), day(seed=8, bars=1440, assets=9, day_index=1), day(seed=9, bars=500, assets=14, day_index=2)]
    engine, results = reference(days)
    built = run(days, engine=Counted(ACTIVE))
    assert any(result["open_position"] for result in results[:2])
    assert len(engine.trades) > 30
    assert built.actor.engine.calls == [(what, date) for date in DATES for what in ("begin", "end")]
    assert built.actor.engine.trades == engine.trades
    assert [without_frame(built.actor.grid.get(BLUE, date)) for date in DATES] == results
    assert built.actor.grid.get(BLUE, DATES[0])["bars"] == 1440
    assert built.actor.grid.get(BLUE, DATES[0])["ts_ms"] == START_MS + DAY_MS + MINUTE_MS
    assert built.actor.engine.snapshot() == engine.snapshot()
    assert (built.actor.late, built.actor.gaps) == (0, [])


def test_ticks_that_come_twice_or_late_are_dropped_and_counted(run):
    days = [day(seed=7, bars=400)]
    built = run(days, again={50: [50, 45], 51: [1], 400: [400, 399]}, engine=NDAlphaEngine(ACTIVE))
    assert built.actor.late == 5
    assert built.actor.engine.trades == reference(days)[0].trades


@pytest.mark.parametrize(("missing", "marked"), [(3, 0), (4, 1), (200, 1)])
def test_a_gap_of_more_than_three_bars_is_marked(run, missing, marked):
    rows = calm([], bars=600)
    keep = np.r_[0:100, 100 + missing : 600]
    built = run([DayRows(rows.assets, *(a[keep] for a in (rows.closes, rows.vel_div, rows.v50, rows.v750, rows.ts_ms)))])
    assert built.actor.gaps == [(int(rows.ts_ms[99]) * MS, int(rows.ts_ms[100 + missing]) * MS)] * marked
    assert built.actor.engine.bar_count == 600 - missing


def test_hibernate_closes_on_the_next_bar_and_sends_the_exit(venue_fills):
    built, filled = venue_fills([calm([10, 60], bars=100)], at={30: tell("HIBERNATE")}, engine=NDAlphaEngine(HELD))
    (trade,) = built.actor.engine.trades
    assert (trade["reason"], trade["exit_ts"]) == ("HIBERNATE_HALT", START_MS + 30 * MINUTE_MS)
    assert filled == [(10.0, "SELL"), (30.0, "BUY")]
    assert built.actor.desk.safe_reason == ""
    assert [s.reason for s in built.actor.signals] == ["", "HIBERNATE_HALT"]


def test_a_position_that_hibernate_closes_in_a_day_without_a_bar_gets_its_exit_too(venue_fills):
    def empty_day(actor):
        actor._on_posture_event("HIBERNATE")
        actor._begin_day(actor._day + 1)

    built, filled = venue_fills([calm([10], bars=100)], at={30: empty_day}, engine=NDAlphaEngine(HELD))
    assert [trade["reason"] for trade in built.actor.engine.trades] == ["HIBERNATE_HALT"]
    assert filled == [(10.0, "SELL"), (30.0, "BUY")]
    assert (len(built.actor.trades), built.actor.desk.safe_reason) == (1, "")


def test_turtle_keeps_the_position_and_enters_nothing_until_it_is_lifted(venue_fills):
    engine = EngineConfig(use_asset_selection=False, use_direction_confirm=False, lookback=0, max_hold_bars=20)
    at = {15: tell("TURTLE"), 70: tell("APEX")}
    built, filled = venue_fills([calm([10, 50, 80], bars=95)], at=at, engine=NDAlphaEngine(engine))
    assert filled == [(10.0, "SELL"), (30.0, "BUY"), (80.0, "SELL")]
    assert [trade["reason"] for trade in built.actor.engine.trades] == ["MAX_HOLD"]
    assert built.actor.grid.get(BLUE, DATES[0])["refusals"]["HALTED"] == 69 - 30


def test_stalker_caps_the_leverage_of_the_next_entry(run):
    rows = calm([10], bars=100)
    rows.vel_div[9] = -0.06
    bold = run([rows], engine=NDAlphaEngine(HELD)).actor.signals[0].leverage
    shy = run([rows], at={5: tell("STALKER")}, engine=NDAlphaEngine(HELD)).actor.signals[0].leverage
    assert bold > 2.0
    assert shy == 2.0


def test_only_the_newest_posture_counts_and_it_crosses_midnight(run):
    def flicker(actor):
        for posture in ("HIBERNATE", "APEX", "TURTLE"):
            actor._on_posture_event(posture)

    built = run([calm([10], bars=1440), calm([20], bars=100, day_index=1)], at={30: flicker}, engine=NDAlphaEngine(HELD))
    assert [built.actor.grid.get(BLUE, date)["posture"] for date in DATES[:2]] == ["TURTLE", "TURTLE"]
    assert built.actor.engine.position.asset == "BTCUSDT"


def test_a_posture_source_is_asked_before_every_bar(venue_fills):
    """Its word holds for the bar asked about, from a day's first bar on; it is not asked about a bar that is late."""
    asked = []

    def source(ts_ms):
        asked.append(ts_ms)
        return "HIBERNATE" if 30 * MINUTE_MS <= ts_ms - START_MS < 40 * MINUTE_MS or ts_ms - START_MS > 1440 * MINUTE_MS else "APEX"

    days = [calm([10, 35, 60], bars=1440), calm([20], bars=100, day_index=1)]
    built, filled = venue_fills(days, again={50: [50, 45]}, engine=NDAlphaEngine(HELD), postures=source)
    assert filled == [(10.0, "SELL"), (30.0, "BUY"), (60.0, "SELL"), (1441.0, "BUY")]
    assert asked == [START_MS + k * MINUTE_MS for k in range(1, 1541)]
    assert [built.actor.grid.get(BLUE, date)["posture"] for date in DATES[:2]] == ["APEX", "HIBERNATE"]


@pytest.mark.parametrize("word", [None, "BRAVE", 3], ids=repr)
def test_a_source_that_cannot_say_the_posture_means_turtle(venue_fills, word):
    """The position stays, nothing is entered."""
    late = START_MS + 30 * MINUTE_MS
    built, filled = venue_fills([calm([10, 50], bars=100)], engine=NDAlphaEngine(HELD), postures=lambda ts: word if ts > late else "APEX")
    assert filled[:1] == [(10.0, "SELL")]
    assert built.actor.posture == "TURTLE"
    assert built.actor.engine.position is not None


def test_a_breaker_event_before_the_first_bar_of_a_day_is_not_lost_at_midnight(run):
    """It comes at 00:00:30, the first bar at 00:01: the day's beginning must not put the boost back to 1."""
    at = {1441: lambda a: a._on_acb_event('{"boost": 1.5, "beta": 0.5}')}
    built = run([calm([], bars=1440), calm([], bars=100, day_index=1)], at=at)
    records = [built.actor.grid.get(BLUE, date) for date in DATES[:2]]
    assert [(r["boost"], r["beta"]) for r in records] == [(1.0, 0.0), (1.5, 0.5)]


def test_a_result_with_unknown_numbers_is_published_with_null(run):
    """Without asset selection a position has no alignment: NaN inside, null in JSON, and midnight does not stop the lane."""
    built = run([calm([10], bars=1440), calm([], bars=50, day_index=1)], engine=NDAlphaEngine(HELD))
    position = built.actor.grid.get(BLUE, DATES[0])["open_position"]
    assert (position["irp_alignment"], position["entry_price"]) == (None, 50_000.0)
    assert built.actor.grid.get(BLUE, DATES[1])["bars"] == 50


def test_a_grid_that_is_away_at_midnight_gets_the_day_later_and_the_lane_goes_on(run):
    class Away(EmbeddedGrid):
        refusals = 1

        def put(self, name, key, record):
            if self.refusals:
                self.refusals -= 1
                raise MissingDependency("the grid does not answer")
            super().put(name, key, record)

    grid = Away()
    built = run([calm([10], bars=1440), calm([], bars=50, day_index=1)], grid=grid, engine=NDAlphaEngine(HELD))
    assert [grid.get(BLUE, date)["bars"] for date in DATES[:2]] == [1440, 50]
    assert built.actor._unpublished == {}
    assert issubclass(MissingDependency, DolphinError)
