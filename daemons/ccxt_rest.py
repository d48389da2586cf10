"""What CCXT's answers say: trades, klines and listings as our own records. Backfill in pages, as large as the exchange gives them."""

from __future__ import annotations

from typing import Any, Final

from daemons.ccxt_client import venue_names
from daemons.trade_feed import Answer, AskBars, AskMarkets, AskTrades, Listed
from dolphin.storage.trade_bars import Bar, Trade

__all__ = ["answer", "parsed"]

MOST_BARS: Final = 1000
MOST_TRADES: Final = 1000
NO_TRADE: Final = Trade(-1, -1, 0.0, 0.0, False)
"""What is no trade; the bars count it and leave it out."""


async def answer(client: Any, ask: AskBars | AskTrades | AskMarkets, frame: str) -> Answer | Listed:
    """Ask ``client``; ``frame``: length of a bar as CCXT names it. Raises CCXT's errors."""
    if isinstance(ask, AskMarkets):
        markets = await client.fetch_markets()
        return Listed(
            {m["id"]: m.get("active") is not False for m in markets if m.get("linear") and m.get("swap") and m["quote"] == "USDT"}
        )
    (name,) = await venue_names(client, (ask.symbol,))
    if isinstance(ask, AskBars):
        return Answer(ask, await _bars(client, name, ask, frame))
    return Answer(ask, {}, await _trades(client, name, ask))


def parsed(trade: Any) -> Trade:
    """CCXT's trade; one that has no number or stamp becomes ``NO_TRADE``."""
    try:
        info = trade.get("info") or {}
        many = int(info["l"]) - int(info["f"]) + 1 if "l" in info and "f" in info else 1
        taken = Trade(
            int(trade["timestamp"]), int(trade["id"]), float(trade["price"]), float(trade["amount"]), trade["side"] == "buy", many
        )
    except (KeyError, TypeError, ValueError):
        return NO_TRADE
    return taken


async def _bars(client: Any, name: str, ask: AskBars, frame: str) -> dict[int, Bar]:
    found: dict[int, Bar] = {}
    since, step = ask.first_ms, client.parse_timeframe(frame) * 1000
    while since <= ask.last_ms:
        limit = min(MOST_BARS, (ask.last_ms - since) // step + 1)
        rows = [[int(row[0]), *map(float, row[1:])] for row in await _klines(client, name, frame, since, limit)]
        found |= {int(row[0]): Bar(*row[1:]) for row in rows if ask.first_ms <= row[0] <= ask.last_ms}
        if not rows or rows[-1][0] < since:
            break
        since = int(rows[-1][0]) + step
    return found


async def _klines(client: Any, name: str, frame: str, since: int, limit: int) -> list[list[Any]]:
    """Open time and the fields of ``Bar``; CCXT's common form has five of them, Binance's own the other three, too."""
    if client.id != "binanceusdm":
        rows: list[list[Any]] = await client.fetch_ohlcv(name, frame, since, limit)
        return rows
    asked = {"symbol": client.market(name)["id"], "interval": frame, "startTime": since, "limit": limit}
    return [[*row[:6], *row[7:10]] for row in await client.fapiPublicGetKlines(asked)]


async def _trades(client: Any, name: str, ask: AskTrades) -> list[Trade]:
    found: list[Trade] = []
    number, since = ask.from_id, ask.since_ms
    while True:
        if number >= 0:
            rows = await client.fetch_trades(name, None, MOST_TRADES, {"fromId": number})
        else:
            rows = await client.fetch_trades(name, since, MOST_TRADES)
        page = sorted(map(parsed, rows), key=lambda trade: trade.trade_id)
        found += page
        if not page or page[-1].ts_ms >= ask.until_ms or (number >= 0 and len(page) < MOST_TRADES):
            return found
        number = page[-1].trade_id + 1
