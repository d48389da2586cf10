"""Postures computed from a run: the fixed point against an engine that is told bar by bar, and the laws of a day that is run again."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import RandomBook, day
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_watch import OracleWatch

from dolphin import NDAlphaEngine, load_profile
from dolphin.book.provider import TableOrderBook
from dolphin.config import SurvivalConfig
from dolphin.engine.records import DayRows
from dolphin.engine.schedule import day_start, minutes_by_posture
from dolphin.engine.watch import RunWatch, evaluation_rows
from dolphin.errors import ConfigError, DolphinError, QualityError
from dolphin.kernels.marked import mark_curve_nb
from dolphin.report.equity import mark_to_market
from dolphin.report.inputs import Bars, trade_columns
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import McStatus, Posture
from flows.layers import Layers

NO_BOOK = SurvivalConfig(order_book=False)
BITING = load_profile(max_fraction=1.0, fixed_tp_pct=0.03, max_hold_bars=200, stalker_leverage_cap=6.0)
DATES = tuple(f"2025-01-{k:02d}" for k in range(1, 8))


def waves(days=4, amplitude=0.05, period=300, bars=1440, seed=5, step=1):
    """Days on which all prices swing: whoever holds a position sees large drawdowns come and go."""
    out, start = [], None
    for k in range(days):
        rows = day(seed=seed, bars=bars, day_index=k, start=start)
        t = np.arange(bars) + 1 + k * bars
        swing = amplitude * (np.sin(2 * np.pi * t / period) - np.sin(2 * np.pi * k * bars / period))
        ts = day_start(DATES[k]) + np.arange(1, bars + 1, dtype=np.int64) * 60_000 * step
        rows = replace(rows, closes=rows.closes * np.exp(swing)[:, None], ts_ms=ts)
        out.append((DATES[k], rows))
        start = rows.closes[-1]
    return out


class Named(TableOrderBook):
    """A recorded book that knows its symbols: the oracle asks for each."""

    def __init__(self, days, direction=-1):
        super().__init__(days, direction)
        self.symbols = days[0].symbols


MARKET = SyntheticMarket(assets=10, days=3, seed=11)


@pytest.fixture(scope="module")
def archive():
    """Three days of a market with books, whose recorder stopped twice; vel_div opens the lane often."""
    out, books = [], []
    for k, (market_day, book) in enumerate(zip(MARKET, SyntheticBook(MARKET, snapshot_ms=10_000), strict=True)):
        rng, n = np.random.default_rng(k), len(market_day.ts)
        v50, v750 = rng.normal(0, 0.03, n), rng.normal(0, 0.002, n)
        out.append((market_day.date, DayRows(market_day.symbols, market_day.close, v50 - v750, v50, v750, market_day.ts + 60_000)))
        kept = np.ones(len(book.ts), dtype=bool)
        kept[400 + 50 * k : 420 + 40 * k] = False
        kept[-2 if k == 0 else len(kept) :] = False
        features = book.features.copy()
        features[:, :, 4] = np.minimum(features[:, :, 4] * 1.4, 3.0)
        features[:, :, 6:8] = np.minimum(features[:, :, 6:8] * 1.5, 0.95)
        books.append(replace(book, ts=book.ts[kept], snapshot_ts=book.snapshot_ts[kept], features=features[kept]))
    return out, Named(books)


class Judge:
    """A forewarner whose word is told by date."""

    def __init__(self, statuses):
        self.statuses = statuses

    def as_of(self, date):
        self.date = date
        return self

    def assess_config_dict(self, cfg):
        from types import SimpleNamespace

        probability = {"OK": 0.0, "ORANGE": 0.2, "RED": 0.9}[self.statuses.get(self.date, "OK")]
        return SimpleNamespace(catastrophic_probability=probability, envelope_score=1.0)


def watched(days, config=BITING, survival=NO_BOOK, ob=None, forewarner=None, direction=-1):
    engine, watch = NDAlphaEngine(config), RunWatch(survival, ob)
    engine.set_ob_engine(ob)
    if forewarner is not None:
        engine.set_mc_forewarner(forewarner, {"max_leverage": config.max_leverage})
    return engine, watch, [watch.run_day(engine, date, rows, direction) for date, rows in days]


def told(days, config=BITING, survival=NO_BOOK, ob=None, forewarner=None, direction=-1):
    statuses = forewarner.statuses if forewarner is not None else {}
    oracle = OracleWatch(config, survival, ob, statuses, forewarner)
    for date, rows in days:
        oracle.day(date, rows, direction)
    return oracle


def assert_told(days, **given_):
    engine, watch, found = watched(days, **given_)
    oracle = told(days, **given_)
    assert watch.changes == oracle.changes
    assert engine.trades == oracle.engine.trades
    assert watch.lowest_rm == pytest.approx(oracle.lowest, abs=1e-12)
    for mine, its in zip(found, oracle.results, strict=True):
        assert mine.result["refusals"] == its["refusals"]
        assert mine.result["open_position"] == its["open_position"]
    assert engine.snapshot() == oracle.engine.snapshot()
    return engine, watch, found


# ------------------------------------------------------------------------------------------ equal to being told bar by bar


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("amplitude", [0.02, 0.045, 0.06])
def test_a_drawdown_lowers_the_posture_and_the_posture_changes_the_run(direction, amplitude):
    """Drawdowns of an open position: postures, trades, refusals, random stream and position as if told bar by bar."""
    assert_told(waves(amplitude=amplitude), direction=direction)


def test_drawdowns_change_the_posture_several_times_and_days_are_run_again():
    """What the comparison above is worth: several changes, both ways, and days that took more than one pass."""
    seen, passes = set(), 0
    for seed in range(4):
        _, watch, found = assert_told(waves(amplitude=0.045, seed=seed))
        seen |= {posture for _, posture in watch.changes}
        passes = max(passes, *(d.passes for d in found))
        assert all(len(d.changes) <= len(d.result) * 100 for d in found)
    assert {Posture.STALKER, Posture.TURTLE} <= seen
    assert passes >= 3


def test_a_book_that_goes_stale_or_thin_lowers_the_posture(archive):
    """With books: APEX is possible, holes hibernate, several changes a day."""
    days, ob = archive
    _, watch, found = assert_told(days, config=load_profile(), survival=SurvivalConfig(), ob=ob)
    assert {posture for _, posture in watch.changes} == set(Posture)
    assert max(len(d.changes) for d in found) >= 4
    assert max(d.passes for d in found) <= 4


@pytest.mark.parametrize("floor", ["none", "TURTLE"])
def test_the_forewarners_word_and_the_floors_count(archive, floor):
    """ORANGE on the second day, RED on the third; the floor lifts ORANGE alone."""
    days, ob = archive
    judge = Judge({days[1][0]: "ORANGE", days[2][0]: "RED"})
    survival = SurvivalConfig(mc_orange_floor=floor, ob_stale_floor=floor)
    _, watch, found = assert_told(days, config=load_profile(), survival=survival, ob=ob, forewarner=judge)
    assert found[1].result["mc_status"] == McStatus.ORANGE
    assert (found[1].minutes.get(Posture.TURTLE, 0) > 600) == (floor == "TURTLE")
    assert watch.flags == ((f"mc_orange_floor={floor}", f"ob_stale_floor={floor}") if floor == "TURTLE" else ())


def test_a_run_that_begins_under_orange_begins_in_hibernate(archive):
    """The warm start is the first target's posture, whatever the first guess was."""
    days, ob = archive
    _, watch, _ = assert_told(days[:1], survival=SurvivalConfig(), ob=ob, forewarner=Judge({days[0][0]: "ORANGE"}))
    assert watch.changes[0] == (day_start(days[0][0]), Posture.HIBERNATE)


