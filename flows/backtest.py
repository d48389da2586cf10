"""Backtest: day tables through the engine into a run folder with its report."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from dolphin import __version__
from dolphin.config import LoadedConfig, config_hash
from dolphin.engine.costs import FundingSeries
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import table_rows
from dolphin.engine.schedule import minutes_by_posture
from dolphin.engine.watch import RunWatch
from dolphin.errors import QualityError
from dolphin.report.files import write_run
from dolphin.report.inputs import Bars, DayQuality, RunContext
from dolphin.report.summary import Run, build_run
from dolphin.report.venue import VenueRun
from dolphin.storage.day_table import DayTable, list_days, read_day
from dolphin.storage.publish import publish, sha256_file
from dolphin.storage.schema import DAY_MS, SHARES, day_start, gaps_of
from dolphin.types import Array, Ints, Posture
from flows.layers import Layers
from flows.workspace import commit, new_run_folder, point_latest

__all__ = ["Plan", "day_files", "known_days", "run_backtest", "table_times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: day tables in ``folder`` from ``first`` to ``last`` (inclusive, empty = all), lane and settings.

    ``venue``: send the decisions to a simulated venue as orders too (NautilusTrader), and report what it filled. ``layers``: makes what
    is attached to the engine, from the day tables and ``known_days``.
    """

    folder: Path
    loaded: LoadedConfig
    first: str = ""
    last: str = ""
    direction: int = -1
    funding: FundingSeries | None = None
    quality: dict[str, dict[str, int]] = field(default_factory=dict)
    synthetic: bool = False
    venue: bool = False
    layers: Callable[[Sequence[DayTable], Sequence[Path]], Layers] = lambda tables, paths: Layers()


def day_files(folder: Path, first: str = "", last: str = "") -> list[Path]:
    """Day tables of the range, ascending. Raises ``QualityError`` when there is none."""
    files = [p for p in list_days(folder) if (not first or p.stem >= first) and (not last or p.stem <= last)]
    if not files:
        raise QualityError("no day table in the range", path=folder, hint="build them with `dolphin data scan`, or widen --from and --to")
    return files


def known_days(plan: Plan, files: Sequence[Path]) -> list[Path]:
    """The run's day tables behind all earlier ones of their folder: what a layer may know of the days before the run."""
    return [*(path for path in list_days(plan.folder) if path.stem < files[0].stem), *files]


def run_backtest(plan: Plan, days: Iterable[Path], *, started: float | None = None) -> tuple[Path, Run]:
    """Run the engine over ``days`` and write the run folder; returns it and the run.

    Raises ``DataError`` for a day that is refused; nothing is written then. ``started`` (``time.perf_counter``) dates the run's
    duration back to where the caller began.
    """
    began = time.perf_counter() if started is None else started
    settings = plan.loaded.settings
    tables: list[DayTable] = []
    refusals: Counter[str] = Counter()
    files: list[dict[str, str]] = []
    for path in days:
        table = read_day(path)
        _same_interval(tables, table, path)
        tables.append(table)
        files.append({"file": str(path), "sha256": sha256_file(path)})
    layers = plan.layers(tables, known_days(plan, [Path(item["file"]) for item in files]))
    engine = layers.engine(settings.engine)
    engine.set_funding(plan.funding)
    watch = layers.watch()
    for table in tables:
        result = layers.run_day(engine, table.date, table_rows(table), plan.direction, watch)
        refusals.update(result["refusals"])
    replayed = layers if watch is None else layers.replaying(watch.schedule)
    context = RunContext(
        config=plan.loaded,
        config_hash=config_hash(settings.engine),
        version=__version__,
        git=commit(),
        data=files,
        universe=sorted({name for table in tables for name in table.assets}),
        bar_seconds=tables[0].bar_seconds,
        days=[table.date for table in tables],
        skipped_days=_skipped(plan, [table.date for table in tables]),
        quality=[_quality(table, plan.quality.get(table.date, {})) for table in tables],
        refusals=refusals,
        flags=[*_flags(engine, plan, tables), *layers.flags],
        acb_mode=layers.acb_mode,
        notes=layers.notes,
        layers=replayed.record(),
        postures=_postures(layers, watch, tables),
        direction=plan.direction,
        open_position=engine.position.to_dict() if engine.position else None,
    )
    digest = hashlib.sha256((context.config_hash + "".join(f["sha256"] for f in files)).encode()).hexdigest()
    folder = new_run_folder(Path(settings.paths.runs), digest)
    if plan.venue:
        context = replace(context, venue=_on_venue(plan, tables, engine, folder, replayed))
    context = replace(context, seconds=round(time.perf_counter() - began, 3))
    run = build_run(context, engine.trades, _bars(tables, engine))
    write_run(folder, run, publish)
    point_latest(folder)
    return folder, run


