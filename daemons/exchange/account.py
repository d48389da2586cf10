"""The one account: USDT in a wallet, one net position a symbol, margin under a leverage a symbol; sums are exact decimals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from daemons.exchange.instruments import Instrument
from dolphin.types import Ints

__all__ = ["MAINTENANCE", "Account", "Position"]

MAINTENANCE: Final = Decimal("0.025")
_LEVERAGE: Final = 20


@dataclass(slots=True)
class Position:
    """``lots`` signed; ``cost``: what they were entered at, ticks times lots, signed; ``realized``: profit so far, USDT."""

    lots: int = 0
    cost: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    updated_ms: int = 0


class Account:
    """``last`` int64[N]: marks, in ticks, as the market goes on."""

    def __init__(self, wallet: Decimal, instruments: Sequence[Instrument], last: Ints) -> None:
        self.wallet, self.instruments = wallet, instruments
        self.positions: dict[int, Position] = {}
        self.leverage: dict[int, int] = {}
        self._last = last

    def lots(self, n: int) -> int:
        """Signed size of a position."""
        return self.positions[n].lots if n in self.positions else 0

    def unit(self, n: int) -> Decimal:
        """USDT of one tick times one lot."""
        return self.instruments[n].tick * self.instruments[n].lot

    def leverage_of(self, n: int) -> int:
        """20 unless it was set."""
        return self.leverage.get(n, _LEVERAGE)

    def entry(self, n: int) -> Decimal:
        """Mean price of entry, USDT; 0 when flat."""
        position = self.positions.get(n)
        return position.cost / position.lots * self.instruments[n].tick if position is not None and position.lots else Decimal(0)

    def mark(self, n: int) -> Decimal:
        """Mark price: the last trade's."""
        return int(self._last[n]) * self.instruments[n].tick

    def notional(self, n: int) -> Decimal:
        """Signed worth of a position at the mark."""
        return self.lots(n) * int(self._last[n]) * self.unit(n)

    def unrealized(self, n: int) -> Decimal:
        """Profit of an open position at the mark."""
        position = self.positions.get(n)
        return (position.lots * int(self._last[n]) - position.cost) * self.unit(n) if position is not None else Decimal(0)

    def open_positions(self) -> list[int]:
        """Symbols with a position."""
        return sorted(n for n, position in self.positions.items() if position.lots)

    def margin(self, n: int) -> Decimal:
        """Initial margin of a position."""
        return abs(self.notional(n)) / self.leverage_of(n)

    def all_unrealized(self) -> Decimal:
        """Profit of all open positions at the marks."""
        return sum((self.unrealized(n) for n in self.open_positions()), Decimal(0))

    def all_margin(self) -> Decimal:
        """Initial margin of all positions."""
        return sum((self.margin(n) for n in self.open_positions()), Decimal(0))

    def fill(self, n: int, lots: int, ticks: int, commission: Decimal, ms: int) -> Decimal:
        """Book a fill of signed ``lots``: the position, realized profit and commission; returns the realized profit."""
        position = self.positions.setdefault(n, Position())
        realized = Decimal(0)
        if position.lots * lots < 0:
            closed = min(abs(lots), abs(position.lots)) * (1 if lots > 0 else -1)
            out = position.cost * closed / position.lots
            realized = (out - closed * ticks) * self.unit(n)
            position.cost += out
            position.lots += closed
            lots -= closed
        position.lots += lots
        position.cost = position.cost + lots * ticks if position.lots else Decimal(0)
        position.realized += realized
        position.updated_ms = ms
        self.wallet += realized - commission
        return realized

    def pay_funding(self, n: int, rate: Decimal) -> Decimal:
        """Longs pay shorts when ``rate`` is positive; the change of the wallet."""
        paid = -self.notional(n) * rate
        self.wallet += paid
        return paid
