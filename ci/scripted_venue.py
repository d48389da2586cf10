"""A venue that does what a script says, with Nautilus' own engines around it, a real ``DolphinActor``, and a checker of its invariants.

A script is a list of steps for one order: ``accept``, ``reject``, ``post`` (rejected as post-only), ``cancel``, ``expire``, ``refuse`` (a
cancel), ``fill 0.4`` (share of the order's quantity) or ``fill 0.4 @101``, ``again`` (the last report once more), ``lost`` (nothing).
``hidden fill 1`` happens, but its report is kept until the order is asked after or the venue is told to ``release`` it.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

with warnings.catch_warnings():  # a default argument of Nautilus 1.231 is a timedelta that numpy 2.5 finds deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import nautilus_trader.persistence.catalog  # noqa: F401
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.data.engine import DataEngine
from nautilus_trader.execution.client import ExecutionClient
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType, OrderSide, OrderType
from nautilus_trader.model.events import OrderEvent, OrderFilled
from nautilus_trader.model.identifiers import AccountId, ClientId, StrategyId, TradeId, TraderId, Venue, VenueOrderId
from nautilus_trader.model.objects import AccountBalance, Money, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.engine import RiskEngine
from scripted_alpha import Decisions

from actors.config import DolphinActorConfig
from actors.data_types import Snapshot
from actors.dolphin_actor import DolphinActor
from actors.instruments import perpetuals
from dolphin.config import VenueConfig
from dolphin.types import BarResult

SECOND = 1_000_000_000
START = 1_704_067_200 * SECOND
PRICES = {"BTCUSDT": 50_000.0, "ETHUSDT": 2_500.0, "SOLUSDT": 100.0}
GOOD = ("accept", "fill 1")


@dataclass
class AtVenue:
    """An order as the venue sees it."""

    order: Any
    id: VenueOrderId
    done: float = 0.0
    accepted: bool = False
    closed: bool = False
    last: Callable[[], None] | None = None
    kept: list[Callable[[], None]] = field(default_factory=list)


class ScriptedVenue(ExecutionClient):
    """``net`` is the true position by symbol; messages wait in ``wire`` until ``deliver`` hands them over."""

    def __init__(self, name: str, msgbus: MessageBus, cache: Cache, clock: TestClock) -> None:
        super().__init__(ClientId(name), Venue(name), OmsType.NETTING, AccountType.MARGIN, None, msgbus, cache, clock)
        self._set_account_id(AccountId(f"{name}-001"))
        self.messages, self.now, self.books = msgbus, clock, cache
        self.default: tuple[str, ...] = GOOD
        self.scripts: deque[tuple[str, ...]] = deque()
        self.cancels: deque[tuple[str, ...]] = deque()
        self.stops: deque[tuple[str, ...]] = deque()
        self.tells = True
        self.orders: list[AtVenue] = []
        self.outsiders: set[Any] = set()
        self.wire: deque[tuple[AtVenue, str]] = deque()
        self.net: dict[str, float] = {}
        self.prices = dict(PRICES)
        self.asked = self._trades = 0

    def script(self, *steps: str) -> None:
        """What happens to the next order that has no script yet."""
        self.scripts.append(steps)

    def script_stop(self, *steps: str) -> None:
        """What happens to the next stop; without a script it is accepted and rests."""
        self.stops.append(steps)

    def trigger(self, *steps: str) -> None:
        """The newest stop is triggered and does these steps; default: it is filled whole."""
        at = next(at for at in reversed(self.orders) if at.order.order_type == OrderType.STOP_MARKET)
        self.wire.extend((at, step) for step in steps or ("fill 1",))

    def on_cancel(self, *steps: str) -> None:
        """What the next cancel does; without a script it cancels."""
        self.cancels.append(steps)

    def submit_order(self, command: Any) -> None:
        order = command.order
        at = AtVenue(order, VenueOrderId(f"V-{len(self.orders) + 1}"))
        self.orders.append(at)
        now = self.now.timestamp_ns()
        self.generate_order_submitted(order.strategy_id, order.instrument_id, order.client_order_id, now)
        scripts, default = (self.stops, ("accept",)) if order.order_type == OrderType.STOP_MARKET else (self.scripts, self.default)
        self.wire.extend((at, step) for step in (scripts.popleft() if scripts else default))

    def modify_order(self, command: Any) -> None:
        at = self._find(command)
        key = at.order.strategy_id, at.order.instrument_id, at.order.client_order_id, at.id
        self.generate_order_updated(*key, at.order.quantity, command.price, None, self.now.timestamp_ns())

    def cancel_order(self, command: Any) -> None:
        at = self._find(command)
        self.wire.extend((at, step) for step in (self.cancels.popleft() if self.cancels else ("cancel",)))

    def query_order(self, command: Any) -> None:
        self.asked += 1
        if self.tells:
            self.release(self._find(command))

    def release(self, at: AtVenue | None = None) -> None:
        """Send the reports that were kept: of one order, or of all."""
        for one in self.orders if at is None else [at]:
            kept, one.kept = one.kept, []
            for report in kept:
                report()

    def deliver(self) -> bool:
        """Hand over everything that waits; True if there was something."""
        busy = bool(self.wire)
        while self.wire:
            self.do(*self.wire.popleft())
        return busy

    def do(self, at: AtVenue, step: str) -> None:
        """One step of an order's script."""
        hidden, step = step.startswith("hidden "), step.removeprefix("hidden ")
        report = self._report(at, *step.split())
        if report is not None and hidden:
            at.kept.append(report)
        elif report is not None:
            report()

    def outside(self, symbol: str, quantity: float, strategy: str = "EXTERNAL") -> None:
        """Somebody else trades on the account (signed quantity), and a reconciliation reports it."""
        instrument = next(i for i in self.books.instruments() if i.raw_symbol.value == symbol)
        factory = OrderFactory(TraderId("T-001"), StrategyId(strategy), self.now, self.books, use_uuid_client_order_ids=True)
        side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
        order = factory.market(instrument.id, side, instrument.make_qty(abs(quantity)))
        self.outsiders.add(order.client_order_id)
        self.books.add_order(order)
        at = AtVenue(order, VenueOrderId(f"X-{len(self.outsiders)}"))
        self.generate_order_submitted(order.strategy_id, order.instrument_id, order.client_order_id, self.now.timestamp_ns())
        for step in GOOD:
            self.do(at, step)

    def _find(self, command: Any) -> AtVenue:
        return next(at for at in self.orders if at.order.client_order_id == command.client_order_id)

    def _room(self, at: AtVenue, quantity: float) -> float:
        """What a reduce-only order may still take."""
        if not at.order.is_reduce_only:
            return quantity
        held = self.net.get(_symbol(at.order), 0.0)
        return min(quantity, max(held if at.order.side == OrderSide.SELL else -held, 0.0))

    def _report(self, at: AtVenue, what: str, share: str = "", price: str = "") -> Callable[[], None] | None:
        key, now = (at.order.strategy_id, at.order.instrument_id, at.order.client_order_id), self.now.timestamp_ns()
        if what == "lost":
            return None
        if what == "again":
            return at.last
        if what == "refuse":
            return lambda: self.generate_order_cancel_rejected(*key, at.id, "refused", now)
        if what in ("accept", "fill") and not at.closed and not self._room(at, 1.0):
            what = "expire" if at.accepted else "reject"
        if what == "fill":
            return self._fill(at, float(share), price)
        if at.closed:
            return None
        at.closed, at.accepted = what != "accept", at.accepted or what == "accept"
        if what == "accept":
            return lambda: self.generate_order_accepted(*key, at.id, now)
        if what in ("reject", "post"):
            return lambda: self.generate_order_rejected(*key, "scripted", now, what == "post")
        return lambda: (self.generate_order_canceled if what == "cancel" else self.generate_order_expired)(*key, at.id, now)

    def _fill(self, at: AtVenue, share: float, price: str) -> Callable[[], None] | None:
        order, symbol = at.order, _symbol(at.order)
        instrument = self.books.instrument(order.instrument_id)
        left = float(order.quantity) - at.done
        wanted = self._room(at, min(float(order.quantity) * share, left))
        if wanted < 0.5 * float(instrument.size_increment):
            return None
        quantity = instrument.make_qty(wanted)
        at.done += float(quantity)
        at.closed = at.closed or abs(at.done - float(order.quantity)) < 1e-9
        self.net[symbol] = round(self.net.get(symbol, 0.0) + float(quantity) * (1 if order.side == OrderSide.BUY else -1), 9)
        px = instrument.make_price(float(price[1:]) if price else self.prices[symbol])
        liquidity = LiquiditySide.MAKER if order.is_post_only else LiquiditySide.TAKER
        fee = instrument.maker_fee if order.is_post_only else instrument.taker_fee
        commission = Money(float(quantity) * float(px) * float(fee), USDT)
        self._trades += 1
        trade, now = TradeId(f"F-{self._trades}"), self.now.timestamp_ns()
        key = order.strategy_id, order.instrument_id, order.client_order_id, at.id, None, trade, order.side, order.order_type
        at.last = lambda: self.generate_order_filled(*key, quantity, px, USDT, commission, liquidity, now)
        return at.last


