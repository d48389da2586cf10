"""The venue of a live lane: the same decisions and the same desk as on paper, but time is time, and fills are the exchange's.

Nothing is repeatable here. A lane that comes back decides its past again without orders; then it looks at the exchange: a position that is
the engine's own goes on, with its stop; anything else is safe mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from nautilus_trader.model.data import CustomData, DataType
from nautilus_trader.model.enums import OrderType
from nautilus_trader.model.identifiers import InstrumentId

from actors.config import DolphinActorConfig
from actors.data_types import Snapshot
from actors.dolphin_actor import DolphinActor
from actors.live import LiveNode
from actors.paper import PaperVenueNode
from actors.trip import Intent, Trip
from dolphin.config import VenueConfig
from dolphin.lane.lane import Lane
from dolphin.lane.records import Records
from dolphin.lane.recovery import FLATTEN
from dolphin.lane.venue import VenueState
from dolphin.live.gates import Admission

__all__ = ["LiveVenue"]

BREATH_S: Final = 0.03
FLATTEN_S: Final = 7.0
"""A stop of the lane waits so long for its position to be closed; after that the protective stop is what is left."""


class LiveActor(DolphinActor):
    """``before`` is called when the exchange's orders and positions are known, and before they are compared with the desk's."""

    before: Callable[[], None]

    def on_start(self) -> None:
        self.before()
        super().on_start()


class LiveVenue(PaperVenueNode):
    """``admit`` is asked when the venue is opened: before that there is neither a key nor a node."""

    repeatable: ClassVar[bool] = False

    def __init__(self, name: str, lane: Lane, records: Records, orders: VenueConfig, admit: Callable[[], Admission]) -> None:
        super().__init__(name, lane, records, orders)
        self._admit_lane = admit
        self._admission: Admission | None = None
        self._live: LiveNode

    @property
    def blocks(self) -> tuple[str, ...]:
        over = self._admission is None or self._admission.over(self._node.kernel.clock.timestamp_ms())
        return ("PERMIT_OVER",) if over else ()

    @property
    def flat(self) -> bool:
        return super().flat and not self.desk.protection.lifting

    def open(self, state: Mapping[str, Any]) -> None:
        """Raises ``ConfigError`` when a gate does not hold, ``MissingDependency`` when the exchange cannot be connected or reconciled."""
        self._admission = self._admit_lane()
        position = self.lane.engine.position
        # what the exchange still has of the engine's position is this lane's, or Nautilus would let no reduce-only order close it
        claims = [] if position is None else [InstrumentId.from_str(f"{position.asset}-PERP.{self._orders.name}")]
        # no order is larger than what the permitted capital carries, whatever the account holds later
        most = min(self._orders.max_notional, self._admission.permit.capital * self._orders.max_leverage)
        config = DolphinActorConfig(
            lane="GREEN" if self.lane.direction > 0 else "BLUE", bar_seconds=self.lane.bar_seconds or 60, order_id_tag="000",
            orders=msgspec.structs.replace(self._orders, max_notional=most), oms_type="NETTING", external_order_claims=claims,
        )  # fmt: skip
        self.actor = LiveActor(config, self.lane.engine, decide=self._decide, log=self._log)
        self.actor.before = lambda: self._take_up(list(state.get("orders", ())))
        self._live = LiveNode(self._name, self._admission, self.actor)
        self._node, self._loop, self._data = self._live.node, self._live.loop, self._live.quotes
        self._watch_queues()
        self._live.start()

    def breathe(self) -> None:
        self._live.breathe(BREATH_S)
        self._check()

    def flatten(self) -> None:
        """Send the exits, and wait until the exchange has done them."""
        self._log.reason = FLATTEN
        self.desk.flatten()
        ends = self._loop.time() + FLATTEN_S
        while self._loop.time() < ends and (self.desk.trip is not None or self.desk.strays or self.desk.protection.lifting):
            self.breathe()
        self._log.reason = ""

    def state(self) -> VenueState:
        return {}

    def _take_up(self, orders: list[str]) -> None:
        """The engine's open position, when the exchange holds it: in that asset and direction, and no more than was wanted."""
        position = self.lane.engine.position
        if position is None:
            return
        view, direction = self.desk.view, position.direction
        trip = Trip.of(position.to_dict(), view.step(position.asset), self.actor.config.lane)
        trip.last_close = position.last_price
        trip.orders = [key for key in orders if key.startswith(f"{trip.key}-")]
        held = direction * view.positions().get(position.asset, 0.0)
        if not 0.0 < held <= trip.quantity_model + 0.5 * trip.step:
            self.desk.refused = trip
            return
        trip.entry.add(held, trip.entry_close, float("nan"), 0.0, False)
        self._take_up_stop(trip)
        self.desk.trip = trip
        self.desk.active.add(trip.symbol)

    def _take_up_stop(self, trip: Trip) -> None:
        for order in self.actor.cache.orders_open(venue=self.desk.view.venue):
            key = str(order.client_order_id)
            if key in trip.orders and order.order_type == OrderType.STOP_MARKET and order.is_reduce_only:
                trip.stop = key
                side = "SELL" if trip.direction > 0 else "BUY"
                self.desk.intents[key] = Intent(key, "STOP", trip.symbol, side, float(order.quantity), trip.last_close, 0, "stop")

    def _adopt(self, tick: Snapshot) -> None:
        """Instruments are the exchange's."""

    def _advance(self, ts: int) -> None:
        """Time passes by itself."""

    async def _carry(self, tick: Snapshot) -> None:
        await self._live.refreshed()
        self._data.give(CustomData(DataType(Snapshot), tick))
        await self._rest()
