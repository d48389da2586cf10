"""Matching: orders meet the book when they come and the tape while they rest; conditional orders wait for their price.

A taker walks the book as published, level by level; what was taken of a level is gone until the books move on. A resting limit is
filled at its price by trades of the tape at that price or beyond, no more than they traded. Our own fills are not printed on the tape
and our orders are not shown in the book, so that the market stays the recorded one. What a market order does not get from 20 levels
expires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from daemons.exchange.account import Account
from daemons.exchange.funding import FUNDING_MS, funding_rate, next_funding_ms
from daemons.exchange.ledger import Ledger
from daemons.exchange.orders import AlgoOrder, Fill, Order
from daemons.exchange.params import Refusal
from daemons.exchange.tape import Trades
from daemons.exchange.venue import Listener, Venue

__all__ = ["MAKER", "TAKER", "Matcher", "account_time"]

MAKER: Final = Decimal("0.0002")
TAKER: Final = Decimal("0.0005")
_UNIT: Final = Decimal("0.00000001")


class Matcher(Listener):
    """Matches orders of ``account`` against ``venue``; ``tell`` takes the events of the user's stream."""

    def __init__(self, venue: Venue, account: Account, ledger: Ledger, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._venue, self._account, self._ledger, self.tell = venue, account, ledger, tell
        self._taken: dict[tuple[int, int, int], int] = {}
        self._funding_ms = next_funding_ms(venue.now)

    def traded(self, trades: Trades) -> None:
        """Trigger conditional orders, fill resting ones, trade by trade."""
        if not self._ledger.waiting or self._venue.faults.active("maintenance"):
            return
        for n, _, ticks, lots, _, _ in trades.rows():
            if n in self._ledger.waiting:
                for algo in self._ledger.open_algos(n):
                    if algo.hit(ticks):
                        self.trigger(algo)
                for order in self._ledger.open_orders(n):
                    if order.ticks and (order.ticks - ticks) * order.side >= 0:
                        self._fill(order, min(order.rest, lots), order.ticks, maker=True)

    def stepped(self, now: int) -> None:
        """Go on with what a fault cut short, settle what was delisted, pay funding."""
        venue = self._venue
        self._taken.clear()
        if venue.faults.active("maintenance"):
            return
        for n in [*self._ledger.waiting, *self._account.open_positions()]:
            if venue.status(n) == "SETTLING":
                self._settle(n)
        for order in tuple(self._ledger.working):
            self._take(order)
        while now >= self._funding_ms:
            self._pay(self._funding_ms)
            self._funding_ms += FUNDING_MS

    def enter(self, order: Order) -> None:
        """A new order that passed every check. Raises ``Refusal`` for a post-only that would take and a fill-or-kill that cannot."""
        offered = self._offered(order)
        if order.time_in_force == "GTX" and offered:
            raise Refusal(-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected.")
        if order.time_in_force == "FOK" and offered < order.lots:
            raise Refusal(-5021, "Due to the order could not be filled immediately, the FOK order has been rejected.")
        self._ledger.add(order)
        self._event(order, "NEW")
        self._take(order)

    def wait(self, algo: AlgoOrder) -> None:
        """A new conditional order that passed every check. Raises ``Refusal`` when it would trigger at once."""
        if algo.hit(int(self._venue.last[algo.symbol])):
            raise Refusal(-2021, "Order would immediately trigger.")
        self._ledger.add_algo(algo)
        self.tell(algo.event(self._stamp()))

    def trigger(self, algo: AlgoOrder) -> None:
        """Its price has come: it becomes an order, or expires when there is nothing to reduce."""
        held = self._account.lots(algo.symbol)
        self._algo(algo, "TRIGGERING")
        lots = min(algo.lots, abs(held)) if algo.reduce_only else abs(held) if algo.close_position else algo.lots
        if (algo.reduce_only or algo.close_position) and (held * algo.side >= 0 or not lots):
            self._algo(algo, "EXPIRED")
            return
        now, kind = account_time(self._venue), "LIMIT" if algo.ticks else "MARKET"
        order = Order(
            self._ledger.next_id(), algo.client_id, algo.symbol, algo.instrument, algo.side, kind, algo.time_in_force, lots, algo.ticks,
            algo.reduce_only or algo.close_position, algo.close_position, algo.kind, algo.trigger_ticks, algo, now, now,
        )  # fmt: skip
        algo.order, algo.triggered_ms = order, now
        self._algo(algo, "TRIGGERED")
        self._ledger.add(order)
        self._event(order, "NEW")
        self._take(order)

    def cancel(self, order: Order) -> None:
        """Cancel what is left of it."""
        self._end(order, "CANCELED", "CANCELED")

    def cancel_algo(self, algo: AlgoOrder) -> None:
        """Cancel it before its trigger."""
        self._algo(algo, "CANCELED")

    def _offered(self, order: Order) -> int:
        """Lots that the book offers now within the order's limit."""
        return sum(lots for _, lots in self._levels(order))

    def _levels(self, order: Order) -> list[tuple[int, int]]:
        """Levels of the other side within the limit, the best first, less what was taken of them."""
        book = self._venue.book(order.symbol)
        if book is None or self._venue.status(order.symbol) != "TRADING":
            return []
        side = 1 if order.side > 0 else 0
        found = []
        for ticks, lots in book.sides[side].tolist():
            left = lots - self._taken.get((order.symbol, side, ticks), 0)
            if left > 0 and (not order.ticks or (order.ticks - ticks) * order.side >= 0):
                found.append((ticks, left))
        return found

    def _take(self, order: Order) -> None:
        """Take from the book what the order may; then the rest rests, goes on later (``partial_fills``) or expires."""
        fault = self._venue.faults.active("partial_fills")
        allowed = order.rest if fault is None else max(1, int(order.lots * fault.share))
        if fault is not None and allowed < order.rest:
            self._venue.faults.hit("partial_fills")
        side = 1 if order.side > 0 else 0
        for ticks, lots in self._levels(order):
            done = min(lots, order.rest, allowed)
            if not order.open or not done:
                break
            self._taken[order.symbol, side, ticks] = self._taken.get((order.symbol, side, ticks), 0) + done
            allowed -= done
            self._fill(order, done, ticks, maker=False)
        self._ledger.working.discard(order)
        if not order.open or (order.ticks and order.time_in_force in ("GTC", "GTX")):
            return
        if fault is not None and not allowed and order.kind == "MARKET":
            self._ledger.working.add(order)
        else:
            self._end(order, "EXPIRED", "EXPIRED")

    def _fill(self, order: Order, lots: int, ticks: int, *, maker: bool, execution: str = "TRADE") -> None:
        account, n = self._account, order.symbol
        if order.reduce_only:
            lots = min(lots, abs(account.lots(n)) if account.lots(n) * order.side < 0 else 0)
        if lots <= 0:
            self._end(order, "EXPIRED", "EXPIRED")
            return
        now = account_time(self._venue)
        rate = Decimal(0) if execution == "CALCULATED" else MAKER if maker else TAKER
        commission = (lots * ticks * account.unit(n) * rate).quantize(_UNIT)
        realized = account.fill(n, order.side * lots, ticks, commission, now)
        order.filled += lots
        order.spent += lots * ticks
        order.status = "PARTIALLY_FILLED" if order.rest else "FILLED"
        order.updated_ms = now
        fill = Fill(self._ledger.next_trade(n), order, lots, ticks, now, maker, commission, realized)
        self._ledger.fills.append(fill)
        self._ledger.income(n, "COMMISSION", -commission, now)
        if realized:
            self._ledger.income(n, "REALIZED_PNL", realized, now)
        self.tell(self._ledger.account_event("ORDER", [n], Decimal(0), self._stamp()))
        self._event(order, execution, fill)
        if not order.open:
            self._close(order)

    def _end(self, order: Order, status: str, execution: str) -> None:
        order.status, order.updated_ms = status, account_time(self._venue)
        self._event(order, execution)
        self._close(order)

    def _close(self, order: Order) -> None:
        self._ledger.closed(order)
        if order.algo is not None:
            self._algo(order.algo, "FINISHED")

    def _event(self, order: Order, execution: str, fill: Fill | None = None) -> None:
        self.tell(order.event(execution, self._stamp(), fill))

    def _algo(self, algo: AlgoOrder, status: str) -> None:
        algo.status, algo.updated_ms = status, account_time(self._venue)
        if not algo.open:
            self._ledger.closed_algo(algo)
        self.tell(algo.event(self._stamp()))

    def _settle(self, n: int) -> None:
        """A delisted symbol: its orders expire, its position is closed at the last price, without commission."""
        for order in self._ledger.open_orders(n):
            self._end(order, "EXPIRED", "EXPIRED")
        for algo in self._ledger.open_algos(n):
            self._algo(algo, "EXPIRED")
        held, now, instrument = self._account.lots(n), account_time(self._venue), self._venue.instruments[n]
        if held:
            name = f"settlement_autoclose-{instrument.symbol}-{now}"
            side, number = -1 if held > 0 else 1, self._ledger.next_id()
            order = Order(number, name, n, instrument, side, "MARKET", "GTC", abs(held), created_ms=now, updated_ms=now)
            self._ledger.add(order)
            self._fill(order, abs(held), int(self._venue.last[n]), maker=False, execution="CALCULATED")

    def _pay(self, funding_ms: int) -> None:
        """Funding of all positions at a funding time."""
        for n in self._account.open_positions():
            rate = Decimal(f"{funding_rate(self._venue.instruments[n].symbol, funding_ms):.8f}")
            paid = self._account.pay_funding(n, rate)
            self._ledger.income(n, "FUNDING_FEE", paid, account_time(self._venue))
            self.tell(self._ledger.account_event("FUNDING_FEE", [n], paid, self._stamp()))

    def _stamp(self) -> int:
        return account_time(self._venue)


def account_time(venue: Venue) -> int:
    """How the exchange stamps what happens to the account now."""
    return venue.stamp(venue.now)
