"""What a NautilusTrader user meets: the README's script as printed, and a run's folder with files that Nautilus reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-m", "flows.cli"]


def run(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a synthetic day and a Nautilus run of it."""
    folder = tmp_path_factory.mktemp("users")
    run(*CLI, "data", "synth", "--assets", "12", "--days", "1", "--out", "klines", cwd=folder)
    found = json.loads(run(*CLI, "backtest", "--klines", "klines", "--engine", "nautilus", "--json", cwd=folder))
    return folder, folder / found["run"], found["summary"]


def test_the_readme_script_runs_as_printed(home):
    """At most 15 lines, on a catalog made as the README says; it trades."""
    folder, _, _ = home
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (script,) = [block for block in blocks if "BacktestNode" in block]
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    assert run(sys.executable, "-m", "actors.catalog", "klines", "catalog", cwd=folder).endswith("bars\n")
    (folder / "script.py").write_text(script)
    printed = run(sys.executable, "script.py", cwd=folder)
    assert float(re.search(r"'PnL \(total\)': (-?[\d.]+)", printed)[1]) != 0.0


def test_a_run_leaves_what_nautilus_reads(home):
    """Signals and fills in a catalog, four reports, a tearsheet; as many as the summary says."""
    from nautilus_trader.model.events import OrderFilled
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    from actors.data_types import DolphinSignal

    _, folder, summary = home
    venue = summary["detail"]["venue"]
    catalog = ParquetDataCatalog(str(folder / "catalog"))
    fills, signals = catalog.query(OrderFilled), [item.data for item in catalog.custom_data(DolphinSignal)]
    assert len(fills) == venue["fills"] == pq.read_metadata(folder / "fills.parquet").num_rows
    assert [s.action for s in signals].count("EXIT") == summary["trades"]
    assert {s.reason for s in signals if s.action == "EXIT"} == set(summary["by_reason"])
    assert all(s.lane == "BLUE" and s.direction == -1 for s in signals)
    assert {(folder / name).exists() for name in venue["files"].values()} == {True}
    assert "<html" in (folder / "tearsheet.html").read_text(encoding="utf-8")[:2000].lower()


def test_a_nautilus_run_reports_parity_and_a_clean_account(home):
    """The summary's venue part: equal trades, nothing unexplained, hashes; the page has the section."""
    _, folder, summary = home
    venue = summary["detail"]["venue"]
    assert venue["parity"] == {"trades": summary["trades"], "equal": True, "first_difference": ""}
    assert abs(venue["account_residual"]) < 1e-6
    assert venue["sum_error"] < 1e-9
    assert set(venue["hashes"]) == {"orders", "fills"}
    assert "Orders and fills" in (folder / "report.html").read_text(encoding="utf-8")


def test_parity_check_speaks_json_and_text(home):
    """One object with every way; text that ends in the verdict."""
    folder, _, summary = home
    found = json.loads(run(*CLI, "parity-check", "--klines", "klines", "--json", cwd=folder))
    assert found["schema"] == "dolphin.parity-check/1"
    assert [way["name"] for way in found["ways"]] == ["day", "bar", "stream", "nautilus"]
    assert {way["trades"] for way in found["ways"]} == {summary["trades"]}
    assert run(*CLI, "parity-check", "--klines", "klines", cwd=folder).endswith("parity: passed\n")


def test_engine_only_commands_do_not_import_nautilus(home):
    """`dolphin backtest --engine nd` stays light."""
    folder, _, _ = home
    code = """
import sys
from flows.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in sys.modules if name.startswith("nautilus_trader") or name == "pandas"])
"""
    printed = run(sys.executable, "-c", code, "backtest", "--klines", "klines", cwd=folder)
    assert printed.splitlines()[-1] == "[]"


TRADING_NODE = """
import asyncio
from decimal import Decimal
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import ImportableStrategyConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode

path = "actors.dolphin_actor:DolphinActor"
strategy = ImportableStrategyConfig(strategy_path=path, config_path="actors.config:DolphinActorConfig", config={"lane": "GREEN"})
venue = SandboxExecutionClientConfig(venue="BINANCE", starting_balances=["25_000 USDT"], default_leverage=Decimal(5))
config = TradingNodeConfig(strategies=[strategy], exec_clients={"BINANCE": venue}, logging=LoggingConfig(log_level="ERROR"))
asyncio.set_event_loop(asyncio.new_event_loop())
node = TradingNode(config)
node.add_exec_client_factory("BINANCE", SandboxLiveExecClientFactory)
node.build()
(actor,) = node.trader.strategies()
print(type(actor).__name__, actor.direction, actor.config.lane)
node.dispose()
"""


def test_a_trading_node_takes_the_strategy(tmp_path):
    """`TradingNode.build` with a sandbox venue makes a DolphinActor of the importable configuration."""
    (tmp_path / "node.py").write_text(TRADING_NODE)
    assert "DolphinActor 1 GREEN" in run(sys.executable, "node.py", cwd=tmp_path)
