"""The REST door: faults, weight, signature, then the endpoint; every answer is JSON with the exchange's headers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from daemons.exchange.limits import Limiter
from daemons.exchange.market_api import Route
from daemons.exchange.params import Params, Refusal
from daemons.exchange.signing import Credentials, check_time
from daemons.exchange.venue import Venue

__all__ = ["Gateway"]

_KEPT: Final = 10_000
_OPEN_IN_MAINTENANCE: Final = ("ping", "time", "exchangeInfo")
_MAINTENANCE: Final = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
"""What the exchange's front answers when there is nothing behind it: no JSON."""


class Gateway:
    """Answers ``routes`` (by ``METHOD path``)."""

    def __init__(self, venue: Venue, routes: Mapping[str, Route], limiter: Limiter, credentials: Credentials) -> None:
        self._venue, self._routes, self._limiter, self._credentials = venue, dict(routes), limiter, credentials
        self._paths = {name.split(" ")[1] for name in routes}
        self.requests: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.orders: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        name, body = f"{request.method} {request.path}", (await request.read()).decode(errors="replace")
        self.requests[name] += 1
        try:
            route = self._routes.get(name)
            if route is None:
                raise Refusal(
                    -1, "Method not allowed." if request.path in self._paths else "Not found.", 405 if request.path in self._paths else 404
                )
            result, status = self._answer(request, route, body), 200
        except Refusal as refusal:
            result, status = {"code": refusal.code, "msg": refusal.text}, refusal.status
            headers = {**self._limiter.headers(), **refusal.headers}
        else:
            headers = self._limiter.headers()
            if route.orders and self._venue.faults.hit("lost_ack") and request.transport is not None:
                request.transport.abort()
        self.answers[status] += 1
        if status == 503 and not result["code"]:
            return web.Response(text=result["msg"], status=status, content_type="text/html")
        return web.Response(body=msgspec.json.encode(result), status=status, headers=headers, content_type="application/json")

    def _answer(self, request: web.Request, route: Route, body: str) -> Any:
        self._fail(request.path)
        query = request.raw_path.partition("?")[2]
        params = Params(dict(parse_qsl(f"{query}&{body}", keep_blank_values=True)))
        self._limiter.spend(route.cost(params), route.orders)
        if route.security != "none":
            self._credentials.check_key(request.headers.get("X-MBX-APIKEY", ""))
        if route.security == "signed":
            self._credentials.check_signature(query, body)
            clock = self._venue.clock
            check_time(params, (clock.wall_ms, lambda: self._venue.stamp(clock.market_ms())))
        if route.orders:
            told = {key: value for key, value in parse_qsl(f"{query}&{body}") if key != "signature"}
            self.orders.append({"market_ms": self._venue.clock.market_ms(), "path": request.path, **told})
        self._venue.advance()
        return route.answer(params)

    def _fail(self, path: str) -> None:
        """Raises the ``Refusal`` of the fault that is on."""
        faults = self._venue.faults
        if not path.endswith(_OPEN_IN_MAINTENANCE) and faults.hit("maintenance"):
            raise Refusal(0, _MAINTENANCE, 503)
        if faults.hit("rate_limit"):
            raise self._limiter.refusal("Way too many requests; slow down.")
        if faults.strikes("server_error"):
            raise Refusal(-1001, "Internal error; unable to process your request. Please try again.", 503)
