"""The board of `dolphin grid watch`, drawn with rich."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["draw", "follow"]

COLOURS = {"APEX": "green", "STALKER": "cyan", "TURTLE": "yellow", "HIBERNATE": "red"}
HIDDEN = ("schema", "ts_ms", "fence", "factors")


def follow(read: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Draw what ``read`` says every second, for ``seconds`` (0 = once, inf = until Ctrl-C); the last board."""
    console, until = Console(), time.monotonic() + seconds
    last = read()
    if seconds <= 0:
        console.print(draw(last))
        return last
    with Live(draw(last), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            last = read()
            live.update(draw(last), refresh=True)
    return last


def draw(board: dict[str, Any]) -> Group:
    """Posture, features, shards and heartbeats, one below the other."""
    posture = board["posture"]
    head = Text.assemble(
        (posture["posture"], f"bold {COLOURS[posture['posture']]}"),
        f"  {posture['state']}{'' if posture['reason'] is None else ' ' + posture['reason']}  {_seconds(posture['age_s'])} old",
        f"  safety cell: {posture['cell']}  members: {board['members']}",
    )
    features = _table("key", "age", "record")
    for row in board["features"]:
        features.add_row(row["key"], _seconds(row["age_s"]), _values(row))
    shards = _table("shard", "entries", "refused", "newest", "lag (oldest)")
    for row in board["shards"]:
        ages = [_seconds(None if row[name] is None else row[name] / 1000) for name in ("newest_ms", "oldest_ms")]
        shards.add_row(f"{row['shard']:02d}", str(row["entries"]), str(row["refused"]), *ages)
    beats = _table("process", "age", "record")
    for row in board["heartbeats"]:
        beats.add_row(row["key"], _seconds(row["age_s"]), _values(row))
    reasons = Text("; ".join((posture["record"] or {}).get("reasons", [])), style="dim")
    titled = [
        part
        for title, table in (("FEATURES AND CONTROL", features), ("SHARDS", shards), ("HEARTBEATS", beats))
        for part in ("", title, table)
    ]
    return Group(head, reasons, *titled)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != "record")
    return table


def _values(row: dict[str, Any]) -> Text:
    if row["record"] is None:
        return Text(f"refused: {row['reason']}", style="red")
    return Text(", ".join(f"{k} {_short(v)}" for k, v in row["record"].items() if k not in HIDDEN))


def _short(value: Any) -> str:
    """For the eye: numbers to six digits, words without quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    return value if isinstance(value, str) and value else "-" if value is None else json.dumps(value)


def _seconds(age: float | None) -> str:
    return "-" if age is None else f"{max(age, 0.0):.1f} s"
