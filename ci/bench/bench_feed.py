"""From a bar's close to its scan in the journal: trades of a whole universe through bars, scan, JSON and fsync, in real time.

A scripted feed trades as a lively market does (six trades a symbol and bar, a trade every few hundred microseconds over all); the market
runs at 120 times our speed, so that a bar of a minute closes every half second. No network: what an exchange's messages cost before is
CCXT's, and in the note. The clock of a row starts when the exchange's clock is at the close (grace 0).
"""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from table import Row, emit, row

from daemons.clock import RealClock
from daemons.feed_words import FeedWords
from daemons.live_bars import LiveBars
from daemons.live_history import LiveHistory
from daemons.runner import Runner
from daemons.scanner import ScannerService
from daemons.trade_feed import Answer, AskBars, AskMarkets, Heard, Listed, Told, TradeFeed
from dolphin.config import Settings
from dolphin.deployment import FeedConfig
from dolphin.scanner.scan import scan_batch
from dolphin.storage.journal import Kind
from dolphin.storage.market_clock import MarketClock
from dolphin.storage.trade_bars import Bar, Trade

MINUTE = 60_000
START_MS = 1_735_776_000_000 + 7 * MINUTE
SPEED = 120.0
BARS = 80
SPARE = 160
TRADES = 6


class Lively(TradeFeed):
    """``width`` symbols; the exchange's clock is ours."""

    def __init__(self, clock: RealClock, width: int) -> None:
        self._clock, self._symbols = clock, [f"A{k:03d}USDT" for k in range(width)]
        rng = np.random.default_rng(7)
        many = (BARS + SPARE) * TRADES * width
        stamps = np.sort(rng.integers(START_MS, START_MS + (BARS + SPARE) * MINUTE, many)).tolist()
        places, prices = rng.integers(0, width, many).tolist(), np.round(100 * np.exp(rng.normal(0, 0.002, many)), 2).tolist()
        numbers = [0] * width
        self._stamps, self._trades = stamps, []
        for ts, place, price in zip(stamps, places, prices, strict=True):
            numbers[place] += 1
            self._trades.append((place, Trade(ts, numbers[place], price, 1.25, price > 100)))
        self._at, self._events, self._followed, self._told = 0, list[Any](), False, 0.0

    def follow(self, symbols: Any) -> None:
        self._followed, self._at = True, bisect_left(self._stamps, self._clock.market_ms())

    def ask(self, ask: Any) -> None:
        if isinstance(ask, AskMarkets):
            self._events.append(Listed(dict.fromkeys(self._symbols, True)))
        elif isinstance(ask, AskBars):
            opens = range(ask.first_ms, ask.last_ms + 1, MINUTE)
            prices = np.round(100 * np.exp(np.random.default_rng(hash(ask.symbol) % 2**32).normal(0, 0.002, len(opens))), 2).tolist()
            self._events.append(Answer(ask, {o: Bar(p, p, p, p, 5.0) for o, p in zip(opens, prices, strict=True)}))

    def take(self) -> list[Any]:
        now, events = self._clock.market_ms(), self._events
        self._events = []
        if time.monotonic() - self._told > 1.0:
            self._told = time.monotonic()
            events.append(Told(now, now, now))
        until = bisect_left(self._stamps, now)
        if self._followed:
            events += [Heard(place, now, (trade,)) for place, trade in self._trades[self._at : until]]
            self._at = until
        return events

    def close(self) -> None:
        """Nothing is held."""


def latencies(width: int, folder: Path) -> np.ndarray:
    """Seconds from close to journal of ``BARS`` bars behind the start."""
    from daemon_worlds import World

    scan_batch(100 * np.exp(np.random.default_rng(1).normal(0, 0.002, (800, width)).cumsum(axis=0)))  # kernels are compiled once
    config = FeedConfig(exchange="lively", grace_ms=0)
    world = World(folder, settings=Settings(feed=config))
    clock = world.clock = RealClock(MarketClock(start_ms=START_MS, started_monotonic=time.monotonic(), speed=SPEED))
    context = world.context(ScannerService)
    feed = Lively(clock, width)
    clock.market = MarketClock(start_ms=START_MS, started_monotonic=time.monotonic(), speed=SPEED)
    history = LiveHistory(context.journal, context.state.feed, feed, 60)
    source = LiveBars(feed, clock, config, history, FeedWords(context.alert), None)
    runner, found, seen = Runner(ScannerService(context, source)), [], 0
    append = context.journal.append_many

    def timed(entries: Any) -> Any:
        nonlocal seen
        written = append(entries)
        scans = [entry for entry in entries if entry.kind is Kind.SCAN]
        if len(scans) == 1 and runner.service.status == "running":
            due = clock.market.started_monotonic + (scans[0].ts_ms - START_MS) / 1000.0 / SPEED
            found.append(time.monotonic() - due)
        seen += len(scans)
        return written

    context.journal.append_many = timed
    end = time.monotonic() + 180
    while len(found) < BARS and time.monotonic() < end and clock.market_ms() < START_MS + (BARS + SPARE - 1) * MINUTE:
        time.sleep(runner.turn())
    runner.stop()
    world.close()
    context.journal.close()
    if len(found) < BARS // 2:
        raise SystemExit(f"{len(found)} bars in time: this machine is too busy to measure on")
    return np.array(found)


def main() -> list[Row]:
    rows = []
    for width, floor, aim in ((48, None, None), (400, 0.25, 0.025)):
        with tempfile.TemporaryDirectory(prefix="dolphin-bench-") as name:
            taken = latencies(width, Path(name))
        note = f"{len(taken)} bars of {TRADES} trades a symbol, windows full"
        rows.append(row(f"bar close to SCAN in the journal, {width} symbols, p50", float(np.quantile(taken, 0.5)), None, None, None, note))
        rows.append(row(f"bar close to SCAN in the journal, {width} symbols, p99", float(np.quantile(taken, 0.99)), None, floor, aim, note))
    return rows


if __name__ == "__main__":
    emit(main())
