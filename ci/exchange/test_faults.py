"""Each fault of the demo exchange as a client sees it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import aiohttp
import ccxt
import msgspec
import pytest
from demo_exchanges import ccxt_client, running, until, wait

from daemons.exchange.faults import Fault, Faults, read_faults
from daemons.exchange.server import ExchangeOptions
from dolphin.errors import ConfigError

SYMBOL = "BTC/USDT:USDT"
STREAM = "/ws/btcusdt@aggTrade"


async def numbers(socket: aiohttp.ClientWebSocketResponse, many: int) -> list[int]:
    """Ids of so many trades."""
    return [(await socket.receive_json(timeout=20))["a"] for _ in range(many)]


async def begin(session: aiohttp.ClientSession, address: str, **fault: Any) -> dict[str, Any]:
    async with session.post(address + "/demo/faults", json=fault) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def test_disconnect_cuts_streams_and_refuses_new_ones_while_it_lasts(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), aiohttp.ClientSession() as session:
            async with session.ws_connect(address + STREAM) as socket:
                await begin(session, address, kind="disconnect", seconds=0.5)
                while (message := await socket.receive(timeout=5)).type == aiohttp.WSMsgType.TEXT:
                    pass
                assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(address + STREAM)
            await until(lambda: exchange.faults.active("disconnect") is None)
            async with session.ws_connect(address + STREAM) as socket:
                assert len(await numbers(socket, 3)) == 3

    wait(scenario)


def test_duplicates_and_disorder_arrive_and_nothing_is_lost(bars):
    async def scenario(kind: str) -> list[int]:
        async with running(bars, speed=600.0) as (exchange, address), aiohttp.ClientSession() as session:
            exchange.begin(Fault(kind=kind, seconds=60.0, share=0.4))
            async with session.ws_connect(address + STREAM) as socket:
                found = await numbers(socket, 200)
            assert exchange.faults.hits[kind] > 20
            return found

    doubled = asyncio.run(scenario("duplicate"))
    assert [a for a, b in pairwise(doubled) if a == b]
    assert sorted(set(doubled)) == list(range(doubled[0], doubled[-1] + 1))
    mixed = asyncio.run(scenario("out_of_order"))
    assert [a for a, b in pairwise(mixed) if a > b]
    assert len(set(mixed)) == len(mixed)
    assert len(set(range(min(mixed), max(mixed) + 1)) - set(mixed)) <= 1  # the one that is held back at the end


def test_a_stale_symbol_is_silent_while_others_go_on_and_rest_knows_what_was_missed(bars):
    async def scenario() -> None:
        async with running(bars, speed=600.0) as (exchange, address), aiohttp.ClientSession() as session:
            async with session.ws_connect(address + "/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade") as socket:
                await socket.receive_json()
                await begin(session, address, kind="stale", seconds=1.0, symbols=["BTCUSDT"])
                seen: dict[str, list[int]] = {"BTCUSDT": [], "ETHUSDT": []}
                while len(seen["BTCUSDT"]) < 5:
                    data = (await socket.receive_json(timeout=20))["data"]
                    seen[data["s"]].append(data["a"])
            assert exchange.faults.hits["stale"] > 10
            gap = next((a, b) for a, b in pairwise([seen["BTCUSDT"][0] - 50, *seen["BTCUSDT"]]) if b - a > 1)
            assert all(b - a == 1 for a, b in pairwise(seen["ETHUSDT"]))
            async with session.get(f"{address}/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={gap[0]}&limit=50") as answer:
                assert [trade["a"] for trade in await answer.json()][: gap[1] - gap[0]] == list(range(gap[0], gap[1]))

    wait(scenario)


STORMS = [("rate_limit", ccxt.DDoSProtection), ("server_error", ccxt.OperationFailed), ("maintenance", ccxt.ExchangeNotAvailable)]


@pytest.mark.parametrize(("kind", "error"), STORMS)
def test_storms_are_ccxts_own_errors_and_pass(bars, kind, error):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            await client.load_markets()
            exchange.begin(Fault(kind=kind, seconds=0.5, share=1.0))
            with pytest.raises(error, match=r"-100|503"):
                await client.fetch_order_book(SYMBOL)
            await until(lambda: exchange.faults.active(kind) is None)
            assert (await client.fetch_order_book(SYMBOL))["bids"]

    wait(scenario)


def test_maintenance_is_told_cuts_streams_and_keeps_orders_from_being_matched(bars):
    async def scenario() -> None:
        async with running(bars, speed=600.0) as (exchange, address), ccxt_client(address) as client:
            await client.load_markets()
            order = await client.create_order(SYMBOL, "limit", "buy", 0.04, (await client.fetch_order_book(SYMBOL))["bids"][0][0])
            exchange.begin(Fault(kind="maintenance", seconds=1.0))
            done = len(exchange.ledger.fills)
            assert not any(market["active"] for market in (await client.load_markets(True)).values())
            with pytest.raises(ccxt.ExchangeNotAvailable, match="503"):
                await client.create_order(SYMBOL, "market", "buy", 0.04)
            while exchange.faults.active("maintenance") is not None:
                assert len(exchange.ledger.fills) == done
                await asyncio.sleep(0.01)
            assert all(market["active"] for market in (await client.load_markets(True)).values())
            await until(lambda: exchange.ledger.fills)
            assert (await client.fetch_order(order["id"], SYMBOL))["filled"] > 0

    wait(scenario)


def test_a_lost_acknowledgement_leaves_an_order_that_the_client_has_to_find(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            await client.load_markets()
            exchange.begin(Fault(kind="lost_ack", seconds=60.0))
            with pytest.raises(ccxt.NetworkError, match="POST"):
                await client.create_order(SYMBOL, "market", "buy", 0.04, None, {"newClientOrderId": "mine"})
            assert exchange.account.lots(0) == 4
            found = await client.fetch_order(None, SYMBOL, {"origClientOrderId": "mine"})
            assert (found["status"], found["filled"]) == ("closed", 0.04)
            assert exchange.faults.hits["lost_ack"] == 1

    wait(scenario)


def test_partial_fills_split_an_order_and_finish_it(make_desk):
    desk = make_desk()
    desk.exchange.begin(Fault(kind="partial_fills", seconds=600.0, share=0.25))
    told = desk.buy("0.08")
    assert (told["status"], told["executedQty"]) == ("PARTIALLY_FILLED", "0.02")
    desk.wait(2)
    done = desk.ask("GET order", symbol="BTCUSDT", orderId=told["orderId"])
    assert (done["status"], done["executedQty"]) == ("FILLED", "0.08")
    assert [fill.lots for fill in desk.ledger.fills] == [2, 2, 2, 2]


def test_a_skewed_clock_moves_every_stamp_and_returns(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client, aiohttp.ClientSession() as session:
            exchange.begin(Fault(kind="clock_skew", seconds=2.0, offset_ms=-90_000_000))
            assert await client.fetch_time() < exchange.venue.now - 80_000_000
            async with session.ws_connect(address + "/ws/btcusdt@bookTicker") as socket:
                assert (await socket.receive_json())["E"] < exchange.venue.now - 80_000_000
            await until(lambda: exchange.faults.active("clock_skew") is None)
            assert abs(await client.fetch_time() - exchange.venue.now) < 60_000

    wait(scenario)


def test_a_delisted_symbol_stops_and_its_position_is_settled(make_desk):
    desk = make_desk()
    desk.buy("0.04")
    desk.limit("SELL", "0.02", int(desk.venue.last[0]) + 500)
    desk.exchange.begin(Fault(kind="delist", symbols=("BTCUSDT",)))
    desk.wait(2)
    status = {row["symbol"]: row["status"] for row in desk.ask("GET exchangeInfo")["symbols"]}
    assert (status["BTCUSDT"], status["ETHUSDT"]) == ("SETTLING", "TRADING")
    assert desk.account.lots(0) == 0
    assert not desk.ledger.open_orders()
    settled = desk.told("ORDER_TRADE_UPDATE")[-1]
    assert (settled["x"], settled["n"], settled["c"].split("-")[0]) == ("CALCULATED", "0.00000000", "settlement_autoclose")
    assert desk.refused("POST order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.04") == -4108
    before = desk.ask("GET aggTrades", symbol="BTCUSDT", limit=1)
    desk.wait(300)
    assert desk.ask("GET aggTrades", symbol="BTCUSDT", limit=1) == before


def test_a_listed_symbol_appears_and_trades_from_then_on(bars, make_desk):
    desk = make_desk(options=ExchangeOptions(listed=4))
    name = bars.instruments[4].symbol
    assert name not in {row["symbol"] for row in desk.ask("GET exchangeInfo")["symbols"]}
    assert desk.refused("GET klines", symbol=name, interval="1m") == -1121
    desk.wait(60)
    desk.exchange.begin(Fault(kind="list", symbols=(name,)))
    desk.wait(180)
    assert {row["symbol"]: row["status"] for row in desk.ask("GET exchangeInfo")["symbols"]}[name] == "TRADING"
    assert desk.ask("GET aggTrades", symbol=name)
    assert len(desk.ask("GET klines", symbol=name, interval="1m")) <= 4


def test_planned_faults_begin_at_their_time_and_a_bad_file_is_named(tmp_path, make_desk):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind":"stale","at":5,"seconds":2},{"kind":"rate_limit","at":1}]')
    now = [0.0]
    faults = Faults(lambda: now[0], 1, read_faults(path))
    assert faults.due() == []
    now[0] = 1.5
    assert [fault.kind for fault in faults.due()] == ["rate_limit"]
    now[0] = 6.0
    for fault in faults.due():
        faults.begin(fault)
    assert faults.active("stale", "BTCUSDT")
    now[0] = 9.0
    assert faults.active("stale") is None
    path.write_text('[{"kind":"earthquake"}]')
    with pytest.raises(ConfigError, match=r"faults\.json: Invalid enum value 'earthquake'"):
        read_faults(path)
    with pytest.raises(ConfigError, match="which symbol"):
        make_desk().exchange.begin(Fault(kind="delist", symbols=("NOUSDT",)))


def test_a_fault_that_is_none_is_refused(bars):
    async def scenario() -> None:
        async with running(bars) as (_, address), aiohttp.ClientSession() as session:
            for wrong in (b"{", b'{"kind":"x"}', b'{"kind":"list"}', b'{"kind":"stale","seconds":-1}'):
                async with session.post(address + "/demo/faults", data=wrong) as answer:
                    assert answer.status == 400
                    assert (await answer.json())["error"]

    wait(scenario)


def test_the_log_tells_orders_requests_messages_and_faults(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address) as client:
            await client.load_markets()
            await client.create_order(SYMBOL, "market", "buy", 0.04)
            await client.watch_bids_asks([SYMBOL])
            exchange.begin(Fault(kind="stale", symbols=("ETHUSDT",)))
            told = msgspec.convert(await client.fetch(address + "/demo/log"), dict[str, Any])
            assert told["orders"][0]["quantity"] == "0.04"
            assert "signature" not in told["orders"][0]
            assert told["requests"]["POST /fapi/v1/order"] == 1
            assert told["sent"]["bookTicker"] >= 1
            assert told["faults"][0]["kind"] == "stale"

    wait(scenario)
