"""The watchdog in a backtest: postures computed from the run's own equity, the forewarner's word and the book.

Once a cadence, at the close of a bar, the survival stack is evaluated; what it decides holds from the next bar on, over midnight too.
A posture changes the bars after it, and these change the drawdown that later postures come from. The day is therefore run under
postures that are assumed, evaluated, and run again from where it began until what is found is what was assumed: a fixed point.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from dolphin.config import SurvivalConfig
from dolphin.engine.history import read_only
from dolphin.engine.marks import honest_terms
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows, NDPosition
from dolphin.engine.schedule import DAY_MS, PostureSchedule, day_start, minutes_by_posture
from dolphin.engine.survival import SurvivalStack, senses_of
from dolphin.engine.survival_report import HEALTHY
from dolphin.errors import CheckFailed, QualityError
from dolphin.kernels.marked import mark_curve_nb
from dolphin.kernels.survival import (
    POSTURES,
    Course,
    Senses,
    categories_nb,
    combine_nb,
    due_rows_nb,
    level_nb,
    relative_fill_nb,
    watch_day_nb,
)
from dolphin.types import Array, Ints, McStatus, Posture

__all__ = ["BookSensors", "RunWatch", "WatchedDay", "evaluation_rows"]

_LEG = ("entry_bar", "direction", "entry_price", "fraction", "leverage")
_OPEN = itemgetter(*_LEG)
_CLOSED = itemgetter("exit_bar", "honest_capital_after", *_LEG)


@runtime_checkable
class BookSensors(Protocol):
    """What the watch asks of a book."""

    def sensors(self, ts: Ints) -> Array:
        """float64[n, 3] at ``ts`` int64[n] ms: stale (0 or 1), median depth quality, median fill probability; NaN = not known."""


@dataclass(frozen=True, slots=True)
class WatchedDay:
    """``result``: of ``process_rows``; ``changes``: (ts_ms, posture), each holds for the bars that close after it; ``minutes`` by posture;
    ``passes``: how often the day was run.
    """

    result: dict[str, Any]
    changes: tuple[tuple[int, Posture], ...]
    minutes: Mapping[Posture, float]
    lowest_rm: float
    passes: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """When a day is evaluated: ``rows`` int64[m], ``minutes`` float64[m] since the evaluation before, ``book`` float64[m, 3] then;
    ``opening`` float64[3]: the book at the close of the first bar."""

    date: str
    ts: Ints
    rows: Ints
    minutes: Array
    book: Array
    opening: Array


@dataclass(frozen=True, slots=True)
class _Path:
    """Postures of a day: ``start`` rank, ``changes`` (row, rank) from that row on (the number of rows: from the next day on), and where
    the stack and the peak of equity end."""

    start: int
    changes: list[list[int]]
    course: Course
    peak: float
    lowest_rm: float

    def known(self, n: int) -> list[tuple[int, Posture]]:
        """Changes within ``n`` rows, as the engine takes them."""
        return [(row, POSTURES[rank]) for row, rank in self.changes if row < n]

    def first_difference(self, other: _Path, n: int) -> int:
        """First of ``n`` rows whose posture is another; ``n`` when there is none."""
        if self.start != other.start:
            return 0
        mine, its = ({row: rank for row, rank in path.changes if row < n} for path in (self, other))
        return min((row for row in mine.keys() | its.keys() if mine.get(row) != its.get(row)), default=n)


class RunWatch:
    """Watches one run, day after day. ``book`` None, or ``order_book`` off: no order-book layer, at most STALKER.

    It starts warm, as if the lane had been up: Rm is its first target and the posture that target's. The grid is alive (a backtest has
    none to lose), no DVOL spike is known, nobody engages the kill switch.
    """

    def __init__(self, config: SurvivalConfig, book: BookSensors | None = None) -> None:
        self._book = book if config.order_book else None
        self.config = config if self._book is not None else msgspec.structs.replace(config, order_book=False)
        self.flags = SurvivalStack(self.config).flags
        """What every report has to name."""
        self.changes: list[tuple[int, Posture]] = []
        """(ts_ms, posture) of the run so far; the first is the posture in which it began."""
        self.minutes: Counter[Posture] = Counter()
        self.lowest_rm = math.nan
        self._rules = SurvivalStack(self.config).rules
        self._course: Course | None = None
        self._peak = 0.0
        self._status, self._evaluated, self._closed = McStatus.OFF.value, 0, 0

    @property
    def schedule(self) -> PostureSchedule:
        """What was found so far, for whoever replays the run."""
        return PostureSchedule(tuple(self.changes))

    def run_day(self, engine: NDAlphaEngine, date: str, rows: DayRows, direction: int = -1) -> WatchedDay:
        """Run a whole day in the postures that follow from it; ``engine`` ends as if it had been told each of them in time.

        Raises ``QualityError`` for a day without times.
        """
        n = len(rows.ts_ms)
        if not n and self._course is None:
            return WatchedDay(engine.process_rows(date, rows, direction=direction), (), {}, math.nan, 1)
        plan = self._plan(date, rows)
        began, before = engine.checkpoint(), (engine.bar_count, engine.honest_capital, engine.position)
        self._peak = max(self._peak, before[1])
        assumed = self._first_guess(plan, before[1])
        passes, settled = 0, -1
        while True:
            passes += 1
            posture = POSTURES[assumed.start]
            result = engine.process_rows(date, rows, direction=direction, posture=posture, changes=assumed.known(n))
            self._status = result["mc_status"]
            found = self._evaluate(plan, _equity(engine, rows, result, before))
            first = found.first_difference(assumed, n)
            if first == n:
                return self._close(plan, result, found, passes)
            if first <= settled:
                raise CheckFailed(f"{date}: postures do not settle beyond row {first} (pass {passes}); this is a defect")
            engine.rewind(began)
            assumed, settled = found, first

    def _first_guess(self, plan: _Plan, capital: float) -> _Path:
        """What the book alone would lead to; without one, no change at all."""
        if self._book is None and self._course is not None:
            return _Path(self._course.rank, [], self._course, self._peak, self._course.rm)
        return self._evaluate(plan, np.full(len(plan.ts), capital))

    def _plan(self, date: str, rows: DayRows) -> _Plan:
        ts, start = rows.ts_ms, day_start(date)
        due = evaluation_rows(ts, start, self.config.cadence_min, self._closed)
        at = ts[due]
        minutes = np.diff(at, prepend=self._evaluated or start) / 60_000.0
        asked = np.concatenate([ts[:1], at])
        book = np.full((len(asked), 3), np.nan) if self._book is None else self._book.sensors(asked)
        return _Plan(date, ts, due, minutes, book[1:], book[0] if len(ts) else np.full(3, np.nan))

    def _evaluate(self, plan: _Plan, equity: Array) -> _Path:
        """Postures of the day if its equity float64[n] were this."""
        senses = senses_of(HEALTHY, mc_status=self._status if self._status != McStatus.OFF else McStatus.OK)
        course = self._course or self._warm(senses, plan.opening)
        changes = np.empty((len(plan.rows), 2), dtype=np.int64)
        end, peak, lowest, found = watch_day_nb(
            equity, plan.rows, plan.minutes, plan.book, senses, self._rules, course, self._peak, changes
        )
        return _Path(course.rank, changes[:found].tolist(), Course(*end), peak, lowest)

    def _warm(self, senses: Senses, book: Array) -> Course:
        stale, quality, fill = book.tolist()
        senses = senses._replace(ob_stale=stale, depth_quality=quality, fill_prob=relative_fill_nb.py_func(fill), drawdown=0.0)
        rm = combine_nb.py_func(*categories_nb.py_func(senses, self._rules.order_book))
        return SurvivalStack(self.config, rm=rm, posture=POSTURES[level_nb.py_func(rm)]).course

    def _close(self, plan: _Plan, result: dict[str, Any], path: _Path, passes: int) -> WatchedDay:
        n = len(plan.ts)
        minutes = minutes_by_posture(plan.date, plan.ts, POSTURES[path.start], path.known(n))
        changes = tuple((int(plan.ts[row - 1]), POSTURES[rank]) for row, rank in path.changes)
        if not self.changes:
            self.changes.append((day_start(plan.date), POSTURES[path.start]))
        self.changes += changes
        self.minutes.update(minutes)
        self.lowest_rm = min(path.lowest_rm, self.lowest_rm) if self.lowest_rm == self.lowest_rm else path.lowest_rm
        self._course, self._peak = path.course, path.peak
        if n:
            self._closed = int(plan.ts[-1])
        if len(plan.rows):
            self._evaluated = int(plan.ts[plan.rows[-1]])
        return WatchedDay(result, changes, minutes, path.lowest_rm, passes)


def evaluation_rows(ts: Ints, start: int, cadence_min: float, closed: int = 0) -> Ints:
    """Rows of a day after whose bars the watchdog evaluates: the first close at or after each whole cadence since midnight UTC (``start``
    ms), midnight at the day's end included. ``closed``: the last close before the day, 0 = at midnight.

    Raises ``QualityError`` for times that do not ascend within the day.
    """
    rows = np.empty(len(ts), dtype=np.int64)
    found = due_rows_nb(read_only(ts), start, start + DAY_MS, max(round(cadence_min * 60_000), 1), closed or start, rows)
    if found < 0:
        raise QualityError("postures need the times of a day's bars, ascending", hint="rebuild the day, or give --posture-file")
    return rows[:found]


def _equity(engine: NDAlphaEngine, rows: DayRows, result: Mapping[str, Any], before: tuple[int, float, NDPosition | None]) -> Array:
    """float64[n] USDT: honest equity at every bar of the day that was run. ``before``: bars, honest capital and position at its start."""
    (first, capital, held), n = before, len(rows.ts_ms)
    place = {name: j for j, name in enumerate(rows.assets)}
    legs = [(place.get(t["asset"], -1), *_CLOSED(t)) for t in result["trades"]]
    if (left := result["open_position"]) is not None:
        legs.append((place.get(left["asset"], -1), first + n, math.nan, *_OPEN(left)))
    column, end, after, entered, d, entry, fraction, leverage = np.array(legs, dtype=np.float64).reshape(-1, 8).T
    bars = np.stack([column, entered - first, end - first], axis=1).astype(np.int64)
    terms = honest_terms(engine.config, d, entry, fraction * leverage, np.append(capital, after)[:-1], after)
    equity = np.empty(n)
    price = held.last_price if held is not None else math.nan
    mark_curve_nb(read_only(rows.closes), bars, np.ascontiguousarray(d), terms, capital, price, equity)
    return equity
