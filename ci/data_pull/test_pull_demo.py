"""The pull against the demo exchange, which knows nothing of it: storms on the way, and the product runs on what was pulled."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from demo_exchanges import START_MS, running, small_market
from small_exchange import MINUTE
from typer.testing import CliRunner

from daemons.exchange.faults import Fault
from dolphin.storage.klines import KlineStore
from flows.cli import app

STORMS = (Fault(kind="server_error", at=0.0, seconds=600.0, share=0.1), Fault(kind="rate_limit", at=2.0, seconds=1.0))
DAY = "2025-01-01"


@contextmanager
def demo_exchange(assets: int, faults: tuple[Fault, ...]) -> Iterator[str]:
    """Its address; it serves from a thread. Its clock stands two minutes after the day that is its history."""
    ready, address, loop, over = threading.Event(), list[str](), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with running(small_market(assets), 1.0, faults=faults, start_ms=START_MS + 2 * MINUTE) as (_, url):
            address.append(url)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()


def dolphin(*words: str) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, done.stdout


def test_a_day_pulled_through_storms_is_a_day_that_everything_runs_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with demo_exchange(10, STORMS) as url:
        code, said = dolphin("data", "pull", "--from", DAY, "--to", "2025-01-02", "--out", "klines", "--url", url, "--json")
        assert code == 0, said
        told = json.loads(said)
    assert (len(told["listings"]), told["unfinished"], told["failed_requests"] > 0) == (10, ["2025-01-02"], True)
    assert [(day["date"], day["action"], day["symbols"]) for day in told["days"]] == [(DAY, "written", 10)]
    quality = KlineStore("klines").load(DAY).quality
    assert quality.absent == told["missing_bars"]
    assert quality.counts == ()
    assert all(count == 3 for count in told["funding"].values())
    code, said = dolphin("backtest", "--klines", "klines", "--funding", "klines/funding.parquet", "--json")
    assert code == 0, said
    summary = json.loads(said)["summary"]
    assert (summary["days"], summary["bars"]) == ([DAY], 1440)
    assert "funding_missing" not in summary["flags"]
