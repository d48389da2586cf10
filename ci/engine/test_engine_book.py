"""The engine with a book: trade by trade against the oracle on synthetic books, every effect reached, and the laws of the layer."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from builders import RandomBook, bar_args, day
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_engine import OracleEngine, assert_same_trades

from dolphin import NDAlphaEngine, load_profile
from dolphin.book.provider import TableOrderBook
from dolphin.engine.breaker import AdaptiveCircuitBreaker
from dolphin.engine.records import DayRows
from dolphin.kernels.order_book import adjust_exits_nb
from dolphin.storage.book_file import RecordedOrderBook, write_book_day
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket

CONFIG = load_profile()
MARKET = SyntheticMarket(assets=10, days=3, seed=11)


def rows_of(market_day):
    """A day of the synthetic market under a random vel_div that opens both lanes often: the book's effects are the matter here."""
    rng = np.random.default_rng(int(market_day.date[-2:]))
    n = len(market_day.ts)
    v50, v750 = rng.normal(0, 0.03, n), rng.normal(0, 0.002, n)
    return DayRows(market_day.symbols, market_day.close, v50 - v750, v50, v750, market_day.ts + 60_000)


@pytest.fixture(scope="module")
def archive():
    """(date, rows, book) of three days."""
    return [(m.date, rows_of(m), b) for m, b in zip(MARKET, SyntheticBook(MARKET), strict=True)]


def signals(rows):
    return list(zip(rows.vel_div.tolist(), rows.v50.tolist(), rows.v750.tolist(), rows.ts_ms.tolist(), strict=True))


def run(archive, ob, direction=-1):
    engine = NDAlphaEngine(CONFIG)
    engine.set_ob_engine(ob)
    for date, rows, _ in archive:
        engine.process_rows(date, rows, direction=direction)
    return engine


class Watch:
    """Passes every question on and writes down which branch of OB-1, 2, 3 and 5 the answers lead to."""

    def __init__(self, ob, direction):
        self.ob, self.d, self.seen = ob, direction, Counter()
        self.get_market_multiplier = self._multiplier

    def get_signal(self, asset, ts_ms):
        s = self.ob.get_signal(asset, ts_ms)
        self.seen["signal unknown" if s is None else "signal known"] += 1
        return s

    def get_placement(self, asset, ts_ms):
        return self.ob.get_placement(asset, ts_ms)

    def get_macro(self, ts_ms):
        return self.ob.get_macro(ts_ms)

    def _multiplier(self, direction, ts_ms):
        m = self.ob.get_market_multiplier(direction, ts_ms)
        self.seen["OB-3 up" if m and m > 1 else "OB-3 down" if m and m < 1 else "OB-3 neutral"] += 1
        return m


class WatchedOracle(OracleEngine):
    """The oracle, noting which rule of the book it is about to apply to its own trade."""

    def __init__(self, config, ob):
        super().__init__(config, ob=ob)
        self.effects = Counter()

    def select(self, prices, ts):
        self.effects.update(f"OB-1 {self._step(self.ob.get_placement(a, ts))}" for a in self.assets)
        return super().select(prices, ts)

    @staticmethod
    def _step(placement):
        if placement is None:
            return "unknown"
        q = placement["depth_quality"]
        return next((str(edge) for edge in (1.5, 1.0) if q >= edge), next((f"< {e}" for e in (0.2, 0.3, 0.6) if q < e), "plain"))

    def enter(self, prices, vd, spread, ts):
        before = self.pos
        super().enter(prices, vd, spread, ts)
        if self.pos is not before:
            s = self.ob.get_signal(self.pos["asset"], ts)
            eff = self.d * s["imbalance_ma5"] if s else math.nan
            self.effects["OB-2 up" if eff > 0.10 else "OB-2 down" if eff < -0.10 else "OB-2 neutral"] += 1
            m = self.ob.get_market_multiplier(self.d, ts)
            self.effects["OB-3 up" if m and m > 1 else "OB-3 down" if m and m < 1 else "OB-3 neutral"] += 1

    def manage(self, prices, vd, spread, ts):
        q, m = self.pos, self.ob.get_macro(ts)
        s = self.ob.get_signal(q["asset"], ts)
        if m and s and q["asset"] in prices:
            eff = q["direction"] * s["imbalance_ma5"]
            branch = "cascade" if m["cascade_count"] > 0 else f"regime {m['regime_signal']:+.0f}"
            if branch == "regime -1" and eff > 0.15:
                self.effects["OB-5 longer hold"] += 1
            if branch not in ("cascade", "regime +1") and s["withdrawal_velocity"] < -0.20:
                self.effects["OB-5 withdrawal"] += 1
            self.effects[f"OB-5 {branch}"] += 1
        super().manage(prices, vd, spread, ts)


