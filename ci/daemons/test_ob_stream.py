"""The order-book service and what the trader makes of it: recorded features as of each moment, exchange books through the tracker."""

from __future__ import annotations

import asyncio
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from daemon_worlds import World
from lane_worlds import START_MS, Teller, engine_run, replay_of, settings_of

from daemons.books import BookFeed, BookSource, TrackedBooks
from daemons.ccxt_books import CcxtFeed
from daemons.ccxt_client import exchange_client
from daemons.grid_book import BOOK, GridOrderBook
from daemons.ob_stream import BookService
from daemons.scanner import ScannerService
from daemons.trader import TraderService
from daemons.universe_books import UniverseBooks
from dolphin.book.tracker import BookTracker
from dolphin.config import PathsConfig
from dolphin.deployment import FeedConfig
from dolphin.errors import ConfigError
from dolphin.grid.features import ShardedFeatureStore, feature_key, shard_map, shard_of
from dolphin.grid.maps import FEATURES, HEARTBEAT
from dolphin.lane.scan_log import universe_entry
from dolphin.storage.book_file import RecordedOrderBook, read_book_day, write_book_day
from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import BOOK_FEATURES, OB_MACRO

DATE = "2025-01-02"
MINUTE = 60_000


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Recorded books of the calm market's first two days, a sample a bar."""
    folder = tmp_path_factory.mktemp("books")
    for day in SyntheticBook(SyntheticMarket(14, 2, 60, 7, "2025-01-01"), snapshot_ms=20_000):
        write_book_day(folder, day)
    return folder


def book_world(world_of, market, books, speed=600.0, **given):
    from msgspec.structs import replace

    settings = replace(settings_of(book=True, **given), paths=PathsConfig(book=str(books)))
    return world_of(settings=settings, replay=replay_of(market, DATE, DATE, speed=speed))


def told(world, symbol):
    return ShardedFeatureStore(world.grid).get(symbol, BOOK)


def test_the_shards_hold_the_recorded_features_of_the_moment(world_of, market, books):
    world, day = book_world(world_of, market, books), read_book_day(books / f"{DATE}.parquet")
    world.start(BookService)
    for _ in range(6):
        world.run(0.97)
        row = int(day.ts.searchsorted(world.clock.market_ms(), side="right")) - 1
        row = max(k for k in (row - 1, row) if told(world, day.symbols[0])["sample_ts"] == day.ts[k])
        for place, symbol in enumerate(day.symbols):
            values = told(world, symbol)
            if day.snapshot_ts[row, place]:
                got = [np.nan if values[name] is None else values[name] for name in BOOK_FEATURES]
                np.testing.assert_array_equal(got, day.features[row, place])
                assert values["snapshot_ts"] == day.snapshot_ts[row, place]


def test_the_macro_record_is_the_providers_answer_with_medians(world_of, market, books):
    world = book_world(world_of, market, books)
    service = world.start(BookService)
    world.run(2.05)
    macro, sample = world.grid.get(FEATURES, "ob_macro"), service._last
    recorded = RecordedOrderBook(books, [DATE]).get_macro(sample.ts_ms)
    assert {name: macro[name] for name in OB_MACRO[:4]} == {name: recorded[name] for name in OB_MACRO[:4]}
    assert macro["n_assets"] == 14
    assert macro["n_stale"] == int((sample.times == 0).sum())
    quality = np.nanmedian(sample.features[:, BOOK_FEATURES.index("depth_quality")])
    assert macro["depth_quality"] == min(1.0, quality)
    assert 0.3 < macro["fill_probability"] < 0.9


