"""Runs and pages that the report's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from report import fake

from dolphin.report import Run, build_run, write_run


@pytest.fixture(scope="session")
def run() -> Run:
    """Two days, a dozen assets, a position still open at the end."""
    return fake.run(days=2)


@pytest.fixture(scope="session")
def month() -> Run:
    """Thirty days, forty assets, two outages, one skipped day."""
    bars = fake.market(days=30, assets=40, outages=True)
    trades, left_open = fake.trades(bars)
    skipped = [{"date": "2021-05-02", "why": "no bar of the day passed the checks"}]
    return build_run(fake.context(bars, left_open, skipped_days=skipped), trades, bars)


@pytest.fixture(scope="session")
def month_folder(month: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the thirty-day run."""
    folder = tmp_path_factory.mktemp("month")
    write_run(folder, month, fake.publish)
    return folder
