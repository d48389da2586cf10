"""Who hears what: websocket connections, their subscriptions, and a queue for each, so that a slow reader delays nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from daemons.exchange.candles import Candle
from daemons.exchange.faults import Faults

__all__ = ["Connection", "Hub", "Topic"]

MOST_QUEUED: Final = 100_000
MOST_STREAMS: Final = 1_024


class Topic:
    """A stream that somebody follows: ``btcusdt@depth@100ms`` is kind ``depth``, detail ``100ms`` of symbol number ``symbol``.

    ``candle``: the kline told last, ``opened_ms``: where the next one to tell opens, ``beat``: the mark price told last.
    """

    def __init__(self, name: str, symbol: int) -> None:
        self.name, self.symbol = name, symbol
        _, self.kind, self.detail = (*name.split("@", 2), "", "")[:3]
        self.followers: set[Connection] = set()
        self.candle: Candle | None = None
        self.opened_ms = 0
        self.beat = -1


class Connection:
    """One websocket. ``combined``: messages are wrapped as {"stream": name, "data": message}."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None, combined: bool, listen_key: str) -> None:
        self.socket, self.combined, self.listen_key = socket, combined, listen_key
        self._transport = transport
        self.names: list[str] = []
        self.held = ""
        self._queue: deque[str] = deque()
        self._fresh = asyncio.Event()

    def push(self, text: str) -> None:
        """Queue a message; a reader that is 100 000 behind is cut off."""
        self._queue.append(text)
        if self.held:
            self._queue.append(self.held)
            self.held = ""
        self._fresh.set()
        if len(self._queue) > MOST_QUEUED:
            self.cut()

    def cut(self) -> None:
        """End the connection at once, without a closing frame, as a network does."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    async def write(self) -> None:
        """Send what is queued until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while not self.socket.closed:
                await self._fresh.wait()
                self._fresh.clear()
                while self._queue:
                    await self.socket.send_str(self._queue.popleft())


class Hub:
    """All connections. ``symbols``: number of each symbol by its name in lower case."""

    def __init__(self, symbols: Mapping[str, int], faults: Faults) -> None:
        self.symbols, self.faults = symbols, faults
        self.connections: set[Connection] = set()
        self.topics: dict[str, Topic] = {}
        self.of_symbol: dict[int, list[Topic]] = {}
        self.sent: Counter[str] = Counter()
        self.listen_keys: set[str] = set()

    def follow(self, connection: Connection, name: str) -> None:
        """Subscribe; a stream of no symbol of ours is accepted and stays silent, as on the exchange."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic(name, self.symbols.get(name.split("@")[0], -1))
            self.of_symbol.setdefault(topic.symbol, []).append(topic)
        topic.followers.add(connection)
        if name not in connection.names:
            connection.names.append(name)

    def leave(self, connection: Connection, name: str) -> None:
        """Unsubscribe."""
        if name in connection.names:
            connection.names.remove(name)
        topic = self.topics.get(name)
        if topic is not None:
            topic.followers.discard(connection)
            if not topic.followers:
                del self.topics[name]
                self.of_symbol[topic.symbol].remove(topic)

    def publish(self, topic: Topic, symbol: str, text: str) -> None:
        """Send an event of the market, unless a fault swallows, doubles or delays it."""
        faults = self.faults
        if faults.hit("stale", symbol):
            return
        wrapped = f'{{"stream":"{topic.name}","data":{text}}}'
        for connection in tuple(topic.followers):
            message = wrapped if connection.combined else text
            if not connection.held and faults.strikes("out_of_order", symbol):
                connection.held = message
                continue
            connection.push(message)
            if faults.strikes("duplicate", symbol):
                connection.push(message)
        self.sent[topic.kind] += len(topic.followers)

    def tell_user(self, event: Mapping[str, Any]) -> None:
        """Send an event of the account."""
        text = msgspec.json.encode(event).decode()
        for connection in tuple(self.connections):
            if connection.listen_key in self.listen_keys:
                connection.push(f'{{"stream":"{connection.listen_key}","data":{text}}}' if connection.combined else text)
                self.sent[str(event["e"])] += 1

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in tuple(self.connections):
            connection.cut()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One websocket from upgrade to end: ``/ws``, ``/ws/<stream>``, ``/stream?streams=a/b``; also below /public, /market, /private."""
        socket = web.WebSocketResponse(heartbeat=180.0, compress=False, max_msg_size=2**20)
        await socket.prepare(request)
        tail = [part for part in request.match_info.get("tail", "").split("/") if part]
        keys = [part for part in (request.query.get("listenKey", ""), *tail) if part in self.listen_keys]
        connection = Connection(socket, request.transport, "/stream" in request.path, keys[0] if keys else "")
        self.connections.add(connection)
        for name in (*tail, *request.query.get("streams", "").split("/")):
            if "@" in name:
                self.follow(connection, name)
        writer = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    connection.push(self._answer(connection, message.data))
        finally:
            writer.cancel()
            self.connections.discard(connection)
            for name in tuple(connection.names):
                self.leave(connection, name)
        return socket

    async def close(self) -> None:
        """Say goodbye to everybody."""
        for connection in tuple(self.connections):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    def _answer(self, connection: Connection, text: str) -> str:
        """The reply to SUBSCRIBE, UNSUBSCRIBE or LIST_SUBSCRIPTIONS."""
        try:
            asked = msgspec.json.decode(text)
            method, names, number = asked["method"], list(asked.get("params", [])), asked.get("id")
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
            return '{"error":{"code":3,"msg":"Invalid JSON: it has no method, or no list of params"},"id":null}'
        result: list[str] | None = None
        if method == "LIST_SUBSCRIPTIONS":
            result = connection.names
        elif method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not all(isinstance(name, str) for name in names):
            return msgspec.json.encode({"error": {"code": 2, "msg": f"Invalid request: unknown method {method!r}"}, "id": number}).decode()
        elif method == "SUBSCRIBE" and len({*connection.names, *names}) > MOST_STREAMS:
            return msgspec.json.encode({"error": {"code": 2, "msg": "Invalid request: too many streams"}, "id": number}).decode()
        for name in names:
            (self.follow if method == "SUBSCRIBE" else self.leave)(connection, name)
        return msgspec.json.encode({"result": result, "id": number}).decode()
