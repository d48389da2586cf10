"""The demo exchange as a process: what it says, what it records, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from daemons.demo_exchange import main
from dolphin.storage.market_clock import MarketClock, write_market_clock
from dolphin.synthetic.market import SyntheticMarket
from flows.cli import app
from flows.demo_clock import market_clock

COMMAND = [sys.executable, "-m", "flows.cli", "demo-exchange"]


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The process and the object that it tells."""
    process = subprocess.Popen([*COMMAND, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def test_a_day_recorded_as_trades_is_the_day_of_klines(importable, tmp_path):
    """Every field of every bar, aggregated offline from what was published; the market ends, SIGTERM exits 0."""
    path = tmp_path / "trades.parquet"
    with started("--symbols", "4", "--days", "1", "--speed", "40000", "--record", str(path)) as (process, told):
        assert told["schema"] == "dolphin.demo-exchange/1"
        deadline = time.monotonic() + 30
        while not (clock := fetched(told["url"] + "/demo/clock"))["ended"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert clock["market_ms"] == clock["end_ms"] == told["end_ms"]
        window = fetched(f"{told['url']}/demo/trades?from={told['start_ms']}&to={told['start_ms'] + 600_000}")["trades"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    rows = pq.read_table(path).to_pylist()
    assert [list(row.values()) for row in rows if row["ts"] <= told["start_ms"] + 600_000] == window
    bars: dict[tuple[str, int], list[tuple[Decimal, Decimal]]] = {}
    for row in rows:
        bars.setdefault((row["symbol"], row["ts"] // 60_000 * 60_000), []).append((Decimal(row["price"]), Decimal(row["quantity"])))
    day = SyntheticMarket(assets=4, days=2).day(1)
    found = 0
    for n, symbol in enumerate(day.symbols):
        for t, ts in enumerate(day.ts.tolist()):
            trades = bars.pop((symbol, ts), [])
            found += len(trades)
            known = [float(block[t, n]) for block in (day.open, day.high, day.low, day.close, day.volume)]
            if not trades:
                assert known[3] != known[3]
                continue
            prices = [price for price, _ in trades]
            sums = (prices[0], max(prices), min(prices), prices[-1], sum(quantity for _, quantity in trades))
            assert [float(value) for value in sums] == known
    assert not bars
    assert found == len(rows) > 25_000


def test_it_tells_people_where_it_is_and_the_secret_to_nobody(importable):
    told = subprocess.Popen([*COMMAND, "--symbols", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "DOLPHIN_DEMO_SECRET": "canary-of-the-secret"})  # fmt: skip
    try:
        line = told.stdout.readline()
        assert line.startswith("demo exchange at http://127.0.0.1:")
        assert "3 perpetuals from 2025-01-02 00:00 to 2025-01-04 00:00 UTC" in line
        told.send_signal(signal.SIGINT)
        rest, errors = told.communicate(timeout=20)
        assert told.returncode == 0
        assert "canary" not in line + rest + errors
    finally:
        told.kill()
        told.communicate()


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--speed", "0"], 2, "speed must be in"),
        (["--date", "2025-13-01"], 2, "is not YYYY-MM-DD"),
        (["--date", "2025-01-02T25:00"], 2, "is not YYYY-MM-DD"),
        (["--klines", "/nowhere"], 3, "there is no such folder"),
        (["--symbols", "3", "--faults", "/nowhere.json"], 2, "nowhere.json"),
        (["--symbols", "3", "--host", "0.0.0.0"], 2, "answers this machine only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_cannot_be_are_told_in_one_line(capsys, options, code, text):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == code
    told = capsys.readouterr().err.splitlines()
    assert text in told[-1]


def test_klines_and_the_synthetic_market_exclude_each_other():
    done = CliRunner().invoke(app, ["demo-exchange", "--klines", ".", "--synthetic"])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_a_planned_fault_of_an_unknown_symbol_is_refused_at_the_start(capsys, tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind":"delist","symbols":["NOUSDT"],"at":3600}]')
    with pytest.raises(SystemExit) as ended:
        main(["--symbols", "3", "--faults", str(path)])
    assert ended.value.code == 2
    assert "delist: which symbol? NOUSDT is not in the market" in capsys.readouterr().err


def test_a_market_of_now_runs_on_the_wall_clock(importable):
    with started("--symbols", "3", "--date", "now", "--days", "2") as (_, told):
        clock = fetched(told["url"] + "/demo/clock")
        assert abs(clock["market_ms"] - time.time() * 1000) < 2_000
        rows = fetched(told["url"] + "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1000")
        assert len(rows) > 990
        assert abs(rows[-1][0] - time.time() * 1000) < 130_000


def test_killed_and_started_again_on_the_kept_clock_the_market_goes_on(importable, tmp_path):
    """Same trades by number, and no second is told twice."""
    path = tmp_path / "clock.json"
    with started("--symbols", "3", "--speed", "60", "--date", "2025-01-02T06:00") as (process, told):
        write_market_clock(path, market_clock(told["url"]))
        time.sleep(1.5)
        before = fetched(told["url"] + "/demo/trades?from=0")["trades"]
        process.kill()
        process.wait(20)
    with started("--symbols", "3", "--date", "2025-01-02T06:00", "--clock", str(path)) as (_, again):
        assert {name: again[name] for name in ("start_ms", "speed")} == {"start_ms": told["start_ms"], "speed": 60.0}
        assert fetched(again["url"] + "/demo/clock")["market_ms"] > before[-1][4]
        after = fetched(again["url"] + f"/demo/trades?from=0&to={before[-1][4]}")["trades"]
    assert len(before) > 20
    assert after == before


def test_a_kept_clock_of_another_market_is_refused(capsys, tmp_path):
    write_market_clock(tmp_path / "clock.json", MarketClock(start_ms=0, started_monotonic=0.0, speed=1.0))
    for path, words in (("clock.json", "is of another market"), ("none.json", "no market clock there")):
        with pytest.raises(SystemExit) as ended:
            main(["--symbols", "3", "--clock", str(tmp_path / path)])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
