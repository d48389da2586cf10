"""Explanations as a person reads them in a terminal."""

from __future__ import annotations

import datetime as dt
import math
import textwrap
from collections.abc import Iterator, Sequence

from dolphin.engine.explain import Check, Explanation
from dolphin.engine.explain_assets import Candidate
from dolphin.engine.explain_size import Confirmed, Conviction, Size
from dolphin.report.notes import ASSETS, EXITS, REFUSALS
from dolphin.report.text import count, number, percent, table
from dolphin.types import SIDES, AssetVerdict, ExitReason, Refusal
from flows.explain import DayStory, TradeStory

__all__ = ["bar_text", "day_text", "trade_text"]

SHOWN = 10
WIDTH = 120
HEAD = ("asset", "place", "verdict", "action", "mfe", "mae", "efficiency", "alignment", "noise", "latency", "ARS")


def bar_text(x: Explanation) -> str:
    """One bar: what it did, and the questions that led there."""
    lines = [f"bar {x.bar}, row {x.row} of {x.date}{_clock(x.ts_ms)}, {SIDES[x.direction]}, vel_div {_figure(x.vel_div)}", _verdict(x)]
    if x.position is not None:
        p = x.position
        lines.append(f"open: {SIDES[p['direction']]} {p['asset']} since bar {p['entry_bar']} at {p['entry_price']:g}")
    lines += ["", "The loop asked", *_checks(x.checks)]
    if x.candidates:
        lines += ["", *_assets(x)]
    if x.confirmation:
        lines += ["", _confirmation(x.confirmation)]
    if x.conviction:
        lines += ["", *_size(x.conviction, x.size)]
    return "\n".join(lines)


def trade_text(story: TradeStory) -> str:
    """A trade: entry, course, exit."""
    t = story.trade
    head = f"trade {t['trade_id']}: {SIDES[t['direction']]} {t['asset']}, bars {t['entry_bar']} to {t['exit_bar']}, closed by {t['reason']}"
    money = f"net {number(t['net_pnl'], sign=True)} USDT (champion), {percent(t['honest_ret'], 3)} of its notional (honest)"
    course = [f"held {count(t['bars_held'], 'bar')}, {story.bars_without_price} of them without a price"]
    if story.best_pnl is not None:
        course += [
            f"best pnl    {percent(story.best_pnl, 3)} at bar {story.best_bar}",
            f"worst pnl   {percent(story.worst_pnl, 3)} at bar {story.worst_bar}",
            f"nearest TP  {percent(story.nearest_tp, 3, sign=False)} away at bar {story.nearest_tp_bar}",
        ]
    parts = [f"{head}\n{money}", f"ENTRY: {bar_text(story.entry)}", "\n".join(["COURSE", *(f"  {line}" for line in course)])]
    return "\n\n".join([*parts, f"EXIT: {bar_text(story.exit)}"])


def day_text(story: DayStory) -> str:
    """A day: counts by reason, entries and exits, the bars nearest to an entry."""
    last = story.first_bar + story.bars - 1
    rows = [[f"{name}: {REFUSALS[name]}", f"{n:,}", percent(n / story.bars, sign=False)] for name, n in story.refusals.items()]
    rows.append(["entered", f"{len(story.entries):,}", percent(len(story.entries) / story.bars, sign=False)])
    lines = [f"{story.date}: bars {story.first_bar} to {last}", "", table(["what the bars did", "bars", "share"], rows)]
    if story.entries:
        made = [
            [e["asset"], SIDES[e["direction"]], f"{e['entry_bar']}", _figure(e["strength"]), e["dc"], number(e["notional"])]
            for e in story.entries
        ]
        lines += ["", table(["entered", "lane", "bar", "strength", "dc", "notional, USDT"], made)]
    if story.exits:
        made = [[e["asset"], e["reason"], f"{e['exit_bar']}", f"{e['bars_held']}", number(e["net_pnl"], sign=True)] for e in story.exits]
        lines += ["", table(["closed", "reason", "bar", "held", "net, USDT"], made)]
    if story.nearest:
        made = [[f"{n.bar}{_clock(n.ts_ms)}", n.code, _figure(n.strength), _figure(n.vel_div), _figure(n.beyond)] for n in story.nearest]
        lines += ["", table(["nearest to an entry: bar", "refused by", "strength", "vel_div", "beyond the threshold"], made)]
    return "\n".join(lines)


