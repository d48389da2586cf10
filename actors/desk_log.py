"""What becomes of the desk's orders, written down: by default nowhere, in a lane into its journal, each order before it is sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nautilus_trader.model.enums import LiquiditySide, OrderSide
from nautilus_trader.model.events import OrderEvent, OrderFilled

from actors.trip import Intent
from dolphin.lane.records import Records
from dolphin.report.venue import VenueTrade
from dolphin.storage.journal import Entry, Kind

__all__ = ["DeskLog", "LaneLog"]

MS = 1_000_000


class DeskLog:
    """Keeps nothing: a backtest has its orders in Nautilus' own reports."""

    def sent(self, intent: Intent) -> None:
        """An order is about to be sent."""

    def heard(self, event: OrderEvent) -> None:
        """The venue has said something of an order that the desk acts upon: accepted, filled, rejected, denied, canceled, expired."""

    def settled(self, trade: VenueTrade) -> None:
        """A round trip has come to its end in both ledgers."""


class LaneLog(DeskLog):
    """Journal of a lane: an intent is durable when ``sent`` returns, and with it everything that was decided before."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.last_fill: dict[str, Any] | None = None
        self.reason = ""
        """Of the orders that follow, when it is not their purpose."""
        self.now = 0
        """ms of the newest bar: a settlement's time."""

    def sent(self, intent: Intent) -> None:
        order = {"client_order_id": intent.client_order_id, "symbol": intent.symbol, "side": intent.side, "quantity": intent.quantity}
        how = {
            "order_type": intent.style,
            "reduce_only": intent.purpose != "ENTRY",
            "reason": self.reason or intent.purpose,
            "close": intent.close,
        }
        self._records.add(Entry(Kind.ORDER_INTENT, order | how, intent.ts // MS))
        self._records.flush()

    def heard(self, event: OrderEvent) -> None:
        name = type(event).__name__.removeprefix("Order").lower()
        facts: dict[str, Any] = {"client_order_id": str(event.client_order_id), "event": name}
        if isinstance(event, OrderFilled):
            symbol = event.instrument_id.symbol.value.removesuffix("-PERP")
            facts |= {"symbol": symbol, "side": "SELL" if event.order_side == OrderSide.SELL else "BUY"}
            facts |= {"quantity": float(event.last_qty), "price": float(event.last_px), "fee": event.commission.as_double()}
            facts["liquidity"] = "maker" if event.liquidity_side == LiquiditySide.MAKER else "taker"
            self.last_fill = facts | {"ts_ms": event.ts_event // MS}
        elif hasattr(event, "reason"):
            facts["reason"] = str(event.reason)
        self._records.add(Entry(Kind.ORDER_EVENT, facts, event.ts_event // MS))

    def settled(self, trade: VenueTrade) -> None:
        self._records.add(Entry(Kind.SETTLEMENT, asdict(trade), self.now))