@pytest.mark.parametrize("direction", [-1, 1])
def test_three_days_with_synthetic_books_equal_the_oracle_and_reach_every_effect(archive, direction):
    """OB-1, 2, 3 and 5 in every branch, every field of every trade; refusals by the book too."""
    ob = TableOrderBook([book for _, _, book in archive], direction)
    oracle = WatchedOracle(CONFIG, ob)
    for date, rows, _ in archive:
        oracle.day(date, rows.assets, rows.closes, signals(rows), direction)
    engine = NDAlphaEngine(CONFIG)
    engine.set_ob_engine(ob)
    refusals = Counter()
    for date, rows, _ in archive:
        refusals.update(engine.process_rows(date, rows, direction=direction)["refusals"])
    assert_same_trades(engine.trades, oracle.trades)
    assert len(engine.trades) > 50
    assert refusals["OB_AGAINST"] > 5
    wanted = {f"OB-1 {step}" for step in ("1.5", "1.0", "< 0.2", "< 0.3", "< 0.6", "plain", "unknown")}
    wanted |= {f"OB-{k} {way}" for k in (2, 3) for way in ("up", "down", "neutral")}
    wanted |= {f"OB-5 {b}" for b in ("cascade", "regime -1", "regime +0", "regime +1", "longer hold", "withdrawal")}
    assert not wanted - set(oracle.effects), oracle.effects


def test_the_breaker_reads_the_book_and_the_oracle_agrees(archive):
    """OB-4 at the midnight that opens the day: seven of ten assets withdraw then, beta is 0.2 * 1.175 and reaches the size.

    The first day has no book at its midnight and keeps its beta.
    """
    books = []
    for _, _, book in archive:
        features, snapshots = book.features.copy(), book.snapshot_ts.copy()
        snapshots[-1, :7], features[-1, :7] = book.ts[-1], 0.5
        features[-1, :7, 3] = -0.3
        features[-1, 7:, 3] = np.where(snapshots[-1, 7:] > 0, 0.0, math.nan)
        books.append(replace(book, features=features, snapshot_ts=snapshots))
    ob = TableOrderBook(books)
    breaker = AdaptiveCircuitBreaker(
        {date: (-0.001, 90.0, 50.0, 1.0) for date, _, _ in archive}, {date: 0.0 for date, _, _ in archive}, assets=archive[0][1].assets
    )
    engine, oracle = NDAlphaEngine(CONFIG), OracleEngine(CONFIG, ob=ob)
    engine.set_ob_engine(ob)
    engine.set_acb(breaker)
    for date, rows, _ in archive:
        engine.process_rows(date, rows)
        act = breaker.get_dynamic_boost_for_date(date, ob)
        oracle.day(date, rows.assets, rows.closes, signals(rows), boost=act["boost"], beta=act["beta"])
    assert_same_trades(engine.trades, oracle.trades)
    assert {(t["date"], round(t["beta"], 9)) for t in engine.trades if t["exit_bar"] % 1440 > 200} == {
        ("2025-01-01", 0.2), ("2025-01-02", 0.235), ("2025-01-03", 0.235),
    }  # fmt: skip


def test_recorded_books_give_the_same_trades(archive, tmp_path):
    """Through the files, in day mode and bar by bar."""
    for _, _, book in archive:
        write_book_day(tmp_path, book)
    ob = RecordedOrderBook(tmp_path, [date for date, _, _ in archive])
    want = run(archive, TableOrderBook([book for _, _, book in archive]))
    assert run(archive, ob).trades == want.trades
    by_bar = NDAlphaEngine(CONFIG)
    by_bar.set_ob_engine(ob)
    for date, rows, _ in archive:
        by_bar.begin_day(date)
        for i in range(len(rows.vel_div)):
            by_bar.process_bar(*bar_args(rows, i))
        by_bar.end_day()
    assert by_bar.trades == want.trades
    assert by_bar.snapshot() == want.snapshot()