def _verdict(x: Explanation) -> str:
    if x.entry is not None:
        return f"ENTERED {SIDES[x.direction]} {x.entry['asset']} at {x.entry['entry_price']:g}, notional {number(x.entry['notional'])} USDT"
    if x.exit is not None:
        e = x.exit
        net = f"net {number(e['net_pnl'], sign=True)} USDT"
        return f"CLOSED {e['asset']} at {e['exit_price']:g}, {net}: {e['reason']}, {EXITS[e['reason']]}"
    word = "HELD" if x.code == Refusal.IN_POSITION.name else "REFUSED"
    return f"{word}: {x.code}, {REFUSALS[x.code]}"


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    rows = [
        (
            {"decided": "DECIDED", "passed": "passed", "not asked": "-"}[check.answer],
            check.code,
            check.question,
            _signed(check.code, check.value),
            _signed(check.code, check.limit),
        )
        for check in checks
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        yield f"  {'  '.join(cells)}  limit {row[4]}"


def _signed(code: str, value: float | int | str) -> str:
    if code in (ExitReason.FIXED_TP.name, ExitReason.STOP_LOSS.name) and isinstance(value, float):
        return percent(value, 3)
    return _figure(value)


def _assets(x: Explanation) -> Iterator[str]:
    candidates, lane = x.candidates, SIDES[x.direction]
    chosen = [c for c in candidates if c.verdict == AssetVerdict.CHOSEN]
    passed = len(chosen) + sum(c.verdict == AssetVerdict.OUTRANKED for c in candidates)
    signs = {"noise": "<=", "latency": "<=", "alignment": ">=", "depth_quality": ">="}
    bounds = ", ".join(f"{name.replace('_', ' ')} {signs[name]} {limit:g}" for name, limit in x.asset_limits.items())
    yield f"Ranking of {count(len(candidates), 'asset')} for a {lane}: {passed} passed{f' ({bounds})' if bounds else ''}"
    top = [c for k, c in enumerate(candidates) if c.place and (k < SHOWN or c in chosen)] or chosen
    if top:
        yield table(HEAD, [_row(c) for c in top])
    others: dict[str, list[str]] = {}
    for c in candidates:
        if c not in top:
            others.setdefault(c.verdict, []).append(c.asset)
    for verdict in sorted({c.verdict for c in top} | set(others), key=lambda v: list(AssetVerdict).index(AssetVerdict(v))):
        names = others.get(verdict, [])
        line = f"{verdict}: {ASSETS[verdict]}" + (f" ({len(names)} more: {', '.join(names)})" if names else "")
        yield textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)


def _row(c: Candidate) -> list[str]:
    figures = (c.mfe, c.mae, c.efficiency, c.alignment, c.noise, c.latency, c.ars_after_book)
    return [c.asset, str(c.place or "-"), c.verdict, SIDES[c.action], *(_figure(value) for value in figures)]


def _confirmation(c: Confirmed) -> str:
    side = "above" if c.limit_bps > 0 else "below"
    move = f"{c.asset} went from {_figure(c.before)} to {_figure(c.now)} in {c.steps} steps: {number(c.change_bps, sign=True)} bps"
    if math.isnan(c.change_bps):
        move = f"{c.asset} has too few prices"
    return f"Direction: {move}; {side} {number(c.limit_bps, sign=True)} contradicts: {c.dc}"


def _size(belief: Conviction, size: Size | None) -> Iterator[str]:
    yield "Size" if size else "Conviction"
    book = "" if math.isnan(belief.book_imbalance) else f", after the order book {_figure(belief.after_book)}"
    yield f"  strength {_figure(belief.strength)}, confidence {_figure(belief.confidence)}{book}"
    if size is None:
        return
    s = size
    yield f"  bucket {s.bucket}{' (extreme)' if s.extreme else ''}, {s.bucket_wins} of {s.bucket_trades} trades won: x {s.bucket_boost:g}"
    yield f"  trend of vel_div {s.trend:+.4g}: x {s.trend_mult:g};  losses among the last 5 trades: {s.recent_losses}: x {s.streak_mult:g}"
    yield f"  fraction {_figure(s.raw_fraction)} before the clamp, {_figure(s.fraction)} after"
    regime = f"regime {_figure(s.regime_mult)} (boost {s.boost:g}, beta {s.beta:g}, forewarner {s.mc_scale:g})"
    yield f"  leverage {_figure(s.leverage_curve)} of the curve x dc {s.dc_mult:g} x {regime} x market {_figure(s.market_mult)}"
    yield f"           = {_figure(s.leverage_before_caps)} before caps; cap {_figure(s.leverage_cap)}: {_figure(s.leverage)}"
    yield f"  notional {number(s.capital)} x {_figure(s.fraction)} x {_figure(s.leverage)} = {number(s.notional)} USDT"


def _figure(value: float | int | str) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "-"
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.4g}"


def _clock(ts_ms: int) -> str:
    return f" ({dt.datetime.fromtimestamp(ts_ms / 1000, dt.UTC):%H:%M:%S} UTC)" if ts_ms else ""
