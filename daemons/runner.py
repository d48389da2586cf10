"""Turns of a service: step when due, heartbeat, outbox, back-off. A real process and a simulation both call ``turn``."""

from __future__ import annotations

import math
from typing import Final

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential, wait_random

from daemons.service import HEARTBEAT_S, Service
from dolphin.errors import Fenced, MissingDependency
from dolphin.grid.maps import HEARTBEAT, LOADING, RUNNING, STOPPED, Heartbeat, fields
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["HEARTBEAT_TTL_S", "Runner"]

HEARTBEAT_TTL_S: Final = 600.0
"""The record of a process that is gone stays so long: its age is what tells."""

SEEK_S: Final = 10.0
"""A starting process seeks the grid so long before it tells an operator and goes on without."""
SEEK_GAP_S: Final = 0.25

_BACK_OFF: Final = wait_exponential(multiplier=0.25, max=5.0) + wait_random(0, 0.5)


class Runner:
    """Runs ``service`` turn by turn; nothing here sleeps."""

    def __init__(self, service: Service) -> None:
        self.service, self.context = service, service.context
        self._due = self._beat_due = -math.inf
        self._born = self.context.clock.monotonic()
        self._started, self._failures, self._missed, self._seq = False, 0, 0, 0
        self._connected: bool | None = None
        service.beat = self.beat

    def turn(self) -> float:
        """Whatever is due now; seconds until something is again. The first step waits for the first heartbeat: it may take long."""
        clock = self.context.clock
        self.beat()
        if self._connected is None:
            return max(0.0, self._beat_due - clock.monotonic())
        if clock.monotonic() >= self._due:
            self._step()
            self.beat()
        return max(0.0, min(self._due, self._beat_due) - clock.monotonic())

    def stop(self) -> None:
        """Leave in order: the service, what is still due for the grid, the last heartbeat."""
        try:
            if self._started:
                self.service.stop()
            self.service.status = STOPPED
            self._beat_due = -math.inf
            self.beat()
        except MissingDependency as error:
            self.context.log.warning("left without the grid: %s", error)

    def beat(self) -> None:
        """Heartbeat, outbox and alerts that are due, every 5 s."""
        now = self.context.clock.monotonic()
        if now < self._beat_due:
            return
        self._beat_due = now + HEARTBEAT_S
        try:
            self._publish()
            connected = True
        except MissingDependency as error:
            connected = False
            self._missed += 1
            if self._connected is None and now - self._born < SEEK_S:  # grid and services start side by side
                self._beat_due = now + SEEK_GAP_S
                return
            self._beat_due = now + _back_off(self._missed)
            if self._connected is not False:
                self._tell_grid(Severity.WARNING, f"the grid is away: {error}")
        except Fenced as error:
            connected = True
            self.context.alert(AlertKind.HOSTILE_VALUE, Severity.CRITICAL, "fenced", str(error))
        if connected:
            self._missed = 0
        if connected and self._connected is False:
            self._tell_grid(Severity.INFO, "the grid is back")
        self._connected = connected
        self.context.metrics.grid_connected.set(float(connected))
        self.context.metrics.journal_seq.set(self.context.journal.head()[0])
        self.context.alerts.tick()

    def _publish(self) -> None:
        """The heartbeat, and what is due. Our last heartbeat is not there: so may be everything else that the grid was told."""
        context, seq = self.context, self._seq + 1
        there = context.grid.read(HEARTBEAT, context.identity).record
        lost = there is None or there.get("seq") != self._seq
        record = Heartbeat(seq=seq, ts_ms=context.clock.wall_ms(), status=self.service.status)
        if lost:
            context.outbox.renew()
            if self._started:
                self.service.reconnected()
        if self.service.may_publish():
            context.outbox.flush()
        context.grid.put(HEARTBEAT, context.identity, fields(record), HEARTBEAT_TTL_S)
        self._seq = seq
        context.metrics.heartbeat_seq.set(seq)

    def _step(self) -> None:
        clock, service = self.context.clock, self.service
        began, loading = clock.monotonic(), service.status == LOADING
        try:
            if not self._started:
                service.start()
                self._started = True
            service.step()
            if loading:
                service.status = RUNNING if service.status == LOADING else service.status
                self._beat_due = -math.inf
        except MissingDependency as error:
            self._failures += 1
            wait = _back_off(self._failures)
            self.context.log.warning("%s; again in %.1f s", error, wait)
            self._due = clock.monotonic() + max(wait, service.every_s)
            return
        self._failures = 0
        self.context.metrics.loop_seconds.observe(clock.monotonic() - began)
        self._due = max(began + service.every_s, clock.monotonic())

    def _tell_grid(self, severity: Severity, text: str) -> None:
        kind = AlertKind.RECOVERED if severity is Severity.INFO else AlertKind.STALE_GRID
        self.context.alert(kind, severity, "grid", text)


def _back_off(failures: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failures
    return float(_BACK_OFF(state))
