"""Prefect's own server on this machine: loopback only, SQLite in the state folder, no telemetry; found by its mark, ended by its pid."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from dolphin.deployment import SupervisionConfig
from dolphin.errors import MissingDependency, Unavailable
from dolphin.grid.process import taken
from dolphin.storage.publish import publish
from dolphin.storage.state import StateFolder
from flows.deployments.catalogue import DEPLOYMENTS
from flows.processes import end, marked, ours

__all__ = ["API_VARIABLE", "PrefectServer", "cancelling_for", "deployment_rows"]

API_VARIABLE: Final = "PREFECT_API_URL"
START_S: Final = 180.0
"""The first start makes the database: 15 to 25 s on an idle machine."""
GAP_S: Final = 0.2
LEASES: Final = "prefect.server.concurrency.lease_storage.filesystem"
"""Files, where the default is the server's memory: it ends a run whose lease (5 min) it does not know after its restart."""


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """The server of a state folder, running or not."""

    state: StateFolder

    @property
    def folder(self) -> Path:
        """PREFECT_HOME: database, log, profiles."""
        return self.state.root / "prefect"

    @property
    def url(self) -> str:
        """Its API; empty when it was never started."""
        try:
            return f"http://127.0.0.1:{int(json.loads(self._facts.read_bytes())['port'])}/api"
        except (OSError, ValueError, TypeError, KeyError):
            return ""

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return ours(self.folder)

    @property
    def answers(self) -> bool:
        """Whether it is healthy."""
        return bool(self.url) and _get(f"{self.url}/health") is True

    def environment(self) -> dict[str, str]:
        """What every Prefect process of this deployment is given: server, clients, runs."""
        off = ("SERVER_ANALYTICS_ENABLED", "CLOUD_ENABLE_ORCHESTRATION_TELEMETRY", "SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "CLI_PROMPT")
        return {
            "PREFECT_HOME": str(self.folder.resolve()),
            API_VARIABLE: self.url,
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            **{f"PREFECT_{name}": "false" for name in off},
        }

    def start(self, port: int) -> bool:
        """Return when it answers; whether it had to be started. Raises ``Unavailable``, or ``MissingDependency`` without Prefect."""
        if self.pids and self.answers:
            return False
        end(self.folder, float(SupervisionConfig().stop_timeout_s))
        if taken(port):
            raise Unavailable(f"127.0.0.1:{port} is taken, and not by this deployment's Prefect server: --port N")
        self.folder.mkdir(parents=True, exist_ok=True)
        with publish(self._facts, durable=False) as temporary:
            temporary.write_text(json.dumps({"port": port}), encoding="utf-8")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        log = self.folder / "server.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=environ | self.environment() | marked(self.folder),
            )  # fmt: skip
        started = False
        try:
            started = self._await(child, log)
        finally:
            if not started:
                self.stop()
        return started

    def stop(self) -> list[int]:
        """End it; the pids that were ended."""
        return end(self.folder, float(SupervisionConfig().stop_timeout_s))

    @property
    def _facts(self) -> Path:
        return self.folder / "server.json"

    def _await(self, child: subprocess.Popen[bytes], log: Path) -> bool:
        until = time.monotonic() + START_S
        while not self.answers:
            if child.poll() is not None:
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                if words and "No module named prefect" in words[0]:
                    raise MissingDependency("Prefect is not installed: pip install 'dolphin-nautilus[flows]'")
                raise Unavailable(f"the Prefect server ended with exit code {child.returncode}: {' '.join(words)} ({log})")
            if time.monotonic() > until:
                raise Unavailable(f"the Prefect server does not answer after {START_S:g} s ({log})")
            time.sleep(GAP_S)
        return True


def deployment_rows(url: str) -> list[dict[str, Any]]:
    """The deployments with their schedules; from the server at ``url``, when it answers, also what it knows of each."""
    there = {row["full_name"]: row for row in _registered(url)} if url else {}
    rows = []
    for deployment in DEPLOYMENTS:
        found = there.get(deployment.full_name, {})
        schedule = next(iter(found.get("schedules", [])), {})
        rows.append(
            {
                "name": deployment.full_name,
                "cron": deployment.cron,
                "timezone": "UTC",
                "tags": deployment.tags,
                "parameters": dict(deployment.parameters),
                "scheduled": schedule.get("active", deployment.active) and not found.get("paused", False),
                "registered": bool(found),
                "ready": found.get("status") == "READY",
                "last_run": found.get("last_run"),
                "next_run": found.get("next_run"),
            }
        )
    return rows


def cancelling_for(url: str, run: str) -> float:
    """Seconds since a run was asked to end, 0 when it was not or nobody answers."""
    state = (_get(f"{url}/flow_runs/{run}") or {}).get("state") or {}
    if state.get("type") != "CANCELLING":
        return 0.0
    return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(state["timestamp"])).total_seconds()


def _registered(url: str) -> list[dict[str, Any]]:
    """Registered deployments, each with its newest run's state and its next run's time."""
    found = _post(f"{url}/deployments/filter", {}) or []
    flows = {flow["id"]: flow["name"] for flow in _post(f"{url}/flows/filter", {}) or []}
    for row in found:
        row["full_name"] = f"{flows.get(row['flow_id'], '')}/{row['name']}"
        row["last_run"] = _run(url, row["id"], {"start_time": {"is_null_": False}}, "START_TIME_DESC").get("state_name", "").upper() or None
        due = _run(url, row["id"], {"state": {"type": {"any_": ["SCHEDULED"]}}}, "NEXT_SCHEDULED_START_TIME_ASC")
        row["next_run"] = due.get("expected_start_time")
    return found


def _run(url: str, deployment: str, which: dict[str, Any], order: str) -> dict[str, Any]:
    """The first run of a deployment in this order, empty when there is none."""
    asked = {"flow_runs": {"deployment_id": {"any_": [deployment]}, **which}, "sort": order, "limit": 1}
    return next(iter(_post(f"{url}/flow_runs/filter", asked) or []), {})


def _get(url: str) -> Any:
    return _json("GET", url, None)


def _post(url: str, body: dict[str, Any]) -> Any:
    return _json("POST", url, body)


def _json(method: str, url: str, body: dict[str, Any] | None) -> Any:
    """The answer; None when there is none."""
    try:
        answer = httpx.request(method, url, json=body, timeout=5.0, trust_env=False)
        return answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None
