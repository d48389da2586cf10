"""From the market to the streams: each due trade and each step of the books becomes the events that somebody follows."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from daemons.exchange.books import Book
from daemons.exchange.candles import INTERVALS, Candle
from daemons.exchange.funding import funding_rate, next_funding_ms
from daemons.exchange.instruments import Instrument, text_of
from daemons.exchange.messages import MessageWriter, TradeEvent
from daemons.exchange.streams import Hub, Topic
from daemons.exchange.tape import Trades
from daemons.exchange.venue import Listener, Venue

__all__ = ["Publisher", "told_candle"]

_BOOK_KINDS: Final = ("depth", "bookTicker")
_MARK_MS: Final = {"1s": 1_000, "": 3_000}


class Publisher(Listener):
    """Writes the market's events into ``hub``."""

    def __init__(self, venue: Venue, hub: Hub) -> None:
        self._venue, self._hub = venue, hub
        self._writers = [MessageWriter(instrument) for instrument in venue.instruments]

    def traded(self, trades: Trades) -> None:
        venue, hub = self._venue, self._hub
        if venue.faults.active("maintenance"):
            return
        event_ms, shift = venue.stamp(venue.now), venue.stamp(0)
        for n, number, ticks, lots, ms, sells in trades.rows():
            for topic in hub.of_symbol.get(n, ()):
                if topic.kind in ("aggTrade", "trade"):
                    trade, writer = TradeEvent(number, ticks, lots, ms, sells), self._writers[n]
                    write = writer.agg_trade if topic.kind == "aggTrade" else writer.trade
                    hub.publish(topic, venue.instruments[n].symbol, write(trade, event_ms, trade.ms + shift))

    def stepped(self, now: int) -> None:
        venue, event_ms = self._venue, self._venue.stamp(now)
        if venue.faults.active("maintenance"):
            return
        followed = {n: topics for n, topics in self._hub.of_symbol.items() if n >= 0 and topics}
        live = {n: topics for n, topics in followed.items() if venue.status(n) == "TRADING" and venue.last[n] > 0}
        booked = [n for n, topics in live.items() if any(topic.kind.startswith(_BOOK_KINDS) for topic in topics)]
        before = {n: venue.books.published.get(n) for n in booked}
        venue.followed = set(booked)
        made = dict(zip(booked, venue.books.publish(booked, venue.books.step_at(now), venue.last), strict=True)) if booked else {}
        for n, topics in live.items():
            if n in made:
                self._books(n, before[n], made[n], event_ms)
            for topic in topics:
                if topic.kind.startswith("kline_"):
                    self._kline(topic, n, now, event_ms)
                elif topic.kind == "markPrice":
                    self._mark(topic, n, now, event_ms)

    def _books(self, n: int, before: Book | None, book: Book, event_ms: int) -> None:
        writer, symbol = self._writers[n], self._venue.instruments[n].symbol
        sides = writer.sides(book)
        for topic in self._hub.of_symbol[n]:
            if topic.kind == "bookTicker":
                self._hub.publish(topic, symbol, writer.book_ticker(book, event_ms))
            elif topic.kind == "depth":
                self._hub.publish(topic, symbol, writer.depth(before, book, sides, event_ms))
            elif topic.kind in ("depth5", "depth10", "depth20"):
                previous = book.step - 1 if before is None else before.step
                self._hub.publish(topic, symbol, writer.partial(book, sides, int(topic.kind[5:]), event_ms, previous))

    def _kline(self, topic: Topic, n: int, now: int, event_ms: int) -> None:
        span = INTERVALS.get(topic.kind.removeprefix("kline_"), 0)
        if not span:
            return
        if topic.candle is None:
            topic.opened_ms = now // span * span
        for candle in self._venue.candles.between(n, span, topic.opened_ms, now, now):
            closed = candle.open_ms + span <= now
            if candle != topic.candle or closed:
                text = msgspec.json.encode(self._told_kline(n, candle, topic.kind, closed, event_ms)).decode()
                self._hub.publish(topic, self._venue.instruments[n].symbol, text)
            topic.candle, topic.opened_ms = candle, candle.open_ms + span * closed

    def _told_kline(self, n: int, candle: Candle, kind: str, closed: bool, event_ms: int) -> dict[str, Any]:
        instrument, interval = self._venue.instruments[n], kind.removeprefix("kline_")
        row, shift = told_candle(instrument, candle, INTERVALS[interval]), self._venue.stamp(0)
        return {
            "e": "kline", "E": event_ms, "s": instrument.symbol,
            "k": {
                "t": row[0] + shift, "T": row[6] + shift, "s": instrument.symbol, "i": interval, "f": candle.first_id,
                "L": candle.first_id + candle.trades - 1, "o": row[1], "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8],
                "x": closed, "q": row[7], "V": row[9], "Q": row[10], "B": "0",
            },
        }  # fmt: skip

    def _mark(self, topic: Topic, n: int, now: int, event_ms: int) -> None:
        beat = now // _MARK_MS.get(topic.detail, 3_000)
        if topic.beat == beat:
            return
        topic.beat = beat
        instrument = self._venue.instruments[n]
        price, rate = instrument.price(int(self._venue.last[n])), f"{funding_rate(instrument.symbol, next_funding_ms(now)):.8f}"
        event = {
            "e": "markPriceUpdate", "E": event_ms, "s": instrument.symbol, "p": price, "i": price, "P": price, "r": rate,
            "T": self._venue.stamp(next_funding_ms(now)),
        }  # fmt: skip
        self._hub.publish(topic, instrument.symbol, msgspec.json.encode(event).decode())


def told_candle(instrument: Instrument, candle: Candle, span_ms: int) -> list[Any]:
    """A kline as REST tells it: twelve fields, prices and quantities as text."""
    prices = [instrument.price(ticks) for ticks in candle.ohlc]
    decimals = instrument.price_decimals + instrument.lot_decimals
    return [
        candle.open_ms, *prices, instrument.quantity(candle.lots), candle.open_ms + span_ms - 1, text_of(candle.quote, decimals),
        candle.trades, instrument.quantity(candle.bought_lots), text_of(candle.bought_quote, decimals), "0",
    ]  # fmt: skip
