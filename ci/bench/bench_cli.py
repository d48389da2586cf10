"""The command line as a user meets it: fresh processes, their wall time and their peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from table import Row, emit, row

DOLPHIN = str(Path(sys.executable).with_name("dolphin"))
MB = 1e6
FLOOR = """
import numpy as np
from numba import njit

@njit(cache=True)
def first(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    return total

first(np.ones(8))
"""


def run(args: Sequence[str], folder: Path, **environment: str) -> tuple[float, float]:
    """Seconds and peak MB of one process; its stderr is shown when it fails."""
    with (folder / "log.txt").open("w+") as log:
        start = time.perf_counter()
        own = {"DOLPHIN__PATHS__CACHE": str(folder / "cache")} | environment
        child = subprocess.Popen(args, cwd=folder, stdout=log, stderr=log, env=os.environ | own)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(args)} ended with {child.returncode}:\n{log.read()[-2000:]}")
    return seconds, usage.ru_maxrss * 1024 / MB


def best(k: int, measure: Callable[[], tuple[float, float]]) -> float:
    measure()
    return min(measure()[0] for _ in range(k))


def market(folder: Path, name: str, assets: int, days: int, bar_seconds: int) -> tuple[Path, Path]:
    """Klines and day tables of a synthetic market; returns both folders."""
    klines, tables = folder / name / "klines", folder / name / "scans"
    numbers = ["--assets", str(assets), "--days", str(days), "--bar-seconds", str(bar_seconds)]
    run([DOLPHIN, "data", "synth", *numbers, "--out", str(klines)], folder)
    return klines, tables


def size(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / MB


def start_up(folder: Path) -> list[Row]:
    klines, tables = market(folder, "day", 48, 1, 60)
    run([DOLPHIN, "data", "scan", "--klines", str(klines), "--out", str(tables)], folder)
    script = folder / "floor.py"
    script.write_text(FLOOR)
    backtest = [DOLPHIN, "backtest", "--data", str(tables), "--stack", "engine"]
    warm = best(5, lambda: run(backtest, folder))
    floor = best(5, lambda: run([sys.executable, str(script)], folder))
    with tempfile.TemporaryDirectory(dir=folder) as cold:
        first, _ = run(backtest, folder, NUMBA_CACHE_DIR=cold)
    return [
        row("dolphin backtest, warm, 1 day, engine only", warm, floor, 1.8, 1.4, "import numpy + numba + first cached kernel"),
        row("dolphin backtest, first run, cold kernels", first, None, 5.0, 3.0, "fresh NUMBA_CACHE_DIR"),
    ]


def month(folder: Path) -> list[Row]:
    klines, tables = market(folder, "month", 64, 30, 60)
    seconds, _ = run([DOLPHIN, "data", "scan", "--klines", str(klines), "--out", str(tables)], folder)
    read, written = size(klines), size(tables)
    _, peak = run([DOLPHIN, "backtest", "--klines", str(klines)], folder)
    note = f"{read:.0f} MB klines read, {written:.0f} MB written: {(read + written) / seconds:.0f} MB/s"
    return [
        row("klines -> day tables, 30 days x 64", seconds, None, None, None, note),
        row("peak memory, backtest of 30 days x 64 at 60 s", peak, None, 500.0, 500.0, "from klines", "MB"),
    ]


def wide(folder: Path) -> list[Row]:
    klines, _ = market(folder, "wide", 400, 1, 5)
    seconds, peak = run([DOLPHIN, "backtest", "--klines", str(klines)], folder)
    return [row("peak memory, 1 day x 400 at 5 s, scanned and run", peak, None, 1200.0, 1200.0, f"{seconds:.0f} s", "MB")]


def main() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dolphin-bench-") as name:
        folder = Path(name)
        return [*start_up(folder), *month(folder), *wide(folder)]


if __name__ == "__main__":
    emit(main())
