"""A lane on a real member and a real Prefect server, in temporary folders: what an operator has when he runs a deployment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from grid_clusters import free_ports
from lane_worlds import BETA, BOOST, replay_of, settings_of, warning

from dolphin.config import Settings
from dolphin.deployment import GridConfig, PaperConfig
from dolphin.errors import MalformedFile
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Kill, PostureRecord, fields
from dolphin.storage.journal import JournalReader, Kind, Record, journal_path
from dolphin.storage.replay import read_replay, write_replay
from dolphin.storage.state import StateFolder
from dolphin.types import Posture
from flows.paper_watch import held_of
from flows.processes import ours
from flows.services import SERVICES, member_services
from flows.supervision import Plan, down, up
from flows.supervisor import Supervisor

__all__ = ["DATE", "PrefectStage"]

CHECKOUT = Path(__file__).resolve().parent.parent
DATE = "2025-01-02"


class PrefectStage:
    """``serve`` starts Prefect, ``deploy`` the lane's processes; ``close`` ends all of it."""

    def __init__(self, root: Path, market: Path, speed: float, on_stop: str) -> None:
        port = free_ports(1)
        grid = GridConfig(kind="hazelcast", cluster=f"flows-{uuid.uuid4().hex[:8]}", port=port)
        self.settings: Settings = msgspec.structs.replace(settings_of(), grid=grid, paper=PaperConfig(on_stop=on_stop))
        self.state, self.supervisor = StateFolder(root / "state"), Supervisor(root / "state")
        wanted = (*member_services([port]), *(spec for spec in SERVICES if spec.name in ("scanner", "trader")))
        self.plan = Plan(self.settings, self.state, wanted, replay_of(market, DATE, DATE, speed))
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("DOLPHIN__", "PREFECT_"))}
        self.environ |= {"DOLPHIN__PATHS__STATE": str(self.state.root), "DOLPHIN__PATHS__CACHE": str(root / "cache")}
        self.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
        self.root, self.api, self.grid = root, "", None
        # the least that Prefect takes: runs renew their leases while a test looks
        (root / "prefect.toml").write_text("[server.concurrency]\ninitial_deployment_lease_duration = 30\n")
        self.server: subprocess.Popen[bytes] | None = None
        self.serving: list[subprocess.Popen[bytes]] = []

    def dolphin(self, *words: str, seconds: float = 200.0) -> subprocess.CompletedProcess[str]:
        return self._run("flows.cli", *words, seconds=seconds)

    def prefect(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The `prefect` command of an operator who has exported PREFECT_API_URL."""
        return self._run("prefect", "--no-prompt", *words)

    def start_server(self, port: int = 0) -> None:
        port = port or free_ports(1)
        done = self.dolphin("flows", "server", "start", "--port", str(port))
        assert done.returncode == 0, done.stderr
        self.api = f"http://127.0.0.1:{port}/api"
        self.environ |= {"PREFECT_API_URL": self.api, "PREFECT_HOME": str(self.state.root / "prefect"), "DO_NOT_TRACK": "1"}

    def serve(self) -> subprocess.Popen[bytes]:
        """`dolphin flows serve`, registered."""
        path = self.root / f"serve-{len(self.serving)}.log"
        with path.open("wb") as log:
            command = [sys.executable, "-m", "flows.cli", "flows", "serve"]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environ, cwd=self.root)
        self.serving.append(process)
        assert self.until(lambda: "are being served" in path.read_text() and self.ready("paper-trade", "blue"), 180), path.read_text()
        return process

    def ready(self, flow: str, name: str) -> bool:
        found = httpx.get(f"{self.api}/deployments/name/{flow}/{name}", timeout=10)
        return found.status_code == 200 and found.json()["status"] == "READY" and not found.json()["paused"]

    def deploy(self) -> None:
        """Member and scanner run; the lane waits for a session. The replay begins now."""
        up(self.plan, lambda text: None)
        self.supervisor.stop("trader")
        self.until(lambda: self.pid() == 0, 15)
        self.grid = HazelcastGrid(self.settings.grid, "stage", wait=True)

    def midnight(self) -> None:
        """The market's clock is a day later for whoever starts from now on."""
        replay = read_replay(self.state.replay)
        assert replay is not None
        write_replay(self.state.replay, msgspec.structs.replace(replay, started_monotonic=replay.started_monotonic - 86_400 / replay.speed))

    def all_clear(self) -> None:
        """What the other services would say, now."""
        wall, ones = time.time_ns() // 1_000_000, {f"cat{i}": 1.0 for i in range(1, 6)}
        assert self.grid is not None
        posture = PostureRecord(posture=Posture.APEX, rm=1.0, target=1.0, reasons=(), ts_ms=wall, seq=wall, **ones)
        boost = AcbBoost(ts_ms=wall, boost=BOOST, beta=BETA, signals=1.0, factors={}, w750_vel=None, date=DATE)
        self.grid.put(SAFETY, "latest", fields(posture))
        self.grid.put(FEATURES, "acb_boost", fields(boost))
        self.grid.put(FEATURES, "mc_forewarner", fields(warning(wall, DATE)))
        self.grid.put(CONTROL, "kill", fields(Kill(engaged=False, reason="", by="test", ts_ms=wall)))

    def until[T](self, found: Callable[[], T], seconds: float) -> T:
        """The first true answer; the last one when the time is up. The lane is told meanwhile that all is well."""
        end, told = time.monotonic() + seconds, 0.0
        while not (answer := found()) and time.monotonic() < end:
            if self.grid is not None and time.monotonic() - told > 1.0:
                self.all_clear()
                told = time.monotonic()
            time.sleep(0.1)
        return answer

    def run(self, name: str = "blue", **parameters: Any) -> str:
        """A run through the API; its id."""
        found = httpx.get(f"{self.api}/deployments/name/paper-trade/{name}", timeout=10).json()
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = httpx.post(f"{self.api}/deployments/{found['id']}/create_flow_run", json=body, timeout=10)
        return str(made.raise_for_status().json()["id"])

    def run_state(self, run: str) -> str:
        return str(httpx.get(f"{self.api}/flow_runs/{run}", timeout=10).json()["state_type"])

    def artifact(self, key: str) -> Any:
        """Newest version of an artifact, None without one."""
        found = httpx.get(f"{self.api}/artifacts/{key}/latest", timeout=10)
        return found.json() if found.status_code == 200 else None

    def held(self) -> dict[str, float]:
        """What the lane's venue holds."""
        return held_of(self.state, self.settings, "BLUE")

    def pid(self) -> int:
        return self.supervisor.processes()["trader"].pid

    def records(self, kind: Kind) -> list[Record]:
        try:
            with JournalReader(journal_path(self.state.journals, "trader_blue")) as journal:
                return list(journal.records(kind))
        except MalformedFile:  # not there, or being made
            return []

    def bars(self) -> int:
        return len(self.records(Kind.BAR))

    def close(self) -> None:
        for process in self.serving:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        if self.grid is not None:
            self.grid.close()
        down(self.state, self.settings)
        self.dolphin("flows", "server", "stop")
        assert ours(self.state.root) == []
        assert ours(self.state.root / "prefect") == []

    def _run(self, module: str, *words: str, seconds: float = 100.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(command, env=self.environ, cwd=self.root, capture_output=True, text=True, timeout=seconds, check=False)
