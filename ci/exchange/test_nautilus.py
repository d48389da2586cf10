"""Nautilus' own Binance adapter, unmodified, against the demo exchange: each node in a process of its own, as its engine wants it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from demo_exchanges import running, small_market, wait

NODE = Path(__file__).resolve().parent.parent / "nautilus_node.py"


async def node(address: str) -> dict:
    """What a node told after its run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(NODE), address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    lines = [line for line in output.decode().splitlines() if line.startswith("TOLD ")]
    assert lines, output.decode()[-3000:]
    return json.loads(lines[0].removeprefix("TOLD "))


def test_a_node_trades_and_the_next_node_finds_its_position(importable):
    """Market order filled, stop placed by the algo service and cancelled, half sold reduce-only; a restart reconciles the rest."""

    async def scenario() -> None:
        async with running(small_market(assets=3), speed=10.0) as (exchange, address):
            first = await node(address)
            assert first["told"] == ["filled BUY 0.04", "stop accepted", "stop canceled", "filled SELL 0.02"]
            assert first["heard"]
            assert (first["found"], first["position"]) == ("0", "0.02")
            assert exchange.account.lots(0) == 2
            assert float(first["balance"].split()[0]) == float(round(exchange.account.wallet, 8))
            second = await node(address)
            assert (second["found"], second["position"]) == ("0.02", "0.04")
            assert exchange.account.lots(0) == 4
            assert [algo.status for algo in exchange.ledger.algos.values()] == ["CANCELED"] * 2
            assert not exchange.ledger.open_orders()

    wait(scenario, 120.0)
