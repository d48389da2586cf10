"""The order desk: requests for orders, checked against every rule of the exchange before they reach the matching."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from daemons.exchange.account import Account
from daemons.exchange.instruments import MIN_NOTIONAL, Instrument
from daemons.exchange.ledger import Ledger
from daemons.exchange.matching import Matcher, account_time
from daemons.exchange.orders import AlgoOrder, Order
from daemons.exchange.params import Params, Refusal
from daemons.exchange.venue import Venue

__all__ = ["OrderDesk"]

MOST_OPEN: Final = 200
_CLIENT_ID: Final = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_TIMES: Final = ("GTC", "IOC", "FOK", "GTX")
_CONDITIONAL: Final = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET")
_PLAIN: Final = ("LIMIT", "MARKET")
_BAND: Final = Decimal("0.10")


class OrderDesk:
    """Takes orders for ``account``. Every refusal is a ``Refusal`` with Binance's code; nothing has happened then."""

    def __init__(self, venue: Venue, account: Account, ledger: Ledger, matcher: Matcher) -> None:
        self._venue, self._account, self._ledger, self._matcher = venue, account, ledger, matcher

    def place(self, params: Params) -> Order:
        """``POST order``."""
        n, instrument = self._tradable(params)
        kind = params.text("type")
        if kind in _CONDITIONAL or kind == "TRAILING_STOP_MARKET":
            raise Refusal(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
        params.one_of("type", _PLAIN, -1116)
        side = self._side(params)
        times = params.one_of("timeInForce", _TIMES, -1115, "GTC" if kind == "MARKET" else None)
        lots = self._lots(params, instrument)
        ticks = self._ticks(params, "price", instrument) if kind == "LIMIT" else 0
        reduce_only = params.flag("reduceOnly")
        lots = self._reducible(n, side, lots) if reduce_only else lots
        if ticks:
            self._check_band(n, side, ticks)
        self._check_worth(n, side, lots, ticks, reduce_only)
        if len(self._ledger.open_orders(n)) >= MOST_OPEN:
            raise Refusal(-2025, "Reach max open order limit.")
        client_id = self._client_id(params, "newClientOrderId", {order.client_id for order in self._ledger.open_orders()})
        now, number = account_time(self._venue), self._ledger.next_id()
        client_id = client_id or f"demo_{number}"
        order = Order(number, client_id, n, instrument, side, kind, times, lots, ticks, reduce_only, created_ms=now, updated_ms=now)
        self._matcher.enter(order)
        return order

    def place_algo(self, params: Params) -> AlgoOrder:
        """``POST algoOrder``: conditional orders."""
        n, instrument = self._tradable(params)
        params.one_of("algoType", ("CONDITIONAL",), -1102)
        kind, side = params.one_of("type", _CONDITIONAL, -1116), self._side(params)
        close = params.flag("closePosition")
        lots = 0 if close else self._lots(params, instrument)
        if close and (params.has("quantity") or params.flag("reduceOnly") or not kind.endswith("MARKET")):
            raise Refusal(-4136, "Target strategy invalid for orderType, closePosition")
        trigger = self._ticks(params, "triggerPrice", instrument)
        ticks = 0 if kind.endswith("MARKET") else self._ticks(params, "price", instrument)
        times = params.one_of("timeInForce", _TIMES, -1115, "GTC")
        working = params.one_of("workingType", ("CONTRACT_PRICE", "MARK_PRICE"), -1139, "CONTRACT_PRICE")
        taken = {algo.client_id for algo in self._ledger.open_algos()} | {order.client_id for order in self._ledger.open_orders()}
        client_id, now, number = self._client_id(params, "clientAlgoId", taken), account_time(self._venue), self._ledger.next_id()
        algo = AlgoOrder(
            number, client_id or f"demo_{number}", n, instrument, side, kind, times, lots, trigger, ticks, params.flag("reduceOnly"), close,
            working, now, now,
        )  # fmt: skip
        self._matcher.wait(algo)
        return algo

    def order(self, params: Params) -> Order:
        """The order that orderId or origClientOrderId names, the newest of that name. Raises ``Refusal`` -2013."""
        n = self.symbol(params)
        if not params.has("orderId") and not params.has("origClientOrderId"):
            raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        number, name = params.integer("orderId", 0), params.text("origClientOrderId", "")
        for order in reversed(self._ledger.orders.values()):
            if order.symbol == n and (order.id == number if number else order.client_id == name):
                return order
        raise Refusal(-2013, "Order does not exist.")

    def algo(self, params: Params) -> AlgoOrder:
        """The conditional order that algoId or clientAlgoId names. Raises ``Refusal`` -2013."""
        number, name = params.integer("algoId", 0), params.text("clientAlgoId", "")
        for algo in reversed(self._ledger.algos.values()):
            if algo.id == number if number else algo.client_id == name:
                return algo
        raise Refusal(-2013, "Order does not exist.")

    def symbol(self, params: Params) -> int:
        """Number of the request's symbol, listed or delisted. Raises ``Refusal`` -1121."""
        n = self._venue.number.get(params.text("symbol"))
        if n is None or not self._venue.status(n):
            raise Refusal(-1121, "Invalid symbol.")
        return n

    def _tradable(self, params: Params) -> tuple[int, Instrument]:
        n = self.symbol(params)
        if self._venue.status(n) != "TRADING":
            raise Refusal(-4108, "Symbol is on delivering or delivered or settling or closed or pre-trading.")
        if params.text("positionSide", "BOTH") != "BOTH":
            raise Refusal(-4061, "Order's position side does not match user's setting.")
        return n, self._venue.instruments[n]

    def _side(self, params: Params) -> int:
        return 1 if params.one_of("side", ("BUY", "SELL"), -1117) == "BUY" else -1

    def _client_id(self, params: Params, name: str, taken: set[str]) -> str:
        """Empty when none was sent."""
        text = params.text(name, "")
        if text and not _CLIENT_ID.fullmatch(text):
            raise Refusal(-4015, "Client order id is not valid.")
        if text in taken:
            raise Refusal(-4116, "ClientOrderId is duplicated.")
        return text

    def _lots(self, params: Params, instrument: Instrument) -> int:
        lots = params.decimal("quantity") / instrument.lot
        if lots != int(lots):
            raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
        if lots <= 0:
            raise Refusal(-4003, "Quantity less than or equal to zero.")
        return int(lots)

    def _ticks(self, params: Params, name: str, instrument: Instrument) -> int:
        ticks = params.decimal(name) / instrument.tick
        if ticks != int(ticks):
            raise Refusal(-4014, "Price not increased by tick size.")
        if ticks <= 0:
            raise Refusal(-4001, "Price less than 0.")
        return int(ticks)

    def _reducible(self, n: int, side: int, lots: int) -> int:
        """What of ``lots`` reduces the position."""
        held = self._account.lots(n)
        if held * side >= 0:
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        return min(lots, abs(held))

    def _check_band(self, n: int, side: int, ticks: int) -> None:
        """A limit may not lie more than 10 % on the costly side of the mark."""
        mark = int(self._venue.last[n])
        if side > 0 and ticks > mark * (1 + _BAND):
            raise Refusal(-4016, "Limit price can't be higher than the upper bound of the price filter.")
        if side < 0 and ticks < mark * (1 - _BAND):
            raise Refusal(-4024, "Limit price can't be lower than the lower bound of the price filter.")

    def _check_worth(self, n: int, side: int, lots: int, ticks: int, reduce_only: bool) -> None:
        """Minimum notional, then margin for what the order may add to the position."""
        if reduce_only:
            return
        worth = lots * (ticks or int(self._venue.last[n])) * self._account.unit(n)
        if worth < MIN_NOTIONAL:
            raise Refusal(-4164, f"Order's notional must be no smaller than {MIN_NOTIONAL} (unless you choose reduce only).")
        held = self._account.lots(n)
        added = lots - min(lots, abs(held)) if held * side < 0 else lots
        if worth * added / lots / self._account.leverage_of(n) > self._ledger.available():
            raise Refusal(-2019, "Margin is insufficient.")
