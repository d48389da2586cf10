"""Hears supervisord's events: ``python -m flows.supervisor_events --state DIR``, started by supervisord itself.

A restart is counted (``restarts.json``, ``dolphin_restarts_total``); a process that supervisord gave up is a crash loop: an alert.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from supervisor.childutils import get_headers, listener

from dolphin.config import load
from dolphin.storage.publish import publish
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert, AlertKind, Alerts, Severity
from dolphin.telemetry.metrics import Metrics
from dolphin.telemetry.redaction import Redactor
from dolphin.telemetry.sinks import sinks_of
from flows.scrape import write_targets
from flows.supervisor import EVENTS

__all__ = ["Restarts", "main", "restarts"]


class Restarts:
    """Counts restarts and tells crash loops, event by event. ``now_ms``: UTC milliseconds."""

    def __init__(self, state: StateFolder, tell: Callable[[Alert], None], now_ms: Callable[[], int]) -> None:
        self._path, self._tell, self._now_ms = state.restarts, tell, now_ms
        self._counts, self._fatal = Counter(restarts(state)), set[str]()

    def hear(self, event: str, data: Mapping[str, str]) -> str:
        """Take an event with its data (processname, from_state); returns the name of the process that it restarts, or nothing."""
        name, before = data.get("processname", ""), data.get("from_state", "")
        if event == "PROCESS_STATE_STARTING" and before in ("BACKOFF", "EXITED"):
            self._counts[name] += 1
            with publish(self._path, durable=False) as temporary:
                temporary.write_text(json.dumps(self._counts), encoding="utf-8")
            return name
        if event == "PROCESS_STATE_FATAL":
            self._fatal.add(name)
            self._alert(
                AlertKind.CRASH_LOOP, Severity.CRITICAL, name, f"{name} keeps crashing and is not restarted any more: `dolphin logs {name}`"
            )
        if event == "PROCESS_STATE_RUNNING" and name in self._fatal:
            self._fatal.remove(name)
            self._alert(AlertKind.RECOVERED, Severity.INFO, name, f"{name} runs again")
        return ""

    def _alert(self, kind: AlertKind, severity: Severity, name: str, text: str) -> None:
        self._tell(Alert(kind, severity, name, text, self._now_ms(), "supervisor"))


def restarts(state: StateFolder) -> dict[str, int]:
    """Restarts by process since `dolphin up`."""
    try:
        return dict(json.loads(state.restarts.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def main() -> None:
    """Answer supervisord's events until it closes the pipe or ends us."""
    parser = argparse.ArgumentParser(prog="python -m flows.supervisor_events")
    parser.add_argument("--state", type=Path, required=True, help="folder of the deployment's state")
    state = StateFolder(parser.parse_args().state.absolute())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = load(state.settings, {}).settings.alerts
    metrics = Metrics(time.monotonic)
    alerts = Alerts(
        sinks_of(config, os.environ), Redactor(os.environ), time.monotonic,
        window_s=config.window_s, queue=config.queue, count=metrics.alert,
    )  # fmt: skip
    with closing(metrics.serve()) as endpoint, closing(alerts):
        facts = {"pid": os.getpid(), "metrics_port": endpoint.port}
        (state.processes / f"{EVENTS}.json").write_text(json.dumps(facts), encoding="utf-8")
        _listen(Restarts(state, alerts.send, lambda: time.time_ns() // 1_000_000), state, metrics, alerts)


def _listen(heard: Restarts, state: StateFolder, metrics: Metrics, alerts: Alerts) -> None:
    while True:
        try:
            headers, payload = listener.wait(sys.stdin, sys.stdout)
        except KeyError:  # the library's way to say that the pipe is closed
            return
        name = heard.hear(headers["eventname"], get_headers(payload.partition("\n")[0]))
        if name:
            metrics.restarted(name)
        alerts.tick()
        write_targets(state)
        listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
