"""Killed with SIGKILL at any moment, a pull leaves nothing half-made, and the next one ends with the files of an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from small_exchange import SmallExchange

from dolphin.storage.klines import KlineStore

SCRIPT = Path(__file__).with_name("killed_pulls.py")
STEPS = (0, *range(-1, -10, -1), 8)
"""As in the script: 0 = undisturbed, -n = before rename n, n = after it."""


def test_killed_before_every_rename_it_ends_with_the_same_bytes(exchange: SmallExchange, tmp_path, importable):
    """8 renames: origin, two symbols' funding, the funding file, two symbols, the import, the day."""
    command = [sys.executable, str(SCRIPT), exchange.url, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    undisturbed = runs[0]
    assert [(run["step"], run["died"], run["again"]) for run in runs] == [(s, 0 if s in (0, -9) else -9, 0) for s in STEPS]
    assert sorted(undisturbed["files"]) == [".pull/origin.json", "2024-01-02.parquet", "funding.parquet"]
    assert len({run["half"] for run in runs}) > 4
    for run in runs:
        assert run["files"] == undisturbed["files"], run["step"]


def test_a_process_killed_while_it_waits_for_an_answer_goes_on_later(exchange: SmallExchange, tmp_path, pulled, importable):
    """The process of the command line, killed by the exchange at its eleventh request: the second day is half here."""
    command = [sys.executable, "-m", "flows.cli", "data", "pull", "--from", "2024-01-02", "--to", "2024-01-04", "--timeframe", "1h"]
    child = subprocess.Popen([*command, "--url", exchange.url, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE)

    def kill(_name: str, _query: object, number: int) -> None:
        if number == 11:
            child.kill()

    exchange.fault = kill
    child.communicate(timeout=120)
    assert child.returncode == -9
    assert not (tmp_path / "out" / "2024-01-04.parquet").exists()
    exchange.fault = None
    pulled()
    pulled(out=tmp_path / "undisturbed")
    for date in KlineStore(tmp_path / "undisturbed").dates():
        held = [(tmp_path / folder / f"{date}.parquet").read_bytes() for folder in ("out", "undisturbed")]
        assert held[0] == held[1], date
