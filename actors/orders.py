"""Order desk of one lane: the engine's entries and exits become orders, and what the venue really did is kept beside them.

At most one round trip (``Trip``) is under way. After every event the desk drives it towards what the engine wants and compares the
venue's position with its own. Where they differ, or an order stays without an answer, the lane is in *safe mode*: no entry is sent,
loudly, until an operator releases it; exits go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nautilus_trader.common.events import TimeEvent
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderStatus
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, Venue
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.trading.strategy import Strategy

from actors.limits import Denial, OrderLimits
from actors.trip import DeskTotals, Intent, Leg, Trip
from dolphin.config import VenueConfig

__all__ = ["MOST_EXIT_ATTEMPTS", "OrderDesk"]

MOST_EXIT_ATTEMPTS = 5
"""Exits that may fail one after the other before the lane goes into safe mode; it goes on trying, once a bar."""

SECOND = 1_000_000_000
UNANSWERED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.PENDING_CANCEL)


class OrderDesk:
    """Orders of one lane through ``strategy``; ``settled`` is called with each trip that has come to its end."""

    def __init__(self, strategy: Strategy, config: VenueConfig, settled: Callable[[Trip], None]) -> None:
        self.strategy, self.config, self.settled = strategy, config, settled
        self.limits = OrderLimits(config)
        self.totals = DeskTotals()
        self.trip: Trip | None = None
        """The round trip that has, or may have, something at the venue."""
        self.refused: Trip | None = None
        """The engine's open position, when no order was sent for it."""
        self.queued: dict[str, Any] | None = None
        """The engine's open position, when its entry waits for the exit before it."""
        self.intents: dict[str, Intent] = {}
        self.halted: set[str] = set()
        self.active: set[str] = set()
        """Symbols whose quotes are needed: an order or a position is there."""
        self.safe_reason = ""
        self._working = ""
        self._since = self._patience = 0
        self._alarms = 0
        self._paused = False
        self._seen: set[str] = set()

    def enter(self, entry: Mapping[str, Any]) -> None:
        """Send the entry of a position that the engine has just opened, or note why not; behind an exit under way it waits."""
        if self.trip is not None and self.trip.leaving:
            self.queued = dict(entry)
            self._hurry()
            return
        trip = self._trip(entry)
        instrument = self.instrument(trip.symbol)
        denial = self._denial(trip, instrument)
        if denial or instrument is None:
            self._refuse(trip, denial or Denial.NO_INSTRUMENT)
            return
        self.trip, trip.rest = trip, float(_rounded(instrument, trip.quantity_model))
        self.active.add(trip.symbol)
        self._begin()

    def leave(self, trade: Mapping[str, Any]) -> None:
        """Close what the engine has just closed."""
        if self.queued is not None:
            self._refuse(self._trip(self.queued), Denial.POSITION_OPEN)
            self.queued = None
        trip = self.refused or self.trip
        if trip is None:
            return
        trip.model_trade = {**trade, "exit_close": trip.last_close}
        if self.refused is not None:
            self.refused = None
            self.settled(trip)
            return
        trip.leaving, trip.rest = True, 0.0
        self._begin()

    def flatten(self) -> None:
        """Close whatever is held, without the engine's asking (the strategy stops)."""
        if self.trip is not None:
            self.trip.leaving, self.trip.rest = True, 0.0
            self._hurry()

    def on_bar(self, closes: Mapping[str, float]) -> None:
        """A new bar: note the held asset's close, try again what failed, compare positions."""
        for trip in (self.trip, self.refused):
            if trip is not None and 0.0 < closes.get(trip.symbol, math.nan) < math.inf:
                trip.last_close = closes[trip.symbol]
        self._paused = False
        self.compare()
        self._drive()

    def on_quote(self, symbol: str) -> None:
        """A quote of an active symbol: a maker order may be placed or follow the touch."""
        if self.config.order_style == "market" or self.trip is None or self.trip.symbol != symbol:
            return
        intent = self.intents.get(self._working)
        if intent is None:
            self._drive()
        elif intent.style == "maker" and not intent.cancelling:
            self._follow(intent)

    def on_filled(self, event: OrderFilled) -> None:
        """A fill: book it once, whatever the order's state was thought to be."""
        key = str(event.client_order_id)
        intent = self.intents.get(key)
        if intent is None or f"{key}/{event.trade_id}" in self._seen:
            return
        self._seen.add(f"{key}/{event.trade_id}")
        quantity, price, fee = float(event.last_qty), float(event.last_px), event.commission.as_double()
        totals = self.totals
        totals.fills += 1
        totals.cash += quantity * price if event.order_side == OrderSide.SELL else -quantity * price
        totals.fees += fee
        trip = self.trip
        if intent.purpose == "STRAY" or trip is None or trip.symbol != intent.symbol:
            if intent.purpose == "ENTRY":
                self._send_back(intent, quantity)
        else:
            leg = trip.entry if intent.purpose == "ENTRY" else trip.exit
            leg.add(quantity, price, self.middle(intent.symbol), fee, event.liquidity_side == LiquiditySide.MAKER)
            if intent.purpose == "ENTRY":
                trip.rest = max(trip.rest - quantity, 0.0) if trip.rest > 0.5 * trip.step else 0.0
            trip.exit_attempts = 0
        order = self.strategy.cache.order(event.client_order_id)
        if key == self._working and order is not None and order.is_closed:
            self._working = ""
        self._drive()
        self.compare()

    def on_ended(self, client_order_id: ClientOrderId, *, rejected: bool, post_only: bool = False) -> None:
        """An order came to its end without being filled whole: rejected, denied, cancelled or expired."""
        key = str(client_order_id)
        intent, trip = self.intents.get(key), self.trip
        self.totals.rejected += rejected
        if intent is None or trip is None or key != self._working:
            return
        self._working = ""
        if intent.purpose == "ENTRY" and not intent.cancelling and not post_only:
            trip.rest = 0.0
        if intent.purpose == "EXIT" and not intent.cancelling and not post_only:
            trip.exit_attempts += 1
            self._paused = True
            self.compare()
            if trip.exit_attempts >= MOST_EXIT_ATTEMPTS:
                self.enter_safe_mode("EXIT_FAILED")
        if not post_only:
            self._drive()

    def on_funding(self, symbol: str, amount: float) -> None:
        """Funding was posted to the account (USDT, positive = received)."""
        self.totals.funding += amount
        if self.trip is not None and self.trip.symbol == symbol:
            self.trip.funding += amount

    def compare(self) -> None:
        """Compare the venue's open positions with ours; any difference is safe mode."""
        trip = self.trip
        ours = {trip.symbol: trip.direction * trip.held} if trip is not None and trip.held else {}
        venue: dict[str, float] = {}
        for position in self.strategy.cache.positions_open(venue=Venue(self.config.name)):
            symbol = position.instrument_id.symbol.value.removesuffix("-PERP")
            venue[symbol] = venue.get(symbol, 0.0) + position.signed_qty
        for symbol in ours.keys() | venue.keys():
            mine, theirs = ours.get(symbol, 0.0), venue.get(symbol, 0.0)
            if math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9):
                continue
            if trip is not None and symbol == trip.symbol and theirs == 0.0 and not self._in_flight("EXIT"):
                trip.exit.add(trip.held, trip.last_close, math.nan, 0.0, False)
                trip.denied = "CLOSED_OUTSIDE"
                self.enter_safe_mode("CLOSED_OUTSIDE")
            elif not self._in_flight("STRAY"):
                self.enter_safe_mode(f"POSITION_MISMATCH {symbol}: venue {theirs:g}, ours {mine:g}")

    def enter_safe_mode(self, reason: str) -> None:
        """No entries from now on; an entry under way is cancelled."""
        if not self.safe_reason:
            self.safe_reason = reason
            self.strategy.log.error(f"SAFE MODE: {reason}; no entries until it is released")
        intent = self.intents.get(self._working)
        if intent is not None and intent.purpose == "ENTRY":
            self._cancel(intent)

    def release_safe_mode(self) -> None:
        """An operator has looked: entries again, unless the next comparison objects."""
        self.safe_reason = ""

    def instrument(self, symbol: str) -> Instrument | None:
        """The perpetual of ``symbol`` (BTCUSDT) at the venue, or None."""
        return self.strategy.cache.instrument(self._id(symbol))

    def middle(self, symbol: str) -> float:
        """Middle of the newest quote, NaN when there is none."""
        quote = self.strategy.cache.quote_tick(self._id(symbol))
        return math.nan if quote is None else 0.5 * (quote.bid_price.as_double() + quote.ask_price.as_double())

    def _id(self, symbol: str) -> InstrumentId:
        return InstrumentId.from_str(f"{symbol}-PERP.{self.config.name}")

    def _in_flight(self, purpose: str) -> bool:
        return any(i.purpose == purpose for i in (self.intents[str(o.client_order_id)] for o in self._open_orders()))

    def _open_orders(self) -> list[Any]:
        cache, sid = self.strategy.cache, self.strategy.id
        orders = [*cache.orders_open(strategy_id=sid), *cache.orders_inflight(strategy_id=sid)]
        return [order for order in orders if str(order.client_order_id) in self.intents]

    def _denial(self, trip: Trip, instrument: Instrument | None) -> Denial | None:
        if self.safe_reason:
            return Denial.SAFE_MODE
        if self.trip is not None:
            return Denial.POSITION_OPEN
        if instrument is None:
            return Denial.NO_INSTRUMENT
        if trip.symbol in self.halted:
            return Denial.INSTRUMENT_HALTED
        account = self.strategy.portfolio.account(Venue(self.config.name))
        equity = account.balance_total(USDT).as_double() if account is not None else 0.0
        least = float(instrument.min_quantity or 0), instrument.min_notional.as_double() if instrument.min_notional else 0.0
        quantity = float(_rounded(instrument, trip.quantity_model))
        quote = self.middle(trip.symbol) if trip.symbol in self.active else math.nan
        return self.limits.deny(self.strategy.clock.timestamp_ns(), quantity, trip.entry_close, equity, least, quote)

    def _begin(self) -> None:
        """A new purpose: the time that a maker order is given starts now."""
        maker, self._since = self.config.order_style == "maker", self.strategy.clock.timestamp_ns()
        self._patience = self._since + int(self.config.maker_timeout_s * SECOND) if maker else 0
        if maker:
            self._alarms += 1
            self._alert(f"patience-{self._alarms}", self._patience, self._on_patience)
        self._drive()

    def _drive(self) -> None:
        """Do the next step of the trip, if there is one and nothing is under way."""
        trip = self.trip
        if trip is None:
            return
        intent = self.intents.get(self._working)
        if intent is not None:
            if intent.purpose == "ENTRY" and trip.leaving:
                self._cancel(intent)
        elif trip.leaving and not trip.held:
            self._finish(trip)
        elif trip.symbol in self.halted:
            return
        elif trip.leaving and not self._paused:
            self._send("EXIT", trip.held)
        elif not trip.leaving and trip.rest > 0.0:
            self._send("ENTRY", trip.rest)

    def _finish(self, trip: Trip) -> None:
        self.trip = None
        self.active.discard(trip.symbol)
        self.settled(trip)
        entry, self.queued = self.queued, None
        if entry is not None:
            self.enter(entry)

    def _hurry(self) -> None:
        """No more patience: a maker order is cancelled, what is left goes to the market."""
        self._patience = 0
        intent = self.intents.get(self._working)
        if intent is not None and intent.style == "maker":
            self._cancel(intent)
        else:
            self._drive()

    def _trip(self, entry: Mapping[str, Any]) -> Trip:
        symbol, close = str(entry["asset"]), float(entry["entry_price"])
        instrument, quantity = self.instrument(symbol), float(entry["notional"]) / close
        step = float(instrument.size_increment) if instrument else 0.0
        return Trip(symbol, int(entry["direction"]), quantity, close, int(entry["entry_bar"]), step, Leg(), Leg(), last_close=close)

    def _refuse(self, trip: Trip, denial: Denial) -> None:
        trip.denied = denial.value
        self.totals.denied[trip.denied] = self.totals.denied.get(trip.denied, 0) + 1
        self.refused = trip
        self.strategy.log.warning(f"entry of {trip.symbol} not sent: {trip.denied}")

    def _send(self, purpose: str, quantity: float) -> None:
        trip = self.trip
        instrument = self.instrument(trip.symbol) if trip is not None else None
        if trip is None or instrument is None:
            return
        selling = (trip.direction < 0) == (purpose == "ENTRY")
        side = OrderSide.SELL if selling else OrderSide.BUY
        amount, factory, reduce = _rounded(instrument, quantity), self.strategy.order_factory, purpose == "EXIT"
        if self.strategy.clock.timestamp_ns() < self._patience:
            quote = self.strategy.cache.quote_tick(instrument.id)
            if quote is None or quote.ts_event < self._since:
                return
            touch = quote.ask_price if selling else quote.bid_price
            order = factory.limit(instrument.id, side, amount, touch, post_only=True, reduce_only=reduce, tags=[purpose])
        else:
            order = factory.market(instrument.id, side, amount, reduce_only=reduce, tags=[purpose])
        self._working = str(order.client_order_id)
        self._submit(order, purpose, trip.symbol, trip.last_close)

    def _submit(self, order: Any, purpose: str, symbol: str, close: float) -> None:
        now, key = self.strategy.clock.timestamp_ns(), str(order.client_order_id)
        style = "maker" if order.is_post_only else "market"
        side = "SELL" if order.side == OrderSide.SELL else "BUY"
        self.intents[key] = Intent(key, purpose, symbol, side, float(order.quantity), close, now, style)
        self.totals.orders += 1
        self.limits.sent(now)
        self._expect_answer(self.intents[key])
        self.strategy.submit_order(order)

    def _send_back(self, intent: Intent, quantity: float) -> None:
        """A fill that came after its trip had ended (or while another is under way) goes back at once."""
        instrument = self.instrument(intent.symbol)
        if instrument is not None:
            side = OrderSide.BUY if intent.side == "SELL" else OrderSide.SELL
            self.strategy.log.error(f"late fill of {intent.client_order_id}: {quantity} {intent.symbol} sent back")
            amount = _rounded(instrument, quantity)
            order = self.strategy.order_factory.market(instrument.id, side, amount, reduce_only=True, tags=["STRAY"])
            self._submit(order, "STRAY", intent.symbol, intent.close)

    def _cancel(self, intent: Intent) -> None:
        order = self.strategy.cache.order(ClientOrderId(intent.client_order_id))
        if order is not None and not intent.cancelling and not order.is_closed:
            intent.cancelling, intent.asked = True, 0
            self._expect_answer(intent)
            self.strategy.cancel_order(order)

    def _follow(self, intent: Intent) -> None:
        """Move a maker order to the touch."""
        order = self.strategy.cache.order(ClientOrderId(intent.client_order_id))
        quote = self.strategy.cache.quote_tick(self._id(intent.symbol))
        if order is None or quote is None or order.status != OrderStatus.ACCEPTED:
            return
        touch = quote.ask_price if intent.side == "SELL" else quote.bid_price
        if order.price != touch:
            self.strategy.modify_order(order, price=touch)

    def _alert(self, name: str, ts: int, callback: Callable[[TimeEvent], None]) -> None:
        self.strategy.clock.set_time_alert_ns(name, ts, callback)

    def _on_patience(self, event: TimeEvent) -> None:
        if self._patience and event.ts_event >= self._patience:
            self._hurry()

    def _expect_answer(self, intent: Intent) -> None:
        self._alarms += 1
        name = f"answer-{self._alarms}-{intent.client_order_id}"
        self._alert(name, self.strategy.clock.timestamp_ns() + int(self.config.ack_timeout_s * SECOND), self._on_no_answer)

    def _on_no_answer(self, event: TimeEvent) -> None:
        """An order, or a cancel, without an answer is asked after once; then it is safe mode, and the order is cancelled."""
        intent = self.intents[event.name.split("-", 2)[2]]
        order = self.strategy.cache.order(ClientOrderId(intent.client_order_id))
        if order is None or order.status not in UNANSWERED:
            return
        intent.asked += 1
        if intent.asked == 1:
            self.strategy.query_order(order)
        else:
            self.enter_safe_mode(f"NO_ANSWER {intent.client_order_id}")
            self.strategy.cancel_order(order)
        if intent.asked < MOST_EXIT_ATTEMPTS:
            self._expect_answer(intent)


def _rounded(instrument: Instrument, quantity: float) -> Any:
    """``quantity`` rounded down to the instrument's step (half a millionth of a step forgives float dust)."""
    step = float(instrument.size_increment)
    steps = math.floor(quantity / step + 5e-7)
    return instrument.make_qty(steps * step) if steps > 0 else type(instrument.size_increment).zero(instrument.size_precision)
