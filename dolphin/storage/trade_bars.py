"""Trades into bars, by the exchange's own stamps. No clock, no I/O: what is closed and when is said by the caller.

A bar is a sum over a set of trades: open and close belong to the first and last ``(ts_ms, trade_id)``, volumes are exact decimal sums.
So the order of arrival, duplicates and cuts change no bit, and a bar made here equals the exchange's kline of the same trades.

Ids count without holes and never go back in time (Binance's aggregate trades). ``known_ms``: all trades of a symbol stamped before it
are here. ``covered_ms``: since then the subscription stands. A bar of a symbol is *sure* when both together say that nothing of it is
missing; what is not sure is asked of the exchange (``missing``, ``put``, ``confirm``) or becomes a gap, never a guess.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final, NamedTuple

__all__ = ["NEVER", "Bar", "Missing", "Trade", "TradeBars"]

NEVER: Final = 1 << 62
"""A moment that does not come, ms."""
_EXACT: Final = Context(prec=80)
_NOTHING: Final = Decimal(0)


class Trade(NamedTuple):
    """One (aggregate) trade: the exchange's stamp, its number for the symbol, price USDT, size in coins, the trades in it."""

    ts_ms: int
    trade_id: int
    price: float
    size: float
    taker_buys: bool
    trades: int = 1


