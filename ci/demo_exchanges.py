"""Helpers: a demo exchange inside the test's own loop, and unmodified clients that are pointed at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ccxt.pro

from daemons.clock import Clock, RealClock
from daemons.exchange.faults import Fault
from daemons.exchange.server import DemoExchange, ExchangeOptions
from daemons.exchange.signing import DEMO_KEY, DEMO_SECRET
from daemons.exchange.sources import synthetic_bars
from daemons.exchange.tape import Bars
from dolphin.storage.replay import Replay
from dolphin.synthetic.market import SyntheticMarket

START_MS = 1_735_776_000_000  # 2025-01-02, the second day of the synthetic market


def small_market(assets: int = 6, days: int = 2, bar_seconds: int = 60) -> Bars:
    """A day of history and a day to play."""
    return synthetic_bars(SyntheticMarket(assets=assets, days=days, bar_seconds=bar_seconds))


def market_clock(speed: float, start_ms: int = START_MS, clock: Clock | None = None) -> RealClock:
    """Market time from now on."""
    now = (clock or RealClock()).monotonic()
    day = "2025-01-02"
    return RealClock(Replay(folder="", first_date=day, last_date=day, start_ms=start_ms, started_monotonic=now, speed=speed))


@asynccontextmanager
async def running(
    bars: Bars, speed: float = 60.0, options: ExchangeOptions | None = None, faults: tuple[Fault, ...] = (), start_ms: int = START_MS
) -> AsyncIterator[tuple[DemoExchange, str]]:
    """A demo exchange and its address."""
    exchange = DemoExchange(bars, market_clock(speed, start_ms), options or ExchangeOptions(), faults)
    address = await exchange.start()
    try:
        yield exchange, address
    finally:
        await exchange.stop()


@asynccontextmanager
async def ccxt_client(address: str, **options: Any) -> AsyncIterator[Any]:
    """CCXT Pro's client of the exchange; nothing but its documented ``urls`` is another."""
    client = ccxt.pro.binanceusdm({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "options": {"fetchCurrencies": False}, **options})
    api = client.urls["api"]
    for name in [name for name in api if name.startswith("fapi")]:
        api[name] = f"{address}/{api[name].split('/', 3)[3]}"
    api["ws"]["linear"] = address.replace("http", "ws") + "/ws"
    try:
        yield client
    finally:
        await client.close()


def wait(scenario: Callable[[], Awaitable[None]], seconds: float = 30.0) -> None:
    """Run a scenario to its end."""

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), seconds)

    asyncio.run(bounded())


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop run until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