def _on_venue(plan: Plan, tables: Sequence[DayTable], engine: NDAlphaEngine, folder: Path, layers: Layers) -> VenueRun:
    """The same days, in the same postures, as orders in NautilusTrader; its files go into ``folder``."""
    from flows.parity import first_difference, venue_of

    untimed = [table.date for table in tables if table.ts is None]
    if untimed:
        raise QualityError("a day table without times cannot be sent to a venue", path=plan.folder, hint=f"rebuild {untimed[0]}")
    twin = layers.engine(plan.loaded.settings.engine)
    venue = venue_of(tables, plan.loaded.settings, plan.direction, plan.funding, twin, layers.postures.at)
    try:
        difference = first_difference(engine.trades, venue.actor.engine.trades)
        parity = {"trades": len(engine.trades), "equal": not difference, "first_difference": difference}
        result: VenueRun = venue.summary(venue.write(folder), parity)
        return result
    finally:
        venue.close()


def _postures(layers: Layers, watch: RunWatch | None, tables: Sequence[DayTable]) -> dict[str, Any] | None:
    """What the summary says of postures; None where nothing but APEX was ever possible."""
    schedule = layers.postures if watch is None else watch.schedule
    if not schedule.changes:
        return None
    minutes: Counter[Posture] = Counter() if watch is None else watch.minutes
    for table in tables if watch is None else ():
        ts = table_times(table)
        minutes.update(minutes_by_posture(table.date, ts, *schedule.of_day(table.date, ts)))
    return {
        "source": "file" if watch is None else "run",
        "changes": [[ts_ms, posture.value] for ts_ms, posture in schedule.changes],
        "minutes": {posture.value: minutes[posture] for posture in Posture if minutes[posture]},
        "lowest_rm": None if watch is None else watch.lowest_rm,
    }


def table_times(table: DayTable) -> Ints:
    """Bar closes in ms; a legacy table without timestamps is spread from midnight on by its row index."""
    if table.ts is not None:
        return table.ts
    step = (table.bar_seconds * 1000) or DAY_MS // max(len(table.closes), 1)
    return day_start(table.date) + step * np.arange(1, len(table.closes) + 1, dtype=np.int64)


def _same_interval(tables: Sequence[DayTable], table: DayTable, path: Path) -> None:
    if tables and table.bar_seconds != tables[0].bar_seconds:
        why = f"bar_seconds = {table.bar_seconds}, the days before have {tables[0].bar_seconds}"
        raise QualityError(why, path=path, hint="keep one bar interval a folder")


def _bars(tables: Sequence[DayTable], engine: NDAlphaEngine) -> Bars:
    names = {trade["asset"] for trade in engine.trades}
    if engine.position:
        names.add(engine.position.asset)
    traded = tuple(sorted(names))
    with_shares = all(name in table.signals for table in tables for name in SHARES)
    return Bars(
        ts_ms=np.concatenate([table_times(table) for table in tables]),
        names=traded,
        closes=np.concatenate([_columns(table, traded) for table in tables]),
        vel_div=np.concatenate([table.signals["vel_div"] for table in tables]),
        shares=np.concatenate([np.column_stack([t.signals[name] for name in SHARES]) for t in tables]) if with_shares else None,
    )


def _columns(table: DayTable, names: Sequence[str]) -> Array:
    place = {name: j for j, name in enumerate(table.assets)}
    closes = np.full((len(table.closes), len(names)), np.nan)
    for k, name in enumerate(names):
        if name in place:
            closes[:, k] = table.closes[:, place[name]]
    return closes


def _skipped(plan: Plan, days: Sequence[str]) -> list[dict[str, str]]:
    """Days of the calendar, between first and last, that were not run."""
    first, last = date.fromisoformat(plan.first or days[0]), date.fromisoformat(plan.last or days[-1])
    first, last = max(first, date.fromisoformat(days[0])), min(last, date.fromisoformat(days[-1]))
    partial = {p.name[:10] for p in list_days(plan.folder, partial=True)}
    every = ((first + timedelta(days=k)).isoformat() for k in range((last - first).days + 1))
    done = set(days)
    return [{"date": d, "why": "in progress (partial)" if d in partial else "no day table"} for d in every if d not in done]


def _quality(table: DayTable, counts: dict[str, int]) -> DayQuality:
    bar_ms = table.bar_seconds * 1000
    expected = DAY_MS // bar_ms if bar_ms else len(table.closes)
    start = day_start(table.date)
    gaps = gaps_of(table.ts - bar_ms, start, start + DAY_MS, bar_ms) if table.ts is not None and bar_ms else ()
    missing = tuple((gap.first_ms, gap.last_ms + bar_ms) for gap in gaps)
    return DayQuality(date=table.date, bars=len(table.closes), expected=expected, missing=missing, counts=counts)


def _flags(engine: NDAlphaEngine, plan: Plan, tables: Sequence[DayTable]) -> Iterator[str]:
    if plan.synthetic:
        yield "synthetic"
    if engine.funding_missing or (plan.funding is None and engine.position):
        yield "funding_missing"
    if any(not table.complete for table in tables):
        yield "incomplete_day_table"
    if any(table.ts is None for table in tables):
        yield "times_from_row_index"
    if any(table.warnings for table in tables):
        yield "data_warnings"
