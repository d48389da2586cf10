"""Deployments in one process: services on a virtual clock, one embedded grid that can go away, and folders of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemons.clock import VirtualClock
from daemons.outbox import Outbox
from daemons.process import process_name
from daemons.runner import Runner
from daemons.service import Context, Service
from dolphin.config import Settings
from dolphin.errors import MissingDependency
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.storage.journal import Journal, journal_path
from dolphin.storage.replay import Replay
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert, Alerts
from dolphin.telemetry.metrics import Metrics

START_MS = 1_735_689_600_000
"""2025-01-01 00:00 UTC."""


class FaultyGrid(EmbeddedGrid):
    """``away``: every call fails, as when no member answers. ``wipe``: a member came back empty."""

    away = False

    @property
    def members(self) -> int:
        return 0 if self.away else super().members

    def _live(self, name: str) -> dict[str, str]:
        if self.away:
            raise MissingDependency("the grid is away")
        return super()._live(name)

    def wipe(self) -> None:
        self._maps.clear()
        self._until.clear()

    def plant(self, name: str, key: str, text: str) -> None:
        """Put a text there past every check."""
        self._maps[name][key] = text


class Told(Alerts):
    """Keeps every alert of a world instead of sending it."""

    def __init__(self, told: list[Alert]) -> None:
        super().__init__([], str, lambda: 0.0)
        self._all = told

    def send(self, alert: Alert) -> None:
        self._all.append(alert)


@dataclass
class World:
    """One machine: ``clock``, ``grid`` and processes. ``replay`` None: market time is the wall's."""

    root: Path
    settings: Settings = field(default_factory=Settings)
    replay: Replay | None = None
    start_ms: int = START_MS

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.start_ms, self.replay)
        self.grid = FaultyGrid(self.clock.monotonic)
        self.state = StateFolder(self.root).made()
        self.runners: list[Runner] = []
        self.told: list[Alert] = []
        self._pids = iter(range(1, 10_000))

    def context(self, kind: type[Service], state: StateFolder | None = None, lane: str = "") -> Context:
        state, identity = (state or self.state).made(), f"{process_name(kind, lane)}:here:{next(self._pids)}"
        writer = kind.writer(self.settings, lane)
        journal = Journal.open(journal_path(state.journals, writer), writer)
        return Context(
            identity=identity, settings=self.settings, state=state, clock=self.clock, grid=self.grid, journal=journal,
            outbox=Outbox(journal, self.grid), alerts=Told(self.told), metrics=Metrics(self.clock.monotonic),
            log=logging.getLogger(identity), lane=lane,
        )  # fmt: skip

    def start(self, kind: type[Service], state: StateFolder | None = None, lane: str = "") -> Any:
        """A new process of ``kind``; the service."""
        service = kind(self.context(kind, state, lane))
        self.runners.append(Runner(service))
        return service

    def end(self, service: Service, *, killed: bool = False) -> None:
        """Stop a process in order, or as by kill -9."""
        runner = next(r for r in self.runners if r.service is service)
        self.runners.remove(runner)
        if not killed:
            runner.stop()
        service.context.journal.close()

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> float:
        """Let time pass in the steps in which something is due; seconds that passed (fewer when ``until`` became true)."""
        began = self.clock.monotonic()
        end = began + seconds
        while self.clock.monotonic() < end:
            waits = [runner.turn() for runner in list(self.runners)]
            if until is not None and until():
                break
            self.clock.advance(max(0.001, min([*waits, end - self.clock.monotonic()])))
        return self.clock.monotonic() - began

    def close(self) -> None:
        for runner in self.runners:
            runner.service.context.journal.close()
