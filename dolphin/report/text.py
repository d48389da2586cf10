"""Numbers and verdicts as text, for terminals, pull requests and the head of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dolphin.report.notes import FLAGS
from dolphin.report.venue import TOLERANCE

__all__ = ["cautions", "count", "number", "percent", "span", "table", "verdict"]

ABSENT = "n/a"

FEW = 30
"""Days or trades below which a reader is warned."""


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """A decimal as percent: 0.0123 -> ``+1.2 %``; None -> ``n/a``; what rounds to nothing has no sign."""
    if value is None:
        return ABSENT
    rounded = round(100 * value, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''},.{digits}f} %"


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number with thousands separators; None -> ``n/a``."""
    if value is None:
        return ABSENT
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''},.{digits}f}"


def count(n: int, noun: str) -> str:
    """``1 day``, ``30 days``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def span(days: Sequence[str]) -> str:
    """First and last of the dates, or one of them, or nothing."""
    return "" if not days else days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def verdict(summary: Mapping[str, Any]) -> str:
    """The run in one line, honest first: ``honest -3.1 %, champion +1.2 %, 214 trades, 30 days``."""
    honest, champion = percent(summary["honest"]["roi"]), percent(summary["roi"])
    return f"honest {honest}, champion {champion}, {count(summary['trades'], 'trade')}, {count(len(summary['days']), 'day')}"


def cautions(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a figure: flags, missing data, an open position, too few days or trades."""
    detail, days, trades = summary["detail"], len(summary["days"]), summary["trades"]
    lines = [*_venue_cautions(detail.get("venue")), *(FLAGS.get(flag, flag) for flag in summary["flags"])]
    if detail.get("postures"):
        lines.append(_postures(detail["postures"]))
    lost = round(sum(day["missing_minutes"] for day in detail["quality"]))
    if lost:
        lines.append(f"{lost // 60} h {lost % 60} min of market data missing.")
    if summary["skipped_days"]:
        lines.append(f"{count(len(summary['skipped_days']), 'day')} skipped.")
    if detail["open_position"] is not None:
        lines.append(f"A position in {detail['open_position']['asset']} is still open and marked to market.")
    if days < FEW:
        lines.append(f"Only {count(days, 'day')}: Sharpe, volatility and drawdown say little.")
    if 0 < trades < FEW:
        lines.append(f"Only {count(trades, 'trade')}: averages say little.")
    return lines


def _postures(found: Mapping[str, Any]) -> str:
    """How long each posture held, and how low Rm went."""
    total = sum(found["minutes"].values())
    shares = ", ".join(f"{name} {minutes:,.0f} min ({percent(minutes / total, sign=False)})" for name, minutes in found["minutes"].items())
    lowest = "" if found["lowest_rm"] is None else f", lowest Rm {number(found['lowest_rm'], 3)}"
    return f"Postures from the {found['source']}{lowest}: {shares}."


def _venue_cautions(venue: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the ledger of orders and fills."""
    if venue is None:
        return []
    lines = []
    if venue["parity"].get("equal") is False:
        lines.append("Parity failed: the run with orders did not make the engine's trades.")
    if abs(venue["account_residual"]) > TOLERANCE:
        lines.append(f"The account does not add up: {number(venue['account_residual'], sign=True)} USDT unexplained.")
    if venue["sum_error"] > TOLERANCE:
        lines.append(f"The parts miss the difference of a trade's two ledgers by up to {number(venue['sum_error'])} USDT.")
    if venue["denied_total"] or venue["rejected"]:
        lines.append(f"{count(venue['denied_total'], 'order')} refused by our own checks, {venue['rejected']:,} rejected by the venue.")
    return lines


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left, the others to the right, padded to be read in a terminal too."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    width = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(r, width, strict=True))) + " |"
        for r in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) if k == 0 else "-" * (w + 1) + ":" for k, w in enumerate(width)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
