"""Safe mode of a lane: no entries until an operator has looked. Latched in the lane's journal; `dolphin release` ends it."""

from __future__ import annotations

from daemons.service import Context
from dolphin.storage.journal import Kind
from dolphin.storage.kill_switch import KillSwitch
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["SafeMode"]


class SafeMode:
    """``engaged`` holds through restarts, until the operator releases once more than had been released when it was engaged."""

    def __init__(self, context: Context) -> None:
        self._context, self._released = context, KillSwitch(context.state.kill).last
        last = context.journal.last(Kind.SAFE_MODE)
        self.engaged = last is not None and bool(last.payload["engaged"])
        self._before = int(last.payload["release"]) if last is not None else 0

    def engage(self, reason: str) -> None:
        """Journal first, then tell an operator."""
        self._note(True, reason, "trader")
        self._context.alert(AlertKind.SAFE_MODE, Severity.CRITICAL, "safe_mode", f"{reason}; no entries until `dolphin release`")

    def look(self) -> None:
        """End it when the operator has released."""
        if self.engaged and self._release() != self._before:
            self._note(False, "released", "operator")
            self._context.alert(AlertKind.RELEASE, Severity.INFO, "safe_mode", "safe mode released")

    def _note(self, engaged: bool, reason: str, by: str) -> None:
        before = self._release()
        record = {"engaged": engaged, "reason": reason, "by": by, "release": before}
        self._context.journal.append(Kind.SAFE_MODE, record, self._context.clock.wall_ms())
        self.engaged, self._before = engaged, before

    def _release(self) -> int:
        """Which release was the last one: its file's time in ns, 0 without one."""
        try:
            return self._released.stat().st_mtime_ns
        except OSError:
            return 0
