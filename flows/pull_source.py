"""What an exchange tells about the past: its perpetuals in USDT, when each was listed, their klines and funding payments.

Binance's USDT-M answers rows of twelve columns (turnover, trades and taker volume too), word for word as it writes them; of every other
exchange CCXT's unified rows are taken, which hold open, high, low, close and volume only.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from dataclasses import dataclass
from typing import Any, Final

from dolphin.errors import ConfigError, MalformedFile, QualityError, Unavailable
from dolphin.storage.layouts import interval_of, symbol_of
from dolphin.storage.schema import DAY_MS, SYMBOL, clock, date_of
from flows.pull_client import Exchange

__all__ = ["Listing", "Source"]

ROWS: Final = 480
"""Bars a request: a third of a day of minutes. Binance counts 2 for up to 499 rows, 10 for 1500."""
FUNDING_ROWS: Final = 1000
FUNDING_REQUESTS, FUNDING_WINDOW_S = 450, 300.0
"""Binance answers 500 funding requests in five minutes, besides its weights."""
SKEW_MS: Final = 60_000
_NUMBER = re.compile(r"[0-9.eE+-]{1,40}")

type Candle = list[Any]
"""``[open time in ms, open, high, low, close, volume]``, and on Binance the six columns that follow."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol and its name at the exchange; opens (ms) of its first candle (0 = not told) and of its last one (0 = it is traded)."""

    symbol: str
    market: str
    first_ms: int = 0
    last_ms: int = 0

    def span(self, start: int, end: int, bar_ms: int) -> tuple[int, int]:
        """The part of ``[start, end)`` in which it was listed; empty when the first is not below the second."""
        return max(start, self.first_ms), min(end, self.last_ms + bar_ms) if self.last_ms else end

    def listed(self, start: int, end: int, bar_ms: int) -> bool:
        """Whether it was listed within ``[start, end)``."""
        first, last = self.span(start, end, bar_ms)
        return first < last


