"""The demo exchange put together: one market, one account, one aiohttp application on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from daemons.clock import Clock
from daemons.exchange.account import Account
from daemons.exchange.account_api import AccountApi
from daemons.exchange.books import Books
from daemons.exchange.faults import Fault, Faults
from daemons.exchange.gateway import Gateway
from daemons.exchange.ledger import Ledger
from daemons.exchange.limits import Limiter
from daemons.exchange.market_api import MarketApi
from daemons.exchange.matching import Matcher
from daemons.exchange.order_desk import OrderDesk
from daemons.exchange.params import Params, Refusal
from daemons.exchange.publisher import Publisher
from daemons.exchange.recorder import Recorder
from daemons.exchange.signing import Credentials
from daemons.exchange.streams import Hub
from daemons.exchange.tape import Bars, Tape
from daemons.exchange.venue import Venue
from dolphin.errors import ConfigError, Unavailable

__all__ = ["DemoExchange", "ExchangeOptions"]

_TURN_S: Final = 0.01
_LEAST_STEP_S: Final = 0.05
_MOST_TRADES: Final = 1_000_000
_log = logging.getLogger("dolphin.demo_exchange")


class ExchangeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``listed``: symbols that trade from the start; 0: all. ``book_ms``: between books, ms of the market. ``weight``: a minute's.
    ``balance``: USDT."""

    seed: int = 7
    listed: int = 0
    book_ms: int = 500
    weight: int = 2_400
    balance: Decimal = Decimal(10_000)
    record: Path | None = None


