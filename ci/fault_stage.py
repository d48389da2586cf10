"""A deployment for the fault matrix: `dolphin up` in a temporary folder, what is done to its processes, and what it was seen to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from fault_evidence import LANE, Evidence
from fault_ground import FIRST, Ground
from fault_proxy import Proxy
from grid_clusters import free_ports

from dolphin.errors import DataError, MissingDependency, Unavailable
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.maps import NOT_AT_WORK
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.replay import Replay, read_replay
from dolphin.storage.state import StateFolder
from flows.replay import planned_replay
from flows.services import SERVICES, ServiceSpec, member_services
from flows.supervision import Plan, beats_of, down, up
from flows.supervisor import Supervisor

__all__ = ["CI", "DETECTED_S", "SPEED", "Stage"]

SPEED = 1200.0
LEAD_MS = 10 * 3_600_000
"""The market's clock begins so long before the first bar: by then all processes are there, on a busy machine too."""
DETECTED_S = 35.0
"""A lost heartbeat or grid is HIBERNATE after at most so many seconds."""
CI = Path(__file__).resolve().parent
QUIET_S = 5.0
"""A watchdog that has journalled nothing for so long is not the writer: at these speeds it evaluates many times a second."""
HEALTHY = "STALKER"
"""The highest posture of a deployment without order book and DVOL."""


def wall_offset() -> float:
    """Seconds from the monotonic clock to the wall's."""
    return time.time() - time.monotonic()


