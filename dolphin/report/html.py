"""``report.html``: one file with its style, its script, its charting library and its data; it asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any, Final

from dolphin.report.page import page_data
from dolphin.report.summary import Run
from dolphin.report.text import span, verdict

__all__ = ["render_html", "render_page"]

SCRIPTS: Final = (
    "echarts.min.js",
    "text.js",
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
    """The page as text, the same bytes for the same run."""
    title = f"{verdict(run.summary)} - {span(run.summary['days'])} - DOLPHIN"
    words = {"label": "run report", "figures": "summary.json"}
    return render_page(title, verdict(run.summary), page_data(run), SCRIPTS, words)


def render_page(title: str, headline: str, data: Mapping[str, Any], scripts: Sequence[str], words: Mapping[str, str]) -> str:
    """A page of this package's frame, style and ``scripts`` (names of its assets); ``words``: label of the kind of page, and ``figures``,
    where its numbers are to be had without scripts.

    Data never becomes markup: it travels as JSON with ``<``, ``>`` and ``&`` escaped and enters the page as text. A content security
    policy allows only the scripts of this package, by hash, and no connection at all.
    """
    sources = [_asset(name) for name in scripts]
    return Template(_asset("report.html")).substitute(
        {name: html.escape(text) for name, text in words.items()},
        title=html.escape(title),
        verdict=html.escape(headline),
        policy=html.escape(_policy(sources)),
        style=_asset("report.css"),
        data=_json(data),
        scripts="\n".join(f"<script>{source}</script>" for source in sources),
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
