"""Clients of a paper lane's node: bars and quotes come in by hand, orders go to Nautilus' sandbox. No socket, and no clock of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nautilus_trader.adapters.sandbox.execution import SandboxExecutionClient
from nautilus_trader.core.data import Data
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.model.data import QuoteTick

__all__ = ["PaperData", "PaperVenue"]


class PaperData(LiveMarketDataClient):
    """``give`` puts a snapshot or a quote into the data engine."""

    async def _connect(self) -> None:
        """Nothing to connect to."""

    async def _disconnect(self) -> None:
        """Nothing to leave."""

    async def _subscribe(self, command: Any) -> None:
        """Everything is given anyway."""

    async def _unsubscribe(self, command: Any) -> None:
        """Everything is given anyway."""

    def give(self, data: Data) -> None:
        """Into the data engine's queue."""
        self._handle_data(data)


class PaperVenue(SandboxExecutionClient):
    """The sandbox with a way to it: a command arrives ``latency_ms`` after it was sent, with the first quote from then on."""

    def __init__(self, latency_ms: float, **given: Any) -> None:
        super().__init__(**given)
        self._latency = int(latency_ms * 1_000_000)
        self._under_way: deque[tuple[Callable[[Any], None], Any]] = deque()

    def submit_order(self, command: Any) -> None:
        self._under_way.append((self._client.submit_order, command))

    def modify_order(self, command: Any) -> None:
        self._under_way.append((self._client.modify_order, command))

    def cancel_order(self, command: Any) -> None:
        self._under_way.append((self._client.cancel_order, command))

    def on_data(self, data: Data) -> None:
        """A quote: the market moves first, then what has arrived by now meets it."""
        super().on_data(data)
        if isinstance(data, QuoteTick):
            while self._under_way and self._under_way[0][1].ts_init + self._latency <= data.ts_init:
                carry, command = self._under_way.popleft()
                carry(command)
