"""The kill switch by hand: the file first, because it needs nothing else; then grid, journal and alert, each as far as it can be had."""

from __future__ import annotations

import getpass
import os
import platform
import time
from dataclasses import dataclass

import msgspec

from dolphin.config import Settings
from dolphin.errors import DolphinError
from dolphin.grid.maps import CONTROL, Kill, fields
from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert, AlertKind, Alerts, Severity
from dolphin.telemetry.redaction import Redactor
from dolphin.telemetry.sinks import sinks_of

__all__ = ["Switched", "engage", "release"]

CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Switched:
    """What was done. ``missed``: who could not be told, and why; the file alone is enough."""

    order: KillOrder
    missed: tuple[str, ...]


def engage(state: StateFolder, settings: Settings, reason: str) -> Switched:
    """Engage the switch of a deployment; durable when it returns. Raises ``ConfigError`` without a reason, ``Unavailable``."""
    wanted = KillOrder(reason=reason.strip(), by=_who(), ts_ms=_now())
    order = KillSwitch(state.kill).engage(wanted)
    said = Kill(engaged=True, reason=order.reason, by=order.by, ts_ms=order.ts_ms)
    return Switched(order, _told(state, settings, Kind.KILL, said, wanted))


def release(state: StateFolder, settings: Settings, reason: str) -> Switched:
    """Release it; the order that was in force. Raises ``ConfigError`` without a reason, ``Unavailable`` when the file stays."""
    order = KillSwitch(state.kill).release(reason)
    wanted = KillOrder(reason=reason.strip(), by=_who(), ts_ms=_now())
    return Switched(order, _told(state, settings, Kind.RELEASE, Kill(engaged=False, reason="", by=wanted.by, ts_ms=wanted.ts_ms), wanted))


def _told(state: StateFolder, settings: Settings, kind: Kind, said: Kill, wanted: KillOrder) -> tuple[str, ...]:
    missed = []
    for tell in (_grid, _journal, _alert):
        try:
            tell(state, settings, kind, said, wanted)
        except DolphinError as error:
            missed.append(str(error))
    return tuple(missed)


def _grid(state: StateFolder, settings: Settings, kind: Kind, said: Kill, wanted: KillOrder) -> None:
    if settings.grid.kind != "hazelcast":
        return
    from dolphin.grid.client import HazelcastGrid

    config = msgspec.structs.replace(settings.grid, connect_timeout_s=min(CONNECT_S, settings.grid.connect_timeout_s))
    grid = HazelcastGrid(config, f"control:{wanted.by}")
    try:
        grid.put(CONTROL, "kill", fields(said))
    finally:
        grid.close()


def _journal(state: StateFolder, settings: Settings, kind: Kind, said: Kill, wanted: KillOrder) -> None:
    with Journal.open(journal_path(state.made().journals, "control"), "control") as journal:
        journal.append(kind, {"reason": wanted.reason, "by": wanted.by}, wanted.ts_ms)


def _alert(state: StateFolder, settings: Settings, kind: Kind, said: Kill, wanted: KillOrder) -> None:
    alerts = Alerts(sinks_of(settings.alerts, os.environ), Redactor(os.environ), time.monotonic)
    what = AlertKind.KILL if kind is Kind.KILL else AlertKind.RELEASE
    alerts.send(Alert(what, Severity.CRITICAL, "kill", f"{kind}: {wanted.reason} (by {wanted.by})", wanted.ts_ms, "control"))
    alerts.close(settings.alerts.timeout_s + 1.0)


def _who() -> str:
    return f"{getpass.getuser()}@{platform.node() or 'localhost'}"


def _now() -> int:
    return time.time_ns() // 1_000_000
