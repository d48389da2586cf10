"""Request weights: how much each endpoint costs, and the minute's account of it (minutes of the wall clock, as clients count them)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from daemons.exchange.params import Params, Refusal

__all__ = ["ORDERS_A_MINUTE", "WEIGHT_A_MINUTE", "Limiter", "depth_weight", "kline_weight", "per_symbol", "rate_limits"]

WEIGHT_A_MINUTE: Final = 2_400
ORDERS_A_MINUTE: Final = 1_200
_MINUTE_MS: Final = 60_000


class Limiter:
    """Counts weight and orders of the current minute. ``wall_ms``: the wall clock."""

    def __init__(self, wall_ms: Callable[[], int], weight_a_minute: int = WEIGHT_A_MINUTE) -> None:
        self._wall_ms, self._most = wall_ms, weight_a_minute
        self._minute, self.used, self.orders = 0, 0, 0

    def spend(self, weight: int, orders: int = 0) -> None:
        """Take it from the minute's allowance. Raises ``Refusal`` 429 with Retry-After when there is not enough left."""
        minute = self._wall_ms() // _MINUTE_MS
        if minute != self._minute:
            self._minute, self.used, self.orders = minute, 0, 0
        self.used += weight
        self.orders += orders
        if self.used > self._most:
            raise self.refusal(f"Too many requests; current limit is {self._most} request weight per 1 MINUTE.", -1003)
        if self.orders > ORDERS_A_MINUTE:
            raise self.refusal(f"Too many new orders; current limit is {ORDERS_A_MINUTE} orders per MINUTE.", -1015)

    def refusal(self, text: str, code: int = -1003) -> Refusal:
        """429 until the minute is over."""
        rest = _MINUTE_MS - self._wall_ms() % _MINUTE_MS
        return Refusal(code, text, 429, {"Retry-After": str(max(1, -(-rest // 1000)))})

    def headers(self) -> dict[str, str]:
        """What every answer says about it."""
        return {"X-MBX-USED-WEIGHT-1M": str(self.used), "X-MBX-ORDER-COUNT-1M": str(self.orders)}


def rate_limits() -> list[dict[str, Any]]:
    """As ``exchangeInfo`` tells them."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_A_MINUTE},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_A_MINUTE},
    ]


def kline_weight(params: Params) -> int:
    """Of ``klines``, by limit."""
    limit = params.integer("limit", 500)
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def depth_weight(params: Params) -> int:
    """Of ``depth``, by limit."""
    limit = params.integer("limit", 500)
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def per_symbol(one: int, every: int) -> Callable[[Params], int]:
    """Of an endpoint that costs more without a symbol."""
    return lambda params: one if params.has("symbol") else every