@pytest.mark.parametrize(("cadence", "step"), [(1.0, 5), (5.0, 1), (7.0, 1), (0.5, 1), (2.5, 1)])
def test_cadences_that_are_no_bar_interval(cadence, step):
    """Bars longer than the cadence, cadences that do not divide the day or the bar."""
    days = waves(bars=1440 // step, step=step, period=300 // step, amplitude=0.05)
    assert_told(days, survival=SurvivalConfig(order_book=False, cadence_min=cadence))


def test_missing_bars_and_missing_days_delay_an_evaluation_and_lift_nothing():
    """A hole of an hour, a day that ends early, a day that is not there: dt is clamped, the first close after counts."""
    days = waves(amplitude=0.05)
    cut = [(date, part(rows, np.r_[0:500, 560:1300])) if k == 1 else (date, rows) for k, (date, rows) in enumerate(days)]
    assert_told([cut[0], cut[1], cut[3]])


# ----------------------------------------------------------------------------------------------------------------- laws


def part(rows, keep):
    return DayRows(rows.assets, rows.closes[keep], *(getattr(rows, n)[keep] for n in ("vel_div", "v50", "v750", "ts_ms")))


@settings(max_examples=12, deadline=None)
@given(last=st.integers(1, 1439), k=st.integers(0, 2))
def test_cutting_the_future_changes_no_earlier_posture(last, k):
    """Prefix property, over midnight too."""
    days = waves(amplitude=0.05, seed=1)[: k + 1]
    _, whole, _ = watched(days)
    date, rows = days[-1]
    _, cut, _ = watched([*days[:-1], (date, rows.head(last))])
    end = int(rows.ts_ms[last - 1])
    assert cut.changes == [change for change in whole.changes if change[0] <= end]


def test_the_schedule_that_was_found_replays_the_run_bit_for_bit(archive):
    """Trades, refusals, random stream, bans: nothing tells the run that was found from one that was told."""
    days, ob = archive
    engine, watch, found = watched(days, survival=SurvivalConfig(), ob=ob)
    layers = Layers(book=ob, survival=SurvivalConfig()).replaying(watch.schedule)
    again = layers.engine(BITING)
    for (date, rows), before in zip(days, found, strict=True):
        assert layers.run_day(again, date, rows) == before.result
    assert again.snapshot() == engine.snapshot()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 50), first=st.sampled_from(list(Posture)), missing=st.sampled_from([0.0, 0.3]))
