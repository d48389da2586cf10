"""Orders, conditional orders and fills: what the exchange remembers of each, and how it tells them by REST and on the user's stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from daemons.exchange.instruments import Instrument

__all__ = ["OPEN", "AlgoOrder", "Fill", "Order"]

OPEN: Final = ("NEW", "PARTIALLY_FILLED")
_NEVER: Final = 0


@dataclass(slots=True, eq=False)
class Order:
    """``side`` +1 buy, -1 sell; ``ticks`` the limit, 0 for a market order; ``spent`` ticks times lots of what was filled; ``origin`` the
    type it was sent as (STOP_MARKET of a triggered one), ``stop_ticks`` its trigger."""

    id: int
    client_id: str
    symbol: int
    instrument: Instrument
    side: int
    kind: str
    time_in_force: str
    lots: int
    ticks: int = 0
    reduce_only: bool = False
    close_position: bool = False
    origin: str = ""
    stop_ticks: int = 0
    algo: AlgoOrder | None = None
    created_ms: int = 0
    updated_ms: int = 0
    status: str = "NEW"
    filled: int = 0
    spent: int = 0

    @property
    def open(self) -> bool:
        """Whether it can still be filled."""
        return self.status in OPEN

    @property
    def rest(self) -> int:
        """Lots that are not filled."""
        return self.lots - self.filled

    @property
    def mean(self) -> str:
        """Mean price of its fills as text."""
        i = self.instrument
        return f"{self.spent * i.tick / self.filled:.{i.price_decimals + 2}f}" if self.filled else "0"

    @property
    def worth(self) -> Decimal:
        """USDT of its fills."""
        return self.spent * self.instrument.tick * self.instrument.lot

    def told(self) -> dict[str, Any]:
        """As REST tells it."""
        i = self.instrument
        return {
            "orderId": self.id, "symbol": i.symbol, "status": self.status, "clientOrderId": self.client_id, "price": i.price(self.ticks),
            "avgPrice": self.mean, "origQty": i.quantity(self.lots), "executedQty": i.quantity(self.filled),
            "cumQty": i.quantity(self.filled), "cumQuote": f"{self.worth:f}", "timeInForce": self.time_in_force, "type": self.kind,
            "reduceOnly": self.reduce_only, "closePosition": self.close_position, "side": "BUY" if self.side > 0 else "SELL",
            "positionSide": "BOTH", "stopPrice": i.price(self.stop_ticks), "workingType": "CONTRACT_PRICE", "priceProtect": False,
            "origType": self.origin or self.kind, "priceMatch": "NONE", "selfTradePreventionMode": "NONE", "goodTillDate": _NEVER,
            "time": self.created_ms, "updateTime": self.updated_ms,
        }  # fmt: skip

    def event(self, execution: str, stamp: int, fill: Fill | None = None) -> dict[str, Any]:
        """ORDER_TRADE_UPDATE of ``execution`` (NEW, TRADE, CANCELED, EXPIRED, CALCULATED)."""
        i, side = self.instrument, "BUY" if self.side > 0 else "SELL"
        told = {
            "s": i.symbol, "c": self.client_id, "S": side, "o": self.kind, "f": self.time_in_force, "q": i.quantity(self.lots),
            "p": i.price(self.ticks), "ap": self.mean, "sp": i.price(self.stop_ticks), "x": execution, "X": self.status, "i": self.id,
            "l": i.quantity(fill.lots) if fill else "0", "z": i.quantity(self.filled), "L": i.price(fill.ticks) if fill else "0",
            "n": f"{fill.commission:f}" if fill else "0", "N": "USDT", "T": stamp, "t": fill.id if fill else 0, "b": "0", "a": "0",
            "m": bool(fill and fill.maker), "R": self.reduce_only, "wt": "CONTRACT_PRICE", "ot": self.origin or self.kind, "ps": "BOTH",
            "cp": self.close_position, "rp": f"{fill.realized:.8f}" if fill else "0", "pP": False, "si": 0, "ss": 0, "V": "NONE",
            "pm": "NONE", "gtd": _NEVER,
        }  # fmt: skip
        return {"e": "ORDER_TRADE_UPDATE", "E": stamp, "T": stamp, "o": told}


@dataclass(slots=True, eq=False)
class AlgoOrder:
    """A conditional order waiting for its trigger; ``ticks`` the limit of STOP and TAKE_PROFIT, 0 for the market kinds."""

    id: int
    client_id: str
    symbol: int
    instrument: Instrument
    side: int
    kind: str
    time_in_force: str
    lots: int
    trigger_ticks: int
    ticks: int = 0
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    created_ms: int = 0
    updated_ms: int = 0
    triggered_ms: int = 0
    status: str = "NEW"
    order: Order | None = None

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.status == "NEW"

    def hit(self, ticks: int) -> bool:
        """Whether a trade at ``ticks`` triggers it: a stop against the position's way, a take-profit with it."""
        above = self.side > 0 if self.kind.startswith("STOP") else self.side < 0
        return ticks >= self.trigger_ticks if above else ticks <= self.trigger_ticks

    def told(self) -> dict[str, Any]:
        """As REST tells it."""
        i = self.instrument
        return {
            "algoId": self.id, "clientAlgoId": self.client_id, "orderType": self.kind, "symbol": i.symbol,
            "side": "BUY" if self.side > 0 else "SELL", "positionSide": "BOTH", "timeInForce": self.time_in_force,
            "quantity": i.quantity(self.lots), "algoStatus": self.status, "actualOrderId": str(self.order.id) if self.order else "",
            "algoType": "CONDITIONAL", "actualPrice": self.order.mean if self.order else "0", "triggerPrice": i.price(self.trigger_ticks),
            "price": i.price(self.ticks), "icebergQuantity": None, "selfTradePreventionMode": "NONE", "workingType": self.working_type,
            "priceMatch": "NONE",
            "closePosition": self.close_position, "priceProtect": False, "reduceOnly": self.reduce_only, "createTime": self.created_ms,
            "updateTime": self.updated_ms, "triggerTime": self.triggered_ms, "goodTillDate": _NEVER,
        }  # fmt: skip

    def event(self, stamp: int) -> dict[str, Any]:
        """ALGO_UPDATE."""
        i, order = self.instrument, self.order
        told = {
            "caid": self.client_id, "aid": self.id, "at": "CONDITIONAL", "o": self.kind, "s": i.symbol,
            "S": "BUY" if self.side > 0 else "SELL", "ps": "BOTH", "f": self.time_in_force, "q": i.quantity(self.lots), "X": self.status,
            "ai": str(order.id) if order else "", "ap": order.mean if order else "0", "aq": i.quantity(order.filled) if order else "0",
            "act": order.kind if order else "0", "tp": i.price(self.trigger_ticks), "p": i.price(self.ticks), "V": "NONE",
            "wt": self.working_type, "pm": "NONE", "cp": self.close_position, "pP": False, "R": self.reduce_only, "tt": self.triggered_ms,
            "gtd": _NEVER,
        }  # fmt: skip
        return {"e": "ALGO_UPDATE", "E": stamp, "T": stamp, "o": told}


@dataclass(frozen=True, slots=True)
class Fill:
    """Part of an order that was done."""

    id: int
    order: Order = field(repr=False)
    lots: int
    ticks: int
    ms: int
    maker: bool
    commission: Decimal
    realized: Decimal

    def told(self) -> dict[str, Any]:
        """As ``userTrades`` tells it."""
        order, i = self.order, self.order.instrument
        return {
            "symbol": i.symbol, "id": self.id, "orderId": order.id, "side": "BUY" if order.side > 0 else "SELL",
            "price": i.price(self.ticks),
            "qty": i.quantity(self.lots), "realizedPnl": f"{self.realized:.8f}", "quoteQty": f"{self.ticks * self.lots * i.tick * i.lot:f}",
            "commission": f"{self.commission:f}", "commissionAsset": "USDT", "time": self.ms, "positionSide": "BOTH",
            "buyer": order.side > 0, "maker": self.maker,
        }  # fmt: skip
