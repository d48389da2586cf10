"""What a lane writes into its journal, as a line for a person who watches it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dolphin.storage.journal import Entry, Kind

__all__ = ["line_of"]


def line_of(entry: Entry) -> str:
    """One line, empty for what need not be watched."""
    text = _TEXTS[entry.kind](entry.payload) if entry.kind in _TEXTS else ""
    return f"{datetime.fromtimestamp(entry.ts_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}  {text}" if text else ""


def _bar(p: Any) -> str:
    signal = "no signal" if p["vel_div"] is None else f"vel_div {p['vel_div']:+.4f}"
    what = f"ENTER {_side(p['entry'])} {p['entry']['asset']}" if p["entry"] else f"LEAVE {p['exit']['asset']}" if p["exit"] else ""
    why = ", ".join([*p["refusals"], *p["told"]["blocks"]])
    return f"bar {p['bar']:>5}  {p['posture']:<9} {signal:<16} equity {p['equity']:>12,.2f}  {what or why or 'holds'}"


def _side(entry: Any) -> str:
    return "LONG" if entry["direction"] > 0 else "SHORT"


def _fill(p: Any) -> str:
    if p["event"] != "filled":
        return f"          order {p['client_order_id']} {p['event']}{': ' + p['reason'] if p.get('reason') else ''}"
    return f"          filled {p['side']} {p['quantity']:g} {p['symbol']} at {p['price']:g}, fee {p['fee']:.4f} USDT ({p['liquidity']})"


def _trade(p: Any) -> str:
    return f"          trade {p['trade_id']} {p['asset']} {p['reason']} after {p['bars_held']} bars, {p['net_pnl']:+.2f} USDT in the model"


_TEXTS: dict[str, Callable[[Any], str]] = {
    Kind.BAR: _bar,
    Kind.TRADE: _trade,
    Kind.ORDER_INTENT: lambda p: f"          order {p['client_order_id']}: {p['reason']} {p['side']} {p['quantity']:g} {p['symbol']}",
    Kind.ORDER_EVENT: _fill,
    Kind.SETTLEMENT: lambda p: f"          settled {p['asset']}: fills {p['fills_net']:+.2f}, model {p['model_net']:+.2f} USDT",
    Kind.DAY_RESULT: lambda p: f"day {p['date']} is over: {len(p['trades'])} trades, {p['pnl']:+.2f} USDT",
}
