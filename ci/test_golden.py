"""Golden run: synthetic market, 3 days, seed 7. Regenerate on purpose with ``python -m pytest ci/test_golden.py --regenerate``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from dolphin.config import load
from flows.backtest import Plan, day_files, run_backtest
from flows.scans import cached_scan
from flows.synth import write_market

GOLDEN = Path(__file__).parent / "golden" / "run.json"


def golden_run(folder):
    """What is pinned, from nothing: no cache of this machine is used."""
    from dolphin.storage.klines import KlineStore

    settings = load(flags={"paths.runs": str(folder / "runs"), "paths.cache": str(folder / "cache")})
    quiet = lambda items, total, label: items  # noqa: E731
    write_market(settings.settings.synthetic, folder / "klines", quiet)
    days, _ = cached_scan(KlineStore(folder / "klines"), settings.settings, "", "", track=quiet)
    _, run = run_backtest(Plan(folder=days, loaded=settings), day_files(days))
    vel_div = run.bars.vel_div
    return {
        "market": "synthetic: 48 assets, 3 days, 60 s, seed 7",
        "trades": run.summary["trades"],
        "by_reason": {name: group["trades"] for name, group in run.summary["by_reason"].items()},
        "trades_hash": run.summary["trades_hash"],
        "config_hash": run.summary["config_hash"],
        "champion_roi": float(f"{run.summary['roi']:.10g}"),
        "honest_roi": float(f"{run.summary['honest']['roi']:.10g}"),
        "share_of_bars_below_threshold": float(f"{np.mean(vel_div < -0.02):.6g}"),
    }


def test_the_golden_run_is_what_it_was(tmp_path, request):
    """A change of any decision, price or cost shows here first."""
    found = golden_run(tmp_path)
    if request.config.getoption("--regenerate"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_the_hash_does_not_depend_on_threads_or_hash_seed(tmp_path):
    """Two processes, one and two threads, two seeds of Python's hash: one trades_hash."""
    hashes = set()
    for k, (threads, seed) in enumerate((("1", "0"), ("2", "4242"))):
        flags = [
            "--set",
            f"scanner.threads={threads}",
            "--set",
            f"paths.cache={tmp_path / str(k)}",
            "--set",
            f"paths.runs={tmp_path / 'runs'}",
        ]
        command = [sys.executable, "-m", "flows.cli", "backtest", "--json", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, timeout=300)
        hashes.add(json.loads(done.stdout)["summary"]["trades_hash"])
    assert hashes == {json.loads(GOLDEN.read_text())["trades_hash"]}
