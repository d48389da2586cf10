"""The protective stop: a reduce-only STOP_MARKET order at the venue beside every held position, from its first fill until it is flat.

It works while we do not: process dead, line cut, machine off. A position whose stop is refused, ends, or stays without an answer is closed
at once, and the lane is in safe mode. A stop that was lifted must be gone before the next entry of its asset: it would close that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.common.events import TimeEvent
from nautilus_trader.model.enums import OrderSide, OrderStatus
from nautilus_trader.model.identifiers import ClientOrderId

from actors.answers import cancel_again
from actors.limits import order_quantity
from actors.trip import Intent, Trip

if TYPE_CHECKING:
    from actors.orders import OrderDesk

__all__ = ["Protection"]

SECOND = 1_000_000_000
UNANSWERED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED)


class Protection:
    """Stops of the trips of ``desk``. ``distance`` of the trigger from the mean price of the entry, fraction; 0: there are none."""

    def __init__(self, desk: OrderDesk, distance: float) -> None:
        self.desk, self.distance = desk, distance
        self._lifted: dict[str, str] = {}
        """Symbols of stops that we have cancelled, by order id, until the venue says that they are gone."""

    def check(self, trip: Trip) -> None:
        """See to it that ``trip`` has a stop when it needs one; end the trip when the stop has done its work, or cannot."""
        if trip.leaving or not self.distance > 0.0:
            return
        order = self._order(trip.stop)
        if order is not None and order.filled_qty > 0:
            if order.is_closed:
                self._leave(trip, "PROTECTIVE_STOP")
        elif trip.held and not trip.stop:
            self._place(trip)
        elif trip.held and (order is None or order.is_closed):
            self._unprotected(trip, "STOP_REFUSED")

    def lift(self, trip: Trip) -> None:
        """The trip is over: cancel its stop."""
        order = self._order(trip.stop)
        if order is not None and not order.is_closed:
            self._lifted[trip.stop] = trip.symbol
            self._alarm("lift", trip.stop, self._on_lifted)
            if not order.is_pending_cancel:
                self.desk.strategy.cancel_order(order)

    @property
    def lifting(self) -> bool:
        """Whether any stop that was lifted may still be at the venue."""
        return any((order := self._order(key)) is not None and not order.is_closed for key in self._lifted)

    def working(self, symbol: str) -> bool:
        """Whether a stop that was lifted may still be at the venue."""
        self._lifted = {key: name for key, name in self._lifted.items() if (order := self._order(key)) is not None and not order.is_closed}
        return symbol in self._lifted.values()

    def look_for_strangers(self) -> None:
        """Orders that rest at the venue when the lane starts, and that nobody here knows: safe mode."""
        strangers = [key for key in self.desk.view.open_orders() if key not in self.desk.intents and not self._ours(key)]
        if strangers:
            self.desk.enter_safe_mode(f"UNKNOWN_ORDER {', '.join(strangers[:5])}: cancel them at the venue")

    def _ours(self, key: str) -> bool:
        trips = (self.desk.trip, *self.desk.strays)
        return any(trip is not None and (key == trip.stop or key in trip.orders) for trip in trips)

    def _place(self, trip: Trip) -> None:
        instrument, strategy = self.desk.instrument(trip.symbol), self.desk.strategy
        if instrument is None:
            return
        tick, mean = float(instrument.price_increment), trip.entry.value / trip.entry.quantity
        trigger = instrument.make_price(round(mean * (1.0 - trip.direction * self.distance) / tick) * tick)
        side = OrderSide.SELL if trip.direction > 0 else OrderSide.BUY
        # of the whole entry, so that fills that follow are protected too: reduce-only closes no more than there is
        quantity = order_quantity(instrument, max(trip.quantity_model, trip.held))
        key, now = f"{trip.key}-{len(trip.orders) + 1}", strategy.clock.timestamp_ns()
        named = {"reduce_only": True, "tags": ["STOP"], "client_order_id": ClientOrderId(key)}
        order = strategy.order_factory.stop_market(instrument.id, side, quantity, trigger, **named)
        trip.stop = key
        trip.orders.append(key)
        names = key, "STOP", trip.symbol, "SELL" if trip.direction > 0 else "BUY"
        self._alarm("stop", key, self._on_due)
        self.desk.submit(order, Intent(*names, float(quantity), trip.last_close, now, "stop"))

    def _on_due(self, event: TimeEvent) -> None:
        """By now the venue has said that it has the stop."""
        key = event.name.split("-", 1)[1]
        trip, order = self.desk.trip, self._order(key)
        if trip is not None and trip.stop == key and not trip.leaving and (order is None or order.status in UNANSWERED):
            self._unprotected(trip, "STOP_NO_ANSWER")
            self.desk.go_on()

    def _on_lifted(self, event: TimeEvent) -> None:
        """By now a lifted stop is gone; if not, it is cancelled again, until it is."""
        key = event.name.split("-", 1)[1]
        order = self._order(key)
        if order is not None and not order.is_closed:
            self.desk.enter_safe_mode(f"STOP_STAYS {key} of {self._lifted.get(key)}: cancel it at the venue")
            self._alarm("lift", key, self._on_lifted)
            cancel_again(self.desk.strategy, order)

    def _unprotected(self, trip: Trip, why: str) -> None:
        self.desk.enter_safe_mode(f"{why} {trip.symbol}: the position is closed at once")
        self._leave(trip, why)

    def _leave(self, trip: Trip, why: str) -> None:
        trip.denied, trip.leaving, trip.rest, trip.patience = why, True, 0.0, 0

    def _order(self, key: str) -> Any:
        return self.desk.strategy.cache.order(ClientOrderId(key)) if key else None

    def _alarm(self, what: str, key: str, then: Any) -> None:
        clock = self.desk.strategy.clock
        clock.set_time_alert_ns(f"{what}-{key}", clock.timestamp_ns() + int(self.desk.config.ack_timeout_s * SECOND), then)
