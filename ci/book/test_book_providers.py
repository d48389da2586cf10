"""Providers: as of a moment, nothing stale, nothing later, never an exception; live and recorded answers are the same."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import oracle_book as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from dolphin.book.day import BookDay, check_book_day, day_of, first_ms
from dolphin.book.provider import LiveOrderBook, TableOrderBook
from dolphin.book.tracker import BookRecorder, BookTracker
from dolphin.engine.breaker import book_beta_factor
from dolphin.engine.order_book import book_rows
from dolphin.errors import ConfigError, QualityError
from dolphin.kernels.order_book import book_macro_nb, book_value_nb
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import BOOK_FEATURES, OB_ASSET, BookVerdict

DATE = "2025-01-01"
START = first_ms(DATE)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
F = {name: k for k, name in enumerate(BOOK_FEATURES)}
QUESTIONS = ("get_signal", "get_placement")


def book_day(date=DATE, samples=50, sample_ms=60_000, seed=0, age=0, symbols=SYMBOLS):
    """Valid random features, every tenth value absent."""
    rng, start = np.random.default_rng(seed), first_ms(date)
    ts = start + sample_ms * np.arange(1, samples + 1, dtype=np.int64)
    features = rng.uniform(0.06, 0.94, (samples, len(symbols), len(BOOK_FEATURES)))
    for name in ("imbalance", "imbalance_ma5", "withdrawal_velocity"):
        features[:, :, F[name]] = rng.uniform(-0.6, 0.6, (samples, len(symbols)))
    features[:, :, F["depth_quality"]] *= 2
    features[rng.random((samples, len(symbols))) < 0.3, F["withdrawal_velocity"]] = math.nan
    snapshots = np.broadcast_to(ts[:, None] - age, (samples, len(symbols))).copy()
    gone = rng.random(snapshots.shape) < 0.1
    snapshots[gone], features[gone] = 0, math.nan
    return BookDay(date, sample_ms, symbols, ts, snapshots, features, "test")


def same(a, b):
    assert (a is None) == (b is None), (a, b)
    if a is not None:
        assert a.keys() == b.keys()
        np.testing.assert_array_equal(list(a.values()), list(b.values()))


def everything(ob, ts, symbols=SYMBOLS):
    return [*(getattr(ob, q)(s, ts) for q in QUESTIONS for s in symbols), ob.get_macro(ts)]


def test_answers_are_the_row_at_the_sample():
    """Each value under its name; the fill is the lane's closing side."""
    day = book_day()
    short, long = TableOrderBook([day]), TableOrderBook([day], direction=1)
    for row, ts in enumerate(day.ts.tolist()):
        for j, symbol in enumerate(SYMBOLS):
            f = day.features[row, j]
            if not day.snapshot_ts[row, j]:
                assert short.get_signal(symbol, ts) is None
                assert short.get_placement(symbol, ts) is None
                continue
            want = dict(zip(OB_ASSET[:3], f[1:4].tolist(), strict=True))
            same(short.get_signal(symbol, ts), want)
            assert short.get_placement(symbol, ts) == {"depth_quality": f[F["depth_quality"]], "fill_probability": f[F["fill_buy"]]}
            assert long.get_placement(symbol, ts)["fill_probability"] == f[F["fill_sell"]]
        want = oracle.macro(day.features[row], day.snapshot_ts[row], ts)
        np.testing.assert_allclose(list(short.get_macro(ts).values()), want, rtol=1e-12)
        for d in (-1, 1):
            eff, a = d * want[2], want[3]
            plain = 1 + min(0.20, eff * a) if eff > 0.10 else 1 - min(0.15, -eff * a) if eff < -0.10 else 1.0
            assert short.get_market_multiplier(d, ts) == pytest.approx(plain)


def test_nothing_older_than_five_seconds_is_known():
    """The sample's own snapshot counts, not the sample."""
    day = book_day(age=3_000)
    ob, ts = TableOrderBook([day]), int(day.ts[7])
    j = int(np.argmax(day.snapshot_ts[7] > 0))
    for later, known in ((0, True), (2_000, True), (2_001, False), (59_999, False)):
        assert (ob.get_signal(SYMBOLS[j], ts + later) is not None) == known
        assert (ob.get_macro(ts + later) is not None) == known
        assert ob.ob_stale(ts + later) != known