class Source:
    """An open exchange. ``now_ms`` is its clock when it was opened: nothing later exists."""

    def __init__(self, exchange: Exchange, timeframe: str) -> None:
        self.exchange, self.timeframe = exchange, timeframe
        self.bar_ms = interval_of(timeframe) * 1000
        if not self.bar_ms or DAY_MS % self.bar_ms:
            raise ConfigError(f"--timeframe {timeframe}: expected 1m, 5m, 1h ... that divides a day")
        self.now_ms = 0
        self._markets: dict[str, Any] = {}
        self._funding_asked: list[float] = []

    @property
    def whole(self) -> bool:
        """Whether rows have all twelve columns."""
        return self.exchange.name == "binanceusdm"

    async def open(self) -> None:
        """Load markets and clock. Raises ``Unavailable`` when this machine's clock and the exchange's differ by a minute."""
        client = self.exchange.client
        markets = await self.exchange.ask(client.load_markets)
        told = await self.exchange.ask(client.fetch_time) if client.has.get("fetchTime") else None
        here = time.time_ns() // 1_000_000
        self.now_ms = int(told) if told else here
        if not self.exchange.demo and abs(self.now_ms - here) > SKEW_MS:
            raise Unavailable(f"this machine's clock is {(here - self.now_ms) / 1000:+.0f} s from the exchange's: set it right first")
        usdt = [m for m in markets.values() if m.get("quote") == "USDT" and SYMBOL.fullmatch(symbol_of(m["symbol"]))]
        swaps = [m for m in usdt if m.get("swap") and m.get("linear")]
        self._markets = {symbol_of(m["symbol"]): m for m in swaps or [m for m in usdt if m.get("spot")]}

    async def choose(self, symbols: tuple[str, ...], top: int) -> tuple[str, ...]:
        """``symbols`` as given; or the ``top`` ones by turnover of the last 24 hours; or all that are traded now."""
        if symbols:
            odd = [s for s in symbols if not SYMBOL.fullmatch(s) or symbols.count(s) > 1]
            unknown = [s for s in symbols if s not in self._markets and not self.whole]
            if odd or unknown:
                raise ConfigError(f"--symbols: {(odd + unknown)[0]} comes twice or is no symbol of {self.exchange.name}")
            return tuple(sorted(symbols))
        traded = sorted(name for name, market in self._markets.items() if market.get("active") is not False)
        if top:
            tickers = await self.exchange.ask(self.exchange.client.fetch_tickers)
            turnover = {s: float((tickers.get(self._markets[s]["symbol"]) or {}).get("quoteVolume") or 0.0) for s in traded}
            traded = sorted(sorted(traded, key=lambda s: (-turnover[s], s))[:top])
        if not traded:
            raise ConfigError(f"{self.exchange.name} has no perpetual in USDT")
        return tuple(traded)

    async def listing(self, symbol: str) -> Listing:
        """Ask when it was listed, and when it ended if it is not traded any more. Raises ``ConfigError`` for a symbol nobody knows."""
        market = self._markets.get(symbol, {"symbol": symbol, "id": symbol, "active": False})
        if not self.whole:
            return Listing(symbol, market["symbol"], int(market.get("created") or 0))
        asked = {"symbol": market["id"], "interval": self.timeframe, "limit": 1}
        first = await self._klines({**asked, "startTime": 0}, symbol)
        if not first:
            raise ConfigError(f"{symbol}: {self.exchange.name} has no candle of it")
        last = await self._klines(asked, symbol) if market.get("active") is False else []
        self._fits(first[0], Listing(symbol, market["id"]), first[0][0], first[0][0] + 1)
        return Listing(symbol, market["id"], first[0][0], last[-1][0] if last else 0)

    async def candles(self, listing: Listing, start: int, end: int) -> list[Candle]:
        """Rows that open in ``[start, end)`` ms, in the order in which they came. Raises ``QualityError`` for one beyond the clock."""
        begin, end = listing.span(start, end, self.bar_ms)
        rows: list[Candle] = []
        while begin < end:
            stop = min(begin + ROWS * self.bar_ms, end)
            got = [row for row in await self._window(listing, begin, stop) if self._fits(row, listing, begin, stop)]
            rows += got
            begin = stop if self.whole or not got else max(row[0] for row in got) + self.bar_ms
        return rows

    async def funding(self, listing: Listing, start: int, end: int) -> list[tuple[int, float]]:
        """``(ms, rate)`` of the payments in ``[start, end)``, ascending; empty where the exchange has no history of them."""
        client, paid = self.exchange.client, dict[int, float]()
        if not client.has.get("fetchFundingRateHistory"):
            return []
        name = self._markets[listing.symbol]["symbol"] if listing.symbol in self._markets else ""
        while name and start < end:
            await self._funding_turn()
            got = await self.exchange.ask(client.fetch_funding_rate_history, name, start, FUNDING_ROWS, {"until": end - 1})
            fresh = [_payment(row, listing.symbol) for row in got]
            for stamp, rate in fresh:
                if stamp > self.now_ms:
                    raise QualityError(f"{listing.symbol}: a funding payment of {date_of(stamp)} is beyond the exchange's clock")
                if stamp in paid and paid[stamp] != rate:
                    raise QualityError(f"{listing.symbol}: two funding rates for {date_of(stamp)} {clock(stamp)}")
                paid[stamp] = rate
            if not fresh or (self.whole and len(fresh) < FUNDING_ROWS):
                break
            start = max(start, max(stamp for stamp, _ in fresh)) + 1
        return sorted((stamp, rate) for stamp, rate in paid.items() if stamp < end)

    async def _window(self, listing: Listing, begin: int, stop: int) -> list[Candle]:
        rows = (stop - begin) // self.bar_ms
        if self.whole:
            asked = {"symbol": listing.market, "interval": self.timeframe, "startTime": begin, "endTime": stop - 1, "limit": rows}
            return await self._klines(asked, listing.symbol)
        answer = await self.exchange.ask(self.exchange.client.fetch_ohlcv, listing.market, self.timeframe, begin, rows)
        return [row for row in _checked(answer, listing.symbol, 6) if begin <= row[0] < stop or row[0] > self.now_ms]

    async def _klines(self, asked: dict[str, Any], symbol: str) -> list[Candle]:
        return _checked(await self.exchange.ask(self.exchange.client.fapiPublicGetKlines, asked), symbol, 12)

    def _fits(self, row: Candle, listing: Listing, begin: int, stop: int) -> bool:
        """Raises ``QualityError`` for a candle that is not over yet, or that was not asked for."""
        moment = f"{listing.symbol}: the candle of {date_of(row[0])} {clock(row[0])}"
        if row[0] + self.bar_ms > self.now_ms:
            raise QualityError(f"{moment} is beyond the exchange's clock, {date_of(self.now_ms)} {clock(self.now_ms)}")
        if not begin <= row[0] < stop:
            raise QualityError(f"{moment} is not one that was asked for")
        return True

    async def _funding_turn(self) -> None:
        now = time.monotonic()
        self._funding_asked = [asked for asked in self._funding_asked if now - asked < FUNDING_WINDOW_S]
        if self.whole and not self.exchange.demo and len(self._funding_asked) >= FUNDING_REQUESTS:
            await asyncio.sleep(FUNDING_WINDOW_S - (now - self._funding_asked[0]))
        self._funding_asked.append(time.monotonic())


def _checked(rows: Any, symbol: str, columns: int) -> list[Candle]:
    """The exchange's answer as rows. Raises ``MalformedFile`` for anything else."""
    if not isinstance(rows, list):
        raise MalformedFile(f"{symbol}: the exchange answered no rows but {str(rows)[:80]!r}")
    for number, row in enumerate(rows):
        whole = isinstance(row, list) and len(row) == columns and type(row[0]) is int and 10**11 <= row[0] < 10**14
        if not whole or not all(_is_number(value) for value in row[1:]):
            raise MalformedFile(f"{symbol}: the exchange answered no kline but {str(row)[:80]!r}", row=number)
    return rows


def _is_number(value: Any) -> bool:
    return bool(_NUMBER.fullmatch(value)) if isinstance(value, str) else type(value) in (int, float)


def _payment(row: Any, symbol: str) -> tuple[int, float]:
    try:
        stamp, rate = int(row["timestamp"]), float(row["fundingRate"])
    except (TypeError, KeyError, ValueError):
        stamp, rate = 0, math.nan
    if not math.isfinite(rate):
        raise MalformedFile(f"{symbol}: the exchange answered no funding rate but {str(row)[:80]!r}")
    return stamp, rate
