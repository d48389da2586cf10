"""Every process: supervisor, heartbeat, restarts, and what it put out last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from dolphin.config import Settings
from dolphin.errors import DolphinError
from dolphin.storage.state import StateFolder
from flows.dashboard.snapshot import FeatureView, ProcessView
from flows.processes import ours
from flows.status import LATE_S, member_ports, service_rows
from flows.supervisor import ProcessInfo, Supervisor
from flows.supervisor_events import restarts

__all__ = ["Output", "ProcessFollower", "output_of"]

type Beats = Mapping[int, tuple[str, str, int]]
type Output = tuple[str, int | None, int | None]

LOOK_S: Final = 2.0
_FEATURES: Final = {"acb_processor": "acb_boost", "mc_forewarner": "mc_forewarner", "ob_stream": "ob_macro"}


class ProcessFollower:
    """``look`` asks supervisor and members at most every two seconds."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._due = 0.0
        self._rows: list[ProcessView] = []
        self.supervisor_pid, self.left_over = 0, 0

    def look(self, settings: Settings, beats: Beats, wall_ms: int, monotonic: float) -> None:
        """Ask again when it is due."""
        if monotonic < self._due:
            return
        self._due = monotonic + LOOK_S
        processes: dict[str, ProcessInfo] = {}
        try:
            supervisor = Supervisor(self._state.root)
            self.supervisor_pid, processes = supervisor.pid(), supervisor.processes()
            self.left_over = 0
        except DolphinError:
            self.supervisor_pid, self.left_over = 0, len(ours(self._state.root))
        rows = service_rows(processes, member_ports(settings), beats, restarts(self._state))
        before = {row.name: row.since_ms for row in self._rows}
        known, began = {row.pid for row in rows}, {row.process: round(wall_ms - row.uptime_s * 1000) for row in rows}
        self._rows = [
            ProcessView(
                name=row.process,
                state=row.state,
                pid=row.pid,
                since_ms=_steady(before.get(row.process), wall_ms - round(row.uptime_s * 1000)) if row.pid else None,
                beat_ms=beats[row.pid][2] if row.pid in beats else None if row.heartbeat_s is None else wall_ms,
                limit_s=LATE_S,
                word=row.status,
                restarts=row.restarts,
                healthy=row.healthy,
                output="",
                output_ms=None,
                output_market_ms=None,
            )
            for row in rows
        ]
        others = [_unsupervised(pid, beat, wall_ms) for pid, beat in sorted(beats.items()) if pid not in known]
        self._rows += [row for row in others if row.name not in began or _twin(row, began[row.name])]

    def views(self, outputs: Mapping[str, Output], wall_ms: int) -> list[ProcessView]:
        """All processes, in the order of their start; those that only beat come last."""
        found = []
        for row in self._rows:
            output, at, market = outputs.get(row.name, ("", None, None))
            late = row.beat_ms is None or not -LATE_S * 1000 <= wall_ms - row.beat_ms <= LATE_S * 1000
            healthy = row.healthy and not late
            found.append(msgspec.structs.replace(row, healthy=healthy, output=output, output_ms=at, output_market_ms=market))
        return found


def output_of(features: list[FeatureView]) -> dict[str, Output]:
    """What the processes behind the features put out last."""
    said = {row.name: row for row in features}
    return {process: (said[name].says, said[name].said_ms, None) for process, name in _FEATURES.items() if name in said}


def _unsupervised(pid: int, beat: tuple[str, str, int], wall_ms: int) -> ProcessView:
    name, word, ts_ms = beat
    late = not 0 <= wall_ms - ts_ms <= LATE_S * 1000
    state = "LEFT" if word == "stopped" else "GONE" if late else "RUNNING"
    return ProcessView(
        name=name, state=f"{state}, not ours", pid=pid, since_ms=None, beat_ms=ts_ms, limit_s=LATE_S, word=word, restarts=0,
        healthy=state == "RUNNING", output="", output_ms=None, output_market_ms=None,
    )  # fmt: skip


def _twin(row: ProcessView, began_ms: int) -> bool:
    """It beats beside the process of this name that the supervisor knows; the last beat of a predecessor is older than that."""
    return row.healthy and row.beat_ms is not None and row.beat_ms > began_ms + 2_000


def _steady(before: int | None, now: int) -> int:
    """The supervisor counts whole seconds: a start that moves by less than two is the same one."""
    return before if before is not None and abs(before - now) < 2_000 else now
