"""Survival stack: what the sensors say -> Rm (risk multiplier) in [0, 1] -> posture. Five categories ("Cats"):

Cat1 grid alive, Cat2 forewarner and its age, Cat3 order book, Cat4 calm since the last DVOL (implied volatility) spike, Cat5 drawdown.
None = the sensor cannot be read, it counts as its worst value. NaN = it reads nonsense: its worst value, and HIBERNATE at once.
No clock is read: minutes since the last evaluation come in. Source: specification of safety.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from operator import attrgetter
from typing import Any, Final, NamedTuple

from dolphin.config import SurvivalConfig
from dolphin.errors import ConfigError
from dolphin.types import McStatus, Posture, SafetyRecord

__all__ = [
    "PostureMachine",
    "Reading",
    "SafetyRecord",
    "Sensors",
    "SurvivalStack",
    "cat1",
    "cat2",
    "cat3",
    "cat4",
    "cat5",
    "categories",
    "combine",
    "garbled",
    "killed",
    "posture_of",
    "recover",
    "relative_fill",
]

PLAN_FILL: Final = 0.62
"""Fill probability of a maker order that the plan reckons with."""

_MC: Final[Mapping[str, float]] = {McStatus.OK: 1.0, McStatus.ORANGE: 0.5, McStatus.RED: 0.1}
_LEVELS: Final = ((Posture.APEX, 0.90), (Posture.STALKER, 0.75), (Posture.TURTLE, 0.50))
_RANK: Final = {posture: rank for rank, posture in enumerate(reversed(Posture))}
_DOWN, _UP = 2, 5


def cat1(hz_nodes: float | None, heartbeat_age_s: float | None) -> float:
    """0 when the grid has no member or the heartbeat is older than 30 s, else 1."""
    return 1.0 if _or(hz_nodes, 0.0) >= 1 and _or(heartbeat_age_s, math.inf) <= 30 else 0.0


def cat2(mc_status: str | None, staleness_hours: float | None) -> float:
    """``{OK 1, ORANGE 0.5, RED 0.1} * exp(-max(0, hours - 6)/3)``. Any other status, OFF too, counts as RED."""
    status = _MC.get(mc_status, _MC[McStatus.RED]) if isinstance(mc_status, str) else _MC[McStatus.RED]
    return status * math.exp(-max(0.0, _or(staleness_hours, math.inf) - 6.0) / 3.0)


def cat3(ob_stale: bool | None, depth_quality: float | None, fill_prob: float | None) -> float:
    """0.5 when the book is stale, else ``clamp(0.3 + 0.7*min(depth_quality, fill_prob), 0.3, 1)``; ``fill_prob`` as ``relative_fill``.

    ``ob_stale`` that cannot be read: the lower of the two.
    """
    fresh = 0.3 + 0.7 * _clamp(min(_or(depth_quality, 0.0), _or(fill_prob, 0.0)))
    unread = ob_stale is None or not math.isfinite(ob_stale)
    return min(0.5, fresh) if unread else 0.5 if ob_stale else fresh


def cat4(t_since_spike_min: float | None) -> float:
    """``0.3 + 0.7*(1 - exp(-t/60))``, t in minutes since DVOL rose >= 15 % within 60 min; None or inf: no spike, 1. NaN counts as t = 0."""
    if t_since_spike_min is None or t_since_spike_min == math.inf:
        return 1.0
    return 0.3 + 0.7 * (1.0 - math.exp(-max(0.0, _or(t_since_spike_min, 0.0)) / 60.0))


def cat5(drawdown: float | None) -> float:
    """``1/(1 + exp(30*(drawdown - 0.12)))``, drawdown from the peak of marked equity, clamped to [0, 1]; unknown counts as 1."""
    return 1.0 / (1.0 + math.exp(30.0 * (_clamp(_or(drawdown, 1.0)) - 0.12)))


def combine(cat1: float, cat2: float, cat3: float, cat4: float, cat5: float) -> float:
    """Target of Rm: ``cat1*cat5*min(cat2, cat4)*cat3``, halved when two or more of Cat2, Cat3, Cat4 are < 0.8. Not finite counts as 0."""
    c1, c2, c3, c4, c5 = (_clamp(c) for c in (cat1, cat2, cat3, cat4, cat5))
    target = c1 * c5 * min(c2, c4) * c3
    return target * 0.5 if _impaired(c2, c3, c4) >= 2 else target


def recover(last: float, target: float, dt_min: float, cadence_min: float = 1.0) -> float:
    """The next Rm: drops to ``target`` at once, rises by ``min(min(1, 0.02*dt)*(target - last), 0.05*dt)``.

    ``dt`` = ``dt_min`` clamped to [0, 2 cadences]: neither an outage nor a clock that jumps lifts Rm in one step. Not finite counts as 0.
    """
    last, target = _clamp(last), _clamp(target)
    if target <= last:
        return target
    dt = min(max(0.0, _or(dt_min, 0.0)), 2.0 * cadence_min)
    return last + min(min(1.0, 0.02 * dt) * (target - last), 0.05 * dt)


def posture_of(rm: float) -> Posture:
    """Level of ``rm`` without hysteresis: >= 0.90 APEX, >= 0.75 STALKER, >= 0.50 TURTLE, else HIBERNATE (NaN too)."""
    return next((posture for posture, least in _LEVELS if rm >= least), Posture.HIBERNATE)


def relative_fill(median_fill_probability: float) -> float:
    """``min(1, median fill probability over the universe / 0.62)``: relative to plan. NaN stays NaN."""
    return min(median_fill_probability / PLAN_FILL, 1.0)


class PostureMachine:
    """Posture with hysteresis: down after 2 consecutive lower levels (to the newer), up after 5 higher ones (to the lowest of them).

    After a change the counts start anew. ``cap``: the highest posture it may take.
    """

    def __init__(self, start: str = "HIBERNATE", cap: str = "APEX") -> None:
        self._cap = Posture(cap)
        self.posture = _lower(Posture(start), self._cap)
        self._run: list[Posture] = []

    def step(self, rm: float, cat1: float = 1.0, *, halt: bool = False, floor: Posture = Posture.HIBERNATE) -> Posture:
        """One evaluation. ``cat1`` = 0, ``halt`` (kill switch, nonsense on a sensor) or an ``rm`` that is not finite: HIBERNATE at once.

        ``floor``: this level counts as no lower.
        """
        if halt or not cat1 > 0 or not math.isfinite(rm):
            return self._move(Posture.HIBERNATE)
        level = _lower(_higher(posture_of(rm), floor), self._cap)
        here, rank = _RANK[self.posture], _RANK[level]
        if rank == here or (self._run and (_RANK[self._run[0]] < here) != (rank < here)):
            self._run = []
        if rank < here:
            self._run.append(level)
            return self._move(level) if len(self._run) == _DOWN else self.posture
        if rank > here:
            self._run.append(level)
            return self._move(_lower(*self._run)) if len(self._run) == _UP else self.posture
        return self.posture

    def _move(self, posture: Posture) -> Posture:
        self.posture, self._run = posture, []
        return posture


@dataclass(frozen=True, slots=True)
class Sensors:
    """One reading of every sensor. None = cannot be read (also ``t_since_spike_min``, where inf = no spike).

    ``staleness_hours``: age of the last successful forewarner assessment or indicator batch, the older one; ``depth_quality``: median
    over the universe; ``fill_prob``: ``relative_fill``; ``drawdown``: of marked equity from its peak since the lane began, in [0, 1].
    """

    hz_nodes: float | None = None
    heartbeat_age_s: float | None = None
    mc_status: str | None = None
    staleness_hours: float | None = None
    ob_stale: bool | None = None
    depth_quality: float | None = None
    fill_prob: float | None = None
    t_since_spike_min: float | None = None
    drawdown: float | None = None
    kill: bool | None = None


_BOOK: Final = ("ob_stale", "depth_quality", "fill_prob")
_NAMES: Final = {True: tuple(f.name for f in fields(Sensors)), False: tuple(f.name for f in fields(Sensors) if f.name not in _BOOK)}
_READ: Final = {order_book: attrgetter(*names) for order_book, names in _NAMES.items()}
_NUMBER: Final = (float, int, Real)


class Reading(NamedTuple):
    """``cats`` = Cat1..Cat5, ``target`` = ``combine`` of them, ``rm`` = what bounded recovery allows."""

    rm: float
    target: float
    cats: tuple[float, float, float, float, float]


def categories(sensors: Sensors, order_book: bool = True) -> tuple[float, float, float, float, float]:
    """Cat1..Cat5 of a reading; without an order-book layer Cat3 = 1."""
    spike = math.nan if sensors.t_since_spike_min is None else sensors.t_since_spike_min
    return (
        cat1(sensors.hz_nodes, sensors.heartbeat_age_s),
        cat2(sensors.mc_status, sensors.staleness_hours),
        cat3(sensors.ob_stale, sensors.depth_quality, sensors.fill_prob) if order_book else 1.0,
        cat4(spike),
        cat5(sensors.drawdown),
    )


def garbled(sensors: Sensors, order_book: bool = True) -> tuple[str, ...]:
    """Names of the sensors whose number is not finite (inf is a number for ``t_since_spike_min`` only: no spike)."""
    return tuple(
        name
        for name, value in _values(sensors, order_book)
        if isinstance(value, _NUMBER) and not math.isfinite(value) and not (value == math.inf and name == "t_since_spike_min")
    )


def killed(sensors: Sensors) -> bool:
    """Whether the kill switch is engaged, or cannot be read."""
    return sensors.kill is None or bool(sensors.kill)


class SurvivalStack:
    """Rm and posture from evaluation to evaluation. It starts cold: Rm 0, HIBERNATE.

    ``rm`` and ``posture`` other than cold are for research (``replay``); ``seq``: the last number published before.
    Evaluate once a cadence: every call counts for hysteresis. In between, call it only when Cat1 is 0 or the kill switch is engaged.
    """

    def __init__(self, config: SurvivalConfig | None = None, *, rm: float = 0.0, posture: str = "HIBERNATE", seq: int = 0) -> None:
        self.config = _checked(config or SurvivalConfig())
        self.rm, self.seq = _clamp(rm), seq
        self._floor_rm = {"mc_orange_floor": self.rm, "ob_stale_floor": self.rm}
        self._machine = PostureMachine(posture, Posture.APEX if self.config.order_book else Posture.STALKER)

    @property
    def posture(self) -> Posture:
        """Posture after the last evaluation."""
        return self._machine.posture

    @property
    def flags(self) -> tuple[str, ...]:
        """What every report has to name: floors that are set, an absent order book."""
        floors = tuple(f"{name}={value}" for name in self._floor_rm if (value := getattr(self.config, name)) != "none")
        return floors if self.config.order_book else (*floors, "no_order_book")

    def compute_rm(self, sensors: Sensors, dt_min: float) -> Reading:
        """The next Rm, ``dt_min`` minutes (of a monotonic clock) after the one before."""
        cats = categories(sensors, self.config.order_book)
        target = combine(*cats)
        self.rm = recover(self.rm, target, dt_min, self.config.cadence_min)
        return Reading(self.rm, target, cats)

    def evaluate(self, sensors: Sensors, dt_min: float, ts_ms: int) -> SafetyRecord:
        """One evaluation: Rm, posture and the record to publish. ``ts_ms``: the wall clock, carried along and never used."""
        reading = self.compute_rm(sensors, dt_min)
        floors = self._floors(sensors, reading, dt_min)
        floor = _higher(Posture.HIBERNATE, *floors.values()) if floors else Posture.HIBERNATE
        nonsense = garbled(sensors, self.config.order_book)
        halt = killed(sensors) or bool(nonsense)
        posture = self._machine.step(reading.rm, reading.cats[0], halt=halt, floor=floor)
        lifted = () if halt or _RANK[floor] <= _RANK[posture_of(reading.rm)] else tuple(name for name in floors if floors[name] == floor)
        reasons = _reasons(sensors, reading, self.config.order_book, nonsense) + [f"lifted to {floor} by {name}" for name in lifted]
        self.seq += 1
        c1, c2, c3, c4, c5 = reading.cats
        return SafetyRecord(
            posture=posture, rm=reading.rm, target=reading.target, cat1=c1, cat2=c2, cat3=c3, cat4=c4, cat5=c5,
            reasons=tuple(reasons), ts_ms=ts_ms, seq=self.seq,
        )  # fmt: skip

    def _floors(self, sensors: Sensors, reading: Reading, dt_min: float) -> dict[str, Posture]:
        """Postures that the set floors grant. "Alone" is measured: a second Rm, under the same law, that does not see the one cause."""
        orange = sensors.mc_status == McStatus.ORANGE
        stale = self.config.order_book and sensors.ob_stale is not None and sensors.ob_stale == 1
        c1, c2, c3, c4, c5 = reading.cats
        no_orange = combine(c1, cat2(McStatus.OK, sensors.staleness_hours), c3, c4, c5) if orange else reading.target
        no_stale = combine(c1, c2, cat3(False, 1.0, 1.0), c4, c5) if stale else reading.target
        granted = {}
        for name, active, healed in (("mc_orange_floor", orange, no_orange), ("ob_stale_floor", stale, no_stale)):
            self._floor_rm[name] = recover(self._floor_rm[name], healed, dt_min, self.config.cadence_min)
            floor = getattr(self.config, name)
            if active and floor != "none":
                granted[name] = _lower(Posture(floor), posture_of(self._floor_rm[name]))
        return granted


def _reasons(sensors: Sensors, reading: Reading, order_book: bool, nonsense: Sequence[str]) -> list[str]:
    found = []
    if killed(sensors):
        found.append("kill switch cannot be read" if sensors.kill is None else "kill switch engaged")
    found += [f"{name} is not finite" for name in nonsense]
    found += [f"{name} cannot be read" for name, value in _values(sensors, order_book) if value is None and name != "kill"]
    c1, c2, c3, c4, c5 = reading.cats
    if c1 == 0:
        found.append(f"grid: {sensors.hz_nodes} members, heartbeat {sensors.heartbeat_age_s} s old")
    if c2 < 1:
        found.append(f"forewarner {sensors.mc_status}, {sensors.staleness_hours} h old: Cat2 {c2:.3f}")
    if c3 < 1:
        found.append(f"order book {'stale' if sensors.ob_stale else 'thin'}: Cat3 {c3:.3f}")
    if c4 < 0.9995:
        found.append(f"DVOL spike {sensors.t_since_spike_min} min ago: Cat4 {c4:.3f}")
    if c5 < 0.95:
        found.append(f"drawdown {sensors.drawdown}: Cat5 {c5:.3f}")
    if _impaired(c2, c3, c4) >= 2:
        found.append("two or more of Cat2, Cat3, Cat4 below 0.8: halved")
    if reading.rm < reading.target - 0.001:
        found.append(f"recovering towards {reading.target:.3f}")
    if not order_book:
        found.append("no order-book layer: at most STALKER")
    return found


def _values(sensors: Sensors, order_book: bool) -> Iterator[tuple[str, Any]]:
    return zip(_NAMES[order_book], _READ[order_book](sensors), strict=True)


def _checked(config: SurvivalConfig) -> SurvivalConfig:
    for name in ("mc_orange_floor", "ob_stale_floor"):
        if getattr(config, name) not in ("none", Posture.TURTLE):
            raise ConfigError(f"survival.{name} = {getattr(config, name)!r}: expected none or TURTLE")
    if not 0 < config.cadence_min <= 60:
        raise ConfigError(f"survival.cadence_min = {config.cadence_min!r}: expected minutes in (0, 60]")
    return config


def _impaired(c2: float, c3: float, c4: float) -> int:
    return (c2 < 0.8) + (c3 < 0.8) + (c4 < 0.8)


def _or(value: float | None, worst: float) -> float:
    """``value``, or ``worst`` where it is no finite number: NaN must go before any clamp (min and max let it through)."""
    return worst if value is None or not math.isfinite(value) else value


def _clamp(value: float) -> float:
    return value if 0.0 < value < 1.0 else 1.0 if 1.0 <= value < math.inf else 0.0


def _lower(*postures: Posture) -> Posture:
    return min(postures, key=_RANK.__getitem__)


def _higher(*postures: Posture) -> Posture:
    return max(postures, key=_RANK.__getitem__)
