"""Survival stack: what the sensors say -> Rm (risk multiplier) in [0, 1] -> posture. Five categories ("Cats"):

Cat1 grid alive, Cat2 forewarner and its age, Cat3 order book, Cat4 calm since the last DVOL (implied volatility) spike, Cat5 drawdown.
None = the sensor cannot be read, it counts as its worst value. NaN = it reads nonsense: its worst value, and HIBERNATE at once.
No clock is read: minutes since the last evaluation come in. Source: specification of safety.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from operator import attrgetter
from typing import Any, Final, NamedTuple

from dolphin.config import SurvivalConfig
from dolphin.errors import ConfigError
from dolphin.kernels import survival as law
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
    "senses_of",
]

_RANK: Final = {posture: rank for rank, posture in enumerate(law.POSTURES)}
_STATUS: Final[Mapping[str, int]] = {status: k for k, status in enumerate(McStatus) if status is not McStatus.OFF}
_FLOORS: Final = ("mc_orange_floor", "ob_stale_floor")
_LAYERS: Final = ("order_book", "dvol")
_cat1, _cat2, _cat3 = law.cat1_nb.py_func, law.cat2_nb.py_func, law.cat3_nb.py_func
_cat4, _cat5, _categories = law.cat4_nb.py_func, law.cat5_nb.py_func, law.categories_nb.py_func
_combine, _evaluate, _recover = law.combine_nb.py_func, law.evaluate_nb.py_func, law.recover_nb.py_func
_impaired, _level, _step = law.impaired_nb.py_func, law.level_nb.py_func, law.step_nb.py_func
_relative_fill, _unit = law.relative_fill_nb.py_func, law.unit_nb.py_func


def cat1(hz_nodes: float | None, heartbeat_age_s: float | None) -> float:
    """0 when the grid has no member or the heartbeat is older than 30 s, else 1."""
    return _cat1(_number(hz_nodes), _number(heartbeat_age_s))


def cat2(mc_status: str | None, staleness_hours: float | None) -> float:
    """``{OK 1, ORANGE 0.5, RED 0.1} * exp(-max(0, hours - 6)/3)``. Any other status, OFF too, counts as RED."""
    return _cat2(_status(mc_status), _number(staleness_hours))


def cat3(ob_stale: bool | None, depth_quality: float | None, fill_prob: float | None) -> float:
    """0.5 when the book is stale, else ``clamp(0.3 + 0.7*min(depth_quality, fill_prob), 0.3, 1)``; ``fill_prob`` as ``relative_fill``.

    ``ob_stale`` that cannot be read: the lower of the two.
    """
    return _cat3(_number(ob_stale), _number(depth_quality), _number(fill_prob))


def cat4(t_since_spike_min: float | None) -> float:
    """``0.3 + 0.7*(1 - exp(-t/60))``, t in minutes since DVOL rose >= 15 % within 60 min; None or inf: no spike, 1. NaN counts as t = 0."""
    return _cat4(math.inf if t_since_spike_min is None else float(t_since_spike_min))


def cat5(drawdown: float | None) -> float:
    """``1/(1 + exp(30*(drawdown - 0.12)))``, drawdown from the peak of marked equity, clamped to [0, 1]; unknown counts as 1."""
    return _cat5(_number(drawdown))


def combine(cat1: float, cat2: float, cat3: float, cat4: float, cat5: float) -> float:
    """Target of Rm: ``cat1*cat5*min(cat2, cat4)*cat3``, halved when two or more of Cat2, Cat3, Cat4 are < 0.8. Not finite counts as 0."""
    return _combine(cat1, cat2, cat3, cat4, cat5)


def recover(last: float, target: float, dt_min: float, cadence_min: float = 1.0) -> float:
    """The next Rm: drops to ``target`` at once, rises by ``min(min(1, 0.02*dt)*(target - last), 0.05*dt)``.

    ``dt`` = ``dt_min`` clamped to [0, 2 cadences]: neither an outage nor a clock that jumps lifts Rm in one step. Not finite counts as 0.
    """
    return _recover(last, target, dt_min, cadence_min)


def posture_of(rm: float) -> Posture:
    """Level of ``rm`` without hysteresis: >= 0.90 APEX, >= 0.75 STALKER, >= 0.50 TURTLE, else HIBERNATE (NaN too)."""
    return law.POSTURES[_level(rm)]


def relative_fill(median_fill_probability: float) -> float:
    """``min(1, median fill probability over the universe / 0.62)``: relative to plan. NaN stays NaN."""
    return _relative_fill(median_fill_probability)


class PostureMachine:
    """Posture with hysteresis: down after 2 consecutive lower levels (to the newer), up after 5 higher ones (to the lowest of them).

    After a change the counts start anew. ``cap``: the highest posture it may take.
    """

    def __init__(self, start: str = "HIBERNATE", cap: str = "APEX") -> None:
        self._cap = _RANK[Posture(cap)]
        rank = min(_RANK[Posture(start)], self._cap)
        self._held = (rank, 0, rank)

    @property
    def posture(self) -> Posture:
        """Posture after the last evaluation."""
        return law.POSTURES[self._held[0]]

    def step(self, rm: float, cat1: float = 1.0, *, halt: bool = False, floor: Posture = Posture.HIBERNATE) -> Posture:
        """One evaluation. ``cat1`` = 0, ``halt`` (kill switch, nonsense on a sensor) or an ``rm`` that is not finite: HIBERNATE at once.

        ``floor``: this level counts as no lower.
        """
        self._held = _step(self._held, rm, cat1, halt, _RANK[floor], self._cap)
        return self.posture


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


_NAMES: Final = {
    True: tuple(f.name for f in fields(Sensors)),
    False: tuple(f.name for f in fields(Sensors) if f.name not in ("ob_stale", "depth_quality", "fill_prob")),
}
_READ: Final = {order_book: attrgetter(*names) for order_book, names in _NAMES.items()}
_NUMBER: Final = (float, int, Real)
"""The first two only make the usual answer a quick one."""


class Reading(NamedTuple):
    """``cats`` = Cat1..Cat5, ``target`` = ``combine`` of them, ``rm`` = what bounded recovery allows."""

    rm: float
    target: float
    cats: tuple[float, float, float, float, float]


def senses_of(sensors: Sensors, **others: object) -> law.Senses:
    """A reading as the formulas take it, what cannot be read as NaN; ``others`` replace sensors by name."""
    s = replace(sensors, **others) if others else sensors  # type: ignore[arg-type]
    return law.Senses(
        _number(s.hz_nodes), _number(s.heartbeat_age_s), _status(s.mc_status), _number(s.staleness_hours), _number(s.ob_stale),
        _number(s.depth_quality), _number(s.fill_prob), _number(s.t_since_spike_min), _number(s.drawdown),
    )  # fmt: skip


def categories(sensors: Sensors, order_book: bool = True) -> tuple[float, float, float, float, float]:
    """Cat1..Cat5 of a reading; without an order-book layer Cat3 = 1."""
    return _categories(senses_of(sensors), order_book)


def garbled(sensors: Sensors, order_book: bool = True) -> tuple[str, ...]:
    """Names of the sensors whose number is not finite (inf is a number for ``t_since_spike_min`` only: no spike)."""
    odd = [(name, value) for name, value in _values(sensors, order_book) if isinstance(value, _NUMBER) and not math.isfinite(value)]
    return tuple(name for name, value in odd if not (name == "t_since_spike_min" and value == math.inf))


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
        self.rules = _rules(self.config)
        """The settings as the formulas take them."""
        rm, rank = _unit(rm), min(_RANK[Posture(posture)], self.rules.cap)
        self.course = law.Course(rm, rm, rm, rank, 0, rank)
        """What goes on from evaluation to evaluation."""
        self.seq = seq

    @property
    def rm(self) -> float:
        """Rm after the last evaluation."""
        return self.course.rm

    @property
    def posture(self) -> Posture:
        """Posture after the last evaluation."""
        return law.POSTURES[self.course.rank]

    @property
    def flags(self) -> tuple[str, ...]:
        """What every report has to name: floors that are set, an absent order book or DVOL."""
        floors = tuple(f"{name}={value}" for name in _FLOORS if (value := getattr(self.config, name)) != "none")
        return (*floors, *(f"no_{name}" for name in _LAYERS if not getattr(self.config, name)))

    def compute_rm(self, sensors: Sensors, dt_min: float) -> Reading:
        """The next Rm, ``dt_min`` minutes (of a monotonic clock) after the one before."""
        cats = categories(self._fed(sensors), self.config.order_book)
        target = combine(*cats)
        self.course = self.course._replace(rm=recover(self.rm, target, dt_min, self.config.cadence_min))
        return Reading(self.rm, target, cats)

    def evaluate(self, sensors: Sensors, dt_min: float, ts_ms: int) -> SafetyRecord:
        """One evaluation: Rm, posture and the record to publish. ``ts_ms``: the wall clock, carried along and never used."""
        order_book, sensors = self.config.order_book, self._fed(sensors)
        nonsense = garbled(sensors, order_book)
        halt = killed(sensors) or bool(nonsense)
        self.course, cats, target, floors = _evaluate(senses_of(sensors), halt, dt_min, self.rules, self.course)
        floor = max(floors)
        helped = not halt and floor > _level(self.rm)
        lifted = [name for name, granted in zip(_FLOORS, floors, strict=True) if helped and granted == floor]
        self.seq += 1
        c1, c2, c3, c4, c5 = cats
        reasons = _reasons(sensors, Reading(self.rm, target, cats), order_book, nonsense)
        reasons += [] if self.config.dvol else ["no DVOL: at most STALKER"]
        return SafetyRecord(
            posture=self.posture, rm=self.rm, target=target, cat1=c1, cat2=c2, cat3=c3, cat4=c4, cat5=c5,
            reasons=(*reasons, *(f"lifted to {law.POSTURES[floor]} by {name}" for name in lifted)), ts_ms=ts_ms, seq=self.seq,
        )  # fmt: skip

    def _fed(self, sensors: Sensors) -> Sensors:
        """Without a DVOL layer there is no spike: Cat4 = 1."""
        return sensors if self.config.dvol else replace(sensors, t_since_spike_min=math.inf)


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
    for name in _FLOORS:
        if getattr(config, name) not in ("none", Posture.TURTLE):
            raise ConfigError(f"survival.{name} = {getattr(config, name)!r}: expected none or TURTLE")
    if not 0 < config.cadence_min <= 60:
        raise ConfigError(f"survival.cadence_min = {config.cadence_min!r}: expected minutes in (0, 60]")
    return config


def _rules(config: SurvivalConfig) -> law.Rules:
    orange, stale = (0 if (floor := getattr(config, name)) == "none" else _RANK[Posture(floor)] for name in _FLOORS)
    cap = Posture.APEX if config.order_book and config.dvol else Posture.STALKER
    return law.Rules(config.order_book, config.cadence_min, _RANK[cap], orange, stale)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _status(mc_status: str | None) -> int:
    """Place in ``McStatus``; what is no verdict is RED."""
    red = _STATUS[McStatus.RED]
    return _STATUS.get(mc_status, red) if isinstance(mc_status, str) else red