def test_a_slow_grid_gets_fewer_books_and_every_heartbeat(world_of, market, books):
    """Each answer takes 2 s, a sample 20 s: the newest one is told, and no heartbeat is later than 30 s."""
    world = book_world(world_of, market, books, speed=6_000.0)
    service, beats = world.start(BookService), []
    fast, store = world.grid._store_many, world.grid._store

    def slow(name, texts):
        world.clock.advance(2.0)
        fast(name, texts)

    def heard(name, key, text, ttl_s):
        beats.extend([world.clock.monotonic()] * (name == HEARTBEAT))
        store(name, key, text, ttl_s)

    world.grid._store_many, world.grid._store = slow, heard
    world.run(200)
    assert len(beats) >= 6
    assert max(np.diff(beats)) < 30.0
    assert service._last is not None


def test_the_grids_book_answers_as_the_recording_does_also_for_a_bar_that_is_late(world_of, market, books):
    """Five samples on, a bar is still judged by the books of its own close."""
    world, recorded = book_world(world_of, market, books), RecordedOrderBook(books, [DATE])
    world.start(BookService)
    book = GridOrderBook(world.grid)
    book.drain()
    names = SyntheticMarket(14, 2, 60, 7, "2025-01-01").symbols
    for _ in range(4):
        world.run(1.0)
        book.drain()
        for late in (0, 1, 5):
            rows = np.full((2, 14, 5), 9.0), np.full((2, 5), 9.0)
            for k, provider in enumerate((book, recorded)):
                provider.fill_row(names, -1, book.heard_ms - late * MINUTE, rows[0][k], rows[1][k])
            np.testing.assert_array_equal(*rows[0])
            np.testing.assert_array_equal(*rows[1])
    assert book.get_signal(names[0], book.heard_ms + 5_001) is None
    assert book.refused == 0


def test_a_replay_with_books_gives_the_engines_own_trades(world_of, market, calm, books):
    """Through the shards, bar by bar; the journal holds every row of the book that was read."""
    world = book_world(world_of, market, books)
    teller = world.start(Teller)
    teller.date = DATE
    for kind in (ScannerService, TraderService, BookService):
        world.start(kind)
    trader = world.runners[2].service
    world.run(20, until=lambda: trader.lane.engine.bar_count == 160)
    engine = engine_run(world.settings, calm.state.days, book=RecordedOrderBook(books, [DATE]), first=1)
    without = engine_run(world.settings, calm.state.days, first=1)
    assert engine.trades
    assert trader.lane.engine.trades == engine.trades != without.trades
    bar = trader.context.journal.last(Kind.BAR).payload
    assert len(bar["told"]["book"]) > 600
    world.end(trader, killed=True)
    again = world.start(TraderService)
    world.run(0.2)
    assert again.lane.engine.trades == engine.trades
    assert not again._safe.engaged


@pytest.mark.parametrize(
    "text",
    [
        "no json", '{"schema":"dolphin.feature/1","ts_ms":1}', '{"schema":"dolphin.feature/1","ts_ms":1,"value":7}',
        '{"schema":"dolphin.feature/1","ts_ms":1,"value":{"snapshot_ts":9}}',
    ],
)  # fmt: skip
def test_what_is_no_book_is_refused_and_nothing_is_known(world, text):
    world.grid.plant(shard_map(shard_of("BTCUSDT")), feature_key("BTCUSDT", BOOK), text)
    book = GridOrderBook(world.grid)
    book.drain()
    assert book.get_signal("BTCUSDT", START_MS) is None


@pytest.mark.parametrize(
    "change", [{"imbalance_ma5": 3.0}, {"snapshot_ts": None}, {"snapshot_ts": -4}, {"imbalance": None}, {"sample_ts": 5}]
)
def test_impossible_features_and_older_snapshots_are_refused(world, change):
    good = dict.fromkeys(BOOK_FEATURES, 0.5) | {"snapshot_ts": START_MS, "sample_ts": START_MS}
    store, book = ShardedFeatureStore(world.grid), GridOrderBook(world.grid)
    book.drain()
    store.put("BTCUSDT", BOOK, good)
    store.put("BTCUSDT", BOOK, {**good, "snapshot_ts": START_MS + 1, "sample_ts": START_MS + 1} | change)
    store.put("BTCUSDT", BOOK, {**good, "snapshot_ts": START_MS - 1000, "imbalance_ma5": -0.5})
    book.drain()
    assert book.refused == 2
    assert book.get_signal("BTCUSDT", START_MS + 10)["imbalance_ma5"] == 0.5


