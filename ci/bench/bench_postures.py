"""Postures computed from a run: what a day costs that is watched, and one evaluation of the watchdog.

The day has no order book, so that the watch alone is measured: its evaluations (one a minute), equity at every bar, and what lets a day
be run again. The plain day is run in the posture that the watch finds.
"""

from __future__ import annotations

from dataclasses import replace

from market import DAMPED, scanned_days
from table import Row, best_of, emit, row

from dolphin import NDAlphaEngine, load_profile
from dolphin.config import SurvivalConfig
from dolphin.engine.survival import SurvivalStack
from dolphin.engine.survival_report import HEALTHY
from dolphin.engine.watch import RunWatch

TIMES = 1_000


def evaluations() -> None:
    stack = SurvivalStack(rm=1.0, posture="APEX")
    for _ in range(TIMES):
        stack.evaluate(HEALTHY, 1.0, 0)


def main() -> list[Row]:
    date, opens = scanned_days(1, 5, DAMPED)[0]
    rows = replace(opens, ts_ms=opens.ts_ms + 5_000)

    def plain() -> object:
        return NDAlphaEngine(load_profile("champion")).process_rows(date, rows, posture="STALKER")

    def watched() -> object:
        return RunWatch(SurvivalConfig()).run_day(NDAlphaEngine(load_profile("champion")), date, rows)

    once = RunWatch(SurvivalConfig()).run_day(NDAlphaEngine(load_profile("champion")), date, rows)
    work = f"watched day, {len(rows.closes):,} bars x {len(rows.assets)}, {once.passes} pass"
    return [
        row(work, best_of(watched, 40), best_of(plain, 40), 3.0, 1.5, "the same day in the posture found"),
        row("posture evaluation", best_of(evaluations) / TIMES, None, 200e-6, 20e-6, "SurvivalStack.evaluate, every sensor well"),
    ]


if __name__ == "__main__":
    emit(main())
