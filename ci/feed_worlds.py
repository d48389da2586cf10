"""A scripted exchange on a virtual clock: trades of seeded tapes by a subscription and by request, with everything that can go wrong."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from daemon_worlds import START_MS, World
from trade_tapes import oracle_bars, tape

from daemons.feed_words import FeedWords
from daemons.live_bars import LiveBars
from daemons.live_history import LiveHistory
from daemons.scanner import ScannerService
from daemons.trade_feed import Answer, AskBars, AskMarkets, AskTrades, Down, Heard, Listed, Told, TradeFeed
from dolphin.config import Settings
from dolphin.deployment import FeedConfig
from dolphin.storage.journal import Kind
from dolphin.storage.klines import KlineBars
from dolphin.storage.trade_bars import Bar, Trade
from dolphin.storage.trade_record import TradeRecord

__all__ = ["Exchange", "ScriptedFeed", "live_world", "scans", "start_live", "truth"]

LATENCY_MS = 40
ANSWER_MS = 200


class Exchange:
    """The truth: tapes of ``symbols`` from ``start_ms`` for ``hours``, and what is wrong at the moment."""

    def __init__(self, symbols: Sequence[str], start_ms: int, hours: float, mean_ms: float = 2_000.0, seed: int = 5) -> None:
        self.symbols = list(symbols)
        self.tapes = {s: tape(seed * 1000 + k, start_ms, int(hours * 3_600_000), mean_ms) for k, s in enumerate(symbols)}
        self.stamps = {s: [t.ts_ms for t in trades] for s, trades in self.tapes.items()}
        self.down = self.rest_down = False
        self.offset_ms = 0
        self.delisted: dict[str, int] = {}
        self.listed: dict[str, int] = {}
        self.swallow: Callable[[str, Trade], bool] = lambda symbol, trade: False
        self.twice = self.shuffled = False

    def between(self, symbol: str, first_ms: int, end_ms: int) -> list[Trade]:
        """Trades stamped in ``[first_ms, end_ms)`` while the symbol was listed."""
        stamps, end_ms = self.stamps[symbol], min(end_ms, self.delisted.get(symbol, end_ms))
        first_ms = max(first_ms, self.listed.get(symbol, first_ms))
        return self.tapes[symbol][bisect_left(stamps, first_ms) : bisect_left(stamps, end_ms)]

    def klines(self, symbol: str, first_ms: int, last_ms: int, bar_ms: int) -> dict[int, Bar]:
        """As the exchange tells them; none before the symbol's first trade."""
        bars = (last_ms - first_ms) // bar_ms + 1
        tape = self.between(symbol, first_ms - 20 * bar_ms, last_ms + bar_ms)
        made = oracle_bars(tape, bar_ms, first_ms // bar_ms - 20, bars + 20, 10**9)[20:]
        return {first_ms + k * bar_ms: bar for k, bar in enumerate(made) if bar is not None}


class ScriptedFeed(TradeFeed):
    """The exchange as a scanner's process hears it, by ``clock`` (a virtual one)."""

    def __init__(self, exchange: Exchange, clock: Any, bar_ms: int) -> None:
        self._exchange, self._clock, self._bar_ms, self._rng = exchange, clock, bar_ms, random.Random(1)
        self._symbols: tuple[str, ...] = ()
        self._heard_ms = self._polled_ms = clock.market_ms()
        self._connected = False
        self._asks: list[tuple[int, Any]] = []
        self.asked: list[Any] = []
        self.closed = False

    def follow(self, symbols: Sequence[str]) -> None:
        self._symbols, self._connected = tuple(symbols), False

    def ask(self, ask: Any) -> None:
        self.asked.append(ask)
        self._asks.append((self._clock.market_ms() + ANSWER_MS, ask))

    def take(self) -> list[Any]:
        now, exchange = self._clock.market_ms(), self._exchange
        events: list[Any] = []
        if now - self._polled_ms >= 1000 and not exchange.rest_down:
            self._polled_ms = now
            events.append(Told(now - 30, now, now - 15 + exchange.offset_ms))
        if exchange.down == self._connected and self._symbols:
            self._connected = not exchange.down
            if exchange.down:
                events.append(Down(tuple(range(len(self._symbols))), "cut"))
            self._heard_ms = now - LATENCY_MS
        if self._connected and self._symbols:
            events += self._trades(now)
        return events + self._answers(now)

    def close(self) -> None:
        self.closed = True

    def _trades(self, now: int) -> list[Heard]:
        exchange, until = self._exchange, now - LATENCY_MS
        rows = [
            (t, k) for k, s in enumerate(self._symbols) for t in exchange.between(s, self._heard_ms, until) if not exchange.swallow(s, t)
        ]
        self._heard_ms = until
        rows = [row for row in sorted(rows) for _ in range(2 if exchange.twice else 1)]
        if exchange.shuffled:
            self._rng.shuffle(rows)
        return [Heard(k, now, [t._replace(ts_ms=t.ts_ms + exchange.offset_ms)]) for t, k in rows]

    def _answers(self, now: int) -> list[Any]:
        if self._exchange.rest_down:
            return []
        due = [ask for at, ask in self._asks if at <= now]
        self._asks = [(at, ask) for at, ask in self._asks if at > now]
        return [self._answer(ask, now) for ask in due]

    def _answer(self, ask: Any, now: int) -> Any:
        exchange = self._exchange
        if isinstance(ask, AskMarkets):
            there = [symbol for symbol in exchange.symbols if exchange.listed.get(symbol, now) <= now]
            return Listed({symbol: symbol not in exchange.delisted or exchange.delisted[symbol] > now for symbol in there})
        if isinstance(ask, AskBars):
            return Answer(ask, exchange.klines(ask.symbol, ask.first_ms, ask.last_ms, self._bar_ms))
        assert isinstance(ask, AskTrades)
        found = exchange.between(ask.symbol, ask.since_ms if ask.from_id < 0 else 0, now)
        return Answer(ask, {}, [t for t in found if t.trade_id >= ask.from_id])


def live_world(world_of: Callable[..., World], start_ms: int = START_MS, **feed: Any) -> World:
    """A world whose wall clock is the market's; bars of 5 s unless told otherwise."""
    config = FeedConfig(exchange="scripted", **{"bar_seconds": 5, **feed})
    return world_of(settings=Settings(feed=config), start_ms=start_ms)


def start_live(world: World, exchange: Exchange) -> ScannerService:
    """A scanner's process on the exchange."""
    made: list[ScannerService] = []

    class Live(ScannerService):
        def __init__(self, context: Any) -> None:
            config = context.settings.feed
            feed = ScriptedFeed(exchange, context.clock, config.bar_seconds * 1000)
            history = LiveHistory(context.journal, context.state.feed, feed, config.bar_seconds)
            record = TradeRecord(context.state.feed / "trades") if config.record else None
            source = LiveBars(feed, context.clock, config, history, FeedWords(context.alert), record)
            source.step_s = 0.1
            super().__init__(context, source)

    made.append(world.start(Live))
    return made[0]


def scans(service: ScannerService) -> list[tuple[int, dict[str, Any]]]:
    """Close and payload of every journalled bar."""
    return [(r.ts_ms, r.payload) for r in service.context.journal.records(Kind.SCAN)]


def truth(exchange: Exchange, service: ScannerService, stale_bars: int = 12) -> dict[int, list[float | None]]:
    """By close of the bar: closes over the scanner's symbols that the tapes give."""
    told = scans(service)
    source = service._source
    assert isinstance(source, LiveBars)
    bar_ms, first, last = source._bar_ms, told[0][0], told[-1][0]
    columns = []
    for symbol in source.symbols:
        tape = exchange.between(symbol, first - (21 if bar_ms >= 60_000 else 1) * bar_ms, last)
        made = oracle_bars(tape, bar_ms, first // bar_ms - 21, (last - first) // bar_ms + 21, stale_bars)[20:]
        columns.append([None if bar is None else bar.close for bar in made])
    return {first + k * bar_ms: list(row) for k, row in enumerate(zip(*columns, strict=True))}


def blocks(bars: KlineBars) -> list[Any]:
    """The five blocks of a day."""
    return [bars.opens, bars.highs, bars.lows, bars.closes, bars.volumes]