class DemoExchange:
    """``bars`` played by ``clock`` (its replay gives start and speed). Books come no closer than 50 ms of ours, whatever the speed."""

    def __init__(
        self, bars: Bars, clock: Clock, options: ExchangeOptions, faults: Sequence[Fault] = (), key: Credentials | None = None
    ) -> None:
        self.clock, self.options = clock, options
        self.faults = Faults(clock.monotonic, options.seed, faults)
        least = -(-int(_LEAST_STEP_S * 1000 * clock.speed) // options.book_ms) * options.book_ms
        books = Books(bars, options.seed, max(options.book_ms, least))
        self.venue = Venue(clock, Tape(bars, options.seed), books, self.faults, options.listed or len(bars.instruments))
        self.hub = Hub({symbol.lower(): n for symbol, n in self.venue.number.items()}, self.faults)
        self.market = MarketApi(self.venue)
        self.recorder = Recorder(options.record, self.venue.instruments) if options.record else None
        self.account = Account(options.balance, self.venue.instruments, self.venue.last)
        self.ledger = Ledger(self.account)
        self.matcher = Matcher(self.venue, self.account, self.ledger, self.hub.tell_user)
        desk = OrderDesk(self.venue, self.account, self.ledger, self.matcher)
        self.routes = {**self.market.routes(), **AccountApi(self.venue, self.ledger, self.matcher, desk, self.hub).routes()}
        self.venue.listeners += [*([self.recorder] if self.recorder else []), Publisher(self.venue, self.hub), self.matcher]
        self.gateway = Gateway(self.venue, self.routes, Limiter(clock.wall_ms, options.weight), key or Credentials())
        for fault in faults:
            self._check(fault)
        self._runner: web.AppRunner | None = None
        self._pump: asyncio.Task[None] | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and let the market run; the address. Raises ``ConfigError`` for a host beyond loopback, ``Unavailable``: port taken."""
        if not ipaddress.ip_address(host).is_loopback:
            raise ConfigError(f"host {host}: the demo exchange answers this machine only")
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise Unavailable(f"{host}:{port} cannot be listened on ({error}): give another --port") from error
        self._pump = asyncio.create_task(self._run())
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close everything; the recorder's file is complete afterwards."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        await self.hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self.recorder is not None:
            self.recorder.close()

    def begin(self, fault: Fault) -> None:
        """Begin a fault now. Raises ``ConfigError`` for a symbol that is not there."""
        self._check(fault)
        self.faults.begin(fault)
        self.venue.begin(fault)
        if fault.kind in ("disconnect", "maintenance"):
            self.hub.cut_all()
        _log.info("fault: %s", msgspec.to_builtins(fault))

    async def ended(self) -> None:
        """Returns never; raises what stopped the market, should anything."""
        assert self._pump is not None
        await asyncio.shield(self._pump)

    def told_clock(self) -> dict[str, Any]:
        """The market's clock: fields of ``dolphin.storage.replay.Replay``, and whether the tape is over."""
        replay = self.clock.replay
        assert replay is not None
        return {
            "market_ms": min(self.clock.market_ms(), self.venue.tape.end_ms), "start_ms": replay.start_ms,
            "started_monotonic": replay.started_monotonic, "speed": replay.speed, "ended": self.venue.ended,
            "end_ms": self.venue.tape.end_ms, "bar_seconds": self.venue.tape.bars.bar_ms // 1000, "book_ms": self.venue.books.book_ms,
            "first_date": replay.first_date, "last_date": replay.last_date,
        }  # fmt: skip

    def told_log(self) -> dict[str, Any]:
        """What was asked, answered, sent, and gone wrong so far."""
        return {
            "requests": dict(self.gateway.requests), "answers": {str(k): v for k, v in self.gateway.answers.items()},
            "orders": list(self.gateway.orders), "sent": dict(self.hub.sent), "connections": len(self.hub.connections),
            "streams": sorted(self.hub.topics), "faults": self.faults.log, "hits": dict(self.faults.hits),
        }  # fmt: skip

    async def _run(self) -> None:
        """The market's heart: everything that is due, a hundred times a second."""
        while True:
            for fault in self.faults.due():
                self.begin(fault)
            self.venue.advance()
            await asyncio.sleep(_TURN_S)

    def _check(self, fault: Fault) -> None:
        unknown = [symbol for symbol in fault.symbols if symbol not in self.venue.number]
        if unknown or (fault.kind in ("list", "delist") and not fault.symbols):
            raise ConfigError(f"{fault.kind}: which symbol? {', '.join(unknown) or 'none'} is not in the market")

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=2**20)
        app.router.add_get("/demo/clock", self._clock)
        app.router.add_get("/demo/log", self._log)
        app.router.add_get("/demo/trades", self._trades)
        app.router.add_post("/demo/faults", self._take_fault)
        for prefix in ("", "/public", "/market", "/private"):
            for path in ("/ws", "/stream"):
                app.router.add_get(prefix + path, self._websocket)
                app.router.add_get(f"{prefix}{path}/{{tail:.*}}", self._websocket)
        app.router.add_route("*", "/{tail:.*}", self.gateway.serve)
        return app

    async def _clock(self, _: web.Request) -> web.Response:
        return _json(self.told_clock())

    async def _log(self, _: web.Request) -> web.Response:
        return _json(self.told_log())

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.hit("disconnect") or self.faults.hit("maintenance"):
            return web.Response(status=503)
        return await self.hub.serve(request)

    async def _take_fault(self, request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
            self.begin(fault)
        except (msgspec.MsgspecError, UnicodeDecodeError, ConfigError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(msgspec.to_builtins(fault))

    async def _trades(self, request: web.Request) -> web.Response:
        """Every published trade from ``from`` to ``to`` (ms), of ``symbol`` or of all: [symbol, id, price, quantity, ms, taker sells]."""
        try:
            params = Params(dict(request.query))
            blocks = self.market.trades_between(params.integer("from", self.venue.tape.end_ms), params.integer("to", self.venue.now))
            n = self.market.symbol(params) if params.has("symbol") else -1
        except Refusal as refusal:
            return web.json_response({"error": refusal.text}, status=400)
        rows: list[list[Any]] = []
        for block in blocks:
            these = block if n < 0 else block.only(block.symbol == n)
            for k, i, ticks, lots, ms, sells in these.rows():
                known = self.venue.instruments[k]
                rows.append([known.symbol, i, known.price(ticks), known.quantity(lots), ms, sells])
            if len(rows) > _MOST_TRADES:
                return web.json_response({"error": f"more than {_MOST_TRADES} trades: ask for a shorter time"}, status=400)
        return _json({"trades": rows})


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