def test_moments_and_names_that_are_not_there_are_none():
    """Before, after, in between, unknown, nonsense: never an exception."""
    day = book_day()
    for ob in (TableOrderBook([day]), TableOrderBook([]), LiveOrderBook(BookTracker(SYMBOLS)), LiveOrderBook(BookTracker(()))):
        for ts in (0, -1, START - 1, int(day.ts[-1]) + 10_000, 2**60):
            assert everything(ob, ts, (*SYMBOLS, "", "NOPEUSDT")) == [None] * 11
            assert ob.get_market_multiplier(-1, ts) is None
            assert ob.ob_stale(ts)
            assert book_beta_factor(ob, SYMBOLS, ts) == 1.0


def test_midnight_belongs_to_the_day_that_it_ends_and_is_found_from_the_next():
    """The sample at 24:00 answers until the first sample of the next day."""
    first = book_day(samples=1440)
    second = book_day("2025-01-02", seed=1)
    ob, midnight = TableOrderBook([second, first]), START + 86_400_000
    assert int(first.ts[-1]) == midnight
    assert day_of(midnight) == DATE
    assert day_of(midnight + 1) == "2025-01-02"
    for later in (0, 4_000):
        same(ob.get_macro(midnight + later), TableOrderBook([first]).get_macro(midnight + later))
    same(ob.get_macro(int(second.ts[0])), TableOrderBook([second]).get_macro(int(second.ts[0])))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), stop=st.integers(1, 49), offset=st.integers(0, 59_999))
def test_later_rows_change_no_answer(seed, stop, offset):
    """As of a moment: dropping or spoiling every later row leaves the answers, bit for bit."""
    day = book_day(seed=seed)
    ts = int(day.ts[stop - 1]) + offset
    cut = BookDay(day.date, day.sample_ms, day.symbols, day.ts[:stop], day.snapshot_ts[:stop], day.features[:stop])
    other = book_day(seed=seed + 1)
    swapped = replace(day, features=np.concatenate([day.features[:stop], other.features[stop:]]),
                      snapshot_ts=np.concatenate([day.snapshot_ts[:stop], other.snapshot_ts[stop:]]))  # fmt: skip
    whole = everything(TableOrderBook([day]), ts)
    for changed in (cut, swapped):
        for a, b in zip(whole, everything(TableOrderBook([changed]), ts), strict=True):
            same(a, b)


def slow(ob):
    """The same provider without its ``fill_row`` and its ``recorded_rows``."""

    class Slow:
        get_signal, get_placement, get_macro, get_market_multiplier = (
            ob.get_signal,
            ob.get_placement,
            ob.get_macro,
            ob.get_market_multiplier,
        )

    return Slow()


@njit
def _read_nb(book, assets, macro):
    for row in range(book.rows.shape[0]):
        for field in range(5):
            macro[row, field] = book_macro_nb(book, row, field)
            for j in range(assets.shape[1]):
                assets[row, j, field] = book_value_nb(book, row, j, field)


def read(book, assets):
    """Every value as the loop's kernels read it: float64[n_bars, n_assets, 5] and float64[n_bars, 5]."""
    out = np.zeros((len(book.rows), len(assets), 5)), np.zeros((len(book.rows), 5))
    _read_nb(book, *out)
    return out


def assert_as_asked(ob, assets, direction, ts):
    """What is read in place is what the questions say, one by one; returns the book."""
    book, plain = book_rows(ob, assets, direction, ts), book_rows(slow(ob), assets, direction, ts)
    for got, want in zip(read(book, assets), read(plain, assets), strict=True):
        np.testing.assert_array_equal(got, want)
    return book


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_row_at_once_equals_the_questions_one_by_one(direction):
    """In any order of assets, with unknown ones, at and between the samples."""
    day = book_day(age=1_000)
    ob = TableOrderBook([day], direction)
    ts = np.concatenate([day.ts, day.ts + 3_999, day.ts + 4_001, [0, START]])
    for assets in (SYMBOLS, ("SOLUSDT", "NOPEUSDT", "BTCUSDT"), ("NOPEUSDT",), ()):
        plain, row = read(book_rows(slow(ob), assets, direction, ts), assets), (np.empty((len(assets), 5)), np.empty(5))
        for i, ts_ms in enumerate(ts.tolist()):
            ob.fill_row(assets, direction, ts_ms, *row)
            for got, want in zip(row, plain, strict=True):
                np.testing.assert_array_equal(got, want[i])
        assert np.isfinite(plain[1][:, 2]).any()


