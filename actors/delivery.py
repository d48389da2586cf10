"""The quotes of a simulated venue, and the delivery of day tables to the backtest engine: one snapshot a tick, and quotes only for names
with an order or a position. A paper lane's venue makes the same quotes of the same bars.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import chain, pairwise
from typing import Any

from nautilus_trader.model.data import CustomData, DataType, QuoteTick
from nautilus_trader.model.identifiers import ClientId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Quantity

from actors.data_types import Marker, Snapshot, Universe
from dolphin.config import VenueConfig
from dolphin.engine.records import DayRows
from dolphin.errors import ConfigError

__all__ = ["CLIENT", "Delivery", "Quotes"]

CLIENT = ClientId("DOLPHIN")
"""Data client of the snapshots."""

MS = 1_000_000
DEEP, DEEPEST = 1e6, 1e13
DUST = 1e-6
"""Ticks that a price may be off its tick by the rounding of floats."""


class Quotes:
    """Quotes of bars; ``quoted`` = newest (bid, ask) by symbol, as built.

    A quote comes ``latency + 1 ms`` after its bar's close, so that an order sent at the close, on its way for ``latency``, meets exactly
    it. A name whose bar has no price is quoted at its last one, ``stale_spread_bps`` wide. Bid and ask lie on ticks, the close between.
    """

    def __init__(self, instruments: Mapping[str, Instrument], active: Set[str], venue: VenueConfig) -> None:
        """``active``: the live set of symbols to quote, kept by the order desk."""
        self._instruments, self._active, self._venue = instruments, active, venue
        self._after = int((venue.latency_ms + 1.0) * MS)
        self._last: dict[str, float] = {}
        self._newest: dict[str, QuoteTick] = {}
        self._until = -1
        self.quoted: dict[str, tuple[float, float]] = {}

    def first(self, tick: Snapshot, after: Snapshot | None = None) -> list[QuoteTick]:
        """Quotes of the active names for a bar; ``after``: the bar behind it, where that is known."""
        return [quote for name in sorted(self._active) if (quote := self._quote(name, tick, after)) is not None]

    def second(self, ts: int) -> list[QuoteTick]:
        """The same once more for maker orders of the bar at ``ts``: what they sent on the first ones reaches the venue before the next."""
        if self._venue.order_style != "maker":
            return []
        return [quote for name in sorted(self._active) if (quote := self._again(name, ts)) is not None]

    def again(self, ts: int) -> list[QuoteTick]:
        """The newest quotes of active names, an order's way after ``ts`` (ns)."""
        newest = [self._newest[name] for name in sorted(self._active) if name in self._newest]
        return [_at(quote, ts + self._after) for quote in newest]

    def _price(self, symbol: str, tick: Snapshot, after: Snapshot | None) -> float:
        """Close of the bar; with ``venue.drift`` moved on the straight line to the next one by the time that an order is under way. NaN =
        no price."""
        close = tick.close(symbol)
        later = close if after is None or not self._venue.drift else after.close(symbol)
        if after is None or not 0.0 < later < math.inf:
            return close
        return close + (later - close) * self._venue.latency_ms * MS / (after.ts_event - tick.ts_event)

    def _quote(self, symbol: str, tick: Snapshot, after: Snapshot | None) -> QuoteTick | None:
        spread, close, ts = self._venue.spread_bps, self._price(symbol, tick, after), tick.ts_event
        if not 0.0 < close < math.inf:
            close, spread = self._last.get(symbol, math.nan), self._venue.stale_spread_bps
        if not close > 0.0:
            return None
        self._last[symbol] = close
        instrument, half = self._instruments[symbol], 0.5e-4 * spread
        step = float(instrument.price_increment)
        below = max(math.floor(close * (1.0 - half) / step + DUST), 1)
        above = max(math.ceil(close * (1.0 + half) / step - DUST), below + (spread > 0.0))
        bid, ask = instrument.make_price(below * step), instrument.make_price(above * step)
        self.quoted[symbol] = bid.as_double(), ask.as_double()
        depth = Quantity(min(max(DEEP, DEEP / close), DEEPEST), instrument.size_precision)
        self._until = ts + self._after
        self._newest[symbol] = QuoteTick(instrument.id, bid, ask, depth, depth, ts + self._after, ts + self._after)
        return self._newest[symbol]

    def _again(self, symbol: str, ts: int) -> QuoteTick | None:
        """The same quote, a way later."""
        quote, late = self._newest.get(symbol), ts + 2 * self._after
        if quote is None or quote.ts_event != ts + self._after:
            return None
        self._until = late
        return _at(quote, late)


class Delivery(Quotes):
    """Chunks for ``BacktestEngine.add_data_iterator`` from days in order."""

    def chunks(self, days: Iterable[DayRows]) -> Iterator[list[Any]]:
        """Snapshot and barrier of each tick, then the quotes that are wanted once the snapshot has been handled."""
        snapshot, marker = DataType(Snapshot), DataType(Marker)
        for tick, after in pairwise(chain(_ticks(days), [None])):
            if tick is None:
                return
            ts = tick.ts_event
            if ts <= self._until:
                late = f"the quotes of a bar would come after the next bar ({ts} ns)"
                raise ConfigError(f"venue.latency_ms = {self._venue.latency_ms!r}: {late}")
            yield [CustomData(snapshot, tick), CustomData(marker, Marker(ts))]
            # an empty chunk would end the whole stream
            if found := self.first(tick, after):
                yield found
            if again := self.second(ts):
                yield again


def _at(quote: QuoteTick, ts: int) -> QuoteTick:
    return QuoteTick(quote.instrument_id, quote.bid_price, quote.ask_price, quote.bid_size, quote.ask_size, ts, ts)


def _ticks(days: Iterable[DayRows]) -> Iterator[Snapshot]:
    for day in days:
        assets = Universe(day.assets)
        signals = zip(day.vel_div.tolist(), day.v50.tolist(), day.v750.tolist(), strict=True)
        for closes, signal, ts in zip(day.closes, signals, (day.ts_ms * MS).tolist(), strict=True):
            yield Snapshot(ts, assets, closes, signal)