def test_a_recording_that_ends_becomes_stale(world_of, market, books):
    world = book_world(world_of, market, books, speed=6_000.0)
    world.start(BookService)
    world.run(16)
    macro = world.grid.get(FEATURES, "ob_macro")
    assert macro["n_stale"] == macro["n_assets"] == 14
    assert macro["depth_quality"] is None


def test_without_books_the_service_says_so_and_lives_on(world):
    service = world.start(BookService)
    world.run(11)
    assert service.status == "no_source"
    assert world.grid.get(FEATURES, "ob_macro") is None


def ladder(mid, size=1.0):
    steps = np.arange(1, 6) * mid * 1e-4
    return [[mid - s, size] for s in steps], [[mid + s, 2 * size] for s in steps]


class ScriptedFeed(BookFeed):
    """Hands out what it was given."""

    def __init__(self):
        self.next, self.closed = {}, False

    def newest(self):
        found, self.next = self.next, {}
        return found

    def close(self):
        self.closed = True


def test_live_books_go_through_the_tracker_and_bad_ones_are_refused(world: World):
    feed = ScriptedFeed()
    service = BookService(world.context(BookService), TrackedBooks(("BTCUSDT", "ETHUSDT"), feed))
    direct = BookTracker(("BTCUSDT", "ETHUSDT"))
    for k in range(30):
        world.clock.advance(0.5)
        now = world.clock.market_ms()
        bids, asks = (np.array(side) for side in ladder(100.0 + k / 100))
        crossed = np.array(ladder(101.0 + k / 100)[0])
        feed.next = {0: (now, bids, asks), 1: (now, crossed if k > 20 else bids, asks)}
        direct.update(0, now, bids, asks)
        service.step()
    values = told(world, "BTCUSDT")
    np.testing.assert_array_equal([np.nan if values[n] is None else values[n] for n in BOOK_FEATURES], direct.features[0])
    assert service.source.refused == {"CROSSED": 9}
    assert world.grid.get(FEATURES, "ob_macro")["n_stale"] == 0
    world.clock.advance(5.2)
    service.step()
    assert world.grid.get(FEATURES, "ob_macro")["n_stale"] == 2
    service.stop()
    assert feed.closed
    service.context.journal.close()


class FakeExchange:
    """As much of CCXT Pro as is used: ``script`` of books or errors, then it waits for ever."""

    def __init__(self, script):
        self.script, self.closed, self.asked = list(script), False, []

    async def load_markets(self):
        return {"BTC/USDT": {"id": "BTCUSDT", "spot": True}, "BTC/USDT:USDT": {"id": "BTCUSDT", "linear": True}}

    async def watch_order_book(self, name, limit):
        self.asked.append((name, limit))
        if not self.script:
            await asyncio.sleep(3600)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def close(self):
        self.closed = True


def fed(script, many, seconds=6.0):
    client = FakeExchange(script)
    feed = CcxtFeed(client, ["BTCUSDT"], lambda: START_MS)
    found, until = [], time.monotonic() + seconds
    while len(client.asked) <= many and time.monotonic() < until:
        time.sleep(0.01)
        found += list(feed.newest().items())
    time.sleep(0.02)
    found += list(feed.newest().items())
    feed.close()
    assert client.closed
    return client, feed, found


def test_an_exchanges_books_arrive_with_our_own_time(monkeypatch):
    bids, asks = ladder(100.0)
    client, feed, found = fed([{"bids": bids, "asks": asks, "timestamp": 1}], 1)
    place, (ts_ms, ours, theirs) = found[-1]
    assert (place, ts_ms) == (0, START_MS)
    np.testing.assert_array_equal(ours, bids)
    np.testing.assert_array_equal(theirs, asks)
    assert client.asked[0] == ("BTC/USDT:USDT", 20)
    assert not feed.errors


