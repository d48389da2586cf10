"""Records of the order desk: intents, fills of a round trip, and the parts of the difference between both ledgers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from msgspec import Struct

from dolphin.report.venue import VenueTrade

__all__ = ["DeskTotals", "Intent", "Intents", "Leg", "Trip", "settle"]


class Intent(Struct):
    """Why an order exists, written down before it is sent. ``purpose``: ENTRY, EXIT or STOP; ``style``: market, maker or stop.

    ``cancelling``: we asked for its cancellation; ``asked``: how often it was asked after in vain, ``alarm``: number of the next time;
    ``trades``: ids of its fills that are booked.
    """

    client_order_id: str
    purpose: str
    symbol: str
    side: str
    quantity: float
    close: float
    ts: int
    style: str
    cancelling: bool = False
    asked: int = 0
    alarm: int = 0
    trades: list[str] = []


class Intents(dict[str, Intent]):
    """Orders by id, the newest 200; those under way always. A fill that comes later than that is somebody else's position."""

    MOST = 200

    def add(self, intent: Intent, under_way: Set[str]) -> None:
        """Remember ``intent``; the oldest goes that is not ``under_way``."""
        self[intent.client_order_id] = intent
        for key in [key for key in self if key not in under_way][: max(0, len(self) - self.MOST)]:
            del self[key]


class DeskTotals(Struct):
    """Sums over all fills: ``cash`` = sold - bought, ``fees``, ``funding`` (USDT)."""

    orders: int = 0
    fills: int = 0
    rejected: int = 0
    cash: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    denied: dict[str, int] = {}

    def add(self, quantity: float, price: float, fee: float, selling: bool) -> None:
        """Take a fill in."""
        self.fills += 1
        self.cash += quantity * price if selling else -quantity * price
        self.fees += fee


class Leg(Struct):
    """Fills of one side: ``quantity``, ``value`` (sum of price * quantity, USDT), ``mid_value`` (the same at the middle of the quote).

    A negative quantity gives back what an exit took too much.
    """

    quantity: float = 0.0
    value: float = 0.0
    mid_value: float = 0.0
    fees: float = 0.0
    maker: float = 0.0

    def add(self, quantity: float, price: float, mid: float, fee: float, maker: bool) -> None:
        """Take a fill in; ``mid`` NaN = no quote known, the price counts as the middle."""
        self.quantity += quantity
        self.value += price * quantity
        self.mid_value += (mid if mid == mid else price) * quantity
        self.fees += fee
        self.maker += quantity if maker else 0.0

    @property
    def liquidity(self) -> str:
        """``maker``, ``taker``, ``mixed`` or ``none``."""
        if not self.quantity:
            return "none"
        return "maker" if self.maker == self.quantity else "taker" if not self.maker else "mixed"


class Trip(Struct):
    """From the engine's entry until the venue is flat again. Quantities are unsigned; ``direction`` as in the engine.

    ``key``: how ids of its orders begin; ``last_close``: newest valid close of the asset; ``rest``: quantity of the entry that is still
    to be filled; ``denied``: why no order was sent, or why the trip ended otherwise than by our exit. ``orders``: ids of all its orders,
    ``working``: of the one under way, ``stop``: of the protective one; ``since``, ``patience``: from when to when (ns) maker orders are
    tried; ``paused``: an exit has failed, the next bar tries again.
    """

    symbol: str
    direction: int
    quantity_model: float
    entry_close: float
    entry_bar: int
    step: float
    entry: Leg
    exit: Leg
    key: str = ""
    last_close: float = 0.0
    rest: float = 0.0
    denied: str = ""
    funding: float = 0.0
    leaving: bool = False
    exit_attempts: int = 0
    orders: list[str] = []
    working: str = ""
    stop: str = ""
    since: int = 0
    patience: int = 0
    paused: bool = False
    model_trade: dict[str, Any] | None = None

    @property
    def held(self) -> float:
        """Quantity that the venue holds for this trip (negative: exits took too much); rounding dust of sums counts as nothing."""
        held = self.entry.quantity - self.exit.quantity
        return held if abs(held) > 0.5 * self.step else 0.0

    @classmethod
    def of(cls, entry: Mapping[str, Any], step: float, lane: str) -> Trip:
        """Of a position that the engine has opened (``NDPosition.to_dict``)."""
        close = float(entry["entry_price"])
        quantity = float(entry["notional"]) / close if close > 0.0 else 0.0
        key = f"{lane}-{entry['entry_ts']}"
        return cls(str(entry["asset"]), int(entry["direction"]), quantity, close, int(entry["entry_bar"]), step, Leg(), Leg(), key, close)

    @classmethod
    def late(cls, intent: Intent, step: float) -> Trip:
        """For the fill of an entry that came after its trip had ended: to be closed at once."""
        direction = -1 if intent.side == "SELL" else 1
        key, close = intent.client_order_id, intent.close
        return cls(intent.symbol, direction, 0.0, close, -1, step, Leg(), Leg(), key, close, leaving=True, orders=[key])

    def book(self, purpose: str, quantity: float, price: float, mid: float, fee: float, maker: bool) -> None:
        """Take a fill in; the quantity of an EXIT is negative when its order gave back what others took too much."""
        (self.entry if purpose == "ENTRY" else self.exit).add(quantity, price, mid, fee, maker)
        if purpose == "ENTRY":
            self.rest = self.rest - quantity if self.rest - quantity > 0.5 * self.step else 0.0
        self.exit_attempts = 0


def settle(trip: Trip) -> VenueTrade:
    """Both ledgers of a closed trip, USDT. With entry and exit closes E, P, model quantity q, filled quantity f and direction d::

        quantity = (f - q) d (P - E)                       rounding to the step, partial fills, refusals
        latency  = d ((M_x - f P) - (M_e - f E))           M = sum of the quotes' middles at the fills, times quantity
        slippage = d ((V_x - M_x) - (V_e - M_e)) - q d (X - P)     V = sum of fill prices times quantity, X = the model's exit price
        fees     = model fees - fees paid;  credits = -(model gross - q d (X - E));  funding as posted

    Their sum is the difference of both nets, but for rounding of floats.
    """
    trade, d = trip.model_trade or {}, trip.direction
    entry, out, q, close = trip.entry, trip.exit, trip.quantity_model, trip.entry_close
    last = float(trade["exit_close"])
    filled = entry.quantity
    modelled = q * d * (float(trade["exit_price"]) - close)
    return VenueTrade(
        trade_id=int(trade["trade_id"]),
        asset=trip.symbol,
        direction=d,
        quantity_model=q,
        quantity_filled=filled,
        model_net=float(trade["net_pnl"]),
        fills_net=d * (out.value - entry.value) - entry.fees - out.fees + trip.funding,
        quantity=(filled - q) * d * (last - close),
        latency=d * ((out.mid_value - filled * last) - (entry.mid_value - filled * close)),
        slippage=d * ((out.value - out.mid_value) - (entry.value - entry.mid_value)) - q * d * (float(trade["exit_price"]) - last),
        fees=float(trade["fees"]) - entry.fees - out.fees,
        credits=modelled - float(trade["gross_pnl"]),
        funding=trip.funding,
        entry_liquidity=entry.liquidity,
        exit_liquidity=out.liquidity,
    )
