"""Helpers: a demo exchange in the test's own loop, or on a clock that stands still; and unmodified clients that are pointed at it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import ccxt.pro
import pytest

from daemons.clock import RealClock, VirtualClock
from daemons.exchange.faults import Fault
from daemons.exchange.params import Params, Refusal
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


def market_clock(speed: float, start_ms: int = START_MS) -> RealClock:
    """Market time from now on."""
    now = RealClock().monotonic()
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


class Desk:
    """``exchange`` and what its account's stream told."""

    def __init__(self, bars: Bars, options: ExchangeOptions | None = None, faults: tuple[Fault, ...] = ()) -> None:
        day = "2025-01-02"
        replay = Replay(folder="", first_date=day, last_date=day, start_ms=START_MS, started_monotonic=0.0, speed=1.0)
        self.clock = VirtualClock(START_MS, replay)
        self.exchange = DemoExchange(bars, self.clock, options or ExchangeOptions(), faults)
        self.events: list[dict[str, Any]] = []
        self.exchange.matcher.tell = self.events.append
        self.venue, self.account, self.ledger = self.exchange.venue, self.exchange.account, self.exchange.ledger
        self.venue.advance()

    def ask(self, name: str, **params: object) -> Any:
        """The answer of an endpoint, without signature and weight."""
        method, path = name.split(" ")
        return self.exchange.routes[f"{method} /fapi/{path if path[0] == 'v' else 'v1/' + path}"].answer(
            Params({key: str(value) for key, value in params.items()})
        )

    def refused(self, name: str, **params: object) -> int:
        """The code of the refusal."""
        with pytest.raises(Refusal, match=r"\w") as caught:
            self.ask(name, **params)
        return caught.value.code

    def wait(self, seconds: float) -> None:
        """Let the market run, a tenth of a second at a time."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.venue.advance()

    def buy(self, quantity: str = "0.04", **params: object) -> Any:
        """At market."""
        told = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": quantity, "newOrderRespType": "RESULT"}
        return self.ask("POST order", **{**told, **params})

    def limit(self, side: str, quantity: str, ticks: int, **params: object) -> Any:
        """A limit order in BTCUSDT."""
        price = self.venue.instruments[0].price(ticks)
        told = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "quantity": quantity, "price": price, "timeInForce": "GTC"}
        return self.ask("POST order", **{**told, "newOrderRespType": "RESULT", **params})

    def told(self, kind: str) -> list[Any]:
        """Payloads of one kind of event."""
        return [event["o"] if "o" in event else event["a"] for event in self.events if event["e"] == kind]


def signature(text: str, secret: str = DEMO_SECRET) -> str:
    """HMAC of a query, as the exchange's documents say."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed(params: dict[str, Any], secret: str = DEMO_SECRET) -> str:
    """Query text with its signature."""
    text = urlencode(params)
    return f"{text}&signature={signature(text, secret)}"