def test_a_day_that_is_run_again_leaves_no_trace(seed, first, missing):
    """``rewind`` to a checkpoint between days, with a position open, banned assets and draws used."""
    config = load_profile(stale_price_bars=2)
    once, twice = NDAlphaEngine(config), NDAlphaEngine(config)
    for k in range(3):
        rows = day(seed=seed, day_index=k, missing=missing)
        expected = once.process_rows(DATES[k], rows)
        kept = twice.checkpoint()
        bytes_ = twice.snapshot()
        twice.process_rows(DATES[k], rows, posture=first, changes=[(200, "HIBERNATE")])
        twice.rewind(kept)
        assert twice.snapshot() == bytes_
        assert twice.process_rows(DATES[k], rows) == expected
    assert twice.snapshot() == once.snapshot()
    twice.begin_day(DATES[3])
    with pytest.raises(DolphinError, match="is open"):
        twice.checkpoint()


def test_many_draws_are_found_again():
    """A checkpoint further back than the block of random draws that is in memory."""
    config = load_profile(max_hold_bars=1, fixed_tp_pct=1e-6)
    engine = NDAlphaEngine(config)
    kept, rows = engine.checkpoint(), day(bars=6000, signal_std=0.2)
    first = engine.process_rows(DATES[0], rows)
    assert len(first["trades"]) * 3 > 2048
    engine.rewind(kept)
    assert engine.process_rows(DATES[0], rows) == first


def test_hibernate_closes_on_the_bar_after_the_evaluation(archive):
    """The book is gone at 06:40 and 06:41: two evaluations, and the position is closed at 06:42."""
    days, ob = archive
    config = load_profile(max_hold_bars=5000, fixed_tp_pct=0.9)
    engine, watch, _ = watched(days[:1], config=config, survival=SurvivalConfig(), ob=ob)
    halts = [t for t in engine.trades if t["reason"] == "HIBERNATE_HALT"]
    fallen = [ts for ts, posture in watch.changes if posture is Posture.HIBERNATE]
    assert halts
    assert {t["exit_ts"] - 60_000 for t in halts} <= set(fallen)


