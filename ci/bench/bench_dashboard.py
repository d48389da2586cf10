"""The operator's page: how long a snapshot takes while bars come in, and what the server costs with one page open."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from bench_cli import DOLPHIN
from table import Row, emit, row

from dolphin.config import Settings
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.schema import date_of
from dolphin.storage.state import StateFolder
from dolphin.telemetry.redaction import Redactor
from flows.dashboard.follow import cleaner
from flows.dashboard.reader import SnapshotReader

MINUTE = 60_000
TURNS = 200
SECONDS = 12
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


class Market:
    """A scanner and a lane that write a bar when they are told."""

    def __init__(self, state: StateFolder, symbols: int) -> None:
        self._scanner = Journal.open(journal_path(state.journals, "scanner"), "scanner")
        self._lane = Journal.open(journal_path(state.journals, "trader_blue"), "trader_blue")
        self._log = (state.logs / "trader.log").open("a")
        self._ts = time.time_ns() // 1_000_000 - 2_000 * MINUTE
        self._rng, self._symbols = np.random.default_rng(1), symbols
        self._book = base64.b64encode(bytes(8 * 5 * symbols)).decode()
        self._scanner.append(Kind.UNIVERSE, {"assets": [f"A{k:03d}USDT" for k in range(symbols)], "bar_seconds": 60}, self._ts)

    def bars(self, many: int) -> None:
        scans, decisions = [], []
        for _ in range(many):
            self._ts += MINUTE
            date, number = date_of(self._ts), self._ts // MINUTE % 1440
            lists: dict[str, Any] = {name: [0.1] * 4 for name in ("lambda_max", "velocity", "instability", "n_participants")}
            closes = self._rng.uniform(1, 100, self._symbols).tolist()
            scans.append(Entry(Kind.SCAN, {"date": date, "bar": number, "vel_div": 0.01, **lists, "closes": closes}, self._ts))
            told = {"posture": "APEX", "blocks": [], "book": self._book}
            facts = {
                "date": date,
                "bar": number,
                "vel_div": 0.01,
                "posture": "APEX",
                "boost": 1.0,
                "beta": 0.2,
                "entry": None,
                "exit": None,
            }
            marks = {"refusals": ["NO_SIGNAL"], "equity": 25_000 + 100 * self._rng.standard_normal(), "peak": 25_500.0, "told": told}
            decisions.append(Entry(Kind.BAR, facts | marks, self._ts))
        self._scanner.append_many(scans)
        self._lane.append_many(decisions)
        self._log.write('{"time": "2026-01-01 00:00:00,000", "level": "INFO", "logger": "dolphin.trader", "message": "a bar"}\n')
        self._log.flush()

    def close(self) -> None:
        self._scanner.close()
        self._lane.close()
        self._log.close()


def built(folder: Path, symbols: int) -> tuple[float, float, float]:
    """Seconds of the first snapshot (a day of bars), and p50 and p99 of those with a new bar each, encoded."""
    state = StateFolder(folder).made()
    market = Market(state, symbols)
    market.bars(1440)
    reader = SnapshotReader(state, Settings(), cleaner(Redactor(os.environ)), connect=lambda _: EmbeddedGrid(time.monotonic))
    began = time.perf_counter()
    reader.read(kill_offered=True)
    first = time.perf_counter() - began
    times = []
    for _ in range(TURNS):
        market.bars(1)
        began = time.perf_counter()
        msgspec.json.encode(reader.read(kill_offered=True))
        times.append(time.perf_counter() - began)
    reader.close()
    market.close()
    return first, float(np.quantile(times, 0.5)), float(np.quantile(times, 0.99))


def cost(folder: Path) -> float:
    """Seconds of processor a second that `dolphin dashboard` takes with one page open and a bar a second."""
    state = StateFolder(folder).made()
    market = Market(state, 48)
    market.bars(1440)
    with subprocess.Popen([DOLPHIN, "dashboard", "--port", "0", "--state", folder], stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stderr.readline().split()[-1] if server.stderr is not None else ""
            with httpx.stream("GET", f"{address}api/events", timeout=30.0) as events:
                lines, until = events.iter_lines(), time.monotonic() + SECONDS / 2
                while time.monotonic() < until:
                    next(lines)
                before, began = _used(server.pid), time.monotonic()
                while time.monotonic() - began < SECONDS:
                    market.bars(1)
                    while not next(lines).startswith("event"):
                        pass
                return (_used(server.pid) - before) / (time.monotonic() - began)
        finally:
            server.terminate()
            market.close()


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def main() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="dolphin-bench-") as name:
        for symbols in (48, 400):
            first, half, most = built(Path(name) / str(symbols), symbols)
            note = f"p50 {half * 1e3:.1f} ms; the first one, a day of bars: {first:.2f} s"
            rows.append(row(f"dashboard snapshot p99, {symbols} symbols, a new bar each", most, None, 0.1, 0.02, note))
        rows.append(row("dashboard, processor a second, one page open", cost(Path(name) / "cost"), None, 0.03, 0.02, "no cluster answers"))
    return rows


if __name__ == "__main__":
    emit(main())
