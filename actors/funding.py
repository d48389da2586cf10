"""Funding on a simulated venue: Nautilus 1.231 does not simulate it, so it is posted to the account here, at its timestamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nautilus_trader.backtest.config import SimulationModuleConfig
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.objects import Money

from dolphin.engine.costs import FundingSeries

__all__ = ["FundingModule"]

MS = 1_000_000


class FundingModule(SimulationModule):
    """Posts ``-side * rate * quantity * middle of the newest quote`` (USDT) for every position open at a funding time.

    A positive rate is paid by a LONG and received by a SHORT; a missing rate posts nothing.
    """

    def __init__(self, series: FundingSeries, posted: Callable[[str, float], None]) -> None:
        """``posted`` is told symbol and amount of each posting."""
        super().__init__(SimulationModuleConfig())
        self._series, self._posted = series, posted
        self._column = {name: j for j, name in enumerate(series.symbols)}
        self._times = [int(t) * MS for t in series.times.tolist()]
        self._next = -1

    def process(self, ts_now: int) -> None:
        if self._next < 0:
            self._next = sum(t < ts_now for t in self._times)
        while self._next < len(self._times) and self._times[self._next] <= ts_now:
            rates = self._series.rates[self._next]
            self._next += 1
            for position in self.exchange.cache.positions_open(venue=self.exchange.id):
                self._post(position, rates)

    def _post(self, position: Any, rates: Any) -> None:
        symbol = position.instrument_id.symbol.value.removesuffix("-PERP")
        quote = self.exchange.cache.quote_tick(position.instrument_id)
        rate = float(rates[self._column[symbol]]) if symbol in self._column else 0.0
        if quote is None or rate != rate or rate == 0.0:
            return
        middle = 0.5 * (quote.bid_price.as_double() + quote.ask_price.as_double())
        amount = Money(-position.signed_qty * rate * middle, USDT)
        self.exchange.adjust_account(amount)
        self._posted(symbol, amount.as_double())

    def log_diagnostics(self, logger: Any) -> None:
        """Nothing to add."""

    def reset(self) -> None:
        self._next = -1
