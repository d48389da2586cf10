"""Two runs side by side, then trade by trade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from dolphin.report.hashing import canonical
from dolphin.report.inputs import Columns, trade_kinds
from dolphin.report.markdown import figure_rows
from dolphin.report.summary import Run
from dolphin.report.text import count, table, verdict

__all__ = ["compare", "comparison_to_markdown"]

SCHEMA: Final = "dolphin.compare/1"

LEDGER_FIELDS: Final = frozenset({"notional", "gross_pnl", "fees", "net_pnl", "capital_after", "honest_capital_after"})
"""Fields that carry earlier trades' capital: one earlier difference changes them all."""


def compare(a: Run, b: Run) -> dict[str, Any]:
    """What differs between two runs, as JSON values.

    Trades are matched by entry bar and asset: by entry time when both runs know it (runs may begin on different days), by bar number
    otherwise. Fields count as equal when they agree at the ten digits of ``trades_hash``; trade_id is left out. ``differing`` lists
    for each matched pair the fields that differ as ``{field: [a, b]}``; ``fields`` counts them; ``only_ledger`` counts the pairs that
    differ in nothing but capital carried over from earlier trades.
    """
    by_time = all(len(run.trades["entry_ts"]) == 0 or int(run.trades["entry_ts"].min()) > 0 for run in (a, b))
    rows_a, rows_b = _rows(a.trades, by_time), _rows(b.trades, by_time)
    differing: list[dict[str, Any]] = []
    fields: Counter[str] = Counter()
    matched = sorted(rows_a.keys() & rows_b.keys())
    for key in matched:
        changed = _difference(rows_a[key], rows_b[key])
        if changed:
            fields.update(changed.keys())
            differing.append({"entry": key[0], "asset": key[1], "fields": changed})
    return {
        "schema": SCHEMA,
        "a": _side(a),
        "b": _side(b),
        "identical_trades": a.summary["trades_hash"] == b.summary["trades_hash"],
        "identical_config": a.summary["config_hash"] == b.summary["config_hash"],
        "identical_data": a.summary["data"] == b.summary["data"],
        "config": _config(a, b),
        "trades": {
            "matched_by": "entry_ts" if by_time else "entry_bar",
            "matched": len(matched),
            "identical": len(matched) - len(differing),
            "differing": differing,
            "only_ledger": sum(LEDGER_FIELDS.issuperset(item["fields"]) for item in differing),
            "fields": dict(fields.most_common()),
            "only_a": [_short(rows_a[key]) for key in sorted(rows_a.keys() - rows_b.keys())],
            "only_b": [_short(rows_b[key]) for key in sorted(rows_b.keys() - rows_a.keys())],
        },
    }


def comparison_to_markdown(comparison: Mapping[str, Any], most: int = 20) -> str:
    """The comparison as Markdown; each list of trades ends after ``most`` rows and says how many follow."""
    a, b, trades = comparison["a"], comparison["b"], comparison["trades"]
    sections = [f"# A: {a['verdict']}\n# B: {b['verdict']}"]
    rows = [[left[0], *left[1:], *right[1:]] for left, right in zip(a["rows"], b["rows"], strict=True)]
    sections.append(table(["figure", "A honest", "A champion", "B honest", "B champion"], rows))
    answer = {True: "the same", False: "different"}
    states = [f"{name} {answer[comparison['identical_' + name]]}" for name in ("trades", "config", "data")]
    sections.append(", ".join(states) + ".")
    if comparison["config"]:
        sections.append(
            "## Settings\n\n" + table(["setting", "A", "B"], [[row["name"], str(row["a"]), str(row["b"])] for row in comparison["config"]])
        )
    sections.append(
        f"## Trades\n\n{trades['matched']} matched by {trades['matched_by']} and asset: {trades['identical']} identical, "
        f"{len(trades['differing'])} differing ({trades['only_ledger']} of them only in capital carried over); "
        f"{count(len(trades['only_a']), 'trade')} only in A, {len(trades['only_b'])} only in B."
    )
    if trades["fields"]:
        sections.append(table(["field", "trades that differ"], [[name, str(n)] for name, n in trades["fields"].items()]))
    listed = [
        [str(item["entry"]), item["asset"], name, _text(pair[0]), _text(pair[1])]
        for item in trades["differing"]
        for name, pair in item["fields"].items()
    ]
    sections += _list("Differing fields", [trades["matched_by"], "asset", "field", "A", "B"], listed, most)
    for side in ("a", "b"):
        head = ["entry_bar", "asset", "date", "reason", "honest_ret", "net_pnl"]
        sections += _list(f"Only in {side.upper()}", head, [[_text(row[name]) for name in head] for row in trades[f"only_{side}"]], most)
    return "\n\n".join(sections) + "\n"


def _side(run: Run) -> dict[str, Any]:
    keys = (
        "version",
        "git",
        "profile",
        "config_hash",
        "trades_hash",
        "trades",
        "roi",
        "sharpe",
        "max_drawdown",
        "profit_factor",
        "win_rate",
        "honest",
    )
    return {
        "verdict": verdict(run.summary),
        "rows": figure_rows(run.summary),
        **{key: run.summary[key] for key in keys},
    }


def _rows(trades: Columns, by_time: bool) -> dict[tuple[int, str], dict[str, Any]]:
    clock = trades["entry_ts" if by_time else "entry_bar"]
    names = list(trades)
    records = zip(*(trades[name].tolist() for name in names), strict=True)
    return {
        (int(at), str(asset)): dict(zip(names, record, strict=True))
        for at, asset, record in zip(clock, trades["asset"], records, strict=True)
    }


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    kinds = {name: kind for name, kind in trade_kinds().items() if name != "trade_id"}
    return {name: [a[name], b[name]] for name, kind in kinds.items() if canonical(a[name], kind) != canonical(b[name], kind)}


def _config(a: Run, b: Run) -> list[dict[str, Any]]:
    left, right = ({row["name"]: row["value"] for row in run.summary["detail"]["config"]} for run in (a, b))
    names = [*left, *(name for name in right if name not in left)]
    return [{"name": name, "a": left.get(name), "b": right.get(name)} for name in names if left.get(name) != right.get(name)]


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("entry_bar", "entry_ts", "asset", "date", "direction", "reason", "honest_ret", "net_pnl")
    return {key: row[key] for key in keys}


def _text(value: Any) -> str:
    return canonical(value, "f") if isinstance(value, float) else str(value)


def _list(title: str, head: list[str], rows: list[list[str]], most: int) -> list[str]:
    if not rows:
        return []
    rest = f"\n\n... and {len(rows) - most:,} more." if len(rows) > most else ""
    return [f"## {title}\n\n{table(head, rows[:most])}{rest}"]
