"""The survival stack for people: which sensor costs how much, and a recorded day played again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple

from dolphin.config import SurvivalConfig
from dolphin.engine.survival import SafetyRecord, Sensors, SurvivalStack, categories, combine, killed, posture_of, recover
from dolphin.errors import QualityError
from dolphin.types import Array, McStatus, Posture

__all__ = ["HEALTHY", "Cost", "Explanation", "SensorDay", "explain", "minutes_since_spike", "minutes_to_recover", "replay"]

HEALTHY: Final = Sensors(
    hz_nodes=1.0, heartbeat_age_s=0.0, mc_status=McStatus.OK, staleness_hours=0.0, ob_stale=False, depth_quality=1.0, fill_prob=1.0,
    t_since_spike_min=math.inf, drawdown=0.0, kill=False,
)  # fmt: skip
"""Every sensor at its best."""

_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "hz_nodes": ("hz_nodes",),
    "heartbeat_age_s": ("heartbeat_age_s",),
    "mc_status": ("mc_status",),
    "staleness_hours": ("staleness_hours",),
    "ob_stale": ("ob_stale", "depth_quality", "fill_prob"),
    "depth_quality": ("depth_quality",),
    "fill_prob": ("fill_prob",),
    "t_since_spike_min": ("t_since_spike_min",),
    "drawdown": ("drawdown",),
}
_UNITS: Final = {"heartbeat_age_s": " s", "staleness_hours": " h", "t_since_spike_min": " min"}
_LEAST: Final = 5e-4
_SPIKE, _SPIKE_MIN = 1.15, 60.0


class Cost(NamedTuple):
    """``alone``: what the sensor's value takes from the best Rm with all others at their best; ``gain``: what the target wins when this
    one is mended now. A stale book is judged with the whole book fresh after mending."""

    sensor: str
    value: str
    alone: float
    gain: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """``costs``: sensors that cost something, the dearest first. ``minutes``: one-minute evaluations until Rm reaches the posture that
    the target stands for, 0 when it is there. ``text``: the same in words."""

    rm: float
    target: float
    costs: tuple[Cost, ...]
    minutes: int
    text: str


def explain(sensors: Sensors, rm: float, config: SurvivalConfig | None = None) -> Explanation:
    """Why Rm is what it is: each sensor's cost in Rm, and how long recovery takes."""
    config = config or SurvivalConfig()
    target, best = _target(sensors, config), _target(HEALTHY, config)
    costs = []
    for name, group in _GROUPS.items():
        if not config.order_book and name in ("ob_stale", "depth_quality", "fill_prob"):
            continue
        only = replace(HEALTHY, **{name: getattr(sensors, name)})
        mended = replace(sensors, **{n: getattr(HEALTHY, n) for n in group})
        cost = Cost(name, _shown(name, getattr(sensors, name)), best - _target(only, config), _target(mended, config) - target)
        if max(cost.alone, abs(cost.gain)) >= _LEAST:
            costs.append(cost)
    costs.sort(key=lambda c: (-c.gain, -c.alone, c.sensor))
    minutes = minutes_to_recover(rm, target, posture_of(target)) if rm < target else 0
    return Explanation(rm, target, tuple(costs), minutes, _text(sensors, (rm, target, best), costs, minutes))


@dataclass(frozen=True, slots=True)
class SensorDay:
    """Recorded sensor values, one entry an evaluation, as in ``Sensors`` (None = could not be read, NaN = nonsense).

    ``dt_min``: minutes since the evaluation before.
    """

    dt_min: Sequence[float] | Array
    hz_nodes: Sequence[float | None] | Array
    heartbeat_age_s: Sequence[float | None] | Array
    mc_status: Sequence[str | None]
    staleness_hours: Sequence[float | None] | Array
    ob_stale: Sequence[bool | None] | Array
    depth_quality: Sequence[float | None] | Array
    fill_prob: Sequence[float | None] | Array
    t_since_spike_min: Sequence[float | None] | Array
    drawdown: Sequence[float | None] | Array
    kill: Sequence[bool | None] | Array


def replay(day: SensorDay, stack: SurvivalStack | None = None, first_ts_ms: int = 0) -> list[SafetyRecord]:
    """Evaluate a recorded day; ``[r.posture for r in replay(day)]`` are its postures. ``stack`` None: cold, with default settings.

    ``ts_ms`` of the records runs from ``first_ts_ms`` by ``dt_min``. Raises ``QualityError`` when the columns differ in length.
    """
    stack = stack or SurvivalStack()
    columns: dict[str, list[Any]] = {f.name: _plain(getattr(day, f.name)) for f in fields(day)}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise QualityError(f"sensor columns differ in length: {lengths}")
    steps = columns.pop("dt_min")
    records, elapsed = [], 0.0
    for dt_min, *values in zip(steps, *columns.values(), strict=True):
        elapsed += dt_min if dt_min is not None and dt_min > 0 and math.isfinite(dt_min) else 0.0
        sensors = Sensors(**dict(zip(columns, values, strict=True)))
        records.append(stack.evaluate(sensors, math.nan if dt_min is None else dt_min, first_ts_ms + round(elapsed * 60_000)))
    return records


def minutes_since_spike(minutes: Array, dvol: Array) -> Array:
    """Minutes since DVOL last stood >= 15 % above its low of the 60 minutes before, at each sample; inf before the first spike.

    ``minutes`` float64[n] ascending, ``dvol`` float64[n] points (not finite or <= 0: sample skipped). Depends on [:t+1] only.
    """
    since = minutes.astype(float)
    last, start = -math.inf, 0
    times, levels = minutes.tolist(), dvol.tolist()
    for i, (now, level) in enumerate(zip(times, levels, strict=True)):
        while times[start] < now - _SPIKE_MIN:
            start += 1
        known = [v for v in levels[start:i] if math.isfinite(v) and v > 0]
        if known and math.isfinite(level) and level >= _SPIKE * min(known):
            last = now
        since[i] = now - last
    return since


def _target(sensors: Sensors, config: SurvivalConfig) -> float:
    return combine(*categories(sensors, config.order_book))


def minutes_to_recover(rm: float, target: float, aim: Posture) -> int:
    """Evaluations one minute apart until Rm, on its way to ``target``, is high enough for ``aim``; 0 when it is, 10 000: never."""
    ranks, count = list(Posture), 0
    while ranks.index(posture_of(rm)) > ranks.index(aim) and count < 10_000:
        rm, count = recover(rm, target, 1.0), count + 1
    return count


def _text(sensors: Sensors, level: tuple[float, float, float], costs: Sequence[Cost], minutes: int) -> str:
    rm, target, best = level
    lines = [f"Rm {rm:.3f} ({posture_of(rm)}), target {target:.3f} ({posture_of(target)}), best possible {best:.3f}"]
    if killed(sensors):
        lines.append("The kill switch is engaged or cannot be read: HIBERNATE whatever Rm is.")
    lines += [f"{c.sensor} = {c.value}: alone it costs {c.alone:.3f}; mended now, the target changes by {c.gain:+.3f}" for c in costs]
    if not costs:
        lines.append("No sensor costs anything.")
    if minutes:
        lines.append(f"Recovery is bounded: {minutes} one-minute evaluations until Rm stands at {posture_of(target)}.")
    return "\n".join(lines)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "cannot be read"
    if isinstance(value, float):
        return f"{value:.4g}{_UNITS.get(name, '')}" if math.isfinite(value) else f"{value}"
    return str(value)


def _plain(column: Any) -> list[Any]:
    values = column.tolist() if hasattr(column, "tolist") else column
    return list(values)
