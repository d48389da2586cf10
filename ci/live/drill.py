"""Every fault on a running deployment while its lane trades, one after another; a table of what came of it, and the laws of its journals.

    PYTHONPATH=.:ci .venv/bin/python ci/live/drill.py STATE [--exchange PID] [--rows disconnect,grid] [--patience 180]

STATE is the state folder of a deployment on a demo exchange with lane BLUE, as in README's walk-through. Faults of the exchange are asked
for over its own address; processes are ended by ``kill -9`` of their pid, one by one, the exchange itself (--exchange) and Prefect's server
(when it runs) too: both are started again here. A row ends when every process is healthy and the lane takes bars without a doubt again.
Exit 1 when a row did not recover or a law does not hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fault_evidence import LANE, Evidence
from fault_laws import JOURNAL_LAWS
from fault_matrix import MATRIX

from dolphin.config import load
from dolphin.storage.journal import Kind, Record
from dolphin.storage.market_clock import read_market_clock
from dolphin.storage.state import StateFolder
from flows.journal import verdicts
from flows.paper_watch import held_of
from flows.prefect_server import PrefectServer
from flows.status import status_of
from flows.supervisor import Supervisor

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("disconnect", {"seconds": 10}), ("duplicate", {"seconds": 15, "share": 0.3}), ("out_of_order", {"seconds": 15, "share": 0.3}),
    ("stale", {"seconds": 10}), ("rate_limit", {"seconds": 10}), ("server_error", {"seconds": 10, "share": 0.7}),
    ("maintenance", {"seconds": 15}), ("clock_skew", {"seconds": 10, "offset_ms": -30_000}),
    ("clock_skew", {"seconds": 10, "offset_ms": 30_000}), ("delist", {"seconds": 1}),
]  # fmt: skip
KILLED = ("scanner", "ob_stream", "acb_processor", "system_watchdog", "mc_forewarner", "trader", "grid")
DOWN_S = 8.0
"""What nobody restarts stays dead for so long."""


class Drill(Evidence):
    """``state``: the folder of the deployment."""

    def __init__(self, state: Path, exchange: int, patience: float) -> None:
        super().__init__(state.parent, load(state / StateFolder(state).settings.name).settings, state.name)
        self.exchange, self.patience, self.lost = exchange, patience, list[str]()
        self.supervisor, self.server = Supervisor(state), PrefectServer(self.state)

    def row(self, name: str, do: Callable[[], object], seconds: float) -> None:
        """Do it, wait until all is well again, tell."""
        first, began = self.head(), time.monotonic()
        do()
        time.sleep(seconds)
        ended = time.monotonic()
        back = None
        while back is None and time.monotonic() - ended < self.patience:
            back = time.monotonic() - ended if self.well(ended) else None
            time.sleep(0.5)
        bars = [record.payload for record in self.newest(LANE, Kind.BAR, 2_000) if record.seq > first]
        doubts = Counter(doubt for bar in bars for doubt in bar["told"]["blocks"])
        postures = " ".join(dict.fromkeys(bar["told"]["posture"] for bar in bars))
        entries = sum(bar["entry"] is not None for bar in bars)
        told = ", ".join(f"{doubt} {many}" for doubt, many in doubts.items()) or "no doubt"
        seen = f"{len(bars)} bars in {postures}: {told}; {entries} entries" + ("" if back is not None else "; NOT BACK")
        MATRIX.add(name, "no entry in doubt; back by itself", seen, back)
        print(f"{time.strftime('%H:%M:%S')} {name}: {seen}; {time.monotonic() - began:.0f} s in all", flush=True)
        if back is None:
            self.lost.append(name)

    def head(self) -> int:
        """Newest record of the lane's journal."""
        newest = self.newest(LANE, Kind.BAR, 1)
        return newest[-1].seq if newest else 0

    def well(self, since: float) -> bool:
        """Every process is healthy, and the lane's newest bars, after ``since``, have no doubt."""
        found = status_of(self.state, self.settings)
        bars = self.newest(LANE, Kind.BAR, 2)
        clock = read_market_clock(self.state.clock)
        assert clock is not None
        fresh = len(bars) == 2 and bars[0].ts_ms > clock.market_ms(since)
        return found.healthy and fresh and not any(bar.payload["told"]["blocks"] for bar in bars)

    def fault(self, kind: str, how: dict[str, Any]) -> None:
        """Begin one at the exchange."""
        httpx.post(f"{self.settings.feed.url}/demo/faults", json={"kind": kind, **how}, timeout=10).raise_for_status()

    def kill_exchange(self) -> None:
        """Kill -9; later the same command again, on the market's clock."""
        path = Path(f"/proc/{self.exchange}")
        command = path.joinpath("cmdline").read_bytes().decode().split("\0")[:-1]
        folder = path.joinpath("cwd").readlink()
        os.kill(self.exchange, signal.SIGKILL)
        time.sleep(DOWN_S)
        options = [] if "--clock" in command else ["--clock", str(self.state.clock.absolute())]
        self.exchange = subprocess.Popen(
            [*command, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ).pid

    def kill_server(self) -> None:
        """Prefect's, and start it where it was."""
        port = httpx.URL(self.server.url).port or 0
        for pid in self.server.pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(DOWN_S)
        self.server.start(port)

    def broken(self) -> list[str]:
        """Every law that does not hold: chains, days, decisions, orders, positions."""
        found = [f"journal: {verdict.to_text()}" for verdict in verdicts(self.state.journals, "") if not verdict.ok]
        found += [f"{law.__name__.strip('_')}: {text}" for law in JOURNAL_LAWS for text in law(self)]
        bars = self.lane_bars()
        doubted = [r for r in bars if r.payload["entry"] and (r.payload["told"]["blocks"] or r.payload["told"]["posture"] == "HIBERNATE")]
        found += [f"bar {r.payload['bar']} entered in doubt" for r in doubted]
        sent = Counter(record.payload["client_order_id"] for record in self.records(LANE, Kind.ORDER_INTENT))
        found += [f"order {name} was sent {many} times" for name, many in sent.items() if many > 1]
        return found + self.phantoms(bars)

    def phantoms(self, bars: list[Record]) -> list[str]:
        """A position of the venue that the engine does not have, or the reverse."""
        entered = max((record.seq for record in bars if record.payload["entry"]), default=0)
        closed = max((record.seq for record in self.records(LANE, Kind.TRADE)), default=0)
        held = held_of(self.state, self.settings, "BLUE")
        return [] if bool(held) == (entered > closed) else [f"the venue holds {held}, entered at {entered}, closed at {closed}"]


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("state", type=Path)
    parser.add_argument("--exchange", type=int, default=0, help="pid of the demo exchange; 0: it is not killed")
    parser.add_argument("--rows", default="", help="only these, commas between")
    parser.add_argument("--patience", type=float, default=180.0)
    asked = parser.parse_args()
    drill, wanted = Drill(asked.state.absolute(), asked.exchange, asked.patience), asked.rows.split(",") if asked.rows else []
    for kind, how in FAULTS:
        if not wanted or kind in wanted:
            if kind == "delist":
                how = {**how, "symbols": [list(drill.records("scanner", Kind.UNIVERSE))[-1].payload["assets"][-1]]}
            drill.row(f"exchange: {kind} {how.get('offset_ms', '')}".strip(), lambda k=kind, h=how: drill.fault(k, h), how["seconds"])
    for name in KILLED:
        if not wanted or name in wanted:
            drill.row(f"kill -9 {name}", lambda n=name: os.kill(drill.supervisor.processes()[n].pid, signal.SIGKILL), 1.0)
    if drill.exchange and (not wanted or "exchange" in wanted):
        drill.row("kill -9 the exchange, start it again", drill.kill_exchange, 1.0)
    if drill.server.pids and (not wanted or "server" in wanted):
        drill.row("kill -9 Prefect's server, start it again", drill.kill_server, 1.0)
    broken = drill.broken()
    print(f"\n{MATRIX.markdown()}\n\n{len(drill.lane_bars())} bars, {len(drill.trades())} trades; laws: {broken or 'all hold'}")
    return int(bool(broken or drill.lost))


if __name__ == "__main__":
    sys.exit(main())
