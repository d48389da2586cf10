"""Safe mode of a lane: no entries until an operator has looked. Latched in the lane's journal; `dolphin release` ends it."""

from __future__ import annotations

import math
from typing import Final

from daemons.service import Context
from dolphin.errors import Unavailable
from dolphin.storage.journal import JournalReader, Kind, Record, journal_path
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["SafeMode"]

CONTROL: Final = "control"
"""Writer of the journal of what operators do."""
LOOK_S: Final = 2.0


class SafeMode:
    """``engaged`` holds through restarts, until the control journal has a newer release than when it was engaged."""

    def __init__(self, context: Context) -> None:
        self._context, self._control = context, journal_path(context.state.journals, CONTROL)
        self._looked = -math.inf
        last = context.journal.last(Kind.SAFE_MODE)
        self.engaged = last is not None and bool(last.payload["engaged"])
        self._before = int(last.payload["release"]) if last is not None else 0

    def engage(self, reason: str) -> None:
        """Journal first, then tell an operator."""
        self._note(True, reason, "trader")
        self._context.alert(AlertKind.SAFE_MODE, Severity.CRITICAL, "safe_mode", f"{reason}; no entries until `dolphin release`")

    def look(self) -> bool:
        """End it when the operator has released, and say so; asked every few seconds."""
        now = self._context.clock.monotonic()
        if not self.engaged or now - self._looked < LOOK_S:
            return False
        self._looked = now
        if self._release() <= self._before:
            return False
        self._note(False, "released", "operator")
        self._context.alert(AlertKind.RELEASE, Severity.INFO, "safe_mode", "safe mode released")
        return True

    def released_since(self, record: Record | None) -> bool:
        """Whether it was ended behind ``record``: what was in doubt there is so no longer."""
        last = self._context.journal.last(Kind.SAFE_MODE)
        return last is not None and not last.payload["engaged"] and (record is None or last.seq > record.seq)

    def _note(self, engaged: bool, reason: str, by: str) -> None:
        before = self._release()
        record = {"engaged": engaged, "reason": reason, "by": by, "release": before}
        self._context.journal.append(Kind.SAFE_MODE, record, self._context.clock.wall_ms())
        self.engaged, self._before = engaged, before

    def _release(self) -> int:
        """Record of the last release, 0 without one."""
        try:
            with JournalReader(self._control) as control:
                last = control.last(Kind.RELEASE)
        except Unavailable:
            return 0
        return last.seq if last is not None else 0
