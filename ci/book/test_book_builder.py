"""Books out of messages: real ones of four venues, and every way in which a message can be bad."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_book import OracleBook

from dolphin.book.builder import BookBuilder, L2Message
from dolphin.book.tracker import BookTracker
from dolphin.errors import MalformedFile, SchemaError
from dolphin.storage.l2_events import read_l2_events
from dolphin.types import BOOK_FEATURES, BookVerdict

BIDS, ASKS = [(99.0, 1.0), (98.0, 2.0), (97.0, 3.0)], [(101.0, 1.0), (102.0, 2.0)]
OK = BookVerdict.OK


def started(**settings):
    builder = BookBuilder(**settings)
    assert builder.snapshot(1_000, BIDS, ASKS, seq=10) is OK
    return builder


def levels(builder):
    top = builder.last_good
    return top.ts_ms, [tuple(x) for x in top.bids.tolist()], [tuple(x) for x in top.asks.tolist()]


@pytest.mark.real_data
def test_real_messages_of_four_venues_give_books_that_never_cross(shared_data):
    """Bybit, Coinbase and BitMEX replay clean, level for level like a dict; Binance sends no snapshot here and so gives no book."""
    builders, plain = defaultdict(BookBuilder), defaultdict(lambda: {1.0: {}, -1.0: {}})
    counts, books = defaultdict(Counter), defaultdict(int)
    for message in read_l2_events(shared_data / "book" / "l2_events_30s.parquet"):
        key = (message.venue, message.symbol)
        verdict = builders[key].take(message)
        counts[message.venue][f"{message.kind} {verdict.name}"] += 1
        if message.kind == "snapshot":
            plain[key] = {1.0: {}, -1.0: {}}
        if message.kind in ("snapshot", "update") and builders[key].following:
            for side, price, size in message.rows.tolist():
                plain[key][side][price] = size
                if size == 0:
                    del plain[key][side][price]
            books[message.venue] += 1
            top = builders[key].last_good
            assert top.bids[0, 0] < top.asks[0, 0]
            if books[message.venue] % 50 == 1:
                assert [tuple(x) for x in top.bids.tolist()] == sorted(plain[key][1.0].items(), reverse=True)[:20]
                assert [tuple(x) for x in top.asks.tolist()] == sorted(plain[key][-1.0].items())[:20]
    for venue, symbols in (("bybit", 10), ("coinbase", 10), ("bitmex", 10)):
        assert set(counts[venue]) == {"snapshot OK", "update OK", "trade OK"}
        assert counts[venue]["snapshot OK"] == symbols
    assert set(counts["binance_futures"]) == {"update NO_SNAPSHOT", "bbo OK", "trade OK"}
    assert all(builder.last_good is None for (venue, _), builder in builders.items() if venue == "binance_futures")


@pytest.mark.real_data
def test_real_books_give_features_in_their_bounds(shared_data):
    """Sampled every 500 ms, every book of the three venues is accepted and every feature is the oracle's."""
    builders, last = defaultdict(BookBuilder), {}
    messages = [m for m in read_l2_events(shared_data / "book" / "l2_events_30s.parquet") if m.venue != "binance_futures"]
    symbols = sorted({f"{m.venue} {m.symbol}" for m in messages})
    tracker, oracles = BookTracker(symbols), defaultdict(OracleBook)
    for message in messages:
        key = f"{message.venue} {message.symbol}"
        builders[key].take(message)
        top = builders[key].last_good
        if top is not None and message.ts_ms - last.get(key, 0) >= 500:
            last[key] = message.ts_ms
            tracker.update(tracker.place[key], message.ts_ms, top.bids, top.asks)
            assert oracles[key].update(message.ts_ms, top.bids.tolist(), top.asks.tolist()) == "OK"
            np.testing.assert_allclose(tracker.features[tracker.place[key]], oracles[key].features(), rtol=1e-11, atol=1e-9)
    assert set(tracker.counts) == {"OK"}
    assert tracker.counts["OK"] > 1_000
    seen = tracker.features
    assert (seen[:, BOOK_FEATURES.index("spread_bps")] > 0).all()
    assert (np.abs(seen[:, BOOK_FEATURES.index("imbalance")]) <= 1).all()
    assert np.isfinite(seen[:, BOOK_FEATURES.index("withdrawal_velocity")]).mean() > 0.5


BAD = {
    "crossed": ([(101.0, 1.0)], ASKS, "CROSSED"),
    "locked": ([(101.0, 1.0)], [(101.0, 1.0)], "CROSSED"),
    "one side empty": (BIDS, [], "EMPTY"),
    "empty": ([], [], "EMPTY"),
    "negative": (BIDS, [(101.0, -1.0)], "BAD_SIZE"),
    "NaN size": (BIDS, [(101.0, math.nan)], "NOT_FINITE"),
    "NaN price": ([(math.nan, 1.0), *BIDS], ASKS, "NOT_FINITE"),
    "duplicated": ([*BIDS, BIDS[1]], ASKS, "DUPLICATE"),
    "not numbers": (BIDS, [("a", "b")], "NOT_FINITE"),
    "not pairs": (BIDS, [(1.0, 2.0, 3.0)], "NOT_FINITE"),
    "None": (BIDS, None, "NOT_FINITE"),
}


