"""Answers of a venue: how long one is waited for, and how a cancel is sent that Nautilus would not send twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nautilus_trader.common.events import TimeEvent
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import CancelOrder
from nautilus_trader.trading.strategy import Strategy

from actors.trip import Intent

__all__ = ["Answers", "cancel_again"]

SECOND = 1_000_000_000


class Answers:
    """Alarms by the strategy's clock for orders and cancels; ``silent`` is told the order's id when ``timeout_s`` passed without one."""

    def __init__(self, strategy: Strategy, timeout_s: float, silent: Callable[[str, int], None]) -> None:
        self._strategy, self._timeout, self._silent = strategy, int(timeout_s * SECOND), silent
        self._count = 0

    def expect(self, intent: Intent) -> None:
        """From now on, ``timeout_s`` for an answer; an earlier alarm of the same intent no longer counts (its number is not ``alarm``)."""
        self._count += 1
        intent.alarm = self._count
        due = self._strategy.clock.timestamp_ns() + self._timeout
        self._strategy.clock.set_time_alert_ns(f"answer-{self._count}-{intent.client_order_id}", due, self._on_alarm)

    def _on_alarm(self, event: TimeEvent) -> None:
        _, alarm, key = event.name.split("-", 2)
        self._silent(key, int(alarm))


def cancel_again(strategy: Strategy, order: Any) -> None:
    """Nautilus sends no second cancel of an order whose first has no answer, so it is sent past the strategy."""
    if order.is_pending_cancel:
        names = strategy.trader_id, strategy.id, order.instrument_id, order.client_order_id, order.venue_order_id
        strategy.msgbus.send("ExecEngine.execute", CancelOrder(*names, UUID4(), strategy.clock.timestamp_ns()))
    else:
        strategy.cancel_order(order)