class Asked:
    """A provider that has nothing but the port's questions."""

    def __init__(self, ob):
        self.get_signal, self.get_placement, self.get_macro, self.get_market_multiplier = (
            ob.get_signal, ob.get_placement, ob.get_macro, ob.get_market_multiplier,
        )  # fmt: skip


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("late_ms", [0, 2_500, 7_000])
def test_a_recorded_archive_gives_the_trades_of_the_questions_one_by_one(archive, direction, late_ms):
    """A day without a book, samples and snapshots lost, bars between the samples, another universe and other symbols every day."""
    rng, days, books = np.random.default_rng(5), [], []
    for k, (date, rows, book) in enumerate(archive):
        mine, its = rng.permutation(len(rows.assets))[:9], rng.permutation(len(book.symbols))[:8]
        kept = np.sort(rng.permutation(len(book.ts))[:1300])
        ages = rng.choice([0, 2_000, 4_000], (len(kept), len(its)))
        snapshots = book.snapshot_ts[np.ix_(kept, its)]
        taken = np.where(snapshots > 0, book.ts[kept][:, None] - ages, 0)
        symbols = tuple(book.symbols[j] for j in its)
        if k != 1:
            books.append(replace(book, symbols=symbols, ts=book.ts[kept], features=book.features[np.ix_(kept, its)], snapshot_ts=taken))
        assets = tuple(rows.assets[j] for j in mine)
        days.append((date, replace(rows, assets=assets, closes=rows.closes[:, mine].copy(), ts_ms=rows.ts_ms + late_ms), None))
    ob = TableOrderBook(books, direction)
    fast, slow = run(days, ob, direction), run(days, Asked(ob), direction)
    assert fast.trades == slow.trades
    assert fast.snapshot() == slow.snapshot()
    assert len(fast.trades) > 30
    assert (fast.trades != run(days, Asked(TableOrderBook([])), direction).trades) == (late_ms < 5_000)


def test_without_the_provider_the_run_is_the_legacy_run(archive):
    """Attaching and removing leaves no trace; with it the run differs."""
    plain = NDAlphaEngine(CONFIG)
    removed = NDAlphaEngine(CONFIG)
    removed.set_ob_engine(TableOrderBook([book for _, _, book in archive]))
    removed.set_ob_engine(None)
    for date, rows, _ in archive:
        plain.process_rows(date, rows)
        removed.process_rows(date, rows)
    assert removed.trades == plain.trades
    assert removed.snapshot() == plain.snapshot()
    assert run(archive, TableOrderBook([book for _, _, book in archive])).trades != plain.trades


DECISIONS = ("asset", "direction", "entry_bar", "exit_bar", "entry_price", "leverage", "fraction", "confidence", "reason", "ars", "vel_div")


class Silent:
    """Knows nothing, in one of the ways a provider may say so."""

    def __init__(self, answer):
        self.answer = answer

    def get_signal(self, asset, ts_ms):
        return self._all("imbalance_ma5", "imbalance_persistence", "withdrawal_velocity")

    def get_placement(self, asset, ts_ms):
        return self._all("depth_quality", "fill_probability")

    def get_macro(self, ts_ms):
        return self._all("cascade_count", "regime_signal", "market_imbalance", "market_agreement")

    def get_market_multiplier(self, direction, ts_ms):
        return None if self.answer in ("None", "empty") else math.nan

    def _all(self, *names):
        return {"None": None, "empty": {}, "None values": dict.fromkeys(names), "NaN values": dict.fromkeys(names, math.nan)}[self.answer]


@pytest.mark.parametrize("answer", ["None", "empty", "None values", "NaN values"])
def test_a_book_that_knows_nothing_changes_no_decision(archive, answer):
    """None and NaN are neutral. Sizes follow the ledger (no edge credit without a known depth), so streaks are held equal here."""
    silent, plain = run(archive[:1], Silent(answer)), run(archive[:1], None)
    stop = next(
        (k for k, (a, b) in enumerate(zip(silent.trades, plain.trades, strict=True)) if (a["net_pnl"] > 0) != (b["net_pnl"] > 0)), 10**9
    )
    assert [t["reason"] for t in silent.trades] == [t["reason"] for t in plain.trades]
    fields = [f for f in DECISIONS if f not in ("leverage", "fraction")]
    assert [[t[f] for f in fields] for t in silent.trades] == [[t[f] for f in fields] for t in plain.trades]
    early = slice(0, stop + 1)
    assert [[t[f] for f in DECISIONS] for t in silent.trades[early]] == [[t[f] for f in DECISIONS] for t in plain.trades[early]]
    assert len(plain.trades) > 10


class Constant:
    """The same answers for ever."""

    def __init__(self, **values):
        self.values = values

    def get_signal(self, asset, ts_ms):
        return self.values

    get_placement = get_signal

    def get_macro(self, ts_ms):
        return self.values

    def get_market_multiplier(self, direction, ts_ms):
        return 1.0


