"""What the layers cost: a day with all of them against the same day without, and one posture evaluation.

The day has a recorded order book (its provider is made before), the circuit breaker, and its posture given. Three days are run in turn,
plain and full, so that a day's book comes from memory and not from the processor's cache; the least time of each day counts. Their
decisions differ: the book changes entries, exits and sizes. The peer of the posture evaluation knows Rm and its level only: no
hysteresis, no floors, no reasons, no record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import cycle
from time import perf_counter

import numpy as np
import pandas as pd
from market import DAMPED, scanned_days
from table import Row, best_of, emit, row

from dolphin import NDAlphaEngine, load_profile
from dolphin.book.provider import TableOrderBook
from dolphin.engine.breaker import AdaptiveCircuitBreaker
from dolphin.engine.records import DayRows
from dolphin.engine.survival import SurvivalStack
from dolphin.engine.survival_report import HEALTHY
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket

DAYS, BAR_SECONDS, ASSETS, ROUNDS = 3, 5, 48, 40


def full_stack() -> list[Row]:
    days = [(date, replace(rows, ts_ms=rows.ts_ms + BAR_SECONDS * 1000)) for date, rows in scanned_days(DAYS, BAR_SECONDS, DAMPED, ASSETS)]
    recorded = list(SyntheticBook(SyntheticMarket(ASSETS, DAYS, BAR_SECONDS), snapshot_ms=BAR_SECONDS * 1000))
    dates, assets = [date for date, _ in days], days[0][1].assets
    breaker = AdaptiveCircuitBreaker(dict.fromkeys(dates, (-0.001, 90.0, 50.0, 1.0)), dict.fromkeys(dates, 0.0), assets=assets)
    ob = TableOrderBook(recorded)

    def run(day: tuple[str, DayRows], full: bool, book: TableOrderBook = ob) -> NDAlphaEngine:
        engine = NDAlphaEngine(load_profile("champion"))
        if full:
            engine.set_ob_engine(book)
            engine.set_acb(breaker)
        engine.process_rows(*day, posture="STALKER" if full else "APEX")
        return engine

    trades = {full: sum(len(run(day, full).trades) for day in days) for full in (False, True)}
    seconds = {(date, full): [math.inf] for date in dates for full in (False, True)}
    for _ in range(ROUNDS):
        for day in days:
            for full in (False, True):
                seconds[day[0], full].append(timed(lambda day=day, full=full: run(day, full)))
    plain_s, full_s = (sum(min(seconds[date, full]) for date in dates) / DAYS for full in (False, True))
    made = best_of(lambda: TableOrderBook(recorded[:1]), 3)
    fresh = [TableOrderBook(recorded[:1]) for _ in range(3)]
    first = min(timed(lambda book=book: run(days[0], True, book)) for book in fresh)
    megabytes = (recorded[0].features.nbytes + recorded[0].snapshot_ts.nbytes) / 1e6
    work = f"day of {len(days[0][1].closes):,} bars x {ASSETS}"
    note = f"book, breaker, posture; {DAYS} days, {trades[True]} trades, plain {trades[False]}"
    return [
        row(f"full-stack {work}, against the plain one", full_s, plain_s, 3.0, 1.5, note),
        row(
            "its first run: the samples' macro values too", first, None, None, None, f"{len(recorded[0].ts):,} samples, once a day and lane"
        ),
        row("its provider made: the recorded day checked", made, None, None, None, f"{megabytes:.0f} MB as recorded, 0.7 MB besides"),
    ]


def timed(fn: Callable[[], object]) -> float:
    start = perf_counter()
    fn()
    return perf_counter() - start


class Plain:
    """Rm and its level from a pandas row, by the same formulas in numpy."""

    def __init__(self) -> None:
        self.rm = 1.0

    def evaluate(self, s: pd.Series, dt_min: float) -> tuple[float, str]:
        cat1 = float(s["hz_nodes"] >= 1 and s["heartbeat_age_s"] <= 30)
        cat2 = {"OK": 1.0, "ORANGE": 0.5, "RED": 0.1}[s["mc_status"]] * np.exp(-np.maximum(0.0, s["staleness_hours"] - 6.0) / 3.0)
        cat3 = 0.5 if s["ob_stale"] else np.clip(0.3 + 0.7 * np.minimum(s["depth_quality"], s["fill_prob"]), 0.3, 1.0)
        cat4 = 0.3 + 0.7 * (1.0 - np.exp(-s["t_since_spike_min"] / 60.0))
        cat5 = 1.0 / (1.0 + np.exp(30.0 * (s["drawdown"] - 0.12)))
        target = cat1 * cat5 * np.minimum(cat2, cat4) * cat3 * (0.5 if np.sum(np.array([cat2, cat3, cat4]) < 0.8) >= 2 else 1.0)
        dt = np.clip(dt_min, 0.0, 2.0)
        rise = np.minimum(np.minimum(1.0, 0.02 * dt) * (target - self.rm), 0.05 * dt)
        self.rm = float(target if target <= self.rm else self.rm + rise)
        return self.rm, ("HIBERNATE", "TURTLE", "STALKER", "APEX")[int(np.searchsorted([0.5, 0.75, 0.9], self.rm, side="right"))]


def posture() -> Row:
    """Healthy, drawn down after a spike, ORANGE, a stale book, ORANGE and a stale book, in turn."""
    readings = [
        HEALTHY,
        replace(HEALTHY, drawdown=0.08, t_since_spike_min=45.0),
        replace(HEALTHY, mc_status="ORANGE", staleness_hours=7.0),
        replace(HEALTHY, ob_stale=True),
        replace(HEALTHY, mc_status="ORANGE", ob_stale=True, depth_quality=0.4),
    ]
    table = [pd.Series(asdict(sensors)) for sensors in readings]
    stack, plain = SurvivalStack(rm=1.0, posture="APEX"), Plain()
    for sensors, values in zip(readings * 20, table * 20, strict=True):
        assert abs(stack.evaluate(sensors, 1.0, 0).rm - plain.evaluate(values, 1.0)[0]) < 1e-12

    many, ours, theirs = 200, cycle(readings), cycle(table)

    def evaluate() -> None:
        for _ in range(many):
            stack.evaluate(next(ours), 1.0, 0)

    def evaluate_plain() -> None:
        for _ in range(many):
            plain.evaluate(next(theirs), 1.0)

    mine, its = best_of(evaluate, 60) / many, best_of(evaluate_plain, 10) / many
    return row("posture evaluation", mine, None, 200e-6, 20e-6, f"the formulas alone in pandas and numpy: {its * 1e6:.0f} us")


def main() -> list[Row]:
    return [*full_stack(), posture()]


if __name__ == "__main__":
    emit(main())
