"""Survival stack: the formulas of Rm (risk multiplier), its bounded recovery and the posture's hysteresis.

NaN = cannot be read, or nonsense: the worst value. A posture is its rank: 0 HIBERNATE, 1 TURTLE, 2 STALKER, 3 APEX. The watchdog calls
the same bodies as plain Python (``py_func``) and compiles nothing. Source: specification of safety.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from dolphin.kernels._jit import kernel
from dolphin.types import Array, Ints, McStatus, Posture

__all__ = [
    "POSTURES",
    "Course",
    "Rules",
    "Senses",
    "cat1_nb",
    "cat2_nb",
    "cat3_nb",
    "cat4_nb",
    "cat5_nb",
    "categories_nb",
    "combine_nb",
    "due_rows_nb",
    "evaluate_nb",
    "impaired_nb",
    "level_nb",
    "recover_nb",
    "relative_fill_nb",
    "step_nb",
    "unit_nb",
    "watch_day_nb",
]  # fmt: skip

OK, ORANGE = (list(McStatus).index(status) for status in (McStatus.OK, McStatus.ORANGE))
POSTURES: Final = tuple(reversed(Posture))
"""By rank."""

HIBERNATE, TURTLE, STALKER, APEX = range(4)
DOWN, UP = 2, 5
"""Consecutive evaluations that lower, and that lift."""

PLAN_FILL: Final = 0.62
"""Fill probability of a maker order that the plan reckons with."""


class Senses(NamedTuple):
    """One reading: ``mc_status`` its place in ``McStatus``, ``ob_stale`` 0 or 1, ``fill_prob`` relative to plan, the rest as named."""

    hz_nodes: float
    heartbeat_age_s: float
    mc_status: int
    staleness_hours: float
    ob_stale: float
    depth_quality: float
    fill_prob: float
    t_since_spike_min: float
    drawdown: float


class Rules(NamedTuple):
    """Settings: ``cap`` and the two floors are ranks (a floor of 0 = none)."""

    order_book: bool
    cadence_min: float
    cap: int
    orange_floor: int
    stale_floor: int


class Course(NamedTuple):
    """What goes on from evaluation to evaluation: Rm; Rm as it would be without the forewarner's ORANGE, and without a stale book; rank;
    ``run`` = consecutive evaluations below (< 0) or above (> 0) it, ``least`` = their lowest level.
    """

    rm: float
    rm_but_orange: float
    rm_but_stale: float
    rank: int
    run: int
    least: int


@kernel
def _or_nb(value: float, worst: float) -> float:
    """``value``, or ``worst`` where it is not finite: NaN must go before any clamp (min and max let it through)."""
    return value if math.isfinite(value) else worst


@kernel
def unit_nb(value: float) -> float:
    """``value`` clamped to [0, 1]; not finite counts as 0."""
    return value if 0.0 < value < 1.0 else 1.0 if 1.0 <= value < math.inf else 0.0


@kernel
def cat1_nb(hz_nodes: float, heartbeat_age_s: float) -> float:
    """0 when the grid has no member or the heartbeat is older than 30 s, else 1."""
    return 1.0 if _or_nb(hz_nodes, 0.0) >= 1.0 and _or_nb(heartbeat_age_s, math.inf) <= 30.0 else 0.0


@kernel
def cat2_nb(mc_status: int, staleness_hours: float) -> float:
    """``{OK 1, ORANGE 0.5, else 0.1} * exp(-max(0, hours - 6)/3)``."""
    status = 1.0 if mc_status == OK else 0.5 if mc_status == ORANGE else 0.1
    return status * math.exp(-max(0.0, _or_nb(staleness_hours, math.inf) - 6.0) / 3.0)


@kernel
def cat3_nb(ob_stale: float, depth_quality: float, fill_prob: float) -> float:
    """0.5 when the book is stale, else ``clamp(0.3 + 0.7*min(depth_quality, fill_prob), 0.3, 1)``; not known (not finite): the lower."""
    fresh = 0.3 + 0.7 * unit_nb(min(_or_nb(depth_quality, 0.0), _or_nb(fill_prob, 0.0)))
    if not math.isfinite(ob_stale):
        return min(0.5, fresh)
    return 0.5 if ob_stale != 0.0 else fresh


@kernel
def cat4_nb(t_since_spike_min: float) -> float:
    """``0.3 + 0.7*(1 - exp(-t/60))``, t in minutes; inf = no spike = 1, NaN counts as t = 0."""
    if t_since_spike_min == math.inf:
        return 1.0
    return 0.3 + 0.7 * (1.0 - math.exp(-max(0.0, _or_nb(t_since_spike_min, 0.0)) / 60.0))


@kernel
def cat5_nb(drawdown: float) -> float:
    """``1/(1 + exp(30*(drawdown - 0.12)))``, drawdown clamped to [0, 1]; NaN counts as 1."""
    return 1.0 / (1.0 + math.exp(30.0 * (unit_nb(_or_nb(drawdown, 1.0)) - 0.12)))


@kernel
def categories_nb(senses: Any, order_book: bool) -> tuple[float, float, float, float, float]:
    """Cat1 .. Cat5 of ``Senses``; without an order-book layer Cat3 = 1."""
    return (
        cat1_nb(senses.hz_nodes, senses.heartbeat_age_s),
        cat2_nb(senses.mc_status, senses.staleness_hours),
        cat3_nb(senses.ob_stale, senses.depth_quality, senses.fill_prob) if order_book else 1.0,
        cat4_nb(senses.t_since_spike_min),
        cat5_nb(senses.drawdown),
    )


@kernel
def impaired_nb(c2: float, c3: float, c4: float) -> int:
    """How many of Cat2, Cat3, Cat4 are below 0.8."""
    return (1 if c2 < 0.8 else 0) + (1 if c3 < 0.8 else 0) + (1 if c4 < 0.8 else 0)


@kernel
def combine_nb(c1: float, c2: float, c3: float, c4: float, c5: float) -> float:
    """Target of Rm: ``c1*c5*min(c2, c4)*c3``, halved when two or more of c2, c3, c4 are < 0.8. Not finite counts as 0."""
    c1, c2, c3, c4, c5 = unit_nb(c1), unit_nb(c2), unit_nb(c3), unit_nb(c4), unit_nb(c5)
    target = c1 * c5 * min(c2, c4) * c3
    return target * 0.5 if impaired_nb(c2, c3, c4) >= 2 else target


@kernel
def recover_nb(last: float, target: float, dt_min: float, cadence_min: float) -> float:
    """The next Rm: ``target`` at once when lower, else a rise by ``min(min(1, 0.02*dt)*(target - last), 0.05*dt)``, dt in
    [0, 2 cadences]."""
    last, target = unit_nb(last), unit_nb(target)
    if target <= last:
        return target
    dt = min(max(0.0, _or_nb(dt_min, 0.0)), 2.0 * cadence_min)
    return last + min(min(1.0, 0.02 * dt) * (target - last), 0.05 * dt)


@kernel
def level_nb(rm: float) -> int:
    """Rank of ``rm`` without hysteresis: >= 0.90, 0.75, 0.50; NaN is 0."""
    return APEX if rm >= 0.90 else STALKER if rm >= 0.75 else TURTLE if rm >= 0.50 else HIBERNATE


@kernel
def relative_fill_nb(median_fill_probability: float) -> float:
    """``min(1, median fill probability over the universe / 0.62)``; NaN stays NaN."""
    share = median_fill_probability / PLAN_FILL
    return 1.0 if share > 1.0 else share


@kernel
def step_nb(held: tuple[int, int, int], rm: float, cat1: float, halt: bool, floor: int, cap: int) -> tuple[int, int, int]:
    """One evaluation of the hysteresis: ``(rank, run, least)`` of ``Course`` after it. ``halt``, ``cat1`` not > 0, ``rm`` not finite: 0."""
    rank, run, least = held
    if halt or not cat1 > 0.0 or not math.isfinite(rm):
        return HIBERNATE, 0, HIBERNATE
    level = min(max(level_nb(rm), floor), cap)
    if level == rank:
        return rank, 0, rank
    if level < rank:
        run = min(run, 0) - 1
        return (level, 0, level) if run == -DOWN else (rank, run, level)
    least = min(least, level) if run > 0 else level
    run = max(run, 0) + 1
    return (least, 0, least) if run == UP else (rank, run, least)


@kernel
def evaluate_nb(senses: Any, halt: bool, dt_min: float, rules: Any, course: Any) -> tuple[Any, Any, float, tuple[int, int]]:
    """One evaluation: ``(Course after it, Cat1 .. Cat5, target, (rank granted by orange_floor, by stale_floor))``.

    A floor helps against its one cause alone, and "alone" is measured: by the Rm that does not see this cause, under the same law.
    """
    cats = categories_nb(senses, rules.order_book)
    c1, c2, c3, c4, c5 = cats
    target = combine_nb(c1, c2, c3, c4, c5)
    orange, stale = senses.mc_status == ORANGE, rules.order_book and senses.ob_stale == 1.0
    calm = combine_nb(c1, cat2_nb(OK, senses.staleness_hours) if orange else c2, c3, c4, c5)
    fresh = combine_nb(c1, c2, cat3_nb(0.0, 1.0, 1.0) if stale else c3, c4, c5)
    rm = recover_nb(course.rm, target, dt_min, rules.cadence_min)
    rm_but_orange = recover_nb(course.rm_but_orange, calm, dt_min, rules.cadence_min)
    rm_but_stale = recover_nb(course.rm_but_stale, fresh, dt_min, rules.cadence_min)
    floors = (
        min(rules.orange_floor, level_nb(rm_but_orange)) if orange else HIBERNATE,
        min(rules.stale_floor, level_nb(rm_but_stale)) if stale else HIBERNATE,
    )
    rank, run, least = step_nb((course.rank, course.run, course.least), rm, c1, halt, max(floors[0], floors[1]), rules.cap)
    return Course(rm, rm_but_orange, rm_but_stale, rank, run, least), cats, target, floors


@kernel
def due_rows_nb(ts: Ints, start: int, end: int, cadence: int, closed: int, out: Ints) -> int:
    """Rows after whose bars the watchdog evaluates, into ``out`` int64[n]: the first close at or after each whole cadence (ms) since
    ``start``, and at ``end``. How many, or -1 when ``ts`` int64[n] ms do not ascend within (start, end].

    ``closed``: the last close before the day, ms.
    """
    found, before = 0, start
    due = start if closed < start else start + cadence
    for i in range(ts.shape[0]):
        if not before < ts[i] <= end:
            return -1
        before = ts[i]
        if before >= min(due, end):
            out[found] = i
            found += 1
            due = start + ((before - start) // cadence + 1) * cadence
    return found


@kernel
def watch_day_nb(
    equity: Array, rows: Ints, minutes: Array, book: Array, senses: Any, rules: Any, course: Any, peak: float, changes: Ints
) -> tuple[Any, float, float, int]:
    """Evaluate at the closes of the bars ``rows`` int64[m] of a day; return ``(Course at its end, highest equity, lowest Rm, changes)``.

    ``equity`` float64[n] USDT at every bar; ``minutes`` float64[m] since the evaluation before; ``book`` float64[m, 3] (ob_stale, median
    depth quality, median fill probability; NaN = cannot be read); ``senses``: every other sensor; ``peak``: highest equity before the day.
    ``changes`` int64[m, 2] is written: (row, rank), each from that row on. ``drawdown = 1 - max(equity, 0)/peak``. A change depends on the
    bars before its row only.
    """
    done, found, lowest = 0, 0, course.rm
    for i in range(rows.shape[0]):
        while done <= rows[i]:
            peak = max(peak, equity[done])
            done += 1
        drawdown = 1.0 - max(equity[rows[i]], 0.0) / peak
        now = Senses(
            senses.hz_nodes, senses.heartbeat_age_s, senses.mc_status, senses.staleness_hours, book[i, 0], book[i, 1],
            relative_fill_nb(book[i, 2]), senses.t_since_spike_min, drawdown,
        )  # fmt: skip
        before = course.rank
        course, _, _, _ = evaluate_nb(now, not math.isfinite(drawdown), minutes[i], rules, course)
        lowest = min(lowest, course.rm)
        if course.rank != before:
            changes[found, 0], changes[found, 1] = rows[i] + 1, course.rank
            found += 1
    while done < equity.shape[0]:
        peak = max(peak, equity[done])
        done += 1
    return course, peak, lowest, found
