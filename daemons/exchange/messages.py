"""The market's events as the exchange writes them on its websocket: ready JSON text, because thousands go out every second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from daemons.exchange.books import Book
from daemons.exchange.instruments import Instrument
from dolphin.types import BOOK_LEVELS

__all__ = ["MessageWriter", "TradeEvent"]

_SHOWN: Final = BOOK_LEVELS


@dataclass(frozen=True, slots=True)
class TradeEvent:
    """A trade that is due."""

    id: int
    ticks: int
    lots: int
    ms: int
    taker_sells: bool


class MessageWriter:
    """Writes the events of one instrument. Times are ms as the exchange stamps them."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._symbol = instrument.symbol
        self._level = f'["%.{instrument.price_decimals}f","%.{instrument.lot_decimals}f"]'
        self._gone = f'["%.{instrument.price_decimals}f","0"]'
        self._side = ",".join([self._level] * _SHOWN)
        self._units = (10.0**-instrument.price_decimals, 10.0**-instrument.lot_decimals)

    def agg_trade(self, trade: TradeEvent, event_ms: int, traded_ms: int) -> str:
        """``aggTrade``; every trade is its own aggregate."""
        i, maker = self.instrument, "true" if trade.taker_sells else "false"
        return (
            f'{{"e":"aggTrade","E":{event_ms},"s":"{self._symbol}","a":{trade.id},"p":"{i.price(trade.ticks)}","q":"{i.quantity(trade.lots)}",'
            f'"f":{trade.id},"l":{trade.id},"T":{traded_ms},"m":{maker}}}'
        )

    def trade(self, trade: TradeEvent, event_ms: int, traded_ms: int) -> str:
        """``trade``."""
        i, maker = self.instrument, "true" if trade.taker_sells else "false"
        return (
            f'{{"e":"trade","E":{event_ms},"T":{traded_ms},"s":"{self._symbol}","t":{trade.id},"p":"{i.price(trade.ticks)}",'
            f'"q":"{i.quantity(trade.lots)}","X":"MARKET","m":{maker}}}'
        )

    def sides(self, book: Book) -> tuple[str, str]:
        """Bids and asks as ``["price","size"],...``."""
        return self._levels(book, 0), self._levels(book, 1)

    def depth(self, before: Book | None, book: Book, sides: tuple[str, str], event_ms: int) -> str:
        """``depthUpdate`` that turns ``before`` into ``book``."""
        bids, asks = (text + self._vanished(before, book, side) for side, text in enumerate(sides))
        first, previous = (book.step, book.step - 1) if before is None else (before.step + 1, before.step)
        return (
            f'{{"e":"depthUpdate","E":{event_ms},"T":{event_ms},"s":"{self._symbol}","U":{first},"u":{book.step},"pu":{previous},'
            f'"b":[{bids}],"a":[{asks}]}}'
        )

    def partial(self, book: Book, sides: tuple[str, str], levels: int, event_ms: int, previous: int) -> str:
        """``depth5/10/20``: the nearest ``levels``."""
        bids, asks = sides if levels >= _SHOWN else (self._levels(book, 0, levels), self._levels(book, 1, levels))
        return (
            f'{{"e":"depthUpdate","E":{event_ms},"T":{event_ms},"s":"{self._symbol}","U":{previous + 1},"u":{book.step},"pu":{previous},'
            f'"b":[{bids}],"a":[{asks}]}}'
        )

    def book_ticker(self, book: Book, event_ms: int) -> str:
        """``bookTicker``: the touch."""
        i, (bid, ask) = self.instrument, book.sides[:, 0].tolist()
        return (
            f'{{"e":"bookTicker","u":{book.step},"E":{event_ms},"T":{event_ms},"s":"{self._symbol}","b":"{i.price(bid[0])}",'
            f'"B":"{i.quantity(bid[1])}","a":"{i.price(ask[0])}","A":"{i.quantity(ask[1])}"}}'
        )

    def _levels(self, book: Book, side: int, most: int = _SHOWN) -> str:
        rows = book.sides[side, :most]
        if rows[-1, 1] == 0:
            rows = rows[rows[:, 1] > 0]
        pattern = self._side if len(rows) == _SHOWN else ",".join([self._level] * len(rows))
        return pattern % tuple((rows * self._units).ravel().tolist())

    def _vanished(self, before: Book | None, book: Book, side: int) -> str:
        if before is None:
            return ""
        gone = sorted(set(before.sides[side, :, 0].tolist()).difference(book.sides[side, :, 0].tolist()))
        return "," + ",".join(self._gone % (ticks * self._units[0]) for ticks in gone if ticks > 0) if gone else ""
