"""`dolphin up` on a live feed: the market's clock is a demo exchange's, and bars of another market are not mixed with it."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest

from daemons.clock import RealClock, VirtualClock
from dolphin.config import Settings, SurvivalConfig
from dolphin.deployment import FeedConfig
from dolphin.errors import MalformedFile, MissingDependency, Unavailable
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.market_clock import MarketClock, read_market_clock, write_market_clock
from dolphin.storage.replay import Replay, write_replay
from dolphin.storage.state import StateFolder
from flows.demo_clock import market_clock
from flows.replay import absent_layers
from flows.status import Status
from flows.status_text import status_text
from flows.supervision import check_live

CLOCK = MarketClock(start_ms=1_735_776_000_000, started_monotonic=12.5, speed=60.0)
HEALTH = {
    "status": "running", "symbols": 48, "without_price": 1, "lag_ms": 240.0, "lead_ms": [-3, 9], "gaps": 2, "missing_bars": 0, "late": 0,
    "lost": 0, "duplicates": 7, "backfilled": 96, "down": 1,
}  # fmt: skip


@pytest.fixture
def told():
    """A server that answers /demo/clock with what the test puts there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        body = b""

        def do_GET(self):
            self.send_response(200 if self.path == "/demo/clock" else 404)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_):
            """Silent."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_markets_clock_is_the_demo_exchanges(told):
    handler, url = told
    handler.body = json.dumps(
        {"start_ms": 1_735_776_000_000, "started_monotonic": 12.5, "speed": 60, "market_ms": 3, "ended": False}
    ).encode()
    assert market_clock(url) == CLOCK
    assert market_clock("") is None


def test_what_is_no_demo_exchange_is_named(told):
    handler, url = told
    handler.body = b'{"speed": -1}'
    with pytest.raises(MissingDependency, match=r"no demo exchange at .*ValidationError.*dolphin demo-exchange"):
        market_clock(url)
    with pytest.raises(MissingDependency, match=r"no demo exchange at http://127\.0\.0\.1:9 "):
        market_clock("http://127.0.0.1:9")


def test_processes_read_the_same_clock_and_are_live(tmp_path):
    write_market_clock(tmp_path / "clock.json", CLOCK)
    clock = VirtualClock(0, read_market_clock(tmp_path / "clock.json"))
    clock.advance(22.5)
    assert clock.market_ms() == CLOCK.start_ms + 600_000
    assert clock.speed == 60.0
    assert clock.replay is None
    assert read_market_clock(tmp_path / "none.json") is None
    (tmp_path / "clock.json").write_text('{"start_ms": 1}')
    with pytest.raises(MalformedFile, match="no market clock"):
        read_market_clock(tmp_path / "clock.json")


def test_without_a_clock_the_market_has_the_walls_time():
    assert abs(RealClock().market_ms() - time.time() * 1000) < 1000


def test_bars_of_another_market_are_refused_before_anything_starts(tmp_path):
    state = StateFolder(tmp_path).made()
    check_live(CLOCK, state)
    scan = dict.fromkeys(("vel_div", "lambda_max", "velocity", "instability", "n_participants", "closes"))
    now = CLOCK.market_ms(time.monotonic())
    with Journal.open(journal_path(state.journals, "scanner"), "scanner") as journal:
        journal.append_many([Entry(Kind.SCAN, {"date": "2025-01-02", "bar": 0, **scan}, now - 60_000)])
        check_live(CLOCK, state)
        journal.append_many([Entry(Kind.SCAN, {"date": "2025-01-02", "bar": 1, **scan}, now + 86_400_000)])
    with pytest.raises(Unavailable, match=r"holds other bars, up to .* needs another --set paths\.state"):
        check_live(CLOCK, state)


def test_bars_of_a_replay_are_not_gone_on_with_live(tmp_path):
    state = StateFolder(tmp_path).made()
    replay = Replay(folder="x", first_date="2025-01-02", last_date="2025-01-02", start_ms=0, started_monotonic=0.0, speed=1.0)
    write_replay(state.replay, replay)
    check_live(CLOCK, state)
    scan = dict.fromkeys(("vel_div", "lambda_max", "velocity", "instability", "n_participants", "closes"))
    with Journal.open(journal_path(state.journals, "scanner"), "scanner") as journal:
        journal.append_many([Entry(Kind.SCAN, {"date": "2025-01-02", "bar": 0, **scan}, 60_000)])
    with pytest.raises(Unavailable, match="holds other bars, up to 1970-01-01 00:01"):
        check_live(CLOCK, state)


def test_a_feed_with_named_symbols_brings_its_books():
    settings = Settings(feed=FeedConfig(exchange="binanceusdm", symbols="BTCUSDT"), survival=SurvivalConfig(dvol=False))
    with_book, lines = absent_layers(settings, live_book=True)
    assert with_book.survival.order_book
    assert not lines
    assert not absent_layers(settings)[0].survival.order_book


def test_status_says_how_the_feed_is():
    found = Status(1, [], [], None, False, CLOCK.start_ms, 3.0, False, 60.0, None, live=True, feed=HEALTH)
    text = status_text(found)
    assert "live from a demo exchange at 60 times our speed" in text
    assert (
        "feed         running\n             newest trade 0.2 s old; 1 of 48 symbols without a price; gaps 2; backfilled 96; down 1" in text
    )
    assert found.to_dict()["feed"]["backfilled"] == 96