class Checker:
    """Looks after every event: one position at most, the venue's quantity is ours or it is safe mode, every order has an intent."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.complaints: list[str] = []
        self.fills: dict[Any, OrderFilled] = {}
        self.looks = 0
        self._entries = 0
        self._safe = ""

    def listen(self) -> None:
        """After the lane itself: what it does about an event is done when the checker looks."""
        for topic in ("events.order.*", "events.position.*"):
            self.world.msgbus.subscribe(topic, self.look)

    def look(self, event: object) -> None:
        """Everything that must hold at any moment."""
        self.looks += 1
        if isinstance(event, OrderFilled) and event.client_order_id not in self.world.venue.outsiders:
            self.fills[event.client_order_id, event.trade_id] = event
        desk, cache = self.world.desk, self.world.cache
        venue: dict[str, float] = {}
        for position in cache.positions_open():
            symbol = position.instrument_id.symbol.value.removesuffix("-PERP")
            venue[symbol] = venue.get(symbol, 0.0) + position.signed_qty
        if not (isinstance(event, OrderEvent) and event.strategy_id.value == "EXTERNAL"):  # their position's event follows
            held = [symbol for symbol, quantity in venue.items() if abs(quantity) > 1e-9]
            if len(held) > 1 and not desk.safe_reason:
                self.complaints.append(f"{event}: more than one position {venue}")
            self._equal(event, venue)
        strangers = {o.client_order_id for o in cache.orders(strategy_id=self.world.actor.id)} - self.world.venue.outsiders
        if missing := [str(key) for key in strangers if str(key) not in desk.intents]:
            self.complaints.append(f"{event}: orders without an intent {missing}")
        entries = sum(intent.purpose == "ENTRY" for intent in desk.intents.values())
        if self._safe and desk.safe_reason and entries > self._entries:
            self.complaints.append(f"{event}: an entry in safe mode")
        self._entries, self._safe = entries, desk.safe_reason

    def quiet(self, when: str) -> None:
        """What must hold besides when the venue has said everything that it will say."""
        self.look(when)
        venue, desk = self.world.venue, self.world.desk
        waiting = any(trip.working for trip in self.world.trips) or any(at.kept for at in venue.orders)
        if not venue.wire and not waiting:
            self._equal(f"{when} (truth)", venue.net)
        if not desk.safe_reason and any(trip.leaving and not trip.held and not trip.working for trip in self.world.trips):
            self.complaints.append(f"{when}: a trip that is over has not ended")
        assert not self.complaints, "\n".join(self.complaints)

    def _equal(self, event: object, venue: Mapping[str, float]) -> None:
        ours: dict[str, float] = {}
        for trip in self.world.trips:
            ours[trip.symbol] = ours.get(trip.symbol, 0.0) + trip.direction * trip.held
        for symbol in ours.keys() | venue.keys():
            if abs(ours.get(symbol, 0.0) - venue.get(symbol, 0.0)) > 1e-9 and not self.world.desk.safe_reason:
                self.complaints.append(f"{event}: {symbol} venue {venue.get(symbol, 0.0)}, ours {ours.get(symbol, 0.0)}")


class World:
    """Venue, engines, actor and checker, on one clock. ``bar`` and ``wait`` move it second by second and deliver what the venue says."""

    def __init__(self, lane: str = "BLUE", balance: float = 25_000.0, **orders: Any) -> None:
        self.clock, trader = TestClock(), TraderId("T-001")
        self.clock.set_time(START)
        self.msgbus = MessageBus(trader, self.clock)
        self.cache = Cache()
        portfolio = Portfolio(self.msgbus, self.cache, self.clock)
        self.data = DataEngine(self.msgbus, self.cache, self.clock)
        self.exec = ExecutionEngine(self.msgbus, self.cache, self.clock)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.risk = RiskEngine(portfolio, self.msgbus, self.cache, self.clock)
        self.venue = ScriptedVenue("BINANCE", self.msgbus, self.cache, self.clock)
        self.exec.register_client(self.venue)
        for instrument in perpetuals(PRICES, "BINANCE").values():
            self.cache.add_instrument(instrument)
        money = Money(balance, USDT)
        self.venue.generate_account_state([AccountBalance(money, Money(0, USDT), money)], [], True, START)
        self.engine = Decisions()
        config = DolphinActorConfig(lane=lane, bar_seconds=5, orders=VenueConfig(**orders))
        self.actor = DolphinActor(config, engine=self.engine)  # type: ignore[arg-type]
        self.actor.register(trader, portfolio, self.msgbus, self.cache, self.clock)
        self.desk, self.direction = self.actor.desk, self.actor.direction
        self.checker = Checker(self)
        self.opened: dict[str, Any] | None = None
        self.trades = 0
        for component in (self.data, self.risk, self.exec):
            component.start()

    def start(self) -> World:
        """The actor goes into operation."""
        self.actor.start()
        self.checker.listen()
        self.checker.quiet("start")
        return self

    @property
    def trips(self) -> list[Any]:
        """Everything that the desk has under way."""
        return [*([self.desk.trip] if self.desk.trip else []), *self.desk.strays]

    @property
    def flat(self) -> bool:
        """Nothing at the venue, nothing under way."""
        return not self.trips and all(abs(quantity) < 1e-9 for quantity in self.venue.net.values())

    def enter(self, symbol: str = "BTCUSDT", notional: float = 5_000.0, **changes: Any) -> None:
        """The alpha opens a position at the next bar, which comes now."""
        price = self.venue.prices[symbol]
        entry = {
            "asset": symbol, "direction": self.direction, "entry_bar": self.engine.bars, "entry_ts": self.clock.timestamp_ms(),
            "entry_price": price, "notional": notional, "leverage": 0.2, "fraction": 0.2, "bucket": 1, "vel_div": -0.03,
            "strength": 0.5, "confidence": 0.5, "dc": "OFF", "irp_alignment": 0.5, "ars": 1.0, **changes,
        }  # fmt: skip
        self.opened, self.engine.next = entry, BarResult(entry=entry)
        self.bar()

    def leave(self) -> None:
        """The alpha closes it at the next bar, which comes now."""
        entry, self.opened = self.opened, None
        assert entry is not None
        self.trades += 1
        price, quantity = self.venue.prices[entry["asset"]], entry["notional"] / entry["entry_price"]
        gross = quantity * entry["direction"] * (price - entry["entry_price"])
        fees = 0.0004 * entry["notional"]
        closed = {"trade_id": self.trades, "exit_price": price, "reason": "MAX_HOLD", "gross_pnl": gross, "fees": fees}
        self.engine.next = BarResult(exit=entry | closed | {"net_pnl": gross - fees, "bars_held": 1})
        self.bar()

    def bar(self, seconds: int = 5) -> None:
        """One bar, and the time until just before the next one."""
        self.settle()
        closes = np.array(list(self.venue.prices.values()))
        self.actor.handle_data(Snapshot(self.clock.timestamp_ns(), tuple(self.venue.prices), closes, (0.0, 0.0, 0.0)))
        self.wait(seconds)

    def bars(self, count: int) -> None:
        """Several of them."""
        for _ in range(count):
            self.bar()

    def wait(self, seconds: int) -> None:
        """Time passes; timers ring, the venue's messages come."""
        for _ in range(seconds):
            self.settle()
            for handler in self.clock.advance_time(self.clock.timestamp_ns() + SECOND):
                handler.handle()
        self.settle()

    def settle(self) -> None:
        """Deliver what waits, then look."""
        self.venue.deliver()
        self.checker.quiet(f"at {(self.clock.timestamp_ns() - START) / 1e9:g} s")

    def quote(self, symbol: str = "BTCUSDT", price: float | None = None) -> None:
        """A quote one tick wide around ``price`` (default: the venue's)."""
        instrument = next(i for i in self.cache.instruments() if i.raw_symbol.value == symbol)
        middle, tick = price or self.venue.prices[symbol], float(instrument.price_increment)
        now, deep = self.clock.timestamp_ns(), Quantity(1000, instrument.size_precision)
        bid, ask = instrument.make_price(middle - tick), instrument.make_price(middle + tick)
        self.data.process(QuoteTick(instrument.id, bid, ask, deep, deep, now, now))
        self.settle()

    def close(self) -> None:
        """Sums of the desk equal those over all fills that Nautilus published: each once, also those of orders that had expired."""
        fills, totals = list(self.checker.fills.values()), self.desk.totals
        known = {(e.client_order_id, e.trade_id) for o in self.cache.orders() for e in o.events if isinstance(e, OrderFilled)}
        assert {key for key in known if key[0] not in self.venue.outsiders} <= self.checker.fills.keys()
        cash = sum(float(f.last_qty) * float(f.last_px) * (1 if f.order_side == OrderSide.SELL else -1) for f in fills)
        assert len(fills) == totals.fills
        assert abs(cash - totals.cash) < 1e-6
        assert abs(sum(f.commission.as_double() for f in fills) - totals.fees) < 1e-9


def _symbol(order: Any) -> str:
    return str(order.instrument_id.symbol.value).removesuffix("-PERP")
