"""The watchdog: sensors -> survival stack -> posture, to the journal first, then to the safety cell of the grid."""

from __future__ import annotations

import math
from typing import ClassVar, Final

from daemons.kill_watch import KillWatch
from daemons.process import main
from daemons.sensors import Memory, SensorReader
from daemons.service import Context, Service
from daemons.tenure import Tenure
from dolphin.engine.survival import Sensors, SurvivalStack, cat1, killed
from dolphin.errors import Fenced, MissingDependency
from dolphin.grid.maps import PostureRecord, fields
from dolphin.grid.safety import SafetyCell, parse_posture
from dolphin.storage.journal import Kind
from dolphin.telemetry.alerts import AlertKind, Severity
from dolphin.types import Posture

__all__ = ["SystemWatchdog"]

PASS_S: Final = 5.0
LISTEN_S: Final = 30.0
"""So long a watchdog that has just started does not call anybody missing: they start beside it."""


class SystemWatchdog(Service):
    """Looks every 5 s at grid, heartbeats and kill switch, and evaluates once a cadence (market time); one of several writes."""

    name: ClassVar[str] = "system_watchdog"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        config = context.settings.survival
        self.every_s = max(0.2, min(PASS_S, config.cadence_min * 60.0 / context.clock.speed))
        last = context.journal.last(Kind.POSTURE)
        self._tenure = Tenure(context, self.name, 0 if last is None else last.payload.get("fence", 0))
        self._kill = KillWatch(context)
        self._sensors = SensorReader(context, Memory())
        self._stack: SurvivalStack | None = None
        self._record: PostureRecord | None = None
        self._written = True
        self._evaluated = -math.inf
        self._missing: tuple[str, ...] = ()
        self._began = context.clock.monotonic()

    def start(self) -> None:
        """Take up peak and DVOL from the journal."""
        last = self.context.journal.last(Kind.POSTURE)
        if last is not None and "memory" in last.payload:
            known = last.payload["memory"]
            self._sensors.memory.peaks, self._sensors.memory.spike_ms = dict(known.get("peaks", {})), known["spike_ms"]
            self._sensors.memory.dvol = [(ts, level) for ts, level in known["dvol"]]

    def step(self) -> None:
        """One pass. Without the grid the writer goes on by itself: it knows what that means."""
        away = None
        try:
            held = self._tenure.held()
        except MissingDependency as error:
            held, away = self._tenure.fence > 0, error
        if not held:
            self._stack, self._record, self.status = None, None, "standby" if away is None else "no_grid"
            self._kill.look(writer=False)
            return
        sensors = self._sensors.read(self._kill.look(writer=away is None))
        self._tell_missing()
        stack = self._stack or self._begun()
        minutes = (self.context.clock.monotonic() - self._evaluated) * self.context.clock.speed / 60.0
        due = minutes >= self.context.settings.survival.cadence_min * 0.999
        blind = cat1(sensors.hz_nodes, sensors.heartbeat_age_s) == 0 or killed(sensors)
        if due or (blind and stack.posture != Posture.HIBERNATE):
            self._evaluate(stack, sensors, minutes)
        self._publish()

    def stop(self) -> None:
        """Give the lock back."""
        self._tenure.release()

    def reconnected(self) -> None:
        """An emptied grid gets the newest record again."""
        self._written = self._record is None

    def _begun(self) -> SurvivalStack:
        """Cold, unless our own record is the newest there is and younger than two cadences."""
        config, clock = self.context.settings.survival, self.context.clock
        last, there = self.context.journal.last(Kind.POSTURE), self._there()
        self._stack = SurvivalStack(config, seq=max(last.payload["seq"] if last else 0, there.seq if there else 0))
        if last is not None:
            age_min = (clock.wall_ms() - last.ts_ms) / 60_000.0 * clock.speed
            ours = there is None or (there.fence, there.seq) == (last.payload["fence"], last.payload["seq"])
            if ours and 0 <= age_min <= 2.0 * config.cadence_min:
                self._stack = SurvivalStack(config, rm=last.payload["rm"], posture=last.payload["posture"], seq=last.payload["seq"])
                self._evaluated = clock.monotonic() - age_min * 60.0 / clock.speed
        self.status = self._stack.posture
        return self._stack

    def _there(self) -> PostureRecord | None:
        try:
            found = parse_posture(SafetyCell(self.context.grid).read().record)
        except MissingDependency:
            return None
        return found if isinstance(found, PostureRecord) else None

    def _evaluate(self, stack: SurvivalStack, sensors: Sensors, minutes: float) -> None:
        before, now = stack.posture, self.context.clock.wall_ms()
        safety = stack.evaluate(sensors, minutes, now)
        self._evaluated = self.context.clock.monotonic()
        reasons = (*safety.reasons, *(f"no heartbeat of {name}" for name in self._sensors.missing), *stack.flags)
        values = {name: getattr(safety, name) for name in safety.__struct_fields__} | {"reasons": reasons}
        self._record = PostureRecord(**values, fence=self._tenure.fence)
        self._written = False
        self.context.journal.append(Kind.POSTURE, fields(self._record) | {"memory": self._sensors.memory.to_dict()}, now)
        self.context.metrics.rm.set(safety.rm)
        self.context.metrics.posture(safety.posture)
        self.status = safety.posture
        if safety.posture != before:
            severity = Severity.INFO if safety.posture == max(before, safety.posture, key=_ORDER.__getitem__) else Severity.CRITICAL
            self.context.alert(AlertKind.POSTURE, severity, f"{before}->{safety.posture}", f"Rm {safety.rm:.3f}: {'; '.join(reasons)}")

    def _publish(self) -> None:
        """The newest record, if the grid does not have it. A later writer's record there: stand by."""
        if self._written or self._record is None:
            return
        try:
            SafetyCell(self.context.grid).write(self._record, self._record.fence)
        except Fenced as error:
            there = self._there()
            if there != self._record:
                self._tenure.lost()
                self._stack = None
                self.context.alert(AlertKind.HOSTILE_VALUE, Severity.CRITICAL, "fenced", str(error))
        self._written = True

    def _tell_missing(self) -> None:
        if self.context.clock.monotonic() - self._began < LISTEN_S:
            return
        missing = self._sensors.missing
        for name in set(missing) - set(self._missing):
            self.context.alert(AlertKind.STALE_FEED, Severity.WARNING, f"heartbeat/{name}", f"{name} has no heartbeat younger than 30 s")
        for name in set(self._missing) - set(missing):
            self.context.alert(AlertKind.RECOVERED, Severity.INFO, f"heartbeat/{name}", f"{name} is heard again")
        self._missing = missing


_ORDER: Final = {posture: rank for rank, posture in enumerate(reversed(Posture))}


if __name__ == "__main__":
    main(SystemWatchdog)
