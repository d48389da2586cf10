"""A deployment for the dashboard's tests: real journals and an embedded grid, said what a test wants, and the page's server on it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from daemon_worlds import FaultyGrid

from dolphin.config import Settings
from dolphin.grid.maps import (
    CONTROL,
    FEATURES,
    HEARTBEAT,
    SAFETY,
    AcbBoost,
    Forewarning,
    Heartbeat,
    Kill,
    LaneState,
    ObMacro,
    PostureRecord,
    Scan,
    fields,
)  # fmt: skip
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.schema import date_of
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert
from dolphin.telemetry.redaction import Redactor
from flows.dashboard.access import Token
from flows.dashboard.follow import cleaner
from flows.dashboard.reader import Clocks, SnapshotReader
from flows.dashboard.server import Site, application
from flows.dashboard.snapshot import Snapshot

__all__ = ["MINUTE", "SECRET", "Served", "Stage"]

MINUTE = 60_000
SECRET = "s3cr3t-value-nobody-may-see"
ASSETS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
POSTURES = {"APEX": 0.95, "STALKER": 0.8, "TURTLE": 0.6, "HIBERNATE": 0.2}


@dataclass
class Stage:
    """``wall_ms`` None: the machine's clock; else a clock that stands until the test moves it."""

    root: Path
    settings: Settings = field(default_factory=Settings)
    wall_ms: int | None = None

    def __post_init__(self) -> None:
        self.state = StateFolder(self.root).made()
        self.clocks = Clocks() if self.wall_ms is None else Clocks(lambda: self.wall_ms / 1000.0, lambda: self.wall_ms)
        self.grid = FaultyGrid(self.clocks.monotonic)
        self.clean = cleaner(Redactor({"EXCHANGE_API_KEY": SECRET}))
        self.reader = SnapshotReader(self.state, self.settings, self.clean, self.clocks, lambda _: self.grid)
        self._seq = 0
        self._journals: dict[str, Journal] = {}
        self.market_ms = self.now() // MINUTE * MINUTE - 100 * MINUTE
        self.bar_number = 0
        self.date = date_of(self.market_ms)
        """Of the bars, also behind a midnight that passes while a test runs."""

    def now(self) -> int:
        return self.clocks.wall_ms()

    def read(self) -> Snapshot:
        return self.reader.read(kill_offered=True)

    def write(self, writer: str, *entries: Entry) -> None:
        if writer not in self._journals:
            self._journals[writer] = Journal.open(journal_path(self.state.journals, writer), writer)
        self._journals[writer].append_many(entries)

    def stop_writing(self) -> None:
        """The writers go; the next ``write`` starts one anew."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def put(self, name: str, key: str, record: Any) -> None:
        self.grid.put(name, key, fields(record))

    def say_posture(self, posture: str, *reasons: str, **changes: Any) -> None:
        """The watchdog says it: to its journal and to the grid."""
        self._seq += 1
        ones = dict.fromkeys(("cat1", "cat2", "cat3", "cat4", "cat5"), 1.0)
        values = {"posture": posture, "rm": POSTURES[posture], "target": 0.97, **ones, "reasons": reasons, **changes}
        record = PostureRecord(**values, ts_ms=self.now(), seq=self._seq)
        self.write("system_watchdog", Entry(Kind.POSTURE, fields(record), self.now()))
        self.put(SAFETY, "latest", record)

    def say_all(self) -> None:
        """Everybody else is well."""
        now, date = self.now(), date_of(self.now())
        self.put(FEATURES, "acb_boost", AcbBoost(ts_ms=now, boost=1.2, beta=0.2, signals=1.0, factors={}, w750_vel=None, date=date))
        told = {"catastrophic_probability": 0.02, "envelope_score": 1.5, "date": date, "model_hash": "x"}
        self.put(FEATURES, "mc_forewarner", Forewarning(ts_ms=now, status="OK", **told))
        nothing = dict.fromkeys(("cascade_count", "regime_signal", "market_imbalance", "market_agreement"))
        self.put(FEATURES, "ob_macro", ObMacro(ts_ms=now, n_assets=3, n_stale=0, depth_quality=0.9, fill_probability=0.6, **nothing))
        lists = {"lambda_max": [], "velocity": [], "instability": [], "n_participants": []}
        self.put(FEATURES, "scan_latest", Scan(ts_ms=now, close_ms=now, seq=1, date=date, bar=1, vel_div=0.01, **lists))
        self.put(CONTROL, "kill", Kill(engaged=False, reason="", by="watchdog", ts_ms=now))
        self.say_lane()

    def say_lane(self, **changes: Any) -> None:
        values = {"equity": 25_100.0, "peak": 25_200.0, "date": date_of(self.now()), "bar": 5} | changes
        self.put(FEATURES, "lane_BLUE", LaneState(ts_ms=self.now(), **values))

    def beat(self, service: str, pid: int, status: str = "running", age_s: float = 0.0) -> None:
        self.put(HEARTBEAT, f"{service}:here:{pid}", Heartbeat(seq=1, ts_ms=self.now() - round(age_s * 1000), status=status))

    def universe(self, assets: list[str] = ASSETS) -> None:
        self.write("scanner", Entry(Kind.UNIVERSE, {"assets": assets, "bar_seconds": 60}, self.market_ms))

    def scan(self, *closes: float | None, skip: int = 0) -> None:
        """The next bar, ``skip`` bars later than it should be."""
        self.market_ms += MINUTE * (1 + skip)
        self.bar_number += 1
        lists = {"lambda_max": [], "velocity": [], "instability": [], "n_participants": []}
        payload = {"date": self.date, "bar": self.bar_number, "vel_div": 0.01, **lists, "closes": list(closes)}
        self.write("scanner", Entry(Kind.SCAN, payload, self.market_ms))

    def bar(self, equity: float = 25_000.0, lane: str = "blue", **changes: Any) -> None:
        """The lane's decision on the newest bar."""
        values = {
            "date": self.date, "bar": self.bar_number, "vel_div": 0.01, "posture": "APEX", "boost": 1.0, "beta": 0.2,
            "entry": None, "exit": None, "refusals": ["NO_SIGNAL"], "equity": equity, "peak": 25_200.0,
            "told": {"posture": "APEX", "blocks": []},
        }  # fmt: skip
        self.write(f"trader_{lane}", Entry(Kind.BAR, values | changes, self.market_ms))

    def entry(self, asset: str = "SOLUSDT", price: float = 100.0, **changes: Any) -> dict[str, Any]:
        found = {"asset": asset, "direction": -1, "entry_ts": self.market_ms, "entry_price": price, "notional": 5_000.0, "leverage": 2.0}
        return found | changes

    def trade(self, lane: str = "blue", **changes: Any) -> None:
        """The position closes."""
        words = {
            "date": self.date,
            "asset": "SOLUSDT",
            "reason": "FIXED_TP",
            "dc": "NEUTRAL",
            "mc_status": "OK",
            "posture": "APEX",
        }
        numbers = dict.fromkeys(
            (
                "trade_id",
                "entry_bar",
                "exit_bar",
                "bucket",
                "vel_div",
                "strength",
                "confidence",
                "irp_alignment",
                "ars",
                "gross_pnl",
                "fees",
            ),
            0,
        )
        values = {
            "direction": -1, "entry_ts": self.market_ms - 10 * MINUTE, "exit_ts": self.market_ms, "entry_price": 100.0, "exit_price": 99.0,
            "notional": 5_000.0, "leverage": 2.0, "fraction": 0.1, "bars_held": 10, "net_pnl": 48.0, "capital_after": 25_048.0,
            "honest_ret": 0.008, "honest_capital_after": 25_040.0, "boost": 1.0, "beta": 0.2,
        }  # fmt: skip
        self.write(f"trader_{lane}", Entry(Kind.TRADE, numbers | words | values | changes, self.market_ms))

    def log(self, name: str, *lines: str) -> None:
        with (self.state.logs / f"{name}.log").open("a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)

    def well(self) -> Stage:
        """A deployment in which a trade was made and a position is open; no supervisor."""
        self.say_posture("STALKER", "recovering towards 0.970", rm=0.8)
        self.say_all()
        self.universe()
        for k in range(30):
            self.scan(60_000.0, 3_000.0, 100.0 - k / 10)
            if k == 15:
                self.trade()
            self.bar(25_000.0 + 4 * k, **({"entry": self.entry()} if k == 20 else {}))
        return self

    def close(self) -> None:
        self.stop_writing()
        self.reader.close()


class Served:
    """The server of a stage on a free port, on a thread of its own."""

    def __init__(self, stage: Stage, *, offer_kill: bool = True, port: int = 0) -> None:
        self.stage, self.told = stage, list[Alert]()
        self.token = Token(stage.state.dashboard_token) if offer_kill else None
        self._site = Site(stage.state, stage.reader, self.token, self.told.append, stage.clean, stage.clocks)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(10.0)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10.0)
            self._loop.close()
            self.stage.close()
            if self.token is not None:
                self.token.forget()

    async def _serve(self) -> None:
        runner = web.AppRunner(application(self._site), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        self._up.set()
        await self._stop.wait()
        await runner.cleanup()


def wait_until(question: Any, seconds: float = 10.0) -> None:
    """Ask until it is so."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)
