"""Stationary block bootstrap of days (Politis and Romano, 1994) within an early and a late pool of the calendar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dolphin.types import Ints

__all__ = ["LEAST_DAYS", "DayPath", "draw_path", "split_at"]

LEAST_DAYS = 4
"""Fewer days cannot be split into two pools with a day before each start."""


@dataclass(frozen=True, slots=True)
class DayPath:
    """``days`` int64[path days], places in the calendar; ``pool`` 0 early, 1 late; ``engine_seed`` of the trial's cost draws."""

    pool: int
    days: Ints
    engine_seed: int


def split_at(n_days: int) -> int:
    """Place of the first day of the late pool: two thirds of the calendar are early."""
    return max(2, min(n_days - 1, round(n_days * 2 / 3)))


def draw_path(seed: int, trial: int, n_days: int, path_days: int, block_days: float) -> DayPath:
    """DayPath of trial number ``trial``: every third comes from the late pool.

    It starts at any day of its pool that has a day before it (whose condition is what a trader knew at the start) and goes on with
    the next day, or with probability ``1/block_days`` jumps to any day of the pool; after the pool's last day comes its first.
    """
    rng = np.random.default_rng([seed, trial])
    pool, split = int(trial % 3 == 2), split_at(n_days)
    low, high = (split, n_days) if pool else (0, split)
    days = np.empty(path_days, dtype=np.int64)
    days[0] = rng.integers(max(low, 1), high)
    jump, to = rng.random(path_days) < 1.0 / block_days, rng.integers(low, high, path_days)
    for k in range(1, path_days):
        follow = days[k - 1] + 1
        days[k] = to[k] if jump[k] else follow if follow < high else low
    return DayPath(pool, days, int(rng.integers(2**32)))
