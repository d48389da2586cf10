"""The forewarner's verdict for a day, from what was known when it began: a plain function for daemons and schedules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from dolphin.config import EngineConfig
from dolphin.forewarner.forewarner import Forewarner, ForewarnerHistory, Report
from dolphin.storage.day_table import read_day

__all__ = ["assess_day", "day_before"]


def assess_day(forewarner: Forewarner, config: EngineConfig, date: str, tables: Sequence[Path]) -> Report:
    """Assess ``config`` for ``date`` in the condition of the calendar day before it, from its complete table in ``tables``.

    Without that table the trials' own record of the day counts, without that the condition is unknown, which is RED.
    Raises ``DataError`` for a table that is refused.
    """
    before = day_before(date)
    path = next((path for path in tables if path.name == f"{before}.parquet"), None)
    known = {date: {}} if path is None else {before: read_day(path).signals}
    asked = ForewarnerHistory(forewarner, known).as_of(date)
    return asked.assess_config_dict({name: getattr(config, name) for name in EngineConfig.__struct_fields__})


def day_before(date: str) -> str:
    """``YYYY-MM-DD``."""
    return (dt.date.fromisoformat(date) - dt.timedelta(days=1)).isoformat()