def test_what_is_decided_at_midnight_holds_from_the_first_bar_of_the_next_day(archive):
    """The recorder of the first day misses the last two samples: HIBERNATE on the next day's first bar."""
    days, ob = archive
    engine, watch, found = watched(days[:2], config=load_profile(), survival=SurvivalConfig(), ob=ob)
    midnight = day_start(days[1][0])
    assert watch.schedule.at(midnight) is not Posture.HIBERNATE
    assert watch.schedule.at(midnight + 1) is Posture.HIBERNATE
    assert engine.trades
    assert found[1].minutes[Posture.HIBERNATE] > 0
    assert sum(found[1].minutes.values()) == 1440


def test_the_curve_is_that_of_the_report():
    """Positions that cross midnight, bars without a price, an asset that leaves: the same equity at every bar as the report's."""
    days = [(date, day(seed=3, day_index=k, missing=0.05, bars=300)) for k, date in enumerate(DATES[:3])]
    days[2] = (days[2][0], replace(days[2][1], assets=days[2][1].assets[:8], closes=np.ascontiguousarray(days[2][1].closes[:, :8])))
    engine, curve = NDAlphaEngine(load_profile(max_hold_bars=150, fixed_tp_pct=0.5)), []
    from dolphin.engine.watch import _equity

    for date, rows in days:
        before = engine.bar_count, engine.honest_capital, engine.position
        curve.append(_equity(engine, rows, engine.process_rows(date, rows), before))
    closes = [np.column_stack([r.closes, np.full((300, 12 - r.closes.shape[1]), np.nan)]) for _, r in days]
    bars = Bars(
        ts_ms=np.concatenate([r.ts_ms for _, r in days]), names=days[0][1].assets, closes=np.concatenate(closes),
        vel_div=np.concatenate([r.vel_div for _, r in days]),
    )  # fmt: skip
    position = engine.position.to_dict() if engine.position else None
    wanted = mark_to_market(trade_columns(engine.trades), bars, engine.config, position).honest
    assert len(engine.trades) > 3
    np.testing.assert_allclose(np.concatenate(curve), wanted, rtol=1e-12)


def test_a_curve_without_a_trade_is_flat():
    """No position, no mark."""
    out = np.empty(5)
    nothing = np.empty((0, 3), dtype=np.int64), np.empty(0), np.empty((0, 6))
    mark_curve_nb(np.ones((5, 2)), *nothing, 7.0, math.nan, out)
    assert out.tolist() == [7.0] * 5


# -------------------------------------------------------------------------------------------------------------- sensors


def test_the_books_sensors_are_the_answers_one_by_one(archive):
    """At samples, between them, over midnight, in the holes, before the first and after the last."""
    days, ob = archive
    oracle = OracleWatch(BITING, NO_BOOK, ob)
    first, last = days[0][1].ts_ms[0], days[-1][1].ts_ms[-1]
    rng = np.random.default_rng(0)
    ts = np.sort(np.concatenate([rng.integers(first - 10_000, last + 20_000, 300), np.arange(first + 23_990_000, first + 24_030_000, 777)]))
    got = ob.sensors(ts)
    assert 0.1 < got[:, 0].mean() < 0.99
    for now, row in zip(ts.tolist(), got.tolist(), strict=True):
        stale, quality, fill = oracle.book(now)
        assert row[0] == stale
        assert row[1:] == pytest.approx([math.nan if x is None else x for x in (quality, fill)], rel=1e-15, nan_ok=True)
    np.testing.assert_array_equal(super(TableOrderBook, ob).sensors(ts), got)
    np.testing.assert_array_equal(ob.sensors(ts[:7]), got[:7])


