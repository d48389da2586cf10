"""``report.html``: one file with its style, its script, its charting library and its data; it asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from string import Template
from typing import Any, Final

from dolphin.report.page import page_data
from dolphin.report.summary import Run
from dolphin.report.text import span, verdict

__all__ = ["render_html"]

SCRIPTS: Final = (
    "echarts.min.js",
    "base.js",
    "tables.js",
    "frame.js",
    "charts.js",
    "bars.js",
    "records.js",
    "venue.js",
    "venue_tables.js",
    "report.js",
)


def render_html(run: Run) -> str:
    """The page as text, the same bytes for the same run.

    Data never becomes markup: it travels as JSON with ``<``, ``>`` and ``&`` escaped and enters the page as text. A content security
    policy allows only the scripts of this package, by hash, and no connection at all.
    """
    scripts = [_asset(name) for name in SCRIPTS]
    days = run.summary["days"]
    return Template(_asset("report.html")).substitute(
        title=html.escape(f"{verdict(run.summary)} - {span(days)} - DOLPHIN"),
        verdict=html.escape(verdict(run.summary)),
        policy=html.escape(_policy(scripts)),
        style=_asset("report.css"),
        data=_json(page_data(run)),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _asset(name: str) -> str:
    return resources.files("dolphin.report").joinpath("assets", name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(scripts: list[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
