"""Verbs under `dolphin grid`, and `dolphin features`: the Hazelcast members and what is in them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_options import ConfigOption, loaded_config
from flows.console import Outcome, verb

if TYPE_CHECKING:
    from pathlib import Path

    from dolphin.config import Settings

__all__ = ["add_grid_verbs", "grid_app", "posture_in_force"]

grid_app = typer.Typer(help="Hazelcast members on this machine, and what is in their maps.", no_args_is_help=True)

MembersOption = Annotated[int | None, typer.Option("--members", help="1, or 3 for a cluster.")]
ServerOption = Annotated[str | None, typer.Option("--server", help="5.7.0, or 5.4.0: the last open one with a CP subsystem.")]
PortOption = Annotated[int | None, typer.Option("--port", help="Port of the first member on 127.0.0.1.")]


@verb(grid_app, "start")
def start(members: MembersOption = None, server: ServerOption = None, port: PortOption = None, config: ConfigOption = None) -> Outcome:
    """Start members, wait until they are ready, check that they listen on 127.0.0.1 only."""
    settings = _settings(config, {"members": members, "server": server, "port": port})
    from flows.grid import start as begin

    started, cell, seconds = begin(settings)
    rows = [{"server": m.server, "port": m.port, "pid": m.pid, "folder": m.folder} for m in started]
    lines = [f"Hazelcast {m.server} on 127.0.0.1:{m.port}, pid {m.pid}, log {m.folder}/member.log" for m in started]
    text = "\n".join([*lines, f"cluster {settings.grid.cluster} ready in {seconds:.1f} s; safety cell: {cell}"])
    data = {"cluster": settings.grid.cluster, "members": rows, "safety_cell": cell, "seconds": seconds}
    return Outcome("dolphin.grid-start/1", data, text)


@verb(grid_app, "stop")
def stop(config: ConfigOption = None) -> Outcome:
    """Stop the members that `grid start` started, no others."""
    from flows.grid import stop as end

    rows = [{"port": m.port, "pid": m.pid, "was_running": ran} for m, ran in end(_settings(config))]
    lines = [f"127.0.0.1:{r['port']}, pid {r['pid']}: {'stopped' if r['was_running'] else 'had ended before'}" for r in rows]
    return Outcome("dolphin.grid-stop/1", {"members": rows}, "\n".join(lines) or "no member was started from here")


@verb(grid_app, "status")
def status(config: ConfigOption = None) -> Outcome:
    """Members, their processes and their health; exits 1 when one that was started is not well."""
    from flows.grid import member_rows

    rows = member_rows(_settings(config))
    lines = [f"{'cluster':<12} {'server':<7} {'port':>5} {'pid':>8} {'state':<9} {'members':>7} {'safe':<5} {'RSS MB':>7}"]
    for r in rows:
        state = r["state"] or ("no answer" if r["alive"] else "ended")
        rss = "-" if r["rss_mb"] is None else f"{r['rss_mb']:.0f}"
        safe = "yes" if r["safe"] else "no"
        lines.append(f"{r['cluster']:<12} {r['server']:<7} {r['port']:>5} {r['pid']:>8} {state:<9} {r['members']:>7} {safe:<5} {rss:>7}")
    text = "\n".join(lines) if rows else "no member was started from here: `dolphin grid start`"
    return Outcome("dolphin.grid-status/1", {"members": rows}, text, int(any(r["state"] != "ACTIVE" for r in rows)))


@verb(grid_app, "console")
def console(config: ConfigOption = None) -> Outcome:
    """Hazelcast's own console (`ns DOLPHIN_FEATURES`, `m.entries`, `m.get acb_boost`, `help`, `exit`); reads a pipe, too."""
    from flows.grid import open_console

    code = open_console(_settings(config), sys.stderr.fileno() if "--json" in sys.argv else None)
    return Outcome("dolphin.grid-console/1", {"exit": code}, "", int(code != 0))


@verb(grid_app, "get")
def get(
    name: Annotated[str, typer.Argument(metavar="MAP", help="Name of a map, e.g. DOLPHIN_FEATURES.")],
    key: Annotated[str | None, typer.Argument(help="Key; without it every entry.")] = None,
    config: ConfigOption = None,
) -> Outcome:
    """Entries of a map; exits 1 when the key is absent or an entry is refused."""
    from flows.grid import connect

    grid = connect(_settings(config))
    try:
        entries = grid.entries(name) if key is None else [grid.read(name, key)]
    finally:
        grid.close()
    rows = [{"key": e.key, "record": e.record, "reason": e.reason} for e in entries]
    lines = [f"{r['key']}  {json.dumps(r['record'], ensure_ascii=False) if r['record'] else r['reason']}" for r in rows]
    text = "\n".join(lines) or f"{name} is empty"
    return Outcome("dolphin.grid-get/1", {"map": name, "entries": rows}, text, int(any(e.reason for e in entries)))


@verb(grid_app, "watch")
def watch(
    once: Annotated[bool, typer.Option("--once", help="Print the board once.")] = False,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0, help="Watch for so long; default: until Ctrl-C.")] = None,
    config: ConfigOption = None,
) -> Outcome:
    """Posture, boosts, feature shards with their lag and heartbeats, live in the terminal."""
    from flows.grid import board, connect
    from flows.grid_board import follow

    grid = connect(_settings(config))
    try:
        if "--json" in sys.argv:
            return Outcome("dolphin.grid-board/1", board(grid))
        follow(lambda: board(grid), 0.0 if once else float("inf") if seconds is None else seconds)
    finally:
        grid.close()
    return Outcome("dolphin.grid-board/1")


def posture_in_force(settings: Settings) -> Outcome:
    """The posture that a trader obeys now; exits 1 when it is stale, unreadable or unknown."""
    from flows.grid import connect, posture_now, reasons_of

    grid = connect(settings)
    try:
        found = posture_now(grid)
    finally:
        grid.close()
    record, age = found["record"], found["age_s"]
    why = f"{found['state']}{'' if found['reason'] is None else ' ' + found['reason']}"
    lines = [f"{found['posture']}  {why}" + (f"  {age:.1f} s old, Rm {record['rm']:.3f}, seq {record['seq']}" if record else "")]
    lines += reasons_of(record)
    return Outcome("dolphin.posture/1", found, "\n".join(lines), int(found["state"] != "FRESH"))


def features(symbol: Annotated[str, typer.Argument(help="E.g. BTCUSDT.")], config: ConfigOption = None) -> Outcome:
    """Everything the grid knows of an asset; exits 1 when that is nothing."""
    from flows.grid import connect, features_of

    grid = connect(_settings(config))
    try:
        rows = features_of(grid, symbol)
    finally:
        grid.close()
    lines = [f"{r['feature']:<24} {r['age_s']:>8.1f} s  {json.dumps(r['value'])}" for r in rows]
    return Outcome("dolphin.features/1", {"symbol": symbol, "features": rows}, "\n".join(lines) or f"nothing about {symbol}", int(not rows))


def add_grid_verbs(app: typer.Typer) -> None:
    """`dolphin grid ...` and `dolphin features`."""
    app.add_typer(grid_app, name="grid")
    verb(app, "features")(features)


def _settings(config: Path | None, flags: dict[str, Any] | None = None) -> Settings:
    changes = [f"grid.{name}={value}" for name, value in (flags or {}).items() if value is not None]
    return loaded_config(config, changes).settings
