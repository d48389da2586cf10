"""The page's data: the summary, and the series thinned for the screen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dolphin.report import notes
from dolphin.report.decimate import decimate, rounded
from dolphin.report.inputs import Columns
from dolphin.report.metrics import drawdown
from dolphin.report.summary import Run
from dolphin.report.text import cautions, verdict
from dolphin.report.venue import parity_line
from dolphin.types import TRADE_FIELDS, WINDOWS, Array, Ints

__all__ = ["MAX_POINTS", "page_data"]

MAX_POINTS: Final = 4_000
"""Points of one line on the screen."""

PRICE_POINTS: Final = 130_000
"""Points of all price lines together."""

OVERVIEW: Final = 900
"""Points of one price line away from its trades."""

MARGIN: Final = 60
"""Bars around a trade that its price line keeps in full, when ``PRICE_POINTS`` suffices."""


def page_data(run: Run) -> dict[str, Any]:
    """Everything the page shows, as JSON values.

    ``time`` = {bar_ms, runs: [[index, ts]...]} gives the time of bar i: within a run of bars without gap, ts + (i - index)*bar_ms.
    Each series names its bars ``i`` as first index and steps; values are rounded for the screen (summary.json has them in full).
    """
    start = run.summary["detail"]["start_capital"]
    champion, honest = run.curves.champion, run.curves.honest
    equity = {
        "champion": (champion, 2),
        "honest": (honest, 2),
        "champion_drawdown": (drawdown(champion, start), 5),
        "honest_drawdown": (drawdown(honest, start), 5),
    }
    shares = run.bars.shares
    return {
        "verdict": verdict(run.summary),
        "cautions": cautions(run.summary),
        "summary": _summary(run.summary),
        "time": _time(run),
        "equity": _lines(equity),
        "exposure": _lines({"exposure": (run.curves.exposure, 4)}),
        "signal": _lines({"vel_div": (run.bars.vel_div, 6)}),
        "shares": None if shares is None else _lines({str(w): (shares[:, k], 5) for k, w in enumerate(WINDOWS)}),
        "prices": _prices(run),
        "trades": _trades(run.trades),
        "venue": _venue(run.summary["detail"].get("venue")),
        "windows": list(WINDOWS),
        "words": {
            "ledgers": notes.LEDGERS,
            "meanings": {key: list(pair) for key, pair in notes.MEANINGS.items()},
            "exits": dict(notes.EXITS),
            "refusals": dict(notes.REFUSALS),
            "quality": notes.QUALITY,
            "limits": list(notes.LIMITS),
            "venue": {key: list(pair) for key, pair in notes.VENUE.items()},
            "parts": {key: list(pair) for key, pair in notes.VENUE_PARTS.items()},
        },
    }


def _time(run: Run) -> dict[str, Any]:
    ts = run.bars.ts_ms
    bar_ms = int(run.summary["bar_seconds"] * 1000) or (int(np.median(np.diff(ts))) if len(ts) > 1 else 1)
    begins = np.concatenate(([0], np.flatnonzero(np.diff(ts) != bar_ms) + 1)) if len(ts) else np.empty(0, dtype=np.int64)
    return {"bar_ms": bar_ms, "bars": len(ts), "runs": [[int(i), int(ts[i])] for i in begins]}


def _lines(lines: dict[str, tuple[Array, int]]) -> dict[str, Any]:
    index = decimate(np.stack([values for values, _ in lines.values()]), MAX_POINTS)
    return {"i": _steps(index), **{name: rounded(values[index], digits=digits) for name, (values, digits) in lines.items()}}


def _prices(run: Run) -> dict[str, Any]:
    names = run.bars.names
    close_ups = [_close_up(run, name) for name in names]
    room = max(PRICE_POINTS - OVERVIEW * len(names), OVERVIEW)
    stride = max(-(-sum(map(len, close_ups)) // room), 1)
    lines = {}
    for k, (name, close_up) in enumerate(zip(names, close_ups, strict=True)):
        price = np.where(run.bars.closes[:, k] > 0, run.bars.closes[:, k], np.nan)
        step = max(stride, -(-len(close_up) // (MAX_POINTS - OVERVIEW)))
        index = np.union1d(close_up[::step], decimate(price[None, :], OVERVIEW))
        lines[name] = {"i": _steps(index), "p": rounded(price[index], significant=6)}
    return lines


def _close_up(run: Run, name: str) -> Ints:
    """Bars from ``MARGIN`` before each entry into an asset to ``MARGIN`` after the exit."""
    n, mine = len(run.bars.ts_ms), run.trades["asset"] == name
    near = np.zeros(n + 1, dtype=np.int64)
    np.add.at(near, np.maximum(run.trades["entry_bar"][mine] - MARGIN, 0), 1)
    np.add.at(near, np.minimum(run.trades["exit_bar"][mine] + MARGIN + 1, n), -1)
    return np.flatnonzero(np.cumsum(near)[:n] > 0)


def _trades(trades: Columns) -> dict[str, list[Any]]:
    return {
        name: rounded(trades[name], significant=7) if trades[name].dtype.kind == "f" else trades[name].tolist() for name in TRADE_FIELDS
    }


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without the venue's trades, which the page carries rounded."""
    detail = summary["detail"]
    if not detail.get("venue"):
        return summary
    venue = {name: value for name, value in detail["venue"].items() if name != "trades"}
    return {**summary, "detail": {**detail, "venue": venue}}


def _venue(venue: dict[str, Any] | None) -> dict[str, Any] | None:
    if not venue:
        return None
    rounded_ = {
        name: [round(value, 6) if isinstance(value, float) else value for value in column] for name, column in venue["trades"].items()
    }
    return {"parity": parity_line(venue), "trades": rounded_}


def _steps(index: Ints) -> list[int]:
    steps: list[int] = np.diff(index, prepend=0).tolist()
    return steps