class Stage(Evidence):
    """One deployment; ``close`` ends it and leaves the folder. ``proxied``: a proxy between the clients and the member."""

    def __init__(self, root: Path, ground: Ground, *, proxied: bool = False, speed: float = SPEED, days: int = 3) -> None:
        root.mkdir(parents=True)
        self.ground = ground
        port = free_ports(2)
        self.proxy = Proxy(port, port + 1) if proxied else None
        member = ServiceSpec("grid", "proxied_member", port=port + 1) if proxied else member_services([port])[0]
        super().__init__(root, ground.settings(root, port))
        replay = planned_replay(ground.klines, FIRST, f"2025-01-0{days}", speed)
        early = msgspec.structs.replace(replay, start_ms=replay.start_ms - int(LEAD_MS * speed / SPEED))
        self.plan = Plan(self.settings, self.state, (member, *SERVICES), early)
        self.supervisor = Supervisor(self.state.root)
        self.twins: list[subprocess.Popen[bytes]] = []
        self._killed: set[int] = set()
        self._closed = False
        self.offset = wall_offset()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="heads", daemon=True)
        up(self.plan, lambda text: None)
        member_grid = msgspec.structs.replace(self.settings.grid, port=member.port)
        self.grid = HazelcastGrid(member_grid if not proxied else self.settings.grid, "faults", wait=False)
        self._watcher.start()

    @property
    def replay(self) -> Replay:
        """As every process reads it."""
        found = read_replay(self.state.replay)
        assert found is not None
        return found

    def pids(self) -> dict[str, int]:
        """By process; those that run."""
        return {name: process.pid for name, process in self.supervisor.processes().items() if process.pid}

    def kill(self, *names: str) -> float:
        """kill -9; the moment."""
        pids = self.pids()
        self._killed |= {pids[name] for name in names}
        return self.signal(signal.SIGKILL, *names)

    def signal(self, number: int, *names: str) -> float:
        """Send a signal to processes of this deployment; the moment."""
        pids, now = self.pids(), time.monotonic()
        for name in names:
            os.kill(pids[name], number)
        return now

    @contextmanager
    def frozen(self, *names: str) -> Iterator[float]:
        """SIGSTOP until the end of the block."""
        pids = self.pids()
        began = self.signal(signal.SIGSTOP, *names)
        try:
            yield began
        finally:
            for name in names:
                with suppress(ProcessLookupError):
                    os.kill(pids[name], signal.SIGCONT)

    def twin(self, service: str, folder: str = "twin") -> subprocess.Popen[bytes]:
        """The same service once more, with a state folder of its own (or ``folder="state"``: the deployment's)."""
        state = StateFolder(self.root / folder).made()
        if state.root != self.state.root:
            state.settings.write_bytes(self.state.settings.read_bytes())
            state.replay.write_bytes(self.state.replay.read_bytes())
        environ = os.environ | {"NUMBA_CACHE_DIR": str(state.compiled / service)}
        with (self.root / f"{folder}-{service}.log").open("ab") as log:
            command = [sys.executable, "-m", f"daemons.{service}", "--state", str(state.root)]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=self.root)
        self.twins.append(process)
        return process

    def postures(self, since: float = 0.0) -> list[tuple[float, str]]:
        """(monotonic, posture) as the watchdog journalled them."""
        found = [(r.ts_ms / 1000.0 - self.offset, r.payload["posture"]) for r in self.newest("system_watchdog", Kind.POSTURE, 2000)]
        return [(moment, posture) for moment, posture in found if moment >= since]

    def bar(self) -> int:
        """Bars that the lane has processed."""
        found = self.newest(LANE, Kind.BAR, 1)
        return (int(found[0].payload["date"][-2:]) - 1) * 1440 + found[0].payload["bar"] + 1 if found else 0

    def healthy(self) -> bool:
        """Whether every process runs and is heard of."""
        try:
            pids, beats = self.pids(), beats_of(self.grid)
        except (MissingDependency, Unavailable):
            return False
        now = time.time() * 1000.0
        return (
            len(pids) == len(self.plan.services)
            and not self._killed & set(pids.values())
            and all(
                name == "grid" or (pid in beats and beats[pid][1] not in NOT_AT_WORK and now - beats[pid][2] < 12_000)
                for name, pid in pids.items()
            )
        )

    def recovered(self) -> bool:
        """Whether our watchdog writes, its newest posture is as high as it can be, and everybody is there."""
        found = self.postures(time.monotonic() - QUIET_S)
        return bool(found) and found[-1][1] == HEALTHY and self.healthy()

    def fresh(self) -> bool:
        """Whether forewarner and breaker have spoken in the last 10 s; their word is worth 6 hours on the market."""
        found = self.newest("mc_forewarner", Kind.MC_FOREWARNER, 1) + self.newest("acb_processor", Kind.ACB_BOOST, 1)
        return len(found) == 2 and time.time() * 1000.0 - min(record.ts_ms for record in found) < 10_000.0

    def hibernates(self, since: float) -> float:
        """The moment of the first HIBERNATE since then; inf after ``DETECTED_S`` and some more."""
        found = self.wait(lambda: [t for t, posture in self.postures(since) if posture == "HIBERNATE"], DETECTED_S + 5.0)
        return found[0] if found else float("inf")

    def recovers(self, seconds: float = 45.0) -> float:
        """Seconds until recovered; inf when it does not."""
        began = time.monotonic()
        return time.monotonic() - began if self.wait(self.recovered, seconds) else float("inf")

    @staticmethod
    def wait[T](found: Callable[[], T], seconds: float) -> T:
        """The first true answer; the last one when the time is up."""
        until = time.monotonic() + seconds
        while not (answer := found()) and time.monotonic() < until:
            time.sleep(0.2)
        return answer

    def ended(self) -> bool:
        """Whether the lane has done every day of the replay."""
        return len(self.records(LANE, Kind.DAY_RESULT)) == int(self.replay.last_date[-2:])

    def close(self) -> list[int]:
        """`dolphin down`; the pids that it had to find by their mark."""
        if self._closed:
            return []
        self._closed = True
        self._over.set()
        for process in self.twins:
            if process.poll() is None:
                process.kill()
            process.wait(10)
        try:
            return down(self.state, self.settings)
        finally:
            self.grid.close()
            if self._watcher.is_alive():
                self._watcher.join(5.0)
            if self.proxy is not None:
                self.proxy.close()

    def _watch(self) -> None:
        path = journal_path(self.state.journals, LANE)
        reader: Any = None
        while not self._over.wait(0.2):
            with suppress(DataError, Unavailable):
                reader = reader or JournalReader(path)
                self.heads.append((time.monotonic(), reader.head()[0]))
        if reader is not None:
            reader.close()