def test_a_subscription_that_fails_is_begun_again_and_nonsense_is_an_empty_side():
    bids, asks = ladder(100.0)
    script = [ConnectionError("gone"), {"bids": [["x", None]], "asks": asks}, {"bids": None, "asks": asks}, {"bids": bids, "asks": asks}]
    client, feed, found = fed(script, 4)
    assert feed.errors == {"ConnectionError": 1}
    assert len(client.asked) >= 5
    tracker = TrackedBooks(["BTCUSDT"], ScriptedFeed())
    tracker._feed.next = dict(found[:1])
    assert tracker.take(START_MS, 1)[0].symbols == ("BTCUSDT",)


def test_an_exchange_is_made_by_its_name_and_an_unknown_one_is_a_matter_of_configuration(monkeypatch):
    """Importing all of CCXT takes seconds: a module with one exchange stands for it."""

    class Client:
        def __init__(self, config):
            self.config, self.urls = config, {"api": {"public": "https://a.com/fapi/v1", "ws": {"linear": "wss://b.com:9443/ws"}}}

    pro = SimpleNamespace(exchanges=["binanceusdm"], binanceusdm=Client)
    monkeypatch.setitem(sys.modules, "ccxt", SimpleNamespace(pro=pro))
    monkeypatch.setitem(sys.modules, "ccxt.pro", pro)
    client = exchange_client(FeedConfig(exchange="binanceusdm"))
    assert client.config["enableRateLimit"] is True
    assert client.urls["api"]["public"] == "https://a.com/fapi/v1"
    moved = exchange_client(FeedConfig(url="http://127.0.0.1:8080")).urls["api"]
    assert moved == {"public": "http://127.0.0.1:8080/fapi/v1", "ws": {"linear": "ws://127.0.0.1:8080/ws"}}
    with pytest.raises(ConfigError, match="has no such exchange"):
        exchange_client(FeedConfig(exchange="binanze"))


@pytest.mark.parametrize(
    "url", ["https://fapi.binance.com", "http://10.0.0.1:80", "http://127.0.0.1", "http://127.0.0.1:80/x", "http://localhost.evil.com:80"]
)
def test_a_demo_exchange_is_on_this_machine_and_nowhere_else(url):
    with pytest.raises(ConfigError, match=r"feed\.url = .* expected http://127\.0\.0\.1:PORT"):
        FeedConfig(url=url)


def test_books_follow_the_scanners_universe_and_change_with_it(world: World):
    """Nothing before there is one; a universe that is told again changes nothing, another one closes what was followed."""
    made, closed, journals = [], [], world.state.journals

    class Followed(BookSource):
        def __init__(self, symbols):
            self.symbols = tuple(symbols)
            made.append(self.symbols)

        def take(self, market_ms, most):
            return [self.symbols]

        def close(self):
            closed.append(self.symbols)

    books = UniverseBooks(journals, Followed, world.clock.monotonic)
    assert books.take(0, 1) == []
    with Journal.open(journal_path(journals, "scanner"), "scanner") as journal:
        for symbols in (("AAAUSDT", "BBBUSDT"), ("AAAUSDT", "BBBUSDT"), ("AAAUSDT",)):
            journal.append_many([universe_entry(symbols, 60, START_MS)])
            assert books.take(0, 1) == [made[-1]] if made else books.take(0, 1) == []
            world.clock.advance(6.0)
            assert books.take(0, 1) == [symbols]
    assert (made, closed) == ([("AAAUSDT", "BBBUSDT"), ("AAAUSDT",)], [("AAAUSDT", "BBBUSDT")])
    books.close()
    assert closed[-1] == ("AAAUSDT",)
