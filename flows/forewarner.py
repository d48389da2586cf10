"""Training of the forewarner: plan the trials, run them on all cores in parts that a later run takes up, publish the table."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.config import EngineConfig
from dolphin.engine.records import table_rows
from dolphin.errors import DataError, QualityError
from dolphin.forewarner.condition import day_condition
from dolphin.forewarner.envelope import DRAWN_AT_ONCE, ENVELOPE, base_of, config_at, sobol, trial_values
from dolphin.forewarner.paths import LEAST_DAYS, draw_path
from dolphin.forewarner.table import CalendarDay, TrialPlan, TrialTable, read_table, write_table
from dolphin.forewarner.trial import Market, run_trial
from dolphin.kernels._jit import cache_dir
from dolphin.storage.day_table import read_day
from dolphin.storage.publish import sha256_file
from dolphin.types import Array

__all__ = ["Training", "plan_trials", "train"]

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Training:
    """What to run: ``files`` (day tables, ascending), the trials' ``plan``, how many, on how many processes (0: one a core)."""

    files: tuple[Path, ...]
    plan: TrialPlan
    trials: int
    jobs: int = 0


def plan_trials(files: Sequence[Path], config: EngineConfig, *, seed: int, path_days: int, block_days: float) -> TrialPlan:
    """The plan over these days. Raises ``QualityError`` for fewer than ``LEAST_DAYS`` or mixed bar intervals."""
    if len(files) < LEAST_DAYS:
        raise QualityError(f"{len(files)} days are too few for trials", hint=f"give at least {LEAST_DAYS}, better 30 or more")
    days, intervals = [], set()
    for path in files:
        table = read_day(path)
        intervals.add(table.bar_seconds)
        condition = [float(value) if np.isfinite(value) else None for value in day_condition(table.signals)]
        days.append(CalendarDay(date=table.date, sha256=sha256_file(path), condition=condition))
    if len(intervals) > 1:
        raise QualityError(f"the days have different bar intervals: {sorted(intervals)} s", path=files[0].parent)
    bounds = {name: (float(low), float(high)) for name, (low, high) in ENVELOPE.items()}
    return TrialPlan(
        config=base_of(config),
        seed=seed,
        path_days=path_days,
        block_days=block_days,
        direction=-1,
        days=days,
        envelope=bounds,
        code=_code(),
    )


def train(work: Training, out: Path, track: Track) -> TrialTable:
    """Run what is missing and publish the table at ``out``; returns it.

    Parts of 64 trials lie in ``<out>.parts/<hash of the plan>/`` and are only ever added; an interrupted run goes on where it was, and
    the table comes out the same. A part that cannot be read is run again.
    """
    folder = out.with_name(out.name + ".parts") / work.plan.digest[:24]
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, work.trials, DRAWN_AT_ONCE)
    parts = {first: _known(folder, work.plan, first) for first in firsts}
    missing = [first for first, rows in parts.items() if rows is None]
    jobs = min(work.jobs or os.cpu_count() or 1, len(missing))
    for first in track(_run(work, folder, missing, jobs), len(missing), f"parts of {DRAWN_AT_ONCE} trials"):
        parts[first] = read_table(_part(folder, first)).values
    rows = [part for part in parts.values() if part is not None]
    table = TrialTable(work.plan, np.ascontiguousarray(np.concatenate(rows)[: work.trials]))
    write_table(out, table)
    return table


def _part(folder: Path, first: int) -> Path:
    return folder / f"{first:08d}.parquet"


def _known(folder: Path, plan: TrialPlan, first: int) -> Array | None:
    path = _part(folder, first)
    if not path.exists():
        return None
    try:
        part = read_table(path)
    except DataError:
        return None
    whole = len(part.values) == DRAWN_AT_ONCE and part.values[0, 0] == first and part.plan.digest == plan.digest
    return part.values if whole else None


def _run(work: Training, folder: Path, missing: Sequence[int], jobs: int) -> Iterator[int]:
    """Yield parts as they are done. The first runs here: it compiles the kernels, which processes side by side must not do."""
    if not missing:
        return
    market, rest = _market(work.files), missing if jobs < 2 else missing[:1]
    for first in rest:
        _run_part(market, work.plan, folder, first)
        yield first
    if jobs < 2:
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        tasks = {pool.submit(_work, work.files, work.plan, folder, first): first for first in missing[1:]}
        for done in as_completed(tasks):
            done.result()
            yield tasks[done]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone answers, and lets the parts that run end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(files: tuple[Path, ...], plan: TrialPlan, folder: Path, first: int) -> None:
    _run_part(_market(files), plan, folder, first)


@cache
def _market(files: tuple[Path, ...]) -> Market:
    return Market.of([(table.date, table_rows(table)) for table in map(read_day, files)])


def _run_part(market: Market, plan: TrialPlan, folder: Path, first: int) -> None:
    rows = []
    for k, point in enumerate(sobol(plan.seed, first)):
        trial, values = first + k, trial_values(point)
        path = draw_path(plan.seed, trial, len(plan.days), plan.path_days, plan.block_days)
        outcome = run_trial(market, config_at(plan.config, values, path.engine_seed), path.days, plan.direction)
        keys = (trial, path.pool, path.days[0], path.engine_seed)
        rows.append([*keys, *values.values(), *plan.condition(int(path.days[0]) - 1), *outcome])
    write_table(_part(folder, first), TrialTable(plan, np.array(rows, dtype=np.float64)))


def _code() -> str:
    """Hash of what runs a trial: kernels, engine, and this package's own modules."""
    import dolphin.engine
    import dolphin.forewarner

    names = ("envelope", "paths", "trial", "condition")
    own = [Path(dolphin.forewarner.__path__[0]) / f"{name}.py" for name in names]
    sources = "".join(sha256_file(path) for path in [*sorted(Path(dolphin.engine.__path__[0]).glob("*.py")), *own])
    return hashlib.sha256(f"{cache_dir().name}|{sources}".encode()).hexdigest()[:16]
