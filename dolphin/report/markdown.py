"""The summary as Markdown, for a terminal or a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dolphin.report import notes
from dolphin.report.text import cautions, count, number, percent, span, table, verdict
from dolphin.report.venue import PARTS, parity_line

__all__ = ["figure_rows", "headline", "to_markdown"]

MOST_ASSETS = 12
"""Assets listed: the best and the worst half of so many."""


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Headline, figures, groups, costs, months, data and hashes of a run; champion and honest side by side throughout."""
    detail, sections = summary["detail"], []
    sections.append(f"# {verdict(summary)}\n\n{_facts(summary)}")
    sections.append(notes.LEDGERS)
    sections.append(table(["figure", "honest", "champion"], figure_rows(summary)))
    for title, groups in (
        ("exit reason", summary["by_reason"]),
        ("asset", _extremes(summary["by_asset"])),
        ("signal bucket", summary["by_bucket"]),
        ("side", detail["by_direction"]),
    ):
        if groups:
            sections.append(f"## By {title}\n\n{_groups(title, groups)}")
    sections.append(f"## Costs of closed trades, USDT\n\n{_costs(detail['costs'])}")
    if detail.get("venue"):
        sections.append("## Orders and fills\n\n" + "\n\n".join(_venue(detail["venue"])))
    if detail["monthly"]:
        sections.append(f"## Months\n\n{_months(detail['monthly'])}")
    sections.append(f"## Data\n\n{_data(summary)}")
    sections.append("## Known limits\n\n" + "\n".join(f"- {line}" for line in notes.LIMITS))
    sections.append(f"version {summary['version']}, git {summary['git']}, config {summary['config_hash']}, trades {summary['trades_hash']}")
    return "\n\n".join(sections) + "\n"


def headline(summary: Mapping[str, Any]) -> str:
    """Verdict, headline figures, orders and fills when there are any, cautions: what a terminal shows at the end of a run."""
    figures = table(["figure", "honest", "champion"], figure_rows(summary))
    notes_ = "\n".join(f"- {line}" for line in cautions(summary))
    venue = summary["detail"].get("venue")
    ledger = "\n" + "\n".join(_venue(venue)) + "\n" if venue else ""
    return f"{verdict(summary)}\n\n{figures}\n{ledger}" + (f"\n{notes_}\n" if notes_ else "") + _missing(summary)


def _missing(summary: Mapping[str, Any]) -> str:
    """The minutes that are missing, day by day."""
    days = [day for day in summary["detail"]["quality"] if day["missing"]]
    lines = [f"- missing {day['date']}: {_ranges(day['missing'])}" for day in days]
    return "\n".join(lines) + ("\n" if lines else "")


