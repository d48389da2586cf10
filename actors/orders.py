"""Order desk of one lane: the engine's entries and exits become orders, and what the venue really did is kept beside them.

At most one round trip (``Trip``) is under way. After every event the desk books fills, compares the venue's position with its own and
drives the trip towards what the engine wants. Where positions differ, or an order has no answer, the lane is in *safe mode*: no entry is
sent, loudly, until an operator releases it; exits go on. A fill that comes when its trip has ended is a trip of its own, closed at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nautilus_trader.common.events import TimeEvent
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderStatus
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.trading.strategy import Strategy

from actors.answers import Answers, cancel_again
from actors.desk_log import DeskLog
from actors.limits import Denial, OrderLimits, VenueView, order_quantity
from actors.protection import Protection
from actors.trip import DeskTotals, Intent, Intents, Trip
from dolphin.config import VenueConfig

__all__ = ["MOST_EXIT_ATTEMPTS", "OrderDesk"]

MOST_EXIT_ATTEMPTS = 5
"""Exits that may fail one after the other before the lane goes into safe mode; it goes on trying, once a bar."""

SECOND = 1_000_000_000
FRESH = 10 * SECOND
"""Age (ns) beyond which a quote says nothing about the price of an entry: names without an order are not quoted all the time."""
UNANSWERED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.PENDING_CANCEL)


class OrderDesk:
    """Orders of one lane through ``strategy``; ``settled`` is called with each trip that has come to its end, ``log`` hears of every order
    before it is sent.

    Ids of orders are ``<lane>-<ms of the entry's bar>-<order of its trip>``: the same decisions give the same ids, in every life.
    """

    def __init__(self, strategy: Strategy, config: VenueConfig, settled: Callable[[Trip], None], log: DeskLog) -> None:
        self.strategy, self.config, self.settled, self.log = strategy, config, settled, log
        self.limits, self.view = OrderLimits(config), VenueView(strategy, config.name)
        self.instrument = self.view.instrument
        self.protection, self.totals = Protection(self, config.stop_distance), DeskTotals()
        self.trip: Trip | None = None
        """The round trip that has, or may have, something at the venue."""
        self.strays: list[Trip] = []
        """Late fills that are being closed beside it."""
        self.refused: Trip | None = None
        """The engine's open position, when no order was sent for it."""
        self.queued: dict[str, Any] | None = None
        """The engine's open position, when its entry waits for the exit before it."""
        self.intents = Intents()
        self.halted: set[str] = set()
        self.active: set[str] = set()
        """Symbols whose quotes are needed: an order or a position is there."""
        self.safe_reason = ""
        self._answers = Answers(strategy, config.ack_timeout_s, self._on_no_answer)
        self._patiences = 0
        self._listening = False

    def enter(self, entry: Mapping[str, Any]) -> None:
        """Send the entry of a position that the engine has just opened, or note why not; behind an exit under way it waits."""
        self.compare()
        if self.trip is not None and self.trip.leaving:
            self.queued = dict(entry)
            self._hurry(self.trip)
            return
        trip = Trip.of(entry, self.view.step(str(entry["asset"])), self.strategy.config.lane)
        instrument = self.instrument(trip.symbol)
        denial = self._denial(trip, instrument)
        if denial or instrument is None:
            self._refuse(trip, denial or Denial.NO_INSTRUMENT)
            return
        self.trip, trip.rest = trip, float(order_quantity(instrument, trip.quantity_model))
        self.active.add(trip.symbol)
        self._begin(trip)

    def leave(self, trade: Mapping[str, Any]) -> None:
        """Close what the engine has just closed. Whatever was refused or is held: afterwards nothing is wanted any more."""
        if self.queued is not None:
            queued = Trip.of(self.queued, self.view.step(str(self.queued["asset"])), self.strategy.config.lane)
            self._refuse(queued, Denial.POSITION_OPEN)
            self.queued = None
        trip, self.refused = self.refused, None
        if trip is not None:
            trip.model_trade = {**trade, "exit_close": trip.last_close}
            self.settled(trip)
        elif self.trip is not None:
            self.trip.model_trade = {**trade, "exit_close": self.trip.last_close}
        if self.trip is not None and not self.trip.leaving:
            self.trip.leaving, self.trip.rest = True, 0.0
            self._begin(self.trip)

    @property
    def idle(self) -> bool:
        """Nothing is held or under way: the next bar asks nothing of the desk. (Positions of others are heard of by their events.)"""
        return self.trip is None and self.refused is None and not self.strays

    def on_bar(self, closes: Mapping[str, float]) -> None:
        """A new bar: note the held asset's close, compare positions, try again what failed."""
        for trip in (*self._trips(), *([self.refused] if self.refused is not None else [])):
            if 0.0 < closes.get(trip.symbol, math.nan) < math.inf:
                trip.last_close = closes[trip.symbol]
            trip.paused = False
        self.go_on()

    def on_quote(self, symbol: str) -> None:
        """A quote of an active symbol: a maker order may be placed or follow the touch."""
        trip = self.trip
        if self.config.order_style == "market" or trip is None or trip.symbol != symbol:
            return
        intent = self.intents.get(trip.working)
        if intent is None:
            self._drive(trip)
        elif intent.style == "maker" and not intent.cancelling:
            self.view.follow(intent.client_order_id, intent.symbol, intent.side == "SELL")

    def on_filled(self, event: OrderFilled) -> None:
        """A fill: book it once, whatever the order's state was thought to be."""
        key = str(event.client_order_id)
        intent = self.intents.get(key)
        if intent is not None and (trade := str(event.trade_id)) not in intent.trades:
            intent.trades.append(trade)
            self._book(intent, event)
        self.go_on()

    def on_ended(self, client_order_id: ClientOrderId, *, rejected: bool, post_only: bool = False) -> None:
        """An order came to its end without being filled whole: rejected, denied, cancelled or expired."""
        key = str(client_order_id)
        self.totals.rejected += rejected
        trip, intent = self._owner(key), self.intents.get(key)
        if trip is not None and intent is not None and trip.working == key:
            self._end(trip, intent, post_only)
        elif trip is not None and trip.stop == key:
            self.go_on()

    def on_funding(self, symbol: str, amount: float) -> None:
        """Funding was posted to the account (USDT, positive = received)."""
        self.totals.funding += amount
        if self.trip is not None and self.trip.symbol == symbol:
            self.trip.funding += amount

    def remembered(self, intents: Sequence[Intent]) -> None:
        """Trips and ``intents`` of an earlier life are set: the rest of an entry is not sent again; an order that Nautilus no longer knows
        is under way no more, but a fill of it is still ours."""
        self.intents = Intents((intent.client_order_id, intent) for intent in intents)
        for trip in self._trips():
            order = self.strategy.cache.order(ClientOrderId(trip.working)) if trip.working else None
            trip.rest, trip.working = 0.0, trip.working if order is not None and not order.is_closed else ""
            self.active.add(trip.symbol)

    def flatten(self) -> None:
        """Close what is held, and want no more of it; the engine's own exit settles it later."""
        for trip in self._trips():
            if not trip.leaving:
                trip.leaving, trip.rest, trip.denied = True, 0.0, "FLATTENED"
                self._hurry(trip)

    def compare(self) -> None:
        """Compare the venue's open positions with ours; any difference is safe mode. From the first time on, with every position event."""
        if not self._listening:
            self._listening = True
            self.strategy.msgbus.subscribe("events.position.*", self._on_position)
            self.protection.look_for_strangers()
        ours: dict[str, float] = {}
        for trip in self._trips():
            ours[trip.symbol] = ours.get(trip.symbol, 0.0) + trip.direction * trip.held
        venue = self.view.positions()
        for symbol in sorted(ours.keys() | venue.keys()):
            mine, theirs = ours.get(symbol, 0.0), venue.get(symbol, 0.0)
            if not math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9):
                self._differs(symbol, mine, theirs)

    def go_on(self) -> None:
        """Compare positions, then do the next step of everything under way."""
        self.compare()
        for trip in self._trips():
            self.protection.check(trip)
            self._drive(trip)

    def submit(self, order: Any, intent: Intent) -> None:
        """Write an order down, then send it."""
        self.intents.add(intent, {key for trip in self._trips() for key in trip.orders})
        self.totals.orders += 1
        self.limits.sent(intent.ts)
        self.log.sent(intent)
        self.strategy.submit_order(order)

    def enter_safe_mode(self, reason: str) -> None:
        """No entries from now on; an entry under way is cancelled, and its rest is not sent again."""
        if not self.safe_reason:
            self.safe_reason = reason
            self.strategy.log.error(f"SAFE MODE: {reason}; no entries until it is released")
        for trip in self._trips():
            trip.rest = 0.0
            intent = self.intents.get(trip.working)
            if intent is not None and intent.purpose == "ENTRY":
                self._cancel(intent)

    def release_safe_mode(self) -> None:
        """An operator has looked: entries again, unless the next comparison objects."""
        self.safe_reason = ""

    def _on_position(self, event: Any) -> None:
        """Positions of others too: a strategy is told of its own only."""
        if self.strategy.is_running:
            self.go_on()

    def _trips(self) -> list[Trip]:
        return [*([self.trip] if self.trip is not None else []), *self.strays]

    def _owner(self, key: str) -> Trip | None:
        return next((trip for trip in self._trips() if key in trip.orders), None)

    def _book(self, intent: Intent, event: OrderFilled) -> None:
        quantity, price, fee = float(event.last_qty), float(event.last_px), event.commission.as_double()
        selling, key = event.order_side == OrderSide.SELL, intent.client_order_id
        self.totals.add(quantity, price, fee, selling)
        trip = self._owner(key) or (self._late(intent) if intent.purpose == "ENTRY" else None)
        if trip is None:
            return
        usual = intent.purpose == "ENTRY" or selling == (trip.direction > 0)
        maker = event.liquidity_side == LiquiditySide.MAKER
        trip.book(intent.purpose, quantity if usual else -quantity, price, self.view.middle(intent.symbol), fee, maker)
        order = self.strategy.cache.order(event.client_order_id)
        if key == trip.working and order is not None and order.is_closed:
            trip.working = ""

    def _late(self, intent: Intent) -> Trip:
        trip = Trip.late(intent, self.view.step(intent.symbol))
        self.strategy.log.error(f"late fill of {intent.client_order_id}: it is closed at once")
        self.active.add(trip.symbol)
        if self.trip is None:
            self.trip = trip
        else:
            self.strays.append(trip)
            self.enter_safe_mode(f"LATE_FILL {intent.client_order_id} beside another trip")
        return trip

    def _end(self, trip: Trip, intent: Intent, post_only: bool = False) -> None:
        trip.working = ""
        failed = not intent.cancelling and not post_only
        if failed and intent.purpose == "ENTRY":
            trip.rest = 0.0
        elif failed:
            trip.exit_attempts += 1
            trip.paused = True
        self.compare()
        if trip.exit_attempts >= MOST_EXIT_ATTEMPTS:
            self.enter_safe_mode("EXIT_FAILED")
        # a post-only order that would have taken waits for the next quote: on this one it would be rejected again
        if not post_only or self.strategy.clock.timestamp_ns() >= trip.patience or (trip.leaving and not trip.held):
            self._drive(trip)

    def _differs(self, symbol: str, mine: float, theirs: float) -> None:
        """Part of our position, or all of it, was closed by somebody else (booked at the newest close), or it is somebody else's."""
        trip = self.trip
        intent = self.intents.get(trip.working) if trip is not None else None
        alone = trip is not None and symbol == trip.symbol and mine == trip.direction * trip.held
        if trip is not None and alone and mine and 0.0 <= theirs / mine < 1.0 and (intent is None or intent.purpose == "ENTRY"):
            trip.exit.add(abs(mine - theirs), trip.last_close, math.nan, 0.0, False)
            trip.denied = "CLOSED_OUTSIDE"
            self.enter_safe_mode("CLOSED_OUTSIDE")
        else:
            self.enter_safe_mode(f"POSITION_MISMATCH {symbol}: venue {theirs:g}, ours {mine:g}")

    def _denial(self, trip: Trip, instrument: Instrument | None) -> Denial | None:
        if self.safe_reason:
            return Denial.SAFE_MODE
        if self.trip is not None:
            return Denial.POSITION_OPEN
        if self.protection.working(trip.symbol):
            return Denial.STOP_WORKING
        if instrument is None:
            return Denial.NO_INSTRUMENT
        if trip.symbol in self.halted:
            return Denial.INSTRUMENT_HALTED
        least = float(instrument.min_quantity or 0), instrument.min_notional.as_double() if instrument.min_notional else 0.0
        quantity, now = float(order_quantity(instrument, trip.quantity_model)), self.strategy.clock.timestamp_ns()
        return self.limits.deny(now, quantity, trip.entry_close, self.view.equity(), least, self.view.middle(trip.symbol, now - FRESH))

    def _begin(self, trip: Trip) -> None:
        """A new purpose: the time that a maker order is given starts now."""
        maker, trip.since = self.config.order_style == "maker", self.strategy.clock.timestamp_ns()
        trip.patience = trip.since + int(self.config.maker_timeout_s * SECOND) if maker else 0
        if maker:
            self._patiences += 1
            self.strategy.clock.set_time_alert_ns(f"patience-{self._patiences}", trip.patience, self._on_patience)
        self._drive(trip)

    def _drive(self, trip: Trip) -> None:
        """Do the next step of the trip, if there is one and nothing is under way."""
        intent = self.intents.get(trip.working)
        if intent is not None:
            if intent.purpose == "ENTRY" and trip.leaving:
                self._cancel(intent)
        elif trip.leaving and not trip.held:
            self._finish(trip)
        elif trip.symbol in self.halted:
            trip.rest = 0.0
        elif trip.leaving:
            if not trip.paused:
                self._send(trip, "EXIT", trip.held)
        elif trip.rest > 0.0:
            self._send(trip, "ENTRY", trip.rest)

    def _finish(self, trip: Trip) -> None:
        self.protection.lift(trip)
        if trip is self.trip:
            self.trip = self.strays.pop(0) if self.strays else None
        else:
            self.strays = [other for other in self.strays if other is not trip]
        if all(other.symbol != trip.symbol for other in self._trips()):
            self.active.discard(trip.symbol)
        if trip.model_trade is None and trip.quantity_model:
            self.refused = trip  # flattened before the engine's exit, which settles it
        else:
            self.settled(trip)
        if self.trip is None and self.queued is not None:
            entry, self.queued = self.queued, None
            self.enter(entry)

    def _hurry(self, trip: Trip) -> None:
        """No more patience: a maker order is cancelled, what is left goes to the market."""
        trip.patience = 0
        intent = self.intents.get(trip.working)
        if intent is not None and intent.style == "maker":
            self._cancel(intent)
        else:
            self._drive(trip)

    def _refuse(self, trip: Trip, denial: Denial) -> None:
        trip.denied = denial.value
        self.totals.denied[trip.denied] = self.totals.denied.get(trip.denied, 0) + 1
        self.refused = trip
        self.strategy.log.warning(f"entry of {trip.symbol} not sent: {trip.denied}")

    def _send(self, trip: Trip, purpose: str, quantity: float) -> None:
        if (instrument := self.instrument(trip.symbol)) is None:
            return
        selling = (trip.direction * quantity < 0) == (purpose == "ENTRY")
        side = OrderSide.SELL if selling else OrderSide.BUY
        amount, factory, reduce = order_quantity(instrument, abs(quantity)), self.strategy.order_factory, purpose == "EXIT"
        named = {"reduce_only": reduce, "tags": [purpose], "client_order_id": ClientOrderId(f"{trip.key}-{len(trip.orders) + 1}")}
        if self.strategy.clock.timestamp_ns() < trip.patience:
            if (touch := self.view.touch(trip.symbol, selling, trip.since)) is None:
                return
            order = factory.limit(instrument.id, side, amount, touch, post_only=True, **named)
        else:
            order = factory.market(instrument.id, side, amount, **named)
        now, trip.working = self.strategy.clock.timestamp_ns(), str(order.client_order_id)
        trip.orders.append(trip.working)
        names = trip.working, purpose, trip.symbol, "SELL" if selling else "BUY"
        intent = Intent(*names, float(amount), trip.last_close, now, "maker" if order.is_post_only else "market")
        self._answers.expect(intent)
        self.submit(order, intent)

    def _cancel(self, intent: Intent) -> None:
        order = self.strategy.cache.order(ClientOrderId(intent.client_order_id))
        if order is not None and not intent.cancelling and not order.is_closed:
            intent.cancelling, intent.asked = True, 0
            self._answers.expect(intent)
            self.strategy.cancel_order(order)

    def _on_patience(self, event: TimeEvent) -> None:
        if self.trip is not None and self.trip.patience and event.ts_event >= self.trip.patience:
            self._hurry(self.trip)

    def _on_no_answer(self, key: str, alarm: int) -> None:
        """An order (or a cancel) without an answer is asked after; then it is safe mode, and it is cancelled (again); then it counts as
        ended: an exit is tried again, which as reduce-only does no harm, and a late fill of an entry would be closed at once.

        A market order that is accepted and not filled is without an answer too.
        """
        intent, order, trip = self.intents.get(key), self.strategy.cache.order(ClientOrderId(key)), self._owner(key)
        if intent is None or alarm != intent.alarm or order is None or order.is_closed or trip is None or trip.working != key:
            return
        if order.status not in UNANSWERED and intent.style == "maker" and not intent.cancelling:
            return
        intent.asked += 1
        if intent.asked == 1:
            self._answers.expect(intent)
            self.strategy.query_order(order)
        elif intent.asked == 2:
            again = intent.cancelling
            self.enter_safe_mode(f"NO_ANSWER {key}")
            if not again:
                self._cancel(intent)
                return
            self._answers.expect(intent)
            cancel_again(self.strategy, order)
        else:
            self._end(trip, intent)
