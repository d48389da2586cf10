"""The demo exchange under load: CPU of its process while raw websockets follow every trade and every book at 60 times our speed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from table import Row, emit, row

from daemons.exchange.tape import TRADES_A_BAR

SPEED, WARM_S, SECONDS, STREAMS_A_SOCKET = 60, 3.0, 10.0, 50


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(pid: int, url: str) -> tuple[float, float]:
    """Cores that the server uses, and messages that arrive in a second."""
    heard = 0

    async def follow(session: aiohttp.ClientSession, names: list[str]) -> None:
        nonlocal heard
        async with session.ws_connect(url + "/ws", max_msg_size=0) as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            async for _ in socket:
                heard += 1

    async with aiohttp.ClientSession() as session:
        async with session.get(url + "/fapi/v1/exchangeInfo") as answer:
            symbols = [entry["symbol"].lower() for entry in (await answer.json())["symbols"]]
        names = [f"{symbol}@{kind}" for kind in ("aggTrade", "depth@100ms") for symbol in symbols]
        tasks = [asyncio.create_task(follow(session, names[i : i + STREAMS_A_SOCKET])) for i in range(0, len(names), STREAMS_A_SOCKET)]
        await asyncio.sleep(WARM_S)
        began, used, before = time.monotonic(), cpu_seconds(pid), heard
        await asyncio.sleep(SECONDS)
        seconds = time.monotonic() - began
        found = (cpu_seconds(pid) - used) / seconds, (heard - before) / seconds
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def measured(symbols: int) -> Row:
    command = [sys.executable, "-m", "daemons.demo_exchange", "--json", "--symbols", str(symbols), "--speed", str(SPEED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            cores, messages = asyncio.run(load(server.pid, json.loads(server.stdout.readline())["url"]))
        finally:
            server.terminate()
    books = messages / symbols - TRADES_A_BAR * SPEED / 60
    note = f"{messages:.0f} messages/s: every trade, each book {books:.0f} times a second (20 when the machine is free)"
    return row(f"demo exchange, {symbols} symbols, speed {SPEED}: part of a core", 100.0 * cores, None, 90.0, 60.0, note, "%")


def main() -> list[Row]:
    return [measured(48), measured(400)]


if __name__ == "__main__":
    emit(main())
