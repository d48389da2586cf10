"""Unmodified CCXT and CCXT Pro against the demo exchange."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec
import pytest
from demo_exchanges import START_MS, ccxt_client, running, until, wait

SYMBOL = "BTC/USDT:USDT"


def test_ccxt_reads_the_market(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            markets = await client.load_markets()
            assert sorted(market["id"] for market in markets.values()) == sorted(exchange.venue.number)
            assert all(market["swap"] and market["linear"] and market["active"] for market in markets.values())
            rows = await client.fetch_ohlcv(SYMBOL, "1m", limit=1000)
            told = [row for row in rows if row[0] < START_MS]
            known = [row for row in range(1440) if bars.there[row, 0]][-len(told) :]
            assert len(told) > 990
            assert [row[0] for row in told] == bars.ts[known].tolist()
            assert [row[4] for row in told] == [float(bars.instruments[0].price(int(t))) for t in bars.ticks[3, known, 0]]
            trades = await client.fetch_trades(SYMBOL, limit=50)
            assert [int(b["id"]) - int(a["id"]) for a, b in pairwise(trades)] == [1] * 49
            book = await client.fetch_order_book(SYMBOL, 20)
            assert len(book["bids"]) == len(book["asks"]) == 20
            assert book["bids"][0][0] < book["asks"][0][0]
            assert (await client.fetch_funding_rate(SYMBOL))["fundingTimestamp"] == START_MS + 28_800_000
            assert len(await client.fetch_funding_rate_history(SYMBOL, limit=3)) == 3
            assert (await client.fetch_ticker(SYMBOL))["last"] > 0

    wait(scenario)


def test_ccxt_pro_streams_trades_without_a_hole_and_rest_knows_the_same(bars):
    async def scenario() -> None:
        async with running(bars, speed=600.0) as (_, address), ccxt_client(address) as client:
            names = list(await client.load_markets())
            seen: dict[str, list[dict]] = {name: [] for name in names}
            while len(seen[SYMBOL]) < 30:
                for trade in await client.watch_trades_for_symbols(names, params={"name": "aggTrade"}):
                    seen[trade["symbol"]].append(trade)
            for trades in seen.values():
                ids = [int(trade["id"]) for trade in trades]
                assert ids == list(range(ids[0], ids[0] + len(ids)))
            history = await client.fetch_trades(SYMBOL, limit=1000, params={"fromId": seen[SYMBOL][0]["id"]})
            assert [(t["id"], t["price"], t["amount"], t["timestamp"]) for t in history[: len(seen[SYMBOL])]] == [
                (t["id"], t["price"], t["amount"], t["timestamp"]) for t in seen[SYMBOL]
            ]

    wait(scenario)


def test_ccxt_pro_follows_books_that_never_need_a_new_snapshot(bars):
    """CCXT checks U, u and pu of every event itself and begins again when one does not fit."""

    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            names = list(await client.load_markets())[:3]

            async def follow(name: str) -> None:
                last = 0
                for _ in range(40):
                    book = await client.watch_order_book(name, 20)
                    assert book["nonce"] >= last
                    assert book["bids"][0][0] < book["asks"][0][0]
                    assert len(book["bids"]) == len(book["asks"]) == 20
                    last = book["nonce"]

            await asyncio.gather(*(follow(name) for name in names))
            assert exchange.gateway.requests["GET /fapi/v1/depth"] == len(names)

    wait(scenario)


def test_ccxt_pro_hears_touch_kline_and_mark_price(bars):
    async def scenario() -> None:
        async with running(bars, speed=120.0) as (_, address), ccxt_client(address) as client:
            touch = await client.watch_bids_asks([SYMBOL])
            assert touch[SYMBOL]["bid"] < touch[SYMBOL]["ask"]
            opens: list[int] = []
            while len(set(opens)) < 3:
                opens += [row[0] for row in await client.watch_ohlcv(SYMBOL, "1m")]
            assert opens == sorted(opens)
            assert (await client.watch_mark_price(SYMBOL))["markPrice"] > 0

    wait(scenario)


def test_the_clock_is_what_a_replay_needs(bars):
    async def scenario() -> None:
        from dolphin.storage.replay import Replay

        async with running(bars, speed=60.0) as (exchange, address), ccxt_client(address) as client:
            told = await client.fetch(address + "/demo/clock")
            fields = {name: told[name] for name in ("start_ms", "started_monotonic", "speed", "first_date", "last_date")}
            replay = msgspec.convert({"folder": "", **fields}, Replay)
            assert abs(replay.market_ms(exchange.clock.monotonic()) - told["market_ms"]) < 60_000
            assert not told["ended"]

    wait(scenario)


def test_ccxt_trades_and_ccxt_pro_hears_of_it(bars):
    """Orders, a protective stop, balance, position and fills, as CCXT tells them all."""

    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            await client.load_markets()
            assert (await client.fetch_balance())["USDT"]["total"] == 10_000.0
            heard: list[tuple[str, str, float]] = []

            async def listen() -> None:
                while True:
                    heard.extend((order["clientOrderId"], order["status"], order["filled"]) for order in await client.watch_orders())

            listening = asyncio.create_task(listen())
            await until(lambda: any(connection.listen_key for connection in exchange.hub.connections))
            bought = await client.create_order(SYMBOL, "market", "buy", 0.04, None, {"newClientOrderId": "entry"})
            assert (bought["status"], bought["filled"]) == ("closed", 0.04)
            position = (await client.fetch_positions())[0]
            assert (position["side"], position["contracts"], position["symbol"]) == ("long", 0.04, SYMBOL)
            guard = {"stopLossPrice": round(bought["average"] * 0.9, 1), "reduceOnly": True}
            stop = await client.create_order(SYMBOL, "market", "sell", 0.04, None, guard)
            assert [order["id"] for order in await client.fetch_open_orders(SYMBOL, params={"trigger": True})] == [stop["id"]]
            await client.cancel_order(stop["id"], SYMBOL, {"trigger": True})
            sold = await client.create_order(SYMBOL, "market", "sell", 0.09, None, {"reduceOnly": True, "newClientOrderId": "exit"})
            assert (sold["status"], sold["filled"]) == ("closed", 0.04)
            await until(lambda: ("exit", "closed", 0.04) in heard)
            assert ("entry", "closed", 0.04) in heard
            assert await client.fetch_positions() == []
            fills = await client.fetch_my_trades(SYMBOL)
            assert sum(fill["amount"] for fill in fills) == pytest.approx(0.08)
            assert {fill["takerOrMaker"] for fill in fills} == {"taker"}
            flow = sum(fill["cost"] * (1 if fill["side"] == "sell" else -1) - fill["fee"]["cost"] for fill in fills)
            assert (await client.fetch_balance())["USDT"]["total"] == pytest.approx(10_000.0 + flow, abs=1e-6)
            listening.cancel()

    wait(scenario)
