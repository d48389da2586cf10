"""Real processes of services, started and ended by their own pid, on a state folder and a cluster of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from grid_clusters import Cluster

from dolphin.config import PathsConfig, Settings, to_toml
from dolphin.deployment import ServicesConfig
from dolphin.storage.state import StateFolder

__all__ = ["Deployment", "wait_for"]

CHECKOUT = Path(__file__).resolve().parent.parent


class Deployment:
    """A state folder with settings for ``cluster``, and its processes."""

    def __init__(self, root: Path, cluster: Cluster, required: str = "acb_processor") -> None:
        self.state = StateFolder(root).made()
        config = msgspec.structs.replace(cluster.config, connect_timeout_s=5.0, call_timeout_s=2.0)
        paths = PathsConfig(days=str(root / "days"))
        settings = Settings(grid=config, services=ServicesConfig(required=required), paths=paths)
        self.state.settings.write_text(to_toml(settings), encoding="utf-8")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, service: str, *, code: str = "") -> subprocess.Popen[bytes]:
        """``python -m daemons.<service>``, or Python code that is given the state folder."""
        command = [sys.executable, *(["-c", code] if code else ["-m", f"daemons.{service}"]), "--state", str(self.state.root)]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DOLPHIN__")}
        environ |= {
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), environ.get("PYTHONPATH", "")]),
            "NUMBA_CACHE_DIR": str(self.state.compiled / service),
        }
        log = (self.state.root / f"{service}.log").open("ab")
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=self.state.root)
        self.processes.append(process)
        return process

    def facts(self, service: str) -> dict[str, Any]:
        """What a process says of itself."""
        return json.loads((self.state.processes / f"{service}.json").read_text())

    def log(self, service: str) -> list[dict[str, Any]]:
        """Its lines on stderr; each is a JSON object."""
        return [json.loads(line) for line in (self.state.root / f"{service}.log").read_text().splitlines()]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)


def wait_for[T](found: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true answer; the last one when the time is up."""
    end = time.monotonic() + seconds
    while not (answer := found()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer
