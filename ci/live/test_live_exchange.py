"""The live feed against a demo exchange in a process of its own: CCXT Pro unmodified, real sockets. `soak.py` is the long form."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from daemon_processes import wait_for
from daemon_worlds import World
from live_exchange import CHECKOUT, DemoProcess, LiveScanner, differences, scan_differences
from trade_tapes import oracle_bars

from daemons.clock import RealClock
from daemons.ob_stream import BookService
from dolphin.config import Settings
from dolphin.deployment import FeedConfig
from dolphin.errors import DolphinError
from dolphin.grid.maps import FEATURES
from dolphin.storage.journal import JournalReader, Kind, journal_path

MINUTE = 60_000


@pytest.fixture(scope="module")
def exchange():
    """Twelve perpetuals at sixty times our speed."""
    demo = DemoProcess("--symbols", "12", "--speed", "60")
    yield demo
    demo.close()


@pytest.fixture(scope="module")
def day(exchange, tmp_path_factory):
    """A scanner that ran for some market minutes, undisturbed, then through messages that come twice and out of order, then a cut."""
    root = tmp_path_factory.mktemp("live")
    scanner = LiveScanner(root, exchange, grace_ms=500)
    assert scanner.run(60, lambda: scanner.service.status == "running"), scanner.words
    marks = {"calm": scanner.newest}
    scanner.run(5)
    marks["disorder"] = scanner.newest
    exchange.fault("duplicate", 4, share=0.3)
    exchange.fault("out_of_order", 4, share=0.3)
    scanner.run(5)
    marks["cut"] = scanner.newest
    exchange.fault("disconnect", 2)
    scanner.run(8)
    marks["end"] = scanner.newest
    yield scanner, marks, root
    scanner.stop()


@pytest.mark.parametrize(("first", "end"), [("calm", "disorder"), ("disorder", "cut"), ("cut", "end")])
def test_bars_are_those_of_the_published_trades_in_all_fields(exchange, day, first, end):
    scanner, marks, _ = day
    compared, found = differences(exchange, scanner, marks[first], marks[end])
    assert compared >= 3 * 12
    assert not found


def test_no_bar_is_missed_and_scans_are_those_of_a_batch(day):
    scanner, marks, root = day
    closes = [record.ts_ms for record in scanner.scans]
    assert closes == list(range(closes[0], marks["end"] + 1, MINUTE))
    assert closes[0] % 86_400_000 == MINUTE
    assert not scan_differences(scanner, root / "feed" / "partial", ["2025-01-01"])
    assert np.isfinite([record.payload["vel_div"] for record in scanner.scans[1:]]).all()


def test_the_cut_was_noticed_and_backfilled(day):
    scanner, _, _ = day
    assert scanner.source.counts["down"] == 1
    assert scanner.source.counts["backfilled"] > 100
    assert "backfill" in scanner.words[2:]
    health = scanner.world.grid.get(FEATURES, "feed")
    assert (health["symbols"], health["down"], health["missing_bars"]) == (12, 1, 0)


def test_a_scanner_that_is_killed_comes_back_with_the_bars_of_an_undisturbed_one(exchange, tmp_path):
    """kill -9 twice; the journal holds each bar once, and each is what the exchange published."""
    clock = exchange.clock
    arguments = [str(tmp_path), exchange.url, str(clock.start_ms), repr(clock.started_monotonic), repr(clock.speed), "60"]
    path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "ci"), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": path}
    for bars in (3, 5):
        log = (tmp_path / "log.txt").open("ab")
        with log, subprocess.Popen([sys.executable, "-m", "live_process", *arguments], env=environ, stderr=log) as process:
            first = len(scans_in(tmp_path))
            assert wait_for(lambda first=first, bars=bars: len(scans_in(tmp_path)) >= first + bars, 120.0)
            process.kill()
    records = scans_in(tmp_path)
    closes = [record.ts_ms for record in records]
    assert closes == list(range(closes[0], closes[-1] + 1, MINUTE))
    tapes = exchange.trades(closes[0] - MINUTE, closes[-1])
    symbols = sorted(tapes)
    for place, symbol in enumerate(symbols):
        truth = oracle_bars(tapes[symbol], MINUTE, closes[0] // MINUTE - 1, len(closes), 12)
        told = [record.payload["closes"][place] for record in records]
        assert [(a, b) for a, b in zip(told, truth, strict=True) if b is not None and b.traded and a != b.close] == []


def scans_in(root):
    path = journal_path(root / "journal", "scanner")
    if not path.is_file():
        return []
    try:
        with JournalReader(path) as journal:
            return list(journal.records(Kind.SCAN))
    except DolphinError:
        return []


def test_a_delisted_symbol_has_no_price_from_then_on(exchange, day):
    scanner, _, _ = day
    gone = scanner.source.symbols[4]
    exchange.fault("delist", 1, symbols=[gone])
    assert scanner.run(20, lambda: gone in scanner.source.gone)
    before = len(scanner.scans)
    assert scanner.run(10, lambda: len(scanner.scans) > before + 1)
    assert scanner.scans[-1].payload["closes"][4] is None
    assert scanner.service.context.journal.last(Kind.UNIVERSE).payload["delisted"] == [gone]


def test_books_of_the_exchange_reach_the_shards(tmp_path):
    """Every 500 ms of the market, through CCXT Pro's own merging of the depth stream; cut off, they come again."""
    demo = DemoProcess("--symbols", "10", "--speed", "2")
    world = World(tmp_path, settings=Settings(feed=FeedConfig(url=demo.url, symbols="BTCUSDT,ETHUSDT")))
    world.clock = RealClock(demo.clock)
    service = world.start(BookService)

    def fresh(wanted):
        macro, end = None, time.monotonic() + 20
        while time.monotonic() < end and (macro is None or macro["n_stale"] != wanted):
            time.sleep(max(0.0, min(0.1, world.runners[0].turn())))
            macro = world.grid.get(FEATURES, "ob_macro")
        return macro["n_stale"] == wanted and macro["n_assets"] == 2

    assert fresh(0)
    demo.fault("disconnect", 6)
    assert fresh(2)
    assert fresh(0)
    assert service.status == "running"
    assert not service.source.refused
    world.end(service)
    world.close()
    demo.close()
