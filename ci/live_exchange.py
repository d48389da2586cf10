"""A demo exchange as a real process, and a scanner on its live feed in this one: what was made of it, and the truth to compare with."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from daemon_worlds import World
from trade_tapes import oracle_bars

from daemons.clock import RealClock
from daemons.live_bars import LiveBars
from daemons.scanner import ScannerService
from dolphin.config import Settings
from dolphin.deployment import FeedConfig
from dolphin.scanner.scan import scan_batch
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.klines import KlineStore
from dolphin.storage.market_clock import MarketClock
from dolphin.storage.trade_bars import Bar, Trade

__all__ = ["DemoProcess", "LiveScanner", "differences", "scan_differences"]

CHECKOUT = Path(__file__).resolve().parent.parent


class DemoProcess:
    """``python -m daemons.demo_exchange`` on a free port."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "daemons.demo_exchange", "--json", *arguments]
        path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path})
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.web = httpx.Client(base_url=self.url, timeout=30.0)
        told = self.web.get("/demo/clock").json()
        self.clock = MarketClock(**{name: told[name] for name in ("start_ms", "started_monotonic", "speed")})

    def fault(self, kind: str, seconds: float = 5.0, **more: Any) -> None:
        """Begin a fault."""
        answer = self.web.post("/demo/faults", json={"kind": kind, "seconds": seconds, **more})
        assert answer.status_code == 200, answer.text

    def trades(self, first_ms: int, end_ms: int) -> dict[str, list[Trade]]:
        """Every published trade of ``[first_ms, end_ms)`` by symbol."""
        found: dict[str, list[Trade]] = {}
        for symbol, number, price, size, ts_ms, sells in self.web.get("/demo/trades", params={"from": first_ms, "to": end_ms - 1}).json()[
            "trades"
        ]:
            found.setdefault(symbol, []).append(Trade(ts_ms, number, float(price), float(size), not sells))
        return found

    def close(self) -> None:
        self.web.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


class LiveScanner:
    """A scanner in this process on the live feed of ``exchange``; ``rows``: what it handed out, by open of the bar."""

    def __init__(self, root: Path, exchange: DemoProcess, **feed: Any) -> None:
        self.world = World(root, settings=Settings(feed=FeedConfig(url=exchange.url, **feed)))
        self.world.clock = RealClock(exchange.clock)
        self.service: ScannerService = self.world.start(ScannerService)
        self.rows: dict[int, list[Bar | None]] = {}
        self.words: list[str] = []
        self._spied: Any = None

    @property
    def source(self) -> LiveBars:
        """The live bars."""
        source = self.service._source
        assert isinstance(source, LiveBars)
        return source

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Turn until the time is up, or ``until`` holds; whether it does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            wait = self.world.runners[0].turn()
            self._spy()
            if not self.words or self.words[-1] != self.service.status:
                self.words.append(self.service.status)
            time.sleep(max(0.0, min(wait, 0.05)))
        return until()

    def stop(self, *, killed: bool = False) -> None:
        """End it in order, or as by kill -9 (the connection is cut, nothing is saved)."""
        if killed:
            self.source._feed.close()
            self.service.context.journal.close()
        else:
            self.world.end(self.service)

    @property
    def scans(self) -> list[Any]:
        """Records of its bars."""
        with JournalReader(journal_path(self.world.state.journals, "scanner")) as journal:
            return list(journal.records(Kind.SCAN))

    @property
    def newest(self) -> int:
        """Close of the newest journalled bar, ms."""
        last = self.service.context.journal.last(Kind.SCAN)
        return last.ts_ms if last is not None else 0

    def _spy(self) -> None:
        bars = self.source._bars
        if bars is not None and bars is not self._spied:
            self._spied, close = bars, bars.close

            def spied() -> list[Bar | None]:
                number, made = bars.done, close()
                self.rows[number * bars.bar_ms] = made
                return made

            bars.close = spied  # type: ignore[method-assign]


def differences(exchange: DemoProcess, scanner: LiveScanner, first_ms: int, end_ms: int, stale_bars: int = 12) -> tuple[int, list[str]]:
    """Cells compared, and those of the bars of ``[first_ms, end_ms)`` that are not what the exchange's trades give, in all fields."""
    bar_ms, symbols = scanner.source._bar_ms, scanner.source.symbols
    tapes = exchange.trades(first_ms - 20 * bar_ms, end_ms)
    found, many = [], 0
    first, bars = first_ms // bar_ms, (end_ms - first_ms) // bar_ms
    for place, symbol in enumerate(symbols):
        truth = oracle_bars(tapes.get(symbol, []), bar_ms, first - 20, bars + 20, stale_bars)[20:]
        for k, wanted in enumerate(truth):
            row = scanner.rows.get((first + k) * bar_ms)
            made = row[place] if row is not None else None
            many += 1
            if made != wanted:
                found.append(f"{symbol} bar {k}: {made} instead of {wanted}")
    return many, found


def scan_differences(scanner: LiveScanner, folder: Path, dates: Sequence[str]) -> list[str]:
    """Journalled scans that are not those of a batch over the rows before and in the journal."""
    scans, symbols = scanner.scans, scanner.source.symbols
    days = [KlineStore(folder).load(date, symbols) for date in dates]
    bar_ms = scanner.source._bar_ms
    warm = [(day.ts, day.closes) for day in days]
    closes = np.array([[np.nan if v is None else v for v in r.payload["closes"]] for r in scans])
    opened = np.array([r.ts_ms - bar_ms for r in scans], dtype=np.int64)
    batch = scan_batch(
        np.concatenate([*(c for _, c in warm), closes]), path="stream", bars=np.concatenate([*(t for t, _ in warm), opened]) // bar_ms
    )
    told = np.array([np.nan if r.payload["vel_div"] is None else r.payload["vel_div"] for r in scans])
    wrong = ~((told == batch.vel_div[-len(told) :]) | (np.isnan(told) & np.isnan(batch.vel_div[-len(told) :])))
    return [f"scan {k}: {told[k]} instead of {batch.vel_div[len(batch.vel_div) - len(told) + k]}" for k in np.flatnonzero(wrong)]


logging.getLogger("httpx").setLevel(logging.WARNING)
