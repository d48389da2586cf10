"""Reports as Prefect artifacts: a table and a page under one key, with all their versions in the UI."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from dolphin.errors import CheckFailed
from flows.job import JobReport

__all__ = ["kept", "shown"]


def kept(report: JobReport) -> dict[str, Any]:
    """Keep a finished job's report; its facts are the run's result. Raises ``CheckFailed`` when it found something: a failed run."""
    _keep(report)
    if report.found:
        raise CheckFailed(f"{report.key} found something: see its artifact")
    return report.to_dict()


def shown(report: JobReport) -> None:
    """Keep a report of a job that goes on. A server that is away costs the artifact, never the job."""
    try:
        _keep(report)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        get_run_logger().warning("no artifact of %s: %s: %s", report.key, type(error).__name__, error)


def _keep(report: JobReport) -> None:
    if report.rows:
        create_table_artifact(table=[dict(row) for row in report.rows], key=f"{report.key}-table", description=report.key)
    create_markdown_artifact(markdown=report.text, key=report.key, description=report.key)
