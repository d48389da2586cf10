"""Live bars: a feed's trades as rows of closed bars, closed on the exchange's clock, complete or known not to be.

A bar is handed out when the exchange's clock is past its close by the grace, every connection has told something stamped behind it (or
has been silent too long to be believed), and the exchange was asked for whatever may be missing. What it does not have is a gap: the
symbol has no price. A bar in which nobody is known to have traded is no row at all. A stamp that cannot be true holds everything until
the exchange has told its time again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from daemons.backfill import KLINE_MS, Backfill
from daemons.bars import BarSource
from daemons.clock import Clock
from daemons.exchange_clock import ExchangeClock
from daemons.feed_words import FeedWords
from daemons.live_day import LiveDay
from daemons.live_history import LiveHistory
from daemons.trade_feed import Answer, AskBars, AskMarkets, AskTrades, Down, Heard, Listed, Told, TradeFeed
from dolphin.deployment import FeedConfig
from dolphin.storage.klines import KlineDay
from dolphin.storage.schema import date_of
from dolphin.storage.trade_bars import Trade, TradeBars
from dolphin.storage.trade_record import TradeRecord

__all__ = ["LiveBars"]

LOOK_S: Final = 0.02
"""Seconds between two looks: what came is added up as it comes, not when the bar is due."""
SILENT_S: Final = 2.0
"""A connection that is silent for so long behind a close (seconds of ours) is not believed: the exchange is asked."""
DEAF_S: Final = 5.0
"""An exchange whose time was not heard for so long does not answer."""
USUAL: Final = 5.0
"""A symbol with so many trades in a usual bar that has none in this one is asked for."""
MARKETS_S: Final = 600.0
RECORD_S: Final = 60.0


class LiveBars(BarSource):
    """Bars of ``feed``. ``history``: files and journal of the days so far; ``words``: who is told what happens; ``record``: None = no."""

    def __init__(
        self, feed: TradeFeed, clock: Clock, config: FeedConfig, history: LiveHistory, words: FeedWords, record: TradeRecord | None
    ) -> None:
        self.symbols, self.bar_seconds, self._bar_ms, self.step_s = (), config.bar_seconds, config.bar_seconds * 1000, LOOK_S
        self._feed, self._clock, self._config, self._history, self._words, self._record = feed, clock, config, history, words, record
        self._exchange = ExchangeClock(config.clock_limit_ms)
        self._grace_ms = config.grace_ms * clock.speed
        self._day: LiveDay | None = None
        self._bars: TradeBars | None = None
        self._backfill = Backfill(feed, (), self._bar_ms, config.backfill_s)
        self._markets: dict[str, bool] | None = None
        self._groups: list[tuple[int, ...]] = []
        self._group_of: list[int] = []
        self._asking = False
        self._standing: list[bool] = []
        self._doubted: set[int] = set()
        self._newest: list[int] = []
        self._usual: list[float] = []
        self._looked_at = -1
        self._told_s = self._markets_s = self._recorded_s = -math.inf
        self._skewed = False
        self._odd_ms, self._sure_ms = -1, 0
        self._gone: frozenset[str] = frozenset()
        self.counts: Counter[str] = Counter()

    @property
    def day(self) -> KlineDay | None:
        return None if self._day is None else self._day.day

    @property
    def status(self) -> str:
        return self._words.status

    @property
    def gone(self) -> frozenset[str]:
        return self._gone

    def ready(self) -> bool:
        """Whether the exchange's clock, the universe and the rows before the day are known; asks for what is not."""
        self._hear()
        if self._day is not None:
            return True
        if not self._exchange.known or self._skewed:
            self._words.say("clock_skew" if self._skewed else "connecting")
            return False
        if self._markets is None:
            self._ask_markets()
            return False
        now = self._exchange.now(self._clock.market_ms())
        if not self.symbols:
            self.symbols = self._history.universe(self._config.chosen, self._markets)
            self._subscribe()
        if not self._history.ready(self.symbols, now):
            self._words.say("backfill")
            return False
        return True

    def begin(self, date: str = "") -> list[KlineDay]:
        now = self._exchange.now(self._clock.market_ms())
        warm, self._day = self._history.begin(date or date_of(now), self.symbols)
        rows, start = self._day.rows, self._day.start_ms
        if rows:
            first = int(self._day.day.ts[rows - 1]) + self._bar_ms
        else:
            first = start if self._bar_ms >= KLINE_MS else max(start, now - now % self._bar_ms + self._bar_ms)
        self._open(first // self._bar_ms, self._history.left(self._day))
        return warm

    def closed(self, market_ms: int) -> int:
        self._hear()
        while self._close_next():
            pass
        self._keep_record()
        return 0 if self._day is None else self._day.closed(market_ms)

    def over(self, market_ms: int) -> bool:
        return self._day is not None and self._bars is not None and self._bars.done * self._bar_ms >= self._day.end_ms

    def finish(self) -> bool:
        assert self._day is not None
        return self._history.finish(self._day)

    def follow(self) -> None:
        assert self._day is not None
        assert self._bars is not None
        assert self._markets is not None
        before, old = self._day.day, self.symbols
        chosen = self._history.chosen(self._config.chosen, {**self._markets, **dict.fromkeys(self._gone, False)})
        self._day = self._history.fresh(date_of(self._day.end_ms), chosen, before)
        if chosen != old:
            left = {symbol: self._bars.left(place) for place, symbol in enumerate(old)}
            self.symbols = chosen
            self._subscribe()
            self._open(self._bars.done, [left.get(symbol, (math.nan, 0)) for symbol in chosen])

    def told(self, row: int) -> dict[str, Any]:
        silent = self._day.silent[row] if self._day is not None else {}
        return {"silent": {str(place): age for place, age in silent.items()}} if silent else {}

    def due_s(self) -> float:
        if self._bars is None:
            return 1.0
        wait = (self._bars.done + 1) * self._bar_ms + self._grace_ms - self._exchange.now(self._clock.market_ms())
        return wait / 1000.0 / self._clock.speed

    def health(self) -> dict[str, Any]:
        counts = self._bars.counts if self._bars is not None else Counter[str]()
        lag, words = self.lag_ms, self._words
        return {
            "status": words.status, "symbols": len(self.symbols), "without_price": words.without_price, "missing_bars": words.missing_bars,
            "lag_ms": lag if math.isfinite(lag) else None, "lead_ms": self.lead_ms, "gaps": counts["gap"], "late": counts["late"],
            "lost": counts["lost"], "duplicates": counts["duplicate"], "backfilled": self.counts["backfilled"], "down": self.counts["down"],
        }  # fmt: skip

    def close(self) -> None:
        if self._record is not None:
            self._record.flush(0)
        self._feed.close()

    @property
    def lag_ms(self) -> float:
        """From the newest trade to the exchange's time now."""
        return self._exchange.now(self._clock.market_ms()) - max(self._newest, default=0) if any(self._newest) else math.nan

    @property
    def lead_ms(self) -> tuple[int, int] | None:
        """Bounds of the exchange's clock minus ours."""
        return self._exchange.lead if self._exchange.known else None

    def _subscribe(self) -> None:
        self._groups, self._newest, self._doubted = [tuple(range(len(self.symbols)))], [0], set()
        self._standing, self._usual = [False] * len(self.symbols), [0.0] * len(self.symbols)
        self._group_of = [0] * len(self.symbols)
        self._backfill = Backfill(self._feed, self.symbols, self._bar_ms, self._config.backfill_s)
        self._feed.follow(self.symbols)

    def _open(self, first_bar: int, left: Sequence[tuple[float, int]]) -> None:
        before = self._bars.counts if self._bars is not None else Counter[str]()
        self._bars = TradeBars(self.symbols, self._bar_ms, first_bar, stale_bars=self._config.stale_bars)
        self._bars.counts = before
        for place, (close, age) in enumerate(left):
            self._bars.prime(place, close, age)
            if self.symbols[place] in self._gone:
                self._bars.delist(place)
        self._standing = [False] * len(self.symbols)

    def _hear(self) -> None:
        for event in self._feed.take():
            match event:
                case Told():
                    self._told_s, self._sure_ms = self._clock.monotonic(), event.sent_ms
                    self._exchange.answer(event.sent_ms, event.received_ms, event.server_ms)
                    self._check_clock()
                case Heard():
                    self._trades(event.place, event.trades, event.received_ms)
                case Down():
                    self._down(event.places, event.why)
                case Listed():
                    self._markets, self._asking = event.symbols, False
                    self._check_listings()
                case Answer():
                    self._answer(event)
        if self._clock.monotonic() - self._markets_s > MARKETS_S / min(60.0, self._clock.speed):
            self._ask_markets()

    def _trades(self, place: int, trades: Iterable[Trade], received_ms: int) -> None:
        if self._bars is None or place >= len(self.symbols) or self._skewed:
            return
        group = self._group_of[place]
        for trade in trades:
            backward = self._bars.counts["backward"]
            ahead = not self._exchange.stamp(received_ms, trade.ts_ms)
            if not ahead:
                self._take(place, trade)
            if ahead or self._bars.counts["backward"] > backward:
                self.counts["odd_stamp"] += 1
                self._odd_ms = received_ms
                self._doubt([place])
                continue
            self._newest[group] = max(self._newest[group], trade.ts_ms)
            if not self._standing[place]:
                since = trade.ts_ms + math.ceil(self._grace_ms)
                places = [place] if place in self._doubted else [p for p in self._groups[group] if p not in self._doubted]
                self._bars.up(places, since)
                self._doubted.discard(place)
                for raised in places:
                    self._standing[raised] = True

    def _take(self, place: int, trade: Trade) -> None:
        assert self._bars is not None
        if self._bars.add(place, trade) and self._record is not None:
            self._record.add(self.symbols[place], trade)

    def _down(self, places: Sequence[int], why: str) -> None:
        """The places of a connection are known from its end on; before that all count as one."""
        places = tuple(place for place in places if place < len(self.symbols))
        if places and places not in self._groups:
            rest = [tuple(p for p in group if p not in places) for group in self._groups]
            self._groups = [*(group for group in rest if group), places]
            self._newest = [max(self._newest)] * len(self._groups)
            self._group_of = [next(k for k, group in enumerate(self._groups) if place in group) for place in range(len(self.symbols))]
        if any(self._standing[place] for place in places):
            self.counts["down"] += 1
            self._words.down(len(places), why)
        self._doubt(places)

    def _doubt(self, places: Iterable[int]) -> None:
        for place in places:
            self._standing[place] = False
            if self._bars is not None:
                self._bars.down([place])

    def _check_clock(self) -> None:
        """While the clocks disagree nothing is closed; then everything stamped since they agreed last is asked for again."""
        if self._exchange.skewed == self._skewed:
            return
        self._skewed = self._exchange.skewed
        self._words.skew(self._skewed, self._exchange.lead)
        if self._skewed:
            self.counts["skew"] += 1
            if self._bars is not None:
                self._bars.forget(self._exchange.right_ms + min(0, self._exchange.lead[1]))
                self._backfill.forget()
                self._standing = [False] * len(self.symbols)

    def _check_listings(self) -> None:
        """A symbol that is no longer traded while most others are has no price from now on; new ones wait for the next day."""
        known = [symbol for symbol in self.symbols if symbol not in self._gone]
        ended = [symbol for symbol in known if not (self._markets or {}).get(symbol, False)]
        if not ended or 2 * len(ended) > len(known) or self._bars is None:
            return
        for symbol in ended:
            self._bars.delist(self.symbols.index(symbol))
        self._gone |= set(ended)
        self._words.delisted(ended)

    def _ask_markets(self) -> None:
        if not self._asking and self._clock.monotonic() - self._markets_s > DEAF_S:
            self._asking, self._markets_s = True, self._clock.monotonic()
            self._feed.ask(AskMarkets())

    def _answer(self, answer: Answer) -> None:
        if self._history.heard(answer):
            return
        place = self._backfill.heard(answer, self._clock.monotonic())
        if place < 0 or self._bars is None or self._skewed:
            return
        if answer.refused:
            self._words.refused(answer)
            self._ask_markets()
        for open_ms, bar in answer.bars.items():
            self._bars.put(place, open_ms // self._bar_ms, bar)
        for trade in answer.trades:
            self._take(place, trade)
        if isinstance(answer.ask, AskTrades) and not answer.refused:
            self._bars.confirm(place, answer.ask.until_ms)
        self.counts["backfilled"] += len(answer.bars) if isinstance(answer.ask, AskBars) else len(answer.trades)

    def _close_next(self) -> bool:
        """Hand out the next bar, if it is its time and nothing of it may still come."""
        bars, day = self._bars, self._day
        if bars is None or day is None or self._skewed or bars.done * self._bar_ms >= day.end_ms:
            return False
        bar, end, now = bars.done, (bars.done + 1) * self._bar_ms, self._exchange.now(self._clock.market_ms())
        if now < end + self._grace_ms or self._sure_ms <= self._odd_ms or not self._passed(end, now):
            return False
        self._suspect(bar)
        last = int(now - self._grace_ms) // self._bar_ms - 1
        alive = self._clock.monotonic() - self._told_s <= DEAF_S
        missing = bars.missing(bar)
        if missing:
            last = min(last, day.end_ms // self._bar_ms - 1)
            if self._backfill.lacking(missing, bar, last, self._clock.monotonic(), answers=alive):
                self._words.say("backfill" if alive else "stale")
                return False
        self._hand_out(bar, len(bars.missing(bar)))
        return True

    def _passed(self, end: int, now: float) -> bool:
        """Whether every connection has told something behind ``end``; one that is silent for too long is doubted."""
        silent = [k for k, newest in enumerate(self._newest) if newest < end and any(self._standing[p] for p in self._groups[k])]
        if silent and now < end + max(SILENT_S * 1000.0 * self._clock.speed, self._grace_ms):
            return False
        for k in silent:
            self._doubt(self._groups[k])
        return True

    def _suspect(self, bar: int) -> None:
        """A symbol that usually trades and did not: its messages may be swallowed."""
        assert self._bars is not None
        if bar == self._looked_at:
            return
        self._looked_at = bar
        for place, usual in enumerate(self._usual):
            if usual >= USUAL and self._standing[place] and not self._bars.traded(bar, place):
                self._doubted.add(place)
                self._doubt([place])

    def _hand_out(self, bar: int, gaps: int) -> None:
        assert self._bars is not None
        assert self._day is not None
        made = self._bars.close()
        anybody = any(one is not None and one.traded for one in made)
        for place, one in enumerate(made):
            if one is not None and not math.isnan(one.trades):
                self._usual[place] += 0.2 * (one.trades - self._usual[place])
        if anybody:
            silent = {place: self._bars.left(place)[1] for place in range(len(made)) if self._bars.left(place)[1]}
            self._day.append(bar * self._bar_ms, made, silent)
        self._words.bar(bar * self._bar_ms, gaps, anybody, sum(one is None for one in made), len(made))

    def _keep_record(self) -> None:
        """Trades to disk, when no bar is due for a moment."""
        now = self._clock.monotonic()
        if self._record is not None and now - self._recorded_s >= RECORD_S and self.due_s() > 0.5:
            self._recorded_s = now
            self._record.flush(self._exchange.now(self._clock.market_ms()))
