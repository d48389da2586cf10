"""A lane's parity as an operator reads it: what was compared, trade by trade, what was not ordinary, and one sentence at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from dolphin.report.text import count, number, percent, table
from dolphin.types import SIDES
from flows.explain_text import bar_text
from flows.lane_check import Check
from flows.lane_parity import LaneParity

__all__ = ["parity_text", "sentence"]

SHOWN: Final = 5
WAYS: Final = {
    "engine": "the engine again",
    "nautilus": "Nautilus backtest",
    "fills": "fills of the backtest",
    "scans": "scans from the closes",
    "closes": "closes from the recorded trades",
}
ADVICE: Final = {
    "engine": "The lane decided otherwise than this program does from the same bars and inputs. Was it another version "
    "(`dolphin journal show --kind started`)? Until that is known: `dolphin kill`, and keep the state folder.",
    "nautilus": "The engine agrees with the lane, the backtest with orders does not: the way into Nautilus is at fault. "
    "Keep the state folder.",
    "fills": "The decisions agree, the venue's fills do not: look at the orders of that trade (`dolphin journal show --kind order_event`); "
    "the model's ledger is right, the account is not.",
    "scans": "The scanner's numbers do not follow from its closes: do not trust what was decided on them. `dolphin kill`, "
    "and keep the state folder.",
    "closes": "The bars are not those of the recorded trades: the feed or its record is at fault. Look at that minute in `feed/trades`.",
}


def parity_text(found: LaneParity) -> str:
    """All of it."""
    lines = [f"lane {found.lane}, {found.date}", *(f"  {verdict.to_text()}" for verdict in found.journals)]
    if not found.refused:
        facts = f"{count(found.bars, 'bar')} of {found.bar_seconds} s, {count(found.assets, 'asset')}, {count(len(found.trades), 'trade')}"
        lines += [f"  {facts}, decided again from {found.began}", "", _checks(found)]
        lines += ["", _trades(found)] if found.trades else []
        lines += [line for check in found.checks for line in _listed(check)]
        lines += ["", *(f"- {remark}" for remark in found.remarks)] if found.remarks else []
        lines += ["", "THE FIRST BAR THAT COMES OUT OTHERWISE", bar_text(found.explanation)] if found.explanation is not None else []
    return "\n".join([*lines, "", sentence(found)])


def sentence(found: LaneParity) -> str:
    """What an operator has to know, and to do."""
    if found.refused:
        return (
            f"NOT CHECKED: {found.refused}. Nothing was compared. Keep the files as they are and, if the lane runs, "
            "`dolphin kill` until it is known why."
        )
    amount = f"{count(found.bars, 'bar')}, {count(len(found.trades), 'trade')}"
    wrong = next((check for check in found.checks if not check.passed), None)
    if wrong is None:
        left = "".join(f" Not compared: {check.why_not}." for check in found.checks if check.why_not)
        fills = ", every fill too" if any(check.name == "fills" and check.compared for check in found.checks) else ""
        return f"{amount}: every decision equals{fills}.{left}"
    return f"NOT EQUAL: {amount}; {WAYS[wrong.name]}: {wrong.listed[0].to_text()}. {ADVICE[wrong.name]}"


def _checks(found: LaneParity) -> str:
    rows = [[WAYS[check.name], f"{check.compared:,} {check.noun}", _verdict(check)] for check in found.checks]
    return table(["compared with the journal", "compared", "verdict"], rows)


def _verdict(check: Check) -> str:
    if check.passed:
        return "the same" if check.compared else "none to compare"
    return f"{check.differing:,} DIFFERENCES"


def _trades(found: LaneParity) -> str:
    differing = {check.name: check.trades for check in found.checks}
    ways = [check.name for check in found.checks if check.name in ("engine", "nautilus")]
    head = ["trade", "asset", "lane", "entry", "price", "exit", "price", "reason", "net, USDT", "honest", *(WAYS[name] for name in ways)]
    rows = [
        [*_trade(trade), *("DIFFERS" if str(trade["trade_id"]) in differing[way] else "same" for way in ways)] for trade in found.trades
    ]
    return table(head, rows)


def _trade(trade: dict[str, Any]) -> list[str]:
    times = [f"{datetime.fromtimestamp(trade[name] / 1000, UTC):%H:%M:%S}" for name in ("entry_ts", "exit_ts")]
    prices = [f"{trade[name]:g}" for name in ("entry_price", "exit_price")]
    ledgers = [number(trade["net_pnl"], sign=True), percent(trade["honest_ret"], 3)]
    return [
        f"{trade['trade_id']}",
        trade["asset"],
        SIDES[trade["direction"]],
        times[0],
        prices[0],
        times[1],
        prices[1],
        trade["reason"],
        *ledgers,
    ]


def _listed(check: Check) -> Iterator[str]:
    if check.listed:
        yield ""
        yield f"{WAYS[check.name]}: {count(check.differing, 'difference')}"
    for difference in check.listed[:SHOWN]:
        yield f"  {difference.to_text()}"
