"""The skeleton of every process: a service is a few methods on injected clock and ports (``runner``: its turns, ``process``: the process).

``python -m daemons.NAME [--state DIR]``. No threads, no sleeping: a simulation runs all services in one process.
"""

from __future__ import annotations

import logging
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from daemons.clock import Clock
from daemons.outbox import Outbox
from dolphin.config import Settings
from dolphin.grid.maps import LOADING
from dolphin.grid.port import GridPort
from dolphin.storage.journal import Journal
from dolphin.storage.replay import Replay
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert, AlertKind, Alerts, Severity
from dolphin.telemetry.metrics import Metrics

__all__ = ["HEARTBEAT_S", "Context", "Service"]

HEARTBEAT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a service stands on. ``identity``: ``<service>:<host>:<pid>``, the key of its heartbeat."""

    identity: str
    settings: Settings
    state: StateFolder
    clock: Clock
    grid: GridPort
    journal: Journal
    outbox: Outbox
    alerts: Alerts
    metrics: Metrics
    log: logging.Logger
    lane: str = ""
    """Of a trader: which one; empty: the first of the deployment."""
    say: Callable[[str], None] | None = None
    """Where a person watches; None: nobody does."""

    @property
    def replay(self) -> Replay | None:
        """The replay that runs, None when live."""
        return self.clock.replay

    def alert(self, kind: AlertKind, severity: Severity, key: str, text: str) -> None:
        """Tell an operator."""
        self.alerts.send(Alert(kind, severity, key, text, self.clock.wall_ms(), self.identity))


class Service(ABC):
    """One process of the deployment.

    Rules: journal before grid; a step is short, or calls ``self.progress()`` between its parts; ``MissingDependency`` may be raised
    anywhere (the runner tries again, later and later, and the heartbeat goes on), any other ``DolphinError`` ends the process.
    ``start`` is called before the first step, again when it raised ``MissingDependency``.
    """

    name: ClassVar[str]
    lanes: ClassVar[tuple[str, ...]] = ()
    """A service of which each lane has its own process: their names."""
    every_s: float = 1.0
    """Real seconds from the beginning of a step to the next one."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.status = LOADING
        """One word for the heartbeat and `dolphin status`; after the first step at the latest it is another one."""
        self.beat = _nothing

    @classmethod
    def writer(cls, settings: Settings, lane: str = "") -> str:
        """Name of the journal; ``lane``: of a trader."""
        return cls.name

    def start(self) -> None:  # noqa: B027  most services need nothing
        """Take up the thread from the journal."""

    @abstractmethod
    def step(self) -> None:
        """One turn of the work."""

    def stop(self) -> None:  # noqa: B027  most services hold nothing
        """Leave in order: give locks back, write what is in hand. Not called after a crash."""

    def reconnected(self) -> None:  # noqa: B027  what went through the outbox is published again by the runner
        """The grid came back and may be empty: publish what did not go through the outbox."""

    def may_publish(self) -> bool:
        """Whether the outbox may be emptied now: a writer with a lock says whether it holds it."""
        return True

    def progress(self) -> None:
        """Call between the parts of a long step: the heartbeat goes out when it is due."""
        self.beat()


def identity_of(name: str) -> str:
    """``<service>:<host>:<pid>``."""
    return f"{name}:{platform.node() or 'localhost'}:{os.getpid()}"


def _nothing() -> None:
    """Before a runner has taken the service over there is no heartbeat."""
