"""Fills of a lane's day: what the venue said in the lane's journal, against the fills of the Nautilus backtest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from dolphin.storage.journal import Kind
from flows.lane_check import Check, Difference, differences
from flows.lane_day import LaneDay, LanePast

__all__ = ["FLATTENED", "fills_check", "venue_state"]

FILL: Final = ("quantity", "price", "fee", "liquidity")
FLATTENED: Final = "FLATTEN"
"""Reason of an order that closed the position because the lane was stopped: a backtest does not stop."""

LOOKED: Final = 4_000
"""Records before a day in which a snapshot of its venue is sought first."""

type Fill = tuple[int, dict[str, Any]]
"""When, ms, and what."""


def fills_check(past: LanePast, day: LaneDay, orders: Iterable[Any]) -> Check:
    """Quantity, price, fee (USDT) and liquidity of every fill of the day's orders; ``orders``: those of the backtest."""
    if day.trades and past.journal.last(Kind.ORDER_INTENT) is None:
        return Check("fills", "fills", why_not="fills: the journal has no orders, the lane decides without a venue")
    told, flattened = _told(past, day)
    again = [fill for fill in sorted(_made(orders), key=lambda fill: fill[0]) if _on(day, fill[0]) and not _cut(day, fill, flattened)]
    why_not = f"fills: {len(flattened)} positions were closed by a stop of the lane, not by its engine" if flattened else ""
    return Check.of("fills", "fills", len(told), _found(_keyed(told), _keyed(again)), why_not)


def venue_state(past: LanePast, day: LaneDay) -> dict[str, Any]:
    """The venue's state before the first bar of ``day.since``, when nothing was held: of the snapshot before it, with the fills since.

    Empty for a lane without a venue.
    """
    first, known, cash = day.since[0].record.seq, dict[str, Any](), Decimal(0)
    after = max(0, first - LOOKED)
    while True:
        for record in past.journal.records(after=after):
            if record.seq >= first:
                break
            if "balance" in record.payload.get("venue", {}):
                known, cash = dict(record.payload["venue"]), Decimal(0)
            elif record.kind == Kind.ORDER_EVENT and record.payload["event"] == "filled":
                cash += _flow(record.payload)
        if known or after == 0:
            break
        after = max(0, after - 10 * LOOKED)
    return known | ({"balance": f"{Decimal(known['balance'].split()[0]) + cash:.8f} USDT"} if known else {})


def _flow(fill: Mapping[str, Any]) -> Decimal:
    """What a fill has paid into the account, USDT."""
    quantity, price, fee = (Decimal(str(fill[name])) for name in ("quantity", "price", "fee"))
    return (quantity if fill["side"] == "SELL" else -quantity) * price - fee


def _found(told: Mapping[str, Fill], again: Mapping[str, Fill]) -> Iterator[Difference]:
    for key in dict.fromkeys([*told, *again]):
        ts_ms = (told.get(key) or again[key])[0]
        yield from differences("fill", key, ts_ms, *(side[key][1] if key in side else None for side in (told, again)))


def _told(past: LanePast, day: LaneDay) -> tuple[list[Fill], list[Fill]]:
    """Fills of the journal; and of them those that a stop of the lane asked for."""
    told: list[Fill] = []
    flattened: list[Fill] = []
    reasons: dict[str, str] = {}
    for record in past.journal.records(after=day.since[0].record.seq - 1):
        if record.kind == Kind.ORDER_INTENT:
            reasons[record.payload["client_order_id"]] = record.payload["reason"]
        elif record.kind == Kind.ORDER_EVENT and record.payload["event"] == "filled" and _on(day, record.ts_ms):
            fill = record.ts_ms, {name: record.payload[name] for name in ("symbol", "side", *FILL)}
            (flattened if reasons.get(record.payload["client_order_id"]) == FLATTENED else told).append(fill)
    return told, flattened


def _made(orders: Iterable[Any]) -> Iterator[Fill]:
    for order in orders:
        for event in order.events:
            if type(event).__name__ == "OrderFilled":
                facts = {"symbol": event.instrument_id.symbol.value.removesuffix("-PERP"), "side": "SELL" if event.is_sell else "BUY"}
                facts |= {"quantity": float(event.last_qty), "price": float(event.last_px), "fee": event.commission.as_double()}
                yield event.ts_event // 1_000_000, {**facts, "liquidity": event.liquidity_side.name.lower()}


def _cut(day: LaneDay, fill: Fill, flattened: Iterable[Fill]) -> bool:
    """Whether the backtest's fill ends a position that the lane's stop had ended before."""
    ts_ms, facts = fill
    for stopped, closing in flattened:
        trade = next((t for t in day.trades if t["asset"] == closing["symbol"] and t["entry_ts"] <= stopped <= t["exit_ts"]), None)
        if trade is not None and (facts["symbol"], facts["side"]) == (closing["symbol"], closing["side"]) and ts_ms >= trade["exit_ts"]:
            return ts_ms < trade["exit_ts"] + day.bar_seconds * 1000
    return False


def _on(day: LaneDay, ts_ms: int) -> bool:
    """Behind one of the day's bars, and before the next day's first one."""
    bars = day.bars
    return bars[0].bar.ts_ms <= ts_ms < bars[-1].bar.ts_ms + day.bar_seconds * 1000


def _keyed(fills: Iterable[Fill]) -> dict[str, Fill]:
    """By symbol, side and which of them it is."""
    seen: Counter[str] = Counter()
    keyed: dict[str, Fill] = {}
    for ts_ms, facts in fills:
        name = f"{facts['symbol']} {facts['side']}"
        seen[name] += 1
        keyed[f"{name} {seen[name]}"] = ts_ms, {"ts_ms": ts_ms, **{field: facts[field] for field in FILL}}
    return keyed
