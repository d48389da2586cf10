"""A paper lane on a real Nautilus node: ``DolphinActor`` and its order desk, Nautilus' own engines, and the sandbox as the venue.

The node's loop runs while a bar is carried out, and the strategy's clock is moved by bars only: the same bars give the same orders and
fills, whenever and however fast they come, and those of a backtest (``actors.backtest``) over them.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.common import Environment
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.config import LiveExecEngineConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.core.data import Data
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import CustomData, DataType
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.model.identifiers import Venue as VenueId
from nautilus_trader.model.instruments import Instrument

from actors.backtest import LEVERAGE
from actors.config import DolphinActorConfig
from actors.data_types import Snapshot, Universe
from actors.delivery import CLIENT, Quotes
from actors.desk_log import LaneLog
from actors.dolphin_actor import DolphinActor
from actors.instruments import perpetuals, read_specs
from actors.orders import OrderDesk
from actors.paper_clients import PaperData, PaperVenue
from actors.trip import DeskTotals
from dolphin.config import VenueConfig
from dolphin.errors import ConfigError, DolphinError
from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.records import Records
from dolphin.lane.recovery import FLATTEN
from dolphin.lane.scan_log import ScannedBar
from dolphin.lane.venue import Venue, VenueFacts, VenueState
from dolphin.types import BarResult

__all__ = ["PaperVenueNode"]

MS = 1_000_000
IDLE_TURNS = 3
PATIENT_BARS = 3
"""Bars in which an order that waits for a quote is not asked after."""


class PaperVenueNode(Venue):
    """The venue of lane ``name``; ``open`` builds and starts the node, once."""

    def __init__(self, name: str, lane: Lane, records: Records, orders: VenueConfig) -> None:
        super().__init__(lane, records)
        self._name, self._orders = name, orders
        self._log = LaneLog(records)
        self._specs = read_specs()
        self._prices: dict[str, float] = {}
        """Of names that no table knows, the first price: their tick follows from it."""
        self._instruments: dict[str, Instrument] = {}
        self._universe = Universe(())
        self._unpriced: list[str] = []
        self._errors: list[BaseException] = []
        self._tick: Snapshot | None = None
        self._loop: asyncio.AbstractEventLoop
        self._node: TradingNode
        self._clock: TestClock
        self._data: Any
        self.actor: DolphinActor

    @property
    def desk(self) -> OrderDesk:
        """The orders."""
        return self.actor.desk

    @property
    def flat(self) -> bool:
        return self.desk.idle and self.desk.queued is None

    @property
    def doubt(self) -> str:
        return self.desk.safe_reason

    def trust(self) -> None:
        self.desk.release_safe_mode()

    def open(self, state: Mapping[str, Any]) -> None:
        """Raises ``DolphinError`` when the node does not come up."""
        capital = float(self.lane.engine.config.start_capital)
        balance = state.get("balance", f"{capital:.8f} USDT")
        self._prices = dict(state.get("prices", {}))
        kept = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT)]
        self._loop = asyncio.SelectorEventLoop()
        self._build(str(balance))
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGABRT), kept, strict=True):
            self._loop.remove_signal_handler(number)  # signals are the process's business
            signal.signal(number, handler)
        if "totals" in state:
            self.desk.totals = msgspec.convert(state["totals"], DeskTotals)
            for ts in state["sent"]:
                self.desk.limits.sent(ts)
        self._run(self._node.kernel.start_async())
        if not self.actor.is_running:
            raise DolphinError("the Nautilus node did not start; its log says why with DOLPHIN_NODE_LOG=INFO")

    def bar(self, bar: ScannedBar, inputs: Inputs) -> None:
        """The bar as a snapshot through the data engine; then quotes of active names, until everything is at rest."""
        if 2.0 * (self._orders.latency_ms + 1.0) >= 1000.0 * self.lane.bar_seconds:
            raise ConfigError(f"venue.latency_ms = {self._orders.latency_ms!r}: an order would be under way for longer than a bar")
        if self.lane.assets != self._universe:
            self._universe = Universe(self.lane.assets)
            self._unpriced = [name for name in self._universe if name not in self._instruments]
        tick = Snapshot(bar.ts_ms * MS, self._universe, bar.closes, (bar.vel_div, bar.v50, bar.v750), (bar, inputs))
        self._adopt(tick)
        self._tick = tick
        self._run(self._carry(tick))

    def leave(self) -> None:
        for trade in self.lane.closed:
            self.desk.leave(trade)

    def flatten(self) -> None:
        """At quotes of the newest bar's closes."""
        if self._tick is None or self.desk.idle:
            return
        self._log.reason = FLATTEN
        self._run(self._flatten())
        self._log.reason = ""

    def state(self) -> VenueState:
        """Nothing is open: what has closed is forgotten."""
        cache, now = self._node.kernel.cache, self._clock.timestamp_ns()
        cache.purge_closed_orders(now)
        cache.purge_closed_positions(now)
        cache.purge_account_events(now)
        balance = self._node.portfolio.account(VenueId(self._orders.name)).balance_total(USDT)
        totals, sent = msgspec.to_builtins(self.desk.totals), self.desk.limits.recent(now)
        return {"balance": f"{balance.as_decimal()} USDT", "totals": totals, "sent": sent, "prices": dict(self._prices)}

    def facts(self) -> VenueFacts:
        trip = self.desk.trip
        position, marked = None, 0.0
        if trip is not None and trip.held:
            price = trip.entry.value / trip.entry.quantity
            marked = trip.direction * trip.held * (trip.last_close - price)
            position = {"symbol": trip.symbol, "quantity": trip.direction * trip.held, "entry_price": price, "unrealised": marked}
        return VenueFacts(account=self.desk.view.equity() + marked, position=position, last_fill=self._log.last_fill)

    def close(self) -> None:
        """Stop the node, and what Nautilus leaves waiting."""
        self._run(self._node.stop_async())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._run(asyncio.gather(*left, return_exceptions=True) if left else asyncio.sleep(0))
        self._node.dispose()

    def _build(self, balance: str) -> None:
        self._node = TradingNode(
            TradingNodeConfig(
                environment=Environment.SANDBOX,
                trader_id=TraderId(f"DOLPHIN-{self._name}"),
                logging=LoggingConfig(bypass_logging=True),
                exec_engine=LiveExecEngineConfig(reconciliation=False, inflight_check_interval_ms=0),
                timeout_post_stop=0.0,
                timeout_disconnection=1.0,
            ),
            loop=self._loop,
        )
        kernel = self._node.kernel
        parts = {"loop": self._loop, "msgbus": kernel.msgbus, "cache": kernel.cache, "clock": kernel.clock}
        venue = VenueId(self._orders.name)
        self._data = PaperData(client_id=CLIENT, venue=venue, instrument_provider=InstrumentProvider(), **parts)
        account = SandboxExecutionClientConfig(
            venue=self._orders.name, starting_balances=[balance], default_leverage=LEVERAGE, bar_execution=False, trade_execution=False
        )
        kernel.data_engine.register_client(self._data)
        kernel.exec_engine.register_client(PaperVenue(self._orders.latency_ms, portfolio=kernel.portfolio, config=account, **parts))
        patient = max(self._orders.ack_timeout_s, PATIENT_BARS * (self.lane.bar_seconds or 60))
        orders = msgspec.structs.replace(self._orders, ack_timeout_s=patient)
        config = DolphinActorConfig(
            lane="GREEN" if self.lane.direction > 0 else "BLUE", bar_seconds=self.lane.bar_seconds or 60, orders=orders, order_id_tag="000"
        )
        self.actor = DolphinActor(config, self.lane.engine, decide=self._decide, log=self._log)
        # what Trader.add_strategy does, but with a clock that only bars move
        self._clock = TestClock()
        self._clock.set_time(self.lane.last_ts * MS)
        self.actor.register(kernel.trader_id, kernel.portfolio, kernel.msgbus, kernel.cache, self._clock)
        kernel.exec_engine.register_oms_type(self.actor)
        kernel.trader._strategies[self.actor.id] = self.actor
        self._watch_queues()
        self._quotes = Quotes(self._instruments, self.desk.active, self._orders)

    def _watch_queues(self) -> None:
        """What an engine meets comes to ``_check``; else it would end the process without a word."""
        kernel = self._node.kernel
        data, risk, execution = kernel.data_engine, kernel.risk_engine, kernel.exec_engine
        self._queues = (data.data_qsize, data.cmd_qsize, risk.cmd_qsize, risk.evt_qsize, execution.cmd_qsize, execution.evt_qsize)
        for engine in (data, risk, execution):
            engine._handle_queue_exception = lambda error, queue: self._errors.append(error)

    def _decide(self, tick: Snapshot) -> BarResult:
        """The lane's decision is written down first; then time passes for the desk: its alarms may send orders."""
        assert tick.told is not None
        bar, inputs = tick.told
        self.records.add(*self.lane.take(bar, inputs))
        self._log.now = bar.ts_ms
        if "SAFE_MODE" not in inputs.blocks:
            self.desk.release_safe_mode()
        elif not self.desk.safe_reason:
            self.desk.enter_safe_mode("SAFE_MODE")
        self._advance(tick.ts_event)
        result = self.lane.result
        for trade in self.lane.closed:
            if trade is not result.exit and result.exit != trade:
                self.desk.leave(trade)
        return result

    def _adopt(self, tick: Snapshot) -> None:
        """Instruments of names that have a price for the first time."""
        for name in list(self._unpriced):
            price = tick.close(name)
            if 0.0 < price < math.inf:
                if name not in self._specs:
                    price = self._prices.setdefault(name, price)
                self._instruments |= perpetuals({name: price}, self._orders.name, self._specs)
                self._node.kernel.cache.add_instrument(self._instruments[name])
                self._unpriced.remove(name)

    def _advance(self, ts: int) -> None:
        for handler in self._clock.advance_time(max(ts, self._clock.timestamp_ns())):
            handler.handle()

    async def _carry(self, tick: Snapshot) -> None:
        self._data.give(CustomData(DataType(Snapshot), tick))
        await self._rest()
        await self._meet(self._quotes.first(tick))
        await self._meet(self._quotes.second(tick.ts_event))

    async def _flatten(self) -> None:
        self.desk.flatten()
        await self._rest()
        await self._meet(self._quotes.again(self._clock.timestamp_ns()))

    async def _meet(self, quotes: Sequence[Data]) -> None:
        for quote in quotes:
            self._advance(quote.ts_event)
            self._data.give(quote)
            await self._rest()

    async def _rest(self) -> None:
        """Until no engine has anything before it. What is on its way into a queue is in it after one turn of the loop."""
        idle = 0
        while idle < IDLE_TURNS:
            await asyncio.sleep(0)
            idle = 0 if any(size() for size in self._queues) else idle + 1
            self._check()

    def _run(self, work: Any) -> None:
        self._loop.run_until_complete(work)

    def _check(self) -> None:
        """Raise what an engine met, and what ended one."""
        if self._errors:
            raise self._errors.pop(0)
        data, risk, execution = self._node.kernel.data_engine, self._node.kernel.risk_engine, self._node.kernel.exec_engine
        tasks = data.get_data_queue_task(), risk.get_cmd_queue_task(), execution.get_cmd_queue_task(), execution.get_evt_queue_task()
        for task in tasks:
            if task.done():
                task.result()
                raise DolphinError(f"a queue of the Nautilus node has ended: {task.get_name()}")