def figure_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Rows ``[label, honest, champion]`` of the headline figures."""
    honest, champion = summary["honest"], summary
    more = summary["detail"]["figures"]
    rows = [
        ["return", percent(honest["roi"], 2), percent(champion["roi"], 2)],
        ["Sharpe", number(honest["sharpe"]), number(champion["sharpe"])],
        ["max drawdown", percent(honest["max_drawdown"], 2, sign=False), percent(champion["max_drawdown"], 2, sign=False)],
        ["profit factor", number(honest["profit_factor"], 3), number(champion["profit_factor"], 3)],
        ["win rate", percent(honest["win_rate"], sign=False), percent(champion["win_rate"], sign=False)],
    ]
    for key, label in (("mean_trade_bps", "mean trade, bps"), ("end_equity", "end equity, USDT")):
        rows.append([label, number(more["honest"][key]), number(more["champion"][key])])
    volatility = [percent(more[ledger]["volatility"], sign=False) for ledger in ("honest", "champion")]
    return [*rows, ["volatility", *volatility], ["trades", str(honest["trades"]), str(champion["trades"])]]


def _facts(summary: Mapping[str, Any]) -> str:
    exposure = summary["exposure"]
    parts = [
        span(summary["days"]),
        count(len(summary["universe"]), "asset"),
        f"{summary['bar_seconds']:g} s bars" if summary["bar_seconds"] else "unknown bar interval",
        count(summary["bars"], "bar"),
        f"profile {summary['profile']}",
        "LONG" if summary["detail"]["direction"] > 0 else "SHORT",
        f"in position {percent(exposure['in_position'], 0, sign=False)} of bars",
        f"mean exposure while open {number(exposure['mean_open'])}",
    ]
    warnings = [f"- {line}" for line in cautions(summary)]
    return ", ".join(part for part in parts if part) + ("\n\n" + "\n".join(warnings) if warnings else "")


def _extremes(groups: Mapping[str, Any]) -> dict[str, Any]:
    ranked = sorted(groups.items(), key=lambda item: -item[1]["honest"]["pnl"])
    half = MOST_ASSETS // 2
    return dict(ranked if len(ranked) <= MOST_ASSETS else [*ranked[:half], *ranked[-half:]])


def _groups(title: str, groups: Mapping[str, Any]) -> str:
    head = [title, "trades", "honest USDT", "champion USDT", "honest bps", "champion bps", "honest wins", "champion wins"]
    rows = []
    for name, group in groups.items():
        sides = [group["honest"], group["champion"]]
        rows.append(
            [
                name,
                str(group["trades"]),
                *(number(side["pnl"], sign=True) for side in sides),
                *(number(side["mean_bps"], 1, sign=True) for side in sides),
                *(percent(side["win_rate"], sign=False) for side in sides),
            ]
        )
    return table(head, rows)


def _costs(costs: Mapping[str, Any]) -> str:
    rows = []
    for name in ("price_move", "credits", "slippage", "fees", "funding", "net"):
        cells = [
            (number(costs[side][name], sign=True), number(costs[side][f"{name}_bps"], 1, sign=True)) for side in ("honest", "champion")
        ]
        rows.append([name.replace("_", " "), *cells[0], *cells[1]])
    return table(["part", "honest", "bps", "champion", "bps"], rows)


def _venue(venue: Mapping[str, Any]) -> list[str]:
    """Three lines: fills against model with the parts of the difference, orders and account, parity."""
    net, words = venue["net"], notes.VENUE_PARTS
    parts = ", ".join(f"{words[part][0].lower()} {number(venue['parts'][part], sign=True)}" for part in PARTS)
    difference = number(net["fills"] - net["model"], sign=True)
    ledgers = f"fills {number(net['fills'], sign=True)} USDT, model {number(net['model'], sign=True)}, difference {difference}: {parts}"
    denied = ", ".join(f"{name} {n:,}" for name, n in venue["denied"].items() if n)
    account = " -> ".join(number(venue[name]) for name in ("start_balance", "end_balance"))
    orders = (
        f"{count(venue['orders'], 'order')} ({venue['order_style']}, {venue['engine']}), {count(venue['fills'], 'fill')}, "
        f"{venue['denied_total']:,} refused{f' ({denied})' if denied else ''}, {venue['rejected']:,} rejected; "
        f"account {account} USDT, {number(venue['account_residual'])} unexplained"
    )
    return [ledgers, orders, parity_line(venue)]


def _months(months: list[Mapping[str, Any]]) -> str:
    rows = [
        [
            row["month"],
            str(row["days"]),
            str(row["trades"]),
            *(percent(row[side]["return"], 2) for side in ("honest", "champion")),
            *(percent(row[side]["drawdown"], 1, sign=False) for side in ("honest", "champion")),
        ]
        for row in months
    ]
    return table(["month", "days", "trades", "honest", "champion", "honest drawdown", "champion drawdown"], rows)


def _data(summary: Mapping[str, Any]) -> str:
    detail = summary["detail"]
    short = [day for day in detail["quality"] if day["missing"]]
    lines = [f"- {day['date']}: {day['missing_minutes']:g} min missing ({_ranges(day['missing'])})" for day in short]
    lines += [f"- {day['date']} skipped: {day['why']}" for day in summary["skipped_days"]]
    text = "\n".join(lines) if lines else "No minute is missing and no day was skipped."
    total = sum(detail["refusals"].values())
    rows = [
        [notes.REFUSALS.get(name, name), f"{bars:,}", percent(bars / total, sign=False)]
        for name, bars in sorted(detail["refusals"].items(), key=lambda item: -item[1])
        if bars
    ]
    return text + ("\n\n" + table(["why no trade", "bars", "share"], rows) if rows else "")


def _ranges(missing: list[list[int]]) -> str:
    def clock(ms: int) -> str:
        return f"{ms // 3_600_000 % 24:02d}:{ms // 60_000 % 60:02d}"

    return ", ".join(f"{clock(begin)}-{clock(end)}" for begin, end in missing)