@pytest.mark.parametrize("direction", [-1, 1])
def test_bars_on_the_samples_read_the_recorded_day_and_ask_nothing(direction):
    """Every bar, asset and value of two synthetic days, in any order of assets, with unknown ones."""
    market = SyntheticMarket(assets=6, days=2, seed=5)
    days = list(SyntheticBook(market, snapshot_ms=10_000))
    ob = TableOrderBook(days, -direction)
    for day in days:
        for assets in (day.symbols, (*day.symbols[::-1], "NOPEUSDT"), ("NOPEUSDT",), ()):
            book = assert_as_asked(ob, assets, direction, day.ts)
            assert book.rows.tolist() == list(range(len(day.ts)))
            assert np.shares_memory(book.samples.features, day.features)
    assert np.isfinite(read(book_rows(ob, days[0].symbols, direction, days[0].ts), days[0].symbols)[0]).mean() > 0.9


@pytest.mark.parametrize("offset", [1, 2_500, 5_000, 5_001, 30_000, 59_999])
def test_bars_off_the_samples_read_what_is_still_fresh(offset):
    """A sample all of whose snapshots are fresh is read in place; the provider is asked only where some of them went stale."""
    day = next(iter(SyntheticBook(SyntheticMarket(assets=6, days=1, seed=5), snapshot_ms=2_500)))
    ob, ts = TableOrderBook([day]), day.ts[:400] + offset
    assert_as_asked(ob, day.symbols, -1, ts)
    book = assert_as_asked(TableOrderBook([replace(day, snapshot_ts=day.snapshot_ts - 2_000 * (day.snapshot_ts > 0))]), day.symbols, -1, ts)
    known = (day.snapshot_ts[:400] > 0).any(axis=1)
    assert (book.rows >= 0).sum() == (known.sum() if offset <= 3_000 else 0)
    assert len(book.asset) == 1