@pytest.mark.parametrize(("bids", "asks", "why"), BAD.values(), ids=BAD)
def test_a_bad_snapshot_is_refused_counted_and_the_last_good_book_stays(bids, asks, why):
    """And the book goes on following its updates."""
    builder = started()
    before = levels(builder)
    assert builder.snapshot(2_000, bids, asks, seq=11).name == why
    assert builder.counts == {"OK": 1, why: 1}
    assert levels(builder) == before
    assert builder.update(2_000, [(1, 99.5, 4.0)], seq=11) is OK
    assert levels(builder)[1][0] == (99.5, 4.0)
    fresh = BookBuilder()
    assert fresh.snapshot(2_000, bids, asks).name == why
    assert fresh.last_good is None


def test_snapshots_come_in_any_order_of_levels_but_not_out_of_time():
    """Venues list asks worst first; an older or lower-numbered snapshot is not the present."""
    builder = BookBuilder()
    assert builder.snapshot(1_000, BIDS[::-1], ASKS[::-1], seq=10) is OK
    assert levels(builder) == (1_000, BIDS, ASKS)
    assert builder.snapshot(999, BIDS, ASKS, seq=12).name == "OUT_OF_ORDER"
    assert builder.snapshot(1_001, BIDS, ASKS, seq=9).name == "OUT_OF_ORDER"
    assert builder.snapshot(0, BIDS, ASKS).name == "OUT_OF_ORDER"


def test_a_gap_stops_the_book_until_a_snapshot():
    """A lost update is not guessed: the last good book is served with its own time, later updates are ignored."""
    builder = started()
    assert builder.update(1_100, [(1, 99.5, 1.0)], seq=11) is OK
    assert builder.update(1_100, [(1, 99.6, 1.0)], seq=11).name == "OUT_OF_ORDER"
    assert builder.update(1_200, [(1, 99.7, 1.0)], seq=13).name == "GAP"
    assert not builder.following
    assert builder.update(1_300, [(1, 99.8, 1.0)], seq=14).name == "NO_SNAPSHOT"
    assert levels(builder) == (1_100, [(99.5, 1.0), *BIDS], ASKS)
    assert builder.snapshot(1_400, BIDS, ASKS, seq=3) is OK
    assert builder.update(1_500, [(-1, 101.0, 0.0)], seq=4) is OK
    assert levels(builder) == (1_500, BIDS, ASKS[1:])
    assert builder.counts == {"OK": 4, "OUT_OF_ORDER": 1, "GAP": 1, "NO_SNAPSHOT": 1}


def test_a_venue_that_names_the_previous_message_is_followed_by_that():
    """Numbers may jump as long as each message names the one before."""
    builder = started()
    assert builder.update(1_100, [(1, 99.5, 1.0)], seq=20, previous=10) is OK
    assert builder.update(1_200, [(1, 99.5, 2.0)], seq=31, previous=20) is OK
    assert builder.update(1_300, [(1, 99.5, 3.0)], seq=50, previous=40).name == "GAP"


def test_a_book_crossed_by_an_update_is_not_served_and_recovers():
    """The last good one is, with its time, until an update uncrosses it."""
    builder = started()
    assert builder.update(1_100, [(1, 101.5, 1.0)]).name == "CROSSED"
    assert levels(builder) == (1_000, BIDS, ASKS)
    assert builder.update(1_200, [(1, 90.0, 1.0)]).name == "CROSSED"
    assert builder.update(1_300, [(-1, 101.0, 0.0)]) is OK
    assert levels(builder) == (1_300, [(101.5, 1.0), *BIDS, (90.0, 1.0)], ASKS[1:])
    assert builder.counts["CROSSED"] == 2


def test_a_book_that_lost_a_side_is_not_served():
    """All asks removed: the last good book stays until there are asks again."""
    builder = started()
    assert builder.update(1_100, [(-1, 101.0, 0.0), (-1, 102.0, 0.0)]).name == "EMPTY"
    assert levels(builder) == (1_000, BIDS, ASKS)
    assert builder.update(1_200, [(-1, 103.0, 1.0)]) is OK
    assert levels(builder) == (1_200, BIDS, [(103.0, 1.0)])


@pytest.mark.parametrize(
    ("change", "why"),
    [((1, math.nan, 1.0), "NOT_FINITE"), ((1, 99.0, -1.0), "BAD_SIZE"), ((0, 99.0, 1.0), "BAD_SIZE"), ((1, "x", 1.0), "NOT_FINITE"),
     ((1, 99.0), "NOT_FINITE")],
)  # fmt: skip
def test_a_malformed_update_is_a_lost_one(change, why):
    """Nothing of it is applied and the book waits for a snapshot."""
    builder = started()
    assert builder.update(1_100, [change]).name == why
    assert not builder.following
    assert levels(builder) == (1_000, BIDS, ASKS)


