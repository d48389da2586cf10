"""The account's books: orders open and closed, fills, income; and how balances and positions are told."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from daemons.exchange.account import MAINTENANCE, Account
from daemons.exchange.orders import AlgoOrder, Fill, Order

__all__ = ["Ledger"]


class Ledger:
    """Everything that happened to ``account``. ``waiting``: symbols with an open order; ``working``: orders that go on taking."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, AlgoOrder] = {}
        self.fills: list[Fill] = []
        self.incomes: list[dict[str, Any]] = []
        self.waiting: set[int] = set()
        self.working: set[Order] = set()
        self._open: dict[int, Order] = {}
        self._open_algos: dict[int, AlgoOrder] = {}
        self._id, self._trade = 1_000_000, 0

    def next_id(self) -> int:
        """A fresh order id, of orders and conditional orders."""
        self._id += 1
        return self._id

    def next_trade(self, n: int) -> int:
        """A fresh id of a fill; they are far from those of the tape."""
        self._trade += 1
        return 10_000_000_000 + self._trade

    def add(self, order: Order) -> None:
        """A new order."""
        self.orders[order.id] = self._open[order.id] = order
        self.waiting.add(order.symbol)

    def add_algo(self, algo: AlgoOrder) -> None:
        """A new conditional order."""
        self.algos[algo.id] = self._open_algos[algo.id] = algo
        self.waiting.add(algo.symbol)

    def closed(self, order: Order) -> None:
        """An order that has ended."""
        self._open.pop(order.id, None)
        self.working.discard(order)
        self._forget(order.symbol)

    def closed_algo(self, algo: AlgoOrder) -> None:
        """A conditional order that has ended or become an order."""
        self._open_algos.pop(algo.id, None)
        self._forget(algo.symbol)

    def open_orders(self, n: int | None = None) -> list[Order]:
        """Of a symbol, or of all; the oldest first."""
        return [order for order in self._open.values() if n is None or order.symbol == n]

    def open_algos(self, n: int | None = None) -> list[AlgoOrder]:
        """Of a symbol, or of all; the oldest first."""
        return [algo for algo in self._open_algos.values() if n is None or algo.symbol == n]

    def income(self, n: int, kind: str, amount: Decimal, ms: int) -> None:
        """Write down a payment."""
        symbol = self.account.instruments[n].symbol
        number = len(self.incomes) + 1
        told = {"symbol": symbol, "incomeType": kind, "income": f"{amount:.8f}", "asset": "USDT", "time": ms, "tranId": number}
        self.incomes.append({**told, "tradeId": "", "info": ""})

    def reserved(self) -> Decimal:
        """Initial margin of open orders that do not only reduce."""
        account = self.account
        adding = [order for order in self._open.values() if not order.reduce_only]
        margins = (order.rest * order.ticks * account.unit(order.symbol) / account.leverage_of(order.symbol) for order in adding)
        return sum(margins, Decimal(0))

    def available(self) -> Decimal:
        """USDT free for margin."""
        account = self.account
        return max(Decimal(0), account.wallet + account.all_unrealized() - account.all_margin() - self.reserved())

    def account_event(self, reason: str, symbols: Sequence[int], change: Decimal, stamp: int) -> dict[str, Any]:
        """ACCOUNT_UPDATE. ``change``: of the balance, except profit and commission."""
        account = self.account
        wallet = f"{account.wallet:.8f}"
        positions = [
            {
                "s": account.instruments[n].symbol, "pa": self._amount(n), "ep": f"{account.entry(n):.8f}",
                "bep": f"{account.entry(n):.8f}",
                "cr": f"{account.positions[n].realized:.8f}", "up": f"{account.unrealized(n):.8f}", "mt": "cross", "iw": "0", "ps": "BOTH",
            }
            for n in symbols
        ]  # fmt: skip
        told = {"m": reason, "B": [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": f"{change:.8f}"}], "P": positions}
        return {"e": "ACCOUNT_UPDATE", "E": stamp, "T": stamp, "a": told}

    def balance(self, stamp: int) -> dict[str, Any]:
        """The one asset as ``account`` tells it."""
        account, positions = self.account, self.account.all_margin()
        wallet, profit, free = account.wallet, account.all_unrealized(), self.available()
        maintenance = sum((abs(account.notional(n)) * MAINTENANCE for n in account.open_positions()), Decimal(0))
        told = {
            "walletBalance": wallet, "unrealizedProfit": profit, "marginBalance": wallet + profit, "maintMargin": maintenance,
            "initialMargin": positions + self.reserved(), "positionInitialMargin": positions, "openOrderInitialMargin": self.reserved(),
            "crossWalletBalance": wallet, "crossUnPnl": profit, "availableBalance": free, "maxWithdrawAmount": free,
        }  # fmt: skip
        return {"asset": "USDT", **{name: f"{value:.8f}" for name, value in told.items()}, "marginAvailable": True, "updateTime": stamp}

    def position(self, n: int, stamp: int) -> dict[str, Any]:
        """A position as ``positionRisk`` and ``account`` tell it, the fields of every version together."""
        account, known = self.account, self.account.positions.get(n)
        entry, margin = f"{account.entry(n):.8f}", f"{account.margin(n):.8f}"
        notional, profit = account.notional(n), f"{account.unrealized(n):.8f}"
        return {
            "symbol": account.instruments[n].symbol, "positionSide": "BOTH", "positionAmt": self._amount(n), "entryPrice": entry,
            "breakEvenPrice": entry, "markPrice": f"{account.mark(n):.8f}", "unRealizedProfit": profit, "unrealizedProfit": profit,
            "liquidationPrice": "0", "isolatedMargin": "0", "notional": f"{notional:.8f}", "marginAsset": "USDT", "isolatedWallet": "0",
            "initialMargin": margin, "maintMargin": f"{abs(notional) * MAINTENANCE:.8f}", "positionInitialMargin": margin,
            "openOrderInitialMargin": "0", "adl": 0, "bidNotional": "0", "askNotional": "0", "marginType": "cross", "isolated": False,
            "isAutoAddMargin": "false", "leverage": str(account.leverage_of(n)), "maxNotionalValue": "100000000",
            "maxNotional": "100000000",
            "updateTime": known.updated_ms if known else stamp,
        }  # fmt: skip

    def _amount(self, n: int) -> str:
        return self.account.instruments[n].quantity(self.account.lots(n))

    def _forget(self, n: int) -> None:
        if not self.open_orders(n) and not self.open_algos(n):
            self.waiting.discard(n)
