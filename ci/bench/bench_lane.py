"""From the scanner's record of a bar, durable, to the lane's decision, durable: two processes, a real clock, real files, a Nautilus node.

One process appends bars to the scanner's journal, the other is a paper lane's runner with an embedded grid on which everything is well.
Bars come every 60 ms and enter and leave often, so that orders, fills and snapshots are among them.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from table import Row, emit

from daemons.clock import RealClock
from daemons.outbox import Outbox
from daemons.runner import Runner
from daemons.service import Context
from daemons.trader import PaperTrader
from dolphin.config import Settings, SurvivalConfig, load_profile
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Forewarning, Kill, PostureRecord, fields
from dolphin.lane.scan_log import universe_entry
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alerts
from dolphin.telemetry.metrics import Metrics
from dolphin.types import Posture

BARS, EVERY_S, WARM = 500, 0.06, 100
SETTINGS = Settings(
    engine=load_profile("champion", lookback=40, max_hold_bars=20, dc_skip_contradicts=False, min_irp_alignment=0.2),
    survival=SurvivalConfig(order_book=False),
)


def main() -> list[Row]:
    return [measured(assets) for assets in (48, 400)]


def measured(assets: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="dolphin-bench-") as name:
        state = StateFolder(Path(name)).made()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            found = lane(state)
            with os.fdopen(writing, "w") as out:
                json.dump(found, out)
            os._exit(0)
        os.close(writing)
        sent = scanner(state, assets)
        with os.fdopen(reading) as told:
            answer = json.load(told)
        os.waitpid(pid, 0)
    delays = np.array([answer["bars"][seq] - at for seq, at in sent.items() if seq in answer["bars"]][WARM:])
    p50, p99 = np.percentile(delays, [50, 99])
    note = f"p50 {p50 * 1e3:.1f} ms, most {delays.max() * 1e3:.1f} ms; {len(delays)} bars, {answer['orders']} orders"
    return Row(f"bar -> decision journalled, {assets} symbols, p99", float(p99), None, 0.25, 0.025, note)


def scanner(state: StateFolder, assets: int) -> dict[str, float]:
    """Append bars; when each was durable, by seq."""
    rng, sent = np.random.default_rng(assets), {}
    names = [f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[k % 26]}{k:03d}USDT" for k in range(assets)]
    closes = 100.0 * np.exp(np.cumsum(0.002 * rng.standard_t(4, (BARS, assets)), axis=0))
    with Journal.open(journal_path(state.journals, "scanner"), "scanner") as journal:
        journal.append_many([universe_entry(names, 60, now_ms())])
        time.sleep(4.0)
        date = datetime.now(UTC).date().isoformat()
        for bar in range(BARS):
            signal = float(rng.normal(0, 0.03))
            payload: dict[str, Any] = {"date": date, "bar": bar, "vel_div": signal, "velocity": [signal, 0.0, 0.0, 0.0]}
            payload |= {"lambda_max": [1.0] * 4, "instability": [0.0] * 4, "n_participants": [assets] * 4, "closes": closes[bar].tolist()}
            seq = journal.append_many([Entry(Kind.SCAN, payload, now_ms())])[0]
            sent[str(seq)] = time.monotonic()
            time.sleep(EVERY_S)
    return sent


def lane(state: StateFolder) -> dict[str, Any]:
    """Run the lane until all bars are decided; when each decision was durable, by the scanner's seq."""
    clock, grid, done = RealClock(), EmbeddedGrid(time.monotonic), {}
    journal = Journal.open(journal_path(state.journals, "trader_blue"), "trader_blue")
    trader = PaperTrader(
        Context(
            identity="trader:bench:1", settings=SETTINGS, state=state, clock=clock, grid=grid,
            journal=journal, outbox=Outbox(journal, grid),
            alerts=Alerts([], str, clock.monotonic), metrics=Metrics(clock.monotonic), log=logging.getLogger("bench"),
        )
    )  # fmt: skip
    append, orders = journal.append_many, 0

    def timed(entries: list[Entry]) -> list[int]:
        nonlocal orders
        seqs = append(entries)
        for entry in entries:
            orders += entry.kind is Kind.ORDER_INTENT
            if entry.kind is Kind.BAR:
                done[str(entry.payload["scan_seq"])] = time.monotonic()
        return seqs

    journal.append_many = timed  # type: ignore[method-assign,assignment]
    runner, told, end = Runner(trader), 0.0, time.monotonic() + 120.0
    while len(done) < BARS and time.monotonic() < end:
        if time.monotonic() - told > 1.0:
            all_well(grid)
            told = time.monotonic()
        time.sleep(runner.turn())
    runner.stop()
    return {"bars": done, "orders": orders}


def all_well(grid: EmbeddedGrid) -> None:
    """What the other services say of a good day."""
    now, date = now_ms(), datetime.now(UTC).date().isoformat()
    ones = {f"cat{i}": 1.0 for i in range(1, 6)}
    grid.put(SAFETY, "latest", fields(PostureRecord(posture=Posture.APEX, rm=1.0, target=1.0, reasons=(), ts_ms=now, seq=now, **ones)))
    boost = AcbBoost(ts_ms=now, boost=1.0, beta=0.2, signals=0.0, factors={}, w750_vel=None, date=date)
    warned = Forewarning(ts_ms=now, status="OK", catastrophic_probability=0.05, envelope_score=0.4, date=date, model_hash="none")
    grid.put(FEATURES, "acb_boost", fields(boost))
    grid.put(FEATURES, "mc_forewarner", fields(warned))
    grid.put(CONTROL, "kill", fields(Kill(engaged=False, reason="", by="bench", ts_ms=now)))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    emit(main())