def test_an_update_from_the_past_without_a_number_is_a_lost_one():
    """Its place cannot be known."""
    builder = started()
    assert builder.update(900, [(1, 99.0, 5.0)]).name == "OUT_OF_ORDER"
    assert not builder.following


def test_bbo_and_trade_are_judged_but_change_nothing():
    """A touch that disagrees is counted; a crossed or malformed one is refused."""
    builder = started()
    before = levels(builder)
    assert builder.bbo(1_100, 99.0, 101.0) is OK
    assert builder.counts["bbo_disagrees"] == 0
    assert builder.bbo(1_100, 99.5, 101.0) is OK
    assert builder.counts["bbo_disagrees"] == 1
    assert builder.bbo(1_100, 101.0, 101.0).name == "CROSSED"
    assert builder.bbo(1_100, math.nan, 101.0).name == "NOT_FINITE"
    assert builder.bbo(1_100, -1.0, 101.0).name == "BAD_SIZE"
    assert builder.trade(1_100, 100.0, 1.0) is OK
    assert builder.trade(1_100, math.inf, 1.0).name == "NOT_FINITE"
    assert builder.trade(1_100, 100.0, -1.0).name == "BAD_SIZE"
    assert builder.counts["trade"] == 1
    assert levels(builder) == before
    assert builder.take(L2Message("v", "s", "auction", 1, np.zeros((1, 3)))).name == "NOT_FINITE"


def test_a_book_of_thousands_of_levels_grows():
    """Room is made for snapshots and updates of any size."""
    builder = started()
    assert builder.update(1_100, [(1, 50.0 + k / 1000, 1.0) for k in range(3_000)]) is OK
    many = [(50.0 + k / 1000, 1.0) for k in range(9_000)]
    assert builder.snapshot(1_200, many, ASKS) is OK
    assert levels(builder)[1] == sorted(many, reverse=True)[:20]


MESSAGE = st.tuples(
    st.sampled_from(["snapshot", "update", "bbo", "trade"]),
    st.integers(-50, 200),
    st.lists(
        st.tuples(
            st.sampled_from([1.0, -1.0, 0.0]),
            st.sampled_from([98.0, 99.0, 100.0, 101.0, 102.0, math.nan, -1.0]),
            st.sampled_from([0.0, 1.0, 2.0, -1.0, math.inf]),
        ),
        max_size=6,
    ),
)


@settings(max_examples=300, deadline=None)
@given(messages=st.lists(MESSAGE, max_size=30))
def test_whatever_comes_what_is_served_is_a_book(messages):
    """Never crossed, never half, best first, times never fall, every message counted once."""
    builder, ts, last = BookBuilder(), 1_000, 0
    for kind, step, rows in messages:
        ts += step
        builder.take(L2Message("venue", "X", kind, ts, np.array(rows, dtype=float).reshape(-1, 3)))
        top = builder.last_good
        if top is None:
            continue
        assert top.ts_ms >= last
        last = top.ts_ms
        assert len(top.bids)
        assert len(top.asks)
        assert top.bids[0, 0] < top.asks[0, 0]
        assert (np.diff(top.bids[:, 0]) < 0).all()
        assert (np.diff(top.asks[:, 0]) > 0).all()
        assert (top.bids > 0).all()
        assert (top.asks > 0).all()


def events(tmp_path, **spoilt):
    columns = {
        "recv_ts_us": pa.array([1_000_000, 1_000_000, 2_000_000]),
        "venue": ["a", "a", "a"],
        "symbol": ["X", "X", "X"],
        "kind": ["l2_snapshot", "l2_snapshot", "l2_update"],
        "side": ["B", "S", "B"],
        "price": [99.0, 101.0, 99.5],
        "size": [1.0, 1.0, 2.0],
    } | spoilt
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({name: column for name, column in columns.items() if column is not None}), path)
    return path


def test_rows_of_an_event_file_become_messages(tmp_path):
    """Rows of one message stand together; times are ms."""
    messages = list(read_l2_events(events(tmp_path)))
    assert [(m.kind, m.ts_ms, m.rows.tolist()) for m in messages] == [
        ("snapshot", 1_000, [[1.0, 99.0, 1.0], [-1.0, 101.0, 1.0]]),
        ("update", 2_000, [[1.0, 99.5, 2.0]]),
    ]


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [({"kind": ["l2_snapshot", "auction", "l2_update"]}, "column kind, row 1: 'auction' is none of"),
     ({"side": ["B", "S", "?"]}, "column side, row 2"), ({"price": None}, "column price: the column is missing")],
)  # fmt: skip
def test_a_foreign_event_file_is_refused(tmp_path, spoilt, why):
    """File, column and row are named."""
    with pytest.raises(SchemaError, match=why):
        list(read_l2_events(events(tmp_path, **spoilt)))
    (tmp_path / "events.parquet").write_bytes(b"no")
    with pytest.raises(MalformedFile, match=r"events\.parquet"):
        list(read_l2_events(tmp_path / "events.parquet"))
