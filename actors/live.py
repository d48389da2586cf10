"""A live lane's node: ``DolphinActor`` and its order desk, Nautilus' engines, and Binance USDT-M as the venue.

Its loop runs only while ``run`` is waited for, on the caller's thread: between two turns nothing happens behind the lane's back.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
from nautilus_trader.adapters.binance.http.error import BinanceError
from nautilus_trader.common import Environment
from nautilus_trader.config import LoggingConfig, TradingNodeConfig
from nautilus_trader.core.nautilus_pyo3 import HttpError, HttpTimeoutError
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.identifiers import TraderId

from actors.binance import BinanceExecFactory, BinanceQuotes, execution, reconciling
from actors.dolphin_actor import DolphinActor
from dolphin.errors import MissingDependency
from dolphin.live.gates import Admission

__all__ = ["LiveNode"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGABRT)
QUOTES_S: Final = 2.0
"""Quotes that take longer are none."""
ONCE_S: Final = 20.0
"""Connection, reconciliation, and the way out: each may take so long."""


class LiveNode:
    """The node of one lane. ``actor`` is registered, not started; ``start`` connects, reconciles and starts it."""

    def __init__(self, lane: str, admission: Admission, actor: DolphinActor) -> None:
        self.actor = actor
        self.loop = asyncio.new_event_loop()
        kept = [signal.getsignal(number) for number in SIGNALS]
        venue = admission.permit.venue
        self.node = TradingNode(
            TradingNodeConfig(
                environment=Environment.LIVE, trader_id=TraderId(f"DOLPHIN-{lane}"),
                logging=LoggingConfig(log_level=os.environ.get("DOLPHIN_NODE_LOG", "WARNING"), log_colors=False),
                exec_engine=reconciling(admission.live), exec_clients={venue: execution(admission)},
                timeout_connection=ONCE_S, timeout_reconciliation=ONCE_S, timeout_portfolio=ONCE_S, timeout_disconnection=5.0,
                timeout_post_stop=0.0,
            ),
            loop=self.loop,
        )  # fmt: skip
        self.node.add_exec_client_factory(venue, BinanceExecFactory)
        self.node.build()
        kernel = self.node.kernel
        self.quotes = BinanceQuotes(admission, self.loop, kernel.msgbus, kernel.cache, kernel.clock)
        kernel.data_engine.register_client(self.quotes)
        kernel.trader.add_strategy(actor)
        actor.desk.limits.needs_quote = True
        for number, handler in zip(SIGNALS, kept, strict=True):
            self.loop.remove_signal_handler(number)  # signals are the process's business
            signal.signal(number, handler)

    def start(self) -> None:
        """Connect, compare orders and positions with the exchange's, start the actor. Raises ``MissingDependency`` when one fails."""
        self.run(self.node.kernel.start_async())
        if not self.actor.is_running:
            raise MissingDependency("the exchange could not be connected and reconciled; the log says at which step")

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop run until ``work`` is done."""
        return self.loop.run_until_complete(work)

    def breathe(self, seconds: float) -> None:
        """Let the loop run: answers and fills come in, alarms ring."""
        self.run(asyncio.sleep(seconds))

    def refresh(self) -> bool:
        """Fetch the newest quotes of all symbols; False when there are none now, and then no entry is sent."""
        return self.run(self.refreshed())

    async def refreshed(self) -> bool:
        """``refresh``, awaited."""
        try:
            async with asyncio.timeout(QUOTES_S):
                await self.quotes.refresh()
        except (BinanceError, HttpError, HttpTimeoutError, OSError, msgspec.MsgspecError) as error:
            self.actor.log.warning(f"no quotes: {type(error).__name__}")
            return False
        return True

    def stop(self) -> None:
        """Disconnect and let go. Orders that rest, and the position, stay as they are."""
        self.run(self.node.stop_async())
        self.node.dispose()
