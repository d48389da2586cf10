"""Our own pre-trade limits, and the view of the venue that they and the desk have.

Nautilus' risk engine checks neither notional nor leverage on margin accounts, so nothing else would.

Only entries are refused: an exit, which is reduce-only, may always leave.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, Venue
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.trading.strategy import Strategy

from dolphin.config import VenueConfig

__all__ = ["Denial", "OrderLimits", "VenueView", "order_quantity"]

MINUTE_NS = 60_000_000_000


class Denial(StrEnum):
    """Reason code of an entry that was not sent."""

    SAFE_MODE = "SAFE_MODE"
    POSITION_OPEN = "POSITION_OPEN"
    STOP_WORKING = "STOP_WORKING"
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
    needs_quote: bool = False
    """Refuse an entry when no quote of now is known, as on a real venue; a simulated one has quotes after the order only."""
    _sent: deque[int] = field(default_factory=deque)

    def sent(self, ts: int) -> None:
        """Note an order sent at ``ts`` (ns)."""
        self._sent.append(ts)

    def recent(self, ts: int) -> list[int]:
        """When orders of the last minute before ``ts`` (ns) were sent."""
        return [sent for sent in self._sent if sent > ts - MINUTE_NS]

    def deny(self, ts: int, quantity: float, close: float, equity: float, bounds: tuple[float, float], quote: float) -> Denial | None:
        """First limit that an entry of ``quantity`` at ``close`` (USDT) would break at ``ts`` (ns), or None.

        ``equity``: account equity, USDT; ``bounds``: the instrument's least quantity and least notional; ``quote``: middle of the
        newest quote, NaN when there is none yet.
        """
        notional = quantity * close
        if self.needs_quote and not quote > 0.0:
            return Denial.PRICE_SANITY
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


class VenueView:
    """What Nautilus' cache knows of a venue, by symbol (BTCUSDT)."""

    def __init__(self, strategy: Strategy, name: str) -> None:
        self.strategy, self.venue = strategy, Venue(name)

    def instrument(self, symbol: str) -> Instrument | None:
        """The perpetual of ``symbol``, or None."""
        return self.strategy.cache.instrument(InstrumentId.from_str(f"{symbol}-PERP.{self.venue}"))

    def step(self, symbol: str) -> float:
        """Step of its quantities, 0 when it is unknown."""
        instrument = self.instrument(symbol)
        return float(instrument.size_increment) if instrument else 0.0

    def middle(self, symbol: str, since: int = 0) -> float:
        """Middle of the newest quote, NaN when there is none, or none ``since`` (ns)."""
        quote = self.strategy.cache.quote_tick(InstrumentId.from_str(f"{symbol}-PERP.{self.venue}"))
        if quote is None or quote.ts_event < since:
            return math.nan
        return 0.5 * float(quote.bid_price.as_double() + quote.ask_price.as_double())

    def follow(self, client_order_id: str, symbol: str, selling: bool) -> None:
        """Move a maker order to the touch."""
        order, touch = self.strategy.cache.order(ClientOrderId(client_order_id)), self.touch(symbol, selling)
        if order is not None and touch is not None and order.status == OrderStatus.ACCEPTED and order.price != touch:
            self.strategy.modify_order(order, price=touch)

    def touch(self, symbol: str, selling: bool, since: int = 0) -> Any | None:
        """Price at which a resting order would be first, None without a quote ``since`` (ns)."""
        quote = self.strategy.cache.quote_tick(InstrumentId.from_str(f"{symbol}-PERP.{self.venue}"))
        if quote is None or quote.ts_event < since:
            return None
        return quote.ask_price if selling else quote.bid_price

    def equity(self) -> float:
        """Balance of the account, USDT; 0 without one."""
        account = self.strategy.portfolio.account(self.venue)
        balance = account.balance_total(USDT) if account is not None else None
        return float(balance.as_double()) if balance is not None else 0.0

    def open_orders(self) -> list[str]:
        """Ids of all orders that rest at the venue, whosever they are."""
        return sorted(str(order.client_order_id) for order in self.strategy.cache.orders_open(venue=self.venue))

    def positions(self) -> dict[str, float]:
        """Signed quantity of all open positions, whosever they are."""
        net: dict[str, float] = {}
        for position in self.strategy.cache.positions_open(venue=self.venue):
            symbol = position.instrument_id.symbol.value.removesuffix("-PERP")
            net[symbol] = net.get(symbol, 0.0) + position.signed_qty
        return net


def order_quantity(instrument: Any, quantity: float) -> Any:
    """``quantity`` as a Nautilus ``Quantity``, rounded down to the instrument's step (half a millionth of a step forgives float dust).

    Zero for less than a step, and for a quantity that is not finite.
    """
    step = float(instrument.size_increment)
    steps = math.floor(quantity / step + 5e-7) if quantity < math.inf else 0
    return instrument.make_qty(steps * step) if steps > 0 else type(instrument.size_increment).zero(instrument.size_precision)
