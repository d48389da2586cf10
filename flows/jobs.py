"""The batch jobs of a schedule: forewarner's verdict, missing day tables, backtest of the last days, audit of the data."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from dolphin.errors import ConfigError
from dolphin.storage.klines import KlineStore
from dolphin.storage.market_clock import read_market_clock
from dolphin.storage.replay import read_replay
from dolphin.storage.schema import date_of
from dolphin.storage.state import StateFolder
from flows.console import progress
from flows.job import Date, Job, JobReport, checked

__all__ = [
    "AuditJob",
    "BackfillJob",
    "BacktestJob",
    "ForewarnerJob",
    "data_audit",
    "mc_forewarner",
    "nightly_backtest",
    "scan_backfill",
]

Folder = Annotated[str, Meta(description="folder; empty: the configured one")]


class ForewarnerJob(Job, frozen=True):
    """``date``: the day to judge; empty: the market's today."""

    date: Date = ""
    table: Annotated[str, Meta(description="table of trials; empty: paths.forewarner")] = ""


class BackfillJob(Job, frozen=True):
    """``first`` to ``last``, inclusive; empty: every day of the folder."""

    klines: Folder = ""
    days: Folder = ""
    first: Date = ""
    last: Date = ""


class BacktestJob(Job, frozen=True):
    """The newest ``days`` of the folder, on the lane of ``direction``."""

    klines: Folder = ""
    days: Annotated[int, Meta(ge=1, le=3650, description="newest days of the folder")] = 1
    direction: Literal["SHORT", "LONG"] = "SHORT"


class AuditJob(Job, frozen=True):
    """The newest ``days`` of the folder; ``samples`` scans of the last one in 512-bit arithmetic, 0: none."""

    klines: Folder = ""
    days: Annotated[int, Meta(ge=1, le=3650, description="newest days of the folder")] = 7
    samples: Annotated[int, Meta(ge=0, le=10_000, description="scans that are recomputed in 512 bits")] = 10


def mc_forewarner(job: ForewarnerJob) -> JobReport:
    """The forewarner's verdict of a day, in the condition of the day before it.

    The running ``daemons.mc_forewarner`` alone publishes; this is its word for a day, beside it or without it. Raises ``ConfigError``
    without a table, ``DataError`` for a damaged one.
    """
    from dolphin.forewarner.daily import assess_day, day_before
    from dolphin.forewarner.forewarner import Forewarner

    loaded = checked(job).loaded()
    table, state = job.table or loaded.settings.paths.forewarner, job.state(loaded)
    if not table:
        raise ConfigError("no table of trials: set paths.forewarner (`dolphin forewarner train` makes one)")
    date = job.date or _today(state)
    folders = (state.days, Path(loaded.settings.paths.days))
    tables = [path for folder in folders if (path := folder / f"{day_before(date)}.parquet").is_file()]
    found = assess_day(Forewarner.load(Path(table), loaded.settings.engine), loaded.settings.engine, date, tables)
    facts = {"date": date, **found.to_dict()}
    row = {name: facts[name] for name in ("date", "mc_status", "catastrophic_probability", "base_rate", "envelope_score")}
    cautions = "".join(f"\n- {line}" for line in found.cautions)
    words = f"{date}: **{found.mc_status.value}**, chance of a catastrophe {found.catastrophic_probability:.3f}"
    return JobReport("mc-forewarner", f"{words} (base rate {found.base_rate:.3f})\n{cautions}", [row], facts)


def scan_backfill(job: BackfillJob) -> JobReport:
    """Scan the days of a folder of klines that have no whole day table; whole ones are kept.

    Raises ``DataError`` for klines that are refused.
    """
    from flows.cli_runs import check_range
    from flows.scans import scan_klines

    paths = (settings := checked(job).loaded().settings).paths
    check_range(job.first, job.last)
    store = KlineStore(Path(job.klines or paths.klines))
    report = scan_klines(store, Path(job.days or paths.days), settings, job.first, job.last, track=progress)
    rows = [{"date": date, "table": "written"} for date in report.written]
    return JobReport("scan-backfill", report.to_text(), rows, report.to_dict())


def nightly_backtest(job: BacktestJob) -> JobReport:
    """Backtest the newest days with the settings as they are; the run's report is the text.

    Raises ``DataError`` for klines that are refused.
    """
    from dolphin.report.markdown import figure_rows, to_markdown
    from flows.backtest import Plan, day_files, run_backtest
    from flows.cli_runs import day_folder

    loaded = checked(job).loaded()
    klines = Path(job.klines or loaded.settings.paths.klines)
    first, last = _newest(KlineStore(klines), job.days)
    folder, quality = day_folder(loaded, klines, None, first, last)
    direction = -1 if job.direction == "SHORT" else 1
    plan = Plan(folder=folder, loaded=loaded, first=first, last=last, direction=direction, quality=quality)
    run_folder, run = run_backtest(plan, day_files(folder, first, last))
    rows = [dict(zip(("figure", "honest", "champion"), row, strict=True)) for row in figure_rows(run.summary)]
    facts = {"run": str(run_folder.resolve()), "first": first, "last": last, "trades": run.summary["trades"]}
    text = f"{to_markdown(run.summary)}\n\nThe page: `{facts['run']}/report.html`"
    return JobReport(f"nightly-backtest-{job.direction.lower()}", text, rows, facts)


def data_audit(job: AuditJob) -> JobReport:
    """Gaps, quarantined values and refused files of the newest days, and eigenvalues recomputed (extra ``audit``).

    Rows that single symbols lack are counted, and are no finding: a listing or a quiet minute would fail every night.
    """
    from flows.audit import audit_day
    from flows.inventory import check_klines

    store = KlineStore(Path(checked(job).klines or job.loaded().settings.paths.klines))
    first, last = _newest(store, job.days)
    check = check_klines(store, first, last, track=progress)
    words, facts, found = [check.to_text()], {"check": check.to_dict()}, bool(check.refused or check.quality.gaps or check.quality.counts)
    rows = [{"finding": rule, "count": count} for rule, count in check.quality.counts]
    rows += [{"finding": "absent rows of single symbols", "count": check.quality.absent}]
    rows += [{"finding": "missing bars", "count": check.quality.missing_bars}, {"finding": "refused files", "count": len(check.refused)}]
    if job.samples and not check.refused and importlib.util.find_spec("flint") is None:
        words.append("python-flint is not installed, so no eigenvalue was recomputed: pip install 'dolphin-nautilus[audit]'")
    elif job.samples and not check.refused:
        audit = audit_day(store, last, job.samples, 7, None)
        words.append(audit.to_text())
        facts["audit"] = {"date": audit.date, "found": audit.found, "rows": len(audit.rows)}
        rows.append({"finding": "eigenvalues outside their enclosure", "count": sum(not row.inside for row in audit.rows)})
        found = found or audit.found
    return JobReport("data-audit", "\n\n".join(f"```\n{text}\n```" for text in words), rows, {"first": first, "last": last, **facts}, found)


def _newest(store: KlineStore, days: int) -> tuple[str, str]:
    dates = store.dates()[-days:]
    return dates[0], dates[-1]


def _today(state: StateFolder) -> str:
    clock = read_replay(state.replay) or read_market_clock(state.clock)
    return date_of(time.time_ns() // 1_000_000 if clock is None else clock.market_ms(time.monotonic()))