@st.composite
def archives(draw):
    """Up to three recorded days (some missing) with symbols of their own, samples lost, and snapshots of any age up to 5 s."""
    days = []
    for date in draw(st.sets(st.sampled_from(("2025-01-01", "2025-01-02", "2025-01-03")), min_size=1)):
        seed = draw(st.integers(0, 10_000))
        rng = np.random.default_rng(seed)
        symbols = tuple(rng.permutation(SYMBOLS)[: rng.integers(1, 4)].tolist())
        sample_ms = draw(st.sampled_from((1_000, 5_000, 60_000)))
        day = book_day(date, 86_400_000 // sample_ms if sample_ms == 60_000 else 60, sample_ms, seed, symbols=symbols)
        ages = rng.choice([0, 1, 500, 2_500, 4_999, 5_000], day.snapshot_ts.shape) * (day.snapshot_ts > 0)
        kept = np.sort(rng.permutation(len(day.ts))[: draw(st.integers(1, len(day.ts)))])
        days.append(replace(day, ts=day.ts[kept], features=day.features[kept], snapshot_ts=(day.snapshot_ts - ages)[kept]))
    return days


@settings(max_examples=150, deadline=None)
@given(days=archives(), seed=st.integers(0, 10_000), direction=st.sampled_from((-1, 1)), ascending=st.booleans())
def test_the_recorded_days_say_what_the_questions_say(days, seed, direction, ascending):
    """Lost samples, stale parts, days without books, midnights, other symbols, unknown and unordered times; asked in several turns."""
    rng, ob = np.random.default_rng(seed), TableOrderBook(days, int(np.random.default_rng(seed).choice([-1, 1])))
    assets = tuple(rng.permutation([*SYMBOLS, "NOPEUSDT"])[: rng.integers(0, 5)].tolist())
    samples = np.concatenate([day.ts for day in days])
    for _ in range(3):
        ts = rng.choice(samples, 40) + rng.choice([0, 0, 1, -1, 499, 2_500, 4_999, 5_000, 5_001, 30_000, 86_400_000], 40)
        ts[rng.random(40) < 0.05] = 0
        if rng.random() < 0.7:
            last = START + 86_400_000 * int(rng.integers(1, 4))
            ts = ts[(ts > last - 86_400_000) & (ts <= last)]
        assert_as_asked(ob, assets, direction, np.sort(ts) if ascending else ts)


def test_only_moments_that_the_day_does_not_settle_are_asked():
    """Partly stale samples and the reach of the day before; never a day that is not recorded."""
    first, third = book_day(samples=1440, age=0), book_day("2025-01-03", seed=1)
    first.snapshot_ts[5], first.features[5] = first.ts[5] - np.array([0, 4_000, 0]), 0.5
    ob = TableOrderBook([first, third])
    assert assert_as_asked(ob, SYMBOLS, -1, first.ts[5:6] + np.array([0, 1_000, 1_001, 5_000, 5_001])).rows.tolist() == [5, 5, -3, -2, -1]
    second = START + 86_400_000 + 60_000 * np.arange(1440, dtype=np.int64)
    assert assert_as_asked(ob, SYMBOLS, -1, second).rows.tolist() == [1439] + [-1] * 1439
    assert assert_as_asked(ob, SYMBOLS, -1, second[1:]).rows.tolist() == [-1] * 1439
    begin = int(third.ts[0]) - 60_000
    assert assert_as_asked(ob, SYMBOLS, -1, np.array([begin, begin + 59_999, begin + 60_000])).rows.tolist() == [-1, -1, 0]
    whole = replace(
        third, date="2025-01-02", ts=third.ts - 86_400_000, snapshot_ts=third.snapshot_ts - 86_400_000 * (third.snapshot_ts > 0)
    )
    nobody = replace(whole, symbols=(), features=whole.features[:, :0], snapshot_ts=whole.snapshot_ts[:, :0])
    assert assert_as_asked(TableOrderBook([first, nobody]), SYMBOLS, -1, second).rows.tolist() == [1439] + [-1] * 1439
    ob = TableOrderBook([first, whole, third])
    assert assert_as_asked(ob, SYMBOLS, -1, second[:3]).rows.tolist() == [-2, 0, 1]
    assert assert_as_asked(ob, SYMBOLS, -1, np.empty(0, dtype=np.int64)).rows.tolist() == []


def snapshots(n, seed=0):
    rng = np.random.default_rng(seed)
    for k in range(n):
        ts = START + 500 * (k + 1)
        for j in range(len(SYMBOLS)):
            away = np.cumsum(rng.uniform(0.2, 1, 20)) * 1e-4
            sizes = np.exp(rng.normal(0, 1, (2, 20)))
            if rng.random() < 0.95:
                yield ts, j, np.stack([100 * (1 - away), sizes[0]], 1), np.stack([100 * (1 + away), sizes[1]], 1)


def test_recorded_answers_equal_the_live_ones():
    """What the recorder samples is what the live provider said at that moment; a stale asset is absent in both."""
    tracker, rows = BookTracker(SYMBOLS), {}
    recorder, live = BookRecorder(tracker, 5_000, "test"), LiveOrderBook(tracker)
    last = START
    for ts, j, bids, asks in snapshots(200):
        if ts > last and last % 5_000 == 0 and last > START:
            recorder.sample(last)
            rows[last] = everything(live, last)
        last = ts
        if not (j == 2 and 30_000 < ts - START < 60_000):
            assert tracker.update(j, ts, bids, asks) is BookVerdict.OK
    day = recorder.close()
    assert recorder.close() is None
    check_book_day(day)
    recorded = TableOrderBook([day])
    assert len(rows) > 15
    assert any(answer is None for answers in rows.values() for answer in answers)
    for ts, answers in rows.items():
        for a, b in zip(answers, everything(recorded, ts), strict=True):
            same(a, b)


def test_the_recorder_closes_a_day_at_its_end():
    """The first sample after 24:00 hands over the day before."""
    tracker = BookTracker(SYMBOLS)
    recorder = BookRecorder(tracker, 60_000)
    assert recorder.sample(START + 60_000) is None
    assert recorder.sample(START + 86_400_000) is None
    day = recorder.sample(START + 86_460_000)
    assert (day.date, day.ts.tolist()) == (DATE, [START + 60_000, START + 86_400_000])
    assert recorder.close().date == "2025-01-02"


def test_bad_snapshots_are_counted_and_do_not_reach_the_answers():
    """The last good one answers until it is stale."""
    tracker = BookTracker(SYMBOLS)
    live, good = LiveOrderBook(tracker), (np.array([[99.0, 1.0]]), np.array([[101.0, 3.0]]))
    assert tracker.update(0, 1_000, *good) is BookVerdict.OK
    known = everything(live, 1_500)
    assert tracker.update(0, 1_500, good[1], good[0]) is BookVerdict.CROSSED
    assert tracker.update(0, 1_500, good[0][:0], good[1]) is BookVerdict.EMPTY
    assert tracker.update(0, 1_000, *good) is BookVerdict.OUT_OF_ORDER
    levels, held = np.full((3, 2, 20, 2), math.nan), np.ones((3, 2), dtype=np.int64)
    assert tracker.update_all(np.array([1_500, 0, 0]), levels, held)[0] == BookVerdict.NOT_FINITE
    assert tracker.counts == {"OK": 1, "CROSSED": 1, "EMPTY": 1, "OUT_OF_ORDER": 1, "NOT_FINITE": 1}
    for a, b in zip(known, everything(live, 1_500), strict=True):
        same(a, b)
    assert live.get_signal("BTCUSDT", 6_000) is not None
    assert live.get_signal("BTCUSDT", 6_001) is None
    assert live.get_signal("BTCUSDT", 999) is None
    assert live.ob_stale(1_500)
    assert live.get_macro(1_500)["n_stale"] == 2
    for j in (1, 2):
        tracker.update(j, 1_600, *good)
    assert not live.ob_stale(1_600)
    assert live.get_macro(1_600)["n_assets"] == 3


SPOILT = {
    "a look ahead": (lambda d: d.snapshot_ts.__setitem__((3, 0), d.ts[3] + 1), "later than its sample", "snapshot_ts"),
    "stale": (lambda d: d.snapshot_ts.__setitem__((3, 0), d.ts[3] - 5_001), "was stale", "snapshot_ts"),
    "negative time": (lambda d: d.snapshot_ts.__setitem__((3, 0), -1), "negative", "snapshot_ts"),
    "time twice": (lambda d: d.ts.__setitem__(3, d.ts[2]), "repeated or decreases", "ts"),
    "another day": (lambda d: d.ts.__setitem__(slice(None), d.ts + 86_400_000), "not of 2025-01-01", "ts"),
    "off the grid": (lambda d: d.ts.__setitem__(49, d.ts[49] + 1), "off the grid", "ts"),
    "NaN imbalance": (lambda d: d.features.__setitem__((3, 0, 1), math.nan), "is not in", "imbalance_ma5"),
    "infinite quality": (lambda d: d.features.__setitem__((3, 0, 4), math.inf), "is not in", "depth_quality"),
    "imbalance of 2": (lambda d: d.features.__setitem__((3, 0, 0), 2.0), "is not in", "imbalance"),
    "infinite depth": (lambda d: d.features.__setitem__((3, 0, 10), math.inf), "is not in", "depth"),
    "a value from nowhere": (
        lambda d: (d.snapshot_ts.__setitem__((3, 0), 0), d.features.__setitem__((3, 0, 3), 0.1)),
        "without a snapshot",
        "i",
    ),
}


@pytest.mark.parametrize(("spoil", "why", "column"), SPOILT.values(), ids=SPOILT)
def test_a_day_that_breaks_a_rule_is_refused(spoil, why, column):
    """Before a run, with column and sample named."""
    day = book_day()
    day.snapshot_ts[3, 0], day.features[3, 0] = day.ts[3], np.full(len(BOOK_FEATURES), 0.5)
    spoil(day)
    with pytest.raises(QualityError, match=f"column {column}.*, row (0|3|49): .*{why}"):
        TableOrderBook([day])


def test_wrong_settings_are_refused():
    """Direction, sample grid, date, a day twice."""
    day = book_day()
    with pytest.raises(ConfigError, match="direction = 0"):
        TableOrderBook([day], direction=0)
    with pytest.raises(QualityError, match="given twice"):
        TableOrderBook([day, day])
    with pytest.raises(QualityError, match="does not divide a day"):
        check_book_day(replace(day, sample_ms=7_001))
    for misshapen in (
        replace(day, features=day.features[:, :2]),
        replace(day, snapshot_ts=day.snapshot_ts[1:]),
        replace(day, symbols=("A",)),
    ):
        with pytest.raises(QualityError, match=r"wanted 50 samples of [13] symbols and 11 features"):
            TableOrderBook([misshapen])
    with pytest.raises(QualityError, match="not a date"):
        check_book_day(replace(day, date="soon"))
