"""Delivery of day tables to the backtest engine: one snapshot a tick, and quotes only for names with an order or a position.

A quote comes ``latency + 1 ms`` after its bar's close, so that an order sent at the close, on its way for ``latency``, meets exactly it.
A name whose bar has no price is quoted at its last one, ``stale_spread_bps`` wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from nautilus_trader.model.data import CustomData, DataType, QuoteTick
from nautilus_trader.model.identifiers import ClientId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Quantity

from actors.data_types import Marker, Snapshot
from dolphin.config import VenueConfig
from dolphin.engine.records import DayRows

__all__ = ["CLIENT", "Delivery"]

CLIENT = ClientId("DOLPHIN")
"""Data client of the snapshots."""

MS = 1_000_000
DEEP = 1e6


class Delivery:
    """Chunks for ``BacktestEngine.add_data_iterator`` from days in order; ``quoted`` = newest (bid, ask) by symbol, as built."""

    def __init__(self, instruments: Mapping[str, Instrument], active: Set[str], venue: VenueConfig) -> None:
        """``active``: the live set of symbols to quote, kept by the order desk."""
        self._instruments, self._active, self._venue = instruments, active, venue
        self._after = int((venue.latency_ms + 1.0) * MS)
        self._last: dict[str, float] = {}
        self._newest: dict[str, QuoteTick] = {}
        self.quoted: dict[str, tuple[float, float]] = {}

    def chunks(self, days: Iterable[DayRows]) -> Iterator[list[Any]]:
        """Snapshot and barrier of each tick, then the quotes that are wanted once the snapshot has been handled."""
        snapshot, marker = DataType(Snapshot), DataType(Marker)
        for day in days:
            column = {name: j for j, name in enumerate(day.assets)}
            signals = zip(day.vel_div.tolist(), day.v50.tolist(), day.v750.tolist(), strict=True)
            for closes, signal, ts in zip(day.closes, signals, (day.ts_ms * MS).tolist(), strict=True):
                yield [CustomData(snapshot, Snapshot(ts, day.assets, closes, signal)), CustomData(marker, Marker(ts))]
                if self._active:
                    quotes = [self._quote(name, closes[column[name]] if name in column else math.nan, ts) for name in sorted(self._active)]
                    yield [quote for quote in quotes if quote is not None]
                if self._active and self._venue.order_style == "maker":
                    yield [again for symbol in sorted(self._active) if (again := self._again(symbol, ts)) is not None]

    def _quote(self, symbol: str, close: float, ts: int) -> QuoteTick | None:
        spread = self._venue.spread_bps
        if not 0.0 < close < math.inf:
            close, spread = self._last.get(symbol, math.nan), self._venue.stale_spread_bps
        if not close > 0.0:
            return None
        self._last[symbol] = close
        instrument, half = self._instruments[symbol], 0.5e-4 * spread
        bid, ask = instrument.make_price(close * (1.0 - half)), instrument.make_price(close * (1.0 + half))
        if ask <= bid and spread > 0.0:
            ask = instrument.make_price(bid.as_double() + float(instrument.price_increment))
        self.quoted[symbol] = bid.as_double(), ask.as_double()
        depth = Quantity(max(DEEP, DEEP / close), instrument.size_precision)
        self._newest[symbol] = QuoteTick(instrument.id, bid, ask, depth, depth, ts + self._after, ts + self._after)
        return self._newest[symbol]

    def _again(self, symbol: str, ts: int) -> QuoteTick | None:
        """The same quote once more, a way later: what was sent on the first one reaches the venue before the next bar."""
        quote, late = self._newest.get(symbol), ts + 2 * self._after
        if quote is None or quote.ts_event != ts + self._after:
            return None
        return QuoteTick(quote.instrument_id, quote.bid_price, quote.ask_price, quote.bid_size, quote.ask_size, late, late)
