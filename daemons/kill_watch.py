"""The kill switch seen from the watchdog: the file is the truth, the grid's key its mirror; an order through the grid is latched."""

from __future__ import annotations

from typing import Final

import msgspec

from daemons.service import Context
from dolphin.errors import MissingDependency, Unavailable
from dolphin.grid.maps import CONTROL, Kill, fields
from dolphin.grid.record import Entry, Reason
from dolphin.storage.journal import Kind
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["KillWatch"]

KEY: Final = "kill"


class KillWatch:
    """One look each pass; changes are journalled and told."""

    def __init__(self, context: Context) -> None:
        self._context, self._switch = context, KillSwitch(context.state.kill)
        self._was: bool | None = False

    def look(self, *, writer: bool) -> bool | None:
        """Whether trading is forbidden; None: that cannot be told, which counts as yes. ``writer``: keep the grid's mirror."""
        try:
            entry = self._context.grid.read(CONTROL, KEY)
        except MissingDependency:
            return self._noted(self._switch.engaged())
        said = _parsed(entry)
        refused = said is None and entry.reason is not Reason.ABSENT
        if refused:
            self._context.metrics.grid_refused(str(entry.reason or Reason.WRONG_FIELDS))
            self._context.alert(
                AlertKind.HOSTILE_VALUE, Severity.CRITICAL, f"{CONTROL}/{KEY}", "what the kill switch's key holds is refused"
            )
        ordered = said is not None and said.engaged and not self._echo(said)
        if said is not None and ordered and self._switch.engaged() is False:
            self._latch(said)
        engaged = self._noted(self._switch.engaged())
        if ordered and engaged is False:  # the disk did not take the latch: the order holds as long as the grid holds it
            return True
        if writer:
            self._mirror(said, engaged)
        return None if refused else engaged

    def _echo(self, said: Kill) -> bool:
        """The grid still says what was released in the meantime."""
        return self._switch.released() == KillOrder(reason=said.reason, by=said.by, ts_ms=said.ts_ms)

    def _latch(self, said: Kill) -> None:
        try:
            self._switch.engage(KillOrder(reason=said.reason.strip() or "no reason given", by=said.by, ts_ms=said.ts_ms))
        except Unavailable as error:
            self._context.alert(AlertKind.KILL, Severity.CRITICAL, "latch", f"an order through the grid holds while the grid does: {error}")

    def _mirror(self, said: Kill | None, engaged: bool | None) -> None:
        stop = engaged is not False
        if said is not None and said.engaged == stop and (stop or not said.reason):
            return
        order = self._switch.order() if stop else KillOrder(reason="", by="system_watchdog", ts_ms=self._context.clock.wall_ms())
        self._context.grid.put(CONTROL, KEY, fields(Kill(engaged=stop, reason=order.reason, by=order.by, ts_ms=order.ts_ms)))

    def _noted(self, engaged: bool | None) -> bool | None:
        if engaged is not self._was:
            order = self._switch.released() if engaged is False else self._switch.order()
            told = order or KillOrder(reason="the file is gone", by="unknown", ts_ms=0)
            kind, alert = (Kind.RELEASE, AlertKind.RELEASE) if engaged is False else (Kind.KILL, AlertKind.KILL)
            text = f"kill switch {'released' if engaged is False else 'engaged'}: {told.reason} (by {told.by})"
            self._context.journal.append(kind, {"reason": told.reason, "by": told.by}, self._context.clock.wall_ms())
            self._context.alert(alert, Severity.CRITICAL, "kill", text)
            self._was = engaged
        return engaged


def _parsed(entry: Entry) -> Kill | None:
    try:
        return msgspec.convert(entry.record, Kill)
    except msgspec.ValidationError:
        return None
