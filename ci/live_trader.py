"""The trader of a live lane in a process of its own, on the real clock, with a teller for the grid; bars are written by hand.

``python live_trader.py STATE``; settings from the state folder, keys from the environment. One JSON command a line: ``bars`` (how many
quiet ones), ``bar`` (with a vel_div), ``wait`` (seconds), ``stop`` (as by SIGTERM). Answers are JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np

with warnings.catch_warnings():  # a default argument of Nautilus 1.231 is a timedelta that numpy 2.5 finds deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import actors.live_venue  # noqa: F401
from daemon_worlds import FaultyGrid, World
from lane_worlds import Teller

from daemons.clock import RealClock
from daemons.trader import PaperTrader
from dolphin.config import load
from dolphin.errors import DolphinError
from dolphin.lane.scan_log import scan_entry, universe_entry
from dolphin.live.keys import secrets_of
from dolphin.storage.journal import Journal, JournalReader, Kind, journal_path
from dolphin.storage.schema import date_of
from dolphin.storage.state import StateFolder
from dolphin.telemetry.output import RedactedOutput
from dolphin.telemetry.redaction import Redactor
from dolphin.types import ScanBatch

ASSETS = ("BTCUSDT", "ETHUSDT")
BAR_MS = 60_000


class Desk:
    """A world with one live trader."""

    def __init__(self, root: Path) -> None:
        state = StateFolder(root)
        self.world = World(root, settings=load(state.settings, os.environ).settings)
        self.world.clock = RealClock(None)  # type: ignore[assignment]
        self.world.grid = FaultyGrid(self.world.clock.monotonic)
        self.url = self.world.settings.live.url
        self.scanner = Journal.open(journal_path(state.journals, "scanner"), "scanner")
        last = self.scanner.last(Kind.SCAN)
        self.ts = last.ts_ms if last is not None else (self.world.clock.wall_ms() // BAR_MS - 10) * BAR_MS
        if last is None:
            self.scanner.append_many([universe_entry(ASSETS, 60, self.ts)])
        self.world.start(Teller)
        self.turns(1.5)
        self.trader = self.world.start(PaperTrader)

    def turns(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            wait = min(runner.turn() for runner in list(self.world.runners))
            time.sleep(max(0.0, min(wait, 0.05)))

    def bar(self, vel_div: float) -> None:
        prices = {row["symbol"]: float(row["price"]) for row in httpx.get(f"{self.url}/fapi/v1/ticker/price").json()}
        closes = np.array([prices[name] for name in ASSETS])
        self.ts += BAR_MS
        nothing = np.zeros((1, 4))
        batch = ScanBatch(
            vel_div=np.array([vel_div]), lambda_max=nothing, velocity=nothing, instability=np.zeros((1, 2)),
            n_participants=np.zeros((1, 4), dtype=np.int64), path="stream",
        )  # fmt: skip
        self.scanner.append_many([scan_entry((date_of(self.ts - 1), int(self.ts // BAR_MS % 1440)), self.ts, batch, 0, closes, {})])

    def told(self) -> dict[str, Any]:
        with JournalReader(self.trader.context.journal.path) as journal:
            kinds = [record.kind for record in journal.records()]
            events = [[r.payload["client_order_id"], r.payload["event"]] for r in journal.records(Kind.ORDER_EVENT)]
            bars = [
                [r.payload["entry"] is not None, r.payload["exit"] is not None, r.payload["told"]["blocks"]]
                for r in journal.records(Kind.BAR)
            ]
            safe = [[r.payload["engaged"], r.payload["reason"]] for r in journal.records(Kind.SAFE_MODE)]
        position = self.trader.lane.engine.position
        return {
            "status": self.trader.status,
            "kinds": {kind: kinds.count(kind) for kind in set(kinds)},
            "events": events,
            "bars": bars,
            "safe": safe,
            "engine": None if position is None else position.asset,
            "doubt": self.trader.venue.doubt if hasattr(self.trader.venue, "actor") else "not open",
            "alerts": [f"{alert.kind}: {alert.text}" for alert in self.world.told],
            "last": self.ts,
        }


def main() -> None:
    """Until ``stop`` or the end of stdin."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    root = Path(sys.argv[1])
    settings = load(StateFolder(root).settings, os.environ).settings
    output = RedactedOutput(Redactor(os.environ, secrets_of(settings.live.key_file, os.environ)))
    try:
        desk = Desk(root)
        desk.turns(0.5)
        print(json.dumps(desk.told()), file=answers)
    except DolphinError as error:
        print(json.dumps({"error": str(error)}), file=answers)
        sys.exit(error.exit_code)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "stop":
            began = time.monotonic()
            for runner in reversed(desk.world.runners):
                runner.stop()
            print(json.dumps({"stopped_in_s": time.monotonic() - began}), file=answers)
            break
        if what == "bars":
            for _ in range(command["many"]):
                desk.bar(0.0)
        elif what == "bar":
            desk.bar(command["vel_div"])
        desk.turns(command.get("seconds", 1.0))
        print(json.dumps(desk.told()), file=answers)
    output.close()


if __name__ == "__main__":
    main()
