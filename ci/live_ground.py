"""A demo exchange and a live lane, each a process of its own, and a hand on the account that is not the lane's."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

__all__ = ["KEY", "SECRET", "Exchange", "Lane", "exchange_process", "lane_process", "trader_process"]

CHECKOUT = Path(__file__).resolve().parent.parent
KEY, SECRET = "cAnAryKey0123456789abcdefCANARY", "cAnArySecret0123456789abcdefCANARY"
PATIENCE_S = 90.0


class Exchange:
    """The demo exchange at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fault(self, kind: str, seconds: float, **more: Any) -> None:
        """Begin a fault."""
        httpx.post(f"{self.url}/demo/faults", json={"kind": kind, "seconds": seconds, **more}).raise_for_status()

    def log(self) -> dict[str, Any]:
        """What was asked and answered so far."""
        found: dict[str, Any] = httpx.get(f"{self.url}/demo/log").json()
        return found

    def orders(self, path: str = "/fapi/v1/order") -> list[dict[str, Any]]:
        """Orders that the exchange has heard of, by the lane and by others."""
        return [order for order in self.log()["orders"] if order["path"] == path]

    def signed(self, method: str, path: str, **params: Any) -> Any:
        """Somebody else at the account."""
        query = urlencode(params | {"timestamp": time.time_ns() // 1_000_000, "recvWindow": 60_000})
        query += f"&signature={hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"
        answer = httpx.request(method, f"{self.url}{path}?{query}", headers={"X-MBX-APIKEY": KEY})
        answer.raise_for_status()
        return answer.json()

    def position(self, symbol: str = "BTCUSDT") -> float:
        """The truth: signed quantity at the exchange."""
        return sum(float(row["positionAmt"]) for row in self.signed("GET", "/fapi/v3/positionRisk") if row["symbol"] == symbol)

    def stops(self) -> list[dict[str, Any]]:
        """Conditional orders that rest."""
        found: list[dict[str, Any]] = self.signed("GET", "/fapi/v1/openAlgoOrders")
        return found


class Lane:
    """A live lane in its process; each call is a command and returns what the lane sees afterwards."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen = self._hear()

    def __call__(self, what: str, **more: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        self.seen = self._hear()
        return self.seen

    def kill(self) -> None:
        """By kill -9."""
        self.process.kill()
        self.process.wait(20)

    def until(self, condition: Any, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Let bars pass until it holds of what the lane sees."""
        ends = time.monotonic() + seconds
        while not condition(self.seen):
            assert time.monotonic() < ends, f"never: {self.seen}"
            self("wait", seconds=0.5)
            self("bar")
        return self.seen

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the lane's process has ended"
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def exchange_process(folder: Path, *options: str) -> Iterator[Exchange]:
    """The market begins now and runs as time does, unless ``options`` say otherwise."""
    usual = ["--symbols", "6", "--date", "now", "--speed", "1"] if not options else list(options)
    environment = _environment() | {"DOLPHIN_DEMO_KEY": KEY, "DOLPHIN_DEMO_SECRET": SECRET}
    command = [sys.executable, "-m", "daemons.demo_exchange", *usual, "--json"]
    with (folder / "exchange.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            yield Exchange(json.loads(process.stdout.readline())["url"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            process.stdout.close()


@contextmanager
def lane_process(folder: Path, url: str, lane: str = "BLUE", distance: float = 0.05, key: str = KEY) -> Iterator[Lane]:
    """A live node with scripted decisions. What it says besides its answers is in ``lane.log``; it ends by its ``stop``, or is killed."""
    environment = {"DOLPHIN_BINANCE_KEY": key, "DOLPHIN_BINANCE_SECRET": SECRET}
    with _driven(folder, environment, "live_lane.py", url, lane, str(distance)) as made:
        yield made


@contextmanager
def trader_process(folder: Path, state: Path, environment: dict[str, str]) -> Iterator[Lane]:
    """The trader of a live lane over bars that the test writes."""
    with _driven(folder, environment, "live_trader.py", str(state)) as made:
        yield made


@contextmanager
def _driven(folder: Path, environment: dict[str, str], script: str, *arguments: str) -> Iterator[Lane]:
    command = [sys.executable, str(CHECKOUT / "ci" / script), *arguments]
    with (folder / "lane.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment() | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            yield Lane(process)
        finally:
            process.kill()
            process.wait(20)
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT / "ci"), str(CHECKOUT)])}
