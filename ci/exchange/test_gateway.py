"""The door of the demo exchange: who may ask, how much, and from where."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import ccxt
import pytest
from demo_exchanges import ccxt_client, running, signature, signed, wait
from yarl import URL

from daemons.exchange.server import ExchangeOptions
from daemons.exchange.signing import DEMO_KEY
from dolphin.errors import ConfigError, Unavailable

KEY = {"X-MBX-APIKEY": DEMO_KEY}


async def asked(session: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    async with session.get(url, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers


def test_signatures_are_checked(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), aiohttp.ClientSession() as session:
            now, url = exchange.clock.wall_ms(), address + "/fapi/v2/account?"
            good = signed({"timestamp": now})
            cases = [
                (url + good, KEY, 200, None),
                (url + good, {}, 401, -2014),
                (url + good, {"X-MBX-APIKEY": "another"}, 401, -2015),
                (url + signed({"timestamp": now}, "another secret"), KEY, 400, -1022),
                (url + good.replace("timestamp=", "recvWindow=9000&timestamp="), KEY, 400, -1022),
                (url + f"timestamp={now}", KEY, 400, -1102),
                (url + signed({"timestamp": now - 3_600_000}), KEY, 400, -1021),
                (url + signed({"timestamp": now + 3_600_000}), KEY, 400, -1021),
                (url + signed({"timestamp": now, "recvWindow": 60_001}), KEY, 400, -1131),
                (url + signed({"recvWindow": 5_000}), KEY, 400, -1102),
            ]
            for query, headers, status, code in cases:
                found, body, _ = await asked(session, query, headers)
                assert (found, body.get("code")) == (status, code), query
            stamp = exchange.clock.market_ms()
            assert (await asked(session, url + signed({"timestamp": stamp}), KEY))[0] == 200  # of a client that took serverTime

    wait(scenario)


def test_ccxt_with_a_wrong_secret_is_refused(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), ccxt_client(address, secret="wrong") as client:
            with pytest.raises(ccxt.AuthenticationError, match="-1022"):
                await client.create_order("BTC/USDT:USDT", "market", "buy", 0.04)
            assert not exchange.ledger.orders

    wait(scenario)


def test_weights_add_up_and_beyond_the_limit_is_429_with_retry_after(bars):
    async def scenario() -> None:
        async with running(bars, options=ExchangeOptions(weight=50)) as (_, address), aiohttp.ClientSession() as session:
            url = address + "/fapi/v1/"
            used = [0]
            for path in ("time", "klines?symbol=BTCUSDT&interval=1m&limit=1500", "aggTrades?symbol=BTCUSDT"):
                used.append(int((await asked(session, url + path))[2]["X-MBX-USED-WEIGHT-1M"]))
            assert used in ([0, 1, 11, 31], [0, 1, 10, 30], [0, 1, 11, 20])  # the minute may end between two of them
            status, body, headers = 200, {}, {}
            for _ in range(6):
                status, body, headers = await asked(session, url + "depth?symbol=BTCUSDT&limit=1000")
            assert (status, body["code"]) == (429, -1003)
            assert 1 <= int(headers["Retry-After"]) <= 60

    wait(scenario)


WRONG = [
    ("klines?symbol=NOUSDT&interval=1m", 400, -1121), ("klines?symbol=BTCUSDT&interval=7m", 400, -1120), ("klines?interval=1m", 400, -1102),
    ("klines?symbol=BTCUSDT&interval=1m&limit=x", 400, -1130), ("depth?symbol=BTCUSDT&limit=7", 400, -4021), ("nothing", 404, -1),
    ("aggTrades?symbol=BTCUSDT&startTime=0&endTime=7200000", 400, -4084), ("order", 400, -1102),
]  # fmt: skip


def test_wrong_requests_have_binances_codes(bars):
    async def scenario() -> None:
        async with running(bars) as (_, address), aiohttp.ClientSession() as session:
            for path, status, code in WRONG:
                found, body, _ = await asked(session, f"{address}/fapi/v1/{path}", KEY)
                assert (found, body["code"]) == (status, code), path
                assert body["msg"]
            async with session.put(address + "/fapi/v1/time") as answer:
                assert answer.status == 405

    wait(scenario)


HOSTILE = [
    "%00",
    "%FF%FE",
    "-1",
    "1e400",
    "1E-400",
    "NaN",
    "Infinity",
    "%D9%A3",
    "9" * 99,
    "null",
    "[]",
    "{}",
    "BTCUSDT%0A",
    "a" * 400,
    "+",
    "&=&",
    "%",
]


def test_hostile_values_are_refused_and_never_break_anything(bars):
    """Every parameter of every endpoint, signed as they come: an answer of the exchange, never an error of ours."""
    names = ("symbol", "limit", "startTime", "fromId", "quantity", "price", "triggerPrice", "orderId", "origClientOrderIdList", "leverage")

    async def scenario() -> None:
        async with running(bars, options=ExchangeOptions(weight=10**9)) as (exchange, address), aiohttp.ClientSession() as session:
            for name in exchange.routes:
                method, path = name.split(" ")
                if "listenKey" in path:
                    continue
                for k, value in enumerate(HOSTILE):
                    now = f"timestamp={exchange.clock.wall_ms()}&symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&algoType=CONDITIONAL"
                    text = f"{now}&{names[k % len(names)]}={value}&{names[(k + 3) % len(names)]}={value}"
                    text += "&signature=" + signature(text)
                    async with session.request(method, URL(f"{address}{path}?{text}", encoded=True), headers=KEY) as answer:
                        assert answer.status < 500, f"{name} {text}"
                        assert await answer.json() is not None
            assert exchange.account.wallet == 10_000
            async with session.ws_connect(address + "/ws") as socket:
                wrong = [
                    '{"method":"SUBSCRIBE"}',
                    '{"method":"SUBSCRIBE","params":null}',
                    '{"method":[],"params":[]}',
                    "[]",
                    "7",
                    '"x"',
                    "{}",
                    "\x00",
                ]
                for text in [
                    *wrong,
                    '{"method":"UNSUBSCRIBE","params":["no@such"],"id":{}}',
                    '{"method":"SUBSCRIBE","params":["@@@","!a@b"],"id":1}',
                ]:
                    await socket.send_str(text)
                    assert await socket.receive_json(timeout=5)

    wait(scenario)


def test_limits_of_klines_and_trades_are_binances(bars):
    async def scenario() -> None:
        async with running(bars) as (_, address), aiohttp.ClientSession() as session:
            url = address + "/fapi/v1/"
            rows = (await asked(session, url + "klines?symbol=ETHUSDT&interval=1m&limit=9999&startTime=0"))[1]
            assert 1400 < len(rows) <= 1500
            trades = (await asked(session, url + "aggTrades?symbol=ETHUSDT&limit=9999"))[1]
            assert [t["a"] for t in trades] == list(range(trades[0]["a"], trades[0]["a"] + 1000))
            page = (await asked(session, url + f"aggTrades?symbol=ETHUSDT&limit=10&fromId={trades[0]['a'] + 5}"))[1]
            assert page == trades[5:15]
            window = (await asked(session, url + f"aggTrades?symbol=ETHUSDT&startTime={trades[7]['T']}&endTime={trades[20]['T']}"))[1]
            assert window == trades[7:21]

    wait(scenario)


def test_a_stream_answers_as_binance_does(bars):
    async def scenario() -> None:
        async with running(bars) as (exchange, address), aiohttp.ClientSession() as session:
            async with session.ws_connect(address + "/stream?streams=btcusdt@bookTicker/ethusdt@aggTrade") as socket:
                message = await socket.receive_json()
                assert message["stream"] == message["data"]["s"].lower() + ("@bookTicker" if "b" in message["data"] else "@aggTrade")
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
                while "id" not in message:
                    message = await socket.receive_json()
                assert message == {"result": ["btcusdt@bookTicker", "ethusdt@aggTrade"], "id": 3}
            async with session.ws_connect(address + "/ws/btcusdt@depth20@100ms") as socket:
                message = await socket.receive_json()
                assert (message["e"], len(message["b"]), len(message["a"])) == ("depthUpdate", 20, 20)
                for text, code in (("{", 3), ('{"method":"DANCE","id":1}', 2), ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2)):
                    await socket.send_str(text)
                    while "error" not in message:
                        message = await socket.receive_json()
                    assert message.pop("error")["code"] == code
            while exchange.hub.connections:
                await asyncio.sleep(0.01)
            assert not exchange.hub.topics

    wait(scenario)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_another_host_than_loopback_is_refused(make_desk, host):
    with pytest.raises(ConfigError, match="answers this machine only"):
        asyncio.run(make_desk().exchange.start(host))


def test_a_taken_port_is_told(bars, make_desk):
    async def scenario() -> None:
        async with running(bars) as (_, address):
            with pytest.raises(Unavailable, match="give another --port"):
                await make_desk().exchange.start(port=int(address.rsplit(":", 1)[1]))

    wait(scenario)