def test_evaluation_rows_are_the_first_closes_at_or_after_each_minute():
    """Bars of 7 s, a hole, the close at midnight; the day before that ended early makes the first bar due."""
    start = day_start("2025-01-01")
    ts = start + np.r_[7_000:86_400_000:7_000, 86_400_000].astype(np.int64)
    ts = ts[(ts < start + 600_000) | (ts > start + 900_000)]
    rows = evaluation_rows(ts, start, 1.0)
    wanted = sorted({int(np.searchsorted(ts, start + m * 60_000)) for m in range(1, 1441)})
    assert rows.tolist() == wanted
    assert evaluation_rows(ts, start, 1.0, start).tolist() == wanted
    assert evaluation_rows(ts, start, 1.0, start - 1).tolist() == [0, *wanted]
    assert evaluation_rows(ts, start, 7.0)[-1] == len(ts) - 1, "the close at 24:00 is a whole cadence of the next day"
    assert len(evaluation_rows(ts[:0], start, 1.0)) == 0


@pytest.mark.parametrize("spoil", [lambda ts: ts * 0, lambda ts: ts[::-1], lambda ts: ts + 86_400_000, lambda ts: ts - 60_000])
def test_a_day_without_its_times_is_refused(spoil):
    """Zero, descending, another day's, one that begins at midnight."""
    date, rows = waves(days=1)[0]
    with pytest.raises(QualityError, match="times of a day's bars"):
        watched([(date, replace(rows, ts_ms=spoil(rows.ts_ms)))])


def test_no_times_and_no_bars_is_a_day_nonetheless():
    """An empty day decides nothing; a first one leaves the start to the next."""
    days = waves(days=2)
    empty = days[0][1].head(0)
    engine, watch, found = watched([(days[0][0], empty), days[1], (DATES[2], empty)])
    assert watch.changes[0] == (day_start(days[1][0]), Posture.STALKER)
    assert [d.result["bars"] for d in found] == [0, 1440, 0]
    assert engine.bar_count == 1440


def test_minutes_add_up_to_the_day():
    """From midnight to the last close, each bar to the posture that it ran in."""
    ts = day_start("2025-01-01") + np.array([1, 2, 10, 11], dtype=np.int64) * 60_000
    spent = minutes_by_posture("2025-01-01", ts, "APEX", [(2, "TURTLE"), (3, "APEX")])
    assert spent == {Posture.APEX: 3.0, Posture.TURTLE: 8.0}
    assert minutes_by_posture("2025-01-01", ts[:0], "APEX", []) == {}


# --------------------------------------------------------------------------------------------------------------- layers


def test_layers_say_who_decides_the_postures(archive):
    """A run with a watch needs its own; a schedule needs none; flags name what the watch could not see."""
    days, ob = archive
    date, rows = days[0]
    layers = Layers(survival=SurvivalConfig())
    assert layers.flags == ("no_order_book", "posture_without_forewarner", "posture_without_dvol")
    assert Layers(book=ob, survival=SurvivalConfig()).flags == ("posture_without_forewarner", "posture_without_dvol")
    assert Layers().watch() is None
    with pytest.raises(ConfigError, match="needs its own watch"):
        layers.run_day(layers.engine(BITING), date, rows)
    with pytest.raises(ConfigError, match="needs its own watch"):
        Layers().run_day(layers.engine(BITING), date, rows, watch=layers.watch())
    with pytest.raises(ConfigError, match="RandomBook has no sensors"):
        Layers(book=RandomBook(), survival=SurvivalConfig()).watch()


def test_the_watchdog_compiles_nothing():
    """Stack, explanation and machine run the kernels' bodies as plain Python."""
    code = """
from dolphin.engine.survival import *
from dolphin.engine.survival_report import HEALTHY, explain
from dolphin.kernels import survival
SurvivalStack().evaluate(HEALTHY, 1.0, 0)
explain(HEALTHY, 0.5)
PostureMachine().step(0.9)
compiled = [n for n in survival.__all__ if n.endswith("_nb") and getattr(survival, n)._compiled.signatures]
print("COMPILED", compiled)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "COMPILED []"
