"""A scripted exchange on 127.0.0.1: Binance USDT-M's history endpoints over rows that a test gives, and the faults that it asks for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from dolphin.storage.kline_file import read_rows
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import DAY_MS, day_start

__all__ = ["DAY", "HOUR", "MINUTE", "SmallExchange", "as_told", "market", "on_disk", "rows_of"]

DAY = day_start("2024-01-02")
MINUTE, HOUR = 60_000, 3_600_000

type Row = list[Any]
type Fault = Callable[[str, Mapping[str, str], int], web.Response | None]


def rows_of(seed: int, first: int = DAY, bars: int = 3 * 24, bar_ms: int = HOUR) -> list[Row]:
    """Klines as Binance writes them: twelve columns, numbers as texts with the digits of the market's tick."""
    rng = np.random.default_rng(seed)
    close = np.round(3.0**seed * np.exp(np.cumsum(rng.standard_normal(bars) * 1e-3)), 4)
    opened = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opened, close) + 0.0003, np.minimum(opened, close) - 0.0003
    volume, trades = rng.uniform(0, 900, bars), rng.integers(1, 900, bars).tolist()
    rows = []
    for i in range(bars):
        begin = first + i * bar_ms
        prices = [f"{side[i]:.4f}" for side in (opened, high, low, close)]
        flows = [f"{volume[i] * close[i]:.5f}", trades[i], f"{volume[i] / 3:.3f}", f"{volume[i] * close[i] / 3:.5f}", "0"]
        rows.append([begin, *prices, f"{volume[i]:.3f}", begin + bar_ms - 1, *flows])
    return rows


def market(symbol: str, first: int = DAY, status: str = "TRADING") -> dict[str, Any]:
    """An entry of exchangeInfo."""
    base = symbol.removesuffix("USDT")
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.0001", "maxPrice": "1000000", "tickSize": "0.0001"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000000", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ]
    return {
        "symbol": symbol, "pair": symbol, "contractType": "PERPETUAL", "deliveryDate": 4_133_404_800_000, "onboardDate": first,
        "status": status, "baseAsset": base, "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 4, "quantityPrecision": 3,
        "baseAssetPrecision": 8, "quotePrecision": 8, "filters": filters, "orderTypes": ["MARKET"], "timeInForce": ["GTC"],
    }  # fmt: skip


def on_disk(folder: Path, symbol: str) -> list[tuple[float, ...]]:
    """All rows of a symbol: ts, open, high, low, close, volume, and the three flow columns where they are told."""
    rows = []
    for date in KlineStore(folder).dates():
        day = read_rows(folder / f"{date}.parquet", volume=True)
        columns = [day.ts, *day.prices, day.volume, *(day.flows or ())]
        chosen = day.code == day.symbols.index(symbol) if symbol in day.symbols else np.zeros(len(day.ts), dtype=bool)
        rows += list(zip(*(np.asarray(column)[chosen].tolist() for column in columns), strict=True))
    return rows


def as_told(rows: list[Row], columns: Sequence[int] = (0, 1, 2, 3, 4, 5, 7, 8, 9)) -> list[tuple[float, ...]]:
    """The exchange's own rows: its texts read as numbers."""
    return [tuple(row[i] if i == 0 else float(row[i]) for i in columns) for row in rows]


class SmallExchange:
    """Serves ``klines`` and ``funding`` by symbol until ``close``. ``fault(path, query, number of the request)`` may answer instead.

    ``asked``: path and query of every request.
    """

    def __init__(self, klines: dict[str, list[Row]], now_ms: int = DAY + 5 * DAY_MS) -> None:
        self.klines, self.now_ms = klines, now_ms
        self.funding: dict[str, list[tuple[int, str]]] = {}
        self.markets = {symbol: market(symbol, rows[0][0] if rows else DAY) for symbol, rows in klines.items()}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.fault: Fault | None = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def count(self, path: str) -> int:
        """Requests of a path."""
        return sum(name == path for name, _ in self.asked)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/fapi/v1/{name:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._ready.set()

    async def _answer(self, request: web.Request) -> web.Response:
        name, query = request.match_info["name"], dict(request.query)
        self.asked.append((name, query))
        fault = self.fault(name, query, len(self.asked)) if self.fault else None
        if fault is not None:
            return fault
        known: dict[str, Callable[[dict[str, str]], Any]] = {
            "time": lambda _: {"serverTime": self.now_ms},
            "exchangeInfo": lambda _: {"serverTime": self.now_ms, "symbols": list(self.markets.values())},
            "klines": self._klines,
            "fundingRate": self._funding,
            "ticker/24hr": lambda _: [self._ticker(symbol) for symbol in self.markets],
        }
        if query.get("symbol", next(iter(self.klines))) not in self.klines:
            return web.Response(status=400, text='{"code":-1121,"msg":"Invalid symbol."}', content_type="application/json")
        return web.Response(text=json.dumps(known[name](query)), content_type="application/json")

    def _klines(self, query: dict[str, str]) -> list[Row]:
        rows, limit = [row for row in self.klines[query["symbol"]] if row[0] <= self.now_ms], int(query.get("limit", "500"))
        if "startTime" not in query and "endTime" not in query:
            return rows[-limit:]
        first, last = int(query.get("startTime", "0")), int(query.get("endTime", "99999999999999"))
        return [row for row in rows if first <= row[0] <= last][:limit]

    def _funding(self, query: dict[str, str]) -> list[dict[str, Any]]:
        symbol, first, last = query["symbol"], int(query.get("startTime", "0")), int(query.get("endTime", "99999999999999"))
        rows = [(ts, rate) for ts, rate in self.funding.get(symbol, []) if first <= ts <= last][: int(query.get("limit", "100"))]
        return [{"symbol": symbol, "fundingTime": ts, "fundingRate": rate, "markPrice": "1.0"} for ts, rate in rows]

    def _ticker(self, symbol: str) -> dict[str, Any]:
        rows = self.klines[symbol][-1440:]
        turnover = sum(float(row[7]) for row in rows)
        return {"symbol": symbol, "lastPrice": "1.0", "quoteVolume": str(turnover), "closeTime": self.now_ms, "openTime": 0}
