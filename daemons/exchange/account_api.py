"""REST endpoints of the account, ``/fapi/v1..v3``: orders, positions, balances, settings, the user's stream."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from daemons.exchange.account import MAINTENANCE, Account
from daemons.exchange.ledger import Ledger
from daemons.exchange.limits import per_symbol
from daemons.exchange.market_api import Route
from daemons.exchange.matching import MAKER, TAKER, Matcher, account_time
from daemons.exchange.order_desk import OrderDesk
from daemons.exchange.params import Params, Refusal
from daemons.exchange.streams import Hub
from daemons.exchange.venue import Venue

__all__ = ["AccountApi"]

_DONE = {"code": 200, "msg": "success"}


class AccountApi:
    """Private endpoints. ``hub`` serves the user's stream."""

    def __init__(self, venue: Venue, ledger: Ledger, matcher: Matcher, desk: OrderDesk, hub: Hub) -> None:
        self._venue, self._ledger, self._matcher, self._desk, self._hub = venue, ledger, matcher, desk, hub

    @property
    def _account(self) -> Account:
        return self._ledger.account

    def routes(self) -> dict[str, Route]:
        """By ``METHOD path``."""
        found: dict[str, Route] = {}

        def signed(name: str, answer: Callable[[Params], Any], weight: int | Callable[[Params], int] = 1, orders: int = 0) -> None:
            method, path = name.split(" ")
            found[f"{method} /fapi/{path if path[0] == 'v' else 'v1/' + path}"] = Route(answer, weight, "signed", orders)

        signed("POST order", self.place, 0, 1)
        signed("POST order/test", lambda _: {}, 1)
        signed("GET order", lambda params: self._desk.order(params).told())
        signed("DELETE order", self.cancel)
        signed("DELETE batchOrders", self.cancel_several)
        signed("DELETE allOpenOrders", self.cancel_all)
        signed("GET openOrder", self.open_order)
        signed("GET openOrders", self.open_orders, per_symbol(1, 40))
        signed("GET allOrders", self.all_orders, 5)
        signed("GET userTrades", self.user_trades, 5)
        signed("POST algoOrder", self.place_algo, 0, 1)
        signed("GET algoOrder", lambda params: self._desk.algo(params).told())
        signed("DELETE algoOrder", self.cancel_algo)
        signed("DELETE algoOpenOrders", self.cancel_algos)
        signed("GET openAlgoOrders", lambda params: self._told(self._ledger.open_algos(self._wanted(params))), per_symbol(1, 40))
        signed("GET allAlgoOrders", self.all_algos, 5)
        for version in ("v2", "v3"):
            signed(f"GET {version}/account", self.account, 5)
            signed(f"GET {version}/balance", self.balance, 5)
            signed(f"GET {version}/positionRisk", self.positions, 5)
        signed("GET positionRisk", self.positions, 5)
        signed("GET income", self.income, 30)
        signed("GET commissionRate", self.commission, 20)
        signed("GET symbolConfig", self.symbol_config, 5)
        signed("GET accountConfig", self.account_config, 5)
        signed("GET leverageBracket", self.brackets)
        signed("POST leverage", self.set_leverage)
        signed("POST marginType", self.set_margin_type)
        signed("GET positionSide/dual", lambda _: {"dualSidePosition": False}, 30)
        signed("POST positionSide/dual", self.set_dual)
        signed("GET multiAssetsMargin", lambda _: {"multiAssetsMargin": False}, 30)
        found["POST /fapi/v1/listenKey"] = Route(self.open_stream, 1, "key")
        found["PUT /fapi/v1/listenKey"] = Route(self.keep_stream, 1, "key")
        found["DELETE /fapi/v1/listenKey"] = Route(self.close_stream, 1, "key")
        return found

    def place(self, params: Params) -> dict[str, Any]:
        """The order as accepted, or what became of it for ``newOrderRespType=RESULT``."""
        result = params.one_of("newOrderRespType", ("ACK", "RESULT"), -1102, "ACK") == "RESULT"
        told = self._desk.place(params).told()
        return told if result else {**told, "status": "NEW", "executedQty": "0", "cumQty": "0", "cumQuote": "0", "avgPrice": "0"}

    def cancel(self, params: Params) -> dict[str, Any]:
        """Raises ``Refusal`` -2011 for an order that is not open."""
        try:
            order = self._desk.order(params)
        except Refusal as refusal:
            raise Refusal(-2011, "Unknown order sent.") if refusal.code == -2013 else refusal from None
        if not order.open:
            raise Refusal(-2011, "Unknown order sent.")
        self._matcher.cancel(order)
        return order.told()

    def cancel_several(self, params: Params) -> list[dict[str, Any]]:
        """Each order of the list, or why it was not cancelled."""
        key, name = ("orderId", "orderIdList") if params.has("orderIdList") else ("origClientOrderId", "origClientOrderIdList")
        try:
            wanted = msgspec.json.decode(params.text(name), type=list[int | str])
        except msgspec.MsgspecError:
            raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.") from None
        if not 1 <= len(wanted) <= 10:
            raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
        found: list[dict[str, Any]] = []
        for each in wanted:
            try:
                found.append(self.cancel(Params({"symbol": params.text("symbol"), key: str(each)})))
            except Refusal as refusal:
                found.append({"code": refusal.code, "msg": refusal.text})
        return found

    def cancel_all(self, params: Params) -> dict[str, Any]:
        """All open orders of a symbol."""
        for order in self._ledger.open_orders(self._desk.symbol(params)):
            self._matcher.cancel(order)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def open_order(self, params: Params) -> dict[str, Any]:
        """Raises ``Refusal`` -2013 for an order that is not open."""
        order = self._desk.order(params)
        if not order.open:
            raise Refusal(-2013, "Order does not exist.")
        return order.told()

    def open_orders(self, params: Params) -> list[dict[str, Any]]:
        """Of a symbol, or of all."""
        return self._told(self._ledger.open_orders(self._wanted(params)))

    def all_orders(self, params: Params) -> list[dict[str, Any]]:
        """Of a symbol: from orderId on, or of a time, at most 1000."""
        n, first = self._desk.symbol(params), params.integer("orderId", 0)
        chosen = (order for order in self._ledger.orders.values() if order.symbol == n and order.id >= first)
        return self._page(params, [order.told() for order in chosen], forward=bool(first))

    def user_trades(self, params: Params) -> list[dict[str, Any]]:
        """Fills of a symbol: of an order, from fromId on, or of a time, at most 1000."""
        n, number, first = self._desk.symbol(params), params.integer("orderId", 0), params.integer("fromId", 0)
        chosen = (f for f in self._ledger.fills if f.order.symbol == n and (not number or f.order.id == number) and f.id >= first)
        return self._page(params, [fill.told() for fill in chosen], forward=bool(first))

    def place_algo(self, params: Params) -> dict[str, Any]:
        """The conditional order as accepted."""
        return self._desk.place_algo(params).told()

    def cancel_algo(self, params: Params) -> dict[str, Any]:
        """Raises ``Refusal`` -2011 for one that does not wait any more."""
        algo = self._desk.algo(params)
        if not algo.open:
            raise Refusal(-2011, "Unknown order sent.")
        self._matcher.cancel_algo(algo)
        return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}

    def cancel_algos(self, params: Params) -> dict[str, Any]:
        """All conditional orders of a symbol."""
        for algo in self._ledger.open_algos(self._desk.symbol(params)):
            self._matcher.cancel_algo(algo)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def all_algos(self, params: Params) -> list[dict[str, Any]]:
        """Of a symbol, whatever became of them."""
        n = self._desk.symbol(params)
        chosen = [algo.told() for algo in self._ledger.algos.values() if algo.symbol == n]
        return self._page(params, chosen, key="createTime")

    def account(self, _: Params) -> dict[str, Any]:
        """Balances and open positions."""
        stamp = account_time(self._venue)
        asset = self._ledger.balance(stamp)
        totals = {
            "totalInitialMargin": "initialMargin", "totalMaintMargin": "maintMargin", "totalWalletBalance": "walletBalance",
            "totalUnrealizedProfit": "unrealizedProfit", "totalMarginBalance": "marginBalance",
            "totalPositionInitialMargin": "positionInitialMargin", "totalOpenOrderInitialMargin": "openOrderInitialMargin",
            "totalCrossWalletBalance": "crossWalletBalance", "totalCrossUnPnl": "crossUnPnl", "availableBalance": "availableBalance",
            "maxWithdrawAmount": "maxWithdrawAmount",
        }  # fmt: skip
        positions = [self._ledger.position(n, stamp) for n in self._account.open_positions()]
        return {**self.account_config(_), **{name: asset[key] for name, key in totals.items()}, "assets": [asset], "positions": positions}

    def balance(self, _: Params) -> list[dict[str, Any]]:
        """USDT."""
        asset = self._ledger.balance(account_time(self._venue))
        return [{**asset, "accountAlias": "demo", "balance": asset["walletBalance"]}]

    def positions(self, params: Params) -> list[dict[str, Any]]:
        """Open positions, or that of a symbol."""
        n, stamp = self._wanted(params), account_time(self._venue)
        return [self._ledger.position(k, stamp) for k in (self._account.open_positions() if n is None else [n])]

    def income(self, params: Params) -> list[dict[str, Any]]:
        """Profit, commission and funding, at most 1000."""
        kind, symbol = params.text("incomeType", ""), params.text("symbol", "")
        chosen = [row for row in self._ledger.incomes if kind in ("", row["incomeType"]) and symbol in ("", row["symbol"])]
        return self._page(params, chosen)

    def commission(self, params: Params) -> dict[str, Any]:
        """Fractions of the notional."""
        symbol = self._venue.instruments[self._desk.symbol(params)].symbol
        return {"symbol": symbol, "makerCommissionRate": f"{MAKER}", "takerCommissionRate": f"{TAKER}", "rpiCommissionRate": "0"}

    def symbol_config(self, params: Params) -> list[dict[str, Any]]:
        """Leverage and margin type of a symbol, or of all."""
        return [
            {
                "symbol": self._venue.instruments[n].symbol, "marginType": "CROSSED", "isAutoAddMargin": False,
                "leverage": self._account.leverage_of(n), "maxNotionalValue": "100000000",
            }
            for n in self._listed(params)
        ]  # fmt: skip

    def account_config(self, _: Params) -> dict[str, Any]:
        """What the account may do."""
        return {
            "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": False, "multiAssetsMargin": False,
            "tradeGroupId": -1, "updateTime": account_time(self._venue),
        }  # fmt: skip

    def brackets(self, params: Params) -> list[dict[str, Any]]:
        """One bracket a symbol."""
        bracket = {
            "bracket": 1, "initialLeverage": 125, "notionalCap": 100_000_000, "notionalFloor": 0, "maintMarginRatio": float(MAINTENANCE),
            "cum": 0.0,
        }  # fmt: skip
        return [{"symbol": self._venue.instruments[n].symbol, "brackets": [bracket]} for n in self._listed(params)]

    def set_leverage(self, params: Params) -> dict[str, Any]:
        """1 to 125."""
        n, leverage = self._desk.symbol(params), params.integer("leverage", None, 1)
        if leverage > 125:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        self._account.leverage[n] = leverage
        return {"leverage": leverage, "maxNotionalValue": "100000000", "symbol": self._venue.instruments[n].symbol}

    def set_margin_type(self, params: Params) -> dict[str, Any]:
        """CROSSED is the only one here."""
        self._desk.symbol(params)
        if params.one_of("marginType", ("ISOLATED", "CROSSED"), -4055) == "CROSSED":
            raise Refusal(-4046, "No need to change margin type.")
        raise Refusal(-4047, "Margin type cannot be changed on the demo exchange.")

    def set_dual(self, params: Params) -> dict[str, Any]:
        """One-way is the only mode here."""
        if params.flag("dualSidePosition"):
            raise Refusal(-4068, "Position side cannot be changed on the demo exchange.")
        raise Refusal(-4059, "No need to change position side.")

    def open_stream(self, _: Params) -> dict[str, Any]:
        """The account's listen key, the same until it is closed."""
        if not self._hub.listen_keys:
            self._hub.listen_keys.add(hashlib.sha256(f"{self._ledger.next_id()}".encode()).hexdigest())
        return {"listenKey": next(iter(self._hub.listen_keys))}

    def keep_stream(self, _: Params) -> dict[str, Any]:
        """Raises ``Refusal`` -1125 when there is none."""
        if not self._hub.listen_keys:
            raise Refusal(-1125, "This listenKey does not exist.")
        return {"listenKey": next(iter(self._hub.listen_keys))}

    def close_stream(self, _: Params) -> dict[str, Any]:
        """Nothing is told on it any more."""
        self._hub.listen_keys.clear()
        return {}

    def _wanted(self, params: Params) -> int | None:
        return self._desk.symbol(params) if params.has("symbol") else None

    def _listed(self, params: Params) -> Iterable[int]:
        n = self._wanted(params)
        return [k for k in range(len(self._venue.instruments)) if self._venue.status(k)] if n is None else [n]

    def _told(self, orders: Iterable[Any]) -> list[dict[str, Any]]:
        return [order.told() for order in orders]

    def _page(self, params: Params, rows: list[dict[str, Any]], key: str = "time", *, forward: bool = False) -> list[dict[str, Any]]:
        """Rows of the asked time; the first ``limit`` of them from a given start on, else the last."""
        first, last, limit = params.integer("startTime", 0), params.integer("endTime", 10**15), params.integer("limit", 500, 1, 1000)
        chosen = [row for row in rows if first <= row[key] <= last]
        return chosen[:limit] if forward or params.has("startTime") else chosen[-limit:]