BASE = {"imbalance_ma5": 0.0, "imbalance_persistence": 0.5, "withdrawal_velocity": 0.0, "depth_quality": 0.8, "fill_probability": 0.5,
        "cascade_count": 0, "regime_signal": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "hold"),
    [({"cascade_count": 2}, 60), ({"withdrawal_velocity": -0.3}, 48), ({"regime_signal": -1, "imbalance_ma5": -0.2}, 180), ({}, 120),
     ({"regime_signal": 1, "imbalance_ma5": 0.12}, 48)],
)  # fmt: skip
def test_effects_never_compound_from_bar_to_bar(values, hold):
    """A hold of 120 bars under the same book on every bar ends at its factor once: 60, not 30, 15, 7 ..."""
    config = load_profile(fixed_tp_pct=0.09, stop_loss_pct=0.5, max_hold_bars=120)
    engine, rows = NDAlphaEngine(config), day(seed=3, bars=700, assets=8)
    rows.closes[:] = rows.closes[:1] * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-5, rows.closes.shape), axis=0))
    engine.set_ob_engine(Constant(**BASE | values))
    engine.process_rows("2025-01-01", rows)
    assert {(t["reason"], t["bars_held"]) for t in engine.trades if t["reason"] == "MAX_HOLD"} == {("MAX_HOLD", hold)}
    assert all(t["bars_held"] <= hold for t in engine.trades)


@settings(max_examples=200, deadline=None)
@given(
    cascade=st.integers(0, 5), regime=st.sampled_from([-1.0, 0.0, 1.0, math.nan]), eff=st.floats(-1, 1) | st.just(math.nan),
    withdrawal=st.floats(-1, 2) | st.just(math.nan), pnl=st.floats(-0.1, 0.1),
)  # fmt: skip
def test_the_limits_of_a_bar_are_bounded_multiples_of_the_base(cascade, regime, eff, withdrawal, pnl):
    """tp in [0.6, 1.4] of the base, hold in [0.4, 1.5], the stop the base's or 10 %; nothing remembers."""
    base = (0.0095, 1.0, 120)
    first = adjust_exits_nb(base, cascade, regime, eff, withdrawal, pnl)
    assert adjust_exits_nb(base, cascade, regime, eff, withdrawal, pnl) == first
    assert 0.6 * base[0] - 1e-15 <= first[0] <= 1.4 * base[0] + 1e-15
    assert first[1] in (1.0, 0.1)
    assert 48 <= first[2] <= 180
    assert isinstance(first[2], int)


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("stop", [150, 400, 777, 1439])
def test_future_book_rows_change_no_past_decision(archive, direction, stop):
    """Everything after bar ``stop`` spoilt or dropped: every trade closed until then, and the position, are the same."""
    date, rows, book = archive[0]
    cut = DayRows(rows.assets, rows.closes[:stop], rows.vel_div[:stop], rows.v50[:stop], rows.v750[:stop], rows.ts_ms[:stop])
    whole = NDAlphaEngine(CONFIG)
    whole.set_ob_engine(TableOrderBook([book], direction))
    whole.process_rows(date, rows, direction=direction)
    past = [t for t in whole.trades if t["exit_bar"] < stop]
    features, snapshots = book.features.copy(), book.snapshot_ts.copy()
    features[stop:], snapshots[stop:] = features[stop:][::-1].copy(), np.where(snapshots[stop:][::-1] > 0, book.ts[stop:, None], 0)
    dropped = replace(book, ts=book.ts[:stop], features=book.features[:stop], snapshot_ts=book.snapshot_ts[:stop])
    for changed in (replace(book, features=features, snapshot_ts=snapshots), dropped):
        engine = NDAlphaEngine(CONFIG)
        engine.set_ob_engine(TableOrderBook([changed], direction))
        engine.process_rows(date, cut, direction=direction)
        assert engine.trades == past
    long = NDAlphaEngine(CONFIG)
    long.set_ob_engine(TableOrderBook([replace(book, features=features, snapshot_ts=snapshots)], direction))
    long.process_rows(date, rows, direction=direction)
    assert [t for t in long.trades if t["exit_bar"] < stop] == past


def test_a_book_known_in_part_equals_the_oracle():
    """Random books that are unknown at times, three lanes of chance; the branch of every answer is taken somewhere."""
    for direction in (-1, 1):
        watch = Watch(RandomBook(9), direction)
        engine, oracle = NDAlphaEngine(CONFIG), OracleEngine(CONFIG, ob=watch)
        engine.set_ob_engine(watch)
        rows = day(seed=17, bars=500, assets=9, missing=0.02)
        engine.process_rows("2025-01-01", rows, direction=direction)
        oracle.day("2025-01-01", rows.assets, rows.closes, signals(rows), direction)
        assert_same_trades(engine.trades, oracle.trades)
        assert set(watch.seen) == {"signal known", "signal unknown", "OB-3 up", "OB-3 down", "OB-3 neutral"}