class Bar(NamedTuple):
    """A closed bar of a symbol. Without trades it carries the last close, volume 0. The last three are NaN where a kline does not say."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float = math.nan
    trades: float = math.nan
    taker_buy_volume: float = math.nan

    @property
    def traded(self) -> bool:
        """Whether anything was traded in it."""
        return self.volume > 0.0


class Missing(NamedTuple):
    """What has to be asked for: trades of ``place`` from ``from_id`` on, or, when that is not known (-1), from ``since_ms`` on."""

    place: int
    from_id: int
    since_ms: int


@dataclass(slots=True)
class _Growing:
    """A bar that grows. Sums are exact, hence the same in any order."""

    first: Trade
    last: Trade
    high: float
    low: float
    volume: Decimal = _NOTHING
    quote: Decimal = _NOTHING
    taker: Decimal = _NOTHING
    trades: int = 0

    def take(self, trade: Trade) -> None:
        self.first, self.last = min(self.first, trade), max(self.last, trade)
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        size = Decimal(repr(trade.size))
        self.volume = _EXACT.add(self.volume, size)
        self.quote = _EXACT.add(self.quote, _EXACT.multiply(Decimal(repr(trade.price)), size))
        if trade.taker_buys:
            self.taker = _EXACT.add(self.taker, size)
        self.trades += trade.trades

    def bar(self) -> Bar:
        sums = float(self.volume), float(self.quote), float(self.trades), float(self.taker)
        return Bar(self.first.price, self.high, self.low, self.last.price, *sums)


@dataclass(slots=True)
class _Series:
    """A symbol. ``frontier``: ids up to here are settled, -1 = the next one may have any number; ``ahead``: ids behind it, with stamps."""

    frontier: int = -1
    frontier_ms: int = -1
    known_ms: int = -1
    covered_ms: int = NEVER
    gone: bool = False
    close: float = math.nan
    age: int = 0
    ahead: dict[int, int] = field(default_factory=dict)
    growing: dict[int, _Growing] = field(default_factory=dict)
    given: dict[int, Bar] = field(default_factory=dict)

    @property
    def holed(self) -> bool:
        """Whether ids are missing."""
        if not self.ahead:
            return False
        return self.frontier >= 0 or max(self.ahead) - min(self.ahead) + 1 > len(self.ahead)

    def advance(self) -> None:
        """Over every id that follows without a hole."""
        while self.frontier >= 0 and self.frontier + 1 in self.ahead:
            self.frontier += 1
            self.frontier_ms = self.ahead.pop(self.frontier)
            self.known_ms = max(self.known_ms, self.frontier_ms)


class TradeBars:
    """Bars of ``symbols``, each ``bar_ms`` long, numbered ``ts_ms // bar_ms``; the first to be closed is ``first_bar``.

    A bar without trades carries the last close for at most ``stale_bars`` bars; then the symbol has no price until it trades again.
    ``counts``: ``duplicate`` and ``late`` trades (after their bar was closed; they change nothing), ``lost`` ids that never came,
    ``gap`` bars of a symbol that were given up, ``bad`` trades that are none, ``backward`` ones stamped before a trade of a lower number:
    they are left out, and what follows is not believed until ``up`` says so.
    """

    def __init__(self, symbols: Sequence[str], bar_ms: int, first_bar: int, *, stale_bars: int) -> None:
        self.symbols, self.bar_ms, self.done = tuple(symbols), bar_ms, first_bar
        self.counts: Counter[str] = Counter()
        self._stale_bars, self._first = stale_bars, first_bar
        self._series = [_Series() for _ in self.symbols]

    def prime(self, place: int, close: float, age: int) -> None:
        """What the bar before the first one left: its close (NaN = unknown) and how many bars it is old."""
        self._series[place].close, self._series[place].age = close, age

    def add(self, place: int, trade: Trade) -> bool:
        """Take a trade; whether it is new."""
        series, bar = self._series[place], trade.ts_ms // self.bar_ms
        if not _plausible(trade):
            self.counts["bad"] += 1
            return False
        if 0 <= trade.trade_id <= series.frontier or trade.trade_id in series.ahead:
            self.counts["duplicate"] += 1
            return False
        if 0 <= series.frontier < trade.trade_id and trade.ts_ms < series.frontier_ms:
            self.counts["backward"] += 1
            series.covered_ms = NEVER
            return False
        if self._first <= bar < self.done:
            self.counts["late"] += 1
        if bar >= self.done or series.frontier >= 0:
            series.ahead[trade.trade_id] = trade.ts_ms
            series.advance()
        if bar >= self.done:
            growing = series.growing.get(bar)
            if growing is None:
                growing = series.growing[bar] = _Growing(trade, trade, trade.price, trade.price)
            growing.take(trade)
        return True

    def put(self, place: int, bar: int, given: Bar) -> None:
        """The exchange's own kline of a bar, which counts in place of its trades."""
        if bar >= self.done:
            self._series[place].given[bar] = given

    def confirm(self, place: int, until_ms: int) -> None:
        """The exchange was asked: every trade stamped before ``until_ms`` was added."""
        series = self._series[place]
        if not series.holed:
            series.known_ms = max(series.known_ms, until_ms)

    def down(self, places: Iterable[int]) -> None:
        """The subscription of these symbols does not stand."""
        for place in places:
            self._series[place].covered_ms = NEVER

    def up(self, places: Iterable[int], since_ms: int) -> None:
        """It stands, for every trade stamped at ``since_ms`` or later."""
        for place in places:
            self._series[place].covered_ms = since_ms

    def forget(self, since_ms: int) -> None:
        """Drop what was stamped at ``since_ms`` or later, and whatever shares a bar with it: the stamps are not to be trusted."""
        first = since_ms // self.bar_ms
        for series in self._series:
            series.frontier, series.covered_ms, series.ahead = -1, NEVER, {}
            series.known_ms = min(series.known_ms, first * self.bar_ms)
            series.growing = {bar: growing for bar, growing in series.growing.items() if bar < first}
            series.given = {bar: given for bar, given in series.given.items() if bar < first}

    def delist(self, place: int) -> None:
        """No price from now on."""
        self._series[place].gone = True

    def missing(self, bar: int) -> list[Missing]:
        """Symbols of which trades of ``bar`` may be missing, with what to ask for."""
        start, end = bar * self.bar_ms, (bar + 1) * self.bar_ms
        found = []
        for place, series in enumerate(self._series):
            sure = series.known_ms >= end or (series.covered_ms <= max(start, series.known_ms) and not series.holed)
            if not (sure or series.gone or bar in series.given):
                found.append(Missing(place, series.frontier + 1 if series.frontier >= 0 else -1, start))
        return found

    def proven(self, place: int, bar: int) -> bool:
        """Whether a trade behind ``bar``, and every id up to it, is here."""
        return self._series[place].known_ms >= (bar + 1) * self.bar_ms

    def traded(self, bar: int, place: int) -> bool:
        """Whether a symbol is known to have traded in ``bar``."""
        series = self._series[place]
        return not series.gone and (bar in series.growing or (bar in series.given and series.given[bar].traded))

    def left(self, place: int) -> tuple[float, int]:
        """Close of the last bar (NaN = unknown), and for how many bars it is carried, as ``prime`` takes them."""
        return self._series[place].close, self._series[place].age

    def close(self) -> list[Bar | None]:
        """Close bar ``done``: one entry a symbol, None = no price. What is not sure is given up."""
        bar, unsure = self.done, {found.place for found in self.missing(self.done)}
        self.done += 1
        closed = [self._closed(place, series, bar, place in unsure) for place, series in enumerate(self._series)]
        self.counts["gap"] += len(unsure)
        return closed

    def skip(self, bar: int) -> None:
        """Go on with ``bar``: of those before it there is nothing to be had."""
        while self.done < bar:
            self.close()

    def _closed(self, place: int, series: _Series, bar: int, unsure: bool) -> Bar | None:
        growing, made = series.growing.pop(bar, None), series.given.pop(bar, None)
        if made is None and growing is not None and not unsure:
            made = growing.bar()
        self._settle(series, self.done * self.bar_ms)
        if unsure or series.gone:
            series.close, series.age = math.nan, 0
            return None
        if made is not None and made.traded:
            series.close, series.age = made.close, 0
            return made
        if made is not None and math.isnan(series.close) and series.age <= self._stale_bars:
            series.close = made.close
        series.age += 1
        if math.isnan(series.close) or series.age > self._stale_bars:
            return None
        return Bar(series.close, series.close, series.close, series.close, 0.0, 0.0, 0.0, 0.0)

    def _settle(self, series: _Series, end: int) -> None:
        """Ids of bars that are closed are settled, come or lost; behind an outage the next id may have any number."""
        past = [trade_id for trade_id, ts_ms in series.ahead.items() if ts_ms < end]
        if past:
            newest = max(past)
            before = series.frontier if series.frontier >= 0 else min(past) - 1
            self.counts["lost"] += newest - before - sum(trade_id <= newest for trade_id in series.ahead)
            series.frontier, series.frontier_ms = newest, series.ahead[newest]
            series.known_ms = max(series.known_ms, series.frontier_ms)
            series.ahead = {trade_id: ts_ms for trade_id, ts_ms in series.ahead.items() if trade_id > newest}
            series.advance()
        if series.known_ms < series.covered_ms <= end:
            series.frontier = -1


def _plausible(trade: Trade) -> bool:
    positive = trade.price > 0.0 and trade.size > 0.0 and math.isfinite(trade.price) and math.isfinite(trade.size)
    return positive and 0 <= trade.ts_ms < NEVER and trade.trade_id >= 0 and trade.trades >= 1
