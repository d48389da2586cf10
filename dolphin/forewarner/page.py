"""The calibration report as one self-contained page, in the frame of the run report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dolphin.forewarner.calibration import verdict
from dolphin.forewarner.envelope import ENVELOPE
from dolphin.forewarner.paths import split_at
from dolphin.forewarner.table import TrialTable
from dolphin.report.html import render_page

__all__ = ["cautions", "render_calibration"]

SCRIPTS: Final = ("echarts.min.js", "text.js", "base.js", "tables.js", "frame.js", "records.js", "forewarner.js")

LIMITS: Final = (
    "Trials share days: a thousand of them over ten later days know ten days, not a thousand. The interval draws trials by starting day "
    "together, which covers a part of that; only more days cover the rest.",
    "Paths are blocks of real days in a new order. What no day of the table contains, a crash for one, no trial contains.",
    "At a join of two blocks, and at the end, an open position is closed at its last price; regimes longer than a block are not kept.",
    "The condition is that of the day before the path. It can tell about the first block, hardly about the month.",
    "Outcomes are the honest ledger without funding, marked at every bar. SHORT lane; the trials know no order book and no breaker.",
    "The table used at the start of a day is fitted on all trials; the figures above come from a fit on the earlier days alone.",
)


def cautions(table: TrialTable, found: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the page."""
    days, lines = len(table.plan.days), []
    if days < 90:
        lines.append(f"Only {days} days of one market.")
    if table.values.shape[0] < 2000:
        lines.append(f"Only {table.values.shape[0]:,} trials.")
    later, blind = found["tests"]["later"], found["tests"]["later_without_condition"]
    if blind["brier"] <= later["brier"]:
        lines.append("The market condition does not help on later days.")
    if abs(later["rate"] - later["known_rate"]) > 0.1:
        lines.append("Later days end in catastrophes at another rate than earlier ones.")
    gap = sum(row["trials"] * abs(row["observed"] - row["probability"]) for row in found["reliability"]["later"]) / later["trials"]
    if gap > 0.05:
        lines.append(f"On later days the probabilities are off by {gap:.2f} on average.")
    if found["envelope"]["shares"]["well"]["below_0"] is None:
        lines.append("Too few trials went well for an envelope: every assessment is RED.")
    return lines


def render_calibration(table: TrialTable, found: Mapping[str, Any], digest: str, version: str) -> str:
    """The page as text, the same bytes for the same table and settings. ``digest``: sha256 of the table's file."""
    plan = table.plan
    dates, split = [day.date for day in plan.days], split_at(len(plan.days))
    facts = {
        "earlier": [dates[0], dates[split - 1], split],
        "later": [dates[split], dates[-1], len(dates) - split],
        "trials": table.values.shape[0],
        "path_days": plan.path_days,
        "block_days": plan.block_days,
        "config_hash": plan.config_hash,
        "seed": plan.seed,
        "code": plan.code,
        "table": digest,
        "version": version,
        "data": [[day.date, day.sha256] for day in plan.days],
        "envelope": [[name, *bounds] for name, bounds in ENVELOPE.items()],
    }
    frame = {"summary": {"detail": {}}, "time": {"bar_ms": 1, "bars": 0, "runs": [[0, 0]]}, "trades": {}}
    data = {**frame, "verdict": verdict(found), "cautions": cautions(table, found), "found": found, "facts": facts, "limits": list(LIMITS)}
    words = {"label": "forewarner calibration", "figures": "`dolphin forewarner report --json`"}
    return render_page(f"{verdict(found)} - DOLPHIN forewarner", verdict(found), data, SCRIPTS, words)
