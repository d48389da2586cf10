"""Report: figures, tables and charts of one finished run. Shows champion and honest ledger side by side, always.

``build_run`` turns what a run gave into everything its folder holds, ``write_run`` writes the folder, ``read_run`` and ``rebuild``
start from the folder alone. Nothing here imports pandas, and pyarrow only when a file is read or written.
"""

from __future__ import annotations

from dolphin.report.compare import compare, comparison_to_markdown
from dolphin.report.equity import Curves, mark_to_market
from dolphin.report.files import read_run, rebuild, write_run
from dolphin.report.hashing import trades_hash
from dolphin.report.html import render_html
from dolphin.report.inputs import Bars, DayQuality, RunContext
from dolphin.report.markdown import to_markdown
from dolphin.report.summary import Run, build_run, build_summary
from dolphin.report.text import verdict
from dolphin.report.venue import VenueRun, VenueTrade, venue_summary

__all__ = [
    "Bars",
    "Curves",
    "DayQuality",
    "Run",
    "RunContext",
    "VenueRun",
    "VenueTrade",
    "build_run",
    "build_summary",
    "compare",
    "comparison_to_markdown",
    "mark_to_market",
    "read_run",
    "rebuild",
    "render_html",
    "to_markdown",
    "trades_hash",
    "venue_summary",
    "verdict",
    "write_run",
]
