"""The batch jobs as Prefect flows."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from flows import jobs
from flows.deployments.artifacts import kept

__all__ = ["data_audit", "mc_forewarner", "nightly_backtest", "scan_backfill"]


@flow(name="mc-forewarner")
def mc_forewarner(date: str = "", table: str = "", config: str = "") -> dict[str, Any]:
    """The forewarner's verdict of a day."""
    return kept(jobs.mc_forewarner(jobs.ForewarnerJob(date=date, table=table, config=config)))


@flow(name="scan-backfill")
def scan_backfill(klines: str = "", days: str = "", first: str = "", last: str = "", config: str = "") -> dict[str, Any]:
    """Scan the days that have no whole day table."""
    return kept(jobs.scan_backfill(jobs.BackfillJob(klines=klines, days=days, first=first, last=last, config=config)))


@flow(name="nightly-backtest")
def nightly_backtest(klines: str = "", days: int = 1, direction: Literal["SHORT", "LONG"] = "SHORT", config: str = "") -> dict[str, Any]:
    """Backtest the newest days with the settings as they are."""
    return kept(jobs.nightly_backtest(jobs.BacktestJob(klines=klines, days=days, direction=direction, config=config)))


@flow(name="data-audit")
def data_audit(klines: str = "", days: int = 7, samples: int = 10, config: str = "") -> dict[str, Any]:
    """Look for gaps, quarantined values, refused files and wrong eigenvalues; the run fails when there are any."""
    return kept(jobs.data_audit(jobs.AuditJob(klines=klines, days=days, samples=samples, config=config)))
