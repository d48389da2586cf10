"""`dolphin status` for a person who was woken by it: what runs, whether it may trade and why not, where the lane stands."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flows.grid import reasons_of
from flows.lane_now import LaneNow
from flows.status import Status

__all__ = ["status_text"]

WIDTH = 100


def status_text(found: Status) -> str:
    """A table of processes, and a line for posture, lane, market and kill switch each."""
    if not found.supervisor_pid:
        left = len(found.left_over)
        behind = f"; {left} processes were left behind without a supervisor: `dolphin down` ends them" if left else ""
        kill = "\nkill switch ENGAGED: `dolphin release --reason ...` ends it" if found.kill else ""
        return f"not up: `dolphin up` starts everything{behind}{kill}"
    lines = [f"{'process':<16} {'supervisor':<10} {'pid':>8} {'uptime':>9} {'heartbeat':>10} {'restarts':>8}  says"]
    for row in found.rows:
        beat = "-" if row.heartbeat_s is None else f"{row.heartbeat_s:.1f} s"
        mark = "" if row.healthy else f"  <- not healthy: dolphin logs {row.process}"
        pid, uptime = (str(row.pid), _span(row.uptime_s)) if row.pid else ("-", "-")
        lines.append(f"{row.process:<16} {row.state:<10} {pid:>8} {uptime:>9} {beat:>10} {row.restarts:>8}  {row.status or '-'}{mark}")
    lanes = [line for lane in (found.lane, *found.others) for line in _lane(lane)]
    return "\n".join([*lines, "", *_posture(found.posture), *lanes, *_market(found), _kill(found.kill)])


def _posture(posture: dict[str, Any] | None) -> list[str]:
    if posture is None:
        return ["posture      unknown: the grid does not answer; a trader enters nothing"]
    record = posture["record"]
    if record is None:
        return [f"posture      {posture['posture']}, {posture['reason'] or posture['state']}: the watchdog has published nothing"]
    doubt = "" if posture["state"] == "FRESH" else f", {posture['reason'] or posture['state']}"
    head = f"posture      {posture['posture']}{doubt}; Rm {record['rm']:.3f}, target {record['target']:.3f}, {posture['age_s']:.1f} s old"
    return [head, *wrapped(reasons_of(record))]


def _lane(lane: LaneNow | None) -> list[str]:
    if lane is None:
        return ["lane         no bar yet"]
    lost = 1.0 - max(lane.equity, 0.0) / lane.peak
    name = f"{lane.lane} LIVE" if lane.live else lane.lane
    head = f"lane {name:<7} equity {lane.equity:,.2f} USDT, {lost:.2%} below its peak; {lane.trades} trades closed"
    held = lane.position
    if held is not None:
        side = "short" if held["direction"] < 0 else "long"
        last = f"{side} {held['asset']} since {clock(held['entry_ts'])}, {held['notional']:,.0f} USDT, leverage {held['leverage']:.2f}"
    else:
        why = [*lane.refusals, *lane.blocks]
        return [head, *wrapped(["flat", *(f"newest bar entered nothing: {word}" for word in why[:1]), *why[1:]])]
    return [head, *wrapped([last])]


def _market(found: Status) -> list[str]:
    if found.replay_ended:
        return ["market       the replay has ended, no more bars will come: `dolphin down`"]
    lag = "no bar yet" if found.lag_s is None else f"newest bar closed {_span(found.lag_s)} ago (market time)"
    head = f"market       {clock(found.market_ms)}{_speed(found.speed, live=found.live)}"
    return [head, *wrapped([lag]), *(_feed(found.feed) if found.feed is not None else [])]


def _feed(feed: dict[str, Any]) -> list[str]:
    lag = "nothing heard" if feed["lag_ms"] is None else f"newest trade {feed['lag_ms'] / 1000:.1f} s old"
    counted = ("gaps", "missing_bars", "late", "lost", "backfilled", "down")
    words = [lag, f"{feed['without_price']} of {feed['symbols']} symbols without a price"]
    words += [f"{name.replace('_', ' ')} {feed[name]}" for name in counted if feed[name]]
    return [f"feed         {feed['status']}", *wrapped(words)]


def _kill(engaged: bool) -> str:
    return "kill switch  " + ("ENGAGED: nothing is entered until `dolphin release --reason ...`" if engaged else "off")


def _speed(speed: float, *, live: bool) -> str:
    if live:
        return ", live" if speed == 0 else f", live from a demo exchange at {speed:g} times our speed"
    return ", live" if speed == 0 else f", replayed at {speed:g} times its speed"


def clock(ms: int) -> str:
    """``YYYY-MM-DD HH:MM:SS UTC``."""
    return f"{dt.datetime.fromtimestamp(ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def wrapped(words: list[str], indent: int = 13) -> list[str]:
    """The words, semicolons between, on lines of at most 100 columns; a word is not broken."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= WIDTH:
            lines[-1] += f"; {word}"
        else:
            lines.append(" " * indent + word)
    return lines


def _span(seconds: float) -> str:
    """Seconds up to two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
