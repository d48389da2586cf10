"""Our own pre-trade limits. Nautilus' risk engine checks neither notional nor leverage on margin accounts, so nothing else would.

Only entries are refused: an exit, which is reduce-only, may always leave.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from dolphin.config import VenueConfig

__all__ = ["Denial", "OrderLimits"]

MINUTE_NS = 60_000_000_000


class Denial(StrEnum):
    """Reason code of an entry that was not sent."""

    SAFE_MODE = "SAFE_MODE"
    POSITION_OPEN = "POSITION_OPEN"
    NO_INSTRUMENT = "NO_INSTRUMENT"
    INSTRUMENT_HALTED = "INSTRUMENT_HALTED"
    PRICE_SANITY = "PRICE_SANITY"
    MIN_QUANTITY = "MIN_QUANTITY"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    MAX_NOTIONAL = "MAX_NOTIONAL"
    MAX_LEVERAGE = "MAX_LEVERAGE"
    MAX_ORDERS_MINUTE = "MAX_ORDERS_MINUTE"


@dataclass(slots=True)
class OrderLimits:
    """Checks of one lane; remembers when orders were sent."""

    config: VenueConfig
    _sent: deque[int] = field(default_factory=deque)

    def sent(self, ts: int) -> None:
        """Note an order sent at ``ts`` (ns)."""
        self._sent.append(ts)

    def deny(self, ts: int, quantity: float, close: float, equity: float, bounds: tuple[float, float], quote: float) -> Denial | None:
        """First limit that an entry of ``quantity`` at ``close`` (USDT) would break at ``ts`` (ns), or None.

        ``equity``: account equity, USDT; ``bounds``: the instrument's least quantity and least notional; ``quote``: middle of the
        newest quote, NaN when there is none yet.
        """
        notional = quantity * close
        if not (0.0 < close < math.inf) or abs(quote / close - 1.0) > self.config.price_band:
            return Denial.PRICE_SANITY
        if not quantity > 0.0 or quantity < bounds[0]:
            return Denial.MIN_QUANTITY
        if notional < bounds[1]:
            return Denial.MIN_NOTIONAL
        if notional > self.config.max_notional:
            return Denial.MAX_NOTIONAL
        if not notional <= self.config.max_leverage * equity:
            return Denial.MAX_LEVERAGE
        while self._sent and self._sent[0] <= ts - MINUTE_NS:
            self._sent.popleft()
        return Denial.MAX_ORDERS_MINUTE if len(self._sent) >= self.config.max_orders_minute else None
