"""What the watchdog's sensors say: grid, heartbeats, forewarner, indicators, books, DVOL, equity. Unknown is None, never good."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from daemons.heartbeats import Heartbeats
from daemons.service import Context
from dolphin.engine.survival import Sensors, relative_fill
from dolphin.errors import DolphinError
from dolphin.grid.maps import HEARTBEAT, AcbBoost, LaneState, ObMacro
from dolphin.grid.view import Answer, LocalView, State
from dolphin.telemetry.alerts import AlertKind, Severity

__all__ = ["Memory", "SensorReader"]

SPIKE: Final = 1.15
SPIKE_MS: Final = 3_600_000
TRADER: Final = "trader"


@dataclass(slots=True)
class Memory:
    """What outlives a restart: peak of equity by lane, USDT; DVOL of the last hour as (market ms, points), market ms of its last spike."""

    peaks: dict[str, float] = field(default_factory=dict)
    dvol: list[tuple[int, float]] = field(default_factory=list)
    spike_ms: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"peaks": dict(self.peaks), "dvol": [list(point) for point in self.dvol], "spike_ms": self.spike_ms}

    def saw_dvol(self, now_ms: int, value: float) -> None:
        """A spike is a rise that ends 15 % or more above any value of the hour before."""
        self.dvol = [(ts, level) for ts, level in self.dvol if 0 <= now_ms - ts <= SPIKE_MS]
        rising = bool(self.dvol) and value > self.dvol[-1][1]
        if rising and any(value >= SPIKE * level for _, level in self.dvol):
            self.spike_ms = now_ms
        if not self.dvol or self.dvol[-1][1] != value or now_ms - self.dvol[-1][0] >= SPIKE_MS // 60:
            self.dvol.append((now_ms, value))

    def since_spike_min(self, now_ms: int) -> float:
        """Minutes on the market; inf: no spike."""
        return math.inf if self.spike_ms is None else max(0, now_ms - self.spike_ms) / 60_000.0

    def drawdown(self, lane: str, state: LaneState) -> float:
        """Of a lane from its peak, in [0, 1]; NaN for an equity that is not finite."""
        self.peaks[lane] = max(self.peaks.get(lane, 0.0), state.peak, state.equity)
        return 1.0 - max(0.0, state.equity) / self.peaks[lane]


class SensorReader:
    """``read`` once a pass. ``missing`` then names the required services without a heartbeat younger than 30 s."""

    def __init__(self, context: Context, memory: Memory) -> None:
        self._context, self.memory = context, memory
        clock = context.clock
        self._view = LocalView(context.grid, clock.monotonic, clock.wall_ms)
        self._beats = Heartbeats(clock)
        self._required = tuple(name.strip() for name in context.settings.services.required.split(",") if name.strip())
        self.missing: tuple[str, ...] = ()
        self.indicators: AcbBoost | None = None

    def read(self, kill: bool | None) -> Sensors:
        """Every sensor now."""
        nodes = self._poll()
        ages = {name: self._age_s(name) for name in self._required}
        self.missing = tuple(name for name, age in ages.items() if age > 30.0)
        oldest = max(ages.values(), default=0.0)
        warned, boost = self._view.mc_forewarner(), self._view.acb_boost()
        for name, answer in (("mc_forewarner", warned), ("acb_boost", boost), ("ob_macro", self._view.ob_macro())):
            self._refused(name, answer)
        for lane in self._context.settings.paper.names:
            self._refused("lane", self._view.lane(lane))
        stale, depth, fill = self._book(self._view.ob_macro())
        return Sensors(
            hz_nodes=nodes,
            heartbeat_age_s=None if math.isinf(oldest) else oldest,
            mc_status=warned.value.status if warned.value else None,
            staleness_hours=self._hours(warned, boost),
            ob_stale=stale,
            depth_quality=depth,
            fill_prob=fill,
            t_since_spike_min=self._since_spike(boost),
            drawdown=self._drawdown(),
            kill=kill,
        )

    def _poll(self) -> float:
        """Read the grid into the local copy; members that answered."""
        grid = self._context.grid
        try:
            if not self._view.poll():
                return 0.0
            for key in self._beats.take(grid.entries(HEARTBEAT)):
                self._context.metrics.grid_refused("HEARTBEAT")
                self._hostile(f"{HEARTBEAT}/{key}", "a heartbeat is refused")
        except DolphinError:
            return 0.0
        return float(grid.members)

    def _age_s(self, service: str) -> float:
        """Of a service's heartbeat; of the trader the oldest of all lanes, each under the service's name or its own."""
        if service != TRADER:
            return self._beats.age_s(service)
        first, *others = self._context.settings.paper.names
        alone = min(self._beats.age_s(TRADER), self._beats.age_s(f"{TRADER}_{first.lower()}"))
        return max([alone, *(self._beats.age_s(f"{TRADER}_{name.lower()}") for name in others)])

    def _hours(self, *answers: Answer[Any]) -> float | None:
        """Age of the older one, hours on the market."""
        if any(answer.value is None for answer in answers):
            return None
        return max(answer.age_s for answer in answers) * self._context.clock.speed / 3600.0

    def _book(self, found: Answer[ObMacro | None]) -> tuple[bool | None, float | None, float | None]:
        """Stale: the record is too old, or more than half of the books are; no books: unknown."""
        macro = found.value
        if macro is None or macro.n_assets == 0:
            return None, None, None
        stale = found.age_s > 5.0 or found.state is State.STALE or 2 * macro.n_stale > macro.n_assets
        fill = macro.fill_probability
        return stale, macro.depth_quality, None if fill is None else relative_fill(fill)

    def _since_spike(self, boost: Answer[AcbBoost | None]) -> float | None:
        if not self._context.settings.survival.dvol:
            return math.inf
        level = boost.value.factors.get("dvol_btc") if boost.value else None
        if level is None:
            return None
        now = self._context.clock.market_ms()
        self.memory.saw_dvol(now, level)
        return self.memory.since_spike_min(now)

    def _drawdown(self) -> float | None:
        """Of the lane that has lost most; None when one of them is not known."""
        worst = 0.0
        for lane in self._context.settings.paper.names:
            found = self._view.lane(lane)
            if found.value is None or found.state is State.STALE:
                return None
            lost = self.memory.drawdown(lane, found.value)
            if math.isnan(lost):
                return lost
            worst = max(worst, lost)
        return worst

    def _refused(self, name: str, answer: Answer[Any]) -> None:
        if answer.state is State.REFUSED:
            self._context.metrics.grid_refused(str(answer.reason))
            self._hostile(f"FEATURES/{name}", f"what came after the last good value is refused: {answer.reason}")

    def _hostile(self, key: str, text: str) -> None:
        self._context.alert(AlertKind.HOSTILE_VALUE, Severity.WARNING, key, text)
