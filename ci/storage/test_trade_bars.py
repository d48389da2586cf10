"""Trades into bars: one answer whatever the order of arrival; what may be missing is asked for or becomes a gap, never a guess."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trade_tapes import oracle_bars, tape

from dolphin.storage.trade_bars import Bar, Missing, Trade, TradeBars

BAR = 5_000
FIRST = 400_000
START = FIRST * BAR


def covered(symbols: int = 1, stale_bars: int = 3) -> TradeBars:
    """Bars of symbols whose subscription stands since the beginning."""
    bars = TradeBars([f"A{k}USDT" for k in range(symbols)], BAR, FIRST, stale_bars=stale_bars)
    bars.up(range(symbols), START)
    return bars


def trade(at: int, number: int, price: float = 100.0) -> Trade:
    return Trade(START + at, number, price, 1.0, True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), mean=st.sampled_from([40.0, 900.0, 7_000.0]), grace=st.sampled_from([0, 250, 4_000]), again=st.booleans()
)
def test_any_arrival_within_the_grace_gives_the_oracles_bars(seed, mean, grace, again):
    """Trades arrive up to ``grace`` late, in any order, some twice; a bar is closed the grace behind it, when no id is on its way."""
    trades, rng, bars = tape(seed, START, 8 * BAR, mean), random.Random(seed), covered()
    arrivals = sorted((t.ts_ms + rng.uniform(0, grace), t) for t in trades for _ in range(2 if again and rng.random() < 0.3 else 1))
    made = []
    for at, one in arrivals:
        while at > (bars.done + 1) * BAR + grace and not bars.missing(bars.done):
            made += bars.close()
        bars.add(0, one)
    while bars.done < FIRST + 8:
        made += bars.close()
    assert made == oracle_bars(trades, BAR, FIRST, 8, 3)
    assert bars.counts["duplicate"] == len(arrivals) - len(trades)
    assert not bars.counts["late"] + bars.counts["gap"] + bars.counts["lost"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_lost_trades_filled_later_give_the_bars_of_the_whole_tape(seed):
    """Any subset is lost on the way; what ``missing`` names is fetched before the bar is closed."""
    trades, rng, bars = tape(seed, START, 8 * BAR, 600.0), random.Random(seed), covered()
    made = []
    for one in [trades[0], *(t for t in trades[1:] if rng.random() < 0.8)]:
        bars.add(0, one)
        while one.ts_ms >= (bars.done + 1) * BAR:
            _fill(bars, trades)
            made += bars.close()
    assert made == oracle_bars(trades, BAR, FIRST, len(made), 3)
    assert bars.counts["gap"] == 0


def _fill(bars: TradeBars, trades: list[Trade]) -> None:
    for found in bars.missing(bars.done):
        wanted = [t for t in trades if (t.trade_id >= found.from_id if found.from_id >= 0 else t.ts_ms >= found.since_ms)]
        for one in wanted:
            bars.add(found.place, one)
        bars.confirm(found.place, trades[-1].ts_ms + 1)


def test_a_trade_after_its_bar_is_closed_changes_nothing_and_is_counted():
    bars = covered()
    bars.add(0, trade(100, 1))
    (before,) = bars.close()
    assert bars.add(0, trade(200, 2, 999.0))
    bars.add(0, trade(BAR + 10, 3))
    (after,) = bars.close()
    assert (before.close, before.trades, after.open, after.trades) == (100.0, 1.0, 100.0, 1.0)
    assert bars.counts["late"] == 1
    assert bars.counts["lost"] == 0


def test_a_hole_in_the_ids_is_known_and_named_before_the_bar_is_closed():
    bars = covered()
    for number in (1, 2, 5):
        bars.add(0, trade(10 * number, number))
    assert bars.missing(FIRST) == [Missing(0, -1, START)]
    for number in (3, 4):
        bars.add(0, trade(10 * number, number))
    bars.close()
    for number, at in ((6, 10), (9, 20)):
        bars.add(0, trade(BAR + at, number))
    assert bars.missing(FIRST + 1) == [Missing(0, 7, START + BAR)]
    assert bars.close() == [None]
    assert (bars.counts["gap"], bars.counts["lost"]) == (1, 2)


def test_a_hole_that_ends_behind_the_bar_may_begin_in_it():
    bars = covered()
    bars.add(0, trade(10, 1))
    bars.close()
    bars.add(0, trade(BAR + 10, 2))
    bars.add(0, trade(2 * BAR + 10, 4))
    assert bars.missing(FIRST + 1) == [Missing(0, 3, START + BAR)]
    bars.add(0, trade(2 * BAR + 5, 3))
    assert bars.missing(FIRST + 1) == bars.missing(FIRST + 2) == []
    assert bars.close()[0].trades == 1.0


def test_an_outage_makes_its_bars_doubtful_and_the_next_whole_one_sure():
    bars = covered(2)
    for place in (0, 1):
        bars.add(place, trade(10, 1))
    bars.close()
    bars.add(0, trade(BAR + 10, 2))
    bars.down([0])
    assert [found.place for found in bars.missing(FIRST + 1)] == [0]
    bars.up([0], START + BAR + 3_000)
    assert bars.missing(FIRST + 1) == [Missing(0, 3, START + BAR)]
    closed = bars.close()
    assert closed[0] is None
    assert closed[1].volume == 0.0
    bars.add(0, trade(2 * BAR + 10, 9))
    assert bars.missing(FIRST + 2) == []
    assert bars.close()[0].trades == 1.0


def test_a_contiguous_id_after_an_outage_shows_that_nothing_was_missed():
    bars = covered()
    bars.add(0, trade(10, 1))
    bars.close()
    bars.add(0, trade(BAR + 10, 2))
    bars.down([0])
    bars.up([0], START + BAR + 3_000)
    bars.add(0, trade(BAR + 3_100, 3))
    bars.add(0, trade(2 * BAR + 1, 4))
    assert bars.missing(FIRST + 1) == []


def test_what_the_exchange_confirms_is_sure_and_its_kline_counts_in_place_of_trades():
    bars = TradeBars(["AUSDT", "BUSDT"], BAR, FIRST, stale_bars=3)
    assert [found.from_id for found in bars.missing(FIRST)] == [-1, -1]
    bars.add(0, trade(10, 7, 50.0))
    bars.confirm(0, START + BAR)
    bars.put(1, FIRST, Bar(1.0, 2.0, 0.5, 1.5, 10.0))
    assert bars.missing(FIRST) == []
    ours, theirs = bars.close()
    assert (ours.close, theirs.close) == (50.0, 1.5)
    assert math.isnan(theirs.trades)


def test_a_close_is_carried_for_so_many_bars_and_then_there_is_no_price():
    bars = covered(stale_bars=2)
    bars.add(0, trade(10, 1))
    made = [bars.close()[0] for _ in range(4)]
    assert [bar and bar.close for bar in made] == [100.0, 100.0, 100.0, None]
    assert [bar.volume for bar in made[:3]] == [1.0, 0.0, 0.0]
    bars.add(0, trade(4 * BAR, 2, 7.0))
    assert bars.close()[0].close == 7.0


def test_behind_a_gap_nothing_is_carried():
    bars = covered()
    bars.add(0, trade(10, 1))
    bars.down([0])
    bars.up([0], START + BAR)
    assert [bars.close(), bars.close()] == [[None], [None]]


def test_stamps_that_are_not_trusted_are_forgotten_and_the_bars_asked_for_again():
    bars = covered()
    bars.add(0, trade(10, 1))
    bars.close()
    bars.add(0, trade(BAR + 10, 2))
    bars.add(0, trade(3 * BAR, 3))
    bars.forget(START + BAR + 500)
    bars.up([0], START + BAR + 2_000)
    assert bars.missing(FIRST + 1) == [Missing(0, -1, START + BAR)]
    bars.add(0, trade(BAR + 10, 2))
    bars.add(0, trade(BAR + 900, 3))
    bars.confirm(0, START + BAR + 2_000)
    assert bars.close()[0].trades == 2.0


def test_a_delisted_symbol_has_no_price_from_then_on_and_is_not_asked_for():
    bars = covered()
    bars.add(0, trade(10, 1))
    bars.delist(0)
    bars.down([0])
    assert bars.missing(FIRST) == []
    assert bars.close() == [None]


def test_bars_of_which_nothing_is_to_be_had_are_skipped():
    bars = covered()
    bars.down([0])
    bars.skip(FIRST + 3)
    assert bars.done == FIRST + 3
    assert bars.counts["gap"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        Trade(START, 1, math.nan, 1.0, True), Trade(START, 1, -1.0, 1.0, True), Trade(START, 1, 1.0, 0.0, True),
        Trade(START, 1, 1.0, math.inf, True), Trade(-1, 1, 1.0, 1.0, True), Trade(START, -5, 1.0, 1.0, True),
        Trade(START, 1, 1.0, 1.0, True, 0),
    ],
)  # fmt: skip
def test_what_is_no_trade_is_counted_and_left_out(bad):
    bars = covered()
    assert not bars.add(0, bad)
    assert bars.counts == {"bad": 1}
    assert bars.close() == [None]


def test_a_tape_of_a_day_is_cheap():
    """Bounded memory: ids and bars that are settled leave nothing behind."""
    bars = covered()
    for one in tape(3, START, 600 * BAR, 100.0):
        while one.ts_ms >= (bars.done + 1) * BAR:
            bars.close()
        bars.add(0, one)
    series = bars._series[0]
    assert len(series.growing) == 1
    assert not series.ahead
    assert not series.given
