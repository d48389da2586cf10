"""REST endpoints of the market, ``/fapi/v1/...``: what the exchange knows, up to now and never beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from daemons.exchange.candles import INTERVALS, Candle
from daemons.exchange.funding import FUNDING_MS, funding_rate, next_funding_ms
from daemons.exchange.limits import depth_weight, kline_weight, per_symbol, rate_limits
from daemons.exchange.params import Params, Refusal
from daemons.exchange.publisher import told_candle
from daemons.exchange.tape import TRADES_A_BAR, Trades
from daemons.exchange.venue import Venue

__all__ = ["MarketApi", "Route"]

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1000)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint. ``security``: none, key (X-MBX-APIKEY) or signed; ``orders``: how many orders it counts for."""

    answer: Callable[[Params], Any]
    weight: int | Callable[[Params], int] = 1
    security: str = "none"
    orders: int = 0

    def cost(self, params: Params) -> int:
        """Its weight for these parameters."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


class MarketApi:
    """Public endpoints of ``venue``."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def routes(self) -> dict[str, Route]:
        """By ``METHOD path``."""
        market = {
            "ping": Route(lambda _: {}),
            "time": Route(lambda _: {"serverTime": self._venue.stamp(self._venue.now)}),
            "exchangeInfo": Route(self.exchange_info),
            "klines": Route(self.klines, kline_weight),
            "aggTrades": Route(self.agg_trades, 20),
            "trades": Route(self.trades, 5),
            "historicalTrades": Route(self.trades, 20, "key"),
            "depth": Route(self.depth, depth_weight),
            "fundingRate": Route(self.funding),
            "fundingInfo": Route(lambda _: []),
            "premiumIndex": Route(self.premium, per_symbol(1, 10)),
            "ticker/price": Route(self.price, per_symbol(1, 2)),
            "ticker/bookTicker": Route(self.book_ticker, per_symbol(2, 5)),
            "ticker/24hr": Route(self.day, per_symbol(1, 40)),
        }
        versions = {f"GET /fapi/v1/{path}": route for path, route in market.items()}
        return {**versions, "GET /fapi/v2/ticker/price": market["ticker/price"]}

    def exchange_info(self, _: Params) -> dict[str, Any]:
        """Every symbol that is or was listed."""
        venue = self._venue
        onboard = venue.tape.bars.ts[venue.tape.first_rows]
        symbols = [
            instrument.told(status, max(int(onboard[n]), int(venue.listed_ms[n])))
            for n, instrument in enumerate(venue.instruments)
            if (status := venue.status(n))
        ]
        return {
            "timezone": "UTC", "serverTime": venue.stamp(venue.now), "futuresType": "U_MARGINED", "rateLimits": rate_limits(),
            "exchangeFilters": [], "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}], "symbols": symbols,
        }  # fmt: skip

    def klines(self, params: Params) -> list[list[Any]]:
        """At most 1500: from startTime on, else the newest up to endTime."""
        n = self.symbol(params)
        span = INTERVALS[params.one_of("interval", INTERVALS, -1120)]
        if span < self._venue.tape.bars.bar_ms:
            raise Refusal(-1120, "Invalid interval.")
        limit, now = params.integer("limit", 500, 1, 1500), self._venue.now
        last = min(params.integer("endTime", now), now)
        first = max(params.integer("startTime", 0), int(self._venue.tape.bars.ts[0]), int(self._venue.listed_ms[n]))
        candles = self._candles(n, span, (_ceiling(first, span), last // span * span), limit, forward=params.has("startTime"))
        shift, instrument = self._venue.stamp(0), self._venue.instruments[n]
        rows = [told_candle(instrument, candle, span) for candle in candles if candle.open_ms < self._venue.delisted_ms[n]]
        return [[row[0] + shift, *row[1:6], row[6] + shift, *row[7:]] for row in rows]

    def agg_trades(self, params: Params) -> list[dict[str, Any]]:
        """At most 1000: by fromId, by time (at most an hour), else the newest."""
        n, limit = self.symbol(params), params.integer("limit", 500, 1, 1000)
        instrument, shift = self._venue.instruments[n], self._venue.stamp(0)
        return [
            {"a": i, "p": instrument.price(p), "q": instrument.quantity(q), "f": i, "l": i, "T": ms + shift, "m": m}
            for i, p, q, ms, m in self._trades(n, limit, params)
        ]

    def trades(self, params: Params) -> list[dict[str, Any]]:
        """At most 1000, the newest, or from fromId on."""
        n, limit = self.symbol(params), params.integer("limit", 500, 1, 1000)
        instrument, shift = self._venue.instruments[n], self._venue.stamp(0)
        return [
            {
                "id": i, "price": instrument.price(p), "qty": instrument.quantity(q), "time": ms + shift, "isBuyerMaker": m,
                "quoteQty": f"{instrument.tick * p * instrument.lot * q:f}",
            }
            for i, p, q, ms, m in self._trades(n, limit, params)
        ]  # fmt: skip

    def depth(self, params: Params) -> dict[str, Any]:
        """The book as the streams have it: 20 levels a side at most."""
        n, limit = self.symbol(params), params.integer("limit", 500)
        if limit not in _DEPTHS:
            raise Refusal(-4021, f"'{limit}' is not valid depth limit")
        book, instrument, stamp = self._venue.book(n), self._venue.instruments[n], self._venue.stamp(self._venue.now)
        if book is None:
            return {"lastUpdateId": 0, "E": stamp, "T": stamp, "bids": [], "asks": []}
        bids, asks = (
            [[instrument.price(ticks), instrument.quantity(lots)] for ticks, lots in side[:limit].tolist() if lots] for side in book.sides
        )
        return {"lastUpdateId": book.step, "E": stamp, "T": stamp, "bids": bids, "asks": asks}

    def funding(self, params: Params) -> list[dict[str, Any]]:
        """At most 1000 past fundings, ascending."""
        n, limit, now = self.symbol(params), params.integer("limit", 100, 1, 1000), self._venue.now
        symbol, begin = self._venue.instruments[n].symbol, int(self._venue.tape.bars.ts[0])
        last = min(params.integer("endTime", now), now) // FUNDING_MS
        first = max(_ceiling(begin, FUNDING_MS) // FUNDING_MS, -(-params.integer("startTime", 0) // FUNDING_MS))
        first = first if params.has("startTime") else max(first, last - limit + 1)
        times = [beat * FUNDING_MS for beat in range(first, min(last, first + limit - 1) + 1)]
        return [{"symbol": symbol, "fundingRate": f"{funding_rate(symbol, ms):.8f}", "fundingTime": ms, "markPrice": ""} for ms in times]

    def premium(self, params: Params) -> Any:
        """Mark price (the last trade's) and funding of a symbol, or of all."""

        def told(n: int) -> dict[str, Any]:
            venue, symbol = self._venue, self._venue.instruments[n].symbol
            price, due = venue.instruments[n].price(int(venue.last[n])), next_funding_ms(venue.now)
            return {
                "symbol": symbol, "markPrice": price, "indexPrice": price, "estimatedSettlePrice": price, "interestRate": "0.00010000",
                "lastFundingRate": f"{funding_rate(symbol, due):.8f}", "nextFundingTime": due, "time": venue.stamp(venue.now),
            }  # fmt: skip

        return self._one_or_all(params, told)

    def price(self, params: Params) -> Any:
        """Last price of a symbol, or of all."""
        venue = self._venue
        return self._one_or_all(
            params,
            lambda n: {
                "symbol": venue.instruments[n].symbol,
                "price": venue.instruments[n].price(int(venue.last[n])),
                "time": venue.stamp(venue.now),
            },
        )

    def book_ticker(self, params: Params) -> Any:
        """The touch of a symbol, or of all."""

        def told(n: int) -> dict[str, Any]:
            book, i, stamp = self._venue.book(n), self._venue.instruments[n], self._venue.stamp(self._venue.now)
            (bid, bid_lots), (ask, ask_lots) = book.sides[:, 0].tolist() if book is not None else ((0, 0), (0, 0))
            return {
                "symbol": i.symbol, "bidPrice": i.price(bid), "bidQty": i.quantity(bid_lots), "askPrice": i.price(ask),
                "askQty": i.quantity(ask_lots), "time": stamp, "lastUpdateId": book.step if book is not None else 0,
            }  # fmt: skip

        return self._one_or_all(params, told)

    def day(self, params: Params) -> Any:
        """The last 24 hours of a symbol, or of all; whole bars."""
        return self._one_or_all(params, self._day)

    def symbol(self, params: Params) -> int:
        """Number of the request's symbol. Raises ``Refusal`` -1121."""
        n = self._venue.number.get(params.text("symbol"))
        if n is None or not self._venue.status(n):
            raise Refusal(-1121, "Invalid symbol.")
        return n

    def trades_between(self, first_ms: int, last_ms: int) -> Iterable[Trades]:
        """Every published trade from ``first_ms`` to ``last_ms``, row by row."""
        venue = self._venue
        last_ms = min(last_ms, venue.now)
        for row in range(max(venue.tape.row_at(first_ms), 0), venue.tape.row_at(last_ms) + 1):
            trades = venue.tape.row(row)
            listed = (trades.ms >= venue.listed_ms[trades.symbol]) & (trades.ms < venue.delisted_ms[trades.symbol])
            yield trades.only(listed & (trades.ms >= first_ms) & (trades.ms <= last_ms))

    def _candles(self, n: int, span: int, opens: tuple[int, int], limit: int, *, forward: bool) -> list[Candle]:
        """At most ``limit`` klines that open in ``opens`` (both ends): the first ones, or the last ones; there may be gaps."""
        (first, last), now, width = opens, self._venue.now, limit * span
        found: list[Candle] = []
        while first <= last and len(found) < limit:
            if forward:
                found += self._venue.candles.between(n, span, first, min(last, first + width - span), now)
                first += width
            else:
                found = self._venue.candles.between(n, span, max(first, last - width + span), last, now) + found
                last -= width
        return found[:limit] if forward else found[-limit:]

    def _day(self, n: int) -> dict[str, Any]:
        venue, instrument = self._venue, self._venue.instruments[n]
        bars, now = venue.tape.bars, venue.now
        low, high = np.searchsorted(bars.ts, (now - _DAY_MS, now - bars.bar_ms), side="right")
        rows = np.arange(low, high)[bars.there[low:high, n]]
        ticks, lots = bars.ticks[:, rows, n], bars.lots[rows, n]
        last, first = int(venue.last[n]), int(ticks[0, 0]) if len(rows) else int(venue.last[n])
        mean = int((lots * ticks[3]).sum() // max(int(lots.sum()), 1))
        worth = float((lots * ticks[3]).sum()) * float(instrument.tick * instrument.lot)
        ids = venue.tape.trades_before(int(low))[n] + 1, venue.tape.trades_before(int(high))[n]
        return {
            "symbol": instrument.symbol, "priceChange": instrument.price(last - first),
            "priceChangePercent": f"{100.0 * (last / first - 1.0) if first else 0.0:.3f}",
            "weightedAvgPrice": instrument.price(mean), "lastPrice": instrument.price(last),
            "lastQty": instrument.quantity(0), "openPrice": instrument.price(first),
            "highPrice": instrument.price(int(ticks[1].max(initial=last))), "lowPrice": instrument.price(int(ticks[2].min(initial=last))),
            "volume": instrument.quantity(int(lots.sum())), "quoteVolume": f"{worth:.2f}", "openTime": venue.stamp(now - _DAY_MS),
            "closeTime": venue.stamp(now), "firstId": int(ids[0]), "lastId": int(ids[1]), "count": int(ids[1] - ids[0] + 1),
        }  # fmt: skip

    def _trades(self, n: int, limit: int, params: Params) -> list[tuple[int, int, int, int, bool]]:
        """Trades as (id, ticks, lots, ms, taker sells), ascending."""
        venue, tape = self._venue, self._venue.tape
        now = min(venue.now, int(venue.delisted_ms[n]) - 1)
        rows = -(-limit // TRADES_A_BAR) + 1
        first_id, start = params.integer("fromId", 0), params.integer("startTime", 0)
        end = min(params.integer("endTime", now), now)
        if params.has("startTime") and params.has("endTime") and end - start > _HOUR_MS:
            raise Refusal(-4084, "Search window is restricted to the last one hour.")
        start = max(start, int(venue.listed_ms[n]))
        newest = not (params.has("fromId") or params.has("startTime"))
        found: list[tuple[int, int, int, int, bool]] = []
        if newest:
            until = int(tape.trades_before(tape.row_at(end) + 1)[n])
            row = tape.row_of_trade(n, max(1, until - (rows + 1) * TRADES_A_BAR))
        else:
            row = tape.row_of_trade(n, first_id) if params.has("fromId") else max(tape.row_at(start), 0)
        while row <= tape.row_at(end) and (newest or len(found) < limit):
            trades = tape.row(row)
            wanted = (trades.symbol == n) & (trades.id >= first_id) & (trades.ms >= start) & (trades.ms <= end)
            found += [row[1:] for row in trades.only(wanted).rows()]
            row += 1
        return found[-limit:] if newest else found[:limit]

    def _one_or_all(self, params: Params, told: Callable[[int], dict[str, Any]]) -> Any:
        if params.has("symbol"):
            return told(self.symbol(params))
        venue = self._venue
        here = (n for n in range(len(venue.instruments)) if venue.status(n) in ("TRADING", "BREAK") and venue.last[n] > 0)
        return [told(n) for n in here]


def _ceiling(ms: int, span: int) -> int:
    return -(-ms // span) * span
